/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Routes: the locations with batch_api, their keys, and where their lines go.
 */

#include "ngx_http_batch_conf.h"
#include "ngx_http_batch_api.h"


static void ngx_http_batch_conf_route_body(ngx_conf_t *cf,
    ngx_http_batch_loc_conf_t *blcf);
static ngx_int_t ngx_http_batch_conf_route_pass(ngx_conf_t *cf,
    ngx_http_batch_loc_conf_t *blcf, ngx_str_t *pass, const char *directive);
static ngx_int_t ngx_http_batch_conf_route_key(ngx_conf_t *cf,
    ngx_http_batch_main_conf_t *bmcf, ngx_uint_t n);
static ngx_int_t ngx_http_batch_conf_route_prefix(ngx_conf_t *cf,
    ngx_http_batch_loc_conf_t *blcf);
static ngx_int_t ngx_http_batch_conf_route_endpoint(ngx_conf_t *cf,
    ngx_http_batch_loc_conf_t *blcf, ngx_str_t *pass, const char *directive,
    ngx_str_t *endpoint);
static ngx_int_t ngx_http_batch_conf_route_target(ngx_conf_t *cf,
    ngx_str_t *pass,
    const char *directive, ngx_http_core_loc_conf_t *clcf);
static ngx_http_core_loc_conf_t *ngx_http_batch_conf_route_find(
    ngx_http_core_loc_conf_t *pclcf, u_char *uri, size_t len);


