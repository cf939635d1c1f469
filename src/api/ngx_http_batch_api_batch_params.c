/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * POST /batches: the parameters.  Whether the input file exists is found out
 * by validation, as with OpenAI's service; only dialect impala asks here.
 */

#include "ngx_http_batch_api_batch.h"
#include "ngx_http_batch_lookup.h"
#include "ngx_http_batch_param.h"
#include "ngx_http_batch_purpose.h"
#include "ngx_http_batch_send.h"
#include "ngx_http_batch_store.h"


#define NGX_HTTP_BATCH_METADATA_PAIRS  16
#define NGX_HTTP_BATCH_METADATA_KEY    64       /* characters */
#define NGX_HTTP_BATCH_METADATA_VALUE  512

/* characters; what is kept as the client wrote it */
#define NGX_HTTP_BATCH_INPUT_ID  256
#define NGX_HTTP_BATCH_JOB_ID    256
#define NGX_HTTP_BATCH_MODEL     256


static ngx_int_t ngx_http_batch_api_batch_params_endpoint(
    ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_batch_params_lenient(
    ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_batch_params_urls(
    ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_batch_params_window(
    ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_batch_params_metadata(
    ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_batch_params_pair(ngx_http_batch_op_t *op,
    const char *key, json_t *value);
static ngx_int_t ngx_http_batch_api_batch_params_job(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_batch_params_input_found(
    ngx_http_batch_op_t *op, ngx_int_t rc, ngx_http_batch_index_res_t *res);
static ngx_int_t ngx_http_batch_api_batch_params_input_good(
    ngx_http_batch_op_t *op, const ngx_str_t *manifest);
static void ngx_http_batch_api_batch_params_no_input(ngx_http_batch_op_t *op);


ngx_int_t
ngx_http_batch_api_batch_params(ngx_http_batch_op_t *op)
{
    ngx_http_batch_meta_t *m = &op->meta;

    if (ngx_http_batch_param_string(op, "input_file_id", 1,
                                    NGX_HTTP_BATCH_INPUT_ID,
                                    &m->input_file_id)
        != NGX_OK
        || ngx_http_batch_api_batch_params_endpoint(op) != NGX_OK
        || ngx_http_batch_api_batch_params_lenient(op) != NGX_OK
        || ngx_http_batch_api_batch_params_window(op) != NGX_OK
        || ngx_http_batch_api_batch_params_metadata(op) != NGX_OK
        || ngx_http_batch_param_ttl(op, "output_expires_after", &m->output_ttl)
           != NGX_OK
        || ngx_http_batch_api_batch_params_job(op) != NGX_OK)
    {
        return NGX_DONE;
    }

    m->tenant = op->tenant;
    m->route = op->conf->api->route;

    return NGX_OK;
}


/* the leading slash may be missing, as in Impala's documentation */

static ngx_int_t
ngx_http_batch_api_batch_params_endpoint(ngx_http_batch_op_t *op)
{
    size_t       skip;
    ngx_str_t   *list, value;
    ngx_uint_t   i, n;

    if (ngx_http_batch_param_string(op, "endpoint", 1, 0, &value) != NGX_OK) {
        return NGX_DONE;
    }

    list = op->conf->endpoints->elts;
    n = op->conf->endpoints->nelts;

    skip = (value.len && value.data[0] != '/') ? 1 : 0;

    for (i = 0; i < n; i++) {
        if (list[i].len == value.len + skip
            && ngx_memcmp(list[i].data + skip, value.data, value.len) == 0)
        {
            op->meta.endpoint = list[i];
            return NGX_OK;
        }
    }

    return ngx_http_batch_param_supported(op, "endpoint", &value, list, n,
                                          sizeof(ngx_str_t));
}


/*
 * batch_lines lenient: lines without a model get the batch's.  Whether lines
 * are lenient, and which urls they may name, is kept with the batch, so that a
 * reload, or another node's configuration, does not judge them in another way.
 */

static ngx_int_t
ngx_http_batch_api_batch_params_lenient(ngx_http_batch_op_t *op)
{
    ngx_http_batch_meta_t *m = &op->meta;

    if (op->conf->lines == NGX_HTTP_BATCH_LINES_STRICT) {
        return NGX_OK;
    }

    if (ngx_http_batch_param_string(op, "model", 0, NGX_HTTP_BATCH_MODEL,
                                    &m->model)
        != NGX_OK)
    {
        return NGX_DONE;
    }

    if (ngx_http_batch_api_batch_params_urls(op) != NGX_OK) {
        ngx_http_batch_op_failed(op);
        return NGX_DONE;
    }

    return NGX_OK;
}


/* the batch's own first; the array is op->root's, and freed with it */

static ngx_int_t
ngx_http_batch_api_batch_params_urls(ngx_http_batch_op_t *op)
{
    json_t      *urls;
    ngx_int_t    rc;
    ngx_str_t   *list, *own;
    ngx_uint_t   i;

    urls = json_array();
    if (urls == NULL) {
        return NGX_ERROR;
    }

    own = &op->meta.endpoint;
    list = op->conf->endpoints->elts;

    rc = json_array_append_new(urls, json_stringn((char *) own->data,
                                                  own->len));

    for (i = 0; i < op->conf->endpoints->nelts; i++) {
        if (list[i].data != own->data) {
            rc |= json_array_append_new(urls,
                                        json_stringn((char *) list[i].data,
                                                     list[i].len));
        }
    }

    op->meta.endpoints = urls;

    rc |= json_object_set_new(op->root, "endpoints", urls);

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_batch_api_batch_params_window(ngx_http_batch_op_t *op)
{
    ngx_str_t                 value;
    ngx_uint_t                i, n, optional;
    ngx_http_batch_window_t  *list;

    optional = (op->conf->lines == NGX_HTTP_BATCH_LINES_LENIENT);

    if (ngx_http_batch_param_string(op, "completion_window", !optional, 0,
                                    &value)
        != NGX_OK)
    {
        return NGX_DONE;
    }

    list = op->conf->windows->elts;
    n = op->conf->windows->nelts;

    if (value.len == 0 && optional) {
        value = list[0].name;
    }

    for (i = 0; i < n; i++) {
        if (list[i].name.len == value.len
            && ngx_memcmp(list[i].name.data, value.data, value.len) == 0)
        {
            op->meta.window = list[i].name;
            op->meta.expires_at = list[i].seconds;
            return NGX_OK;
        }
    }

    return ngx_http_batch_param_supported(op, "completion_window", &value,
                                          list, n,
                                          sizeof(ngx_http_batch_window_t));
}


static ngx_int_t
ngx_http_batch_api_batch_params_metadata(ngx_http_batch_op_t *op)
{
    json_t      *metadata, *value;
    const char  *key;

    metadata = json_object_get(op->root, "metadata");

    if (metadata == NULL || json_is_null(metadata)) {
        return NGX_OK;
    }

    if (!json_is_object(metadata)) {
        return ngx_http_batch_param_type(op, "metadata", "an object",
                                         metadata);
    }

    if (json_object_size(metadata) > NGX_HTTP_BATCH_METADATA_PAIRS) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "metadata",
                                        "object_above_max_properties",
                                        "Invalid 'metadata': too many "
                                        "properties. Expected an object with "
                                        "at most %d properties, but got an "
                                        "object with %uz properties instead.",
                                        NGX_HTTP_BATCH_METADATA_PAIRS,
                                        json_object_size(metadata));
    }

    json_object_foreach(metadata, key, value) {
        if (ngx_http_batch_api_batch_params_pair(op, key, value) != NGX_OK) {
            return NGX_DONE;
        }
    }

    op->meta.metadata = metadata;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_api_batch_params_pair(ngx_http_batch_op_t *op, const char *key,
    json_t *value)
{
    size_t          n;
    u_char         *p;
    batch_shown_t   shown;
    char            param[sizeof("metadata.") + sizeof(batch_shown_t)];

    n = ngx_strlen(key);

    p = ngx_snprintf((u_char *) param, sizeof(param) - 1, "metadata.%s",
                     batch_shown(&shown, key, n));
    *p = '\0';

    n = ngx_http_batch_param_chars(key, n);

    if (n > NGX_HTTP_BATCH_METADATA_KEY) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "metadata",
                                        "string_above_max_length",
                                        "Invalid '%s': key too long. Expected "
                                        "a key with maximum length %d, but "
                                        "got a key with length %uz instead.",
                                        param, NGX_HTTP_BATCH_METADATA_KEY, n);
    }

    if (!json_is_string(value)) {
        return ngx_http_batch_param_type(op, param, "a string", value);
    }

    n = ngx_http_batch_param_chars(json_string_value(value),
                                              json_string_length(value));

    if (n > NGX_HTTP_BATCH_METADATA_VALUE) {
        return ngx_http_batch_param_long(op, param,
                                         NGX_HTTP_BATCH_METADATA_VALUE, n);
    }

    return NGX_OK;
}


/*
 * A job that is configured sets the batch's price, model and window.  In
 * dialect impala there is no batch without one.
 */

static ngx_int_t
ngx_http_batch_api_batch_params_job(ngx_http_batch_op_t *op)
{
    ngx_uint_t                  n, required;
    batch_shown_t               shown;
    ngx_http_batch_meta_t      *m;
    ngx_http_batch_job_conf_t  *job;

    m = &op->meta;
    required = (op->conf->dialect == NGX_HTTP_BATCH_IMPALA);

    if (ngx_http_batch_param_string(op, "job_id", required,
                                    NGX_HTTP_BATCH_JOB_ID, &m->job_id)
        != NGX_OK)
    {
        return NGX_DONE;
    }

    if (batch_utf8_control(m->job_id.data, m->job_id.len)) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "job_id",
                                        "invalid_value",
                                        "Invalid 'job_id': expected a string "
                                        "without control characters.");
    }

    job = ngx_http_batch_lookup_job(&ngx_http_batch_conf->jobs, &m->job_id,
                                    &n);

    if (job) {
        m->price = job->price;

        if (job->model.len) {
            m->model = job->model;
        }

        if (job->window.name.len) {
            m->window = job->window.name;
            m->expires_at = job->window.seconds;
        }

    } else if (required) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_NOT_FOUND, "job_id", NULL,
                                        "No such Job: %s",
                                        batch_shown(&shown, m->job_id.data,
                                                    m->job_id.len));
    }

    return NGX_OK;
}


