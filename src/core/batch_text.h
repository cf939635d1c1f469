/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * JSON text that grows as it is written, for where a tree of objects would cost
 * an allocation for each value.  The caller writes brackets, commas and keys;
 * the builder writes values and keeps the memory.
 *
 * A zeroed one is empty.  The text comes from malloc() and is followed by a
 * NUL that len does not count.  When memory runs out, failed is set, nothing
 * is added from then on, and the text must not be used: callers may write
 * all of it and look once, at the end.
 */

#ifndef _BATCH_TEXT_H_INCLUDED_
#define _BATCH_TEXT_H_INCLUDED_

#include "batch_core.h"

#include <inttypes.h>      /* PRIu64, ... for batch_text_printf() */

typedef struct {
    unsigned char  *data;
    size_t          len;         /* bytes of text */
    size_t          size;        /* bytes of memory at data */
    int             failed;
} batch_text_t;

/* bytes as they are */
void batch_text_append(batch_text_t *t, const void *p, size_t len);
#define batch_text_literal(t, s)  batch_text_append(t, s, sizeof(s) - 1)

/* printf()'s formats, a text of any length; strings are not escaped */
void batch_text_printf(batch_text_t *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

void batch_text_int(batch_text_t *t, int64_t n);

/* a JSON string with its quotes, escaped as batch_escape_string() does */
void batch_text_string(batch_text_t *t, const void *p, size_t len);

/*
 * For callers that write by themselves: room for len bytes at the end of the
 * text, and for a NUL.  What is written there counts only after
 * batch_text_wrote(), which adds the NUL.  NULL if failed is set, or set now.
 */
unsigned char *batch_text_room(batch_text_t *t, size_t len);
void batch_text_wrote(batch_text_t *t, size_t len);

/* Hands the text over: the caller's to free().  NULL if failed was set or
 * nothing was written.  t is empty afterwards. */
char *batch_text_end(batch_text_t *t);

/* frees the text; t is empty afterwards */
void batch_text_free(batch_text_t *t);

#endif /* _BATCH_TEXT_H_INCLUDED_ */
