/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * POST /files: the body goes through the multipart parser into one of two
 * buffers, while a thread writes the other one to a tmp file.  When both are
 * full, nothing more is read.
 *
 * The order of the parts is the client's: what the purpose demands of the file
 * is decided at the latest when the body has ended.  Then one task publishes
 * blob and manifest; from there on the file exists, and the way to the index
 * is gone to its end whether the client is there or not.
 */

#include "ngx_http_batch_api.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_redis.h"
#include "batch_multipart.h"


#define NGX_HTTP_BATCH_UPLOAD_BUFFER  (256 * 1024)
#define NGX_HTTP_BATCH_UPLOAD_HEAD    65536        /* of the file, checked */
#define NGX_HTTP_BATCH_UPLOAD_FIELD   8192
#define NGX_HTTP_BATCH_UPLOAD_EXTRA   (1024 * 1024)   /* of a body, beside the
                                                         file */


typedef enum {
    NGX_HTTP_BATCH_PART_IGNORED = 0,
    NGX_HTTP_BATCH_PART_FILE,
    NGX_HTTP_BATCH_PART_PURPOSE,
    NGX_HTTP_BATCH_PART_ANCHOR,
    NGX_HTTP_BATCH_PART_SECONDS,
    NGX_HTTP_BATCH_PART_EXPIRES,
    NGX_HTTP_BATCH_PART_N
} ngx_http_batch_part_e;


/* from the op's pool; op->fd is the tmp file's */

typedef struct {
    batch_multipart_t   mp;
    ngx_uint_t          part;
    ngx_uint_t          seen;                /* bit per part */

    ngx_str_t           rest;                /* of a DATA event */

    u_char             *buf[2];
    ngx_uint_t          cur;                 /* being filled */
    size_t              len;                 /* bytes in it */
    u_char             *out;                 /* being written */
    size_t              out_len;
    off_t               written;             /* offset of out */
    char                tmp[NGX_HTTP_BATCH_TMP_LEN];

    int64_t             seconds;             /* expires_after, 0: none */

    unsigned            checked:1;           /* the file's head was looked at */
    unsigned            jsonl:1;             /* and is a batch's */
    unsigned            ended:1;             /* the body is complete */

    size_t              field_len;
    u_char              field[NGX_HTTP_BATCH_UPLOAD_FIELD];
} ngx_http_batch_upload_t;


static void ngx_http_batch_upload_ready(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);
static void ngx_http_batch_upload_abandon(ngx_http_batch_op_t *op);
static void ngx_http_batch_upload_delete(ngx_http_batch_op_t *op,
    ngx_log_t *log);

static ngx_int_t ngx_http_batch_upload_take(ngx_http_batch_op_t *op,
    u_char **pos, u_char *last);
