/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The variables of what is sent, a line or a webhook, for the location that it
 * runs through.  The type of the attempt knows their values.
 */

#include "ngx_http_batch_attempt.h"


/* bytes of a stranger's text, before it is encoded */
#define NGX_HTTP_BATCH_VARIABLE_MAX  512


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
 * A stranger's text may become a part of a header, a log or a URL of the
 * location: no byte of it ends a line, a word, a path or an argument there.  A
 * slash stays, which names of models have.  What is too long is cut.
 */

ngx_int_t
ngx_http_batch_variable_text(ngx_pool_t *pool, const ngx_str_t *text,
    ngx_str_t *value)
{
    size_t  len;

    len = ngx_min(text->len, NGX_HTTP_BATCH_VARIABLE_MAX);

    value->data = ngx_pnalloc(pool, len ? len * 3 : 1);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    value->len = batch_escape_percent(value->data, text->data, len, "-._~/:@")
                 - value->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_variable_token(ngx_pool_t *pool, batch_str_t *token,
    ngx_str_t *value)
{
    u_char     buf[NGX_HTTP_BATCH_VARIABLE_MAX];
    ngx_str_t  text;

    if (token->len == 0) {
        return NGX_DECLINED;
    }

    text.data = buf;
    text.len = ngx_min(batch_token_decode(token, buf, sizeof(buf)),
                       sizeof(buf));

    return ngx_http_batch_variable_text(pool, &text, value);
}
