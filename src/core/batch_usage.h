/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Tokens that answers report, and sums of them.  An inference server writes
 * what it likes into "usage", so no count is trusted: it ends at
 * BATCH_USAGE_MAX wherever it comes in and wherever it is added, and every
 * reader of JSON, also one that has only doubles, gets the very number that
 * was written.
 */

#ifndef _BATCH_USAGE_H_INCLUDED_
#define _BATCH_USAGE_H_INCLUDED_

#include "batch_core.h"

#define BATCH_USAGE_MAX  ((uint64_t) 9007199254740991)      /* 2^53 - 1 */

typedef struct {
    uint64_t   input;            /* prompt_tokens or input_tokens */
    uint64_t   output;           /* completion_tokens or output_tokens */
    uint64_t   cached;           /* *_tokens_details.cached_tokens */
    uint64_t   reasoning;        /* *_tokens_details.reasoning_tokens */
    uint64_t   total;            /* total_tokens; if absent input + output */
} batch_usage_t;

/* a + b; a, b and the sum end at BATCH_USAGE_MAX */
uint64_t batch_usage_sum(uint64_t a, uint64_t b);

/* adds u to *sum */
void batch_usage_add(batch_usage_t *sum, const batch_usage_t *u);

/* of what was read from somewhere: no count is above BATCH_USAGE_MAX then */
void batch_usage_clamp(batch_usage_t *u);

#endif /* _BATCH_USAGE_H_INCLUDED_ */
