/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Names that a batch remembers, looked up in the configuration.
 */

#include "ngx_http_batch_lookup.h"


ngx_http_batch_loc_conf_t *
ngx_http_batch_lookup_route(const ngx_str_t *key, ngx_uint_t *n)
{
    ngx_http_batch_loc_conf_t  **routes;

    routes = ngx_http_batch_conf->routes.elts;

    for (*n = 0; *n < ngx_http_batch_conf->routes.nelts; (*n)++) {
        if (routes[*n]->route.len == key->len
            && ngx_strncmp(routes[*n]->route.data, key->data, key->len) == 0)
        {
            return routes[*n];
        }
    }

    if (ngx_http_batch_conf->routes.nelts == 1) {
        *n = 0;
        return routes[0];
    }

    return NULL;
}


ngx_http_batch_job_conf_t *
ngx_http_batch_lookup_job(const ngx_array_t *jobs, const ngx_str_t *id,
    ngx_uint_t *n)
{
    ngx_http_batch_job_conf_t  *job;

    job = jobs->elts;

    for (*n = 0; *n < jobs->nelts; (*n)++) {
        if (job[*n].id.len == id->len
            && ngx_memcmp(job[*n].id.data, id->data, id->len) == 0)
        {
            return &job[*n];
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_batch_lookup_hook(const ngx_str_t *route)
{
    ngx_uint_t                  n;
    ngx_http_batch_loc_conf_t  *blcf;

    blcf = ngx_http_batch_lookup_route(route, &n);

    return blcf && blcf->hook;
}


ngx_uint_t
ngx_http_batch_lookup_ended(const ngx_str_t *route)
{
    ngx_uint_t                  n;
    ngx_http_batch_loc_conf_t  *blcf;

    blcf = ngx_http_batch_lookup_route(route, &n);

    return blcf && blcf->quota ? blcf->quota->ended : 0;
}
