
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The lines of a range of an input file.
 */


#include "ngx_http_batch_lines.h"
#include "ngx_http_batch_store.h"


static ngx_int_t ngx_http_batch_lines_fill(ngx_http_batch_lines_t *l);
static ngx_int_t ngx_http_batch_lines_resize(ngx_http_batch_lines_t *l,
    size_t size);


static pthread_mutex_t  ngx_http_batch_lines_mutex = PTHREAD_MUTEX_INITIALIZER;


ngx_int_t
ngx_http_batch_lines_init(ngx_http_batch_lines_t *l, ngx_fd_t fd, off_t from,
    off_t to, uint64_t first_number, size_t max, ngx_log_t *log)
{
    ngx_memzero(l, sizeof(ngx_http_batch_lines_t));

    l->fd = fd;
    l->log = log;
    l->max = max;
    l->end = to;
    l->buf_off = from;
    l->number = first_number - 1;

    l->size = NGX_HTTP_BATCH_LINES_WINDOW;

    if (to - from < (off_t) l->size) {
        l->size = (to > from) ? (size_t) (to - from) : 1;
    }

    l->buf = malloc(l->size);
    if (l->buf == NULL) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "batch: malloc(%uz) failed", l->size);
        return NGX_ERROR;
    }

    if (from == 0) {
        if (ngx_http_batch_lines_fill(l) != NGX_OK) {
            ngx_http_batch_lines_free(l);
            return NGX_ERROR;
        }

        if (l->last >= 3 && ngx_memcmp(l->buf, "\xef\xbb\xbf", 3) == 0) {
            l->pos = 3;
        }
    }

    return NGX_OK;
}


void
ngx_http_batch_lines_free(ngx_http_batch_lines_t *l)
{
    free(l->buf);
    l->buf = NULL;

    if (l->large) {
        l->large = 0;
        (void) pthread_mutex_unlock(&ngx_http_batch_lines_mutex);
    }
}


static ngx_int_t
ngx_http_batch_lines_resize(ngx_http_batch_lines_t *l, size_t size)
{
    u_char  *p;

    if (size > NGX_HTTP_BATCH_LINES_FREE && !l->large) {
        (void) pthread_mutex_lock(&ngx_http_batch_lines_mutex);
        l->large = 1;
    }

    p = realloc(l->buf, size);
    if (p == NULL) {
        ngx_log_error(NGX_LOG_EMERG, l->log, ngx_errno,
                      "batch: realloc(%uz) failed", size);
        return NGX_ERROR;
    }

    l->buf = p;
    l->size = size;

    if (size <= NGX_HTTP_BATCH_LINES_FREE && l->large) {
        l->large = 0;
        (void) pthread_mutex_unlock(&ngx_http_batch_lines_mutex);
    }

    return NGX_OK;
}


/* reads on after buf[last], having made room */

static ngx_int_t
ngx_http_batch_lines_fill(ngx_http_batch_lines_t *l)
{
    off_t     off;
    size_t    n;
    ssize_t   got;

    if (l->pos) {
        ngx_memmove(l->buf, l->buf + l->pos, l->last - l->pos);

        l->buf_off += l->pos;
        l->last -= l->pos;
        l->pos = 0;
    }

    if (l->large && l->last < NGX_HTTP_BATCH_LINES_WINDOW) {

        /* the long line is over: it is another one's turn */

        if (ngx_http_batch_lines_resize(l, NGX_HTTP_BATCH_LINES_WINDOW)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else if (l->last == l->size) {

        n = ngx_min(l->size * 2, l->max + NGX_HTTP_BATCH_LINES_WINDOW);

        if (ngx_http_batch_lines_resize(l, n) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    off = l->buf_off + l->last;
    n = l->size - l->last;

    if ((off_t) n > l->end - off) {
        n = (size_t) (l->end - off);
    }

    got = ngx_http_batch_store_pread(l->fd, l->buf + l->last, n, off, l->log);

    if (got == -1) {
        return NGX_ERROR;
    }

    if ((size_t) got < n) {
        ngx_log_error(NGX_LOG_ALERT, l->log, 0,
                      "batch: input is shorter than %O bytes", off + n);
        l->cut = 1;
        return NGX_ERROR;
    }

    l->last += n;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_lines_next(ngx_http_batch_lines_t *l)
{
    u_char  *nl;
    size_t   seen;

    seen = 0;

    for ( ;; ) {

        nl = NULL;

        if (l->last - l->pos > seen) {
            nl = memchr(l->buf + l->pos + seen, LF,
                        l->last - l->pos - seen);
        }

        if (nl == NULL && l->buf_off + (off_t) l->last < l->end) {

            seen = l->last - l->pos;

            if (!l->skip && seen > l->max) {
                l->number++;
                l->offset = l->buf_off + l->pos;
                l->len = 0;
                l->skip = 1;
                l->pos = l->last;
                return NGX_DECLINED;
            }

            if (l->skip) {
                l->pos = l->last;
                seen = 0;
            }

            if (ngx_http_batch_lines_fill(l) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (nl == NULL && (l->pos == l->last || l->skip)) {
            return NGX_DONE;
        }

        l->line = l->buf + l->pos;
        l->offset = l->buf_off + l->pos;
        l->len = (nl ? nl : l->buf + l->last) - l->line;
        l->pos += l->len + (nl ? 1 : 0);

        if (l->skip) {
            l->skip = 0;
            seen = 0;
            continue;
        }

        l->number++;

        return (l->len > l->max) ? NGX_DECLINED : NGX_OK;
    }
}
