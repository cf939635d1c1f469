/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The answer of an inference server, made one line by a streaming compactor.
 * The body comes in any pieces; what goes out is the same JSON value without
 * white space outside strings, with raw U+2028, U+2029 and U+0085 written as
 * \uXXXX (text readers such as Python's str.splitlines() would break the line
 * there), and nothing else changed.  On the way the top-level "model" and
 * "usage" are read.  It is as strict as batch_jsonl.h.  A byte-order mark
 * before the value is dropped.  Nothing is allocated; any split of the input
 * gives the same result.
 *
 * With repair, text that is broken in one of these ways is mended instead of
 * refused, and the result is what strict readers take:
 *   bytes that are no UTF-8, in a string    U+FFFD, one for each maximal
 *                                           subpart (Unicode, 3.9)
 *   half of a surrogate pair (\ud83d)       U+FFFD
 *   control characters in a string          escaped
 *   NaN, Infinity, -Infinity                null
 *
 * In usage, what is a whole number counts, however it is written (5, 5.0,
 * 1e2), up to BATCH_USAGE_MAX; anything else, and what is negative, counts as
 * 0.  The last of several counts; cached and reasoning tokens in the details
 * count before those that some servers have directly in usage
 * (prompt_cache_hit_tokens, reasoning_tokens).  Keys that the server writes
 * with escapes are not recognised.
 */

#ifndef _BATCH_JSON_H_INCLUDED_
#define _BATCH_JSON_H_INCLUDED_

#include "batch_core.h"
#include "batch_jsonl.h"
#include "batch_usage.h"

#define BATCH_MODEL_MAX  256

typedef struct {
    /* results, valid after batch_json_finish() */
    batch_usage_t   usage;
    size_t          model_len;   /* 0 = none, or longer than BATCH_MODEL_MAX */
    unsigned char   model[BATCH_MODEL_MAX];   /* not decoded: the inside of
                                                 the string as written out */
    uint64_t        offset;      /* bytes consumed; after ERROR where the
                                    defect is */
    const char     *error;       /* what is wrong; static */
    int             repaired;    /* something was mended */

    /* set by the caller after batch_json_init() */
    int             repair;

    /* private */
    int             wide;        /* a byte may become six */
    uint64_t        stack[(BATCH_JSON_MAX_DEPTH + 63) / 64];
    unsigned        depth;
    unsigned        state;
    unsigned        sub;
    unsigned        flags;
    unsigned        nkey;
    unsigned char   key[32];     /* the key being read at depths 1..3 */
    unsigned char   path[4];     /* which known key each depth is in */
    uint64_t        number;      /* a number's digits up to the last that is
                                    not 0 ... */
    uint64_t        zeros;       /* ... the zeros after that one ... */
    uint64_t        fraction;    /* ... how many of both are after the point */
    uint64_t        power;       /* and its exponent, without the sign */
    unsigned        unit;        /* of UTF-16: the digits of an escape */
    unsigned char   held[12];    /* a character, or an escape, or two for a
                                    surrogate pair, not yet complete */
    unsigned        nheld;
} batch_json_t;

void batch_json_init(batch_json_t *j);

/* bytes that out must have room for, for a piece of len bytes; with repair the
 * second one, asked for anew before each piece */
#define batch_json_bound(len)          (3 * (len) + 16)
#define batch_json_bound_of(j, len)    (((j)->wide ? 6 : 3) * (len) + 16)

/*
 * Returns the end of what was written to out; NULL if the body is not JSON:
 * j->error and j->offset say why and where, and feeding may stop.  With repair
 * it may stop, once, before the end of the piece, because the bound has grown:
 * j->offset, which counts bytes consumed, says where.
 */
unsigned char *batch_json_feed(batch_json_t *j, const unsigned char *in,
    size_t len, unsigned char *out);

/* BATCH_OK if the body was exactly one complete JSON value, else BATCH_ERROR */
int batch_json_finish(batch_json_t *j);

#endif /* _BATCH_JSON_H_INCLUDED_ */
