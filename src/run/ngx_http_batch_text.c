
/*
 * Copyright (C) the ngx_http_batch_module authors
 */


#include "ngx_http_batch_final.h"
#include "ngx_http_batch_store.h"


static void ngx_http_batch_text_stamp(batch_text_t *t,
    const char *name, int64_t at);
static void ngx_http_batch_text_file(batch_text_t *t,
    const char *name, const ngx_http_batch_file_t *f);
static ngx_int_t ngx_http_batch_final_file(const char *batch_id,
    ngx_http_batch_file_t *f, ngx_log_t *log);


void
ngx_http_batch_final_encode(batch_text_t *t,
    const ngx_http_batch_final_t *final)
{
    ngx_uint_t                   i;
    static const batch_status_e  ends[] = {
        BATCH_COMPLETED, BATCH_FAILED, BATCH_EXPIRED, BATCH_CANCELLED
    };

    batch_text_printf(t, "{\"v\":%d,\"id\":\"%s\",\"status\":\"%s\"",
                      NGX_HTTP_BATCH_FORMAT, final->id,
                      batch_status_name(final->status));

    ngx_http_batch_text_stamp(t, "in_progress_at", final->in_progress_at);
    ngx_http_batch_text_stamp(t, "finalizing_at", final->finalizing_at);
    ngx_http_batch_text_stamp(t, "cancelling_at", final->cancelling_at);

    for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        ngx_http_batch_text_stamp(t, batch_status_stamp(ends[i]),
                                  ends[i] == final->status ? final->ended_at
                                                           : 0);
    }

    batch_text_printf(t, ",\"total\":%" PRIu64 ",\"completed\":%" PRIu64
                      ",\"failed\":%" PRIu64 ",\"model\":",
                      final->total, final->completed, final->failed);

    if (final->model.len) {
        batch_text_string(t, final->model.data, final->model.len);

    } else {
        batch_text_literal(t, "null");
    }

    batch_text_printf(t, ",\"usage\":{\"input\":%" PRIu64
                      ",\"output\":%" PRIu64 ",\"cached\":%" PRIu64
                      ",\"reasoning\":%" PRIu64 ",\"total\":%" PRIu64 "}",
                      final->usage.input, final->usage.output,
                      final->usage.cached, final->usage.reasoning,
                      final->usage.total);

    ngx_http_batch_text_file(t, "output", final->output);
    ngx_http_batch_text_file(t, "error", final->error);

    if (final->errors) {
        batch_text_literal(t, ",\"errors\":[");
        batch_text_append(t, final->errors->data, final->errors->len);
        batch_text_literal(t, "]}");

        if (final->errors->failed) {
            t->failed = 1;
        }

    } else {
        batch_text_literal(t, ",\"errors\":null}");
    }
}


static void
ngx_http_batch_text_stamp(batch_text_t *t, const char *name,
    int64_t at)
{
    if (at) {
        batch_text_printf(t, ",\"%s\":%" PRId64, name, at);

    } else {
        batch_text_printf(t, ",\"%s\":null", name);
    }
}


static void
ngx_http_batch_text_file(batch_text_t *t, const char *name,
    const ngx_http_batch_file_t *f)
{
    ngx_str_t  s;

    if (f == NULL) {
        batch_text_printf(t, ",\"%s\":null", name);
        return;
    }

    s = ngx_http_batch_file_encode(f);

    if (s.data == NULL) {
        t->failed = 1;
        return;
    }

    batch_text_printf(t, ",\"%s\":", name);
    batch_text_append(t, s.data, s.len);

    free(s.data);
}


ngx_int_t
ngx_http_batch_final_status(const ngx_str_t *text, const char *id,
    batch_status_e *status, int64_t *ended_at)
{
    int           n;
    json_t       *root, *v;
    json_int_t    total, completed, failed;
    const char   *s;

    root = ngx_http_batch_object_json(text->data, text->len, 0);
    if (root == NULL) {
        return NGX_ERROR;
    }

    v = json_object_get(root, "status");
    n = -1;

    if (json_is_string(v)) {
        n = batch_status_parse((u_char *) json_string_value(v),
                               json_string_length(v));
    }

    s = json_string_value(json_object_get(root, "id"));
    total = json_integer_value(json_object_get(root, "total"));
    completed = json_integer_value(json_object_get(root, "completed"));
    failed = json_integer_value(json_object_get(root, "failed"));

    if (s == NULL || ngx_strcmp(s, id) != 0
        || completed < 0 || completed > total
        || failed < 0 || failed > total - completed)
    {
        n = -1;
    }

    if (n < 0 || !batch_status_terminal((batch_status_e) n)) {
        json_decref(root);
        return NGX_ERROR;
    }

    *status = (batch_status_e) n;
    *ended_at = json_integer_value(json_object_get(root,
                                                   batch_status_stamp(n)));
    json_decref(root);

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_final_settle(const char *batch_id, const ngx_str_t *text,
    ngx_log_t *log)
{
    json_t                       *root, *object;
    ngx_int_t                     rc;
    ngx_uint_t                    i;
    ngx_http_batch_file_t         f;
    static const char *const      keys[] = { "output", "error" };

    root = json_loadb((char *) text->data, text->len, 0, NULL);

    if (root == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    for (i = 0; i < 2; i++) {
        object = json_object_get(root, keys[i]);

        if (json_is_object(object)
            && ngx_http_batch_file_from_json(&f, object) == NGX_OK
            && ngx_http_batch_final_file(batch_id, &f, log) != NGX_OK)
        {
            rc = NGX_ERROR;
        }
    }

    json_decref(root);

    return rc;
}


/* What has no blob any more was deleted, even if its tombstone is gone, too. */

static ngx_int_t
ngx_http_batch_final_file(const char *batch_id, ngx_http_batch_file_t *f,
    ngx_log_t *log)
{
    ngx_int_t  rc;

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE, f->id, log);

    if (rc != 0) {
        return rc == 1 ? NGX_OK : NGX_ERROR;
    }

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_BLOB, f->id, log);

    if (rc != 1) {
        return rc == 0 ? NGX_OK : NGX_ERROR;
    }

    /* DECLINED: it was deleted */

    rc = ngx_http_batch_publish_manifest(batch_id, f->id, log);

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}
