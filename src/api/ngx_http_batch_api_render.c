/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * File, upload and batch objects as clients see them.  Keys and their order are
 * those of OpenAI's service; behind them come the keys of its relatives, so that
 * one object serves all readers.
 */

#include "ngx_http_batch_api.h"


#define NGX_HTTP_BATCH_RENDER_KEYS  25     /* of a batch object */


static ngx_int_t ngx_http_batch_render_set(json_t *o, const char *key,
    json_t *value);
static json_t *ngx_http_batch_render_str(const ngx_str_t *s);
static json_t *ngx_http_batch_render_time(int64_t t);
static json_t *ngx_http_batch_render_final_get(json_t *final,
    const char *key);
static json_t *ngx_http_batch_render_file_id(json_t *final, const char *key);
static json_t *ngx_http_batch_render_errors(json_t *final);
static json_t *ngx_http_batch_render_counts(const ngx_http_batch_view_t *v,
    json_t *final);
static json_t *ngx_http_batch_render_usage(json_t *final, json_int_t *total);
static json_t *ngx_http_batch_render_stamp(const ngx_http_batch_view_t *v,
    const ngx_http_batch_meta_t *m, json_t *final, const char *key);
static json_t *ngx_http_batch_render_model(const ngx_http_batch_view_t *v,
    const ngx_http_batch_meta_t *m, json_t *final, ngx_uint_t dialect);
static json_t *ngx_http_batch_render_metadata(const ngx_http_batch_meta_t *m,
    ngx_uint_t dialect);
static json_t *ngx_http_batch_render_object(const ngx_http_batch_view_t *v,
    const ngx_http_batch_meta_t *m, json_t *final, ngx_uint_t dialect);


/* clients that know jobs have no null for a model or metadata */

#define ngx_http_batch_render_no_null(m, dialect)                             \
    ((m)->job_id.len || (dialect) == NGX_HTTP_BATCH_IMPALA)


/* takes the value's reference in any case */

static ngx_int_t
ngx_http_batch_render_set(json_t *o, const char *key, json_t *value)
{
    return json_object_set_new(o, key, value) == 0 ? NGX_OK : NGX_ERROR;
}


static json_t *
ngx_http_batch_render_str(const ngx_str_t *s)
{
    return json_stringn(s->len ? (char *) s->data : "", s->len);
}


static json_t *
ngx_http_batch_render_time(int64_t t)
{
    return t ? json_integer(t) : json_null();
}


json_t *
ngx_http_batch_render_file(const ngx_http_batch_file_t *f)
{
    json_t  *o;

    o = json_object();

    if (ngx_http_batch_render_set(o, "object", json_string("file"))
        || ngx_http_batch_render_set(o, "id", json_string(f->id))
        || ngx_http_batch_render_set(o, "purpose",
                                     ngx_http_batch_render_str(&f->purpose))
        || ngx_http_batch_render_set(o, "filename",
                                     ngx_http_batch_render_str(&f->filename))
        || ngx_http_batch_render_set(o, "bytes", json_integer(f->bytes))
        || ngx_http_batch_render_set(o, "created_at",
                                     json_integer(f->created_us / 1000000))
        || ngx_http_batch_render_set(o, "expires_at",
                                  ngx_http_batch_render_time(f->expires_at))
        || ngx_http_batch_render_set(o, "status", json_string("processed"))
        || ngx_http_batch_render_set(o, "status_details", json_null()))
    {
        json_decref(o);
        return NULL;
    }

    return o;
}


/* there is no key "file" before there is a file */

json_t *
ngx_http_batch_render_upload(const ngx_http_batch_upload_t *u,
    ngx_http_batch_upload_status_e status, const ngx_http_batch_file_t *f)
{
    json_t  *o;

    o = json_object();

    if (ngx_http_batch_render_set(o, "id", json_string(u->id))
        || ngx_http_batch_render_set(o, "object", json_string("upload"))
        || ngx_http_batch_render_set(o, "bytes", json_integer(u->bytes))
        || ngx_http_batch_render_set(o, "created_at",
                                     json_integer(u->created_us / 1000000))
        || ngx_http_batch_render_set(o, "filename",
                                     ngx_http_batch_render_str(&u->filename))
        || ngx_http_batch_render_set(o, "purpose",
                                     ngx_http_batch_render_str(&u->purpose))
        || ngx_http_batch_render_set(o, "status",
                          json_string(ngx_http_batch_upload_status(status)))
        || ngx_http_batch_render_set(o, "expires_at",
                                     json_integer(u->expires_at))
        || (status == NGX_HTTP_BATCH_UPLOAD_COMPLETED
            && ngx_http_batch_render_set(o, "file",
                                         ngx_http_batch_render_file(f))))
    {
        json_decref(o);
        return NULL;
    }

    return o;
}


