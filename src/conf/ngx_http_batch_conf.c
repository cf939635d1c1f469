/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Directives that need code and belong to no other file of the room, what has a
 * default that depends on another directive, and the check of the whole.
 */

#include "ngx_http_batch_conf.h"
#include "ngx_http_batch_api.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_status.h"
#include "ngx_http_batch_store.h"


#define NGX_HTTP_BATCH_PASSWORD_MAX  4096


#define NGX_HTTP_BATCH_LINE_SIZE_MIN  1024
#define NGX_HTTP_BATCH_LINE_SIZE_MAX  (1024 * 1024 * 1024)


static ngx_uid_t ngx_http_batch_conf_worker_uid(ngx_cycle_t *cycle);


static ngx_str_t  ngx_http_batch_endpoints[] = {
    ngx_string("/v1/chat/completions"),
    ngx_string("/v1/completions"),
    ngx_string("/v1/embeddings"),
    ngx_string("/v1/responses")
};

static ngx_http_batch_window_t  ngx_http_batch_windows[] = {
    { ngx_string("24h"), 86400 },
    { ngx_string("unlimited"), 0 }
};

#define ngx_http_batch_default(elts, n)                                       \
    { elts, n, sizeof((elts)[0]), n, NULL }

static ngx_array_t  ngx_http_batch_default_endpoints =
    ngx_http_batch_default(ngx_http_batch_endpoints, 4);


/* by dialect */

static ngx_array_t  ngx_http_batch_default_windows[] = {
    ngx_http_batch_default(ngx_http_batch_windows, 2),
    ngx_http_batch_default(&ngx_http_batch_windows[1], 1),
    ngx_http_batch_default(ngx_http_batch_windows, 1)
};

static off_t  ngx_http_batch_default_sizes[] = {
    200 * 1024 * 1024, 200 * 1024 * 1024, 100 * 1024 * 1024
};


char *
ngx_http_batch_conf_set_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_batch_loc_conf_t *blcf = conf;

    ngx_http_core_loc_conf_t     *clcf;
    ngx_http_core_srv_conf_t     *cscf;
    ngx_http_batch_loc_conf_t   **route, *server;
    ngx_http_batch_main_conf_t   *bmcf;

    if (blcf->api) {
        return "is duplicate";
    }

    bmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_batch_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (bmcf->routes.nelts == NGX_HTTP_BATCH_ROUTES) {
        return "is in too many locations: at most 16 may have it";
    }

    route = ngx_array_push(&bmcf->routes);
    if (route == NULL) {
        return NGX_CONF_ERROR;
    }

    *route = blcf;

    blcf->api = blcf;
    blcf->ctx = cf->ctx;
    bmcf->enabled = 1;

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
    server = cscf->ctx->loc_conf[ngx_http_batch_module.ctx_index];
    server->server = 1;

    clcf->handler = ngx_http_batch_api_handler;

    return NGX_CONF_OK;
}


char *
ngx_http_batch_conf_set_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_batch_loc_conf_t *blcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    if (blcf->status) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    blcf->status = 1;
    clcf->handler = ngx_http_batch_status_handler;

    return NGX_CONF_OK;
}


