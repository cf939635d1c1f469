
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Validation: what is on disk already, the input, the verdict.
 */


#include "ngx_http_batch_validate.h"
#include "ngx_http_batch_check.h"
#include "ngx_http_batch_cancel.h"
#include "ngx_http_batch_lookup.h"
#include "ngx_http_batch_store.h"


static ngx_uint_t ngx_http_batch_validate_known(ngx_http_batch_validate_t *v,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_validate_planned(ngx_http_batch_validate_t *v,
    ngx_log_t *log);
static ngx_http_batch_validate_e ngx_http_batch_validate_input(
    ngx_http_batch_validate_t *v, ngx_log_t *log);
static ngx_int_t ngx_http_batch_validate_link(ngx_http_batch_validate_t *v,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_validate_file(ngx_http_batch_validate_t *v,
    char name[BATCH_ID_LEN], ngx_log_t *log);
static ngx_http_batch_validate_e ngx_http_batch_validate_verdict(
    ngx_http_batch_validate_t *v, ngx_http_batch_check_t *c, ngx_log_t *log);
static ngx_http_batch_validate_e ngx_http_batch_validate_plan(
    ngx_http_batch_validate_t *v, ngx_log_t *log);
static ngx_http_batch_validate_e ngx_http_batch_validate_end(
    ngx_http_batch_validate_t *v, const batch_text_t *errors, ngx_log_t *log);
static ngx_http_batch_validate_e ngx_http_batch_validate_failed(
    ngx_http_batch_validate_t *v, ngx_http_batch_check_t *c, ngx_log_t *log);


void
ngx_http_batch_validate(ngx_http_batch_validate_t *v, ngx_log_t *log)
{
    ngx_uint_t                  n;
    ngx_http_batch_loc_conf_t  *blcf;

    v->rc = NGX_HTTP_BATCH_TROUBLE;

    ngx_memzero(&v->plan, sizeof(ngx_http_batch_plan_t));
    ngx_memzero(&v->final, sizeof(ngx_http_batch_final_t));

    if (ngx_http_batch_validate_meta(v->id, &v->meta, &v->root, log)
        != NGX_OK)
    {
        return;
    }

    if (ngx_http_batch_validate_known(v, log)) {
        return;
    }

    blcf = ngx_http_batch_lookup_route(&v->meta.route, &n);

    if (blcf == NULL) {
        v->rc = NGX_HTTP_BATCH_UNROUTED;
        return;
    }

    v->max_requests = blcf->max_requests;
    v->max_file_size = blcf->max_file_size;
    v->max_line_size = blcf->max_line_size;
    v->max_lines = blcf->quota ? blcf->quota->lines : 0;

    v->rc = ngx_http_batch_validate_input(v, log);
}


ngx_int_t
ngx_http_batch_validate_meta(const char *id, ngx_http_batch_meta_t *meta,
    json_t **root, ngx_log_t *log)
{
    ngx_int_t  rc;

    rc = ngx_http_batch_meta_read(id, meta, root, log);

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch: %s: batch.json is missing", id);
    }

    return rc == NGX_OK ? NGX_OK : NGX_ERROR;
}


void
ngx_http_batch_validate_decide(ngx_http_batch_validate_t *v, ngx_log_t *log)
{
    ngx_http_batch_plan_t      plan;
    ngx_http_batch_check_t     c;

    plan = v->plan;
    ngx_memzero(&v->plan, sizeof(ngx_http_batch_plan_t));

    if (ngx_http_batch_validate_known(v, log)) {
        ngx_http_batch_plan_free(&plan);
        return;
    }

    v->plan = plan;

    if (!v->over) {
        v->rc = ngx_http_batch_validate_plan(v, log);
        return;
    }

    ngx_memzero(&c, sizeof(ngx_http_batch_check_t));
    c.input = NGX_INVALID_FILE;

    ngx_http_batch_defects_whole(&c.defects, "quota_exceeded", NULL,
                                 "The batch has %uL lines, and %uL of your "
                                 "quota of %ui lines are in other batches that "
                                 "are not finished. Wait until batches have "
                                 "finished, or cancel them, and create the "
                                 "batch again.", v->plan.total, v->used,
                                 v->max_lines);

    v->rc = ngx_http_batch_validate_failed(v, &c, log);

    ngx_http_batch_defects_free(&c.defects);
}


/* an earlier validation, or another worker, may have decided already: rc */

static ngx_uint_t
ngx_http_batch_validate_known(ngx_http_batch_validate_t *v, ngx_log_t *log)
{
    int64_t    at;
    ngx_int_t  rc;

    v->rc = NGX_HTTP_BATCH_ENDED;
    rc = ngx_http_batch_final_read(&v->final, v->id, log);

    if (rc == NGX_DECLINED) {
        v->rc = NGX_HTTP_BATCH_CANCELLED_EARLY;
        rc = ngx_http_batch_cancel_read(v->id, &at, log);
    }

    if (rc == NGX_DECLINED) {
        v->rc = NGX_HTTP_BATCH_VALID;
        rc = ngx_http_batch_validate_planned(v, log);
    }

    if (rc != NGX_OK) {
        v->rc = NGX_HTTP_BATCH_TROUBLE;
    }

    return rc != NGX_DECLINED;
}


/*
 * NGX_OK: a plan exists and is as durable as its input; NGX_DECLINED: no plan
 * exists.  One sync covers both names.  If a power cut took the input and left
 * the plan, no worker had told the index of that plan yet.
 */

static ngx_int_t
ngx_http_batch_validate_planned(ngx_http_batch_validate_t *v, ngx_log_t *log)
{
    ngx_int_t  rc;

    rc = ngx_http_batch_plan_read(v->id, &v->plan, log);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_INPUT, v->id, log);

    if (rc == 1
        && ngx_http_batch_store_sync(NGX_HTTP_BATCH_PLAN, v->id, log)
           == NGX_OK)
    {
        return NGX_OK;
    }

    ngx_http_batch_plan_free(&v->plan);

    return rc == 0 ? ngx_http_batch_delete_plan(v->id, log)
                   : NGX_ERROR;
}


