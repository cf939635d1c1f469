/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What is not UTF-8: found, or made showable.
 */

#include "batch_utf8.h"

#include <string.h>


int
batch_utf8_valid(const unsigned char *p, size_t len)
{
    int                   n;
    const unsigned char  *last;

    for (last = p + len; p < last; p += n) {
        n = batch_utf8_length(p, (size_t) (last - p));

        if (n <= 0 || *p == '\0') {
            return 0;
        }
    }

    return 1;
}


size_t
batch_utf8_broken(const unsigned char *p, size_t n)
{
    size_t  i;

    for (i = 1; i < n && i < 4; i++) {
        if (batch_utf8_length(p, i) != -1 || batch_utf8_length(p, i + 1) == 0) {
            break;
        }
    }

    return i;
}


int
batch_utf8_control(const unsigned char *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if (batch_utf8_is_control(p + i, len - i)) {
            return 1;
        }
    }

    return 0;
}


/* 1 if p begins with a surrogate in three bytes, as a decoded \ud800 is */

static int
batch_utf8_surrogate(const unsigned char *p, size_t n)
{
    return n >= 3 && p[0] == 0xed && p[1] >= 0xa0 && p[1] <= 0xbf
           && p[2] >= 0x80 && p[2] <= 0xbf;
}


void
batch_utf8_repair(unsigned char *p, size_t len)
{
    int             n;
    unsigned char  *last;

    for (last = p + len; p < last; p += n) {
        n = batch_utf8_length(p, (size_t) (last - p));

        if (n > 0 && *p != '\0') {
            continue;
        }

        if (batch_utf8_surrogate(p, (size_t) (last - p))) {
            memcpy(p, "\xef\xbf\xbd", 3);
            n = 3;

        } else {
            *p = '?';
            n = 1;
        }
    }
}
