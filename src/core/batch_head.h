/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The beginning of an uploaded file: is it JSONL, and if not, what is it?  What
 * people upload by mistake is named (a compressed file, UTF-16, an array, an
 * object over several lines); other defects are told with their place.
 */

#ifndef _BATCH_HEAD_H_INCLUDED_
#define _BATCH_HEAD_H_INCLUDED_

#include "batch_core.h"

#define BATCH_HEAD_SIZE  65536   /* bytes of a file that are looked at */

typedef struct {
    /* what is wrong, static: a sentence if at is 0, else the defect at byte at
     * (from 1) of line (from 1).  NULL: there is nothing but white space */
    const char    *error;
    uint64_t       line;
    uint64_t       at;
} batch_head_t;

/*
 * BATCH_OK: the first line of p[0..len) that is not blank is a JSON object, or
 * may become one, if the file is longer than BATCH_HEAD_SIZE (len tells; more
 * is not looked at).  Else BATCH_ERROR, and h says why.  A byte-order mark may
 * come before it.
 */
int batch_head_look(const unsigned char *p, size_t len, batch_head_t *h);

/*
 * The same for one line without its newline.  whole = 0: it was cut at len, and
 * a valid beginning of an object passes, even an empty one.
 */
int batch_head_object(const unsigned char *p, size_t len, int whole,
    batch_head_t *h);

#endif /* _BATCH_HEAD_H_INCLUDED_ */
