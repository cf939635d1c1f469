/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Files, uploads and batches as clients see them.  Keys and their order are
 * those of OpenAI's service; the keys of its relatives follow them, so that
 * one object serves all readers.
 *
 * The text is written as it is known: a page of 100 batches as jansson's
 * objects is some 8000 allocations.  Only what needs more than copying is left
 * to jansson.
 */

#include "ngx_http_batch_render.h"


static void ngx_http_batch_render_time(batch_text_t *t, int64_t time);
static void ngx_http_batch_render_json(batch_text_t *t, json_t *value);
static void ngx_http_batch_render_dump(batch_text_t *t, json_t *value);
static void ngx_http_batch_render_real(batch_text_t *t, double x);
static void ngx_http_batch_render_object(batch_text_t *t,
    const ngx_http_batch_view_t *v, const ngx_http_batch_meta_t *m,
    json_t *final, ngx_uint_t dialect);
static void ngx_http_batch_render_model(batch_text_t *t,
    const ngx_http_batch_view_t *v, const ngx_http_batch_meta_t *m,
    json_t *final, ngx_uint_t dialect);
static void ngx_http_batch_render_errors(batch_text_t *t, json_t *final);
static void ngx_http_batch_render_times(batch_text_t *t,
    const ngx_http_batch_view_t *v, const ngx_http_batch_meta_t *m,
    json_t *final);
static void ngx_http_batch_render_counts(batch_text_t *t,
    const ngx_http_batch_view_t *v, json_t *final);
static void ngx_http_batch_render_usage(batch_text_t *t, json_t *usage);


/* clients that know jobs expect no null for a model or metadata */

#define ngx_http_batch_render_no_null(m, dialect)                             \
    ((m)->job_id.len || (dialect) == NGX_HTTP_BATCH_IMPALA)

#define ngx_http_batch_render_key(t, key)                                     \
    batch_text_literal(t, ",\"" key "\":")

#define ngx_http_batch_render_str(t, s)                                       \
    batch_text_string(t, (s)->data, (s)->len)


static void
ngx_http_batch_render_time(batch_text_t *t, int64_t time)
{
    if (time) {
        batch_text_int(t, time);

    } else {
        batch_text_literal(t, "null");
    }
}


/* any value; NULL is null */

static void
ngx_http_batch_render_json(batch_text_t *t, json_t *value)
{
    if (value == NULL || json_is_null(value)) {
        batch_text_literal(t, "null");

    } else if (json_is_integer(value)) {
        batch_text_int(t, json_integer_value(value));

    } else if (json_is_string(value)) {
        batch_text_string(t, json_string_value(value),
                          json_string_length(value));

    } else {
        ngx_http_batch_render_dump(t, value);
    }
}


static void
ngx_http_batch_render_dump(batch_text_t *t, json_t *value)
{
    size_t   len, flags;
    u_char  *p;

    flags = JSON_COMPACT|JSON_ENCODE_ANY
            |JSON_REAL_PRECISION(15);          /* 0.2 stays 0.2 */

    len = json_dumpb(value, NULL, 0, flags);

    p = len ? batch_text_room(t, len) : NULL;

    if (p == NULL) {
        t->failed = 1;
        return;
    }

    (void) json_dumpb(value, (char *) p, len, flags);
    batch_text_wrote(t, len);
}


static void
ngx_http_batch_render_real(batch_text_t *t, double x)
{
    json_t  *value;

    if (x == 0) {
        batch_text_literal(t, "0.0");
        return;
    }

    value = json_real(x);
    ngx_http_batch_render_dump(t, value);
    json_decref(value);
}


void
ngx_http_batch_render_file(batch_text_t *t, const ngx_http_batch_file_t *f)
{
    batch_text_printf(t, "{\"object\":\"file\",\"id\":\"%s\",\"purpose\":",
                      f->id);
    ngx_http_batch_render_str(t, &f->purpose);
    ngx_http_batch_render_key(t, "filename");
    ngx_http_batch_render_str(t, &f->filename);
    ngx_http_batch_render_key(t, "bytes");
    batch_text_int(t, f->bytes);
    ngx_http_batch_render_key(t, "created_at");
    batch_text_int(t, f->created_us / 1000000);
    ngx_http_batch_render_key(t, "expires_at");
    ngx_http_batch_render_time(t, f->expires_at);
    batch_text_literal(t, ",\"status\":\"processed\",\"status_details\":null}");
}


/* there is no key "file" before there is a file */