json_t *
ngx_http_batch_render_list(json_t *data, ngx_uint_t has_more)
{
    size_t   n;
    json_t  *o, *first, *last;

    n = json_array_size(data);

    first = n ? json_object_get(json_array_get(data, 0), "id") : NULL;
    last = n ? json_object_get(json_array_get(data, n - 1), "id") : NULL;

    first = first ? json_incref(first) : json_null();
    last = last ? json_incref(last) : json_null();

    o = json_object();

    if (ngx_http_batch_render_set(o, "object", json_string("list"))
        | ngx_http_batch_render_set(o, "data", data)
        | ngx_http_batch_render_set(o, "first_id", first)
        | ngx_http_batch_render_set(o, "last_id", last)
        | ngx_http_batch_render_set(o, "has_more", json_boolean(has_more)))
    {
        json_decref(o);
        return NULL;
    }

    return o;
}


json_t *
ngx_http_batch_render_batch(const ngx_http_batch_view_t *v,
    ngx_uint_t dialect)
{
    json_t                 *o, *root, *final;
    ngx_http_batch_meta_t   m;

    if (ngx_http_batch_meta_decode(&m, v->meta.data, v->meta.len, &root)
        != NGX_OK)
    {
        return NULL;
    }

    final = NULL;

    if (v->final.len) {
        final = json_loadb((char *) v->final.data, v->final.len, 0, NULL);

        if (!json_is_object(final)) {
            json_decref(final);
            json_decref(root);
            return NULL;
        }
    }

    o = ngx_http_batch_render_object(v, &m, final, dialect);

    json_decref(final);
    json_decref(root);

    return o;
}


/* a value of final.json, or null, with a reference */

static json_t *
ngx_http_batch_render_final_get(json_t *final, const char *key)
{
    json_t  *value;

    value = json_object_get(final, key);

    return value ? json_incref(value) : json_null();
}


static json_t *
ngx_http_batch_render_file_id(json_t *final, const char *key)
{
    return ngx_http_batch_render_final_get(json_object_get(final, key), "id");
}


static json_t *
ngx_http_batch_render_errors(json_t *final)
{
    size_t        i;
    json_t       *src, *data, *o, *e;
    const char  **key;

    static const char  *keys[] = { "code", "line", "message", "param", NULL };

    src = json_object_get(final, "errors");

    if (!json_is_array(src)) {
        return json_null();
    }

    data = json_array();

    for (i = 0; i < json_array_size(src); i++) {
        e = json_object();

        for (key = keys; *key; key++) {
            (void) ngx_http_batch_render_set(e, *key,
                   ngx_http_batch_render_final_get(json_array_get(src, i),
                                                   *key));
        }

        (void) json_array_append_new(data, e);
    }

    o = json_object();

    (void) ngx_http_batch_render_set(o, "object", json_string("list"));
    (void) ngx_http_batch_render_set(o, "data", data);

    return o;
}


static json_t *
ngx_http_batch_render_counts(const ngx_http_batch_view_t *v, json_t *final)
{
    uint64_t   total, ok, failed;

    if (final) {
        total = json_integer_value(json_object_get(final, "total"));
        ok = json_integer_value(json_object_get(final, "completed"));
        failed = json_integer_value(json_object_get(final, "failed"));

    } else {
        total = v->total;
        ok = v->ok;
        failed = v->failed;
    }

    return json_pack("{s:I,s:I,s:I}", "total", (json_int_t) total,
                     "completed", (json_int_t) ok,
                     "failed", (json_int_t) failed);
}


/* both families of names: input_tokens, ... and prompt_tokens, ... */

static json_t *
ngx_http_batch_render_usage(json_t *final, json_int_t *total)
{
    json_t      *usage;
    json_int_t   input, output, cached, reasoning;

    usage = json_object_get(final, "usage");

    input = json_integer_value(json_object_get(usage, "input"));
    output = json_integer_value(json_object_get(usage, "output"));
    cached = json_integer_value(json_object_get(usage, "cached"));
    reasoning = json_integer_value(json_object_get(usage, "reasoning"));
    *total = json_integer_value(json_object_get(usage, "total"));

    return json_pack("{s:I,s:I,s:I,s:{s:I},s:{s:I},s:I,s:I}",
                     "input_tokens", input, "output_tokens", output,
                     "total_tokens", *total,
                     "input_tokens_details", "cached_tokens", cached,
                     "output_tokens_details", "reasoning_tokens", reasoning,
                     "prompt_tokens", input, "completion_tokens", output);
}


