
/*
 * Copyright (C) the ngx_http_batch_module authors
 */


#include "ngx_http_batch_result.h"
#include "batch_crc32c.h"


#define NGX_HTTP_BATCH_FILL_MAX  512      /* of a filled line but the id */


static ngx_int_t ngx_http_batch_result_open(ngx_http_batch_sink_t *s,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_result_flush(ngx_http_batch_sink_t *s,
    ngx_log_t *log);
static void ngx_http_batch_result_count(ngx_http_batch_result_t *r,
    const batch_record_t *record);
static ngx_int_t ngx_http_batch_result_view(ngx_http_batch_result_view_t *v,
    ngx_fd_t segment, off_t off, size_t size, ngx_log_t *log);
static ngx_int_t ngx_http_batch_result_small(ngx_http_batch_sink_t *s,
    ngx_http_batch_result_view_t *v, ngx_fd_t segment, uint64_t tag,
    const batch_pick_t *pick, batch_record_t *record, ngx_log_t *log);
static ngx_int_t ngx_http_batch_result_large(ngx_http_batch_sink_t *s,
    ngx_fd_t segment, uint64_t tag, const batch_pick_t *pick,
    batch_record_t *record, ngx_log_t *log);


void
ngx_http_batch_result_init(ngx_http_batch_result_t *r, ngx_log_t *log)
{
    ngx_memzero(r, sizeof(ngx_http_batch_result_t));

    r->sinks[0].fd = NGX_INVALID_FILE;
    r->sinks[1].fd = NGX_INVALID_FILE;
    r->view.fd = NGX_INVALID_FILE;
    r->log = log;
}


void
ngx_http_batch_result_free(ngx_http_batch_result_t *r)
{
    ngx_uint_t              i;
    ngx_http_batch_sink_t  *s;

    for (i = 0; i < 2; i++) {
        s = &r->sinks[i];

        if (s->fd != NGX_INVALID_FILE) {
            ngx_http_batch_store_tmp_delete(s->tmp, r->log);
            (void) ngx_close_file(s->fd);
            s->fd = NGX_INVALID_FILE;
        }

        if (s->buf) {
            ngx_free(s->buf);
            s->buf = NULL;
        }
    }

    ngx_http_batch_result_forget(r);

    if (r->view.buf) {
        ngx_free(r->view.buf);
        r->view.buf = NULL;
    }
}


static ngx_int_t
ngx_http_batch_result_open(ngx_http_batch_sink_t *s, ngx_log_t *log)
{
    if (s->buf == NULL) {
        s->buf = ngx_alloc(NGX_HTTP_BATCH_SINK_SIZE, log);
        if (s->buf == NULL) {
            return NGX_ERROR;
        }
    }

    if (s->fd == NGX_INVALID_FILE) {
        s->fd = ngx_http_batch_store_tmp(s->tmp, log);
    }

    return s->fd == NGX_INVALID_FILE ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_batch_result_flush(ngx_http_batch_sink_t *s, ngx_log_t *log)
{
    if (s->len == 0) {
        return NGX_OK;
    }

    if (ngx_http_batch_store_write(s->fd, s->buf, s->len, s->off, log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

#if (NGX_LINUX)
    /* the disk may begin: the sync at the end waits for less */
    (void) sync_file_range(s->fd, s->off, s->len, SYNC_FILE_RANGE_WRITE);
#endif

    s->off += s->len;
    s->len = 0;

    return NGX_OK;
}


void
ngx_http_batch_result_mark(ngx_http_batch_result_t *r,
    ngx_http_batch_tally_t *mark)
{
    *mark = r->tally;

    mark->pos[0] = r->sinks[0].off + r->sinks[0].len;
    mark->pos[1] = r->sinks[1].off + r->sinks[1].len;
}


void
ngx_http_batch_result_rollback(ngx_http_batch_result_t *r,
    const ngx_http_batch_tally_t *mark)
{
    ngx_uint_t              i;
    ngx_http_batch_sink_t  *s;

    r->tally = *mark;

    for (i = 0; i < 2; i++) {
        s = &r->sinks[i];

        if (mark->pos[i] >= s->off) {
            s->len = (size_t) (mark->pos[i] - s->off);

        } else {

            /* what was written after it is overwritten, or cut at the end */

            s->off = mark->pos[i];
            s->len = 0;
        }
    }
}


ngx_int_t
ngx_http_batch_result_copy(ngx_http_batch_result_t *r, ngx_fd_t segment,
    uint64_t tag, const batch_pick_t *pick)
{
    ngx_int_t                rc;
    ngx_uint_t               i;
    batch_record_t           record;
    ngx_http_batch_sink_t   *s;
    ngx_http_batch_tally_t   mark;

    i = (pick->kind == BATCH_KIND_OUTPUT) ? NGX_HTTP_BATCH_SINK_OUTPUT
                                          : NGX_HTTP_BATCH_SINK_ERROR;
    s = &r->sinks[i];

    if (ngx_http_batch_result_open(s, r->log) != NGX_OK) {
        return NGX_ERROR;
    }

    if (pick->len == 0) {
        return NGX_DECLINED;
    }

    ngx_http_batch_result_mark(r, &mark);

    if (pick->len > NGX_HTTP_BATCH_VIEW_SIZE - BATCH_RECORD_HEADER) {
        rc = ngx_http_batch_result_large(s, segment, tag, pick, &record,
                                         r->log);

    } else {
        rc = ngx_http_batch_result_small(s, &r->view, segment, tag, pick,
                                         &record, r->log);
    }

    if (rc != NGX_OK) {
        ngx_http_batch_result_rollback(r, &mark);
        return rc;
    }

    ngx_http_batch_result_count(r, &record);

    return NGX_OK;
}


static void
ngx_http_batch_result_count(ngx_http_batch_result_t *r,
    const batch_record_t *record)
{
    if (record->kind == BATCH_KIND_OUTPUT) {
        r->tally.lines[NGX_HTTP_BATCH_SINK_OUTPUT]++;
        r->tally.ok++;
        batch_usage_add(&r->tally.usage, &record->usage);
        return;
    }

    r->tally.lines[NGX_HTTP_BATCH_SINK_ERROR]++;

    if (record->kind == BATCH_KIND_ERROR) {
        r->tally.failed++;
    }
}


ngx_int_t
ngx_http_batch_result_put(ngx_http_batch_result_t *r,
    const batch_record_t *record, const u_char *line)
{
    ngx_http_batch_sink_t  *s;

    s = &r->sinks[record->kind == BATCH_KIND_OUTPUT
                  ? NGX_HTTP_BATCH_SINK_OUTPUT : NGX_HTTP_BATCH_SINK_ERROR];

    if (ngx_http_batch_result_open(s, r->log) != NGX_OK
        || record->len > NGX_HTTP_BATCH_SINK_SIZE)
    {
        return NGX_ERROR;
    }

    if (NGX_HTTP_BATCH_SINK_SIZE - s->len < record->len
        && ngx_http_batch_result_flush(s, r->log) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(s->buf + s->len, line, record->len);
    s->len += record->len;

    ngx_http_batch_result_count(r, record);

    return NGX_OK;
}


static ngx_uint_t
ngx_http_batch_result_header(const u_char *buf, uint64_t tag,
    const batch_pick_t *pick, batch_record_t *record)
{
    return batch_record_decode(buf, tag, record) == BATCH_OK
           && record->line == pick->line
           && record->len == pick->len
           && record->crc == pick->crc
           && record->kind == pick->kind;
}


void
ngx_http_batch_result_forget(ngx_http_batch_result_t *r)
{
    r->view.fd = NGX_INVALID_FILE;
}


/*
 * Brings bytes [off, off + size) of the segment into the view.  Lines lie there
 * in the order in which they ended, which is almost that of the input: some of
 * what lies before is read, too, for those that come next.
 */

static ngx_int_t
ngx_http_batch_result_view(ngx_http_batch_result_view_t *v, ngx_fd_t segment,
    off_t off, size_t size, ngx_log_t *log)
{
    size_t   back;
    ssize_t  n;

    if (v->fd == segment && off >= v->off
        && off + (off_t) size <= v->off + (off_t) v->len)
    {
        return NGX_OK;
    }

    if (v->buf == NULL) {
        v->buf = ngx_alloc(NGX_HTTP_BATCH_VIEW_SIZE, log);
        if (v->buf == NULL) {
            return NGX_ERROR;
        }
    }

    back = ngx_min(NGX_HTTP_BATCH_VIEW_SIZE / 4,
                   NGX_HTTP_BATCH_VIEW_SIZE - size);
    back = (size_t) ngx_min((off_t) back, off);

    v->fd = NGX_INVALID_FILE;
    v->off = off - back;

    n = ngx_http_batch_store_pread(segment, v->buf,
                                   NGX_HTTP_BATCH_VIEW_SIZE, v->off,
                                   log);

    if (n < (ssize_t) (back + size)) {
        return NGX_DECLINED;
    }

    v->fd = segment;
    v->len = (size_t) n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_result_small(ngx_http_batch_sink_t *s,
    ngx_http_batch_result_view_t *v, ngx_fd_t segment, uint64_t tag,
    const batch_pick_t *pick, batch_record_t *record, ngx_log_t *log)
{
    u_char     *p;
    ngx_int_t   rc;

    rc = ngx_http_batch_result_view(v, segment, (off_t) pick->offset,
                                    BATCH_RECORD_HEADER + pick->len, log);
    if (rc != NGX_OK) {
        return rc;
    }

    p = v->buf + ((off_t) pick->offset - v->off);

    if (!ngx_http_batch_result_header(p, tag, pick, record)) {
        return NGX_DECLINED;
    }

    p += BATCH_RECORD_HEADER;

    if (batch_crc32c(0, p, pick->len) != pick->crc
        || p[pick->len - 1] != LF)
    {
        return NGX_DECLINED;
    }

    if (NGX_HTTP_BATCH_SINK_SIZE - s->len < pick->len
        && ngx_http_batch_result_flush(s, log) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(s->buf + s->len, p, pick->len);
    s->len += pick->len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_result_large(ngx_http_batch_sink_t *s, ngx_fd_t segment,
    uint64_t tag, const batch_pick_t *pick, batch_record_t *record,
    ngx_log_t *log)
{
    off_t     off;
    size_t    n;
    u_char    last, header[BATCH_RECORD_HEADER];
    uint32_t  left, crc;

    off = (off_t) pick->offset;

    if (ngx_http_batch_store_pread(segment, header, BATCH_RECORD_HEADER,
                                   off, log)
        != BATCH_RECORD_HEADER
        || !ngx_http_batch_result_header(header, tag, pick, record))
    {
        return NGX_DECLINED;
    }

    off += BATCH_RECORD_HEADER;
    crc = 0;
    last = '\0';

    for (left = pick->len; left; left -= n) {

        if (ngx_http_batch_result_flush(s, log) != NGX_OK) {
            return NGX_ERROR;
        }

        n = ngx_min(left, NGX_HTTP_BATCH_SINK_SIZE);

        if (ngx_http_batch_store_pread(segment, s->buf, n, off, log)
            != (ssize_t) n)
        {
            return NGX_DECLINED;
        }

        crc = batch_crc32c(crc, s->buf, n);
        last = s->buf[n - 1];
        off += n;
        s->len = n;
    }

    return (crc == pick->crc && last == LF) ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_http_batch_result_fill(ngx_http_batch_result_t *r,
    const batch_str_t *custom_id, batch_status_e status)
{
    char                    hex[32];
    size_t                  room;
    u_char                 *p;
    const char             *code, *message;
    batch_json_t            json;
    ngx_http_batch_sink_t  *s;

    s = &r->sinks[NGX_HTTP_BATCH_SINK_ERROR];

    if (ngx_http_batch_result_open(s, r->log) != NGX_OK) {
        return NGX_ERROR;
    }

    room = NGX_HTTP_BATCH_FILL_MAX + batch_json_bound(custom_id->len);

    if (NGX_HTTP_BATCH_SINK_SIZE - s->len < room
        && (ngx_http_batch_result_flush(s, r->log) != NGX_OK
            || room > NGX_HTTP_BATCH_SINK_SIZE))
    {
        return NGX_ERROR;
    }

    if (batch_id_random_hex(hex, 16) != BATCH_OK) {
        ngx_log_error(NGX_LOG_CRIT, r->log, ngx_errno,
                      "batch: random bytes for an id failed");
        return NGX_ERROR;
    }

    if (status == BATCH_CANCELLED) {
        code = "batch_cancelled";
        message = "This request was not executed because the batch was "
                  "cancelled.";

    } else {
        code = "batch_expired";
        message = "This request could not be executed before the completion "
                  "window expired.";
    }

    p = s->buf + s->len;

    p = ngx_sprintf(p, "{\"id\": \"batch_req_%*s\", \"custom_id\": ",
                    sizeof(hex), hex);

    /* the same token, but for raw line separators */

    batch_json_init(&json);

    p = batch_json_feed(&json, custom_id->data, custom_id->len, p);

    if (p == NULL || batch_json_finish(&json) != BATCH_OK) {
        ngx_log_error(NGX_LOG_ALERT, r->log, 0,
                      "batch: custom_id of a validated line is not JSON");
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, ", \"response\": null, \"error\": {\"code\": \"%s\", "
                    "\"message\": \"%s\"}}\n", code, message);

    s->len = p - s->buf;
    r->tally.lines[NGX_HTTP_BATCH_SINK_ERROR]++;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_result_publish(ngx_http_batch_result_t *r, ngx_uint_t sink,
    const char *file_id, off_t *bytes)
{
    ngx_int_t               rc;
    ngx_http_batch_sink_t  *s;

    s = &r->sinks[sink];

    if (ngx_http_batch_result_flush(s, r->log) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ftruncate(s->fd, s->off) == -1) {
        ngx_log_error(NGX_LOG_CRIT, r->log, ngx_errno,
                      "batch: ftruncate() of a result failed");
        return NGX_ERROR;
    }

    *bytes = s->off;

    rc = ngx_http_batch_publish_tmp(NGX_HTTP_BATCH_BLOB, file_id, s->fd,
                                    s->tmp, r->log);

    (void) ngx_close_file(s->fd);
    s->fd = NGX_INVALID_FILE;

    return rc;
}
