/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The window of the input that a running chunk walks: read by tasks, walked
 * line by line on the event loop.  It grows to the longest line met so far.
 *
 * One chunk of a worker may have a window of more than 16 MB, while it has a
 * line that needs that.  Another one that needs it, too, takes it over once the
 * first one has found its line, or has not been walked for a second: lines of a
 * dead upstream are not in the way.  What was not walked is read again then.
 */

#include "ngx_http_batch_chunk.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"


#define NGX_HTTP_BATCH_WINDOW         (256 * 1024)    /* bytes, at first */
#define NGX_HTTP_BATCH_WINDOW_LARGE   (16 * 1024 * 1024)  /* bytes; above it
                                                         there is one only */
#define NGX_HTTP_BATCH_WINDOW_IDLE    1000            /* ms without a walk */


typedef struct {
    ngx_http_batch_chunk_t        *chunk;
    ngx_fd_t                       fd;
    u_char                        *buf;           /* in the chunk's window */
    size_t                         size;
    off_t                          off;
    ssize_t                        n;             /* bytes read, -1: failed */
} ngx_http_batch_window_fill_t;


static ngx_int_t ngx_http_batch_window_room(ngx_http_batch_chunk_t *c);
static ngx_int_t ngx_http_batch_window_resize(ngx_http_batch_chunk_t *c,
    size_t size);
static void ngx_http_batch_window_fill(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_window_fill_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_window_fill_done(void *ctx, ngx_log_t *log);


/* the chunk with the large window, or NULL */
static ngx_http_batch_chunk_t  *ngx_http_batch_window_large;


ngx_int_t
ngx_http_batch_window_next(ngx_http_batch_chunk_t *c, u_char **p, size_t *len)
{
    u_char                       *start, *nl;
    size_t                        left;
    ngx_http_batch_plan_chunk_t  *pc;

    pc = &c->run->plan.chunks[c->chunk];

    start = c->win + c->win_pos;
    left = c->win_len - c->win_pos;

    c->walked_at = ngx_current_msec;

    nl = left ? memchr(start, LF, left) : NULL;

    if (nl) {
        *len = nl - start;
        c->win_pos += *len + 1;

    } else if (c->next_read < pc->offset + pc->length) {
        c->found = 0;
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

    c->found = 1;
    *p = start;

    return NGX_OK;
}


void
ngx_http_batch_window_free(ngx_http_batch_chunk_t *c)
{
    ngx_free(c->win);
    c->win = NULL;
    c->win_size = 0;

    if (ngx_http_batch_window_large == c) {
        ngx_http_batch_window_large = NULL;
    }
}


/* makes room behind what is left of the window, which moves to its front */

static ngx_int_t
ngx_http_batch_window_room(ngx_http_batch_chunk_t *c)
{
    size_t                        left;
    ngx_http_batch_plan_chunk_t  *pc;

    pc = &c->run->plan.chunks[c->chunk];
    left = c->win_len - c->win_pos;

    if (c->win_size == 0) {
        return ngx_http_batch_window_resize(c,
                              (size_t) ngx_min(NGX_HTTP_BATCH_WINDOW,
                                               pc->length));
    }

    if (left == c->win_size) {
        return ngx_http_batch_window_resize(c, c->win_size * 2);
    }

    if (c == ngx_http_batch_window_large && left < NGX_HTTP_BATCH_WINDOW) {
        return ngx_http_batch_window_resize(c, NGX_HTTP_BATCH_WINDOW);
    }

    if (left) {
        ngx_memmove(c->win, c->win + c->win_pos, left);
    }

    c->win_pos = 0;
    c->win_len = left;

    return NGX_OK;
}


/* NGX_AGAIN: another chunk has the large window; the next beat tries again */

static ngx_int_t
ngx_http_batch_window_resize(ngx_http_batch_chunk_t *c, size_t size)
{
    size_t                   left;
    u_char                  *win;
    ngx_http_batch_chunk_t  *large = ngx_http_batch_window_large;

    if (size > NGX_HTTP_BATCH_WINDOW_LARGE && large && large != c) {

        if (large->reading
            || (!large->found
                && ngx_current_msec - large->walked_at
                   < NGX_HTTP_BATCH_WINDOW_IDLE))
        {
            return NGX_AGAIN;
        }

        large->next_read -= large->win_len - large->win_pos;
        large->win_pos = 0;
        large->win_len = 0;

        ngx_http_batch_window_free(large);
    }

    win = ngx_alloc(size, ngx_cycle->log);
    if (win == NULL) {
        return NGX_ERROR;
    }

    left = c->win_len - c->win_pos;

    if (left) {
        ngx_memcpy(win, c->win + c->win_pos, left);
    }

    ngx_http_batch_window_free(c);

    if (size > NGX_HTTP_BATCH_WINDOW_LARGE) {
        ngx_http_batch_window_large = c;
    }

    c->win = win;
    c->win_size = size;
    c->win_pos = 0;
    c->win_len = left;

    return NGX_OK;
}


/* reads on after the part of a line that is left in the window */

static void
ngx_http_batch_window_fill(ngx_http_batch_chunk_t *c)
{
    ngx_http_batch_window_fill_t *f;
    ngx_http_batch_plan_chunk_t  *pc;

    pc = &c->run->plan.chunks[c->chunk];

    if (ngx_http_batch_window_room(c) != NGX_OK) {
        return;
    }

    f = ngx_http_batch_task_create(sizeof(ngx_http_batch_window_fill_t),
                                   ngx_http_batch_window_fill_run,
                                   ngx_http_batch_window_fill_done);
    if (f == NULL) {
        return;
    }

    f->chunk = c;
    f->fd = c->input;
    f->buf = c->win + c->win_len;
    f->off = c->next_read;
    f->size = ngx_min((off_t) (c->win_size - c->win_len),
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
