/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Header fields as multipart/form-data uses them: "word; name=value; ...".
 * Private to the multipart parser.
 */

#ifndef _BATCH_PARAMS_H_INCLUDED_
#define _BATCH_PARAMS_H_INCLUDED_

#include "batch_core.h"

typedef struct {
    const unsigned char  *p;
    const unsigned char  *last;
} batch_params_t;

/* word: what stands before the parameters, empty if nothing does */
void batch_params_init(batch_params_t *params, const unsigned char *p,
    size_t len, batch_str_t *word);

/*
 * The next parameter: BATCH_OK; BATCH_AGAIN if there are no more; BATCH_ERROR.
 * A quoted value comes without its quotes, but with its backslashes.
 */
int batch_params_next(batch_params_t *params, batch_str_t *name,
    batch_str_t *value, int *quoted);

/* Undoes \" and \\ in place (other backslashes belong to DOS paths and stay).
 * Returns the new length. */
size_t batch_params_unquote(unsigned char *p, size_t len);

/* 1 if s is the word, in any case; word itself is lower-case */
int batch_params_is(const batch_str_t *s, const char *word);

/* 1 if c is one of RFC 9110's token characters; '*' and '%' are among them */
int batch_params_token(unsigned char c);

#endif /* _BATCH_PARAMS_H_INCLUDED_ */
