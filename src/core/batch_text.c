/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * JSON text that grows as it is written.
 */

#include "batch_text.h"
#include "batch_escape.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define BATCH_TEXT_FIRST   4096      /* bytes, the first allocation */
#define BATCH_TEXT_PRINTF  128       /* bytes, a guess that mostly holds */


unsigned char *
batch_text_room(batch_text_t *t, size_t len)
{
    size_t          size;
    unsigned char  *p;

    if (t->failed) {
        return NULL;
    }

    if (t->size - t->len > len) {
        return t->data + t->len;
    }

    /* below half of the address space no doubling overflows */

    if (len >= SIZE_MAX / 2 - t->len) {
        t->failed = 1;
        return NULL;
    }

    size = t->size ? t->size : BATCH_TEXT_FIRST;

    while (size - t->len <= len) {
        size *= 2;
    }

    p = realloc(t->data, size);

    if (p == NULL) {
        t->failed = 1;
        return NULL;
    }

    t->data = p;
    t->size = size;

    return t->data + t->len;
}


void
batch_text_wrote(batch_text_t *t, size_t len)
{
    t->len += len;
    t->data[t->len] = '\0';
}


void
batch_text_append(batch_text_t *t, const void *p, size_t len)
{
    unsigned char  *dst;

    dst = batch_text_room(t, len);

    if (dst == NULL) {
        return;
    }

    if (len) {
        memcpy(dst, p, len);
    }

    batch_text_wrote(t, len);
}


void
batch_text_printf(batch_text_t *t, const char *fmt, ...)
{
    int             n;
    size_t          room;
    va_list         args;
    unsigned char  *p;

    for (room = BATCH_TEXT_PRINTF; /* void */; room = (size_t) n) {
        p = batch_text_room(t, room);

        if (p == NULL) {
            return;
        }

        room = t->size - t->len;

        va_start(args, fmt);
        n = vsnprintf((char *) p, room, fmt, args);
        va_end(args);

        if (n < 0) {
            t->failed = 1;
            return;
        }

        if ((size_t) n < room) {
            t->len += (size_t) n;
            return;
        }
    }
}


void
batch_text_int(batch_text_t *t, int64_t n)
{
    uint64_t        u;
    unsigned char  *p, buf[sizeof("-9223372036854775808")];

    /* by hand: it is most of what a page of batches holds */

    u = (n < 0) ? 0 - (uint64_t) n : (uint64_t) n;
    p = buf + sizeof(buf);

    do {
        *--p = (unsigned char) ('0' + u % 10);
        u /= 10;
    } while (u);

    if (n < 0) {
        *--p = '-';
    }

    batch_text_append(t, p, (size_t) (buf + sizeof(buf) - p));
}


void
batch_text_string(batch_text_t *t, const void *p, size_t len)
{
    unsigned char  *begin, *end;

    if (len > SIZE_MAX / 16) {
        t->failed = 1;
        return;
    }

    begin = batch_text_room(t, 6 * len + 2);

    if (begin == NULL) {
        return;
    }

    end = begin;
    *end++ = '"';
    end = batch_escape_string(end, p, len);
    *end++ = '"';

    batch_text_wrote(t, (size_t) (end - begin));
}


char *
batch_text_end(batch_text_t *t)
{
    char  *text;

    if (t->failed) {
        batch_text_free(t);
        return NULL;
    }

    text = (char *) t->data;
    memset(t, 0, sizeof(batch_text_t));

    return text;
}


void
batch_text_free(batch_text_t *t)
{
    free(t->data);
    memset(t, 0, sizeof(batch_text_t));
}
