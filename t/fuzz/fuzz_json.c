/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The compactor of answers: any split gives the same; what it puts out is put
 * out unchanged when it is fed again.
 */

#include "batch_json.h"
#include "fuzz.h"


typedef struct {
    int             rc;
    batch_json_t    j;
    size_t          len;
    unsigned char  *out;
} compact_t;


static void
compact(compact_t *c, const uint8_t *p, size_t len, int how, uint64_t seed)
{
    size_t          n;
    unsigned char  *copy, *out, *end;

    c->rc = BATCH_OK;
    c->len = 0;
    c->out = fuzz_alloc(3 * len + 16);
    batch_json_init(&c->j);

    do {
        n = fuzz_piece(&seed, how, len);

        copy = fuzz_copy(p, n);
        out = fuzz_alloc(batch_json_bound(n));

        end = batch_json_feed(&c->j, copy, n, out);

        if (end) {
            must((size_t) (end - out) <= batch_json_bound(n));

            /* in all it is at most three times as long, escapes included */

            memcpy(c->out + c->len, out, (size_t) (end - out));
            c->len += (size_t) (end - out);
        }

        free(out);
        free(copy);

        p += n;
        len -= n;

    } while (end && len);

    c->rc = end ? batch_json_finish(&c->j) : BATCH_ERROR;
    must(c->rc == BATCH_OK || c->j.error != NULL);
}


/* no count is one that a reader of JSON does not hold */

static void
bounded(const batch_usage_t *u)
{
    must(u->input <= BATCH_USAGE_MAX && u->output <= BATCH_USAGE_MAX
         && u->cached <= BATCH_USAGE_MAX && u->reasoning <= BATCH_USAGE_MAX
         && u->total <= BATCH_USAGE_MAX);
}


static void
same_results(const compact_t *a, const compact_t *b)
{
    must(a->len == b->len);
    must(memcmp(a->out, b->out, a->len) == 0);
    must(memcmp(&a->j.usage, &b->j.usage, sizeof(batch_usage_t)) == 0);
    must(a->j.model_len == b->j.model_len);
    must(memcmp(a->j.model, b->j.model, a->j.model_len) == 0);
}


/* a reader of lines must find one */

static void
one_line(const compact_t *c)
{
    size_t                i;
    const unsigned char  *p;

    p = c->out;

    for (i = 0; i < c->len; i++) {
        must(p[i] >= 0x20);
        must(i + 1 >= c->len || p[i] != 0xc2 || p[i + 1] != 0x85);
        must(i + 2 >= c->len || p[i] != 0xe2 || p[i + 1] != 0x80
             || (p[i + 2] != 0xa8 && p[i + 2] != 0xa9));
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int        how;
    compact_t  whole, other;

    compact(&whole, data, size, 0, 1);

    for (how = 1; how < 3; how++) {
        compact(&other, data, size, how, fuzz_seed(data, size));

        must(other.rc == whole.rc);
        must(other.j.error == whole.j.error);
        must(other.j.offset == whole.j.offset);

        if (whole.rc == BATCH_OK) {
            same_results(&whole, &other);
        }

        free(other.out);
    }

    if (whole.rc == BATCH_OK) {
        one_line(&whole);
        bounded(&whole.j.usage);

        compact(&other, whole.out, whole.len, 0, 1);
        must(other.rc == BATCH_OK);
        same_results(&whole, &other);

        free(other.out);
    }

    free(whole.out);

    return 0;
}
