/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * POST /files.  The parts come in the client's order: what the purpose demands
 * of the file is checked when the body has ended at the latest.  Then one task
 * publishes blob and manifest; from there on the file exists, and the index is
 * told whether the client is there or not.
 */

#include "ngx_http_batch_form.h"
#include "ngx_http_batch_op.h"
#include "ngx_http_batch_param.h"
#include "ngx_http_batch_purpose.h"
#include "ngx_http_batch_render.h"
#include "ngx_http_batch_store.h"


typedef enum {
    NGX_HTTP_BATCH_FIELD_FILE = NGX_HTTP_BATCH_FORM_FILE,
    NGX_HTTP_BATCH_FIELD_PURPOSE,
    NGX_HTTP_BATCH_FIELD_ANCHOR,
    NGX_HTTP_BATCH_FIELD_SECONDS,
    NGX_HTTP_BATCH_FIELD_EXPIRES,
    NGX_HTTP_BATCH_FIELD_N
} ngx_http_batch_api_file_create_field_e;


/* from the op's pool; op->fd is the tmp file's */

typedef struct {
    ngx_http_batch_form_t  form;
    batch_head_t           head;             /* why it is not JSONL */
    batch_check_t          check;            /* if each line is JSON */
    int64_t                seconds;          /* expires_after, 0: none */
    unsigned               checked:1;        /* the file's head was seen */
    unsigned               jsonl:1;          /* and is JSONL */
} ngx_http_batch_api_file_create_t;


