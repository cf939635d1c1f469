/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Directives about clients: who may use the API, how fast, how much of it.
 */

#include "ngx_http_batch_conf.h"


static ngx_int_t ngx_http_batch_cors_origin(const ngx_str_t *value);


char *
ngx_http_batch_set_cors(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_batch_loc_conf_t *blcf = conf;

    ngx_str_t   *value, *origin;
    ngx_uint_t   i, alone;

    if (blcf->cors != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        blcf->cors = NULL;
        return NGX_CONF_OK;
    }

    blcf->cors = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                  sizeof(ngx_str_t));
    if (blcf->cors == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {
        alone = (cf->args->nelts == 2 && ngx_strcmp(value[i].data, "*") == 0);

        if (!alone && ngx_http_batch_cors_origin(&value[i]) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid origin \"%V\" in \"batch_cors\": write"
                               " off, or *, or origins as browsers send them,"
                               " for example https://app.example.com",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        origin = ngx_array_push(blcf->cors);
        if (origin == NULL) {
            return NGX_CONF_ERROR;
        }

        *origin = value[i];
    }

    return NGX_CONF_OK;
}


/* scheme://host[:port] in lower case; an origin has no path */

static ngx_int_t
ngx_http_batch_cors_origin(const ngx_str_t *value)
{
    u_char  *p, *host, *last;

    last = value->data + value->len;
    host = ngx_strnstr(value->data, "://", value->len);

    if (host == NULL || host == value->data || host + 3 == last) {
        return NGX_ERROR;
    }

    for (p = value->data; p < last; p++) {

        if (p == host) {
            p += 2;
            continue;
        }

        if (*p <= ' ' || *p >= 0x7f || *p == '/' || *p == '*'
            || (*p >= 'A' && *p <= 'Z'))
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