void
ngx_http_batch_render_upload(batch_text_t *t, const ngx_http_batch_upload_t *u,
    ngx_http_batch_upload_status_e status, const ngx_http_batch_file_t *f)
{
    batch_text_printf(t, "{\"id\":\"%s\",\"object\":\"upload\",\"bytes\":",
                      u->id);
    batch_text_int(t, u->bytes);
    ngx_http_batch_render_key(t, "created_at");
    batch_text_int(t, u->created_us / 1000000);
    ngx_http_batch_render_key(t, "filename");
    ngx_http_batch_render_str(t, &u->filename);
    ngx_http_batch_render_key(t, "purpose");
    ngx_http_batch_render_str(t, &u->purpose);
    batch_text_printf(t, ",\"status\":\"%s\",\"expires_at\":",
                      ngx_http_batch_uploads_status(status));
    batch_text_int(t, u->expires_at);

    if (status == NGX_HTTP_BATCH_UPLOAD_COMPLETED) {
        ngx_http_batch_render_key(t, "file");
        ngx_http_batch_render_file(t, f);
    }

    batch_text_literal(t, "}");
}


void
ngx_http_batch_render_list(batch_text_t *t)
{
    batch_text_literal(t, "{\"object\":\"list\",\"data\":[");
}


void
ngx_http_batch_render_list_end(batch_text_t *t, const char *first,
    const char *last, ngx_uint_t has_more)
{
    if (first[0]) {
        batch_text_printf(t, "],\"first_id\":\"%s\",\"last_id\":\"%s\"",
                          first, last);

    } else {
        batch_text_literal(t, "],\"first_id\":null,\"last_id\":null");
    }

    batch_text_printf(t, ",\"has_more\":%s}", has_more ? "true" : "false");
}


ngx_int_t
ngx_http_batch_render_batch(batch_text_t *t, const ngx_http_batch_view_t *v,
    ngx_uint_t dialect, char id[BATCH_ID_LEN])
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

    ngx_http_batch_render_object(t, v, &m, final, dialect);

    (void) ngx_cpystrn((u_char *) id, (u_char *) m.id, BATCH_ID_LEN);

    json_decref(final);
    json_decref(root);

    return NGX_OK;
}


static void
ngx_http_batch_render_object(batch_text_t *t, const ngx_http_batch_view_t *v,
    const ngx_http_batch_meta_t *m, json_t *final, ngx_uint_t dialect)
{
    json_t  *usage, *output, *error;

    usage = json_object_get(final, "usage");
    output = json_object_get(final, "output");
    error = json_object_get(final, "error");

    batch_text_printf(t, "{\"id\":\"%s\",\"object\":\"batch\",\"endpoint\":",
                      m->id);
    ngx_http_batch_render_str(t, &m->endpoint);
    ngx_http_batch_render_key(t, "model");
    ngx_http_batch_render_model(t, v, m, final, dialect);
    ngx_http_batch_render_key(t, "errors");
    ngx_http_batch_render_errors(t, final);
    ngx_http_batch_render_key(t, "input_file_id");
    ngx_http_batch_render_str(t, &m->input_file_id);
    ngx_http_batch_render_key(t, "completion_window");
    ngx_http_batch_render_str(t, &m->window);
    ngx_http_batch_render_key(t, "status");

    if (final) {
        ngx_http_batch_render_json(t, json_object_get(final, "status"));

    } else {
        batch_text_printf(t, "\"%s\"", batch_status_name(v->status));
    }

    ngx_http_batch_render_key(t, "output_file_id");
    ngx_http_batch_render_json(t, json_object_get(output, "id"));
    ngx_http_batch_render_key(t, "error_file_id");
    ngx_http_batch_render_json(t, json_object_get(error, "id"));
    ngx_http_batch_render_key(t, "created_at");
    batch_text_int(t, m->created_us / 1000000);

    ngx_http_batch_render_times(t, v, m, final);

    ngx_http_batch_render_key(t, "request_counts");
    ngx_http_batch_render_counts(t, v, final);
    ngx_http_batch_render_key(t, "usage");
    ngx_http_batch_render_usage(t, usage);
    ngx_http_batch_render_key(t, "metadata");

    if (m->metadata == NULL && ngx_http_batch_render_no_null(m, dialect)) {
        batch_text_literal(t, "{}");

    } else {
        ngx_http_batch_render_json(t, m->metadata);
    }

    ngx_http_batch_render_key(t, "job_id");
    ngx_http_batch_render_str(t, &m->job_id);
    ngx_http_batch_render_key(t, "price_1m_tokens");
    ngx_http_batch_render_real(t, m->price);
    ngx_http_batch_render_key(t, "processing_cost");
    ngx_http_batch_render_real(t, json_integer_value(json_object_get(usage,
                                                                     "total"))
                                  * m->price / 1000000.0);
    batch_text_literal(t, "}");
}


