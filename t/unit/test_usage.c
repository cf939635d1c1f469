/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "batch_usage.h"
#include "batch_record.h"
#include "batch_seal.h"
#include "test.h"

#include <stdlib.h>


#define ID   "batch_0123456789abcdef0123456789abcdef"
#define TAG  0x1122334455667788u


static const uint64_t  values[] = {
    0, 1, 100, BATCH_USAGE_MAX - 1, BATCH_USAGE_MAX, BATCH_USAGE_MAX + 1,
    INT64_MAX, (uint64_t) INT64_MAX + 1, UINT64_MAX - 1, UINT64_MAX
};

#define NVALUES  (sizeof(values) / sizeof(values[0]))


static uint64_t
limit(uint64_t n)
{
    return n < BATCH_USAGE_MAX ? n : BATCH_USAGE_MAX;
}


static void
sum(void)
{
    size_t    i, k;
    uint64_t  a, b, s;

    for (i = 0; i < NVALUES; i++) {
        for (k = 0; k < NVALUES; k++) {
            a = values[i];
            b = values[k];
            s = batch_usage_sum(a, b);

            ok(s == limit(limit(a) + limit(b)), "%llu + %llu: %llu",
               (unsigned long long) a, (unsigned long long) b,
               (unsigned long long) s);
        }
    }

    /* a reader that has only doubles gets the same number */

    ok((uint64_t) (double) BATCH_USAGE_MAX == BATCH_USAGE_MAX
       && (uint64_t) (double) (BATCH_USAGE_MAX - 1) == BATCH_USAGE_MAX - 1,
       "exact as a double");
}


/* the fields in turn, each another value */

static void
fill(batch_usage_t *u, size_t i)
{
    u->input = values[i % NVALUES];
    u->output = values[(i + 1) % NVALUES];
    u->cached = values[(i + 2) % NVALUES];
    u->reasoning = values[(i + 3) % NVALUES];
    u->total = values[(i + 4) % NVALUES];
}


static int
same(const batch_usage_t *a, const batch_usage_t *b)
{
    return memcmp(a, b, sizeof(batch_usage_t)) == 0;
}


static void
fields(void)
{
    size_t         i;
    batch_usage_t  u, limited, total;

    for (i = 0; i < NVALUES; i++) {
        fill(&u, i);

        limited.input = limit(u.input);
        limited.output = limit(u.output);
        limited.cached = limit(u.cached);
        limited.reasoning = limit(u.reasoning);
        limited.total = limit(u.total);

        memset(&total, 0, sizeof(total));
        batch_usage_add(&total, &u);
        ok(same(&total, &limited), "added to nothing, %zu", i);

        batch_usage_add(&total, &u);
        ok(total.input == limit(2 * limited.input)
           && total.output == limit(2 * limited.output)
           && total.cached == limit(2 * limited.cached)
           && total.reasoning == limit(2 * limited.reasoning)
           && total.total == limit(2 * limited.total), "added twice, %zu", i);

        batch_usage_clamp(&u);
        ok(same(&u, &limited), "clamped, %zu", i);
    }
}


/* a record or a seal of an older module may hold anything */

static void
stored(void)
{
    size_t          i;
    batch_seal_t    s, sealed;
    batch_usage_t   limited;
    batch_record_t  r, back;
    unsigned char   buf[BATCH_RECORD_HEADER], *seal;

    memset(&r, 0, sizeof(r));
    r.line = 1;
    r.len = 1;
    r.kind = BATCH_KIND_OUTPUT;
    r.tag = TAG;

    memset(&s, 0, sizeof(s));
    s.chunk = 1;
    s.epoch = 2;

    seal = malloc(batch_seal_size(&s));

    for (i = 0; i < NVALUES; i++) {
        fill(&r.usage, i);
        s.usage = r.usage;
        limited = r.usage;
        batch_usage_clamp(&limited);

        batch_record_encode(&r, buf);
        ok(batch_record_decode(buf, TAG, &back) == BATCH_OK
           && same(&back.usage, &limited), "record, %zu", i);

        batch_seal_encode(&s, ID, seal);
        ok(batch_seal_decode(seal, batch_seal_size(&s), ID, 1, 2, &sealed)
           == BATCH_OK && same(&sealed.usage, &limited), "seal, %zu", i);
    }

    free(seal);
}


int
main(void)
{
    sum();
    fields();
    stored();

    return test_done("usage");
}
