/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "batch_shown.h"
#include "batch_utf8.h"

#include <string.h>


/* where a text that is too long is cut: before the character that does not fit
 * whole */

static size_t
batch_shown_cut(const unsigned char *p)
{
    size_t  n;

    n = BATCH_SHOWN_MAX;

    while (n > BATCH_SHOWN_MAX - 4 && (p[n] & 0xc0) == 0x80) {
        n--;
    }

    /* no character is that long: these bytes are not UTF-8 */

    return (n > BATCH_SHOWN_MAX - 4) ? n : BATCH_SHOWN_MAX;
}


/* a valid character of len bytes: does it steer what shows it?  C0 and C1, line
 * separators, and what turns the direction of text */

static int
batch_shown_control(const unsigned char *p, int len)
{
    switch (len) {

    case 1:
        return p[0] < 0x20 || p[0] == 0x7f;

    case 2:
        return p[0] == 0xc2 && p[1] < 0xa0;

    case 3:
        if (p[0] != 0xe2) {
            return 0;
        }

        if (p[1] == 0x80) {
            return (p[2] >= 0x8e && p[2] <= 0x8f)
                   || (p[2] >= 0xa8 && p[2] <= 0xae);
        }

        return p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9;

    default:
        return 0;
    }
}


const char *
batch_shown(batch_shown_t *s, const void *p, size_t len)
{
    int             c;
    size_t          i, n;
    unsigned char  *out, text[BATCH_SHOWN_MAX];

    n = (len > BATCH_SHOWN_MAX) ? batch_shown_cut(p) : len;

    if (n) {
        memcpy(text, p, n);
    }

    batch_utf8_repair(text, n);

    out = (unsigned char *) s->text;

    for (i = 0; i < n; i += (size_t) c) {
        c = batch_utf8_length(text + i, n - i);

        if (batch_shown_control(text + i, c)) {
            *out++ = '?';

        } else {
            memcpy(out, text + i, (size_t) c);
            out += c;
        }
    }

    if (n < len) {
        memcpy(out, "...", 3);
        out += 3;
    }

    *out = '\0';

    return s->text;
}
