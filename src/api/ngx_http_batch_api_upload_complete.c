/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * POST /uploads/{id}/complete: one task checks and joins the parts, commits,
 * and makes the file; then the index is told.  A repeated call gets the same
 * answer, and finishes what may have been cut short.
 */

#include "ngx_http_batch_api_upload.h"
#include "ngx_http_batch_form.h"
#include "ngx_http_batch_op.h"
#include "ngx_http_batch_param.h"
#include "ngx_http_batch_purpose.h"
#include "ngx_http_batch_send.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"
#include "batch_check.h"

#include <ngx_md5.h>
#include <ngx_sha1.h>


#define NGX_HTTP_BATCH_COMPLETE_JSON   262144      /* of the body, bytes */
#define NGX_HTTP_BATCH_COMPLETE_PIECE  1048576     /* read at once */


typedef enum {
    NGX_HTTP_BATCH_COMPLETE_OK = 0,
    NGX_HTTP_BATCH_COMPLETE_ENDED,
    NGX_HTTP_BATCH_COMPLETE_NO_PART,
    NGX_HTTP_BATCH_COMPLETE_BYTES,
    NGX_HTTP_BATCH_COMPLETE_MD5,
    NGX_HTTP_BATCH_COMPLETE_JSONL,
    NGX_HTTP_BATCH_COMPLETE_LINE
} ngx_http_batch_api_complete_e;


/* from the op's pool */

typedef struct {
    ngx_http_batch_upload_state_t   st;             /* first: ..._load() */
    ngx_uint_t                      n;
    char                          (*parts)[BATCH_ID_LEN];
    char                            digest[41];     /* of their ids */
    ngx_str_t                       md5;            /* hex; len 0: none */
    u_char                          hex[32];        /* that of the parts */
    batch_head_t                    head;           /* why it is not JSONL */
    batch_check_t                   check;          /* of each line ... */
    ngx_uint_t                      lines;          /* ... if wanted */

    ngx_http_batch_api_complete_e   verdict;
    ngx_uint_t                      bad;            /* the part that is not */
    off_t                           sum;
    ngx_uint_t                      put;            /* the index is to know */
} ngx_http_batch_api_complete_t;


