/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The scanner of JSON in a buffer.
 */

#include "batch_scan.h"
#include "batch_utf8.h"

#include <string.h>


const unsigned char  batch_scan_class[256] = {
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0,
    0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0,
    0, 0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
};


int
batch_scan_fail(batch_scan_t *s, const unsigned char *at, const char *error)
{
    s->at = at;
    s->error = error;
    s->cut = 0;

    return BATCH_ERROR;
}


int
batch_scan_cut(batch_scan_t *s)
{
    s->at = s->last;
    s->error = BATCH_SCAN_END;
    s->cut = 1;

    return BATCH_ERROR;
}


/* p is after the backslash; returns the byte after the escape, or NULL */

static const unsigned char *
batch_scan_escape(batch_scan_t *s, const unsigned char *p)
{
    int  i;

    if (p == s->last) {
        batch_scan_cut(s);
        return NULL;
    }

    if (batch_scan_class[*p] & BATCH_SCAN_ESCAPED) {
        return p + 1;
    }

    if (*p != 'u') {
        batch_scan_fail(s, p, BATCH_SCAN_ESCAPE);
        return NULL;
    }

    for (i = 0, p++; i < 4; i++, p++) {
        if (p == s->last) {
            batch_scan_cut(s);
            return NULL;
        }

        if (batch_scan_hex(*p) < 0) {
            batch_scan_fail(s, p, BATCH_SCAN_ESCAPE);
            return NULL;
        }
    }

    return p;
}


static inline int
batch_scan_string_inline(batch_scan_t *s)
{
    int                   n;
    const unsigned char  *p, *last;

    p = s->p + 1;
    last = s->last;

    for ( ;; ) {
        p = batch_scan_plain(p, last);

        if (p == last) {
            return batch_scan_cut(s);
        }

        if (*p == '"') {
            s->p = p + 1;
            return BATCH_OK;
        }

        if (*p == '\\') {
            p = batch_scan_escape(s, p + 1);

            if (p == NULL) {
                return BATCH_ERROR;
            }

            continue;
        }

        if (*p < 0x20) {
            return batch_scan_fail(s, p, BATCH_SCAN_CONTROL);
        }

        do {
            n = batch_utf8_length(p, (size_t) (last - p));

            if (n == 0) {
                return batch_scan_fail(s, p, BATCH_SCAN_UTF8);
            }

            if (n < 0) {
                return batch_scan_cut(s);
            }

            p += n;

        } while (p < last && *p >= 0x80);
    }
}


static inline int
batch_scan_digits(batch_scan_t *s)
{
    const unsigned char  *p;

    p = s->p;

    while (p < s->last && *p >= '0' && *p <= '9') {
        p++;
    }

    if (p == s->p) {
        return (p == s->last) ? batch_scan_cut(s)
                              : batch_scan_fail(s, p, BATCH_SCAN_NUMBER);
    }

    s->p = p;

    return BATCH_OK;
}


static inline int
batch_scan_number(batch_scan_t *s)
{
    if (*s->p == '-') {
        s->p++;
    }

    if (s->p < s->last && *s->p == '0') {
        s->p++;

        if (s->p < s->last && *s->p >= '0' && *s->p <= '9') {
            return batch_scan_fail(s, s->p, BATCH_SCAN_NUMBER);
        }

    } else if (batch_scan_digits(s) != BATCH_OK) {
        return BATCH_ERROR;
    }

    if (s->p < s->last && *s->p == '.') {
        s->p++;

        if (batch_scan_digits(s) != BATCH_OK) {
            return BATCH_ERROR;
        }
    }

    if (s->p < s->last && (*s->p | 0x20) == 'e') {
        s->p++;

        if (s->p < s->last && (*s->p == '+' || *s->p == '-')) {
            s->p++;
        }

        return batch_scan_digits(s);
    }

    return BATCH_OK;
}


static int
batch_scan_literal(batch_scan_t *s)
{
    size_t       n, room;
    const char  *word;

    switch (*s->p) {

    case 't':
        word = "true";
        n = 4;
        break;

    case 'f':
        word = "false";
        n = 5;
        break;

    case 'n':
        word = "null";
        n = 4;
        break;

    default:
        return batch_scan_fail(s, s->p, BATCH_SCAN_BYTE);
    }

    room = (size_t) (s->last - s->p);

    if (memcmp(s->p, word, room < n ? room : n) != 0) {
        return batch_scan_fail(s, s->p, BATCH_SCAN_LITERAL);
    }

    if (room < n) {
        return batch_scan_cut(s);
    }

    s->p += n;

    return BATCH_OK;
}


/* a string, a number or a literal */

static inline int
batch_scan_scalar(batch_scan_t *s)
{
    if (*s->p == '"') {
        return batch_scan_string_inline(s);
    }

    if (*s->p == '-' || (*s->p >= '0' && *s->p <= '9')) {
        return batch_scan_number(s);
    }

    return batch_scan_literal(s);
}