static ngx_http_batch_validate_e
ngx_http_batch_validate_input(ngx_http_batch_validate_t *v, ngx_log_t *log)
{
    ngx_int_t                   rc;
    batch_shown_t               shown;
    ngx_http_batch_check_t      c;
    ngx_http_batch_validate_e   e;

    ngx_memzero(&c, sizeof(ngx_http_batch_check_t));

    if (ngx_http_batch_meta_rules(&v->meta, 0, &c.rules, log) != NGX_OK) {
        return NGX_HTTP_BATCH_TROUBLE;
    }

    c.input = NGX_INVALID_FILE;
    c.max_requests = v->max_requests;
    c.max_file_size = v->max_file_size;
    c.max_line_size = v->max_line_size;

    rc = ngx_http_batch_validate_link(v, log);

    if (rc == NGX_OK) {
        c.input = ngx_http_batch_store_open(NGX_HTTP_BATCH_INPUT, v->id, log);

        rc = (c.input == NGX_INVALID_FILE) ? NGX_ERROR
                                           : ngx_http_batch_check(&c, log);

    } else if (rc == NGX_DECLINED) {

        ngx_http_batch_defects_whole(&c.defects, "invalid_request", "file_id",
                                     "Cannot find file %s, or organization "
                                     "default does not have access to it.",
                                     batch_shown(&shown,
                                                 v->meta.input_file_id.data,
                                                 v->meta.input_file_id.len));
        rc = NGX_OK;
    }

    e = (rc == NGX_OK) ? ngx_http_batch_validate_verdict(v, &c, log)
        : (rc == NGX_ABORT) ? NGX_HTTP_BATCH_QUIT : NGX_HTTP_BATCH_TROUBLE;

    if (c.input != NGX_INVALID_FILE) {
        (void) ngx_close_file(c.input);
    }

    ngx_http_batch_defects_free(&c.defects);
    ngx_http_batch_plan_free(&c.plan);
    ngx_http_batch_meta_rules_free(&c.rules);

    return e;
}


/*
 * NGX_OK: <batch>/input is there; NGX_DECLINED: the client has no such file.
 * The link is made only after all checks: where it exists, an earlier
 * validation has made them, and the file may have been deleted since.
 */

static ngx_int_t
ngx_http_batch_validate_link(ngx_http_batch_validate_t *v, ngx_log_t *log)
{
    char       id[BATCH_ID_LEN];
    ngx_int_t  rc;

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_INPUT, v->id, log);

    if (rc != 0) {
        return rc == 1 ? NGX_OK : NGX_ERROR;
    }

    rc = ngx_http_batch_validate_file(v, id, log);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_batch_publish_input(v->id, id, log);
}


/* is it the client's, and for batches?  name gets its id */

static ngx_int_t
ngx_http_batch_validate_file(ngx_http_batch_validate_t *v,
    char name[BATCH_ID_LEN], ngx_log_t *log)
{
    json_t                 *root;
    ngx_int_t               rc;
    ngx_str_t               text, *id, *tenant;
    ngx_http_batch_file_t   f;

    id = &v->meta.input_file_id;
    tenant = &v->meta.tenant;

    if (id->len >= BATCH_ID_LEN
        || !batch_id_check(BATCH_ID_FILE, id->data, id->len))
    {
        return NGX_DECLINED;
    }

    ngx_memcpy(name, id->data, id->len);
    name[id->len] = '\0';

    rc = ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE, name,
                                   NGX_HTTP_BATCH_MANIFEST_MAX, &text, log);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_batch_file_decode_of(&f, name, text.data, text.len, &root)
        != NGX_OK)
    {
        if (ngx_http_batch_store_damaged()) {
            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "batch: %s: manifest is damaged", name);
        }

        ngx_free(text.data);
        return NGX_ERROR;
    }

    if (f.tenant.len != tenant->len
        || ngx_memcmp(f.tenant.data, tenant->data, tenant->len) != 0
        || f.purpose.len != sizeof("batch") - 1
        || ngx_memcmp(f.purpose.data, "batch", f.purpose.len) != 0
        || (f.expires_at && f.expires_at <= batch_clock_sec()))
    {
        rc = NGX_DECLINED;
    }

    json_decref(root);
    ngx_free(text.data);

    return rc;
}


