/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A large answer does not stay in memory: NGX_HTTP_BATCH_SPOOL_SIZE bytes of it
 * at a time go to a file in tmp/ that has no name any more.  The journal copies
 * them from there into the segment.
 *
 * The upstream may be faster than the disk: what waits to be written is bounded
 * by NGX_HTTP_BATCH_SPOOL_AHEAD; beyond that no more is read (capture.c).
 *
 * A spool belongs to its line until the line's entry is finished, then to the
 * entry.  One task at a time writes its pieces.  If the owner lets go of it
 * while a task is under way, the task's end frees it.
 */

#include "ngx_http_batch_line.h"
#include "batch_crc32c.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"


#define NGX_HTTP_BATCH_SPOOL_COPY     (256 * 1024)    /* bytes at a time */


typedef struct {
    ngx_http_batch_spool_t    *spool;
    ngx_queue_t                pieces;
    off_t                      off;
    ngx_int_t                  rc;
} ngx_http_batch_spool_write_t;


static void ngx_http_batch_spool_post(ngx_http_batch_spool_t *s);
static void ngx_http_batch_spool_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_spool_done(void *ctx, ngx_log_t *log);
static void ngx_http_batch_spool_destroy(ngx_http_batch_spool_t *s);
static void ngx_http_batch_spool_drop(ngx_queue_t *pieces);


/* takes the line's entry: its bytes so far are the next piece of the file */

void
ngx_http_batch_spool_push(ngx_http_batch_line_t *line)
{
    ngx_http_batch_entry_t  *piece;
    ngx_http_batch_spool_t  *s;

    s = line->spool;

    if (s == NULL) {
        s = ngx_calloc(sizeof(ngx_http_batch_spool_t), ngx_cycle->log);
        if (s == NULL) {
            line->no_memory = 1;
            return;
        }

        s->fd = NGX_INVALID_FILE;
        s->line = line;
        ngx_queue_init(&s->pieces);

        line->spool = s;

        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, &line->at.log, 0,
                       "batch: %s, line %uL: spool begun",
                       line->chunk->run->id, line->number);
    }

    piece = line->entry;
    piece->record.len = line->len;

    line->entry = NULL;
    line->len = 0;

    s->crc = batch_crc32c(s->crc, piece->payload, piece->record.len);
    s->size += piece->record.len;

    ngx_queue_insert_tail(&s->pieces, &piece->queue);

    if (!s->busy) {
        ngx_http_batch_spool_post(s);
    }
}


ngx_uint_t
ngx_http_batch_spool_busy(ngx_http_batch_spool_t *s)
{
    return s && !s->failed && (s->busy || !ngx_queue_empty(&s->pieces));
}


ngx_uint_t
ngx_http_batch_spool_full(ngx_http_batch_spool_t *s)
{
    return s && !s->failed
           && s->size - s->written > NGX_HTTP_BATCH_SPOOL_AHEAD;
}


static void
ngx_http_batch_spool_post(ngx_http_batch_spool_t *s)
{
    ngx_http_batch_spool_write_t  *w;

    w = ngx_http_batch_task_create(sizeof(ngx_http_batch_spool_write_t),
                                   ngx_http_batch_spool_run,
                                   ngx_http_batch_spool_done);
    if (w == NULL) {
        s->failed = 1;
        return;
    }

    w->spool = s;
    w->off = s->written;

    ngx_queue_init(&w->pieces);
    ngx_queue_add(&w->pieces, &s->pieces);
    ngx_queue_init(&s->pieces);

    if (ngx_http_batch_task_post(w) != NGX_OK) {
        ngx_http_batch_spool_drop(&w->pieces);
        ngx_http_batch_task_free(w);
        s->failed = 1;
        return;
    }

    s->busy = 1;
}


