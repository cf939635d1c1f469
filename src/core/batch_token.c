/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * JSON string tokens -> the bytes they stand for.
 */

#include "batch_token.h"
#include "batch_scan.h"

#include <string.h>


typedef struct {
    const unsigned char  *p;
    const unsigned char  *last;      /* the closing quote */
    unsigned              i;
    unsigned              n;         /* bytes of buf in use */
    unsigned char         buf[4];
} batch_token_t;


static void
batch_token_init(batch_token_t *t, const batch_str_t *token)
{
    t->p = token->data + 1;
    t->last = token->data + token->len - 1;
    t->i = 0;
    t->n = 0;
}


/* p is after "\u" */

static uint32_t
batch_token_hex4(const unsigned char *p)
{
    return (uint32_t) batch_scan_hex(p[0]) << 12
           | (uint32_t) batch_scan_hex(p[1]) << 8
           | (uint32_t) batch_scan_hex(p[2]) << 4
           | (uint32_t) batch_scan_hex(p[3]);
}


static unsigned
batch_token_utf8(unsigned char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (unsigned char) c;
        return 1;
    }

    if (c < 0x800) {
        out[0] = (unsigned char) (0xc0 | c >> 6);
        out[1] = (unsigned char) (0x80 | (c & 0x3f));
        return 2;
    }

    if (c < 0x10000) {
        out[0] = (unsigned char) (0xe0 | c >> 12);
        out[1] = (unsigned char) (0x80 | (c >> 6 & 0x3f));
        out[2] = (unsigned char) (0x80 | (c & 0x3f));
        return 3;
    }

    out[0] = (unsigned char) (0xf0 | c >> 18);
    out[1] = (unsigned char) (0x80 | (c >> 12 & 0x3f));
    out[2] = (unsigned char) (0x80 | (c >> 6 & 0x3f));
    out[3] = (unsigned char) (0x80 | (c & 0x3f));

    return 4;
}


/* the escape at t->p into t->buf */

static void
batch_token_escape(batch_token_t *t)
{
    uint32_t            c, low;
    const char         *s;
    unsigned char       e;
    static const char   from[] = "bfnrt";
    static const char   to[] = "\b\f\n\r\t";

    t->i = 0;
    t->n = 1;

    e = t->p[1];
    t->p += 2;

    if (e != 'u') {
        s = (e == '\0') ? NULL : strchr(from, e);
        t->buf[0] = s ? (unsigned char) to[s - from] : e;
        return;
    }

    c = batch_token_hex4(t->p);
    t->p += 4;

    if ((c & 0xfc00) == 0xd800 && t->last - t->p >= 6
        && t->p[0] == '\\' && t->p[1] == 'u')
    {
        low = batch_token_hex4(t->p + 2);

        if ((low & 0xfc00) == 0xdc00) {
            c = 0x10000 + ((c & 0x3ff) << 10 | (low & 0x3ff));
            t->p += 6;
        }
    }

    t->n = batch_token_utf8(t->buf, c);
}


/* the next decoded byte, -1 at the end */

static int
batch_token_byte(batch_token_t *t)
{
    if (t->i < t->n) {
        return t->buf[t->i++];
    }

    if (t->p >= t->last) {
        return -1;
    }

    if (*t->p != '\\') {
        return *t->p++;
    }

    batch_token_escape(t);

    return t->buf[t->i++];
}


static int
batch_token_escaped(const batch_str_t *token)
{
    return memchr(token->data, '\\', token->len) != NULL;
}


size_t
batch_token_decode(const batch_str_t *token, unsigned char *out, size_t cap)
{
    int            c;
    size_t         n;
    batch_token_t  t;

    if (token->len < 2) {
        return 0;
    }

    if (!batch_token_escaped(token)) {
        n = token->len - 2;

        if (cap && n) {
            memcpy(out, token->data + 1, n < cap ? n : cap);
        }

        return n;
    }

    batch_token_init(&t, token);

    for (n = 0; (c = batch_token_byte(&t)) != -1; n++) {
        if (n < cap) {
            out[n] = (unsigned char) c;
        }
    }

    return n;
}


int
batch_token_eq(const batch_str_t *a, const batch_str_t *b)
{
    int            c;
    batch_token_t  ta, tb;

    if (a->len < 2 || b->len < 2) {
        return a->len == b->len;
    }

    if (!batch_token_escaped(a) && !batch_token_escaped(b)) {
        return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
    }

    batch_token_init(&ta, a);
    batch_token_init(&tb, b);

    for ( ;; ) {
        c = batch_token_byte(&ta);

        if (c != batch_token_byte(&tb)) {
            return 0;
        }

        if (c == -1) {
            return 1;
        }
    }
}