void
ngx_http_batch_api_batch_params_input(ngx_http_batch_op_t *op,
    ngx_http_batch_op_pt next)
{
    ngx_str_t *id = &op->meta.input_file_id;

    if (!batch_id_check(BATCH_ID_FILE, id->data, id->len)) {
        ngx_http_batch_api_batch_params_no_input(op);
        return;
    }

    ngx_memcpy(op->id, id->data, id->len);
    op->id[id->len] = '\0';
    op->done = next;

    ngx_http_batch_op_wait(op, ngx_http_batch_api_batch_params_input_found,
                           ngx_http_batch_index_file_get(op->id,
                                                 ngx_http_batch_op_index, op));
}


static void
ngx_http_batch_api_batch_params_input_found(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res)
{
    if (rc == NGX_OK) {
        rc = ngx_http_batch_api_batch_params_input_good(op, &res->items[0]);
    }

    if (rc == NGX_ERROR) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_batch_api_batch_params_no_input(op);
        return;
    }

    op->done(op);
}


/* NGX_OK: the tenant's own, of purpose batch, not expired, as validation will
 * demand; NGX_DECLINED; NGX_ERROR: there is no memory */

static ngx_int_t
ngx_http_batch_api_batch_params_input_good(ngx_http_batch_op_t *op,
    const ngx_str_t *manifest)
{
    json_t                 *root;
    ngx_uint_t              good;
    ngx_http_batch_file_t   f;

    if (ngx_http_batch_file_decode(&f, manifest->data, manifest->len, &root)
        != NGX_OK)
    {
        return ngx_http_batch_store_damaged() ? NGX_DECLINED : NGX_ERROR;
    }

    good = ngx_http_batch_op_owns(op, &f.tenant)
           && ngx_http_batch_purpose_is_batch(&f.purpose)
           && (f.expires_at == 0 || f.expires_at > batch_clock_sec());

    json_decref(root);

    return good ? NGX_OK : NGX_DECLINED;
}


static void
ngx_http_batch_api_batch_params_no_input(ngx_http_batch_op_t *op)
{
    ngx_str_t *id = &op->meta.input_file_id;

    batch_shown_t  shown;

    ngx_http_batch_op_reject(op, NGX_HTTP_NOT_FOUND, "input_file_id", NULL,
                             "No such File object: %s",
                             batch_shown(&shown, id->data, id->len));
}
