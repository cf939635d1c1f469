/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Custom_ids that occur twice: hashes are sorted, ids compared where they meet.
 */

#include "ngx_http_batch_dedup.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"
#include "batch_siphash.h"


/* bytes of all runs held while merging, and of one of them */
#define NGX_HTTP_BATCH_DEDUP_READ      (8 * 1024 * 1024)
#define NGX_HTTP_BATCH_DEDUP_READ_MAX  (64 * 1024)
#define NGX_HTTP_BATCH_DEDUP_READ_MIN  (4 * 1024)

/* different ids of one hash: with a keyed hash even two never happen */
#define NGX_HTTP_BATCH_DEDUP_SAME   4


typedef struct {
    ngx_http_batch_dedup_entry_t   *buf;
    size_t                          room;       /* of buf, entries */
    size_t                          n;          /* entries in buf */
    size_t                          pos;
    uint64_t                        next;       /* entry in the file */
    uint64_t                        left;       /* entries not yet read */
} ngx_http_batch_dedup_run_t;


typedef struct {
    uint64_t                        hash;
    ngx_uint_t                      n;          /* entries of the group */
    ngx_http_batch_dedup_entry_t    first;
    ngx_uint_t                      nids;
    size_t                          lens[NGX_HTTP_BATCH_DEDUP_SAME];
    u_char                          ids[NGX_HTTP_BATCH_DEDUP_SAME]
                                       [BATCH_CUSTOM_ID_MAX];
    uint64_t                        seen;       /* entries in all */
    ngx_http_batch_dedup_pt         cb;
    void                           *ctx;
} ngx_http_batch_dedup_group_t;


/* glibc's qsort() takes as much again for its merging: 12 MB at most */

size_t  ngx_http_batch_dedup_max = 256 * 1024;


