/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Strict JSON (RFC 8259, valid UTF-8) in a buffer: a cursor that moves over
 * tokens and values.  Nothing is built, nothing is allocated.  What the
 * streaming compactor needs as well is an inline function here.
 *
 * -DBATCH_NO_SIMD selects the portable code on every machine (for tests).
 */

#ifndef _BATCH_SCAN_H_INCLUDED_
#define _BATCH_SCAN_H_INCLUDED_

#include "batch_core.h"
#include "batch_jsonl.h"

#if defined(__SSE2__) && !defined(BATCH_NO_SIMD)
#include <emmintrin.h>
#define BATCH_SCAN_SSE2  1
#endif

#define BATCH_SCAN_END        "Unexpected end"
#define BATCH_SCAN_BYTE       "Unexpected byte"
#define BATCH_SCAN_NUMBER     "Invalid number"
#define BATCH_SCAN_LITERAL    "Invalid literal"
#define BATCH_SCAN_ESCAPE     "Invalid escape"
#define BATCH_SCAN_CONTROL    "Control character in a string"
#define BATCH_SCAN_UTF8       "Invalid UTF-8"
#define BATCH_SCAN_DEEP       "Nested too deeply"
#define BATCH_SCAN_KEY        "Expected a key"
#define BATCH_SCAN_COLON      "Expected a colon"
#define BATCH_SCAN_COMMA      "Expected a comma or a closing bracket"
#define BATCH_SCAN_TEXT       "Text after the value"

/* classes of the bytes inside a string */
#define BATCH_SCAN_STOP       1      /* not to be copied as it is */
#define BATCH_SCAN_ESCAPED    2      /* may follow a backslash (except u) */

typedef struct {
    const unsigned char  *p;         /* cursor */
    const unsigned char  *last;
    const unsigned char  *at;        /* where the defect is */
    const char           *error;     /* what it is; static */
    int                   cut;       /* the only defect: the input ended */
} batch_scan_t;

extern const unsigned char  batch_scan_class[256];

/* remembers the defect; always returns BATCH_ERROR */
int batch_scan_fail(batch_scan_t *s, const unsigned char *at,
    const char *error);

/* the same for input that ended too early */
int batch_scan_cut(batch_scan_t *s);

/*
 * Skips white space and one value of any type.  depth: how many arrays and
 * objects are open around it, 0..BATCH_JSON_MAX_DEPTH.
 */
int batch_scan_value(batch_scan_t *s, unsigned depth);

/*
 * Goes through an array or an object whose opening bracket has been passed:
 * first is 1 at the first call, then 0.  BATCH_OK: an element or a key follows
 * (white space has been skipped, the byte was not looked at); BATCH_AGAIN: it
 * was closed, the cursor is after close (']' or '}'); BATCH_ERROR.
 */
int batch_scan_next(batch_scan_t *s, int first, unsigned char close);

/* moves from a key's opening quote to after the colon; key: the raw token */
int batch_scan_key(batch_scan_t *s, batch_str_t *key);


static inline void
batch_scan_space(batch_scan_t *s)
{
    const unsigned char  *p;

    p = s->p;

    while (p < s->last
           && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
    {
        p++;
    }

    s->p = p;
}


/* the first byte that may not be in a string as it is, or last */

static inline const unsigned char *
batch_scan_plain(const unsigned char *p, const unsigned char *last)
{
#if (BATCH_SCAN_SSE2)

    int      mask;
    __m128i  v, bad;

    const __m128i  quote = _mm_set1_epi8('"');
    const __m128i  slash = _mm_set1_epi8('\\');
    const __m128i  space = _mm_set1_epi8(0x20);

    while (last - p >= 16) {
        v = _mm_loadu_si128((const __m128i *) p);

        /* the comparison is signed: it also finds the bytes from 0x80 on */

        bad = _mm_or_si128(_mm_cmplt_epi8(v, space),
                           _mm_or_si128(_mm_cmpeq_epi8(v, quote),
                                        _mm_cmpeq_epi8(v, slash)));
        mask = _mm_movemask_epi8(bad);

        if (mask) {
            return p + __builtin_ctz((unsigned) mask);
        }

        p += 16;
    }

#endif

    while (p < last && !(batch_scan_class[*p] & BATCH_SCAN_STOP)) {
        p++;
    }

    return p;
}


static inline int
batch_scan_hex(unsigned char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}

#endif /* _BATCH_SCAN_H_INCLUDED_ */