/* the job's model, or else that of the lines */

static void
ngx_http_batch_render_model(batch_text_t *t, const ngx_http_batch_view_t *v,
    const ngx_http_batch_meta_t *m, json_t *final, ngx_uint_t dialect)
{
    json_t  *model;

    model = json_object_get(final, "model");

    if (m->model.len) {
        ngx_http_batch_render_str(t, &m->model);

    } else if (json_is_string(model)) {
        ngx_http_batch_render_json(t, model);

    } else if (final == NULL && v->model.len) {
        ngx_http_batch_render_str(t, &v->model);

    } else if (ngx_http_batch_render_no_null(m, dialect)) {
        batch_text_literal(t, "\"\"");

    } else {
        batch_text_literal(t, "null");
    }
}


static void
ngx_http_batch_render_errors(batch_text_t *t, json_t *final)
{
    size_t   i, n;
    json_t  *errors, *e;

    static const char  *keys[] = { "code", "line", "message", "param" };

    errors = json_object_get(final, "errors");

    if (!json_is_array(errors)) {
        batch_text_literal(t, "null");
        return;
    }

    ngx_http_batch_render_list(t);

    for (i = 0; i < json_array_size(errors); i++) {
        e = json_array_get(errors, i);

        if (i) {
            batch_text_literal(t, ",");
        }

        for (n = 0; n < 4; n++) {
            batch_text_printf(t, "%s\"%s\":", n ? "," : "{", keys[n]);
            ngx_http_batch_render_json(t, json_object_get(e, keys[n]));
        }

        batch_text_literal(t, "}");
    }

    batch_text_literal(t, "]}");
}


/* the index knows some of them while the batch runs, final.json knows all */

static void
ngx_http_batch_render_times(batch_text_t *t, const ngx_http_batch_view_t *v,
    const ngx_http_batch_meta_t *m, json_t *final)
{
    ngx_uint_t  i;

    struct {
        const char  *name;
        int64_t      time;
        ngx_uint_t   fixed;            /* from creation on, in batch.json */
    } times[] = {
        { "in_progress_at", v->in_progress_at, 0 },
        { "expires_at", m->expires_at, 1 },
        { "finalizing_at", v->finalizing_at, 0 },
        { "completed_at", 0, 0 },
        { "failed_at", 0, 0 },
        { "expired_at", 0, 0 },
        { "cancelling_at", v->cancelling_at, 0 },
        { "cancelled_at", 0, 0 }
    };

    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        batch_text_printf(t, ",\"%s\":", times[i].name);

        if (final && !times[i].fixed) {
            ngx_http_batch_render_json(t, json_object_get(final,
                                                          times[i].name));

        } else {
            ngx_http_batch_render_time(t, times[i].time);
        }
    }
}


static void
ngx_http_batch_render_counts(batch_text_t *t, const ngx_http_batch_view_t *v,
    json_t *final)
{
    int64_t  total, completed, failed;

    if (final) {
        total = json_integer_value(json_object_get(final, "total"));
        completed = json_integer_value(json_object_get(final, "completed"));
        failed = json_integer_value(json_object_get(final, "failed"));

    } else {
        total = (int64_t) v->total;
        completed = (int64_t) v->ok;
        failed = (int64_t) v->failed;
    }

    batch_text_printf(t, "{\"total\":%" PRId64 ",\"completed\":%" PRId64
                      ",\"failed\":%" PRId64 "}", total, completed, failed);
}


/* both families of names: input_tokens, ... and prompt_tokens, ... */

static void
ngx_http_batch_render_usage(batch_text_t *t, json_t *usage)
{
    int64_t  input, output, total, cached, reasoning;

    input = json_integer_value(json_object_get(usage, "input"));
    output = json_integer_value(json_object_get(usage, "output"));
    total = json_integer_value(json_object_get(usage, "total"));
    cached = json_integer_value(json_object_get(usage, "cached"));
    reasoning = json_integer_value(json_object_get(usage, "reasoning"));

    batch_text_printf(t, "{\"input_tokens\":%" PRId64
                      ",\"output_tokens\":%" PRId64
                      ",\"total_tokens\":%" PRId64
                      ",\"input_tokens_details\":{\"cached_tokens\":%" PRId64
                      "},\"output_tokens_details\":{\"reasoning_tokens\":%"
                      PRId64 "},\"prompt_tokens\":%" PRId64
                      ",\"completion_tokens\":%" PRId64 "}",
                      input, output, total, cached, reasoning, input, output);
}
