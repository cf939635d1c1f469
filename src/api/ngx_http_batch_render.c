/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * File, upload and batch objects as clients see them.  Keys and their order are
 * those of OpenAI's service; behind them come the keys of its relatives, so that
 * one object serves all readers.
 */

#include "ngx_http_batch_api.h"


static ngx_int_t ngx_http_batch_render_set(json_t *o, const char *key,
    json_t *value);
static json_t *ngx_http_batch_render_str(const ngx_str_t *s);
static json_t *ngx_http_batch_render_time(int64_t t);
static void ngx_http_batch_render_errors(batch_text_t *w, json_t *final);
static void ngx_http_batch_render_counts(batch_text_t *w,
    const ngx_http_batch_view_t *v, json_t *final);
static void ngx_http_batch_render_usage(batch_text_t *w, json_t *usage);
static void ngx_http_batch_render_stamps(batch_text_t *w,
    const ngx_http_batch_view_t *v, const ngx_http_batch_meta_t *m,
    json_t *final);
static void ngx_http_batch_render_model(batch_text_t *w,
    const ngx_http_batch_view_t *v, const ngx_http_batch_meta_t *m,
    json_t *final, ngx_uint_t dialect);
static void ngx_http_batch_render_object(batch_text_t *w,
    const ngx_http_batch_view_t *v, const ngx_http_batch_meta_t *m,
    json_t *final, ngx_uint_t dialect);


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
                          json_string(ngx_http_batch_uploads_status(status)))
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


#define ngx_http_batch_render_key(w, key)                                     \
    batch_text_literal(w, ",\"" key "\":")


void
ngx_http_batch_render_list(batch_text_t *w)
{
    batch_text_literal(w, "{\"object\":\"list\",\"data\":[");
}


void
ngx_http_batch_render_list_end(batch_text_t *w, const char *first,
    const char *last, ngx_uint_t has_more)
{
    batch_text_literal(w, "],\"first_id\":");

    if (first[0]) {
        ngx_http_batch_write_str(w, first, ngx_strlen(first));
        ngx_http_batch_render_key(w, "last_id");
        ngx_http_batch_write_str(w, last, ngx_strlen(last));

    } else {
        batch_text_literal(w, "null,\"last_id\":null");
    }

    ngx_http_batch_render_key(w, "has_more");

    if (has_more) {
        batch_text_literal(w, "true}");

    } else {
        batch_text_literal(w, "false}");
    }
}