char *
ngx_http_batch_conf_set_store(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_batch_main_conf_t *bmcf = conf;

    ngx_str_t  *value, size;

    if (bmcf->store.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    bmcf->store = value[1];

    if (ngx_conf_full_name(cf->cycle, &bmcf->store, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    while (bmcf->store.len > 1
           && bmcf->store.data[bmcf->store.len - 1] == '/')
    {
        bmcf->store.data[--bmcf->store.len] = '\0';
    }

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (ngx_http_batch_conf_option(&value[2], "min_free=", &size)) {
        bmcf->min_free = size.len ? ngx_parse_offset(&size) : NGX_ERROR;

        if (bmcf->min_free != NGX_ERROR) {
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"batch_store\","
                       " expected is min_free=<size>", &value[2]);

    return NGX_CONF_ERROR;
}


ngx_uint_t
ngx_http_batch_conf_option(const ngx_str_t *arg, const char *name,
    ngx_str_t *value)
{
    size_t  len;

    len = ngx_strlen(name);

    if (arg->len < len || ngx_strncmp(arg->data, name, len) != 0) {
        return 0;
    }

    value->data = arg->data + len;
    value->len = arg->len - len;

    return 1;
}


char *
ngx_http_batch_conf_file(ngx_conf_t *cf, const char *directive,
    const char *option, ngx_str_t *file, ngx_str_t *line)
{
    u_char     *buf;
    ssize_t     n;
    ngx_fd_t    fd;
    ngx_str_t   name;

    name = *file;

    if (ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    buf = ngx_pnalloc(cf->pool, NGX_HTTP_BATCH_PASSWORD_MAX);
    if (buf == NULL) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(name.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"%s\" cannot open %s \"%V\"",
                           directive, option, &name);
        return NGX_CONF_ERROR;
    }

    n = ngx_read_fd(fd, buf, NGX_HTTP_BATCH_PASSWORD_MAX);

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", &name);
    }

    while (n > 0 && (buf[n - 1] == LF || buf[n - 1] == CR)) {
        n--;
    }

    if (n <= 0 || n == NGX_HTTP_BATCH_PASSWORD_MAX
        || ngx_strlchr(buf, buf + n, LF) != NULL)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s \"%V\" of \"%s\" must hold the %*s in one"
                           " line", option, &name, directive,
                           ngx_strlen(option) - (sizeof("_file") - 1), option);
        return NGX_CONF_ERROR;
    }

    line->data = buf;
    line->len = n;

    return NGX_CONF_OK;
}


char *
ngx_http_batch_conf_set_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_batch_loc_conf_t *blcf = conf;

    ngx_str_t  *value;

    if (blcf->pass.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    blcf->pass = value[1];

    if (blcf->pass.data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"batch_pass %V\" must be the prefix of an"
                           " internal location in the same server, for"
                           " example /batch-lines", &value[1]);
        return NGX_CONF_ERROR;
    }

    /* a line's url begins with a slash */

    while (blcf->pass.len && blcf->pass.data[blcf->pass.len - 1] == '/') {
        blcf->pass.len--;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_batch_conf_set_endpoints(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_batch_loc_conf_t *blcf = conf;

    u_char      ch;
    size_t      j;
    ngx_str_t  *value, *endpoint;
    ngx_uint_t  i;

    if (blcf->endpoints != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    blcf->endpoints = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                       sizeof(ngx_str_t));
    if (blcf->endpoints == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (value[i].data[0] != '/') {
            goto invalid;
        }

        for (j = 0; j < value[i].len; j++) {
            ch = value[i].data[j];

            if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
                  || (ch >= '0' && ch <= '9')
                  || ch == '/' || ch == '_' || ch == '-' || ch == '.'))
            {
                goto invalid;
            }
        }

        if (ngx_strnstr(value[i].data, "..", value[i].len)
            || ngx_strnstr(value[i].data, "//", value[i].len))
        {
            goto invalid;
        }

        endpoint = ngx_array_push(blcf->endpoints);
        if (endpoint == NULL) {
            return NGX_CONF_ERROR;
        }

        *endpoint = value[i];
    }

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid endpoint \"%V\" in \"batch_endpoints\": write"
                       " it as a line's url has it, for example"
                       " /v1/chat/completions", &value[i]);

    return NGX_CONF_ERROR;
}