static ngx_int_t ngx_http_batch_upload_part(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_upload_data(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_upload_fill(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_upload_flush(ngx_http_batch_op_t *op);
static void ngx_http_batch_upload_write(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_upload_written(ngx_http_batch_op_t *op);

static ngx_int_t ngx_http_batch_upload_part_end(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_upload_purpose(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_upload_expires(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_upload_check(ngx_http_batch_op_t *op);
static ngx_uint_t ngx_http_batch_upload_jsonl(ngx_http_batch_upload_t *up);

static void ngx_http_batch_upload_end(ngx_http_batch_op_t *op);
static void ngx_http_batch_upload_commit(ngx_http_batch_op_t *op);
static void ngx_http_batch_upload_publish(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_upload_publish_files(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_upload_published(ngx_http_batch_op_t *op);
static void ngx_http_batch_upload_answer(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);


static const ngx_str_t  ngx_http_batch_part_names[] = {
    ngx_null_string,
    ngx_string("file"),
    ngx_string("purpose"),
    ngx_string("expires_after[anchor]"),
    ngx_string("expires_after[seconds]"),
    ngx_string("expires_after")
};


static const ngx_str_t  ngx_http_batch_purposes[] = {
    ngx_string("fine-tune"),
    ngx_string("assistants"),
    ngx_string("batch"),
    ngx_string("user_data"),
    ngx_string("vision"),
    ngx_string("evals")
};

#define NGX_HTTP_BATCH_PURPOSES                                               \
    (sizeof(ngx_http_batch_purposes) / sizeof(ngx_str_t))

#define ngx_http_batch_upload_for_batch(op)                                   \
    ((op)->file.purpose.len == 5                                              \
     && ngx_strncmp((op)->file.purpose.data, "batch", 5) == 0)


ngx_int_t
ngx_http_batch_api_upload(ngx_http_request_t *r)
{
    off_t                      max;
    ngx_int_t                  rc;
    ngx_str_t                  type;
    ngx_http_batch_op_t       *op;
    ngx_http_batch_upload_t   *up;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (r->headers_in.content_length_n <= 0 && !r->headers_in.chunked
#if (NGX_HTTP_V2)
        && (r->stream == NULL || r->headers_in.content_length_n == 0)
#endif
       )
    {
        return ngx_http_batch_api_error(r, NGX_HTTP_BAD_REQUEST, "file",
                                        "missing_required_parameter",
                                        "Missing required parameter: 'file'.");
    }

    if (ngx_http_batch_body_encoded(r, &rc) != NGX_OK) {
        return rc;
    }

    max = ctx->conf->max_file_size;

    if (max && r->headers_in.content_length_n
               > max + NGX_HTTP_BATCH_UPLOAD_EXTRA)
    {
        return ngx_http_batch_api_error(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                        NULL, NULL, "File is too large.");
    }

    op = ngx_http_batch_op_create(r);
    if (op == NULL) {
        return NGX_ERROR;
    }

    up = ngx_pcalloc(op->pool, sizeof(ngx_http_batch_upload_t));
    if (up == NULL) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return NGX_DONE;
    }

    op->data = up;

    ngx_str_null(&type);

    if (r->headers_in.content_type) {
        type = r->headers_in.content_type->value;
    }

    if (batch_multipart_init(&up->mp, type.data, type.len) != BATCH_OK) {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL, NULL, "%s",
                                 up->mp.error);
        return NGX_DONE;
    }

    op->take = ngx_http_batch_upload_take;
    op->end = ngx_http_batch_upload_end;
    op->abandon = ngx_http_batch_upload_abandon;

    /* without an index the file could not be announced: ask before the body
     * is sent, not after */

    ngx_http_batch_op_wait(op, ngx_http_batch_upload_ready);
    ngx_http_batch_op_sent(op, ngx_http_batch_index_check(
                                                 ngx_http_batch_op_index, op));

    return NGX_DONE;
}


static void
ngx_http_batch_upload_ready(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (rc != NGX_OK) {
        ngx_http_batch_op_unavailable(op, NGX_BUSY);
        return;
    }

    ngx_http_batch_body_start(op);
}


/* nothing is published: nothing may stay */

static void
ngx_http_batch_upload_abandon(ngx_http_batch_op_t *op)
{
    op->abandon = NULL;

    if (op->fd == NGX_INVALID_FILE) {
        ngx_http_batch_op_destroy(op);
        return;
    }

    /* if the queue is full, the sweep of tmp files will find it */

    (void) ngx_http_batch_op_task(op, ngx_http_batch_upload_delete,
                                  ngx_http_batch_op_destroy);
}


static void
ngx_http_batch_upload_delete(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_upload_t *up = op->data;

    ngx_http_batch_store_tmp_delete(up->tmp, log);

    (void) ngx_close_file(op->fd);
    op->fd = NGX_INVALID_FILE;
}


static ngx_int_t
ngx_http_batch_upload_take(ngx_http_batch_op_t *op, u_char **pos, u_char *last)
{
    ngx_int_t                 rc;
    const u_char             *p;
    batch_mp_event_e          event;
    ngx_http_batch_upload_t  *up;

    up = op->data;

    rc = ngx_http_batch_upload_fill(op);

    while (rc == NGX_OK) {
        p = *pos;
        event = batch_multipart_next(&up->mp, &p, last);
        *pos = (u_char *) p;

        switch (event) {

        case BATCH_MP_AGAIN:
            return NGX_OK;

        case BATCH_MP_PART:
            rc = ngx_http_batch_upload_part(op);
            break;

        case BATCH_MP_DATA:
            rc = ngx_http_batch_upload_data(op);
            break;

        case BATCH_MP_PART_END:
            rc = ngx_http_batch_upload_part_end(op);
            break;

        case BATCH_MP_DONE:
            break;

        default: /* BATCH_MP_ERROR */
            ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                                     "%s", up->mp.error);
            return NGX_DONE;
        }
    }

    return rc;
}


static ngx_int_t
ngx_http_batch_upload_part(ngx_http_batch_op_t *op)
{
    size_t                    len;
    ngx_uint_t                i;
    ngx_http_batch_upload_t  *up;

    up = op->data;

    up->part = NGX_HTTP_BATCH_PART_IGNORED;
    up->field_len = 0;

    for (i = 1; i < NGX_HTTP_BATCH_PART_N; i++) {
        if (up->mp.name_len == ngx_http_batch_part_names[i].len
            && ngx_memcmp(up->mp.name, ngx_http_batch_part_names[i].data,
                          up->mp.name_len)
               == 0)
        {
            up->part = i;
            break;
        }
    }

    if (up->part == NGX_HTTP_BATCH_PART_IGNORED) {
        return NGX_OK;
    }

    if (up->seen & (1 << up->part)) {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST,
                        (char *) ngx_http_batch_part_names[up->part].data,
                        "duplicate_parameter", "Duplicate parameter: '%V'.",
                        &ngx_http_batch_part_names[up->part]);
        return NGX_DONE;
    }

    up->seen |= 1 << up->part;

    if (up->part != NGX_HTTP_BATCH_PART_FILE) {
        return NGX_OK;
    }

    if (!up->mp.has_filename) {
        ngx_http_batch_op_reject_type(op, NGX_HTTP_BAD_REQUEST,
                                      "server_error",
                                      "The browser (or proxy) sent a request "
                                      "that this server could not "
                                      "understand.");
        return NGX_DONE;
    }

    len = up->mp.filename_len;

    op->file.filename.len = len;
    op->file.filename.data = ngx_pnalloc(op->pool, len + 1);

    if (op->file.filename.data == NULL) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return NGX_DONE;
    }

    ngx_memcpy(op->file.filename.data, up->mp.filename, len);
    (void) ngx_http_batch_api_utf8(op->file.filename.data, len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_upload_data(ngx_http_batch_op_t *op)
{
    off_t                     max;
    size_t                    len;
    ngx_http_batch_upload_t  *up;

    up = op->data;
    len = up->mp.data.len;

    if (up->part == NGX_HTTP_BATCH_PART_IGNORED) {
        return NGX_OK;
    }

    if (up->part != NGX_HTTP_BATCH_PART_FILE) {

        if (len > NGX_HTTP_BATCH_UPLOAD_FIELD - up->field_len) {
            ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST,
                        (char *) ngx_http_batch_part_names[up->part].data,
                        "string_above_max_length",
                        "Invalid '%V': string too long. Expected a string "
                        "with maximum length %d.",
                        &ngx_http_batch_part_names[up->part],
                        NGX_HTTP_BATCH_UPLOAD_FIELD);
            return NGX_DONE;
        }

        ngx_memcpy(up->field + up->field_len, up->mp.data.data, len);
        up->field_len += len;

        return NGX_OK;
    }

    max = op->conf->max_file_size;
    op->file.bytes += len;

    if (max && op->file.bytes > max) {
        ngx_http_batch_op_reject(op, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, NULL,
                                 NULL, "File is too large.");
        return NGX_DONE;
    }

    up->rest.data = (u_char *) up->mp.data.data;
    up->rest.len = len;

    return ngx_http_batch_upload_fill(op);
}


/* from the rest of a piece into the buffers */

static ngx_int_t
ngx_http_batch_upload_fill(ngx_http_batch_op_t *op)
{
    size_t                    n;
    ngx_int_t                 rc;
    ngx_http_batch_upload_t  *up;

    up = op->data;

    while (up->rest.len) {

        if (up->len == NGX_HTTP_BATCH_UPLOAD_BUFFER) {

            if (op->pending) {
                return NGX_AGAIN;
            }

            rc = ngx_http_batch_upload_flush(op);

            if (rc != NGX_OK) {
                return rc;
            }
        }

        if (up->buf[up->cur] == NULL) {
            up->buf[up->cur] = ngx_palloc(op->pool,
                                          NGX_HTTP_BATCH_UPLOAD_BUFFER);
            if (up->buf[up->cur] == NULL) {
                ngx_http_batch_op_unavailable(op, NGX_ERROR);
                return NGX_DONE;
            }
        }

        n = ngx_min(up->rest.len, NGX_HTTP_BATCH_UPLOAD_BUFFER - up->len);

        ngx_memcpy(up->buf[up->cur] + up->len, up->rest.data, n);
        up->len += n;
        up->rest.data += n;
        up->rest.len -= n;
    }

    return NGX_OK;
}


/* the full buffer to a thread, the other one to be filled */

static ngx_int_t
ngx_http_batch_upload_flush(ngx_http_batch_op_t *op)
{
    ngx_http_batch_upload_t  *up;

    up = op->data;

    if (ngx_http_batch_upload_check(op) != NGX_OK) {
        return NGX_DONE;
    }

    up->out = up->buf[up->cur];
    up->out_len = up->len;

    up->cur ^= 1;
    up->len = 0;

    if (ngx_http_batch_op_task(op, ngx_http_batch_upload_write,
                               ngx_http_batch_upload_written)
        != NGX_OK)
    {
        return NGX_DONE;
    }

    return NGX_OK;
}


static void
ngx_http_batch_upload_write(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_upload_t *up = op->data;

    op->rc = NGX_ERROR;

    if (op->fd == NGX_INVALID_FILE) {
        op->fd = ngx_http_batch_store_tmp(up->tmp, log);

        if (op->fd == NGX_INVALID_FILE) {
            op->err = ngx_errno;
            return;
        }
    }

    if (up->out_len
        && ngx_http_batch_store_write(op->fd, up->out, up->out_len,
                                      up->written, log)
           != NGX_OK)
    {
        op->err = ngx_errno;
        return;
    }

    up->written += up->out_len;
    up->out_len = 0;

    op->rc = NGX_OK;
}


static void
ngx_http_batch_upload_written(ngx_http_batch_op_t *op)
{
    ngx_http_batch_upload_t *up = op->data;

    if (op->rc != NGX_OK) {
        ngx_http_batch_op_disk_error(op);
        return;
    }

    if (up->ended) {
        ngx_http_batch_upload_commit(op);
        return;
    }

    ngx_http_batch_body_resume(op);
}


static ngx_int_t
ngx_http_batch_upload_part_end(ngx_http_batch_op_t *op)
{
    ngx_http_batch_upload_t *up = op->data;

    switch (up->part) {

    case NGX_HTTP_BATCH_PART_FILE:
        return ngx_http_batch_upload_check(op);

    case NGX_HTTP_BATCH_PART_PURPOSE:
        return ngx_http_batch_upload_purpose(op);

    case NGX_HTTP_BATCH_PART_ANCHOR:
        return ngx_http_batch_check_anchor(op, "expires_after[anchor]",
                                           up->field, up->field_len);

    case NGX_HTTP_BATCH_PART_SECONDS:
        return ngx_http_batch_check_int(op, "expires_after[seconds]",
                                        up->field, up->field_len,
                                        NGX_HTTP_BATCH_TTL_MIN,
                                        NGX_HTTP_BATCH_TTL_MAX, &up->seconds);

    case NGX_HTTP_BATCH_PART_EXPIRES:
        return ngx_http_batch_upload_expires(op);

    default:
        return NGX_OK;
    }
}


static ngx_int_t
ngx_http_batch_upload_purpose(ngx_http_batch_op_t *op)
{
    ngx_str_t                 shown;
    ngx_uint_t                i;
    ngx_http_batch_upload_t  *up;

    up = op->data;

    for (i = 0; i < NGX_HTTP_BATCH_PURPOSES; i++) {
        if (up->field_len == ngx_http_batch_purposes[i].len
            && ngx_memcmp(up->field, ngx_http_batch_purposes[i].data,
                          up->field_len)
               == 0)
        {
            op->file.purpose = ngx_http_batch_purposes[i];

            /* the file may have come first */

            if (up->checked) {
                return ngx_http_batch_upload_check(op);
            }

            return NGX_OK;
        }
    }

    shown = ngx_http_batch_api_shown(up->field, up->field_len);

    ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "purpose", NULL,
                             "'%V' is not one of ['fine-tune', 'assistants', "
                             "'batch', 'user_data', 'vision', 'evals'] - "
                             "'purpose'", &shown);
    return NGX_DONE;
}


/* expires_after as one part of JSON */

static ngx_int_t
ngx_http_batch_upload_expires(ngx_http_batch_op_t *op)
{
    json_t                   *value;
    ngx_int_t                 rc;
    ngx_http_batch_upload_t  *up;

    up = op->data;

    value = json_loadb((char *) up->field, up->field_len,
                       JSON_REJECT_DUPLICATES|JSON_DECODE_ANY, NULL);

    if (value == NULL) {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "expires_after",
                                 "invalid_type",
                                 "Invalid type for 'expires_after': expected "
                                 "an object, but got a string instead.");
        return NGX_DONE;
    }

    rc = ngx_http_batch_check_expires(op, "expires_after", value,
                                      &up->seconds);
    json_decref(value);

    return rc;
}


/* is the file, by its head, what its purpose demands?  To be called while the
 * first buffer holds the head, and again when the purpose is known. */

static ngx_int_t
ngx_http_batch_upload_check(ngx_http_batch_op_t *op)
{
    ngx_http_batch_upload_t *up = op->data;

    if (!up->checked) {
        up->checked = 1;
        up->jsonl = ngx_http_batch_upload_jsonl(up);
    }

    if (!up->jsonl && ngx_http_batch_upload_for_batch(op)) {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                                 "Invalid file format for Batch API. Must be "
                                 ".jsonl");
        return NGX_DONE;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_batch_upload_jsonl(ngx_http_batch_upload_t *up)
{
    u_char      *p, *last, *nl;
    ngx_uint_t   cut;

    p = up->buf[up->cur];
    last = p + up->len;

    if (up->len == 0) {
        return 0;
    }

    cut = 0;

    if (up->len > NGX_HTTP_BATCH_UPLOAD_HEAD) {
        last = p + NGX_HTTP_BATCH_UPLOAD_HEAD;
        cut = 1;
    }

    for ( ;; ) {
        nl = ngx_strlchr(p, last, '\n');

        if (nl == NULL) {
            break;
        }

        if (!batch_jsonl_blank(p, nl - p)) {
            return batch_jsonl_object(p, nl - p, 1);
        }

        p = nl + 1;
    }

    if (batch_jsonl_blank(p, last - p)) {
        /* nothing but white space so far: validation will tell */
        return cut;
    }

    return batch_jsonl_object(p, last - p, !cut);
}


static void
ngx_http_batch_upload_end(ngx_http_batch_op_t *op)
{
    ngx_http_batch_upload_t *up = op->data;

    if (batch_multipart_finish(&up->mp) != BATCH_OK) {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL, NULL, "%s",
                                 up->mp.error ? up->mp.error
                              : "The multipart body ends before its closing "
                                "delimiter.");
        return;
    }

    if (!(up->seen & (1 << NGX_HTTP_BATCH_PART_FILE))) {
        ngx_http_batch_check_missing(op, "file");
        return;
    }

    if (op->file.purpose.len == 0) {
        ngx_http_batch_check_missing(op, "purpose");
        return;
    }

    if ((up->seen & (1 << NGX_HTTP_BATCH_PART_ANCHOR))
        && !(up->seen & (1 << NGX_HTTP_BATCH_PART_SECONDS)))
    {
        ngx_http_batch_check_missing(op, "expires_after[seconds]");
        return;
    }

    if ((up->seen & (1 << NGX_HTTP_BATCH_PART_SECONDS))
        && !(up->seen & (1 << NGX_HTTP_BATCH_PART_ANCHOR)))
    {
        ngx_http_batch_check_missing(op, "expires_after[anchor]");
        return;
    }

    up->ended = 1;

    if (!op->pending) {
        ngx_http_batch_upload_commit(op);
    }
}


static void
ngx_http_batch_upload_commit(ngx_http_batch_op_t *op)
{
    int64_t                   now;
    ngx_http_batch_upload_t  *up;

    up = op->data;

    if (batch_id_make(BATCH_ID_FILE, op->file.id) == 0) {
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, ngx_errno,
                      "no random bytes for a file id");
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    now = batch_clock_us();

    op->file.tenant = op->tenant;
    op->file.created_us = now;

    if (up->seconds) {
        op->file.expires_at = now / 1000000 + up->seconds;

    } else if (ngx_http_batch_upload_for_batch(op) && op->conf->file_ttl) {
        op->file.expires_at = now / 1000000 + op->conf->file_ttl;
    }

    up->out = up->buf[up->cur];
    up->out_len = up->len;

    if (ngx_http_batch_op_task(op, ngx_http_batch_upload_publish,
                               ngx_http_batch_upload_published)
        == NGX_OK)
    {
        op->abandon = NULL;
    }
}


static void
ngx_http_batch_upload_publish(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_upload_t *up = op->data;

    ngx_http_batch_upload_write(op, log);

    if (op->rc == NGX_OK) {
        op->rc = ngx_http_batch_upload_publish_files(op, log);

    } else if (op->fd != NGX_INVALID_FILE) {
        ngx_http_batch_store_tmp_delete(up->tmp, log);
    }

    if (op->fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(op->fd);
        op->fd = NGX_INVALID_FILE;
    }
}


/*
 * The manifest is the commit, so it comes second; but it is written first, or
 * a disk that the blob has just filled would keep a blob without a file.
 */

static ngx_int_t
ngx_http_batch_upload_publish_files(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    char                      tmp[NGX_HTTP_BATCH_TMP_LEN];
    ngx_fd_t                  fd;
    ngx_int_t                 rc;
    ngx_str_t                 text;
    ngx_http_batch_upload_t  *up;

    up = op->data;

    text = ngx_http_batch_file_encode(&op->file);

    if (text.data == NULL) {
        op->err = NGX_ENOMEM;
        ngx_http_batch_store_tmp_delete(up->tmp, log);
        return NGX_ERROR;
    }

    fd = ngx_http_batch_store_tmp(tmp, log);

    if (fd == NGX_INVALID_FILE) {
        op->err = ngx_errno;
        ngx_http_batch_store_tmp_delete(up->tmp, log);
        free(text.data);
        return NGX_ERROR;
    }

    rc = ngx_http_batch_store_write(fd, text.data, text.len, 0, log);

    if (rc != NGX_OK) {
        op->err = ngx_errno;
        ngx_http_batch_store_tmp_delete(up->tmp, log);

    } else {
        rc = ngx_http_batch_store_publish_tmp(NGX_HTTP_BATCH_BLOB,
                                              op->file.id, op->fd, up->tmp,
                                              log);
        op->err = ngx_errno;
    }

    if (rc != NGX_OK) {
        ngx_http_batch_store_tmp_delete(tmp, log);

    } else {
        rc = ngx_http_batch_store_publish_tmp(NGX_HTTP_BATCH_FILE,
                                              op->file.id, fd, tmp, log);
        op->err = ngx_errno;
    }

    (void) ngx_close_file(fd);
    free(text.data);

    return rc;
}


static void
ngx_http_batch_upload_published(ngx_http_batch_op_t *op)
{
    if (op->rc != NGX_OK) {
        ngx_http_batch_op_disk_error(op);
        return;
    }

    ngx_http_batch_op_wait(op, ngx_http_batch_upload_answer);
    ngx_http_batch_op_sent(op, ngx_http_batch_index_file_put(&op->file,
                                                 ngx_http_batch_op_index, op));
}


static void
ngx_http_batch_upload_answer(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (rc != NGX_OK) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    ngx_http_batch_op_json(op, ngx_http_batch_render_file(&op->file));
}