ngx_int_t
ngx_http_batch_conf_route_check(ngx_conf_t *cf,
    ngx_http_batch_main_conf_t *bmcf,
    ngx_uint_t n)
{
    ngx_str_t                    none = ngx_null_string;
    ngx_uint_t                   i;
    ngx_http_batch_job_conf_t   *job;
    ngx_http_batch_loc_conf_t   *blcf, **routes;

    routes = bmcf->routes.elts;
    blcf = routes[n];

    if (ngx_http_batch_conf_route_key(cf, bmcf, n) != NGX_OK
        || ngx_http_batch_conf_route_prefix(cf, blcf) != NGX_OK
        || ngx_http_batch_conf_tenant(cf, blcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (blcf->pass.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"batch_api\" in location \"%V\" needs \"batch_pass\","
                      " the prefix of an internal location in the same server"
                      " that lines are sent to, for example:"
                      " batch_pass /batch-lines;", &blcf->route);
        return NGX_ERROR;
    }

    ngx_http_batch_conf_route_body(cf, blcf);

    if (ngx_http_batch_conf_route_pass(cf, blcf, &blcf->pass, "batch_pass ")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (blcf->hook
        && ngx_http_batch_conf_route_endpoint(cf, blcf, &blcf->hook->uri,
                                     "batch_webhook ", &none)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* a client of any route may name any job */

    job = bmcf->jobs.elts;

    for (i = 0; i < bmcf->jobs.nelts; i++) {
        if (job[i].pass.len
            && ngx_http_batch_conf_route_pass(cf, blcf, &job[i].pass,
                                         "batch_job ... pass=")
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* nginx refuses a body by this limit before the API sees it */

static void
ngx_http_batch_conf_route_body(ngx_conf_t *cf, ngx_http_batch_loc_conf_t *blcf)
{
    off_t                      most;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(blcf->ctx, ngx_http_core_module);
    most = clcf->client_max_body_size;

    if (most == 0 || (blcf->max_file_size && most >= blcf->max_file_size)) {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "\"client_max_body_size\" allows only %O bytes in location"
                  " \"%V\" with \"batch_api\": add"
                  " \"client_max_body_size 0;\" to it, the limit of uploads is"
                  " \"batch_max_file_size\"", most, &clcf->name);
}


/* pass leads to a location for lines with every endpoint of the route */

static ngx_int_t
ngx_http_batch_conf_route_pass(ngx_conf_t *cf, ngx_http_batch_loc_conf_t *blcf,
    ngx_str_t *pass, const char *directive)
{
    ngx_str_t   *endpoint;
    ngx_uint_t   i;

    endpoint = blcf->endpoints->elts;

    for (i = 0; i < blcf->endpoints->nelts; i++) {
        if (ngx_http_batch_conf_route_endpoint(cf, blcf, pass, directive,
                                               &endpoint[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * A batch remembers the key of its route.  The key must survive reloads and
 * restarts, so it is made of what the operator wrote.
 */

static ngx_int_t
ngx_http_batch_conf_route_key(ngx_conf_t *cf, ngx_http_batch_main_conf_t *bmcf,
    ngx_uint_t n)
{
    u_char                      *p;
    ngx_str_t                    key;
    ngx_uint_t                   i, same;
    ngx_http_core_srv_conf_t    *cscf;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_batch_loc_conf_t  **routes;

    routes = bmcf->routes.elts;

    cscf = ngx_http_get_module_srv_conf(routes[n]->ctx, ngx_http_core_module);
    clcf = ngx_http_get_module_loc_conf(routes[n]->ctx, ngx_http_core_module);

    key.data = ngx_pnalloc(cf->pool, cscf->server_name.len + clcf->name.len
                                     + 2 + NGX_INT_T_LEN);
    if (key.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(key.data, "%V %V", &cscf->server_name, &clcf->name);
    key.len = p - key.data;

    same = 1;

    for (i = 0; i < n; i++) {
        if (routes[i]->route.len >= key.len
            && ngx_strncmp(routes[i]->route.data, key.data, key.len) == 0
            && (routes[i]->route.len == key.len
                || routes[i]->route.data[key.len] == '#'))
        {
            same++;
        }
    }

    if (same > 1) {
        p = ngx_sprintf(p, "#%ui", same);
        key.len = p - key.data;
    }

    routes[n]->route = key;

    return NGX_OK;
}


/* what the API's paths begin with, if the location says that */

static ngx_int_t
ngx_http_batch_conf_route_prefix(ngx_conf_t *cf,
    ngx_http_batch_loc_conf_t *blcf)
{
    u_char                    *p;
    ngx_str_t                 *name;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(blcf->ctx, ngx_http_core_module);
    name = &clcf->name;

    if (clcf->named) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"batch_api\" in location \"%V\": the paths of the API"
                      " begin with the prefix of its location, and a named"
                      " location has none; use a prefix, for example:"
                      " location /v1/", name);
        return NGX_ERROR;
    }

#if (NGX_PCRE)
    if (clcf->regex) {

        if (name->len == 0 || name->data[0] != '^') {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"batch_api\" in location \"%V\": the expression"
                          " does not begin with \"^\", so that the API answers"
                          " below any prefix, also below one that the rules"
                          " of other locations do not name", name);
        }

        return NGX_OK;
    }
#endif

    p = ngx_pnalloc(cf->pool, name->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    blcf->prefix.data = p;
    blcf->prefix.len = batch_path_prefix(name->data, name->len,
                                         clcf->exact_match);

    p = ngx_cpymem(p, name->data, blcf->prefix.len);

    if (p == blcf->prefix.data || p[-1] != '/') {
        *p = '/';
        blcf->prefix.len++;
    }

    return NGX_OK;
}


/* endpoint follows pass; a webhook has none */

static ngx_int_t
ngx_http_batch_conf_route_endpoint(ngx_conf_t *cf,
    ngx_http_batch_loc_conf_t *blcf,
    ngx_str_t *pass, const char *directive, ngx_str_t *endpoint)
{
    u_char                     uri[NGX_MAX_PATH + 1], *p;
    ngx_http_core_srv_conf_t  *cscf;
    ngx_http_core_loc_conf_t  *clcf, *pclcf;

    cscf = ngx_http_get_module_srv_conf(blcf->ctx, ngx_http_core_module);
    pclcf = ngx_http_get_module_loc_conf(cscf->ctx, ngx_http_core_module);

    p = ngx_snprintf(uri, NGX_MAX_PATH, "%V%V", pass, endpoint);

    clcf = ngx_http_batch_conf_route_find(pclcf, uri, p - uri);

    if (clcf) {
        return ngx_http_batch_conf_route_target(cf, pass, directive, clcf);
    }

#if (NGX_PCRE)
    if (pclcf->regex_locations) {

        /* one of them may match, which only a request can tell */

        return NGX_OK;
    }
#endif

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"%s%V\": the server has no location for it; add:"
                  " location %V%s { internal; proxy_pass http://<upstream>/; }",
                  directive, pass, pass, endpoint->len ? "/" : "");

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_batch_conf_route_target(ngx_conf_t *cf, ngx_str_t *pass,
    const char *directive, ngx_http_core_loc_conf_t *clcf)
{
    ngx_http_batch_loc_conf_t  *blcf;

    if (clcf->handler == ngx_http_batch_api_handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%s%V\" leads to a location with"
                      " \"batch_api\": lines and webhooks would never leave"
                      " this server; give them an internal location with"
                      " proxy_pass", directive, pass);
        return NGX_ERROR;
    }

    blcf = clcf->loc_conf[ngx_http_batch_module.ctx_index];

    if (blcf->target) {
        /* another endpoint has led here already */
        return NGX_OK;
    }

    blcf->target = 1;

    if (!clcf->internal) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "location \"%V\" of \"%s%V\" is open to"
                      " clients: add \"internal;\" to it", &clcf->name,
                      directive, pass);
    }

    return NGX_OK;
}


/* ngx_http_core_find_static_location(), which nginx keeps private */

static ngx_http_core_loc_conf_t *
ngx_http_batch_conf_route_find(ngx_http_core_loc_conf_t *pclcf, u_char *uri,
    size_t len)
{
    size_t                         n;
    ngx_int_t                      rc;
    ngx_http_core_loc_conf_t      *found;
    ngx_http_location_tree_node_t *node;

    found = NULL;
    node = pclcf->static_locations;

    while (node) {
        n = (len <= (size_t) node->len) ? len : node->len;

        rc = ngx_filename_cmp(uri, node->name, n);

        if (rc != 0) {
            node = (rc < 0) ? node->left : node->right;
            continue;
        }

        if (len > (size_t) node->len) {

            if (node->inclusive) {
                found = node->inclusive;
                node = node->tree;
                uri += n;
                len -= n;
                continue;
            }

            node = node->right;
            continue;
        }

        if (len == (size_t) node->len) {

            if (node->exact) {
                return node->exact;
            }

            return node->inclusive ? node->inclusive : found;
        }

        node = node->left;
    }

    return found;
}