char *
ngx_http_batch_conf_set_windows(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_batch_loc_conf_t *blcf = conf;

    ngx_str_t                *value;
    ngx_uint_t                i;
    ngx_http_batch_window_t  *w;

    if (blcf->given.windows != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    blcf->given.windows = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                           sizeof(ngx_http_batch_window_t));
    if (blcf->given.windows == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {
        w = ngx_array_push(blcf->given.windows);
        if (w == NULL) {
            return NGX_CONF_ERROR;
        }

        if (ngx_http_batch_conf_window(&value[i], w) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid window \"%V\" in \"batch_windows\":"
                               " write unlimited or a number with m, h or d,"
                               " for example 24h", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_batch_conf_window(ngx_str_t *value, ngx_http_batch_window_t *w)
{
    ngx_int_t  n, unit;

    w->name = *value;
    w->seconds = 0;

    if (value->len == 9 && ngx_strncmp(value->data, "unlimited", 9) == 0) {
        return NGX_OK;
    }

    if (value->len < 2) {
        return NGX_ERROR;
    }

    switch (value->data[value->len - 1]) {
    case 'm':
        unit = 60;
        break;
    case 'h':
        unit = 3600;
        break;
    case 'd':
        unit = 86400;
        break;
    default:
        return NGX_ERROR;
    }

    n = ngx_atoi(value->data, value->len - 1);
    if (n == NGX_ERROR || n == 0 || n > 36500) {
        return NGX_ERROR;
    }

    w->seconds = (int64_t) n * unit;

    return NGX_OK;
}


/* a worker must have a line in memory, as a whole */

char *
ngx_http_batch_conf_line_size(ngx_conf_t *cf, void *post, void *data)
{
    size_t *size = data;

    if (*size < NGX_HTTP_BATCH_LINE_SIZE_MIN
        || *size > NGX_HTTP_BATCH_LINE_SIZE_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"batch_max_line_size\" must be between 1k and 1g,"
                           " for example: batch_max_line_size 32m;");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


void
ngx_http_batch_conf_defaults(ngx_http_batch_loc_conf_t *conf)
{
    if (conf->endpoints == NULL) {
        conf->endpoints = &ngx_http_batch_default_endpoints;
    }

    conf->max_file_size = conf->given.max_file_size;

    if (conf->max_file_size == NGX_CONF_UNSET) {
        conf->max_file_size = ngx_http_batch_default_sizes[conf->dialect];
    }

    conf->windows = conf->given.windows;

    if (conf->windows == NGX_CONF_UNSET_PTR) {
        conf->windows = &ngx_http_batch_default_windows[conf->dialect];
    }
}


ngx_int_t
ngx_http_batch_conf_check(ngx_conf_t *cf, ngx_http_batch_main_conf_t *bmcf)
{
    ngx_uint_t  i;

    if (bmcf->store.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"batch_api\" needs \"batch_store\" in the http block,"
                      " for example: batch_store /var/lib/nginx/batch;");
        return NGX_ERROR;
    }

    if (bmcf->redis.naddrs == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"batch_api\" needs \"batch_redis\" in the http block,"
                      " for example: batch_redis 127.0.0.1:6379;");
        return NGX_ERROR;
    }

    for (i = 0; i < bmcf->routes.nelts; i++) {
        if (ngx_http_batch_conf_route_check(cf, bmcf, i) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < bmcf->routes.nelts; i++) {
        ngx_http_batch_conf_error_pages(cf, bmcf, i);
    }

    return NGX_OK;
}


/*
 * Called once the whole configuration is read, since "user" and
 * "master_process" may follow the http block.
 */

ngx_int_t
ngx_http_batch_conf_store(ngx_cycle_t *cycle,
    ngx_http_batch_main_conf_t *bmcf)
{
    ngx_conf_t  cf;

    ngx_memzero(&cf, sizeof(ngx_conf_t));

    cf.cycle = cycle;
    cf.pool = cycle->pool;
    cf.log = cycle->log;

    return ngx_http_batch_prepare_store(&cf, &bmcf->store,
                                        ngx_http_batch_conf_worker_uid(cycle));
}


/* the owner that the store must have */

static ngx_uid_t
ngx_http_batch_conf_worker_uid(ngx_cycle_t *cycle)
{
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    /* a single process does not change its user */

    return geteuid() == 0 && ccf->master ? ccf->user : geteuid();
}
