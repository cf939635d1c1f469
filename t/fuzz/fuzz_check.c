/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The check of all lines: the same verdict for every split, and that of the
 * compactor asked line by line.
 */

#include "batch_check.h"
#include "fuzz.h"


static int
check(batch_check_t *c, const uint8_t *p, size_t len, int how, uint64_t seed)
{
    int             rc;
    size_t          n;
    unsigned char  *copy;

    batch_check_init(c);

    do {
        n = fuzz_piece(&seed, how, len);
        copy = fuzz_copy(p, n);
        rc = batch_check_feed(c, copy, n);
        free(copy);

        p += n;
        len -= n;

    } while (rc == BATCH_OK && len);

    return rc == BATCH_OK ? batch_check_finish(c) : rc;
}


static int
is_json(const uint8_t *p, size_t len)
{
    int             rc;
    batch_json_t    j;
    unsigned char  *out;

    out = fuzz_alloc(batch_json_bound(len));
    batch_json_init(&j);

    rc = (batch_json_feed(&j, p, len, out) != NULL
          && batch_json_finish(&j) == BATCH_OK);

    free(out);

    return rc;
}


/* number of the first bad line, 0: none */

static uint64_t
first_bad(const uint8_t *p, size_t len)
{
    size_t          n, mark;
    uint64_t        line;
    const uint8_t  *nl;

    for (line = 1; len; line++) {
        nl = memchr(p, '\n', len);
        n = nl ? (size_t) (nl - p) : len;

        mark = (line == 1 && n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
               ? 3 : 0;

        if (!batch_jsonl_blank(p + mark, n - mark)
            && (!is_json(p, n) || (line > 1 && *p == 0xef)))
        {
            return line;
        }

        n += (nl != NULL);
        p += n;
        len -= n;
    }

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int            rc, how;
    uint64_t       bad;
    batch_check_t  whole, cut;

    rc = check(&whole, data, size, 0, 1);
    bad = first_bad(data, size);

    must(rc == (bad ? BATCH_ERROR : BATCH_OK));
    must((rc == BATCH_OK) == (whole.error == NULL));
    must(!bad || whole.line == bad);

    for (how = 1; how < 3; how++) {
        must(check(&cut, data, size, how, fuzz_seed(data, size)) == rc);
        must(cut.error == whole.error);
        must(cut.line == whole.line);
        must(cut.at == whole.at);
    }

    return 0;
}
