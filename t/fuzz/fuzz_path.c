/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Paths of the API.  What is taken for a call is written again from what was
 * found, and has to be the same bytes: each call has one path.
 */

#include "batch_path.h"
#include "fuzz.h"


static const char  *calls[BATCH_PATH_N][2] = {
    { "files", "" }, { "files/", "" }, { "files/", "/content" },
    { "batches", "" }, { "batches/", "" }, { "batches/", "/cancel" },
    { "uploads", "" }, { "uploads/", "" }, { "uploads/", "/parts" },
    { "uploads/", "/complete" }, { "uploads/", "/cancel" }
};


static void
same(const unsigned char *p, size_t len)
{
    size_t        before, after;
    batch_path_t  path;

    if (batch_path_parse(p, len, &path) != BATCH_OK) {
        return;
    }

    must(path.call < BATCH_PATH_N);

    before = strlen(calls[path.call][0]);
    after = strlen(calls[path.call][1]);

    must(len == before + path.id.len + after);
    must(memcmp(p, calls[path.call][0], before) == 0);
    must(path.id.len == 0 || path.id.data == p + before);
    must(path.id.len == 0 || memchr(path.id.data, '/', path.id.len) == NULL);
    must(memcmp(p + len - after, calls[path.call][1], after) == 0);
}


int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t len)
{
    size_t          n, m, i, escapes;
    unsigned char  *p;

    p = fuzz_alloc(len);
    memcpy(p, data, len);

    same(p, len);

    n = batch_path_collection(p, len);
    must(n <= len);
    must(n == len || (n && p[n - 1] == '/'));

    must(batch_path_prefix(p, len, 1) == n);

    if (n < len) {
        same(p + n, len - n);
    }

    m = batch_path_prefix(p, len, 0);
    must(m <= len && (m == len || (m >= n && p[m - 1] == '/')));

    /* the first half as what is written, the second one as the prefix */

    m = len / 2;
    n = batch_path_written(p, m, p + m, len - m);

    if (n) {
        for (escapes = 0, i = 0; i < n; i++) {
            escapes += p[i] == '%';
        }

        must(n == len - m + 2 * escapes);
    }

    free(p);

    return 0;
}
