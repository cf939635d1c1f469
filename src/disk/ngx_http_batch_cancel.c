/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * cancel.json: a cancel, or that it is too late for one.
 */

#include "ngx_http_batch_cancel.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_store.h"


#define NGX_HTTP_BATCH_CANCEL_MAX   (64 * 1024)


ngx_int_t
ngx_http_batch_cancel_mark(const char *batch_id, int64_t *at, ngx_log_t *log)
{
    u_char     *p;
    ngx_int_t   rc;
    u_char      text[sizeof("{\"v\":1,\"cancelling_at\":}") + NGX_INT64_LEN];

    /* the power may have failed when only final.json was durable */

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FINAL, batch_id, log);

    if (rc != 0) {
        return rc == 1 ? NGX_DECLINED : NGX_ERROR;
    }

    p = ngx_sprintf(text, "{\"v\":%d,\"cancelling_at\":%L}",
                    NGX_HTTP_BATCH_FORMAT, *at);

    rc = ngx_http_batch_publish_object(NGX_HTTP_BATCH_CANCEL, batch_id, text,
                                       p - text, log);

    if (rc == NGX_OK) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0, "batch: %s: cancelled",
                       batch_id);
    }

    if (rc != NGX_DECLINED) {
        return rc;
    }

    return ngx_http_batch_cancel_read(batch_id, at, log);
}


ngx_int_t
ngx_http_batch_cancel_close(const char *batch_id, int64_t *at, ngx_log_t *log)
{
    ngx_int_t  rc;

    static const char  text[] = "{\"v\":1,\"closed\":true}";

    *at = 0;

    rc = ngx_http_batch_publish_object(NGX_HTTP_BATCH_CANCEL, batch_id, text,
                                       sizeof(text) - 1, log);

    if (rc == NGX_OK) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: closed for cancels", batch_id);
    }

    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_batch_cancel_read(batch_id, at, log);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    return rc == NGX_OK ? NGX_DECLINED : NGX_OK;
}


ngx_int_t
ngx_http_batch_cancel_read(const char *batch_id, int64_t *at, ngx_log_t *log)
{
    json_t     *root;
    ngx_int_t   rc;
    ngx_str_t   text;
    ngx_uint_t  closed;

    *at = 0;

    rc = ngx_http_batch_store_read(NGX_HTTP_BATCH_CANCEL, batch_id,
                                   NGX_HTTP_BATCH_CANCEL_MAX, &text, log);
    if (rc == NGX_ERROR && ngx_http_batch_store_damaged()) {
        *at = batch_clock_sec();
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    root = ngx_http_batch_object_json(text.data, text.len, 0);

    if (root == NULL && !ngx_http_batch_store_damaged()) {
        ngx_free(text.data);
        return NGX_ERROR;
    }

    /* with a status it is the result that its publisher meant to link next */

    closed = json_is_true(json_object_get(root, "closed"))
             || json_is_string(json_object_get(root, "status"));
    *at = json_integer_value(json_object_get(root, "cancelling_at"));

    json_decref(root);
    ngx_free(text.data);

    if (closed) {
        *at = 0;
        return NGX_DECLINED;
    }

    /* its existence is what counts */

    if (*at <= 0) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch: %s: cancel.json is damaged, it counts as a"
                      " cancel", batch_id);
        *at = batch_clock_sec();
    }

    return NGX_OK;
}