static ngx_int_t ngx_http_batch_api_file_create_field(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_file_create_purpose(
    ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_file_create_expires(
    ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_file_create_check(ngx_http_batch_op_t *op);

static void ngx_http_batch_api_file_create_start(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_file_create_grow(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_file_create_grown(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_file_create_look(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_file_create_looked(ngx_http_batch_op_t *op);

static void ngx_http_batch_api_file_create_end(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_file_create_commit(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_file_create_post(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_file_create_publish(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_api_file_create_claim(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_api_file_create_publish_files(
    ngx_http_batch_op_t *op, ngx_log_t *log);
static void ngx_http_batch_api_file_create_published(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_file_create_answer(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);


static const ngx_str_t  ngx_http_batch_api_file_fields[] = {
    ngx_null_string,
    ngx_string("file"),
    ngx_string("purpose"),
    ngx_string("expires_after[anchor]"),
    ngx_string("expires_after[seconds]"),
    ngx_string("expires_after")
};


ngx_int_t
ngx_http_batch_api_file_create(ngx_http_request_t *r)
{
    off_t                              bytes;
    ngx_http_batch_op_t               *op;
    ngx_http_batch_api_file_create_t  *up;

    op = ngx_http_batch_op_create(r);
    if (op == NULL) {
        return NGX_ERROR;
    }

    up = ngx_pcalloc(op->pool, sizeof(ngx_http_batch_api_file_create_t));
    if (up == NULL) {
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    op->data = up;

    up->form.names = ngx_http_batch_api_file_fields;
    up->form.n = NGX_HTTP_BATCH_FIELD_N;
    up->form.max = op->conf->max_file_size;
    up->form.too_large = "File is too large.";
    up->form.named = 1;
    up->form.on_head = ngx_http_batch_api_file_create_check;
    up->form.on_field = ngx_http_batch_api_file_create_field;
    up->form.on_end = ngx_http_batch_api_file_create_end;

    if (op->conf->dialect == NGX_HTTP_BATCH_TENSORZERO) {
        batch_check_init(&up->check);
        up->form.check = &up->check;
    }

    if (ngx_http_batch_form_check(op) != NGX_OK
        || ngx_http_batch_idem_init(op) != NGX_OK
        || ngx_http_batch_form_init(op) != NGX_OK)
    {
        return NGX_DONE;
    }

    up->form.hashed = (op->idem != NULL);

    /* without the index the file could not be announced: ask before the body
     * is sent, not after */

    bytes = r->headers_in.content_length_n - NGX_HTTP_BATCH_FORM_EXTRA;

    ngx_http_batch_quota_check(op, ngx_max(bytes, 1),
                               ngx_http_batch_api_file_create_start);

    return NGX_DONE;
}


static void
ngx_http_batch_api_file_create_start(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_file_create_t *up = op->data;

    if (ngx_http_batch_quota_any(op, NGX_HTTP_BATCH_USE_FILES)) {

        /* one that fits into memory takes its place when it is complete */

        up->form.granted = ngx_min(op->quota.left, NGX_HTTP_BATCH_FORM_BUFFER);
        up->form.on_grow = ngx_http_batch_api_file_create_grow;
    }

    ngx_http_batch_body_start(op);
}


static ngx_int_t
ngx_http_batch_api_file_create_grow(ngx_http_batch_op_t *op)
{
    off_t  bytes, most;

    if (op->file.id[0] == '\0'
        && ngx_http_batch_op_new_id(op, BATCH_ID_FILE, op->file.id) != NGX_OK)
    {
        return NGX_DONE;
    }

    ngx_http_batch_form_wants(op, &bytes, &most);

    return ngx_http_batch_quota_grow(op, op->file.id, bytes, most,
                                     ngx_http_batch_api_file_create_grown);
}


static void
ngx_http_batch_api_file_create_grown(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_file_create_t *up = op->data;

    if (op->quota.over) {
        (void) ngx_http_batch_op_task(op, ngx_http_batch_api_file_create_look,
                                      ngx_http_batch_api_file_create_looked);
        return;
    }

    up->form.granted = op->quota.granted;

    ngx_http_batch_body_resume(op);
}


/* no room, but a key: has it been used at all? */

static void
ngx_http_batch_api_file_create_look(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    op->rc = ngx_http_batch_idem_look(op, log);
    op->err = ngx_errno;
}


static void
ngx_http_batch_api_file_create_looked(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_file_create_t *up = op->data;

    if (op->rc == NGX_AGAIN) {
        ngx_http_batch_quota_reject(op);
        return;
    }

    if (op->rc == NGX_ERROR) {
        ngx_http_batch_op_disk_error(op);
        return;
    }

    /* whether by this request, only all of its bytes tell */

    up->form.skip = 1;

    ngx_http_batch_body_resume(op);
}


static ngx_int_t
ngx_http_batch_api_file_create_field(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_file_create_t *up = op->data;

    switch (up->form.part) {

    case NGX_HTTP_BATCH_FIELD_PURPOSE:
        return ngx_http_batch_api_file_create_purpose(op);

    case NGX_HTTP_BATCH_FIELD_ANCHOR:
        return ngx_http_batch_param_anchor(op, "expires_after[anchor]",
                                           &up->form.field);

    case NGX_HTTP_BATCH_FIELD_SECONDS:
        return ngx_http_batch_param_int(op, "expires_after[seconds]",
                                        &up->form.field,
                                        NGX_HTTP_BATCH_PARAM_TTL_MIN,
                                        NGX_HTTP_BATCH_PARAM_TTL_MAX,
                                        &up->seconds);

    default: /* NGX_HTTP_BATCH_FIELD_EXPIRES */
        return ngx_http_batch_api_file_create_expires(op);
    }
}


static ngx_int_t
ngx_http_batch_api_file_create_purpose(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_file_create_t *up = op->data;

    if (ngx_http_batch_param_purpose(op, &up->form.field, &op->file.purpose)
        != NGX_OK)
    {
        return NGX_DONE;
    }

    /* the file may have come first */

    return up->checked ? ngx_http_batch_api_file_create_check(op) : NGX_OK;
}


/* expires_after as one part of JSON */

static ngx_int_t
ngx_http_batch_api_file_create_expires(ngx_http_batch_op_t *op)
{
    json_t                            *value;
    ngx_int_t                          rc;
    ngx_http_batch_api_file_create_t  *up;

    up = op->data;

    value = ngx_http_batch_object_json(up->form.field.data, up->form.field.len,
                                       JSON_REJECT_DUPLICATES|JSON_DECODE_ANY);

    if (value == NULL && ngx_errno == NGX_ENOMEM) {
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    if (value == NULL) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST,
                                        "expires_after", "invalid_type",
                                        "Invalid type for 'expires_after': "
                                        "expected an object, but got a string "
                                        "instead.");
    }

    rc = ngx_http_batch_param_expires(op, "expires_after", value,
                                      &up->seconds);
    json_decref(value);

    return rc;
}


/* Is the file, by its head, what its purpose demands?  To be called while the
 * first buffer holds the head, and again when the purpose is known. */

static ngx_int_t
ngx_http_batch_api_file_create_check(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_file_create_t *up = op->data;

    if (!up->checked) {

        if (ngx_http_batch_param_suffix(op, "file", &up->form.filename)
            != NGX_OK)
        {
            return NGX_DONE;
        }

        up->checked = 1;
        up->jsonl = batch_head_look(up->form.buf[up->form.cur], up->form.len,
                                    &up->head)
                    == BATCH_OK;
    }

    if (!up->jsonl && ngx_http_batch_purpose_is_batch(&op->file.purpose)) {
        return ngx_http_batch_param_not_jsonl(op, &up->head);
    }

    return NGX_OK;
}


static void
ngx_http_batch_api_file_create_end(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_file_create_t *up = op->data;

    if (op->file.purpose.len == 0
        && op->conf->dialect == NGX_HTTP_BATCH_TENSORZERO)
    {
        op->file.purpose = ngx_http_batch_purpose_batch;

        if (ngx_http_batch_api_file_create_check(op) != NGX_OK) {
            return;
        }
    }

    if (op->file.purpose.len == 0) {
        ngx_http_batch_param_missing(op, "purpose");
        return;
    }

    if (ngx_http_batch_form_has(&up->form, NGX_HTTP_BATCH_FIELD_ANCHOR)
        && !ngx_http_batch_form_has(&up->form, NGX_HTTP_BATCH_FIELD_SECONDS))
    {
        ngx_http_batch_param_missing(op, "expires_after[seconds]");
        return;
    }

    if (ngx_http_batch_form_has(&up->form, NGX_HTTP_BATCH_FIELD_SECONDS)
        && !ngx_http_batch_form_has(&up->form, NGX_HTTP_BATCH_FIELD_ANCHOR))
    {
        ngx_http_batch_param_missing(op, "expires_after[anchor]");
        return;
    }

    ngx_http_batch_api_file_create_commit(op);
}


static void
ngx_http_batch_api_file_create_commit(ngx_http_batch_op_t *op)
{
    int64_t                            now;
    ngx_http_batch_api_file_create_t  *up;

    up = op->data;

    if (op->file.id[0] == '\0'
        && ngx_http_batch_op_new_id(op, BATCH_ID_FILE, op->file.id) != NGX_OK)
    {
        return;
    }

    now = batch_clock_us();

    op->file.tenant = op->tenant;
    op->file.filename = up->form.filename;
    op->file.bytes = up->form.bytes;
    op->file.created_us = now;

    if (up->seconds) {
        op->file.expires_at = now / 1000000 + up->seconds;

    } else if (ngx_http_batch_purpose_is_batch(&op->file.purpose)
               && op->conf->file_ttl)
    {
        op->file.expires_at = now / 1000000 + op->conf->file_ttl;
    }

    ngx_http_batch_idem_add(op, op->file.purpose.data, op->file.purpose.len);
    ngx_http_batch_idem_add(op, op->file.filename.data, op->file.filename.len);
    ngx_http_batch_idem_add(op, &up->seconds, sizeof(int64_t));

    if (up->form.skip) {
        ngx_http_batch_api_file_create_post(op);
        return;
    }

    ngx_http_batch_quota_take(op, NGX_HTTP_BATCH_USE_FILES, op->file.id,
                              op->file.bytes, NGX_HTTP_BATCH_QUOTA_HOLD,
                              ngx_http_batch_api_file_create_post);
}


static void
ngx_http_batch_api_file_create_post(ngx_http_batch_op_t *op)
{
    if (ngx_http_batch_op_task(op, ngx_http_batch_api_file_create_publish,
                               ngx_http_batch_api_file_create_published)
        == NGX_OK)
    {
        op->abandon = NULL;
    }
}


static void
ngx_http_batch_api_file_create_publish(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_api_file_create_t *up = op->data;

    if (ngx_http_batch_form_flush(op, log) == NGX_OK) {

        if (op->idem) {
            op->rc = ngx_http_batch_api_file_create_claim(op, log);
        }

        if (op->rc == NGX_OK) {
            op->rc = ngx_http_batch_api_file_create_publish_files(op, log);

        } else if (op->fd != NGX_INVALID_FILE) {
            ngx_http_batch_store_tmp_delete(up->form.tmp, log);
        }
    }

    if (op->fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(op->fd);
        op->fd = NGX_INVALID_FILE;
    }
}


/*
 * With a key that was used, op->file becomes what was made of it.  NGX_OK: it
 * is to be published; NGX_DONE: it is there, or was deleted since.
 */

static ngx_int_t
ngx_http_batch_api_file_create_claim(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    u_char                             digest[20];
    ngx_int_t                          rc;
    ngx_str_t                          text;
    ngx_http_batch_api_file_create_t  *up;

    up = op->data;

    ngx_sha1_final(digest, &up->form.sha1);
    ngx_http_batch_idem_add(op, digest, 20);

    text = ngx_http_batch_file_encode(&op->file);

    if (text.data == NULL) {
        op->err = NGX_ENOMEM;
        return NGX_ERROR;
    }

    rc = ngx_http_batch_idem_claim(op, &text, log);
    op->err = ngx_errno;

    free(text.data);

    if (rc != NGX_DONE) {
        return rc;
    }

    if (ngx_http_batch_file_decode(&op->file, op->idem->first.data,
                                   op->idem->first.len, &op->idem->object)
        != NGX_OK)
    {
        op->err = ngx_errno;
        return NGX_ERROR;
    }

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE_DEL, op->file.id,
                                     log);
    if (rc == 1) {
        op->idem->gone = 1;

    } else if (rc == 0) {
        rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE, op->file.id,
                                         log);
    }

    if (rc == NGX_ERROR) {
        op->err = ngx_errno;
        return NGX_ERROR;
    }

    if (rc == 0 && up->form.skip) {

        /* a crash came between the key and its file, whose bytes are not here
         * either */

        return NGX_AGAIN;
    }

    return rc ? NGX_DONE : NGX_OK;
}


/*
 * The manifest is the commit, so it comes second; but it is written first, or
 * a disk that the blob has just filled would keep a blob without a file.
 */

static ngx_int_t
ngx_http_batch_api_file_create_publish_files(ngx_http_batch_op_t *op,
    ngx_log_t *log)
{
    char                               tmp[NGX_HTTP_BATCH_TMP_LEN];
    ngx_fd_t                           fd;
    ngx_int_t                          rc;
    ngx_str_t                          text;
    ngx_http_batch_api_file_create_t  *up;

    up = op->data;

    text = ngx_http_batch_file_encode(&op->file);

    if (text.data == NULL) {
        op->err = NGX_ENOMEM;
        ngx_http_batch_store_tmp_delete(up->form.tmp, log);
        return NGX_ERROR;
    }

    fd = ngx_http_batch_store_tmp(tmp, log);

    if (fd == NGX_INVALID_FILE) {
        op->err = ngx_errno;
        ngx_http_batch_store_tmp_delete(up->form.tmp, log);
        free(text.data);
        return NGX_ERROR;
    }

    rc = ngx_http_batch_publish_write(NGX_HTTP_BATCH_FILE, op->file.id,
                                      fd, text.data, text.len, log);

    if (rc != NGX_OK) {
        op->err = ngx_errno;
        ngx_http_batch_store_tmp_delete(up->form.tmp, log);

    } else {
        rc = ngx_http_batch_publish_tmp(NGX_HTTP_BATCH_BLOB,
                                        op->file.id, op->fd,
                                        up->form.tmp, log);
        op->err = ngx_errno;
    }

    if (rc == NGX_DECLINED && op->idem) {

        /* two of the same at once: both publish, one of them is declined */

        rc = NGX_OK;
    }

    if (rc != NGX_OK) {
        ngx_http_batch_store_tmp_delete(tmp, log);

    } else {
        rc = ngx_http_batch_publish_tmp(NGX_HTTP_BATCH_FILE,
                                        op->file.id, fd, tmp, log);
        op->err = ngx_errno;

        if (rc == NGX_DECLINED && op->idem) {
            rc = NGX_OK;
        }
    }

    (void) ngx_close_file(fd);
    free(text.data);

    return rc;
}


static void
ngx_http_batch_api_file_create_published(ngx_http_batch_op_t *op)
{
    if (ngx_http_batch_form_bad(op)) {
        return;
    }

    if (ngx_http_batch_idem_check(op) != NGX_OK) {
        return;
    }

    if (op->rc == NGX_AGAIN) {
        ngx_http_batch_quota_reject(op);
        return;
    }

    if (op->rc != NGX_OK && op->rc != NGX_DONE) {
        ngx_http_batch_op_disk_error(op);
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: %s: created, %O bytes", op->file.id,
                   op->file.bytes);

    if (op->idem && op->idem->gone) {

        /* the answer is the same; other calls tell that the file was
         * deleted */

        ngx_http_batch_api_file_create_answer(op, NGX_OK, NULL);
        return;
    }

    ngx_http_batch_op_wait(op, ngx_http_batch_api_file_create_answer,
                           ngx_http_batch_index_file_put(&op->file, NULL,
                                                 ngx_http_batch_op_index, op));
}


static void
ngx_http_batch_api_file_create_answer(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (rc != NGX_OK) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    ngx_http_batch_quota_keep(op, op->file.id);

    ngx_http_batch_render_file(&op->text, &op->file);
    ngx_http_batch_op_answer(op);
}
