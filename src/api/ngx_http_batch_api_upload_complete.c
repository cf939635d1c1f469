/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * POST /uploads/{id}/complete: one task checks and joins the parts, commits,
 * and makes the file; then the index is told.  A repeated call gets the same
 * answer, and finishes what may have been cut short.  One that comes while
 * another one joins the parts waits for it: each would need their bytes once
 * more.
 */

#include "ngx_http_batch_api_upload_join.h"
#include "ngx_http_batch_form.h"
#include "ngx_http_batch_op.h"
#include "ngx_http_batch_param.h"
#include "ngx_http_batch_purpose.h"
#include "ngx_http_batch_send.h"

#include <ngx_sha1.h>


#define NGX_HTTP_BATCH_COMPLETE_JSON   262144      /* of the body, bytes */
#define NGX_HTTP_BATCH_COMPLETE_PAUSE  50          /* ms: looks again; then
                                                      twice as long, up to */
#define NGX_HTTP_BATCH_COMPLETE_REST   2000


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
static void ngx_http_batch_api_upload_complete_finish(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_upload_complete_done(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_complete_wait(ngx_http_batch_op_t *op);
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

        ngx_http_batch_api_upload_join(op, log);

        if (c->verdict != NGX_HTTP_BATCH_COMPLETE_OK
            || (op->rc != NGX_OK && op->rc != NGX_DECLINED))
        {
            return;
        }

        /* this or another call has ended it, or it is gone */

        ngx_http_batch_api_upload_read(op, &c->st, log);

        if (op->rc == NGX_DECLINED) {

            /* its directory could not be deleted because of our bytes */

            ngx_http_batch_uploads_delete(op->id, log);
            return;
        }
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

    if (op->rc == NGX_AGAIN) {
        ngx_http_batch_api_upload_complete_wait(op);
        return;
    }

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


/* not in the thread, which others need */

static void
ngx_http_batch_api_upload_complete_wait(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_complete_t *c = op->data;

    if (c->pause == 0) {
        c->pause = NGX_HTTP_BATCH_COMPLETE_PAUSE;

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                       "batch: %s: another call joins the parts", op->id);

    } else {
        c->pause = ngx_min(c->pause * 2, NGX_HTTP_BATCH_COMPLETE_REST);
    }

    /* the other one goes on without us */

    op->abandon = ngx_http_batch_op_destroy;

    ngx_http_batch_op_later(op, c->pause,
                            ngx_http_batch_api_upload_complete_post);
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
