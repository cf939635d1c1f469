/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * error_page that leads into the API.  A request that gets there so is told of
 * its error and nothing else (ngx_http_batch_api.c), which the operator has not
 * meant.
 */

#include "ngx_http_batch_conf.h"
#include "ngx_http_batch_path.h"


static ngx_uint_t ngx_http_batch_conf_error_leads(
    ngx_http_batch_main_conf_t *bmcf, ngx_http_core_srv_conf_t *cscf,
    ngx_str_t *uri);


void
ngx_http_batch_conf_error_pages(ngx_conf_t *cf,
    ngx_http_batch_main_conf_t *bmcf, ngx_uint_t n)
{
    ngx_uint_t                   i;
    ngx_http_err_page_t         *page;
    ngx_http_core_srv_conf_t    *cscf;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_batch_loc_conf_t  **routes;

    routes = bmcf->routes.elts;

    clcf = ngx_http_get_module_loc_conf(routes[n]->ctx, ngx_http_core_module);
    cscf = ngx_http_get_module_srv_conf(routes[n]->ctx, ngx_http_core_module);

    if (clcf->error_pages == NULL) {
        return;
    }

    page = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {

        /* a path with variables, only a request knows */

        if (page[i].value.lengths
            || page[i].value.value.len == 0
            || page[i].value.value.data[0] != '/'
            || !ngx_http_batch_conf_error_leads(bmcf, cscf,
                                                &page[i].value.value))
        {
            continue;
        }

        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"error_page %i %V\" in location \"%V\" leads into the"
                      " batch API, which answers such requests with an error"
                      " only: remove it, its errors are JSON without it",
                      page[i].status, &page[i].value.value,
                      &routes[n]->route);
    }
}


static ngx_uint_t
ngx_http_batch_conf_error_leads(ngx_http_batch_main_conf_t *bmcf,
    ngx_http_core_srv_conf_t *cscf, ngx_str_t *uri)
{
    ngx_uint_t                   i;
    batch_path_t                 path;
    ngx_http_batch_loc_conf_t  **routes;

    routes = bmcf->routes.elts;

    for (i = 0; i < bmcf->routes.nelts; i++) {

        if (ngx_http_get_module_srv_conf(routes[i]->ctx, ngx_http_core_module)
            == (void *) cscf
            && ngx_http_batch_path_find(routes[i], uri, NULL, &path) == NGX_OK)
        {
            return 1;
        }
    }

    return 0;
}
