/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One call at a time joins the parts of an upload, on whichever worker or node:
 * each needs room for the whole file once more.
 */

#include "ngx_http_batch_api_upload_join.h"
#include "ngx_http_batch_purpose.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"

#include <ngx_md5.h>


#define NGX_HTTP_BATCH_JOIN_PIECE  1048576     /* read at once */


static ngx_int_t ngx_http_batch_api_upload_join_sum(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_upload_join_make(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_upload_join_undo(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_api_upload_join_copy(ngx_http_batch_op_t *op,
    ngx_fd_t fd, ngx_log_t *log);
static ngx_int_t ngx_http_batch_api_upload_join_look(ngx_http_batch_op_t *op,
    ngx_fd_t fd, ngx_log_t *log);
static ngx_int_t ngx_http_batch_api_upload_join_pass(ngx_http_batch_op_t *op,
    ngx_fd_t fd, u_char *buf, ngx_log_t *log);


void
ngx_http_batch_api_upload_join(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_fd_t                        fd;
    ngx_http_batch_api_complete_t  *c;

    c = op->data;

    op->rc = ngx_http_batch_parts_lock(op->id, &fd, log);
    op->err = ngx_errno;

    if (op->rc != NGX_OK) {
        return;
    }

    /* who had the lock may have ended it */

    ngx_http_batch_api_upload_read(op, &c->st, log);

    if (op->rc == NGX_OK && c->st.status == NGX_HTTP_BATCH_UPLOAD_PENDING) {
        ngx_http_batch_api_upload_join_make(op, log);
    }

    if (c->verdict == NGX_HTTP_BATCH_COMPLETE_NO_PART) {

        /* or a cancel has just deleted it */

        ngx_http_batch_api_upload_read(op, &c->st, log);

        if (op->rc != NGX_OK || c->st.status != NGX_HTTP_BATCH_UPLOAD_PENDING)
        {
            c->verdict = NGX_HTTP_BATCH_COMPLETE_OK;
        }
    }

    (void) ngx_close_file(fd);
}


/* NGX_OK if all parts are there and add up */

static ngx_int_t
ngx_http_batch_api_upload_join_sum(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    off_t                           bytes;
    ngx_uint_t                      i;
    ngx_http_batch_api_complete_t  *c;

    c = op->data;
    c->sum = 0;

    for (i = 0; i < c->n; i++) {
        op->rc = ngx_http_batch_parts_size(op->id, c->parts[i], &bytes,
                                           log);

        if (op->rc == NGX_ERROR) {
            op->err = ngx_errno;
            return NGX_ERROR;
        }

        if (op->rc == NGX_DECLINED) {
            op->rc = NGX_OK;
            c->bad = i;
            c->verdict = NGX_HTTP_BATCH_COMPLETE_NO_PART;
            return NGX_ERROR;
        }

        c->sum += bytes;
    }

    if (c->sum != c->st.upload.bytes) {
        c->verdict = NGX_HTTP_BATCH_COMPLETE_BYTES;
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * op->rc NGX_OK: end.json is published, or there is a verdict; NGX_DECLINED:
 * another call was first, or the upload is gone
 */

static void
ngx_http_batch_api_upload_join_make(ngx_http_batch_op_t *op,
    ngx_log_t *log)
{
    char                            tmp[NGX_HTTP_BATCH_TMP_LEN];
    ngx_fd_t                        fd;
    ngx_http_batch_file_t          *f;
    ngx_http_batch_api_complete_t  *c;

    c = op->data;
    f = &op->file;

    if (ngx_http_batch_api_upload_join_sum(op, log) != NGX_OK) {
        return;
    }

    op->rc = NGX_ERROR;

    if (batch_id_make(BATCH_ID_FILE, f->id) == 0) {
        op->err = ngx_errno;
        return;
    }

    f->tenant = c->st.upload.tenant;
    f->purpose = c->st.upload.purpose;
    f->filename = c->st.upload.filename;
    f->bytes = c->st.upload.bytes;
    f->created_us = c->st.upload.created_us;
    f->expires_at = c->st.upload.file_expires_at;

    fd = ngx_http_batch_store_tmp(tmp, log);

    if (fd == NGX_INVALID_FILE) {
        op->err = ngx_errno;
        return;
    }

    op->rc = ngx_http_batch_api_upload_join_copy(op, fd, log);

    if (op->rc == NGX_OK && c->verdict == NGX_HTTP_BATCH_COMPLETE_OK) {
        op->rc = ngx_http_batch_parts_publish(op->id, f->id, fd, tmp, log);
        op->err = ngx_errno;

    } else {
        ngx_http_batch_store_tmp_delete(tmp, log);
    }

    (void) ngx_close_file(fd);

    if (op->rc != NGX_OK || c->verdict != NGX_HTTP_BATCH_COMPLETE_OK) {
        return;
    }

    op->rc = ngx_http_batch_uploads_end(op->id,
                                        NGX_HTTP_BATCH_UPLOAD_COMPLETED,
                                        c->digest, f, log);
    op->err = ngx_errno;

    if (op->rc == NGX_DECLINED) {
        ngx_http_batch_parts_delete(op->id, f->id, log);

    } else if (op->rc != NGX_OK) {
        ngx_http_batch_api_upload_join_undo(op, log);
    }
}


/*
 * After an error the mark may be there all the same: then its file needs the
 * joined parts.  If that cannot be told, the sweep deletes them later.
 */

static void
ngx_http_batch_api_upload_join_undo(ngx_http_batch_op_t *op,
    ngx_log_t *log)
{
    ngx_int_t                       rc;
    ngx_err_t                       err;
    ngx_http_batch_api_complete_t  *c;

    c = op->data;
    rc = op->rc;
    err = op->err;

    ngx_http_batch_api_upload_read(op, &c->st, log);

    if (op->rc == NGX_OK && c->st.end == NULL) {
        ngx_http_batch_parts_delete(op->id, op->file.id, log);
    }

    if (op->rc == NGX_DECLINED) {
        return;
    }

    op->rc = rc;
    op->err = err;
}


static ngx_int_t
ngx_http_batch_api_upload_join_copy(ngx_http_batch_op_t *op, ngx_fd_t fd,
    ngx_log_t *log)
{
    off_t                           off;
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    ngx_http_batch_api_complete_t  *c;

    c = op->data;
    off = 0;

    for (i = 0; i < c->n; i++) {
        rc = ngx_http_batch_parts_append(op->id, c->parts[i], fd, &off,
                                         log);
        if (rc != NGX_OK) {
            op->err = ngx_errno;
            return rc;
        }
    }

    if (off != c->st.upload.bytes) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch: %s: parts have %O bytes instead of %O",
                      op->id, off, c->st.upload.bytes);
        op->err = EIO;
        return NGX_ERROR;
    }

    return ngx_http_batch_api_upload_join_look(op, fd, log);
}


/* what can only be known of the whole file: its head, its lines, its MD5 */

static ngx_int_t
ngx_http_batch_api_upload_join_look(ngx_http_batch_op_t *op, ngx_fd_t fd,
    ngx_log_t *log)
{
    u_char                         *buf;
    ssize_t                         n;
    ngx_int_t                       rc;
    ngx_http_batch_api_complete_t  *c;

    c = op->data;
    rc = NGX_OK;

    buf = ngx_alloc(NGX_HTTP_BATCH_JOIN_PIECE, log);
    if (buf == NULL) {
        op->err = NGX_ENOMEM;
        return NGX_ERROR;
    }

    if (ngx_http_batch_purpose_is_batch(&op->file.purpose)) {
        n = pread(fd, buf, BATCH_HEAD_SIZE + 1, 0);

        if (n == -1) {
            op->err = ngx_errno;
            rc = NGX_ERROR;

        } else if (batch_head_look(buf, n, &c->head) != BATCH_OK) {
            c->verdict = NGX_HTTP_BATCH_COMPLETE_JSONL;
        }

        c->lines = (op->conf->dialect == NGX_HTTP_BATCH_TENSORZERO);
    }

    if (rc == NGX_OK && c->verdict == NGX_HTTP_BATCH_COMPLETE_OK
        && (c->md5.len || c->lines))
    {
        rc = ngx_http_batch_api_upload_join_pass(op, fd, buf, log);
    }

    ngx_free(buf);

    return rc;
}


static ngx_int_t
ngx_http_batch_api_upload_join_pass(ngx_http_batch_op_t *op, ngx_fd_t fd,
    u_char *buf, ngx_log_t *log)
{
    off_t                           off;
    u_char                          digest[16];
    ssize_t                         n;
    ngx_md5_t                       md5;
    ngx_http_batch_api_complete_t  *c;

    c = op->data;

    ngx_md5_init(&md5);
    batch_check_init(&c->check);

    for (off = 0; off < c->st.upload.bytes; off += n) {

        if (ngx_http_batch_task_stop()) {
            return NGX_ABORT;
        }

        n = pread(fd, buf, NGX_HTTP_BATCH_JOIN_PIECE, off);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            n = 0;
            continue;
        }

        if (n <= 0) {
            op->err = n ? ngx_errno : EIO;
            ngx_log_error(NGX_LOG_CRIT, log, op->err,
                          "batch: %s: pread() of the joined parts failed",
                          op->id);
            return NGX_ERROR;
        }

        if (c->lines) {
            (void) batch_check_feed(&c->check, buf, n);
        }

        if (c->md5.len) {
            ngx_md5_update(&md5, buf, n);
        }
    }

    ngx_md5_final(digest, &md5);
    ngx_hex_dump(c->hex, digest, 16);

    if (c->md5.len && ngx_strncasecmp(c->hex, c->md5.data, 32) != 0) {
        c->verdict = NGX_HTTP_BATCH_COMPLETE_MD5;

    } else if (c->lines && batch_check_finish(&c->check) != BATCH_OK) {
        c->verdict = NGX_HTTP_BATCH_COMPLETE_LINE;
    }

    return NGX_OK;
}
