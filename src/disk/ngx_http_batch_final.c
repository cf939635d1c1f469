
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * final.json: the result of a batch, and the manifests that come of it.
 */


#include "ngx_http_batch_final.h"
#include "ngx_http_batch_object_int.h"
#include "ngx_http_batch_store.h"


static void ngx_http_batch_final_stamp(batch_text_t *t, const char *name,
    int64_t at);
static void ngx_http_batch_final_manifest(batch_text_t *t,
    const char *name, const ngx_http_batch_file_t *f);
static ngx_int_t ngx_http_batch_final_object(ngx_http_batch_final_t *final,
    json_t *root);
static ngx_int_t ngx_http_batch_final_brief(ngx_http_batch_final_t *final);
static json_t *ngx_http_batch_final_first(json_t *errors);
static ngx_int_t ngx_http_batch_final_file(const char *batch_id,
    const ngx_http_batch_file_t *f, ngx_log_t *log);


void
ngx_http_batch_final_encode(batch_text_t *t,
    const ngx_http_batch_final_t *final)
{
    ngx_uint_t                   i;
    batch_usage_t                usage;
    static const batch_status_e  ends[] = {
        BATCH_COMPLETED, BATCH_FAILED, BATCH_EXPIRED, BATCH_CANCELLED
    };

    batch_text_printf(t, "{\"v\":%d,\"id\":\"%s\",\"status\":\"%s\"",
                      NGX_HTTP_BATCH_FORMAT, final->id,
                      batch_status_name(final->status));

    ngx_http_batch_final_stamp(t, "in_progress_at", final->in_progress_at);
    ngx_http_batch_final_stamp(t, "finalizing_at", final->finalizing_at);
    ngx_http_batch_final_stamp(t, "cancelling_at", final->cancelling_at);

    for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        ngx_http_batch_final_stamp(t, batch_status_stamp(ends[i]),
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

    usage = final->usage;
    batch_usage_clamp(&usage);

    batch_text_printf(t, ",\"usage\":{\"input\":%" PRIu64
                      ",\"output\":%" PRIu64 ",\"cached\":%" PRIu64
                      ",\"reasoning\":%" PRIu64 ",\"total\":%" PRIu64 "}",
                      usage.input, usage.output, usage.cached,
                      usage.reasoning, usage.total);

    ngx_http_batch_final_manifest(t, "output", &final->files[0]);
    ngx_http_batch_final_manifest(t, "error", &final->files[1]);

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
ngx_http_batch_final_stamp(batch_text_t *t, const char *name, int64_t at)
{
    if (at) {
        batch_text_printf(t, ",\"%s\":%" PRId64, name, at);

    } else {
        batch_text_printf(t, ",\"%s\":null", name);
    }
}


static void
ngx_http_batch_final_manifest(batch_text_t *t, const char *name,
    const ngx_http_batch_file_t *f)
{
    ngx_str_t  s;

    if (f->id[0] == '\0') {
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
ngx_http_batch_final_read(ngx_http_batch_final_t *final, const char *id,
    ngx_log_t *log)
{
    ngx_int_t  rc;
    ngx_str_t  text;

    ngx_memzero(final, sizeof(ngx_http_batch_final_t));

    rc = ngx_http_batch_store_read(NGX_HTTP_BATCH_FINAL, id,
                                   NGX_HTTP_BATCH_FINAL_MAX, &text, log);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_batch_final_decode(final, id, text.data, text.len);

    if (rc != NGX_OK) {
        ngx_http_batch_object_damaged(id, "final.json", log);
    }

    return rc;
}


ngx_int_t
ngx_http_batch_final_decode(ngx_http_batch_final_t *final, const char *id,
    u_char *data, size_t len)
{
    ngx_err_t  err;

    ngx_memzero(final, sizeof(ngx_http_batch_final_t));

    ngx_memcpy(final->id, id, ngx_strlen(id) + 1);

    final->text.data = data;
    final->text.len = len;
    final->root = ngx_http_batch_object_json(data, len, 0);

    if (final->root
        && ngx_http_batch_final_object(final, final->root) == NGX_OK
        && ngx_http_batch_final_brief(final) == NGX_OK)
    {
        return NGX_OK;
    }

    err = ngx_errno;
    ngx_http_batch_final_free(final);
    ngx_set_errno(err);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_batch_final_object(ngx_http_batch_final_t *final, json_t *root)
{
    int           status;
    json_t       *v;
    ngx_uint_t    i;
    json_int_t    total, completed, failed;
    const char   *s;

    static const char *const  keys[] = { "output", "error" };

    v = json_object_get(root, "status");
    status = -1;

    if (json_is_string(v)) {
        status = batch_status_parse((u_char *) json_string_value(v),
                                    json_string_length(v));
    }

    s = json_string_value(json_object_get(root, "id"));
    total = json_integer_value(json_object_get(root, "total"));
    completed = json_integer_value(json_object_get(root, "completed"));
    failed = json_integer_value(json_object_get(root, "failed"));

    if (status < 0 || !batch_status_terminal((batch_status_e) status)
        || s == NULL || ngx_strcmp(s, final->id) != 0
        || completed < 0 || completed > total
        || failed < 0 || failed > total - completed)
    {
        return NGX_ERROR;
    }

    final->status = (batch_status_e) status;
    final->total = total;
    final->completed = completed;
    final->failed = failed;

    final->ended_at = json_integer_value(
                          json_object_get(root, batch_status_stamp(status)));
    final->in_progress_at = json_integer_value(
                          json_object_get(root, "in_progress_at"));
    final->finalizing_at = json_integer_value(
                          json_object_get(root, "finalizing_at"));
    final->cancelling_at = json_integer_value(
                          json_object_get(root, "cancelling_at"));

    ngx_http_batch_final_usage(json_object_get(root, "usage"), &final->usage);

    v = json_object_get(root, "model");
    ngx_str_set(&final->model, "");

    if (json_is_string(v)) {
        final->model.data = (u_char *) json_string_value(v);
        final->model.len = json_string_length(v);
    }

    for (i = 0; i < 2; i++) {
        v = json_object_get(root, keys[i]);

        if (json_is_object(v)
            && ngx_http_batch_file_from_json(&final->files[i], v) != NGX_OK)
        {
            ngx_memzero(&final->files[i], sizeof(ngx_http_batch_file_t));
        }
    }

    return NGX_OK;
}


/*
 * The index has all of the batches in memory, and a list shows a hundred of
 * them: it is told of the first errors only.  The last member of such a text
 * says that it is brief.
 */

static const char  ngx_http_batch_final_mark[] = ",\"brief\":true}";


static ngx_int_t
ngx_http_batch_final_brief(ngx_http_batch_final_t *final)
{
    json_t  *root, *errors;

    final->brief = final->text;

    errors = json_object_get(final->root, "errors");

    if (!json_is_array(errors)
        || final->text.len <= NGX_HTTP_BATCH_FINAL_BRIEF)
    {
        return NGX_OK;
    }

    root = json_copy(final->root);

    if (json_object_set_new(root, "errors", ngx_http_batch_final_first(errors))
        == 0
        && json_object_set_new(root, "brief", json_true()) == 0)
    {
        final->brief = ngx_http_batch_object_dump(root);

    } else {
        json_decref(root);
        ngx_str_null(&final->brief);
    }

    if (final->brief.data == NULL) {
        ngx_set_errno(NGX_ENOMEM);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* those that fit beside what else a final.json has, which is much less */

static json_t *
ngx_http_batch_final_first(json_t *errors)
{
    size_t   i, n, size;
    json_t  *first, *e;
    u_char  *p, buf[128];

    first = json_array();
    n = json_array_size(errors);
    size = 0;

    for (i = 0; i < n; i++) {
        e = json_array_get(errors, i);
        size += json_dumpb(e, NULL, 0, JSON_COMPACT) + 1;

        if (size > NGX_HTTP_BATCH_FINAL_BRIEF / 2) {
            break;
        }

        if (json_array_append(first, e) != 0) {
            goto failed;
        }
    }

    if (i == n) {
        return first;
    }

    p = ngx_slprintf(buf, buf + sizeof(buf) - 1, "Retrieve the batch to see %uz"
                     " more entries of this list.", n - i);
    *p = '\0';

    e = json_pack("{s:s,s:n,s:s,s:n}", "code", "more_errors", "line",
                  "message", (char *) buf, "param");

    if (json_array_append_new(first, e) == 0) {
        return first;
    }

failed:

    json_decref(first);

    return NULL;
}


ngx_uint_t
ngx_http_batch_final_is_brief(const ngx_str_t *text)
{
    size_t  n;

    n = sizeof(ngx_http_batch_final_mark) - 1;

    return text->len > n
           && ngx_memcmp(text->data + text->len - n,
                         ngx_http_batch_final_mark, n)
              == 0;
}


void
ngx_http_batch_final_usage(json_t *usage, batch_usage_t *u)
{
    size_t       i;
    int64_t      n;
    const struct {
        const char  *name;
        uint64_t    *n;
    } counts[] = {
        { "input", &u->input },
        { "output", &u->output },
        { "cached", &u->cached },
        { "reasoning", &u->reasoning },
        { "total", &u->total }
    };

    for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        n = ngx_http_batch_object_int(usage, counts[i].name);
        *counts[i].n = n > 0 ? (uint64_t) n : 0;
    }

    /* older modules had sums that nothing limited */

    batch_usage_clamp(u);
}


ngx_int_t
ngx_http_batch_final_status(const ngx_str_t *text, const char *id,
    batch_status_e *status, int64_t *ended_at)
{
    u_char                  *data;
    ngx_http_batch_final_t   final;

    data = malloc(text->len + 1);
    if (data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(data, text->data, text->len);

    if (ngx_http_batch_final_decode(&final, id, data, text->len) != NGX_OK) {
        return NGX_ERROR;
    }

    *status = final.status;
    *ended_at = final.ended_at;

    ngx_http_batch_final_free(&final);

    return NGX_OK;
}


void
ngx_http_batch_final_free(ngx_http_batch_final_t *final)
{
    json_decref(final->root);

    if (final->brief.data != final->text.data) {
        free(final->brief.data);
    }

    free(final->text.data);

    ngx_memzero(final, sizeof(ngx_http_batch_final_t));
}


ngx_int_t
ngx_http_batch_final_settle(const ngx_http_batch_final_t *final,
    ngx_log_t *log)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    rc = NGX_OK;

    for (i = 0; i < 2; i++) {
        if (final->files[i].id[0]
            && ngx_http_batch_final_file(final->id, &final->files[i], log)
               != NGX_OK)
        {
            rc = NGX_ERROR;
        }
    }

    return rc;
}


/* a file without a blob was deleted, even if its tombstone is gone, too */

static ngx_int_t
ngx_http_batch_final_file(const char *batch_id, const ngx_http_batch_file_t *f,
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