static void ngx_http_batch_api_upload_complete_parsed(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_upload_complete_ids(
    ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_upload_complete_id(ngx_http_batch_op_t *op,
    json_t *seen, json_t *value);
static ngx_int_t ngx_http_batch_api_upload_complete_no_part(
    ngx_http_batch_op_t *op, const char *id, size_t len);
static ngx_int_t ngx_http_batch_api_upload_complete_md5(
    ngx_http_batch_op_t *op);

static void ngx_http_batch_api_upload_complete_begin(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_complete_loaded(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_complete_post(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_complete_run(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_api_upload_complete_sum(
    ngx_http_batch_op_t *op, ngx_log_t *log);
static void ngx_http_batch_api_upload_complete_make(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_api_upload_complete_join(
    ngx_http_batch_op_t *op, ngx_fd_t fd, ngx_log_t *log);
static ngx_int_t ngx_http_batch_api_upload_complete_look(
    ngx_http_batch_op_t *op, ngx_fd_t fd, ngx_log_t *log);
static ngx_int_t ngx_http_batch_api_upload_complete_pass(
    ngx_http_batch_op_t *op, ngx_fd_t fd, u_char *buf, ngx_log_t *log);
static void ngx_http_batch_api_upload_complete_finish(ngx_http_batch_op_t *op,
    ngx_log_t *log);

static void ngx_http_batch_api_upload_complete_done(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_complete_answer(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);


ngx_int_t
ngx_http_batch_api_upload_complete(ngx_http_request_t *r)
{
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (!batch_id_check(BATCH_ID_UPLOAD, ctx->id.data, ctx->id.len)) {
        return ngx_http_batch_send_not_found(r, BATCH_ID_UPLOAD);
    }

    return ngx_http_batch_body_json(r, NGX_HTTP_BATCH_COMPLETE_JSON,
                                    ngx_http_batch_api_upload_complete_parsed);
}


static void
ngx_http_batch_api_upload_complete_parsed(ngx_http_batch_op_t *op)
{
    op->data = ngx_http_batch_api_upload_data(op,
                                       sizeof(ngx_http_batch_api_complete_t),
                                       offsetof(ngx_http_batch_api_complete_t,
                                                st));
    if (op->data == NULL) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    if (ngx_http_batch_api_upload_complete_ids(op) != NGX_OK
        || ngx_http_batch_api_upload_complete_md5(op) != NGX_OK)
    {
        return;
    }

    ngx_http_batch_op_ready(op, ngx_http_batch_api_upload_complete_begin);
}


static ngx_int_t
ngx_http_batch_api_upload_complete_ids(ngx_http_batch_op_t *op)
{
    u_char                          digest[20];
    size_t                          i, n;
    json_t                         *ids, *seen;
    ngx_sha1_t                      sha1;
    ngx_http_batch_api_complete_t  *c;

    c = op->data;
    ids = json_object_get(op->root, "part_ids");

    if (ids == NULL) {
        return ngx_http_batch_param_missing(op, "part_ids");
    }

    if (!json_is_array(ids)) {
        return ngx_http_batch_param_type(op, "part_ids", "an array of strings",
                                         ids);
    }

    n = json_array_size(ids);

    if (n == 0 || n > NGX_HTTP_BATCH_UPLOAD_PARTS_MAX) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "part_ids",
                                        "invalid_value",
                                        "Invalid 'part_ids': expected an "
                                        "array of 1 to %d ids, but got an "
                                        "array with length %uz instead.",
                                        NGX_HTTP_BATCH_UPLOAD_PARTS_MAX, n);
    }

    c->parts = ngx_palloc(op->pool, n * BATCH_ID_LEN);
    seen = json_object();

    if (c->parts == NULL || seen == NULL) {
        json_decref(seen);
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    ngx_sha1_init(&sha1);

    for (i = 0; i < n; i++) {

        if (ngx_http_batch_api_upload_complete_id(op, seen,
                                                  json_array_get(ids, i))
            != NGX_OK)
        {
            json_decref(seen);
            return NGX_DONE;
        }

        ngx_sha1_update(&sha1, c->parts[i], ngx_strlen(c->parts[i]) + 1);
    }

    json_decref(seen);

    ngx_sha1_final(digest, &sha1);
    *ngx_hex_dump((u_char *) c->digest, digest, 20) = '\0';

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_api_upload_complete_id(ngx_http_batch_op_t *op, json_t *seen,
    json_t *value)
{
    size_t                          len;
    const char                     *id;
    ngx_http_batch_api_complete_t  *c;

    c = op->data;

    if (!json_is_string(value)) {
        return ngx_http_batch_param_type(op, "part_ids", "an array of strings",
                                         value);
    }

    id = json_string_value(value);
    len = json_string_length(value);

    if (!batch_id_check(BATCH_ID_PART, (const u_char *) id, len)) {
        return ngx_http_batch_api_upload_complete_no_part(op, id, len);
    }

    if (json_object_get(seen, id)) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "part_ids",
                                        "invalid_value",
                                        "Invalid 'part_ids': expected each "
                                        "part once, but got '%s' twice.", id);
    }

    if (json_object_set_new(seen, id, json_true()) != 0) {
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    ngx_memcpy(c->parts[c->n++], id, len + 1);

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_api_upload_complete_no_part(ngx_http_batch_op_t *op,
    const char *id, size_t len)
{
    batch_shown_t  shown;

    return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "part_ids",
                                    "invalid_value",
                                    "Invalid 'part_ids': the upload has no "
                                    "part '%s'.",
                                    batch_shown(&shown, id, len));
}


static ngx_int_t
ngx_http_batch_api_upload_complete_md5(ngx_http_batch_op_t *op)
{
    u_char                          ch;
    size_t                          i;
    ngx_http_batch_api_complete_t  *c;

    c = op->data;

    if (ngx_http_batch_param_string(op, "md5", 0, 0, &c->md5) != NGX_OK) {
        return NGX_DONE;
    }

    if (c->md5.len == 0) {
        return NGX_OK;
    }

    for (i = 0; i < c->md5.len; i++) {
        ch = c->md5.data[i] | 0x20;

        if (!(ch >= '0' && ch <= '9') && !(ch >= 'a' && ch <= 'f')) {
            break;
        }
    }

    if (c->md5.len != 32 || i != 32) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "md5",
                                        "invalid_value",
                                        "Invalid 'md5': expected 32 hex "
                                        "digits.");
    }

    return NGX_OK;
}


static void
ngx_http_batch_api_upload_complete_begin(ngx_http_batch_op_t *op)
{
    if (ngx_http_batch_quota_any(op, NGX_HTTP_BATCH_USE_FILES)) {
        (void) ngx_http_batch_op_task(op, ngx_http_batch_api_upload_load,
                                   ngx_http_batch_api_upload_complete_loaded);
        return;
    }

    ngx_http_batch_api_upload_complete_post(op);
}


/* the upload has its place since it was created, unless Redis has lost it */

static void
ngx_http_batch_api_upload_complete_loaded(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_complete_t *c = op->data;

    if (ngx_http_batch_api_upload_check(op) != NGX_OK) {
        return;
    }

    if (c->st.status != NGX_HTTP_BATCH_UPLOAD_PENDING) {
        ngx_http_batch_api_upload_complete_post(op);
        return;
    }

    /* whatever becomes of this call, the upload keeps its place */

    op->quota.kept = 1;

    ngx_http_batch_quota_take(op, NGX_HTTP_BATCH_USE_FILES, op->id,
                              c->st.upload.bytes, NGX_HTTP_BATCH_QUOTA_HOLD,
                              ngx_http_batch_api_upload_complete_post);
}


static void
ngx_http_batch_api_upload_complete_post(ngx_http_batch_op_t *op)
{
    if (ngx_http_batch_op_task(op, ngx_http_batch_api_upload_complete_run,
                               ngx_http_batch_api_upload_complete_done)
        == NGX_OK)
    {
        op->abandon = NULL;
    }
}


static void
ngx_http_batch_api_upload_complete_run(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_api_complete_t *c = op->data;

    ngx_http_batch_api_upload_read(op, &c->st, log);

    if (op->rc == NGX_OK && c->st.status == NGX_HTTP_BATCH_UPLOAD_PENDING) {

        ngx_http_batch_api_upload_complete_make(op, log);

        if (c->verdict != NGX_HTTP_BATCH_COMPLETE_OK
            || (op->rc != NGX_OK && op->rc != NGX_DECLINED))
        {
            return;
        }

        /* this or another call has ended it, or it is gone */

        ngx_http_batch_api_upload_read(op, &c->st, log);
    }

    if (op->rc != NGX_OK) {
        return;
    }

    if (c->st.status != NGX_HTTP_BATCH_UPLOAD_COMPLETED
        || c->st.parts.len != 40
        || ngx_memcmp(c->st.parts.data, c->digest, 40) != 0)
    {
        c->verdict = NGX_HTTP_BATCH_COMPLETE_ENDED;
        return;
    }

    ngx_http_batch_api_upload_complete_finish(op, log);
}


/* NGX_OK if all parts are there and add up */

static ngx_int_t
ngx_http_batch_api_upload_complete_sum(ngx_http_batch_op_t *op, ngx_log_t *log)
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
ngx_http_batch_api_upload_complete_make(ngx_http_batch_op_t *op,
    ngx_log_t *log)
{
    char                            tmp[NGX_HTTP_BATCH_TMP_LEN];
    ngx_fd_t                        fd;
    ngx_http_batch_file_t          *f;
    ngx_http_batch_api_complete_t  *c;

    c = op->data;
    f = &op->file;

    if (ngx_http_batch_api_upload_complete_sum(op, log) != NGX_OK) {
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

    op->rc = ngx_http_batch_api_upload_complete_join(op, fd, log);

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

    /*
     * After an error the mark may be there all the same: then its file needs
     * these bytes.  The sweep deletes them if it is not.
     */

    if (op->rc == NGX_DECLINED) {
        ngx_http_batch_parts_delete(op->id, f->id, log);
    }
}


static ngx_int_t
ngx_http_batch_api_upload_complete_join(ngx_http_batch_op_t *op, ngx_fd_t fd,
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

    return ngx_http_batch_api_upload_complete_look(op, fd, log);
}


/* what can only be known of the whole file: its head, its lines, its MD5 */

static ngx_int_t
ngx_http_batch_api_upload_complete_look(ngx_http_batch_op_t *op, ngx_fd_t fd,
    ngx_log_t *log)
{
    u_char                         *buf;
    ssize_t                         n;
    ngx_int_t                       rc;
    ngx_http_batch_api_complete_t  *c;

    c = op->data;
    rc = NGX_OK;

    buf = ngx_alloc(NGX_HTTP_BATCH_COMPLETE_PIECE, log);
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
        rc = ngx_http_batch_api_upload_complete_pass(op, fd, buf, log);
    }

    ngx_free(buf);

    return rc;
}


static ngx_int_t
ngx_http_batch_api_upload_complete_pass(ngx_http_batch_op_t *op, ngx_fd_t fd,
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

        n = pread(fd, buf, NGX_HTTP_BATCH_COMPLETE_PIECE, off);

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


static void
ngx_http_batch_api_upload_complete_finish(ngx_http_batch_op_t *op,
    ngx_log_t *log)
{
    ngx_uint_t                      made;
    ngx_http_batch_api_complete_t  *c;

    c = op->data;

    op->rc = ngx_http_batch_uploads_finish(op->id, &c->st.file, &made,
                                           log);
    op->err = ngx_errno;

    if (op->rc == NGX_ERROR) {
        return;
    }

    /* a file that was deleted since stays deleted */

    c->put = (op->rc == NGX_OK);
    op->rc = NGX_OK;

    ngx_http_batch_uploads_clean(op->id, log);
}


static void
ngx_http_batch_api_upload_complete_done(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_complete_t *c = op->data;

    if (ngx_http_batch_api_upload_check(op) != NGX_OK) {
        return;
    }

    switch (c->verdict) {

    case NGX_HTTP_BATCH_COMPLETE_ENDED:
        ngx_http_batch_api_upload_ended(op, "complete", c->st.status);
        return;

    case NGX_HTTP_BATCH_COMPLETE_NO_PART:
        ngx_http_batch_api_upload_complete_no_part(op, c->parts[c->bad],
                                             ngx_strlen(c->parts[c->bad]));
        return;

    case NGX_HTTP_BATCH_COMPLETE_BYTES:
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "part_ids",
                                 "invalid_value",
                                 "The parts add up to %O bytes, but the "
                                 "upload was created with %O bytes.", c->sum,
                                 c->st.upload.bytes);
        return;

    case NGX_HTTP_BATCH_COMPLETE_MD5:
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "md5",
                                 "invalid_value",
                                 "Invalid 'md5': the MD5 of the joined parts "
                                 "is '%*s', but got '%V' instead.",
                                 (size_t) 32, c->hex, &c->md5);
        return;

    case NGX_HTTP_BATCH_COMPLETE_JSONL:
        ngx_http_batch_param_not_jsonl(op, &c->head);
        return;

    case NGX_HTTP_BATCH_COMPLETE_LINE:
        ngx_http_batch_form_bad_line(op, NULL, &c->check);
        return;

    default:
        break;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: %s: completed, file %s", op->id, c->st.file.id);

    if (!c->put) {
        ngx_http_batch_api_upload_complete_answer(op, NGX_OK, NULL);
        return;
    }

    ngx_http_batch_op_wait(op, ngx_http_batch_api_upload_complete_answer,
                           ngx_http_batch_index_file_put(&c->st.file, op->id,
                                                 ngx_http_batch_op_index, op));
}


static void
ngx_http_batch_api_upload_complete_answer(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_api_complete_t *c = op->data;

    if (rc != NGX_OK) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    ngx_http_batch_quota_end(op);

    ngx_http_batch_api_upload_answer(op, &c->st.upload, c->st.status,
                                     &c->st.file);
}
