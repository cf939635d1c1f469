/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The window of the input that a running chunk walks: read by tasks, walked
 * line by line on the event loop.  It grows to the longest line met so far.
 */

#include "ngx_http_batch_chunk.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"


#define NGX_HTTP_BATCH_WINDOW         (256 * 1024)    /* bytes, at first */


typedef struct {
    ngx_http_batch_chunk_t        *chunk;
    ngx_fd_t                       fd;
    u_char                        *buf;           /* in the chunk's window */
    size_t                         size;
    off_t                          off;
    ssize_t                        n;             /* bytes read, -1: failed */
} ngx_http_batch_window_fill_t;


static void ngx_http_batch_window_fill(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_window_fill_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_window_fill_done(void *ctx, ngx_log_t *log);


ngx_int_t
ngx_http_batch_window_next(ngx_http_batch_chunk_t *c, u_char **p, size_t *len)
{
    u_char                       *start, *nl;
    size_t                        left;
    ngx_http_batch_plan_chunk_t  *pc;

    pc = &c->run->plan.chunks[c->chunk];

    start = c->win + c->win_pos;
    left = c->win_len - c->win_pos;

    nl = left ? memchr(start, LF, left) : NULL;

    if (nl) {
        *len = nl - start;
        c->win_pos += *len + 1;

    } else if (c->next_read < pc->offset + pc->length) {
        ngx_http_batch_window_fill(c);
        return NGX_AGAIN;

    } else if (left) {
        *len = left;
        c->win_pos = c->win_len;

    } else {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "batch: %s, chunk %uD: input ends too early, it is not"
                      " what was validated", c->run->id, c->chunk);
        ngx_http_batch_chunk_poison(c, "input");
        ngx_http_batch_chunk_advance(c);
        return NGX_ERROR;
    }

    if (c->line == 1 && *len >= 3 && ngx_memcmp(start, "\xEF\xBB\xBF", 3) == 0)
    {
        /* the byte-order mark of the file */
        start += 3;
        *len -= 3;
    }

    *p = start;

    return NGX_OK;
}


/* reads on after the part of a line that is left in the window */

static void
ngx_http_batch_window_fill(ngx_http_batch_chunk_t *c)
{
    size_t                        left, size;
    u_char                       *win;
    ngx_http_batch_window_fill_t *f;
    ngx_http_batch_plan_chunk_t  *pc;

    pc = &c->run->plan.chunks[c->chunk];
    left = c->win_len - c->win_pos;

    if (left == c->win_size) {
        size = c->win_size ? c->win_size * 2
                           : (size_t) ngx_min(NGX_HTTP_BATCH_WINDOW,
                                              pc->length);

        win = ngx_alloc(size, ngx_cycle->log);
        if (win == NULL) {
            return;
        }

        ngx_memcpy(win, c->win + c->win_pos, left);
        ngx_free(c->win);

        c->win = win;
        c->win_size = size;

    } else if (left) {
        ngx_memmove(c->win, c->win + c->win_pos, left);
    }

    c->win_pos = 0;
    c->win_len = left;

    f = ngx_http_batch_task_create(sizeof(ngx_http_batch_window_fill_t),
                                   ngx_http_batch_window_fill_run,
                                   ngx_http_batch_window_fill_done);
    if (f == NULL) {
        return;
    }

    f->chunk = c;
    f->fd = c->input;
    f->buf = c->win + left;
    f->off = c->next_read;
    f->size = ngx_min((off_t) (c->win_size - left),
                      pc->offset + pc->length - c->next_read);

    if (ngx_http_batch_task_start(f) != NGX_OK) {
        return;
    }

    c->reading = 1;
}


static void
ngx_http_batch_window_fill_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_window_fill_t *f = ctx;

    ssize_t  rc;

    f->n = 0;

    while ((size_t) f->n < f->size) {

        rc = pread(f->fd, f->buf + f->n, f->size - f->n, f->off + f->n);

        if (rc == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (rc == -1) {
            ngx_log_error(NGX_LOG_CRIT, log, ngx_errno,
                          "batch: %s, chunk %uD: pread() of the input at %O"
                          " failed", f->chunk->run->id, f->chunk->chunk,
                          f->off + (off_t) f->n);
        }

        if (rc == 0) {
            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "batch: %s, chunk %uD: input is shorter than %O"
                          " bytes", f->chunk->run->id, f->chunk->chunk,
                          f->off + (off_t) f->size);
        }

        if (rc <= 0) {
            f->n = -1;
            return;
        }

        f->n += rc;
    }
}


static void
ngx_http_batch_window_fill_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_window_fill_t *f = ctx;

    ngx_http_batch_chunk_t  *c;

    c = f->chunk;
    c->reading = 0;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, chunk %uD: %z bytes of the input at %O",
                   c->run->id, c->chunk, f->n, f->off);

    if (f->n < 0) {
        ngx_http_batch_chunk_poison(c, "input");

    } else {
        c->win_len += f->n;
        c->next_read += f->n;
    }

    ngx_http_batch_task_free(ctx);

    ngx_http_batch_chunk_advance(c);
    ngx_http_batch_turn_wake();
}
