/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Answers of the API, and the one place where an error becomes JSON.
 */

#include "ngx_http_batch_api.h"


#define NGX_HTTP_BATCH_API_MESSAGE  2048


static void ngx_http_batch_send_free_text(void *data);
static void ngx_http_batch_send_drop_body(ngx_http_request_t *r);
static json_t *ngx_http_batch_send_string(const char *s);
static size_t ngx_http_batch_send_utf8_len(const u_char *p,
    const u_char *last);


ngx_int_t
ngx_http_batch_send_header(ngx_http_request_t *r, const char *key,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->key.len = ngx_strlen(key);
    h->key.data = (u_char *) key;
    h->value = *value;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_send_headers(ngx_http_request_t *r)
{
    ngx_str_t                  value;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (ctx->headers) {
        return NGX_OK;
    }

    if (ngx_http_batch_send_header(r, "X-Request-Id", &ctx->request_id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&value, "nosniff");

    if (ngx_http_batch_send_header(r, "X-Content-Type-Options", &value)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->headers = 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_send_text(ngx_http_request_t *r, ngx_uint_t status, char *text)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        free(text);
        return NGX_ERROR;
    }

    cln->handler = ngx_http_batch_send_free_text;
    cln->data = text;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL || ngx_http_batch_send_headers(r) != NGX_OK) {
        return NGX_ERROR;
    }

    b->pos = (u_char *) text;
    b->last = b->pos + ngx_strlen(text);
    b->memory = 1;
    b->last_buf = 1;
    b->last_in_chain = 1;

    if (r->reading_body) {
        r->keepalive = 0;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = b->last - b->pos;
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static void
ngx_http_batch_send_free_text(void *data)
{
    free(data);
}


ngx_int_t
ngx_http_batch_send_json(ngx_http_request_t *r, ngx_uint_t status,
    json_t *root)
{
    char  *text;

    text = json_dumps(root, NGX_HTTP_BATCH_API_DUMP);
    json_decref(root);

    if (text == NULL) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "batch: an answer could not be encoded");
        return NGX_ERROR;
    }

    return ngx_http_batch_send_text(r, status, text);
}


ngx_int_t
ngx_http_batch_send_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *param, const char *code, const char *fmt, ...)
{
    va_list    args;
    ngx_int_t  rc;

    va_start(args, fmt);
    rc = ngx_http_batch_send_verror(r, status, NULL, param, code, fmt, args);
    va_end(args);

    return rc;
}


ngx_int_t
ngx_http_batch_send_verror(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, const char *param, const char *code, const char *fmt,
    va_list args)
{
    size_t                     len;
    json_t                    *error, *root;
    u_char                    *p;
    ngx_str_t                  value;
    ngx_http_batch_api_ctx_t  *ctx;
    u_char                     message[NGX_HTTP_BATCH_API_MESSAGE];

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (status == NGX_HTTP_BAD_REQUEST && ctx && ctx->conf
        && ctx->conf->dialect == NGX_HTTP_BATCH_IMPALA)
    {
        status = NGX_HTTP_BATCH_UNPROCESSABLE;
    }

    if (type == NULL) {
        type = (status >= NGX_HTTP_INTERNAL_SERVER_ERROR)
               ? "server_error" : "invalid_request_error";
    }

    p = ngx_vslprintf(message, message + sizeof(message), fmt, args);
    len = p - message;
    (void) ngx_http_batch_send_utf8(message, len);

    error = json_object();
    root = json_object();

    if (json_object_set_new(error, "message",
                            json_stringn((char *) message, len))
        || json_object_set_new(error, "type", json_string(type))
        || json_object_set_new(error, "param",
                               ngx_http_batch_send_string(param))
        || json_object_set_new(error, "code", ngx_http_batch_send_string(code))
        || json_object_set(root, "error", error))
    {
        json_decref(error);
        json_decref(root);
        return NGX_ERROR;
    }

    json_decref(error);

    ngx_http_batch_send_drop_body(r);

    if (status == NGX_HTTP_SERVICE_UNAVAILABLE) {
        ngx_str_set(&value, "1");

        if (ngx_http_batch_send_header(r, "Retry-After", &value) != NGX_OK) {
            json_decref(root);
            return NGX_ERROR;
        }
    }

    if (status == NGX_HTTP_CONFLICT
        || status == NGX_HTTP_INSUFFICIENT_STORAGE)
    {
        /* or the SDKs repeat what cannot succeed */

        ngx_str_set(&value, "false");

        if (ngx_http_batch_send_header(r, "x-should-retry", &value)
            != NGX_OK)
        {
            json_decref(root);
            return NGX_ERROR;
        }
    }

    return ngx_http_batch_send_json(r, status, root);
}


