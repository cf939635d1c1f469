/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Multipart bodies: they go through the parser into one of two buffers, while
 * a thread writes the other one to a tmp file.  When both are full, nothing
 * more is read.
 */

#include "ngx_http_batch_form.h"
#include "ngx_http_batch_param.h"
#include "ngx_http_batch_send.h"
#include "ngx_http_batch_space.h"


static ngx_int_t ngx_http_batch_form_no_file(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_form_large(ngx_http_batch_op_t *op);
static void ngx_http_batch_form_abandon(ngx_http_batch_op_t *op);
static void ngx_http_batch_form_delete(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_form_take(ngx_http_batch_op_t *op,
    u_char **pos, u_char *last);
static ngx_int_t ngx_http_batch_form_part(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_form_name(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_form_data(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_form_part_end(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_form_head(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_form_fill(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_form_swap(ngx_http_batch_op_t *op);
static void ngx_http_batch_form_write(ngx_http_batch_op_t *op, ngx_log_t *log);
static void ngx_http_batch_form_written(ngx_http_batch_op_t *op);
static void ngx_http_batch_form_end(ngx_http_batch_op_t *op);


ngx_int_t
ngx_http_batch_form_check(ngx_http_batch_op_t *op)
{
    ngx_http_request_t     *r;
    ngx_http_batch_form_t  *form;

    r = op->r;
    form = op->data;

    if (r->headers_in.content_length_n <= 0 && !r->headers_in.chunked
#if (NGX_HTTP_V2)
        && (r->stream == NULL || r->headers_in.content_length_n == 0)
#endif
       )
    {
        return ngx_http_batch_form_no_file(op);
    }

    if (ngx_http_batch_body_encoded(op) != NGX_OK) {
        return NGX_DONE;
    }

    if (form->max && r->headers_in.content_length_n
                     > form->max + NGX_HTTP_BATCH_FORM_EXTRA)
    {
        return ngx_http_batch_form_large(op);
    }

    /* the last of all: the other refusals hold for any disk */

    return ngx_http_batch_space_full(r->headers_in.content_length_n)
           ? ngx_http_batch_op_full(op) : NGX_OK;
}


void
ngx_http_batch_form_wants(ngx_http_batch_op_t *op, off_t *bytes, off_t *most)
{
    off_t                   len;
    ngx_http_batch_form_t  *form;

    form = op->data;
    len = op->r->headers_in.content_length_n;

    *bytes = ngx_max(form->bytes, len - NGX_HTTP_BATCH_FORM_EXTRA);
    *most = (len > 0) ? len : *bytes + NGX_HTTP_BATCH_QUOTA_STEP;

    if (form->max) {
        *most = ngx_min(*most, form->max);
    }

    *most = ngx_max(*most, *bytes);
}


static ngx_int_t
ngx_http_batch_form_no_file(ngx_http_batch_op_t *op)
{
    ngx_http_batch_form_t *form = op->data;

    return ngx_http_batch_param_missing(op,
                          (char *) form->names[NGX_HTTP_BATCH_FORM_FILE].data);
}


static ngx_int_t
ngx_http_batch_form_large(ngx_http_batch_op_t *op)
{
    ngx_http_batch_form_t *form = op->data;

    return ngx_http_batch_op_reject(op, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                    NULL, NULL, "%s", form->too_large);
}


ngx_int_t
ngx_http_batch_form_init(ngx_http_batch_op_t *op)
{
    ngx_str_t               type;
    ngx_http_batch_form_t  *form;

    form = op->data;

    ngx_str_null(&type);

    if (op->r->headers_in.content_type) {
        type = op->r->headers_in.content_type->value;
    }

    if (batch_multipart_init(&form->mp, type.data, type.len) != BATCH_OK) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                                        "%s", form->mp.error);
    }

    ngx_sha1_init(&form->sha1);

    op->body.take = ngx_http_batch_form_take;
    op->body.end = ngx_http_batch_form_end;
    op->abandon = ngx_http_batch_form_abandon;

    return NGX_OK;
}


/* nothing was published: nothing may stay */

static void
ngx_http_batch_form_abandon(ngx_http_batch_op_t *op)
{
    op->abandon = NULL;

    if (op->fd == NGX_INVALID_FILE) {
        ngx_http_batch_op_destroy(op);
        return;
    }

    /* if the queue is full, the sweep of tmp files deletes it */

    (void) ngx_http_batch_op_task(op, ngx_http_batch_form_delete,
                                  ngx_http_batch_op_destroy);
}


static void
ngx_http_batch_form_delete(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_form_t *form = op->data;

    ngx_http_batch_store_tmp_delete(form->tmp, log);

    (void) ngx_close_file(op->fd);
    op->fd = NGX_INVALID_FILE;
}


static ngx_int_t
ngx_http_batch_form_take(ngx_http_batch_op_t *op, u_char **pos, u_char *last)
{
    ngx_int_t                 rc;
    const u_char             *p;
    batch_multipart_event_e   event;
    ngx_http_batch_form_t    *form;

    form = op->data;
    form->begun = 1;

    /* what a length would have told at once */

    if (form->max && op->pace.bytes > form->max + NGX_HTTP_BATCH_FORM_EXTRA) {
        return ngx_http_batch_form_large(op);
    }

    rc = ngx_http_batch_form_fill(op);

    while (rc == NGX_OK) {
        p = *pos;
        event = batch_multipart_next(&form->mp, &p, last);
        *pos = (u_char *) p;

        switch (event) {

        case BATCH_MP_AGAIN:
            return NGX_OK;

        case BATCH_MP_PART:
            rc = ngx_http_batch_form_part(op);
            break;

        case BATCH_MP_DATA:
            rc = ngx_http_batch_form_data(op);
            break;

        case BATCH_MP_PART_END:
            rc = ngx_http_batch_form_part_end(op);
            break;

        case BATCH_MP_DONE:
            break;

        default: /* BATCH_MP_ERROR */
            return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL,
                                            NULL, "%s", form->mp.error);
        }
    }

    return rc;
}


static ngx_int_t
ngx_http_batch_form_part(ngx_http_batch_op_t *op)
{
    ngx_uint_t              i;
    const ngx_str_t        *name;
    ngx_http_batch_form_t  *form;

    form = op->data;

    form->part = 0;
    form->field.len = 0;
    form->field.data = form->text;

    name = NULL;

    for (i = 1; i < form->n; i++) {
        name = &form->names[i];

        if (form->mp.name_len == name->len
            && ngx_memcmp(form->mp.name, name->data, name->len) == 0)
        {
            break;
        }
    }

    if (i == form->n) {
        return NGX_OK;
    }

    if (ngx_http_batch_form_has(form, i)) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST,
                                        (char *) name->data,
                                        "duplicate_parameter",
                                        "Duplicate parameter: '%V'.", name);
    }

    form->part = i;
    form->seen |= 1 << i;

    return i == NGX_HTTP_BATCH_FORM_FILE ? ngx_http_batch_form_name(op)
                                         : NGX_OK;
}


static ngx_int_t
ngx_http_batch_form_name(ngx_http_batch_op_t *op)
{
    size_t                  len;
    ngx_http_batch_form_t  *form;

    form = op->data;

    if (!form->mp.has_filename) {

        if (!form->named) {
            return NGX_OK;
        }

        return ngx_http_batch_op_reject_type(op, NGX_HTTP_BAD_REQUEST,
                                             "server_error",
                                             "The browser (or proxy) sent a "
                                             "request that this server could "
                                             "not understand.");
    }

    len = form->mp.filename_len;

    form->filename.len = len;
    form->filename.data = ngx_pnalloc(op->pool, len + 1);

    if (form->filename.data == NULL) {
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    ngx_memcpy(form->filename.data, form->mp.filename, len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_form_data(ngx_http_batch_op_t *op)
{
    size_t                  len;
    ngx_http_batch_form_t  *form;

    form = op->data;
    len = form->mp.data.len;

    if (form->part == 0) {
        return NGX_OK;
    }

    if (form->part != NGX_HTTP_BATCH_FORM_FILE) {

        if (len > NGX_HTTP_BATCH_FORM_FIELD - form->field.len) {
            return ngx_http_batch_param_long(op,
                                     (char *) form->names[form->part].data,
                                             NGX_HTTP_BATCH_FORM_FIELD, 0);
        }

        ngx_memcpy(form->text + form->field.len, form->mp.data.data, len);
        form->field.len += len;

        return NGX_OK;
    }

    form->bytes += len;

    if (form->max && form->bytes > form->max) {
        return ngx_http_batch_form_large(op);
    }

    form->rest.data = (u_char *) form->mp.data.data;
    form->rest.len = len;

    return ngx_http_batch_form_fill(op);
}


static ngx_int_t
ngx_http_batch_form_part_end(ngx_http_batch_op_t *op)
{
    ngx_http_batch_form_t *form = op->data;

    if (form->part == 0) {
        return NGX_OK;
    }

    if (form->part == NGX_HTTP_BATCH_FORM_FILE) {
        return ngx_http_batch_form_head(op);
    }

    return form->on_field ? form->on_field(op) : NGX_OK;
}


static ngx_int_t
ngx_http_batch_form_head(ngx_http_batch_op_t *op)
{
    ngx_http_batch_form_t *form = op->data;

    if (form->headed) {
        return NGX_OK;
    }

    form->headed = 1;

    return form->on_head ? form->on_head(op) : NGX_OK;
}


/* from the rest of a piece into the buffers */

static ngx_int_t
ngx_http_batch_form_fill(ngx_http_batch_op_t *op)
{
    size_t                  n;
    ngx_int_t               rc;
    ngx_http_batch_form_t  *form;

    form = op->data;

    while (form->rest.len) {

        if (form->on_grow && form->bytes > form->granted && !form->skip) {
            return op->pending ? NGX_AGAIN : form->on_grow(op);
        }

        if (form->len == NGX_HTTP_BATCH_FORM_BUFFER) {

            if (op->pending) {
                return NGX_AGAIN;
            }

            rc = ngx_http_batch_form_swap(op);

            if (rc != NGX_OK) {
                return rc;
            }
        }

        if (form->buf[form->cur] == NULL) {
            form->buf[form->cur] = ngx_palloc(op->pool,
                                              NGX_HTTP_BATCH_FORM_BUFFER);
            if (form->buf[form->cur] == NULL) {
                return ngx_http_batch_op_unavailable(op, NGX_ERROR);
            }
        }

        n = ngx_min(form->rest.len, NGX_HTTP_BATCH_FORM_BUFFER - form->len);

        ngx_memcpy(form->buf[form->cur] + form->len, form->rest.data, n);
        form->len += n;
        form->rest.data += n;
        form->rest.len -= n;
    }

    return NGX_OK;
}


/* the full buffer to a thread, the other one to be filled */

static ngx_int_t
ngx_http_batch_form_swap(ngx_http_batch_op_t *op)
{
    ngx_http_batch_form_t  *form;

    form = op->data;

    if (ngx_http_batch_form_head(op) != NGX_OK) {
        return NGX_DONE;
    }

    form->out = form->buf[form->cur];
    form->out_len = form->len;

    form->cur ^= 1;
    form->len = 0;

    return ngx_http_batch_op_task(op, ngx_http_batch_form_write,
                                  ngx_http_batch_form_written);
}


static void
ngx_http_batch_form_write(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_form_t *form = op->data;

    op->rc = NGX_ERROR;

    if (form->skip) {

        if (op->fd != NGX_INVALID_FILE) {
            ngx_http_batch_form_delete(op, log);
        }

    } else if (op->fd == NGX_INVALID_FILE) {
        op->fd = ngx_http_batch_store_tmp(form->tmp, log);

        if (op->fd == NGX_INVALID_FILE) {
            op->err = ngx_errno;
            return;
        }
    }

    if (form->out_len) {

        if (!form->skip
            && ngx_http_batch_store_write(op->fd, form->out, form->out_len,
                                          form->written, log)
               != NGX_OK)
        {
            op->err = ngx_errno;
            return;
        }

        if (form->check) {
            (void) batch_check_feed(form->check, form->out, form->out_len);
        }

        if (form->hashed) {
            ngx_sha1_update(&form->sha1, form->out, form->out_len);
        }
    }

    form->written += form->out_len;
    form->out_len = 0;

    op->rc = NGX_OK;
}


static void
ngx_http_batch_form_written(ngx_http_batch_op_t *op)
{
    ngx_http_batch_form_t *form = op->data;

    if (op->rc != NGX_OK) {
        ngx_http_batch_op_disk_error(op);
        return;
    }

    if (ngx_http_batch_form_bad(op)) {
        return;
    }

    if (form->ended) {
        form->on_end(op);
        return;
    }

    if (ngx_http_batch_space_full(0)) {
        ngx_http_batch_op_full(op);
        return;
    }

    ngx_http_batch_body_resume(op);
}


static void
ngx_http_batch_form_end(ngx_http_batch_op_t *op)
{
    ngx_http_batch_form_t *form = op->data;

    /* that a chunked body is empty is known only now */

    if (form->begun && batch_multipart_finish(&form->mp) != BATCH_OK) {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL, NULL, "%s",
                                 form->mp.error);
        return;
    }

    if (!ngx_http_batch_form_has(form, NGX_HTTP_BATCH_FORM_FILE)) {
        ngx_http_batch_form_no_file(op);
        return;
    }

    form->ended = 1;

    if (!op->pending) {
        form->on_end(op);
    }
}


ngx_int_t
ngx_http_batch_form_flush(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_form_t *form = op->data;

    form->out = form->buf[form->cur];
    form->out_len = form->len;

    ngx_http_batch_form_write(op, log);

    if (op->rc == NGX_OK && form->check
        && batch_check_finish(form->check) != BATCH_OK)
    {
        op->rc = NGX_ABORT;
    }

    if (op->rc != NGX_OK && op->fd != NGX_INVALID_FILE) {
        ngx_http_batch_store_tmp_delete(form->tmp, log);
    }

    return op->rc;
}


ngx_uint_t
ngx_http_batch_form_bad(ngx_http_batch_op_t *op)
{
    ngx_http_batch_form_t *form = op->data;

    if (form->check == NULL || form->check->error == NULL) {
        return 0;
    }

    ngx_http_batch_form_bad_line(op, "file", form->check);

    return 1;
}


void
ngx_http_batch_form_bad_line(ngx_http_batch_op_t *op, const char *param,
    const batch_check_t *check)
{
    ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, param,
                             "invalid_json_line",
                             "Invalid JSONL at line %uL: %s at byte %uL.",
                             check->line, check->error, check->at);
}