static ngx_http_batch_validate_e
ngx_http_batch_validate_verdict(ngx_http_batch_validate_t *v,
    ngx_http_batch_check_t *c, ngx_log_t *log)
{
    if (ngx_http_batch_defects_any(&c->defects)) {
        return ngx_http_batch_validate_failed(v, c, log);
    }

    v->plan = c->plan;
    ngx_memzero(&c->plan, sizeof(ngx_http_batch_plan_t));

    return v->max_lines ? NGX_HTTP_BATCH_COUNTED
                        : ngx_http_batch_validate_plan(v, log);
}


static ngx_http_batch_validate_e
ngx_http_batch_validate_plan(ngx_http_batch_validate_t *v, ngx_log_t *log)
{
    v->plan.in_progress_at = batch_clock_since(v->meta.created_us / 1000000);

    switch (ngx_http_batch_plan_publish(v->id, &v->plan, log)) {

    case NGX_OK:
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: plan.json is published, %uL lines in %uD"
                       " chunks", v->id, v->plan.total, v->plan.nchunks);
        return NGX_HTTP_BATCH_VALID;

    case NGX_DECLINED:
        ngx_http_batch_plan_free(&v->plan);

        if (ngx_http_batch_plan_read(v->id, &v->plan, log) == NGX_OK) {
            return NGX_HTTP_BATCH_VALID;
        }

        /* fall through */

    default:
        return NGX_HTTP_BATCH_TROUBLE;
    }
}


static ngx_http_batch_validate_e
ngx_http_batch_validate_failed(ngx_http_batch_validate_t *v,
    ngx_http_batch_check_t *c, ngx_log_t *log)
{
    int64_t                     at;
    ngx_int_t                   rc;
    batch_text_t                errors;
    ngx_http_batch_validate_e   e;

    ngx_memzero(&errors, sizeof(batch_text_t));

    e = NGX_HTTP_BATCH_TROUBLE;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, log, 0,
                   "batch: %s: is not valid, defects: %ui of the file, %uL of"
                   " lines, %uL duplicates", v->id, c->defects.nwhole,
                   c->defects.total, c->defects.total_dups);

    if (ngx_http_batch_defects_text(&c->defects, c->input, &errors, log)
        == NGX_OK)
    {
        rc = ngx_http_batch_cancel_close(v->id, &at, log);

        if (rc == NGX_OK) {
            e = ngx_http_batch_validate_end(v, &errors, log);

        } else if (rc == NGX_DECLINED) {
            e = NGX_HTTP_BATCH_CANCELLED_EARLY;
        }
    }

    batch_text_free(&errors);

    return e;
}


/* errors: those of final.json */

static ngx_http_batch_validate_e
ngx_http_batch_validate_end(ngx_http_batch_validate_t *v,
    const batch_text_t *errors, ngx_log_t *log)
{
    size_t                      len;
    ngx_int_t                   rc;
    batch_text_t                text;
    ngx_http_batch_final_t      final;
    ngx_http_batch_validate_e   e;

    ngx_memzero(&text, sizeof(batch_text_t));
    ngx_memzero(&final, sizeof(ngx_http_batch_final_t));

    e = NGX_HTTP_BATCH_TROUBLE;

    ngx_memcpy(final.id, v->id, BATCH_ID_LEN);
    final.status = BATCH_FAILED;
    final.ended_at = batch_clock_since(v->meta.created_us / 1000000);
    final.errors = errors;

    ngx_http_batch_final_encode(&text, &final);

    if (text.failed) {
        ngx_log_error(NGX_LOG_EMERG, log, NGX_ENOMEM,
                      "batch: %s: no memory for final.json", v->id);
        batch_text_free(&text);
        return NGX_HTTP_BATCH_TROUBLE;
    }

    rc = ngx_http_batch_publish_object(NGX_HTTP_BATCH_FINAL, v->id, text.data,
                                       text.len, log);

    if (rc == NGX_OK) {
        len = text.len;

        if (ngx_http_batch_final_decode(&v->final, v->id,
                                        (u_char *) batch_text_end(&text), len)
            == NGX_OK)
        {
            e = NGX_HTTP_BATCH_INVALID;
        }

    } else if (rc == NGX_DECLINED
               && ngx_http_batch_final_read(&v->final, v->id, log) == NGX_OK)
    {
        e = NGX_HTTP_BATCH_ENDED;
    }

    batch_text_free(&text);

    return e;
}