ngx_int_t
ngx_http_batch_dedup_init(ngx_http_batch_dedup_t *d, ngx_fd_t input,
    ngx_log_t *log)
{
    ngx_memzero(d, sizeof(ngx_http_batch_dedup_t));

    d->log = log;
    d->input = input;
    d->spill = NGX_INVALID_FILE;

    if (batch_id_random(d->key, sizeof(d->key)) != BATCH_OK) {
        ngx_log_error(NGX_LOG_CRIT, log, ngx_errno,
                      "batch: random bytes for an id failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_http_batch_dedup_free(ngx_http_batch_dedup_t *d)
{
    free(d->entries);
    d->entries = NULL;

    free(d->runs);
    d->runs = NULL;

    if (d->spill != NGX_INVALID_FILE) {
        (void) ngx_close_file(d->spill);
        d->spill = NGX_INVALID_FILE;
    }
}


static int ngx_libc_cdecl
ngx_http_batch_dedup_cmp(const void *one, const void *two)
{
    const ngx_http_batch_dedup_entry_t  *a = one, *b = two;

    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }

    return (a->line > b->line) - (a->line < b->line);
}


/* writes the entries in memory as a sorted run after the others */

static ngx_int_t
ngx_http_batch_dedup_spill(ngx_http_batch_dedup_t *d)
{
    char       name[NGX_HTTP_BATCH_TMP_LEN];
    size_t     size;
    uint64_t  *runs;

    if (d->spill == NGX_INVALID_FILE) {

        d->spill = ngx_http_batch_store_tmp(name, d->log);
        if (d->spill == NGX_INVALID_FILE) {
            return NGX_ERROR;
        }

        ngx_http_batch_store_tmp_delete(name, d->log);
    }

    runs = realloc(d->runs, (d->nruns + 1) * sizeof(uint64_t));
    if (runs == NULL) {
        return NGX_ERROR;
    }

    d->runs = runs;

    ngx_qsort(d->entries, d->n, sizeof(ngx_http_batch_dedup_entry_t),
              ngx_http_batch_dedup_cmp);

    size = sizeof(ngx_http_batch_dedup_entry_t);

    if (ngx_http_batch_store_write(d->spill, d->entries, d->n * size,
                                   (off_t) (d->spilled * size), d->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    d->runs[d->nruns++] = d->n;
    d->spilled += d->n;
    d->n = 0;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_dedup_add(ngx_http_batch_dedup_t *d, const batch_str_t *token,
    uint64_t line, off_t offset, ngx_uint_t bad)
{
    size_t                         n, len;
    u_char                         buf[BATCH_CUSTOM_ID_MAX];
    const u_char                  *p;
    ngx_http_batch_dedup_entry_t  *e;

    if (d->n == ngx_http_batch_dedup_max
        && ngx_http_batch_dedup_spill(d) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (d->n == d->nalloc) {

        n = ngx_min(d->nalloc ? d->nalloc * 2 : 4096,
                    ngx_http_batch_dedup_max);

        e = realloc(d->entries, n * sizeof(ngx_http_batch_dedup_entry_t));
        if (e == NULL) {
            ngx_log_error(NGX_LOG_EMERG, d->log, ngx_errno,
                          "realloc() of %uz entries failed", n);
            return NGX_ERROR;
        }

        d->entries = e;
        d->nalloc = n;
    }

    p = token->data + 1;
    len = token->len - 2;

    if (memchr(p, '\\', len)) {
        len = batch_token_decode(token, buf, sizeof(buf));
        len = ngx_min(len, sizeof(buf));
        p = buf;
    }

    e = &d->entries[d->n++];

    e->hash = batch_siphash(d->key, p, len);
    e->line = line * 2 + (bad ? 1 : 0);
    e->offset = offset;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_dedup_token(ngx_fd_t input, off_t offset, u_char *out,
    size_t *len, ngx_log_t *log)
{
    size_t        i, n;
    u_char        buf[NGX_HTTP_BATCH_TOKEN_MAX];
    ssize_t       got;
    batch_str_t   token;

    /* the end of the file may come first, so one short read is fine */

    got = ngx_http_batch_store_pread(input, buf, sizeof(buf), offset, log);

    if (got == -1) {
        return NGX_ERROR;
    }

    n = (size_t) got;

    for (i = 1; i < n && buf[i] != '"'; i++) {
        if (buf[i] == '\\') {
            i++;
        }
    }

    if (i >= n || buf[0] != '"') {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch: input has no custom_id at byte %O", offset);
        return NGX_ERROR;
    }

    token.data = buf;
    token.len = i + 1;

    *len = batch_token_decode(&token, out, BATCH_CUSTOM_ID_MAX);
    *len = ngx_min(*len, BATCH_CUSTOM_ID_MAX);

    return NGX_OK;
}


/* 1: an earlier entry of the group has this id; 0: a new id */

static ngx_int_t
ngx_http_batch_dedup_compare(ngx_http_batch_dedup_t *d,
    ngx_http_batch_dedup_group_t *g, ngx_http_batch_dedup_entry_t *e)
{
    size_t      len;
    u_char      id[BATCH_CUSTOM_ID_MAX];
    ngx_uint_t  i;

    if (ngx_http_batch_dedup_token(d->input, (off_t) e->offset, id, &len,
                                   d->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < g->nids; i++) {
        if (g->lens[i] == len && ngx_memcmp(g->ids[i], id, len) == 0) {
            return 1;
        }
    }

    if (g->nids < NGX_HTTP_BATCH_DEDUP_SAME) {
        ngx_memcpy(g->ids[g->nids], id, len);
        g->lens[g->nids++] = len;
    }

    return 0;
}


/* the next entry in the order of (hash, line) */

static ngx_int_t
ngx_http_batch_dedup_feed(ngx_http_batch_dedup_t *d,
    ngx_http_batch_dedup_group_t *g, ngx_http_batch_dedup_entry_t *e)
{
    ngx_int_t  rc;

    if ((++g->seen & 0xfff) == 0 && ngx_http_batch_task_quit()) {
        return NGX_ABORT;
    }

    if (g->n == 0 || g->hash != e->hash) {
        g->hash = e->hash;
        g->first = *e;
        g->n = 1;
        g->nids = 0;
        return NGX_OK;
    }

    if (g->n++ == 1
        && ngx_http_batch_dedup_compare(d, g, &g->first) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_batch_dedup_compare(d, g, e);

    if (rc == 1 && (e->line & 1) == 0) {
        g->cb(g->ctx, e->line / 2, (off_t) e->offset);
    }

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


/* makes buf[pos] of the run valid; NGX_DONE at its end */

static ngx_int_t
ngx_http_batch_dedup_fill(ngx_http_batch_dedup_t *d,
    ngx_http_batch_dedup_run_t *r)
{
    size_t   n, size;
    ssize_t  got;

    if (r->pos < r->n) {
        return NGX_OK;
    }

    if (r->left == 0) {
        return NGX_DONE;
    }

    size = sizeof(ngx_http_batch_dedup_entry_t);

    r->pos = 0;
    r->n = ngx_min(r->room, r->left);

    n = r->n * size;

    got = ngx_http_batch_store_pread(d->spill, r->buf, n,
                                     (off_t) (r->next * size), d->log);

    if (got == -1) {
        return NGX_ERROR;
    }

    if ((size_t) got != n) {
        ngx_log_error(NGX_LOG_CRIT, d->log, 0,
                      "batch: hashes of custom_ids have been cut");
        return NGX_ERROR;
    }

    r->next += r->n;
    r->left -= r->n;

    return NGX_OK;
}


/* heap of run numbers, the smallest next entry on top */

static void
ngx_http_batch_dedup_sift(ngx_http_batch_dedup_run_t *runs, size_t *heap,
    size_t n, size_t i)
{
    size_t                      child, t;
    ngx_http_batch_dedup_run_t  *a, *b;

    for ( ;; ) {
        child = 2 * i + 1;

        if (child >= n) {
            return;
        }

        if (child + 1 < n) {
            a = &runs[heap[child]];
            b = &runs[heap[child + 1]];

            if (ngx_http_batch_dedup_cmp(&b->buf[b->pos], &a->buf[a->pos])
                < 0)
            {
                child++;
            }
        }

        a = &runs[heap[i]];
        b = &runs[heap[child]];

        if (ngx_http_batch_dedup_cmp(&a->buf[a->pos], &b->buf[b->pos]) <= 0) {
            return;
        }

        t = heap[i];
        heap[i] = heap[child];
        heap[child] = t;

        i = child;
    }
}


static ngx_int_t
ngx_http_batch_dedup_merge(ngx_http_batch_dedup_t *d,
    ngx_http_batch_dedup_group_t *g, ngx_http_batch_dedup_run_t *runs,
    size_t *heap)
{
    size_t                       i, n;
    ngx_int_t                    rc;
    ngx_http_batch_dedup_run_t  *r;

    n = d->nruns;

    for (i = 0; i < n; i++) {
        heap[i] = i;

        if (ngx_http_batch_dedup_fill(d, &runs[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    for (i = n / 2; i > 0; i--) {
        ngx_http_batch_dedup_sift(runs, heap, n, i - 1);
    }

    while (n) {
        r = &runs[heap[0]];

        rc = ngx_http_batch_dedup_feed(d, g, &r->buf[r->pos++]);
        if (rc != NGX_OK) {
            return rc;
        }

        rc = ngx_http_batch_dedup_fill(d, r);

        if (rc == NGX_ERROR) {
            return rc;
        }

        if (rc == NGX_DONE) {
            heap[0] = heap[--n];
        }

        ngx_http_batch_dedup_sift(runs, heap, n, 0);
    }

    return NGX_OK;
}


/* all runs in one block: buffers, then their states, then the heap */

static ngx_int_t
ngx_http_batch_dedup_merge_all(ngx_http_batch_dedup_t *d,
    ngx_http_batch_dedup_group_t *g)
{
    size_t                       i, room, size, *heap;
    u_char                      *mem;
    uint64_t                     next;
    ngx_int_t                    rc;
    ngx_http_batch_dedup_run_t  *runs;

    if (d->n && ngx_http_batch_dedup_spill(d) != NGX_OK) {
        return NGX_ERROR;
    }

    free(d->entries);
    d->entries = NULL;
    d->nalloc = 0;

    size = NGX_HTTP_BATCH_DEDUP_READ / d->nruns;
    size = ngx_min(size, NGX_HTTP_BATCH_DEDUP_READ_MAX);
    size = ngx_max(size, NGX_HTTP_BATCH_DEDUP_READ_MIN);

    room = size / sizeof(ngx_http_batch_dedup_entry_t);
    size = room * sizeof(ngx_http_batch_dedup_entry_t);

    mem = ngx_calloc(d->nruns * (size
                                 + sizeof(ngx_http_batch_dedup_run_t)
                                 + sizeof(size_t)), d->log);
    if (mem == NULL) {
        return NGX_ERROR;
    }

    runs = (ngx_http_batch_dedup_run_t *)
               (mem + d->nruns * size);
    heap = (size_t *) (runs + d->nruns);
    next = 0;

    for (i = 0; i < d->nruns; i++) {
        runs[i].buf = (ngx_http_batch_dedup_entry_t *)
                          (mem + i * size);
        runs[i].room = room;
        runs[i].next = next;
        runs[i].left = d->runs[i];

        next += d->runs[i];
    }

    rc = ngx_http_batch_dedup_merge(d, g, runs, heap);

    ngx_free(mem);

    return rc;
}


ngx_int_t
ngx_http_batch_dedup_finish(ngx_http_batch_dedup_t *d,
    ngx_http_batch_dedup_pt cb, void *ctx)
{
    size_t                        i;
    ngx_int_t                     rc;
    ngx_http_batch_dedup_group_t  g;

    g.n = 0;
    g.nids = 0;
    g.hash = 0;
    g.seen = 0;
    g.cb = cb;
    g.ctx = ctx;

    if (d->nruns) {
        return ngx_http_batch_dedup_merge_all(d, &g);
    }

    if (d->n == 0) {
        return NGX_OK;
    }

    ngx_qsort(d->entries, d->n, sizeof(ngx_http_batch_dedup_entry_t),
              ngx_http_batch_dedup_cmp);

    for (i = 0; i < d->n; i++) {
        rc = ngx_http_batch_dedup_feed(d, &g, &d->entries[i]);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}