/*
 * The body of a request that is refused before it was read.  It is read and
 * thrown away while the answer is on its way, so that the client gets to see
 * it; "100 Continue" would invite a body that nobody wants.
 */

static void
ngx_http_batch_send_drop_body(ngx_http_request_t *r)
{
    r->expect_tested = 1;

    if (r->request_body == NULL && !r->discard_body) {

        if (ngx_http_discard_request_body(r) != NGX_OK) {
            r->keepalive = 0;
        }

        /* much still to come: better a new connection than waiting for it */

        if (r->discard_body
            && (r->headers_in.chunked
                || r->headers_in.content_length_n
                   > NGX_HTTP_BATCH_API_JSON_MAX))
        {
            r->keepalive = 0;
        }
    }
}


static json_t *
ngx_http_batch_send_string(const char *s)
{
    json_t  *value;
    u_char  *p;
    size_t   len;

    if (s == NULL) {
        return json_null();
    }

    len = ngx_strlen(s);

    p = ngx_alloc(len + 1, ngx_cycle->log);
    if (p == NULL) {
        return NULL;
    }

    ngx_memcpy(p, s, len);
    (void) ngx_http_batch_send_utf8(p, len);

    value = json_stringn((char *) p, len);
    ngx_free(p);

    return value;
}


/* bytes of the character at p; 0 if it is none, or is cut by last */

static size_t
ngx_http_batch_send_utf8_len(const u_char *p, const u_char *last)
{
    size_t    i, n;
    uint32_t  c;

    if (*p < 0x80) {
        return 1;
    }

    if (*p >= 0xc2 && *p <= 0xdf) {
        n = 2;

    } else if (*p >= 0xe0 && *p <= 0xef) {
        n = 3;

    } else if (*p >= 0xf0 && *p <= 0xf4) {
        n = 4;

    } else {
        return 0;
    }

    if ((size_t) (last - p) < n) {
        return 0;
    }

    c = *p & (0x7f >> n);

    for (i = 1; i < n; i++) {

        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        c = (c << 6) | (p[i] & 0x3f);
    }

    if ((n == 3 && (c < 0x800 || (c >= 0xd800 && c <= 0xdfff)))
        || (n == 4 && (c < 0x10000 || c > 0x10ffff)))
    {
        return 0;
    }

    return n;
}


size_t
ngx_http_batch_send_utf8(u_char *p, size_t len)
{
    size_t   n, bad;
    u_char  *last;

    bad = 0;
    last = p + len;

    while (p < last) {
        n = ngx_http_batch_send_utf8_len(p, last);

        if (n == 0) {
            *p = '?';
            bad++;
            n = 1;
        }

        p += n;
    }

    return bad;
}


ngx_str_t
ngx_http_batch_send_shown(const u_char *p, size_t len)
{
    ngx_str_t  s;

    if (len > NGX_HTTP_BATCH_API_SHOWN) {
        len = NGX_HTTP_BATCH_API_SHOWN;

        while (len > NGX_HTTP_BATCH_API_SHOWN - 4 && (p[len] & 0xc0) == 0x80) {
            len--;
        }
    }

    s.data = (u_char *) p;
    s.len = len;

    return s;
}


size_t
ngx_http_batch_send_chars(const char *p, size_t len)
{
    size_t  i, n;

    n = 0;

    for (i = 0; i < len; i++) {
        if (((u_char) p[i] & 0xc0) != 0x80) {
            n++;
        }
    }

    return n;
}


ngx_int_t
ngx_http_batch_send_full(ngx_http_request_t *r)
{
    return ngx_http_batch_send_error(r, NGX_HTTP_INSUFFICIENT_STORAGE, NULL,
                                     "storage_full",
                                     "The server has no space left to store "
                                     "this.");
}


ngx_int_t
ngx_http_batch_send_no_file(ngx_http_request_t *r)
{
    ngx_str_t                  shown;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    shown = ngx_http_batch_send_shown(ctx->id.data, ctx->id.len);

    return ngx_http_batch_send_error(r, NGX_HTTP_NOT_FOUND, "id", NULL,
                                     "No such File object: %V", &shown);
}


ngx_int_t
ngx_http_batch_send_no_upload(ngx_http_request_t *r)
{
    ngx_str_t                  shown;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    shown = ngx_http_batch_send_shown(ctx->id.data, ctx->id.len);

    return ngx_http_batch_send_error(r, NGX_HTTP_NOT_FOUND, "id", NULL,
                                     "No such Upload object: %V", &shown);
}


ngx_int_t
ngx_http_batch_send_no_batch(ngx_http_request_t *r)
{
    ngx_str_t                  shown;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    shown = ngx_http_batch_send_shown(ctx->id.data, ctx->id.len);

    return ngx_http_batch_send_error(r, NGX_HTTP_NOT_FOUND, NULL, NULL,
                                     "No batch found with id '%V'.", &shown);
}
