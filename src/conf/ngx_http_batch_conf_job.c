/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * batch_job: what a job_id stands for.
 */

#include "ngx_http_batch_conf.h"
#include "ngx_http_batch_lookup.h"


static char *ngx_http_batch_conf_job_option(ngx_conf_t *cf,
    ngx_http_batch_job_conf_t *job, ngx_str_t *name, ngx_str_t *value);
static char *ngx_http_batch_conf_job_price(ngx_http_batch_job_conf_t *job,
    ngx_str_t *value);
static char *ngx_http_batch_conf_job_pass(ngx_http_batch_job_conf_t *job,
    ngx_str_t *value);
static char *ngx_http_batch_conf_job_number(ngx_str_t *value, ngx_int_t min,
    ngx_int_t max, ngx_uint_t *n);


static ngx_str_t  ngx_http_batch_conf_job_names[] = {
    ngx_string("model="),
    ngx_string("price="),
    ngx_string("window="),
    ngx_string("pass="),
    ngx_string("concurrency="),
    ngx_string("priority="),
    ngx_null_string
};


char *
ngx_http_batch_conf_job(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_batch_main_conf_t *bmcf = conf;

    ngx_str_t                  *value, *name, option;
    ngx_uint_t                  i, n, seen;
    ngx_http_batch_job_conf_t  *job;

    value = cf->args->elts;

    if (value[1].len == 0 || value[1].len > 256) {
        return "must have an id of 1 to 256 bytes";
    }

    if (ngx_http_batch_lookup_job(&bmcf->jobs, &value[1], &n)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate \"batch_job %V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (bmcf->jobs.nelts == NGX_HTTP_BATCH_JOBS_MAX) {
        return "is given too often: at most 64 jobs are possible";
    }

    job = ngx_array_push(&bmcf->jobs);
    if (job == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(job, sizeof(ngx_http_batch_job_conf_t));
    job->id = value[1];
    seen = 0;

    for (i = 2; i < cf->args->nelts; i++) {

        for (n = 0; ngx_http_batch_conf_job_names[n].len; n++) {
            name = &ngx_http_batch_conf_job_names[n];

            if (value[i].len > name->len
                && ngx_strncmp(value[i].data, name->data, name->len) == 0)
            {
                break;
            }
        }

        name = &ngx_http_batch_conf_job_names[n];

        option.data = value[i].data + name->len;
        option.len = value[i].len - name->len;

        if (name->len == 0 || (seen & (1 << n))
            || ngx_http_batch_conf_job_option(cf, job, name, &option)
               != NGX_CONF_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid or duplicate option \"%V\" in"
                               " \"batch_job %V\": known are model=<name>,"
                               " price=<USD per 1M tokens>, window=<window>,"
                               " pass=<prefix>, concurrency=<1-65535>,"
                               " priority=<0-9>", &value[i], &value[1]);
            return NGX_CONF_ERROR;
        }

        seen |= 1 << n;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_batch_conf_job_option(ngx_conf_t *cf, ngx_http_batch_job_conf_t *job,
    ngx_str_t *name, ngx_str_t *value)
{
    switch (name->data[1]) {

    case 'o':
        if (name->data[0] == 'm') {
            job->model = *value;
            return value->len <= BATCH_MODEL_MAX ? NGX_CONF_OK
                                                 : NGX_CONF_ERROR;
        }

        return ngx_http_batch_conf_job_number(value, 1, 65535,
                                              &job->concurrency);

    case 'i':
        return ngx_http_batch_conf_window(value, &job->window) == NGX_OK
               ? NGX_CONF_OK : NGX_CONF_ERROR;

    case 'a':
        return ngx_http_batch_conf_job_pass(job, value);

    default: /* price, priority */

        if (name->len == sizeof("price=") - 1) {
            return ngx_http_batch_conf_job_price(job, value);
        }

        return ngx_http_batch_conf_job_number(value, 0,
                                              NGX_HTTP_BATCH_PRIORITY_MAX,
                                         &job->priority);
    }
}


/* at most six decimal places: a millionth of a dollar */

static char *
ngx_http_batch_conf_job_price(ngx_http_batch_job_conf_t *job, ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_atofp(value->data, value->len, 6);

    if (n == NGX_ERROR) {
        return NGX_CONF_ERROR;
    }

    job->price = n / 1000000.0;

    return NGX_CONF_OK;
}


/* the same rule as that of batch_pass */

static char *
ngx_http_batch_conf_job_pass(ngx_http_batch_job_conf_t *job, ngx_str_t *value)
{
    job->pass = *value;

    if (job->pass.data[0] != '/') {
        return NGX_CONF_ERROR;
    }

    while (job->pass.len && job->pass.data[job->pass.len - 1] == '/') {
        job->pass.len--;
    }

    return job->pass.len ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_http_batch_conf_job_number(ngx_str_t *value, ngx_int_t min, ngx_int_t max,
    ngx_uint_t *n)
{
    ngx_int_t  v;

    v = ngx_atoi(value->data, value->len);

    if (v == NGX_ERROR || v < min || v > max) {
        return NGX_CONF_ERROR;
    }

    *n = v;

    return NGX_CONF_OK;
}
