/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Is every line of a file JSON?  A streaming check: any split of the input
 * gives the same verdict.  Its memory is fixed, however long a line is.  Blank
 * lines are skipped, but counted; the last line needs no newline; a byte-order
 * mark may begin the file's first line.  What JSON is, batch_json.h says.
 */

#ifndef _BATCH_CHECK_H_INCLUDED_
#define _BATCH_CHECK_H_INCLUDED_

#include "batch_json.h"

typedef struct {
    uint64_t        line;        /* in progress, from 1; after ERROR the bad
                                    one */
    uint64_t        at;          /* after ERROR: byte of the line, from 1 */
    const char     *error;       /* what is wrong; static; NULL: nothing yet */

    /* private */
    uint64_t        len;         /* bytes of the line read so far */
    unsigned        mark;        /* bytes of the byte-order mark read so far */
    int             begun;       /* the line is not blank */
    batch_json_t    json;
} batch_check_t;

void batch_check_init(batch_check_t *c);

/* BATCH_OK, or BATCH_ERROR at the first bad line and from then on */
int batch_check_feed(batch_check_t *c, const unsigned char *p, size_t len);

/* The file has ended: the verdict on its last line, as from feed(). */
int batch_check_finish(batch_check_t *c);

#endif /* _BATCH_CHECK_H_INCLUDED_ */
