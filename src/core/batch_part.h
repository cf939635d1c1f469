/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Header fields as multipart/form-data uses them: "word; name=value; ...".
 * Private to the multipart parser.
 */

#ifndef _BATCH_PART_H_INCLUDED_
#define _BATCH_PART_H_INCLUDED_

#include "batch_multipart.h"

typedef struct {
    const unsigned char  *p;
    const unsigned char  *last;
} batch_params_t;

/* the word in front of the parameters; empty if there is none */
void batch_params_init(batch_params_t *params, const unsigned char *p,
    size_t len, batch_str_t *word);

/*
 * The next parameter: BATCH_OK; BATCH_AGAIN if there are no more; BATCH_ERROR.
 * Of a quoted value the inside, with its backslashes.
 */
int batch_params_next(batch_params_t *params, batch_str_t *name,
    batch_str_t *value, int *quoted);

/* Takes \" and \\ back in place (other backslashes are DOS paths and stay).
 * Returns the new length. */
size_t batch_params_unquote(unsigned char *p, size_t len);

/* 1 if s is the word, in any case */
int batch_params_is(const batch_str_t *s, const char *word);

/* forgets the last part */
void batch_part_reset(batch_multipart_t *mp);

/* One header line, without its CRLF, in mp->header.  BATCH_ERROR: mp->error */
int batch_part_header(batch_multipart_t *mp, unsigned char *p, size_t len);

/* all headers of the part are read.  BATCH_ERROR: mp->error */
int batch_part_ready(batch_multipart_t *mp);

#endif /* _BATCH_PART_H_INCLUDED_ */
