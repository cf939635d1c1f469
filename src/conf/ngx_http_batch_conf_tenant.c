/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * batch_tenant: which headers of a request its value comes from, as far as the
 * variables' names tell.  What a map, a set or an auth_request does, nobody
 * knows but nginx.
 */

#include "ngx_http_batch_conf.h"


static ngx_int_t ngx_http_batch_conf_tenant_variable(
    ngx_http_batch_tenant_conf_t *from, ngx_array_t *vary,
    const ngx_str_t *variable);
static ngx_int_t ngx_http_batch_conf_tenant_add(ngx_array_t *names,
    u_char *data, size_t len);
static ngx_int_t ngx_http_batch_conf_tenant_vary(ngx_conf_t *cf,
    const ngx_array_t *names, ngx_str_t *vary);
static ngx_uint_t ngx_http_batch_conf_tenant_begins(const ngx_str_t *name,
    const char *prefix);


ngx_int_t
ngx_http_batch_conf_tenant(ngx_conf_t *cf, ngx_http_batch_loc_conf_t *blcf)
{
    ngx_uint_t                    *index;
    ngx_array_t                    vary;
    ngx_http_variable_t           *v;
    ngx_http_complex_value_t      *tenant;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_batch_tenant_conf_t  *from;

    tenant = blcf->tenant;

    if (tenant == NULL) {
        return NGX_OK;
    }

    if (tenant->lengths == NULL
        && (tenant->value.len == 0
            || tenant->value.len > NGX_HTTP_BATCH_TENANT_MAX
            || !batch_utf8_valid(tenant->value.data, tenant->value.len)))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"batch_tenant\" in location \"%V\" must be UTF-8 text"
                      " of 1 to %d bytes; without the directive all clients"
                      " are one tenant", &blcf->route,
                      NGX_HTTP_BATCH_TENANT_MAX);
        return NGX_ERROR;
    }

    from = ngx_pcalloc(cf->pool, sizeof(ngx_http_batch_tenant_conf_t));

    if (from == NULL
        || ngx_array_init(&from->headers, cf->pool, 2, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&vary, cf->pool, 2, sizeof(ngx_str_t)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    blcf->from = from;

    if (tenant->lengths == NULL) {
        return NGX_OK;
    }

    /* of whatever a tenant is made, this may have decided about it */

    if (ngx_http_batch_conf_tenant_add(&from->headers,
                                       (u_char *) "authorization", 13)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    v = cmcf->variables.elts;

    for (index = tenant->flushes; index && *index != (ngx_uint_t) -1; index++)
    {
        if (ngx_http_batch_conf_tenant_variable(from, &vary, &v[*index].name)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_http_batch_conf_tenant_vary(cf, &vary, &from->vary);
}


/* names of variables are in lower case */

static ngx_int_t
ngx_http_batch_conf_tenant_variable(ngx_http_batch_tenant_conf_t *from,
    ngx_array_t *vary, const ngx_str_t *variable)
{
    size_t   len;
    u_char  *name;

    if (ngx_http_batch_conf_tenant_begins(variable, "http_")) {
        name = variable->data + 5;
        len = variable->len - 5;

        return ngx_http_batch_conf_tenant_add(&from->headers, name, len)
               == NGX_OK
               ? ngx_http_batch_conf_tenant_add(vary, name, len) : NGX_ERROR;
    }

    if (ngx_http_batch_conf_tenant_begins(variable, "cookie_")) {
        return ngx_http_batch_conf_tenant_add(vary, (u_char *) "cookie", 6);
    }

    if (variable->len == 11
        && ngx_strncmp(variable->data, "remote_user", 11) == 0)
    {
        return ngx_http_batch_conf_tenant_add(vary,
                                              (u_char *) "authorization", 13);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_conf_tenant_add(ngx_array_t *names, u_char *data, size_t len)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    name = names->elts;

    for (i = 0; i < names->nelts; i++) {
        if (name[i].len == len && ngx_memcmp(name[i].data, data, len) == 0) {
            return NGX_OK;
        }
    }

    name = ngx_array_push(names);
    if (name == NULL) {
        return NGX_ERROR;
    }

    name->data = data;
    name->len = len;

    return NGX_OK;
}


/* "x_team" and "cookie" are "X-Team, Cookie" */

static ngx_int_t
ngx_http_batch_conf_tenant_vary(ngx_conf_t *cf, const ngx_array_t *names,
    ngx_str_t *vary)
{
    u_char      ch, last, *p;
    size_t      j, len;
    ngx_str_t  *name;
    ngx_uint_t  i;

    name = names->elts;

    for (len = 0, i = 0; i < names->nelts; i++) {
        len += name[i].len + 2;
    }

    if (len == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    vary->data = p;

    for (i = 0; i < names->nelts; i++) {

        if (i) {
            *p++ = ',';
            *p++ = ' ';
        }

        for (last = '-', j = 0; j < name[i].len; j++) {
            ch = (name[i].data[j] == '_') ? '-' : name[i].data[j];
            *p++ = (last == '-') ? ngx_toupper(ch) : ch;
            last = ch;
        }
    }

    vary->len = p - vary->data;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_batch_conf_tenant_begins(const ngx_str_t *name, const char *prefix)
{
    size_t  len;

    len = ngx_strlen(prefix);

    return name->len > len && ngx_strncmp(name->data, prefix, len) == 0;
}