static json_t *
ngx_http_batch_render_stamp(const ngx_http_batch_view_t *v,
    const ngx_http_batch_meta_t *m, json_t *final, const char *key)
{
    int64_t  t;

    if (ngx_strcmp(key, "expires_at") == 0) {
        return ngx_http_batch_render_time(m->expires_at);
    }

    if (final) {
        return ngx_http_batch_render_final_get(final, key);
    }

    t = 0;

    if (ngx_strcmp(key, "in_progress_at") == 0) {
        t = v->in_progress_at;

    } else if (ngx_strcmp(key, "finalizing_at") == 0) {
        t = v->finalizing_at;

    } else if (ngx_strcmp(key, "cancelling_at") == 0) {
        t = v->cancelling_at;
    }

    return ngx_http_batch_render_time(t);
}


/* the job's model, or else that of the lines */

static json_t *
ngx_http_batch_render_model(const ngx_http_batch_view_t *v,
    const ngx_http_batch_meta_t *m, json_t *final, ngx_uint_t dialect)
{
    json_t  *model;

    if (m->model.len) {
        return ngx_http_batch_render_str(&m->model);
    }

    model = json_object_get(final, "model");

    if (json_is_string(model)) {
        return json_incref(model);
    }

    if (final == NULL && v->model.len) {
        return ngx_http_batch_render_str(&v->model);
    }

    return ngx_http_batch_render_no_null(m, dialect) ? json_string("")
                                                     : json_null();
}


static json_t *
ngx_http_batch_render_metadata(const ngx_http_batch_meta_t *m,
    ngx_uint_t dialect)
{
    if (m->metadata) {
        return json_incref(m->metadata);
    }

    return ngx_http_batch_render_no_null(m, dialect) ? json_object()
                                                     : json_null();
}


static json_t *
ngx_http_batch_render_object(const ngx_http_batch_view_t *v,
    const ngx_http_batch_meta_t *m, json_t *final, ngx_uint_t dialect)
{
    json_t       *o, *usage;
    json_int_t    tokens;
    const char  **key;

    static const char  *stamps[] = {
        "in_progress_at", "expires_at", "finalizing_at", "completed_at",
        "failed_at", "expired_at", "cancelling_at", "cancelled_at", NULL
    };

#define ngx_http_batch_render(key, value)                                     \
    (void) ngx_http_batch_render_set(o, key, value)

    o = json_object();

    ngx_http_batch_render("id", json_string(m->id));
    ngx_http_batch_render("object", json_string("batch"));
    ngx_http_batch_render("endpoint", ngx_http_batch_render_str(&m->endpoint));
    ngx_http_batch_render("model",
                          ngx_http_batch_render_model(v, m, final, dialect));
    ngx_http_batch_render("errors", ngx_http_batch_render_errors(final));
    ngx_http_batch_render("input_file_id",
                          ngx_http_batch_render_str(&m->input_file_id));
    ngx_http_batch_render("completion_window",
                          ngx_http_batch_render_str(&m->window));
    ngx_http_batch_render("status",
                 final ? ngx_http_batch_render_final_get(final, "status")
                       : json_string(batch_status_name(v->status)));
    ngx_http_batch_render("output_file_id",
                          ngx_http_batch_render_file_id(final, "output"));
    ngx_http_batch_render("error_file_id",
                          ngx_http_batch_render_file_id(final, "error"));
    ngx_http_batch_render("created_at", json_integer(m->created_us / 1000000));

    for (key = stamps; *key; key++) {
        ngx_http_batch_render(*key,
                           ngx_http_batch_render_stamp(v, m, final, *key));
    }

    usage = ngx_http_batch_render_usage(final, &tokens);

    ngx_http_batch_render("request_counts",
                          ngx_http_batch_render_counts(v, final));
    ngx_http_batch_render("usage", usage);
    ngx_http_batch_render("metadata",
                          ngx_http_batch_render_metadata(m, dialect));
    ngx_http_batch_render("job_id", ngx_http_batch_render_str(&m->job_id));
    ngx_http_batch_render("price_1m_tokens", json_real(m->price));
    ngx_http_batch_render("processing_cost",
                          json_real(tokens * m->price / 1000000.0));

#undef ngx_http_batch_render

    /* a key is missing only if there was no memory for it */

    if (json_object_size(o) != NGX_HTTP_BATCH_RENDER_KEYS) {
        json_decref(o);
        return NULL;
    }

    return o;
}
