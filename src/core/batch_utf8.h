/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
 * This is the one check of the module; what it refuses never reaches a client,
 * a server or the store:
 *
 * - What is parsed, or tells tenants apart, is refused: JSON lines, bodies and
 *   answers by their scanners, a tenant if batch_utf8_repair() finds anything.
 * - What is only shown is kept, and what is broken in it is replaced: in place
 *   by batch_utf8_repair(), or by batch_escape_string() where bytes become the
 *   inside of a JSON string.
 * - In the names of files and parts '_' stands for it, as it does for control
 *   characters (batch_part.c).
 */

#ifndef _BATCH_UTF8_H_INCLUDED_
#define _BATCH_UTF8_H_INCLUDED_

#include "batch_core.h"

/*
 * Makes p[0..len) valid UTF-8 without NUL, in place: a surrogate becomes
 * U+FFFD, which is as long, and every other broken byte '?'; so does NUL,
 * which a JSON library may not take.  Returns how many bytes were replaced.
 */
size_t batch_utf8_repair(unsigned char *p, size_t len);


/*
 * Length of the character at p (n > 0 bytes are there): 1..4, 0 if it is not
 * UTF-8, -1 if the n bytes are the beginning of a character.
 */

static inline int
batch_utf8_length(const unsigned char *p, size_t n)
{
    int            i, len;
    unsigned char  lo, hi;

    if (p[0] < 0x80) {
        return 1;
    }

    if (p[0] < 0xc2 || p[0] > 0xf4) {
        return 0;
    }

    len = (p[0] < 0xe0) ? 2 : (p[0] < 0xf0) ? 3 : 4;

    /* only the second byte's range depends on the first */

    lo = (p[0] == 0xe0) ? 0xa0 : (p[0] == 0xf0) ? 0x90 : 0x80;
    hi = (p[0] == 0xed) ? 0x9f : (p[0] == 0xf4) ? 0x8f : 0xbf;

    for (i = 1; i < len; i++) {
        if ((size_t) i == n) {
            return -1;
        }

        if (p[i] < lo || p[i] > hi) {
            return 0;
        }

        lo = 0x80;
        hi = 0xbf;
    }

    return len;
}

#endif /* _BATCH_UTF8_H_INCLUDED_ */
