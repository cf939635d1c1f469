/*
 * An inference server's answer, made one line: streaming compactor.  Feed the
 * body in any pieces; what comes out is the same JSON value without white space
 * outside strings, with raw U+2028, U+2029 and U+0085 written as \uXXXX (text
 * readers such as Python's str.splitlines() would break the line there), and
 * nothing else changed.  Meanwhile the top-level "model" and "usage" are read.
 * Strict as batch_jsonl.h.  A byte-order mark before the value is dropped.  No
 * allocation; any split of the input gives the same result.
 *
 * Of usage, what is not an unsigned integer counts as 0, what exceeds 64 bits
 * as UINT64_MAX, and of several the last.  Keys that the server writes with escapes
 * are not recognised.
 */

#ifndef _BATCH_JSON_H_INCLUDED_
#define _BATCH_JSON_H_INCLUDED_

#include "batch_core.h"
#include "batch_jsonl.h"

#define BATCH_MODEL_MAX  256

typedef struct {
    uint64_t   input;            /* prompt_tokens or input_tokens */
    uint64_t   output;           /* completion_tokens or output_tokens */
    uint64_t   cached;           /* *_tokens_details.cached_tokens */
    uint64_t   reasoning;        /* *_tokens_details.reasoning_tokens */
    uint64_t   total;            /* total_tokens; input + output if absent */
} batch_usage_t;

typedef struct {
    /* results, valid after batch_json_finish() */
    batch_usage_t   usage;
    size_t          model_len;   /* 0 = none, or longer than BATCH_MODEL_MAX */
    unsigned char   model[BATCH_MODEL_MAX];   /* not decoded: the string's
                                                 inside as it was put out */
    uint64_t        offset;      /* bytes consumed; of the defect after ERROR */
    const char     *error;       /* what was wrong; static */

    /* private */
    uint64_t        stack[(BATCH_JSON_MAX_DEPTH + 63) / 64];
    unsigned        depth;
    unsigned        state;
    unsigned        sub;
    unsigned        flags;
    unsigned        nkey;
    unsigned char   key[32];     /* the key being read at depths 1..3 */
    unsigned char   path[4];     /* which known key each depth is in */
    uint64_t        number;
    unsigned char   held[4];     /* a multi-byte character cut by the split */
    unsigned        nheld;
} batch_json_t;

void batch_json_init(batch_json_t *j);

/* room that out must have for a piece of len bytes */
#define batch_json_bound(len)  (3 * (len) + 16)

/* Returns the end of what was written to out, NULL if the body is not JSON
 * (then j->error, j->offset say why and where; feeding may stop). */
unsigned char *batch_json_feed(batch_json_t *j, const unsigned char *in,
    size_t len, unsigned char *out);

/* BATCH_OK if exactly one complete JSON value was fed */
int batch_json_finish(batch_json_t *j);

#endif /* _BATCH_JSON_H_INCLUDED_ */
