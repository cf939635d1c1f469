
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the client asked for: batch.json.
 */


#include "ngx_http_batch_object.h"
#include "ngx_http_batch_object_int.h"
#include "ngx_http_batch_disk.h"


static ngx_int_t ngx_http_batch_meta_from_json(ngx_http_batch_meta_t *m,
    json_t *o);
static ngx_int_t ngx_http_batch_meta_endpoints(ngx_http_batch_meta_t *m,
    json_t *o);


static json_t *
ngx_http_batch_meta_text(const ngx_str_t *s)
{
    return json_stringn(s->len ? (char *) s->data : "", s->len);
}


ngx_str_t
ngx_http_batch_meta_encode(const ngx_http_batch_meta_t *m)
{
    size_t            i;
    const ngx_str_t  *texts[] = {
        &m->tenant, &m->route, &m->input_file_id, &m->endpoint, &m->window,
        &m->job_id, &m->model
    };

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (ngx_http_batch_object_text(texts[i]) != NGX_OK) {
            return ngx_http_batch_object_dump(NULL);
        }
    }

    return ngx_http_batch_object_dump(
               json_pack("{s:i,s:s,s:s%,s:s%,s:s%,s:o,s:s%,s:I,s:I,s:s%,s:f,"
                         "s:s%,s:I,s:O?}",
                         "v", NGX_HTTP_BATCH_FORMAT,
                         "id", m->id,
                         "tenant", ngx_http_batch_object_s(&m->tenant),
                         "route", ngx_http_batch_object_s(&m->route),
                         "input_file_id",
                         ngx_http_batch_object_s(&m->input_file_id),
                         m->endpoints ? "endpoints" : "endpoint",
                         m->endpoints ? json_incref(m->endpoints)
                                      : ngx_http_batch_meta_text(&m->endpoint),
                         "completion_window",
                         ngx_http_batch_object_s(&m->window),
                         "created_us", (json_int_t) m->created_us,
                         "expires_at", (json_int_t) m->expires_at,
                         "job_id", ngx_http_batch_object_s(&m->job_id),
                         "price", m->price,
                         "model", ngx_http_batch_object_s(&m->model),
                         "output_ttl", (json_int_t) m->output_ttl,
                         "metadata", m->metadata));
}


ngx_int_t
ngx_http_batch_meta_decode(ngx_http_batch_meta_t *m, const u_char *data,
    size_t len, json_t **root)
{
    *root = ngx_http_batch_object_load(data, len);

    if (ngx_http_batch_meta_from_json(m, *root) != NGX_OK) {
        json_decref(*root);
        *root = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_meta_from_json(ngx_http_batch_meta_t *m, json_t *o)
{
    json_t  *md;

    ngx_memzero(m, sizeof(ngx_http_batch_meta_t));

    if (!json_is_object(o)
        || ngx_http_batch_object_int(o, "v") < 1
        || ngx_http_batch_object_id(o, BATCH_ID_BATCH, m->id) != NGX_OK
        || ngx_http_batch_object_string(o, "tenant", &m->tenant) != NGX_OK
        || ngx_http_batch_object_string(o, "route", &m->route) != NGX_OK
        || ngx_http_batch_object_string(o, "input_file_id",
                                        &m->input_file_id) != NGX_OK
        || ngx_http_batch_meta_endpoints(m, o) != NGX_OK
        || ngx_http_batch_object_string(o, "completion_window", &m->window)
           != NGX_OK
        || ngx_http_batch_object_string(o, "job_id", &m->job_id) != NGX_OK
        || ngx_http_batch_object_string(o, "model", &m->model) != NGX_OK
        || !json_is_integer(json_object_get(o, "created_us")))
    {
        return NGX_ERROR;
    }

    m->created_us = ngx_http_batch_object_int(o, "created_us");
    m->expires_at = ngx_http_batch_object_int(o, "expires_at");
    m->output_ttl = ngx_http_batch_object_int(o, "output_ttl");
    m->price = json_number_value(json_object_get(o, "price"));

    if (m->created_us < 0 || m->expires_at < 0 || m->output_ttl < 0) {
        return NGX_ERROR;
    }

    md = json_object_get(o, "metadata");
    m->metadata = json_is_object(md) ? md : NULL;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_meta_endpoints(ngx_http_batch_meta_t *m, json_t *o)
{
    size_t   i;
    json_t  *list, *url;

    list = json_object_get(o, "endpoints");

    if (list == NULL) {
        return ngx_http_batch_object_string(o, "endpoint", &m->endpoint);
    }

    if (!json_is_array(list) || json_array_size(list) == 0) {
        return NGX_ERROR;
    }

    json_array_foreach(list, i, url) {
        if (!json_is_string(url) || json_string_value(url)[0] != '/') {
            return NGX_ERROR;
        }
    }

    url = json_array_get(list, 0);

    m->endpoint.data = (u_char *) json_string_value(url);
    m->endpoint.len = json_string_length(url);
    m->endpoints = list;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_meta_rules(const ngx_http_batch_meta_t *meta,
    ngx_uint_t checked, batch_rules_t *rules, ngx_log_t *log)
{
    size_t           i, n;
    u_char          *p;
    json_t          *url;
    batch_target_t  *targets;

    n = meta->endpoints ? json_array_size(meta->endpoints) : 1;

    ngx_memzero(rules, sizeof(batch_rules_t));

    /* a character is six bytes at most when it is escaped */

    targets = ngx_alloc(n * sizeof(batch_target_t) + 6 * meta->model.len + 2,
                        log);
    if (targets == NULL) {
        return NGX_ERROR;
    }

    targets[0].url.data = meta->endpoint.data;
    targets[0].url.len = meta->endpoint.len;

    for (i = 1; i < n; i++) {
        url = json_array_get(meta->endpoints, i);
        targets[i].url.data = (u_char *) json_string_value(url);
        targets[i].url.len = json_string_length(url);
    }

    batch_rules_init(rules, targets, n);

    rules->checked = checked;
    rules->model_optional = (meta->model.len != 0);
    rules->lenient = (meta->endpoints != NULL);

    if (rules->lenient && meta->model.len) {
        p = (u_char *) &targets[n];
        rules->model.data = p;

        *p++ = '"';
        p = batch_escape_string(p, meta->model.data, meta->model.len);
        *p++ = '"';

        rules->model.len = p - rules->model.data;
    }

    return NGX_OK;
}


void
ngx_http_batch_meta_rules_free(batch_rules_t *rules)
{
    ngx_free((void *) rules->targets);
    rules->targets = NULL;
}


ngx_int_t
ngx_http_batch_meta_read(const char *id, ngx_http_batch_meta_t *meta,
    json_t **root, ngx_log_t *log)
{
    ngx_int_t  rc;
    ngx_str_t  text;

    *root = NULL;

    rc = ngx_http_batch_store_read(NGX_HTTP_BATCH_META, id,
                                   NGX_HTTP_BATCH_MANIFEST_MAX, &text, log);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_batch_meta_decode(meta, text.data, text.len, root);

    if (rc == NGX_OK && ngx_strcmp(meta->id, id) != 0) {
        json_decref(*root);
        *root = NULL;
        ngx_set_errno(EBADMSG);
        rc = NGX_ERROR;
    }

    if (rc != NGX_OK) {
        ngx_http_batch_object_damaged(id, "batch.json", log);
    }

    ngx_http_batch_disk_free(text.data);

    return rc;
}
