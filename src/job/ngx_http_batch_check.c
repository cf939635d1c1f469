
/*
 * Copyright (C) the ngx_http_batch_module authors
 */


#include "ngx_http_batch_check.h"
#include "ngx_http_batch_dedup.h"
#include "ngx_http_batch_lines.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_validate.h"



/* every granule-th request line: where chunks may begin */

typedef struct {
    off_t                         offset;
    uint64_t                      line;
} ngx_http_batch_granule_t;


typedef struct {
    ngx_http_batch_check_t       *c;
    ngx_log_t                    *log;
    off_t                         size;
    ngx_http_batch_lines_t        lines;
    ngx_http_batch_dedup_t        dedup;

    uint64_t                      requests;
    uint64_t                      inputs;      /* of /v1/embeddings */

    u_char                       *token;       /* the first model, raw */
    size_t                        token_len;
    size_t                        model_len;
    ngx_uint_t                    mixed;       /* lenient: there are several */

    ngx_http_batch_granule_t     *granules;
    size_t                        ngranules;
    size_t                        nalloc;
    uint64_t                      granule;     /* requests */

    u_char                        model[NGX_HTTP_BATCH_MODEL_LEN];
} ngx_http_batch_pass_t;


static ngx_int_t ngx_http_batch_check_file(ngx_http_batch_pass_t *p);
static ngx_int_t ngx_http_batch_check_pass(ngx_http_batch_pass_t *p);
static ngx_int_t ngx_http_batch_check_line(ngx_http_batch_pass_t *p);
static void ngx_http_batch_check_inputs(ngx_http_batch_pass_t *p,
    const batch_line_t *line);
static ngx_int_t ngx_http_batch_check_model(ngx_http_batch_pass_t *p,
    const batch_str_t *model, ngx_uint_t *bad);
static ngx_int_t ngx_http_batch_check_granule(ngx_http_batch_pass_t *p);
static void ngx_http_batch_check_limits(ngx_http_batch_pass_t *p);
static ngx_int_t ngx_http_batch_check_plan(ngx_http_batch_pass_t *p);


ngx_int_t
ngx_http_batch_check(ngx_http_batch_check_t *c, ngx_log_t *log)
{
    ngx_int_t               rc;
    struct stat             st;
    ngx_http_batch_pass_t   pass, *p;

    p = &pass;

    ngx_memzero(p, offsetof(ngx_http_batch_pass_t, model));

    p->granule = NGX_HTTP_BATCH_GRANULE;
    p->c = c;
    p->log = log;

    if (fstat(c->input, &st) == -1) {
        ngx_log_error(NGX_LOG_CRIT, log, ngx_errno,
                      "batch: fstat() of the input failed");
        return NGX_ERROR;
    }

    p->size = st.st_size;

    rc = ngx_http_batch_check_file(p);

    ngx_http_batch_lines_free(&p->lines);

    ngx_free(p->token);
    ngx_free(p->granules);

    return rc;
}


