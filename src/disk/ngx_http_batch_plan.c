
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * plan.json: how the input is cut into chunks.
 */


#include "ngx_http_batch_plan.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_final.h"
#include "ngx_http_batch_object_int.h"


static ngx_int_t ngx_http_batch_plan_decode(ngx_http_batch_plan_t *plan,
    json_t *root, ngx_log_t *log);
static ngx_int_t ngx_http_batch_plan_chunk(ngx_http_batch_plan_chunk_t *c,
    json_t *row);


ngx_int_t
ngx_http_batch_plan_read(const char *batch_id, ngx_http_batch_plan_t *plan,
    ngx_log_t *log)
{
    json_t     *root;
    ngx_err_t   err;
    ngx_int_t   rc;
    ngx_str_t   text;

    ngx_memzero(plan, sizeof(ngx_http_batch_plan_t));

    rc = ngx_http_batch_store_read(NGX_HTTP_BATCH_PLAN, batch_id,
                                   NGX_HTTP_BATCH_PLAN_MAX, &text, log);
    if (rc != NGX_OK) {
        return rc;
    }

    root = ngx_http_batch_object_json(text.data, text.len, 0);

    ngx_free(text.data);

    rc = root ? ngx_http_batch_plan_decode(plan, root, log) : NGX_ERROR;
    err = ngx_errno;

    json_decref(root);

    if (rc != NGX_OK) {
        ngx_http_batch_plan_free(plan);
        ngx_set_errno(err);
        ngx_http_batch_object_damaged(batch_id, "plan.json", log);
    }

    return rc;
}


static ngx_int_t
ngx_http_batch_plan_decode(ngx_http_batch_plan_t *plan, json_t *root,
    ngx_log_t *log)
{
    off_t                         end;
    size_t                        i, n;
    json_t                       *chunks, *model;
    uint64_t                      total;
    ngx_http_batch_plan_chunk_t  *c;

    chunks = json_object_get(root, "chunks");
    model = json_object_get(root, "model");
    n = json_array_size(chunks);

    if (n == 0 || n > NGX_MAX_INT32_VALUE) {
        return NGX_ERROR;
    }

    plan->model.len = json_string_length(model);

    plan->owned = ngx_alloc(n * sizeof(ngx_http_batch_plan_chunk_t)
                            + plan->model.len + 1, log);
    if (plan->owned == NULL) {
        return NGX_ERROR;
    }

    plan->chunks = plan->owned;
    plan->nchunks = (uint32_t) n;
    plan->model.data = (u_char *) (plan->chunks + n);

    if (plan->model.len) {
        ngx_memcpy(plan->model.data, json_string_value(model),
                   plan->model.len);
    }

    total = 0;
    end = 0;

    for (i = 0; i < n; i++) {
        c = &plan->chunks[i];

        if (ngx_http_batch_plan_chunk(c, json_array_get(chunks, i)) != NGX_OK
            || c->offset < end
            || (i && c->first_line <= plan->chunks[i - 1].first_line))
        {
            return NGX_ERROR;
        }

        end = c->offset + c->length;
        total += c->count;
    }

    plan->total = json_integer_value(json_object_get(root, "total"));
    plan->in_progress_at =
                  json_integer_value(json_object_get(root, "in_progress_at"));

    return plan->total == total ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_batch_plan_chunk(ngx_http_batch_plan_chunk_t *c, json_t *row)
{
    size_t       i;
    json_t      *v;
    json_int_t   n[4];

    for (i = 0; i < 4; i++) {
        v = json_array_get(row, i);

        if (!json_is_integer(v)) {
            return NGX_ERROR;
        }

        n[i] = json_integer_value(v);
    }

    if (n[0] < 0 || n[1] <= 0 || n[0] > NGX_MAX_OFF_T_VALUE - n[1]
        || n[2] <= 0 || n[3] <= 0 || n[3] > NGX_MAX_INT32_VALUE)
    {
        return NGX_ERROR;
    }

    c->offset = n[0];
    c->length = n[1];
    c->first_line = n[2];
    c->count = (uint32_t) n[3];

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_plan_publish(const char *batch_id,
    const ngx_http_batch_plan_t *plan, ngx_log_t *log)
{
    uint32_t                            i;
    ngx_int_t                           rc;
    batch_text_t                        t;
    const ngx_http_batch_plan_chunk_t  *c;

    ngx_memzero(&t, sizeof(batch_text_t));

    batch_text_printf(&t, "{\"v\":%d,\"total\":%" PRIu64 ",\"model\":",
                      NGX_HTTP_BATCH_FORMAT, plan->total);
    batch_text_string(&t, plan->model.data, plan->model.len);
    batch_text_printf(&t, ",\"in_progress_at\":%" PRId64 ",\"chunks\":[",
                      plan->in_progress_at);

    for (i = 0; i < plan->nchunks; i++) {
        c = &plan->chunks[i];

        batch_text_printf(&t, "%s[%" PRId64 ",%" PRId64 ",%" PRIu64
                          ",%" PRIu32 "]", i ? "," : "",
                          (int64_t) c->offset, (int64_t) c->length,
                          c->first_line, c->count);
    }

    batch_text_literal(&t, "]}");

    if (t.failed) {
        ngx_log_error(NGX_LOG_EMERG, log, NGX_ENOMEM,
                      "batch: %s: no memory for the plan", batch_id);
        rc = NGX_ERROR;

    } else {
        rc = ngx_http_batch_publish_object(NGX_HTTP_BATCH_PLAN, batch_id,
                                           t.data, t.len, log);
    }

    batch_text_free(&t);

    if (rc == NGX_OK) {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: planned, %uD chunks, %uL lines",
                       batch_id, plan->nchunks, plan->total);
    }

    return rc;
}


void
ngx_http_batch_plan_free(ngx_http_batch_plan_t *plan)
{
    if (plan->owned) {
        ngx_free(plan->owned);
    }

    ngx_memzero(plan, sizeof(ngx_http_batch_plan_t));
}
