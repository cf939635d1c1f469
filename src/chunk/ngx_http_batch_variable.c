/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The variables of what is sent, a line or a webhook, for the location that it
 * runs through.  The type of the attempt knows their values.
 */

#include "ngx_http_batch_attempt.h"


static ngx_int_t ngx_http_batch_variable_get(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


/* by ngx_http_batch_variable_e */

static ngx_str_t  ngx_http_batch_variables[] = {
    ngx_string("batch_id"),
    ngx_string("batch_custom_id"),
    ngx_string("batch_line"),
    ngx_string("batch_attempt"),
    ngx_string("batch_tenant"),
    ngx_string("batch_job"),
    ngx_string("batch_model"),
    ngx_null_string
};


ngx_int_t
ngx_http_batch_variable_add(ngx_conf_t *cf)
{
    ngx_str_t            *name;
    ngx_http_variable_t  *var;

    for (name = ngx_http_batch_variables; name->len; name++) {
        var = ngx_http_add_variable(cf, name, NGX_HTTP_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_http_batch_variable_get;
        var->data = name - ngx_http_batch_variables;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_variable_get(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_int_t                  rc;
    ngx_str_t                  value;
    ngx_http_batch_attempt_t  *at;

    at = ngx_http_batch_attempt_of(r);

    if (at == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    rc = at->type->variable(at, r, data, &value);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc != NGX_OK) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->len = value.len;
    v->data = value.data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/*
 * A client's string may become a header of the upstream request: what could end
 * a header line, or is not printable ASCII, is written as %XX, and what is too
 * long is cut.
 */

ngx_int_t
ngx_http_batch_variable_token(ngx_pool_t *pool, batch_str_t *token,
    ngx_str_t *value)
{
    size_t          i, len;
    u_char          buf[BATCH_CUSTOM_ID_MAX], *p;
    static u_char   hex[] = "0123456789ABCDEF";

    if (token->len == 0) {
        return NGX_DECLINED;
    }

    len = batch_token_decode(token, buf, sizeof(buf));
    len = ngx_min(len, sizeof(buf));

    p = ngx_pnalloc(pool, len * 3);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value->data = p;

    for (i = 0; i < len; i++) {

        if (buf[i] > 0x20 && buf[i] < 0x7f && buf[i] != '%') {
            *p++ = buf[i];
            continue;
        }

        *p++ = '%';
        *p++ = hex[buf[i] >> 4];
        *p++ = hex[buf[i] & 0xf];
    }

    value->len = p - value->data;

    return NGX_OK;
}