static ngx_int_t
ngx_http_batch_check_file(ngx_http_batch_pass_t *p)
{
    ngx_int_t                rc;
    ngx_http_batch_check_t  *c;

    c = p->c;

    if (c->max_file_size && p->size > c->max_file_size) {

        ngx_http_batch_defects_whole(&c->defects, "invalid_request", NULL,
                                     "The batch input file is larger than the "
                                     "%O maximum.", c->max_file_size);
        return NGX_OK;
    }

    if (ngx_http_batch_lines_init(&p->lines, c->input, 0, p->size, 1,
                                  c->max_line_size, p->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_batch_dedup_init(&p->dedup, c->input, p->log) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_batch_check_pass(p);

    if (rc == NGX_OK) {
        rc = ngx_http_batch_dedup_finish(&p->dedup, ngx_http_batch_defects_dup,
                                         &c->defects);
    }

    ngx_http_batch_dedup_free(&p->dedup);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_batch_check_limits(p);

    if (ngx_http_batch_defects_any(&c->defects)) {
        return NGX_OK;
    }

    return ngx_http_batch_check_plan(p);
}


static ngx_int_t
ngx_http_batch_check_pass(ngx_http_batch_pass_t *p)
{
    off_t                    looked;
    ngx_int_t                rc;
    ngx_http_batch_lines_t  *l;

    l = &p->lines;
    looked = 0;

    for ( ;; ) {
        rc = ngx_http_batch_lines_next(l);

        if (rc == NGX_DONE) {
            return NGX_OK;
        }

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (l->offset - looked >= NGX_HTTP_BATCH_LINES_WINDOW) {
            looked = l->offset;

            if (ngx_http_batch_task_quit()) {
                return NGX_ABORT;
            }
        }

        if (rc == NGX_OK && batch_jsonl_blank(l->line, l->len)) {
            continue;
        }

        if (p->requests % p->granule == 0
            && ngx_http_batch_check_granule(p) != NGX_OK)
        {
            return NGX_ERROR;
        }

        p->requests++;

        if (rc == NGX_DECLINED) {
            ngx_http_batch_defects_line(&p->c->defects, l->number,
                                        "invalid_json_line", NULL,
                                        "This line is too long: the maximum "
                                        "is %uz bytes.", p->c->max_line_size);
            continue;
        }

        if (ngx_http_batch_check_line(p) != NGX_OK) {
            return NGX_ERROR;
        }
    }
}


static ngx_int_t
ngx_http_batch_check_line(ngx_http_batch_pass_t *p)
{
    off_t                    offset;
    ngx_uint_t               bad;
    batch_line_t             line;
    batch_line_error_t       err;
    ngx_http_batch_check_t  *c;
    ngx_http_batch_lines_t  *l;

    c = p->c;
    l = &p->lines;
    bad = 0;

    if (batch_jsonl_parse(l->line, l->len, &c->rules, &line, &err)
        != BATCH_OK)
    {
        ngx_http_batch_defects_line(&c->defects, l->number, err.code,
                                    err.param, "%s", err.message);
        return NGX_OK;
    }

    if (line.inputs) {
        ngx_http_batch_check_inputs(p, &line);
    }

    if (line.model.len
        && ngx_http_batch_check_model(p, &line.model, &bad) != NGX_OK)
    {
        return NGX_ERROR;
    }

    offset = l->offset + (line.custom_id.data - l->line);

    return ngx_http_batch_dedup_add(&p->dedup, &line.custom_id, l->number,
                                    offset, bad);
}


/* OpenAI's limit is one of this very endpoint */

static void
ngx_http_batch_check_inputs(ngx_http_batch_pass_t *p, const batch_line_t *line)
{
    const batch_str_t  *url;

    url = &p->c->rules.targets[line->target].url;

    if (url->len == sizeof("/v1/embeddings") - 1
        && ngx_memcmp(url->data, "/v1/embeddings", url->len) == 0)
    {
        p->inputs += line->inputs;
    }
}


static ngx_int_t
ngx_http_batch_check_model(ngx_http_batch_pass_t *p, const batch_str_t *model,
    ngx_uint_t *bad)
{
    size_t         len;
    u_char         buf[NGX_HTTP_BATCH_MODEL_LEN];
    batch_str_t    first;
    batch_shown_t  shown;

    first.data = p->token;
    first.len = p->token_len;

    if (first.len == model->len
        && ngx_memcmp(first.data, model->data, first.len) == 0)
    {
        return NGX_OK;
    }

    if (first.len && batch_token_eq(&first, model)) {
        return NGX_OK;
    }

    len = batch_token_decode(model, buf, sizeof(buf));

    if (len > sizeof(buf)) {

        *bad = 1;
        ngx_http_batch_defects_line(&p->c->defects, p->lines.number,
                                    "invalid_value", "body.model",
                                    "The model of this request is longer than "
                                    "%d bytes.", NGX_HTTP_BATCH_MODEL_LEN);
        return NGX_OK;
    }

    batch_utf8_repair(buf, len);

    if (first.len && p->c->rules.lenient) {
        p->mixed = 1;
        return NGX_OK;
    }

    if (first.len) {
        *bad = 1;
        ngx_http_batch_defects_line(&p->c->defects, p->lines.number,
                                    "mismatched_model", "body.model",
                                    "The model '%s' for this request does "
                                    "not match the rest of the batch. Each "
                                    "batch must contain requests for a single "
                                    "model.", batch_shown(&shown, buf, len));
        return NGX_OK;
    }

    /* decoded it is short, so it is at most six times that */

    p->token = ngx_alloc(model->len, p->log);
    if (p->token == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p->token, model->data, model->len);
    p->token_len = model->len;

    ngx_memcpy(p->model, buf, len);
    p->model_len = len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_check_granule(ngx_http_batch_pass_t *p)
{
    size_t                     i, n;
    ngx_http_batch_granule_t  *g;

    if (p->ngranules == NGX_HTTP_BATCH_GRANULES) {

        /* every second one goes; the number is even, so the line at hand
         * begins a granule of the double size, too */

        for (i = 0; i < p->ngranules / 2; i++) {
            p->granules[i] = p->granules[2 * i];
        }

        p->ngranules /= 2;
        p->granule *= 2;
    }

    if (p->ngranules == p->nalloc) {
        n = p->nalloc ? p->nalloc * 2 : 256;

        g = realloc(p->granules, n * sizeof(ngx_http_batch_granule_t));
        if (g == NULL) {
            ngx_log_error(NGX_LOG_EMERG, p->log, ngx_errno,
                          "realloc() of %uz granules failed", n);
            return NGX_ERROR;
        }

        p->granules = g;
        p->nalloc = n;
    }

    g = &p->granules[p->ngranules++];

    g->offset = p->lines.offset;
    g->line = p->lines.number;

    return NGX_OK;
}


/* what is wrong with the file as a whole */

static void
ngx_http_batch_check_limits(ngx_http_batch_pass_t *p)
{
    ngx_http_batch_check_t  *c;

    c = p->c;

    if (p->requests == 0) {
        ngx_http_batch_defects_whole(&c->defects, "empty_batch", NULL,
                                     "The input file is empty. Please ensure "
                                     "that the batch contains at least one "
                                     "request.");
    }

    if (c->max_requests && p->requests > c->max_requests) {
        ngx_http_batch_defects_whole(&c->defects, "too_many_tasks", NULL,
                                     "The batch input file has %uL requests, "
                                     "which is more than the maximum of %ui.",
                                     p->requests, c->max_requests);
    }

    if (p->inputs > NGX_HTTP_BATCH_INPUTS_MAX) {
        ngx_http_batch_defects_whole(&c->defects, "too_many_tasks", NULL,
                                     "The batch input file has %uL embedding "
                                     "inputs, which is more than the maximum "
                                     "of %d.", p->inputs,
                                     NGX_HTTP_BATCH_INPUTS_MAX);
    }
}


/* granules in the chunk that begins with granule i, at least one */

static size_t
ngx_http_batch_check_cut(ngx_http_batch_pass_t *p, size_t i)
{
    off_t      end;
    size_t     n, most;
    uint64_t   want, least;

    want = p->requests - i * p->granule;
    want /= (p->requests >= NGX_HTTP_BATCH_CHUNK_MANY)
            ? NGX_HTTP_BATCH_CHUNK_LARGE : NGX_HTTP_BATCH_CHUNK_SHARE;

    least = ngx_min(p->requests / NGX_HTTP_BATCH_CHUNK_SHARE,
                    NGX_HTTP_BATCH_CHUNK_MIN);

    want = ngx_max(want, least);
    want = ngx_min(want, NGX_HTTP_BATCH_CHUNK_MAX);

    most = (size_t) (want / p->granule);

    for (n = 1; n < most && i + n < p->ngranules; n++) {

        end = (i + n + 1 < p->ngranules) ? p->granules[i + n + 1].offset
                                         : p->size;

        if (end - p->granules[i].offset > NGX_HTTP_BATCH_CHUNK_SIZE) {
            break;
        }
    }

    return n;
}


/*
 * Chunks get smaller towards the end (a share of what is left), so that the
 * workers finish together; not so small that their syncs take longer than
 * their lines.
 */

static ngx_int_t
ngx_http_batch_check_plan(ngx_http_batch_pass_t *p)
{
    off_t                         end;
    size_t                        i, n;
    uint64_t                      done;
    ngx_http_batch_plan_t        *plan;
    ngx_http_batch_plan_chunk_t  *ch;

    plan = &p->c->plan;

    if (p->mixed) {
        p->model_len = 0;
    }

    plan->owned = ngx_alloc(p->ngranules * sizeof(ngx_http_batch_plan_chunk_t)
                            + p->model_len + 1, p->log);
    if (plan->owned == NULL) {
        return NGX_ERROR;
    }

    plan->total = p->requests;
    plan->chunks = plan->owned;
    plan->nchunks = 0;
    plan->model.data = (u_char *) (plan->chunks + p->ngranules);
    plan->model.len = p->model_len;

    ngx_memcpy(plan->model.data, p->model, p->model_len);

    for (i = 0; i < p->ngranules; i += n) {

        n = ngx_http_batch_check_cut(p, i);
        end = (i + n < p->ngranules) ? p->granules[i + n].offset : p->size;
        done = ngx_min((i + n) * p->granule, p->requests);

        ch = &plan->chunks[plan->nchunks++];

        ch->offset = p->granules[i].offset;
        ch->length = end - ch->offset;
        ch->first_line = p->granules[i].line;
        ch->count = (uint32_t) (done - i * p->granule);
    }

    return NGX_OK;
}