ngx_int_t
ngx_http_batch_render_batch(batch_text_t *w,
    const ngx_http_batch_view_t *v, ngx_uint_t dialect, char id[BATCH_ID_LEN])
{
    json_t                 *root, *final;
    ngx_http_batch_meta_t   m;

    if (ngx_http_batch_meta_decode(&m, v->meta.data, v->meta.len, &root)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    final = NULL;

    if (v->final.len) {
        final = ngx_http_batch_object_json(v->final.data, v->final.len, 0);

        if (!json_is_object(final)) {
            json_decref(final);
            json_decref(root);
            return NGX_ERROR;
        }
    }

    ngx_http_batch_render_object(w, v, &m, final, dialect);

    (void) ngx_cpystrn((u_char *) id, (u_char *) m.id, BATCH_ID_LEN);

    json_decref(final);
    json_decref(root);

    return NGX_OK;
}


static void
ngx_http_batch_render_errors(batch_text_t *w, json_t *final)
{
    size_t   i;
    json_t  *src, *e;

    src = json_object_get(final, "errors");

    if (!json_is_array(src)) {
        batch_text_literal(w, "null");
        return;
    }

    ngx_http_batch_render_list(w);

    for (i = 0; i < json_array_size(src); i++) {
        e = json_array_get(src, i);

        if (i) {
            batch_text_literal(w, ",");
        }

        batch_text_literal(w, "{\"code\":");
        ngx_http_batch_write_json(w, json_object_get(e, "code"));
        ngx_http_batch_render_key(w, "line");
        ngx_http_batch_write_json(w, json_object_get(e, "line"));
        ngx_http_batch_render_key(w, "message");
        ngx_http_batch_write_json(w, json_object_get(e, "message"));
        ngx_http_batch_render_key(w, "param");
        ngx_http_batch_write_json(w, json_object_get(e, "param"));
        batch_text_literal(w, "}");
    }

    batch_text_literal(w, "]}");
}


static void
ngx_http_batch_render_counts(batch_text_t *w,
    const ngx_http_batch_view_t *v, json_t *final)
{
    int64_t  total, ok, failed;

    if (final) {
        total = json_integer_value(json_object_get(final, "total"));
        ok = json_integer_value(json_object_get(final, "completed"));
        failed = json_integer_value(json_object_get(final, "failed"));

    } else {
        total = (int64_t) v->total;
        ok = (int64_t) v->ok;
        failed = (int64_t) v->failed;
    }

    batch_text_literal(w, "{\"total\":");
    batch_text_int(w, total);
    ngx_http_batch_render_key(w, "completed");
    batch_text_int(w, ok);
    ngx_http_batch_render_key(w, "failed");
    batch_text_int(w, failed);
    batch_text_literal(w, "}");
}


/* both families of names: input_tokens, ... and prompt_tokens, ... */

static void
ngx_http_batch_render_usage(batch_text_t *w, json_t *usage)
{
    int64_t  input, output;

    input = json_integer_value(json_object_get(usage, "input"));
    output = json_integer_value(json_object_get(usage, "output"));

    batch_text_literal(w, "{\"input_tokens\":");
    batch_text_int(w, input);
    ngx_http_batch_render_key(w, "output_tokens");
    batch_text_int(w, output);
    ngx_http_batch_render_key(w, "total_tokens");
    batch_text_int(w, json_integer_value(json_object_get(usage, "total")));
    batch_text_literal(w, ",\"input_tokens_details\":{\"cached_tokens\":");
    batch_text_int(w, json_integer_value(json_object_get(usage, "cached")));
    batch_text_literal(w, "},\"output_tokens_details\":"
                       "{\"reasoning_tokens\":");
    batch_text_int(w, json_integer_value(json_object_get(usage,
                                                         "reasoning")));
    batch_text_literal(w, "},\"prompt_tokens\":");
    batch_text_int(w, input);
    ngx_http_batch_render_key(w, "completion_tokens");
    batch_text_int(w, output);
    batch_text_literal(w, "}");
}


static void
ngx_http_batch_render_stamps(batch_text_t *w,
    const ngx_http_batch_view_t *v, const ngx_http_batch_meta_t *m,
    json_t *final)
{
    int64_t     t;
    ngx_uint_t  i;

    static const char  *names[] = {
        "in_progress_at", "expires_at", "finalizing_at", "completed_at",
        "failed_at", "expired_at", "cancelling_at", "cancelled_at", NULL
    };

    for (i = 0; names[i]; i++) {
        batch_text_literal(w, ",\"");
        batch_text_append(w, names[i], ngx_strlen(names[i]));
        batch_text_literal(w, "\":");

        if (i != 1 && final) {
            ngx_http_batch_write_json(w, json_object_get(final, names[i]));
            continue;
        }

        t = (i == 0) ? v->in_progress_at
            : (i == 1) ? m->expires_at
            : (i == 2) ? v->finalizing_at
            : (i == 6) ? v->cancelling_at : 0;

        if (t) {
            batch_text_int(w, t);

        } else {
            batch_text_literal(w, "null");
        }
    }
}


/* the job's model, or else that of the lines */

static void
ngx_http_batch_render_model(batch_text_t *w,
    const ngx_http_batch_view_t *v, const ngx_http_batch_meta_t *m,
    json_t *final, ngx_uint_t dialect)
{
    json_t  *model;

    model = json_object_get(final, "model");

    if (m->model.len) {
        ngx_http_batch_write_nstr(w, &m->model);

    } else if (json_is_string(model)) {
        ngx_http_batch_write_json(w, model);

    } else if (final == NULL && v->model.len) {
        ngx_http_batch_write_nstr(w, &v->model);

    } else if (ngx_http_batch_render_no_null(m, dialect)) {
        batch_text_literal(w, "\"\"");

    } else {
        batch_text_literal(w, "null");
    }
}


static void
ngx_http_batch_render_object(batch_text_t *w,
    const ngx_http_batch_view_t *v, const ngx_http_batch_meta_t *m,
    json_t *final, ngx_uint_t dialect)
{
    json_t      *usage;
    const char  *status;

    usage = json_object_get(final, "usage");
    status = batch_status_name(v->status);

    batch_text_literal(w, "{\"id\":");
    ngx_http_batch_write_str(w, m->id, ngx_strlen(m->id));
    batch_text_literal(w, ",\"object\":\"batch\",\"endpoint\":");
    ngx_http_batch_write_nstr(w, &m->endpoint);
    ngx_http_batch_render_key(w, "model");
    ngx_http_batch_render_model(w, v, m, final, dialect);
    ngx_http_batch_render_key(w, "errors");
    ngx_http_batch_render_errors(w, final);
    ngx_http_batch_render_key(w, "input_file_id");
    ngx_http_batch_write_nstr(w, &m->input_file_id);
    ngx_http_batch_render_key(w, "completion_window");
    ngx_http_batch_write_nstr(w, &m->window);
    ngx_http_batch_render_key(w, "status");

    if (final) {
        ngx_http_batch_write_json(w, json_object_get(final, "status"));

    } else {
        ngx_http_batch_write_str(w, status, ngx_strlen(status));
    }

    ngx_http_batch_render_key(w, "output_file_id");
    ngx_http_batch_write_json(w, json_object_get(json_object_get(final,
                                                         "output"), "id"));
    ngx_http_batch_render_key(w, "error_file_id");
    ngx_http_batch_write_json(w, json_object_get(json_object_get(final,
                                                         "error"), "id"));
    ngx_http_batch_render_key(w, "created_at");
    batch_text_int(w, m->created_us / 1000000);

    ngx_http_batch_render_stamps(w, v, m, final);

    ngx_http_batch_render_key(w, "request_counts");
    ngx_http_batch_render_counts(w, v, final);
    ngx_http_batch_render_key(w, "usage");
    ngx_http_batch_render_usage(w, usage);
    ngx_http_batch_render_key(w, "metadata");

    if (m->metadata == NULL && ngx_http_batch_render_no_null(m, dialect)) {
        batch_text_literal(w, "{}");

    } else {
        ngx_http_batch_write_json(w, m->metadata);
    }

    ngx_http_batch_render_key(w, "job_id");
    ngx_http_batch_write_nstr(w, &m->job_id);
    ngx_http_batch_render_key(w, "price_1m_tokens");
    ngx_http_batch_write_real(w, m->price);
    ngx_http_batch_render_key(w, "processing_cost");
    ngx_http_batch_write_real(w, json_integer_value(json_object_get(usage,
                                                                    "total"))
                                 * m->price / 1000000.0);
    batch_text_literal(w, "}");
}
