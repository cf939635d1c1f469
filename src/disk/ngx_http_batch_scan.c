/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the segments of a chunk hold.
 */


#include "ngx_http_batch_scan.h"
#include "ngx_http_batch_store.h"


typedef struct {
    batch_pick_t     pick;
    batch_usage_t    usage;
} ngx_http_batch_found_t;


typedef struct {
    ngx_fd_t                  fd;
    uint32_t                  epoch;
    uint64_t                  from;
    uint64_t                  to;
    ngx_http_batch_found_t   *found;
    size_t                    n;
    size_t                    nalloc;
    ngx_uint_t                unread;      /* an error of the disk */
    ngx_uint_t                failed;      /* no memory */
    ngx_log_t                *log;
} ngx_http_batch_scan_t;


static ssize_t
ngx_http_batch_scan_read(void *ctx, void *buf, size_t n, uint64_t off)
{
    ssize_t                 got;
    ngx_http_batch_scan_t  *s = ctx;

    got = ngx_http_batch_store_pread(s->fd, buf, n, (off_t) off, s->log);

    if (got == -1) {
        s->unread = 1;
    }

    return got;
}


static int
ngx_http_batch_scan_record(void *ctx, const batch_record_t *r, uint64_t off)
{
    size_t                   n;
    ngx_http_batch_found_t  *f;
    ngx_http_batch_scan_t   *s = ctx;

    if (r->line < s->from || r->line >= s->to) {
        return BATCH_OK;
    }

    if (s->n == s->nalloc) {
        n = s->nalloc ? s->nalloc * 2 : 256;

        f = realloc(s->found, n * sizeof(ngx_http_batch_found_t));
        if (f == NULL) {
            s->failed = 1;
            return BATCH_ERROR;
        }

        s->found = f;
        s->nalloc = n;
    }

    f = &s->found[s->n++];

    f->pick.line = r->line;
    f->pick.offset = off;
    f->pick.epoch = s->epoch;
    f->pick.len = r->len;
    f->pick.crc = r->crc;
    f->pick.kind = r->kind;
    f->pick.status = r->status;
    f->usage = r->usage;

    return BATCH_OK;
}


static int ngx_libc_cdecl
ngx_http_batch_scan_cmp(const void *one, const void *two)
{
    const ngx_http_batch_found_t  *a = one, *b = two;

    if (a->pick.line != b->pick.line) {
        return a->pick.line < b->pick.line ? -1 : 1;
    }

    if (a->pick.epoch != b->pick.epoch) {
        return a->pick.epoch < b->pick.epoch ? -1 : 1;
    }

    return (a->pick.offset > b->pick.offset)
           - (a->pick.offset < b->pick.offset);
}


/* What a crash has left of the last group is not worth an alert. */

static void
ngx_http_batch_scan_tell(ngx_http_batch_scan_t *s, const char *id,
    uint32_t chunk, int64_t off, batch_record_end_e end)
{
    const char  *what;

    if (end == BATCH_RECORD_TORN) {
        ngx_log_error(NGX_LOG_INFO, s->log, 0,
                      "batch: %s, chunk %uD: segment of epoch %uD is torn at"
                      " byte %L",
                      id, chunk, s->epoch, off);
        return;
    }

    what = (end == BATCH_RECORD_DAMAGED)
           ? "is damaged" : "has a record of another batch, chunk or epoch";

    ngx_log_error(NGX_LOG_ALERT, s->log, 0,
                  "batch: %s, chunk %uD: segment of epoch %uD %s at byte %L,"
                  " from there on it does not count",
                  id, chunk, s->epoch, what, off);
}


static ngx_int_t
ngx_http_batch_scan_segment(ngx_http_batch_scan_t *s, const char *id,
    uint32_t chunk, uint32_t epoch)
{
    size_t            before;
    int64_t           size;
    batch_record_end_e  end;

    s->epoch = epoch;
    s->fd = ngx_http_batch_segment_open(id, chunk, epoch, s->log);

    if (s->fd == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NGX_OK : NGX_ERROR;
    }

    /* an error of the disk ends this segment; what was found is checked */

    before = s->n;
    s->unread = 0;

    size = batch_record_scan(ngx_http_batch_scan_read, s,
                             batch_record_tag(id, chunk, epoch),
                             ngx_http_batch_scan_record, s, &end);

    if (size >= 0 && end != BATCH_RECORD_WHOLE) {
        ngx_http_batch_scan_tell(s, id, chunk, size, end);
    }

    /* without memory nothing is known, also of what was not reached */

    if (size < 0 && !s->unread) {
        s->failed = 1;
    }

    /* Its writer may have died between write and sync: what we have read is the
     * page cache, which a power cut can still take away.  Synced first it would
     * not do: an owner whose lease ran out may still be writing. */

    if (s->n != before && fdatasync(s->fd) == -1) {
        ngx_log_error(NGX_LOG_CRIT, s->log, ngx_errno,
                      "batch: %s, chunk %uD: fdatasync() of the segment of"
                      " epoch %uD failed, its records do not count",
                      id, chunk, epoch);
        s->n = before;
    }

    (void) ngx_close_file(s->fd);

    return s->failed ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_http_batch_scan(const char *id, uint32_t chunk, const uint32_t *epochs,
    size_t nepochs, uint64_t from, uint64_t to, batch_pick_t **picks,
    batch_usage_t **usages, size_t *n, ngx_log_t *log)
{
    size_t                   i;
    ngx_int_t                rc;
    ngx_http_batch_scan_t    s;
    ngx_http_batch_found_t  *f;

    ngx_memzero(&s, sizeof(ngx_http_batch_scan_t));

    s.from = from;
    s.to = to;
    s.log = log;

    *n = 0;

    rc = NGX_OK;

    for (i = 0; i < nepochs && rc == NGX_OK; i++) {
        rc = ngx_http_batch_scan_segment(&s, id, chunk, epochs[i]);
    }

    *picks = malloc((s.n + 1) * sizeof(batch_pick_t));

    if (usages) {
        *usages = malloc((s.n + 1) * sizeof(batch_usage_t));
    }

    if (rc != NGX_OK || *picks == NULL || (usages && *usages == NULL)) {
        free(s.found);
        free(*picks);
        *picks = NULL;

        if (usages) {
            free(*usages);
            *usages = NULL;
        }

        return NGX_ERROR;
    }

    if (s.n) {
        ngx_qsort(s.found, s.n, sizeof(ngx_http_batch_found_t),
                  ngx_http_batch_scan_cmp);
    }

    /* the oldest record of a line counts: it may have been counted already */

    for (i = 0; i < s.n; i++) {
        f = &s.found[i];

        if (*n && (*picks)[*n - 1].line == f->pick.line) {
            continue;
        }

        (*picks)[*n] = f->pick;

        if (usages) {
            (*usages)[*n] = f->usage;
        }

        (*n)++;
    }

    free(s.found);

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, log, 0,
                   "batch: %s, chunk %uD: %uz segments have %uz lines",
                   id, chunk, nepochs, *n);

    return NGX_OK;
}