static void
ngx_http_batch_spool_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_spool_write_t *w = ctx;

    char                     name[NGX_HTTP_BATCH_TMP_LEN];
    ngx_queue_t             *q;
    ngx_http_batch_entry_t  *piece;

    w->rc = NGX_ERROR;

    if (w->spool->fd == NGX_INVALID_FILE) {

        w->spool->fd = ngx_http_batch_store_tmp(name, log);
        if (w->spool->fd == NGX_INVALID_FILE) {
            return;
        }

        /* the file does not outlive us, whatever happens */
        ngx_http_batch_store_tmp_delete(name, log);
    }

    for (q = ngx_queue_head(&w->pieces);
         q != ngx_queue_sentinel(&w->pieces);
         q = ngx_queue_next(q))
    {
        piece = ngx_queue_data(q, ngx_http_batch_entry_t, queue);

        if (ngx_http_batch_store_write(w->spool->fd, piece->payload,
                                       piece->record.len, w->off, log)
            != NGX_OK)
        {
            return;
        }

        w->off += piece->record.len;
    }

    w->rc = NGX_OK;
}


static void
ngx_http_batch_spool_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_spool_write_t *w = ctx;

    ngx_http_batch_spool_t  *s;

    s = w->spool;

    s->busy = 0;
    s->written = w->off;

    if (w->rc != NGX_OK) {
        s->failed = 1;
    }

    ngx_http_batch_spool_drop(&w->pieces);
    ngx_http_batch_task_free(ctx);

    if (s->line == NULL) {
        ngx_http_batch_spool_destroy(s);
        return;
    }

    if (!s->failed && !ngx_queue_empty(&s->pieces)) {
        ngx_http_batch_spool_post(s);
    }

    if (!ngx_http_batch_spool_full(s)) {
        ngx_http_batch_attempt_resume(&s->line->at);
    }

    if (!ngx_http_batch_spool_busy(s)) {
        ngx_http_batch_line_spooled(s->line);
    }
}


void
ngx_http_batch_spool_free(ngx_http_batch_spool_t *s)
{
    if (s == NULL) {
        return;
    }

    s->line = NULL;

    if (!s->busy) {
        ngx_http_batch_spool_destroy(s);
    }
}


ngx_int_t
ngx_http_batch_spool_copy(ngx_http_batch_spool_t *s, ngx_fd_t fd, off_t *off,
    const char *id, ngx_log_t *log)
{
    off_t      from;
    size_t     n;
    u_char    *buf;
    ssize_t    rc;
    ngx_int_t  ok;

    buf = ngx_alloc(NGX_HTTP_BATCH_SPOOL_COPY, log);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    ok = NGX_OK;

    for (from = 0; from < s->size && ok == NGX_OK; from += rc) {

        n = ngx_min(NGX_HTTP_BATCH_SPOOL_COPY, s->size - from);

        rc = pread(s->fd, buf, n, from);

        if (rc == -1 && ngx_errno == NGX_EINTR) {
            rc = 0;
            continue;
        }

        if (rc <= 0) {
            ngx_log_error(NGX_LOG_CRIT, log, rc ? ngx_errno : 0,
                          "batch: %s: pread() of a spooled answer failed", id);
            ok = NGX_ERROR;
            break;
        }

        ok = ngx_http_batch_store_write(fd, buf, rc, *off, log);
        *off += rc;
    }

    ngx_free(buf);

    return ok;
}


static void
ngx_http_batch_spool_destroy(ngx_http_batch_spool_t *s)
{
    ngx_http_batch_spool_drop(&s->pieces);

    if (s->fd != NGX_INVALID_FILE && ngx_close_file(s->fd) == NGX_FILE_ERROR)
    {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "batch: " ngx_close_file_n " of a spooled answer"
                      " failed");
    }

    ngx_free(s);
}


static void
ngx_http_batch_spool_drop(ngx_queue_t *pieces)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(pieces)) {
        q = ngx_queue_head(pieces);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_http_batch_entry_t, queue));
    }
}
