/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * GET and DELETE /files/{id}, GET /files/{id}/content.
 */

#include "ngx_http_batch_header.h"
#include "ngx_http_batch_op.h"
#include "ngx_http_batch_purpose.h"
#include "ngx_http_batch_render.h"
#include "ngx_http_batch_send.h"
#include "ngx_http_batch_store.h"


static ngx_int_t ngx_http_batch_api_file_found(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);

static void ngx_http_batch_api_file_show(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);

static void ngx_http_batch_api_file_delete_step(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);
static void ngx_http_batch_api_file_delete_run(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_file_delete_done(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_file_delete_answer(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);

static void ngx_http_batch_api_file_content_step(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);
static void ngx_http_batch_api_file_content_open(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_file_content_opened(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_file_content_send(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_file_content_head(ngx_http_batch_op_t *op,
    ngx_http_request_t *r);
static ngx_int_t ngx_http_batch_api_file_content_range(ngx_http_request_t *r);
static ngx_int_t ngx_http_batch_api_file_content_name(ngx_http_request_t *r,
    const ngx_http_batch_file_t *f);


/* NGX_OK with op->file, or the op has ended with the 404 that unknown, foreign
 * and expired files share */

static ngx_int_t
ngx_http_batch_api_file_found(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_str_t  *manifest;

    if (rc != NGX_OK) {
        return ngx_http_batch_op_not_found(op, BATCH_ID_FILE);
    }

    manifest = &res->items[0];

    if (ngx_http_batch_file_decode(&op->file, manifest->data, manifest->len,
                                   &op->root)
        != NGX_OK)
    {
        return ngx_http_batch_op_malformed(op, "manifest");
    }

    if (!ngx_http_batch_op_owns(op, &op->file.tenant)
        || (op->file.expires_at
            && op->file.expires_at <= batch_clock_sec()))
    {
        return ngx_http_batch_op_not_found(op, BATCH_ID_FILE);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_api_file(ngx_http_request_t *r)
{
    return ngx_http_batch_op_find(r, BATCH_ID_FILE,
                                  ngx_http_batch_api_file_show);
}


static void
ngx_http_batch_api_file_show(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (ngx_http_batch_api_file_found(op, rc, res) == NGX_OK) {
        ngx_http_batch_render_file(&op->text, &op->file);
        ngx_http_batch_op_answer(op);
    }
}


ngx_int_t
ngx_http_batch_api_file_delete(ngx_http_request_t *r)
{
    return ngx_http_batch_op_find(r, BATCH_ID_FILE,
                                  ngx_http_batch_api_file_delete_step);
}


static void
ngx_http_batch_api_file_delete_step(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (ngx_http_batch_api_file_found(op, rc, res) == NGX_OK) {
        (void) ngx_http_batch_op_task(op, ngx_http_batch_api_file_delete_run,
                                      ngx_http_batch_api_file_delete_done);
    }
}


static void
ngx_http_batch_api_file_delete_run(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_set_errno(0);

    op->rc = ngx_http_batch_delete_file(op->id, log);
    op->err = ngx_errno;
}


static void
ngx_http_batch_api_file_delete_done(ngx_http_batch_op_t *op)
{
    if (op->rc == NGX_ERROR) {
        ngx_http_batch_op_disk_error(op);
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: %s: deleted, rc:%i", op->id, op->rc);

    /*
     * The index is told even if the tombstone was there before: the call that
     * made it may have failed to tell it.
     */

    ngx_http_batch_op_wait(op, ngx_http_batch_api_file_delete_answer,
                           ngx_http_batch_index_file_del(&op->file, 1, 1,
                                                 ngx_http_batch_op_index, op));
}


static void
ngx_http_batch_api_file_delete_answer(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (rc == NGX_DECLINED && op->rc == NGX_DECLINED) {
        ngx_http_batch_op_not_found(op, BATCH_ID_FILE);
        return;
    }

    batch_text_printf(&op->text, "{\"object\":\"file\",\"deleted\":true,"
                      "\"id\":\"%s\"}", op->id);
    ngx_http_batch_op_answer(op);
}


ngx_int_t
ngx_http_batch_api_file_content(ngx_http_request_t *r)
{
    return ngx_http_batch_op_find(r, BATCH_ID_FILE,
                                  ngx_http_batch_api_file_content_step);
}


static void
ngx_http_batch_api_file_content_step(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    const ngx_http_batch_purpose_t  *purpose;

    if (ngx_http_batch_api_file_found(op, rc, res) != NGX_OK) {
        return;
    }

    purpose = ngx_http_batch_purpose_find(&op->file.purpose, 0);

    if (purpose && !purpose->download) {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                                 "Not allowed to download files of purpose: "
                                 "%V", &purpose->name);
        return;
    }

    (void) ngx_http_batch_op_task(op, ngx_http_batch_api_file_content_open,
                                  ngx_http_batch_api_file_content_opened);
}


static void
ngx_http_batch_api_file_content_open(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_file_info_t  fi;

    op->fd = ngx_http_batch_store_open(NGX_HTTP_BATCH_BLOB, op->id, log);

    if (op->fd == NGX_INVALID_FILE) {
        op->err = ngx_errno;
        return;
    }

    if (ngx_fd_info(op->fd, &fi) == NGX_FILE_ERROR) {
        op->err = ngx_errno;
        ngx_log_error(NGX_LOG_CRIT, log, op->err,
                      "batch: %s: " ngx_fd_info_n " failed", op->id);

        (void) ngx_close_file(op->fd);
        op->fd = NGX_INVALID_FILE;
        return;
    }

    op->size = ngx_file_size(&fi);
}


static void
ngx_http_batch_api_file_content_opened(ngx_http_batch_op_t *op)
{
    if (op->fd == NGX_INVALID_FILE) {

        if (op->err == NGX_ENOENT) {
            /* deleted since the index was asked */
            ngx_http_batch_op_not_found(op, BATCH_ID_FILE);
            return;
        }

        ngx_http_batch_op_disk_error(op);
        return;
    }

    if (op->size != op->file.bytes) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "batch: %s: file has %O bytes instead of %O",
                      op->id, op->size, op->file.bytes);

        ngx_http_batch_op_disk_error(op);
        return;
    }

    if (op->r == NULL) {
        ngx_http_batch_op_finish(op, NGX_OK);
        return;
    }

    ngx_http_batch_op_finish(op, ngx_http_batch_api_file_content_send(op));
}


static ngx_int_t
ngx_http_batch_api_file_content_send(ngx_http_batch_op_t *op)
{
    ngx_int_t                 rc;
    ngx_buf_t                *b;
    ngx_chain_t               out;
    ngx_http_request_t       *r;
    ngx_pool_cleanup_t       *cln;
    ngx_pool_cleanup_file_t  *clnf;

    r = op->r;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_pool_cleanup_file_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    clnf = cln->data;
    clnf->name = ngx_pnalloc(r->pool, BATCH_ID_LEN);

    if (clnf->name == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(clnf->name, (u_char *) op->id, BATCH_ID_LEN);
    clnf->fd = op->fd;
    clnf->log = r->pool->log;
    cln->handler = ngx_pool_cleanup_file;

    op->fd = NGX_INVALID_FILE;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->file = ngx_pcalloc(r->pool, sizeof(ngx_file_t));
    if (b->file == NULL
        || ngx_http_batch_api_file_content_head(op, r) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_HTTP_RANGE_NOT_SATISFIABLE && !r->header_sent) {
        return ngx_http_batch_api_file_content_range(r);
    }

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->file->fd = clnf->fd;
    b->file->name.data = clnf->name;
    b->file->name.len = ngx_strlen(clnf->name);
    b->file->log = r->connection->log;

    b->file_pos = 0;
    b->file_last = op->size;
    b->in_file = op->size ? 1 : 0;
    b->sync = op->size ? 0 : 1;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_batch_api_file_content_head(ngx_http_batch_op_t *op,
    ngx_http_request_t *r)
{
    u_char           *p;
    ngx_str_t         value;
    ngx_table_elt_t  *etag;

    if (ngx_http_batch_header_common(r) != NGX_OK
        || ngx_http_batch_api_file_content_name(r, &op->file) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /*
     * Blobs never change, so the id is as good as a checksum.  A file may be
     * deleted, though: with Last-Modified alone a cache would guess how long
     * its copy is good.
     */

    ngx_http_batch_header_kept(r, 1);

    p = ngx_pnalloc(r->pool, BATCH_ID_LEN + 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "\"%s\"", op->id) - p;

    etag = ngx_http_batch_header_add(r, "ETag", &value);
    if (etag == NULL) {
        return NGX_ERROR;
    }

    r->headers_out.etag = etag;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.last_modified_time = op->file.created_us / 1000000;

    ngx_http_batch_header_body(r,
                               op->conf->dialect == NGX_HTTP_BATCH_TENSORZERO
                               ? "application/jsonl"
                               : "application/octet-stream",
                               op->size);

    r->allow_ranges = 1;
    r->single_range = 1;

    return NGX_OK;
}


/* nginx's range filter has set Content-Range; the answer is an error now */

static ngx_int_t
ngx_http_batch_api_file_content_range(ngx_http_request_t *r)
{
    ngx_table_elt_t  *h;

    h = ngx_http_batch_header_find(&r->headers_out.headers,
                                   "Content-Disposition", NULL);
    if (h) {
        h->hash = 0;
    }

    r->headers_out.last_modified_time = -1;
    ngx_http_batch_header_kept(r, 0);

    return ngx_http_batch_send_error(r, NGX_HTTP_RANGE_NOT_SATISFIABLE, NULL,
                                     NULL, "The requested range is not "
                                     "satisfiable.");
}


/*
 * A stranger chose the file name: what is not plain ASCII, and what could end
 * the quoted string, becomes '_', and the true name follows as filename*.
 */

static ngx_int_t
ngx_http_batch_api_file_content_name(ngx_http_request_t *r,
    const ngx_http_batch_file_t *f)
{
    u_char      ch, *p;
    size_t      i;
    ngx_str_t   name, value;
    ngx_uint_t  plain;

    /* RFC 5987 */
    static const char  attr[] = "!#$&+-.^_`|~";

    name = f->filename;

    if (name.len == 0) {
        name.data = (u_char *) f->id;
        name.len = ngx_strlen(f->id);
    }

    p = ngx_pnalloc(r->pool, sizeof("attachment; filename=\"\"; "
                                    "filename*=UTF-8''") + name.len * 4);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    plain = 1;

    p = ngx_cpymem(p, "attachment; filename=\"",
                   sizeof("attachment; filename=\"") - 1);

    for (i = 0; i < name.len; i++) {
        ch = name.data[i];

        if (ch < 0x20 || ch > 0x7e || ch == '"' || ch == '\\' || ch == '%') {
            ch = '_';
            plain = 0;
        }

        *p++ = ch;
    }

    *p++ = '"';

    if (!plain) {
        p = ngx_cpymem(p, "; filename*=UTF-8''",
                       sizeof("; filename*=UTF-8''") - 1);

        p = batch_escape_percent(p, name.data, name.len, attr);
    }

    value.len = p - value.data;

    return ngx_http_batch_header_add(r, "Content-Disposition", &value)
           ? NGX_OK : NGX_ERROR;
}
