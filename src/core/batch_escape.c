/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Any bytes -> the inside of a JSON string, or percent-encoded text.
 */

#include "batch_escape.h"
#include "batch_scan.h"
#include "batch_utf8.h"

#include <string.h>


/* a quote, a backslash or a control byte */

static unsigned char *
batch_escape_ascii(unsigned char *out, unsigned char c)
{
    const char         *s;
    static const char   digits[] = "0123456789abcdef";
    static const char   from[] = "\"\\\b\f\n\r\t";
    static const char   to[] = "\"\\bfnrt";

    *out++ = '\\';

    s = (c == 0) ? NULL : strchr(from, c);

    if (s) {
        *out++ = (unsigned char) to[s - from];
        return out;
    }

    *out++ = 'u';
    *out++ = '0';
    *out++ = '0';
    *out++ = (unsigned char) digits[c >> 4];
    *out++ = (unsigned char) digits[c & 0xf];

    return out;
}


unsigned char *
batch_escape_string(unsigned char *out, const unsigned char *p, size_t len)
{
    int                   n;
    size_t                run;
    const unsigned char  *q, *last;

    last = p + len;

    for ( ;; ) {
        q = batch_scan_plain(p, last);
        run = (size_t) (q - p);

        if (run) {
            memcpy(out, p, run);
            out += run;
        }

        if (q == last) {
            return out;
        }

        p = q;

        if (*p < 0x80) {
            out = batch_escape_ascii(out, *p++);
            continue;
        }

        n = batch_utf8_length(p, (size_t) (last - p));

        if (n <= 0) {
            memcpy(out, "\xef\xbf\xbd", 3);
            out += 3;
            p += batch_utf8_broken(p, (size_t) (last - p));

        } else if (n == 2 && p[0] == 0xc2 && p[1] == 0x85) {
            memcpy(out, "\\u0085", 6);
            out += 6;
            p += 2;

        } else if (n == 3 && p[0] == 0xe2 && p[1] == 0x80
                   && (p[2] == 0xa8 || p[2] == 0xa9))
        {
            memcpy(out, p[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
            out += 6;
            p += 3;

        } else {
            memcpy(out, p, (size_t) n);
            out += n;
            p += n;
        }
    }
}


unsigned char *
batch_escape_percent(unsigned char *out, const unsigned char *p, size_t len,
    const char *keep)
{
    size_t             i;
    unsigned char      c;
    static const char  digits[] = "0123456789ABCDEF";

    for (i = 0; i < len; i++) {
        c = p[i];

        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
            || (c >= 'a' && c <= 'z') || (c && strchr(keep, c)))
        {
            *out++ = c;
            continue;
        }

        *out++ = '%';
        *out++ = (unsigned char) digits[c >> 4];
        *out++ = (unsigned char) digits[c & 0xf];
    }

    return out;
}