static inline int
batch_scan_key_inline(batch_scan_t *s)
{
    batch_scan_space(s);

    if (s->p == s->last) {
        return batch_scan_cut(s);
    }

    if (*s->p != '"') {
        return batch_scan_fail(s, s->p, BATCH_SCAN_KEY);
    }

    return batch_scan_string_inline(s);
}


static inline int
batch_scan_colon(batch_scan_t *s)
{
    batch_scan_space(s);

    if (s->p == s->last) {
        return batch_scan_cut(s);
    }

    if (*s->p != ':') {
        return batch_scan_fail(s, s->p, BATCH_SCAN_COLON);
    }

    s->p++;

    return BATCH_OK;
}


int
batch_scan_key(batch_scan_t *s, batch_str_t *key)
{
    key->data = s->p;

    if (batch_scan_key_inline(s) != BATCH_OK) {
        return BATCH_ERROR;
    }

    key->len = (size_t) (s->p - key->data);

    return batch_scan_colon(s);
}


int
batch_scan_next(batch_scan_t *s, int first, unsigned char close)
{
    batch_scan_space(s);

    if (s->p == s->last) {
        return batch_scan_cut(s);
    }

    if (*s->p == close) {
        s->p++;
        return BATCH_AGAIN;
    }

    if (first) {
        return BATCH_OK;
    }

    if (*s->p != ',') {
        return batch_scan_fail(s, s->p, BATCH_SCAN_COMMA);
    }

    s->p++;
    batch_scan_space(s);

    return (s->p == s->last) ? batch_scan_cut(s) : BATCH_OK;
}


/*
 * The value of an object's member or of an array's element has ended: the
 * cursor goes to where the next value begins.  BATCH_AGAIN if there is none
 * because the outermost container was closed.  A bit of the stack is 1 where
 * an object is open.
 */

static inline int
batch_scan_after(batch_scan_t *s, const uint64_t *stack, unsigned base,
    unsigned *depth)
{
    int            object;
    unsigned char  c;

    while (*depth > base) {
        batch_scan_space(s);

        if (s->p == s->last) {
            return batch_scan_cut(s);
        }

        object = (int) (stack[(*depth - 1) >> 6] >> ((*depth - 1) & 63)) & 1;
        c = *s->p;

        if (c == ',') {
            s->p++;

            if (object && (batch_scan_key_inline(s) != BATCH_OK
                           || batch_scan_colon(s) != BATCH_OK))
            {
                return BATCH_ERROR;
            }

            return BATCH_OK;
        }

        if (c != (object ? '}' : ']')) {
            return batch_scan_fail(s, s->p, BATCH_SCAN_COMMA);
        }

        s->p++;
        (*depth)--;
    }

    return BATCH_AGAIN;
}


/*
 * Passes an opening bracket.  BATCH_OK: at the first value inside;
 * BATCH_AGAIN: it was empty and is closed again.
 */

static inline int
batch_scan_open(batch_scan_t *s, uint64_t *stack, unsigned *depth)
{
    int       object;
    uint64_t  bit;

    if (*depth == BATCH_JSON_MAX_DEPTH) {
        return batch_scan_fail(s, s->p, BATCH_SCAN_DEEP);
    }

    object = (*s->p == '{');
    s->p++;
    batch_scan_space(s);

    if (s->p == s->last) {
        return batch_scan_cut(s);
    }

    if (*s->p == (object ? '}' : ']')) {
        s->p++;
        return BATCH_AGAIN;
    }

    bit = (uint64_t) 1 << (*depth & 63);

    if (!object) {
        stack[*depth >> 6] &= ~bit;
        (*depth)++;
        return BATCH_OK;
    }

    stack[*depth >> 6] |= bit;
    (*depth)++;

    if (batch_scan_key_inline(s) != BATCH_OK) {
        return BATCH_ERROR;
    }

    return batch_scan_colon(s);
}


int
batch_scan_value(batch_scan_t *s, unsigned depth)
{
    int       rc;
    unsigned  base;
    uint64_t  stack[BATCH_JSON_MAX_DEPTH / 64] = { 0 };

    base = depth;

    for ( ;; ) {
        batch_scan_space(s);

        if (s->p == s->last) {
            return batch_scan_cut(s);
        }

        if (*s->p == '{' || *s->p == '[') {
            rc = batch_scan_open(s, stack, &depth);

            if (rc == BATCH_OK) {
                continue;
            }

        } else {
            rc = batch_scan_scalar(s);
        }

        if (rc == BATCH_ERROR) {
            return BATCH_ERROR;
        }

        rc = batch_scan_after(s, stack, base, &depth);

        if (rc != BATCH_OK) {
            return (rc == BATCH_AGAIN) ? BATCH_OK : BATCH_ERROR;
        }
    }
}
