/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
 * The module has this check only, and one policy for what fails it:
 *
 * - What is parsed, or tells tenants apart, is refused: input lines, bodies of
 *   requests and answers by the scanners, a tenant by batch_utf8_valid().  An
 *   answer that was paid for may be mended on its way (batch_json.h).
 * - What is only shown is kept and made valid: batch_escape_string() does it
 *   where bytes become the inside of a JSON string, batch_utf8_repair() in
 *   place where a decoded text is kept.
 * - In messages (batch_shown()) '?' stands for broken bytes, and for controls.
 * - In names of files and parts '_' stands for each broken byte, as for each
 *   control character (batch_part.c).
 *
 * Control characters in the name of a job are refused.
 */

#ifndef _BATCH_UTF8_H_INCLUDED_
#define _BATCH_UTF8_H_INCLUDED_

#include "batch_core.h"

/* 1 if p[0..len) is UTF-8 without NUL, which a JSON library may not take */
int batch_utf8_valid(const unsigned char *p, size_t len);

/* 1 if UTF-8 p[0..len) has a control character: C0, DEL, C1 */
int batch_utf8_control(const unsigned char *p, size_t len);

/*
 * Bytes of the broken character at p, of n > 0, that one U+FFFD stands for: as
 * many as could have begun a character ("maximal subpart"), at least one.
 */
size_t batch_utf8_broken(const unsigned char *p, size_t n);

/*
 * Makes p[0..len) valid in that sense, in place: a surrogate becomes U+FFFD,
 * which is as long, every other broken byte and NUL become '?'.
 */
void batch_utf8_repair(unsigned char *p, size_t len);


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


/* 1 if the character at p (n > 0 bytes are there) is a control character */

static inline int
batch_utf8_is_control(const unsigned char *p, size_t n)
{
    return p[0] < 0x20 || p[0] == 0x7f
           || (n >= 2 && p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0);
}

#endif /* _BATCH_UTF8_H_INCLUDED_ */
