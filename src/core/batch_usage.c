/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Arithmetic with tokens.
 */

#include "batch_usage.h"


static uint64_t
batch_usage_limit(uint64_t n)
{
    return (n > BATCH_USAGE_MAX) ? BATCH_USAGE_MAX : n;
}


uint64_t
batch_usage_sum(uint64_t a, uint64_t b)
{
    /* two limited ones are far from 2^64 */

    return batch_usage_limit(batch_usage_limit(a) + batch_usage_limit(b));
}


void
batch_usage_add(batch_usage_t *sum, const batch_usage_t *u)
{
    sum->input = batch_usage_sum(sum->input, u->input);
    sum->output = batch_usage_sum(sum->output, u->output);
    sum->cached = batch_usage_sum(sum->cached, u->cached);
    sum->reasoning = batch_usage_sum(sum->reasoning, u->reasoning);
    sum->total = batch_usage_sum(sum->total, u->total);
}


void
batch_usage_clamp(batch_usage_t *u)
{
    u->input = batch_usage_limit(u->input);
    u->output = batch_usage_limit(u->output);
    u->cached = batch_usage_limit(u->cached);
    u->reasoning = batch_usage_limit(u->reasoning);
    u->total = batch_usage_limit(u->total);
}
