/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The keys of an answer that are known, and their values.
 */

#include "batch_json_read.h"

#include <limits.h>
#include <string.h>


/* the known keys, as path[depth] holds them */
enum {
    BATCH_JSON_K_NONE = 0,
    BATCH_JSON_K_MODEL,
    BATCH_JSON_K_USAGE,
    BATCH_JSON_K_DETAILS,
    BATCH_JSON_K_INPUT,
    BATCH_JSON_K_OUTPUT,
    BATCH_JSON_K_TOTAL,
    BATCH_JSON_K_CACHED,
    BATCH_JSON_K_REASONING,
    BATCH_JSON_K_HIT,                /* the same two, directly in usage */
    BATCH_JSON_K_THOUGHT
};

/* no exponent needs more: a body has fewer digits */
#define BATCH_JSON_READ_POWER  1000000000000000


typedef struct {
    const char           *name;
    unsigned              len;
    unsigned char         depth;
    unsigned char         parent;
    unsigned char         key;
} batch_json_read_name_t;


#define batch_json_read_name(name, depth, parent, key)                        \
    { name, sizeof(name) - 1, depth, BATCH_JSON_K_##parent,                   \
      BATCH_JSON_K_##key }

/* sorted by depth */

static const batch_json_read_name_t  batch_json_read_names[] = {
    batch_json_read_name("model", 1, NONE, MODEL),
    batch_json_read_name("usage", 1, NONE, USAGE),
    batch_json_read_name("prompt_tokens", 2, USAGE, INPUT),
    batch_json_read_name("input_tokens", 2, USAGE, INPUT),
    batch_json_read_name("completion_tokens", 2, USAGE, OUTPUT),
    batch_json_read_name("output_tokens", 2, USAGE, OUTPUT),
    batch_json_read_name("total_tokens", 2, USAGE, TOTAL),
    batch_json_read_name("prompt_tokens_details", 2, USAGE, DETAILS),
    batch_json_read_name("input_tokens_details", 2, USAGE, DETAILS),
    batch_json_read_name("completion_tokens_details", 2, USAGE, DETAILS),
    batch_json_read_name("output_tokens_details", 2, USAGE, DETAILS),
    batch_json_read_name("prompt_cache_hit_tokens", 2, USAGE, HIT),
    batch_json_read_name("reasoning_tokens", 2, USAGE, THOUGHT),
    batch_json_read_name("cached_tokens", 3, DETAILS, CACHED),
    batch_json_read_name("reasoning_tokens", 3, DETAILS, REASONING),
    { NULL, 0, UCHAR_MAX, 0, 0 }
};


/* the known key whose value begins or ends here */

static unsigned
batch_json_read_known(const batch_json_t *j)
{
    return (j->depth >= 1 && j->depth <= 3) ? j->path[j->depth]
                                            : BATCH_JSON_K_NONE;
}


/* 1 if a known key may be here; most keys need not be kept or compared */

static int
batch_json_read_may_know(const batch_json_t *j)
{
    return j->depth == 1
           || (j->depth <= 3 && j->path[j->depth - 1] != BATCH_JSON_K_NONE);
}


void
batch_json_read_begin(batch_json_t *j, int key)
{
    j->flags &= ~(BATCH_JSON_IN_KEY | BATCH_JSON_KEEP_KEY
                  | BATCH_JSON_KEEP_MODEL);

    if (key) {
        j->flags |= BATCH_JSON_IN_KEY;
        j->nkey = 0;

        if (batch_json_read_may_know(j)) {
            j->flags |= BATCH_JSON_KEEP_KEY;
        }

    } else if (batch_json_read_known(j) == BATCH_JSON_K_MODEL) {
        j->flags |= BATCH_JSON_KEEP_MODEL;
        j->model_len = 0;
    }
}


void
batch_json_read_string(batch_json_t *j, const unsigned char *p, size_t n)
{
    if (j->flags & BATCH_JSON_KEEP_KEY) {

        if (n > sizeof(j->key) - j->nkey) {
            j->flags &= ~BATCH_JSON_KEEP_KEY;
            j->nkey = 0;
            return;
        }

        memcpy(&j->key[j->nkey], p, n);
        j->nkey += (unsigned) n;

    } else if (j->flags & BATCH_JSON_KEEP_MODEL) {

        if (n > BATCH_MODEL_MAX - j->model_len) {
            j->flags &= ~BATCH_JSON_KEEP_MODEL;
            j->model_len = 0;
            return;
        }

        memcpy(&j->model[j->model_len], p, n);
        j->model_len += n;
    }
}


void
batch_json_read_key(batch_json_t *j)
{
    const batch_json_read_name_t  *name;

    if (j->depth > 3) {
        return;
    }

    j->path[j->depth] = BATCH_JSON_K_NONE;

    if (!(j->flags & BATCH_JSON_KEEP_KEY)) {
        return;
    }

    for (name = batch_json_read_names; name->depth <= j->depth; name++) {

        if (name->len == j->nkey && name->depth == j->depth
            && name->parent == j->path[j->depth - 1]
            && memcmp(name->name, j->key, name->len) == 0)
        {
            j->path[j->depth] = name->key;
            return;
        }
    }
}


void
batch_json_read_open(batch_json_t *j)
{
    if (j->depth <= 3) {
        j->path[j->depth] = BATCH_JSON_K_NONE;
    }
}


void
batch_json_read_number(batch_json_t *j)
{
    j->flags &= ~(BATCH_JSON_COUNT | BATCH_JSON_SHRINK);

    if (batch_json_read_known(j) >= BATCH_JSON_K_INPUT) {
        j->flags |= BATCH_JSON_COUNT;
        j->number = 0;
        j->zeros = 0;
        j->fraction = 0;
        j->power = 0;
    }
}


/* n * 10^power, at most BATCH_USAGE_MAX + 1, which stands for more */

static uint64_t
batch_json_read_shift(uint64_t n, uint64_t power)
{
    while (n && power-- && n <= BATCH_USAGE_MAX) {
        n *= 10;
    }

    return (n > BATCH_USAGE_MAX) ? BATCH_USAGE_MAX + 1 : n;
}


void
batch_json_read_digit(batch_json_t *j, unsigned digit, int fraction)
{
    if (fraction) {
        j->fraction++;
    }

    if (digit == 0) {
        j->zeros++;
        return;
    }

    j->number = batch_json_read_shift(j->number, j->zeros + 1) + digit;
    j->zeros = 0;
}


void
batch_json_read_power(batch_json_t *j, unsigned digit)
{
    if (j->power < BATCH_JSON_READ_POWER) {
        j->power = j->power * 10 + digit;
    }
}


/* what was read, 0 if it is not a whole number */

static uint64_t
batch_json_read_whole(const batch_json_t *j)
{
    uint64_t  up, down;

    if (j->flags & BATCH_JSON_NEGATIVE) {
        return 0;
    }

    up = j->zeros;
    down = j->fraction;

    if (j->flags & BATCH_JSON_SHRINK) {
        down += j->power;

    } else {
        up += j->power;
    }

    if (up < down) {
        return 0;
    }

    return batch_usage_sum(batch_json_read_shift(j->number, up - down), 0);
}


void
batch_json_read_count(batch_json_t *j)
{
    uint64_t  n;

    n = batch_json_read_whole(j);

    switch (batch_json_read_known(j)) {

    case BATCH_JSON_K_INPUT:
        j->usage.input = n;
        break;

    case BATCH_JSON_K_OUTPUT:
        j->usage.output = n;
        break;

    case BATCH_JSON_K_TOTAL:
        j->usage.total = n;
        j->flags |= BATCH_JSON_TOTAL;
        break;

    case BATCH_JSON_K_CACHED:
        j->usage.cached = n;
        j->flags |= BATCH_JSON_CACHED;
        break;

    case BATCH_JSON_K_REASONING:
        j->usage.reasoning = n;
        j->flags |= BATCH_JSON_REASONING;
        break;

    case BATCH_JSON_K_HIT:
        if (!(j->flags & BATCH_JSON_CACHED)) {
            j->usage.cached = n;
        }

        break;

    default: /* BATCH_JSON_K_THOUGHT */
        if (!(j->flags & BATCH_JSON_REASONING)) {
            j->usage.reasoning = n;
        }
    }
}


void
batch_json_read_end(batch_json_t *j)
{
    if (!(j->flags & BATCH_JSON_TOTAL)) {
        j->usage.total = batch_usage_sum(j->usage.input, j->usage.output);
    }
}
