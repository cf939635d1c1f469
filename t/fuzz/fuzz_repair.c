/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The compactor with repair: what comes out is JSON for a strict reader, any
 * split gives the same, what was sound is as without repair, and what was
 * mended is sound.
 */

#include "batch_json.h"
#include "fuzz.h"

#include <jansson.h>


typedef struct {
    int             rc;
    batch_json_t    j;
    size_t          len;
    unsigned char  *out;
} mended_t;


static void
mend(mended_t *m, const uint8_t *p, size_t len, int repair, int how,
    uint64_t seed)
{
    size_t          n, took;
    uint64_t        before;
    unsigned char  *copy, *out, *end;

    m->rc = BATCH_OK;
    m->len = 0;
    m->out = fuzz_alloc(6 * len + 16);

    batch_json_init(&m->j);
    m->j.repair = repair;

    do {
        n = fuzz_piece(&seed, how, len);

        copy = fuzz_copy(p, n);
        out = fuzz_alloc(batch_json_bound_of(&m->j, n));

        before = m->j.offset;
        end = batch_json_feed(&m->j, copy, n, out);

        if (end) {
            took = (size_t) (m->j.offset - before);

            must(took == n || (repair && took < n));

            memcpy(m->out + m->len, out, (size_t) (end - out));
            m->len += (size_t) (end - out);

            p += took;
            len -= took;
        }

        free(out);
        free(copy);

    } while (end && len);

    m->rc = end ? batch_json_finish(&m->j) : BATCH_ERROR;
    must(m->rc == BATCH_OK || m->j.error != NULL);
}


static void
same(const mended_t *a, const mended_t *b)
{
    must(a->rc == b->rc);
    must(a->j.error == b->j.error);
    must(a->j.offset == b->j.offset);

    if (a->rc != BATCH_OK) {
        return;
    }

    must(a->len == b->len);
    must(memcmp(a->out, b->out, a->len) == 0);
    must(a->j.repaired == b->j.repaired);
    must(memcmp(&a->j.usage, &b->j.usage, sizeof(batch_usage_t)) == 0);
    must(a->j.model_len == b->j.model_len);
    must(memcmp(a->j.model, b->j.model, a->j.model_len) == 0);
}


/* what jansson alone refuses: numbers too large, NUL in a key */

static void
json(const mended_t *m)
{
    json_t        *root;
    json_error_t   e;

    root = json_loadb((char *) m->out, m->len,
                      JSON_DECODE_ANY|JSON_ALLOW_NUL, &e);

    must(root != NULL || json_error_code(&e) == json_error_numeric_overflow
         || json_error_code(&e) == json_error_null_byte_in_key);

    json_decref(root);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int       how;
    mended_t  plain, whole, other;

    mend(&plain, data, size, 0, 0, 1);
    mend(&whole, data, size, 1, 0, 1);

    for (how = 1; how < 3; how++) {
        mend(&other, data, size, 1, how, fuzz_seed(data, size));
        same(&whole, &other);
        free(other.out);
    }

    if (plain.rc == BATCH_OK) {
        must(whole.rc == BATCH_OK);
        must(!plain.j.repaired);
    }

    if (whole.rc == BATCH_OK) {
        json(&whole);

        if (!whole.j.repaired) {
            same(&plain, &whole);
        }

        /* a strict one takes it, and there is nothing more to mend */

        mend(&other, whole.out, whole.len, 0, 0, 1);
        must(other.rc == BATCH_OK && other.len == whole.len);
        must(memcmp(other.out, whole.out, whole.len) == 0);
        free(other.out);

        mend(&other, whole.out, whole.len, 1, 0, 1);
        must(other.rc == BATCH_OK && !other.j.repaired);
        must(other.len == whole.len);
        free(other.out);
    }

    free(plain.out);
    free(whole.out);

    return 0;
}
