/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Directives about clients: who may use the API, how fast, how much of it.
 */

#include "ngx_http_batch_conf.h"


static ngx_int_t ngx_http_batch_conf_client_quota_option(
    ngx_http_batch_quota_conf_t *quota, const ngx_str_t *value);
static ngx_int_t ngx_http_batch_conf_client_time(const ngx_str_t *value,
    const char *name, ngx_msec_t *ms);
static ngx_int_t ngx_http_batch_conf_client_origin(const ngx_str_t *value);


char *
ngx_http_batch_conf_client_body_rate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_batch_loc_conf_t *blcf = conf;

    ssize_t                      rate;
    ngx_int_t                    rc;
    ngx_str_t                   *value;
    ngx_uint_t                   i;
    ngx_http_batch_pace_conf_t  *pace;

    if (blcf->pace != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        blcf->pace = NULL;
        return NGX_CONF_OK;
    }

    pace = ngx_palloc(cf->pool, sizeof(ngx_http_batch_pace_conf_t));
    if (pace == NULL) {
        return NGX_CONF_ERROR;
    }

    i = 1;
    rate = ngx_parse_size(&value[i]);

    if (rate == NGX_ERROR || rate == 0) {
        goto invalid;
    }

    pace->rate = rate;
    pace->grace = 20000;
    pace->max = 12 * 3600 * 1000;

    for (i = 2; i < cf->args->nelts; i++) {
        rc = ngx_http_batch_conf_client_time(&value[i], "grace=", &pace->grace);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_batch_conf_client_time(&value[i], "max=", &pace->max);
        }

        if (rc != NGX_OK) {
            goto invalid;
        }
    }

    blcf->pace = pace;

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"batch_body_rate\": write off,"
                       " or bytes per second and grace=<time>, max=<time>, for"
                       " example 500 grace=20s max=12h", &value[i]);

    return NGX_CONF_ERROR;
}


char *
ngx_http_batch_conf_client_quota(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_batch_loc_conf_t *blcf = conf;

    ngx_str_t                    *value;
    ngx_uint_t                    i;
    ngx_http_batch_quota_conf_t  *quota;

    if (blcf->quota != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        blcf->quota = NULL;
        return NGX_CONF_OK;
    }

    quota = ngx_pcalloc(cf->pool, sizeof(ngx_http_batch_quota_conf_t));
    if (quota == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_batch_conf_client_quota_option(quota,
            &value[i]) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"batch_quota\": write"
                               " off, or each of bytes=<size>,"
                               " files=<number>, batches=<number>,"
                               " lines=<number>, ended=<number> once at most",
                               &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    blcf->quota = quota;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_batch_conf_client_quota_option(ngx_http_batch_quota_conf_t *quota,
    const ngx_str_t *value)
{
    off_t        bytes;
    ngx_int_t    n;
    ngx_str_t    s;
    ngx_uint_t   i;

    static const char  *names[] = { "bytes=", "files=", "batches=", "lines=",
                                   "ended=" };

    ngx_uint_t  *numbers[] = { NULL, &quota->files, &quota->batches,
                               &quota->lines, &quota->ended };

    for (i = 0; !ngx_http_batch_conf_option(value, names[i], &s); i++) {
        if (i == 4) {
            return NGX_ERROR;
        }
    }

    if (i == 0) {
        bytes = ngx_parse_offset(&s);

        /* Redis counts in doubles */

        if (bytes < 0 || quota->bytes || bytes > (off_t) 1 << 53) {
            return NGX_ERROR;
        }

        quota->bytes = bytes;

        return NGX_OK;
    }

    n = ngx_atoi(s.data, s.len);

    if (n < 0 || *numbers[i] || (uint64_t) n > (uint64_t) 1 << 53) {
        return NGX_ERROR;
    }

    *numbers[i] = n;

    return NGX_OK;
}


/* NGX_DECLINED: the value does not begin with the name */

static ngx_int_t
ngx_http_batch_conf_client_time(const ngx_str_t *value, const char *name,
    ngx_msec_t *ms)
{
    ngx_int_t  n;
    ngx_str_t  s;

    if (!ngx_http_batch_conf_option(value, name, &s)) {
        return NGX_DECLINED;
    }

    n = ngx_parse_time(&s, 0);

    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    *ms = n;

    return NGX_OK;
}


char *
ngx_http_batch_conf_client_cors(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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

        if (!alone && ngx_http_batch_conf_client_origin(&value[i]) != NGX_OK) {
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
ngx_http_batch_conf_client_origin(const ngx_str_t *value)
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
