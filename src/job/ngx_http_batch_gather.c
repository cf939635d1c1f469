
/*
 * Copyright (C) the ngx_http_batch_module authors
 */


#include "ngx_http_batch_gather.h"
#include "ngx_http_batch_scan.h"
#include "ngx_http_batch_lines.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_validate.h"


#define NGX_HTTP_BATCH_GATHER_LOOK  255     /* lines between looks at quit */


static void ngx_http_batch_gather_close(ngx_http_batch_gather_t *g);
static ngx_fd_t ngx_http_batch_gather_open(ngx_http_batch_gather_t *g,
    uint32_t epoch, uint64_t *tag);
static ngx_int_t ngx_http_batch_gather_sealed(ngx_http_batch_gather_t *g,
    batch_seal_t *seal, const char **why);
static ngx_int_t ngx_http_batch_gather_picks(ngx_http_batch_gather_t *g,
    batch_pick_t *picks, size_t n);
static ngx_int_t ngx_http_batch_gather_early(ngx_http_batch_gather_t *g,
    batch_pick_t *picks, size_t n);
static ngx_int_t ngx_http_batch_gather_lines(ngx_http_batch_gather_t *g,
    batch_pick_t *picks, size_t n);
static ngx_int_t ngx_http_batch_gather_blind(ngx_http_batch_gather_t *g,
    batch_pick_t *picks, size_t n);
static ngx_int_t ngx_http_batch_gather_line(ngx_http_batch_gather_t *g,
    ngx_http_batch_lines_t *l, batch_pick_t *pick);


void
ngx_http_batch_gather_init(ngx_http_batch_gather_t *g)
{
    g->sealed_us = 0;
    g->chunk = 0;
    g->input = NGX_INVALID_FILE;
    g->nfds = 0;
}


void
ngx_http_batch_gather_free(ngx_http_batch_gather_t *g)
{
    ngx_http_batch_gather_close(g);

    if (g->input != NGX_INVALID_FILE) {
        (void) ngx_close_file(g->input);
        g->input = NGX_INVALID_FILE;
    }

    ngx_http_batch_meta_rules_free(&g->rules);
}


static void
ngx_http_batch_gather_close(ngx_http_batch_gather_t *g)
{
    ngx_http_batch_result_forget(g->result);

    while (g->nfds) {
        (void) ngx_close_file(g->fds[--g->nfds]);
    }
}


/* of the chunk at hand; stays open until the chunk is done */

static ngx_fd_t
ngx_http_batch_gather_open(ngx_http_batch_gather_t *g, uint32_t epoch,
    uint64_t *tag)
{
    ngx_fd_t    fd;
    ngx_uint_t  i;

    for (i = 0; i < g->nfds; i++) {
        if (g->epochs[i] == epoch) {
            *tag = g->tags[i];
            return g->fds[i];
        }
    }

    fd = ngx_http_batch_segment_open(g->id, g->chunk, epoch, g->log);

    if (fd == NGX_INVALID_FILE) {
        return fd;
    }

    if (g->nfds == NGX_HTTP_BATCH_GATHER_FDS) {
        ngx_http_batch_gather_close(g);
    }

    *tag = batch_record_tag(g->id, g->chunk, epoch);

    g->epochs[g->nfds] = epoch;
    g->tags[g->nfds] = *tag;
    g->fds[g->nfds++] = fd;

    return fd;
}


static int ngx_libc_cdecl
ngx_http_batch_gather_cmp_written(const void *one, const void *two)
{
    const batch_pick_t  *a = one, *b = two;

    if (a->epoch != b->epoch) {
        return a->epoch < b->epoch ? -1 : 1;
    }

    return (a->offset > b->offset) - (a->offset < b->offset);
}


static int ngx_libc_cdecl
ngx_http_batch_gather_cmp_line(const void *one, const void *two)
{
    const batch_pick_t  *a = one, *b = two;

    return (a->line > b->line) - (a->line < b->line);
}


/* lines [first_line, this) are the chunk's */

static uint64_t
ngx_http_batch_gather_end(ngx_http_batch_gather_t *g)
{
    if (g->chunk + 1 < g->plan->nchunks) {
        return g->plan->chunks[g->chunk + 1].first_line;
    }

    return UINT64_MAX;
}


/* a seal can only be right if it has a pick for each of the chunk's lines */

static ngx_uint_t
ngx_http_batch_gather_sane(ngx_http_batch_gather_t *g, const batch_seal_t *s)
{
    const ngx_http_batch_plan_chunk_t  *c;

    c = &g->plan->chunks[g->chunk];

    return s->n == c->count
           && s->n
           && s->picks[0].line >= c->first_line
           && s->picks[s->n - 1].line < ngx_http_batch_gather_end(g);
}


ngx_int_t
ngx_http_batch_gather_seal(ngx_http_batch_gather_t *g, uint32_t chunk,
    uint32_t epoch)
{
    ngx_int_t      rc;
    const char    *why;
    batch_seal_t   seal;

    g->chunk = chunk;
    why = NULL;

    rc = ngx_http_batch_seal_load(g->id, chunk, epoch, &seal, g->log);

    if (rc == NGX_OK) {
        rc = ngx_http_batch_gather_sealed(g, &seal, &why);

        ngx_log_debug5(NGX_LOG_DEBUG_HTTP, g->log, 0,
                       "batch: %s, chunk %uD: seal of epoch %uD, %uz lines: %i",
                       g->id, chunk, epoch, (size_t) seal.n, rc);

        free(seal.picks);
        ngx_http_batch_gather_close(g);
    }

    if (rc == NGX_DECLINED
        && ngx_http_batch_store_exists(NGX_HTTP_BATCH_FINAL, g->id, g->log)
           == 0)
    {
        /* with final.json there, another finalizer has removed the segments */

        if (why) {
            ngx_log_error(NGX_LOG_ALERT, g->log, 0,
                          "batch: %s, chunk %uD: seal of epoch %uD is void:"
                          " %s", g->id, chunk, epoch, why);
        }

        /* left there, it would tell the next owner that all is done */

        (void) ngx_http_batch_seal_delete(g->id, chunk, epoch, g->log);
    }

    return rc;
}


/* *why is set with NGX_DECLINED */

static ngx_int_t
ngx_http_batch_gather_sealed(ngx_http_batch_gather_t *g, batch_seal_t *seal,
    const char **why)
{
    ngx_int_t                rc;
    ngx_http_batch_tally_t   mark;

    if (!ngx_http_batch_gather_sane(g, seal)) {
        *why = "it does not fit the plan";
        return NGX_DECLINED;
    }

    if (g->order == NGX_HTTP_BATCH_ORDER_COMPLETION) {
        ngx_qsort(seal->picks, seal->n, sizeof(batch_pick_t),
                  ngx_http_batch_gather_cmp_written);
    }

    ngx_http_batch_result_mark(g->result, &mark);

    rc = ngx_http_batch_gather_picks(g, seal->picks, seal->n);

    if (rc != NGX_OK) {
        ngx_http_batch_result_rollback(g->result, &mark);

        *why = "a segment that it names is damaged, another's or gone";

    } else if (seal->sealed_us > g->sealed_us) {
        g->sealed_us = seal->sealed_us;
    }

    return rc;
}


static ngx_int_t
ngx_http_batch_gather_picks(ngx_http_batch_gather_t *g, batch_pick_t *picks,
    size_t n)
{
    size_t     i;
    ngx_fd_t   fd;
    uint64_t   tag;
    ngx_int_t  rc;

    for (i = 0; i < n; i++) {

        if ((i & NGX_HTTP_BATCH_GATHER_LOOK) == 0
            && ngx_http_batch_task_quit())
        {
            return NGX_ABORT;
        }

        fd = ngx_http_batch_gather_open(g, picks[i].epoch, &tag);

        if (fd == NGX_INVALID_FILE) {
            return ngx_errno == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
        }

        rc = ngx_http_batch_result_copy(g->result, fd, tag, &picks[i]);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_gather_rest(ngx_http_batch_gather_t *g, uint32_t chunk,
    const uint32_t *epochs, size_t n)
{
    size_t                               npicks;
    ngx_int_t                            rc;
    batch_pick_t                        *picks;
    ngx_http_batch_tally_t               mark;
    const ngx_http_batch_plan_chunk_t   *c;

    g->chunk = chunk;
    c = &g->plan->chunks[chunk];

    if (ngx_http_batch_scan(g->id, chunk, epochs, n, c->first_line,
                            ngx_http_batch_gather_end(g), &picks, NULL,
                            &npicks, g->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    if (g->order == NGX_HTTP_BATCH_ORDER_COMPLETION) {
        rc = ngx_http_batch_gather_early(g, picks, npicks);
    }

    ngx_http_batch_result_mark(g->result, &mark);

    if (rc == NGX_OK) {
        rc = ngx_http_batch_gather_lines(g, picks, npicks);
    }

    if (rc == NGX_DECLINED) {
        ngx_http_batch_result_rollback(g->result, &mark);
        rc = ngx_http_batch_gather_blind(g, picks, npicks);
    }

    free(picks);
    ngx_http_batch_gather_close(g);

    return rc;
}


/* in order of completion: the records first, as they were written; one that
 * cannot be copied after all gets kind 0 and is filled */

static ngx_int_t
ngx_http_batch_gather_early(ngx_http_batch_gather_t *g, batch_pick_t *picks,
    size_t n)
{
    size_t     i;
    ngx_int_t  rc;

    if (n == 0) {
        return NGX_OK;
    }

    ngx_qsort(picks, n, sizeof(batch_pick_t),
              ngx_http_batch_gather_cmp_written);

    for (i = 0; i < n; i++) {
        rc = ngx_http_batch_gather_picks(g, &picks[i], 1);

        if (rc == NGX_DECLINED) {
            picks[i].kind = 0;

        } else if (rc != NGX_OK) {
            return rc;
        }
    }

    ngx_qsort(picks, n, sizeof(batch_pick_t), ngx_http_batch_gather_cmp_line);

    return NGX_OK;
}


/* NGX_OK; NGX_DECLINED: there is none that could be read, ever */

static ngx_int_t
ngx_http_batch_gather_input(ngx_http_batch_gather_t *g)
{
    if (g->input != NGX_INVALID_FILE) {
        return NGX_OK;
    }

    g->input = ngx_http_batch_store_open(NGX_HTTP_BATCH_INPUT, g->id, g->log);

    if (g->input != NGX_INVALID_FILE) {
        return NGX_OK;
    }

    return (ngx_errno == NGX_ENOENT || ngx_http_batch_store_damaged())
           ? NGX_DECLINED : NGX_ERROR;
}


/* NGX_DECLINED: the input is not what was planned */

static ngx_int_t
ngx_http_batch_gather_lines(ngx_http_batch_gather_t *g, batch_pick_t *picks,
    size_t n)
{
    size_t                               i;
    uint32_t                             count;
    ngx_int_t                            rc;
    batch_pick_t                        *pick;
    ngx_http_batch_lines_t               l;
    const ngx_http_batch_plan_chunk_t   *c;

    c = &g->plan->chunks[g->chunk];

    rc = ngx_http_batch_gather_input(g);

    if (rc != NGX_OK) {
        return rc;
    }

    /* what the limit is now says nothing about lines that were validated */

    if (ngx_http_batch_lines_init(&l, g->input, c->offset,
                                  c->offset + c->length, c->first_line,
                                  (size_t) c->length, g->log)
        != NGX_OK)
    {
        return l.cut ? NGX_DECLINED : NGX_ERROR;
    }

    count = 0;
    i = 0;

    while ((rc = ngx_http_batch_lines_next(&l)) == NGX_OK) {

        if (batch_jsonl_blank(l.line, l.len)) {
            continue;
        }

        if ((count++ & NGX_HTTP_BATCH_GATHER_LOOK) == 0
            && ngx_http_batch_task_quit())
        {
            rc = NGX_ABORT;
            break;
        }

        while (i < n && picks[i].line < l.number) {
            i++;
        }

        pick = (i < n && picks[i].line == l.number) ? &picks[i] : NULL;

        rc = ngx_http_batch_gather_line(g, &l, pick);

        if (rc != NGX_OK) {
            break;
        }
    }

    ngx_http_batch_lines_free(&l);

    if (rc == NGX_DONE) {
        return (count == c->count) ? NGX_OK : NGX_DECLINED;
    }

    return (rc == NGX_ERROR && l.cut) ? NGX_DECLINED : rc;
}


/*
 * The input cannot tell which lines the chunk had: what was answered is there
 * all the same, and who has cancelled the batch, as he was told to, sees it
 * end.  The rest has no custom_id.
 */

static ngx_int_t
ngx_http_batch_gather_blind(ngx_http_batch_gather_t *g, batch_pick_t *picks,
    size_t n)
{
    size_t                    i;
    uint32_t                  left;
    ngx_int_t                 rc;
    static const batch_str_t  none = batch_string("null");

    if (ngx_http_batch_store_exists(NGX_HTTP_BATCH_FINAL, g->id, g->log) != 0)
    {
        /* another finalizer has ended it, and removed the input */
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_ALERT, g->log, 0,
                  "batch: %s, chunk %uD: input is not as planned, lines"
                  " without an answer get no custom_id", g->id, g->chunk);

    left = g->plan->chunks[g->chunk].count;

    for (i = 0; i < n && left; i++) {

        if (picks[i].kind == 0) {
            continue;
        }

        rc = NGX_OK;

        if (g->order != NGX_HTTP_BATCH_ORDER_COMPLETION) {
            rc = ngx_http_batch_gather_picks(g, &picks[i], 1);
        }

        if (rc == NGX_OK) {
            left--;

        } else if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    while (left--) {
        rc = ngx_http_batch_result_fill(g->result, &none, g->target);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_gather_line(ngx_http_batch_gather_t *g,
    ngx_http_batch_lines_t *l, batch_pick_t *pick)
{
    ngx_int_t            rc;
    batch_line_t         line;
    batch_line_error_t   err;

    if (pick && pick->kind) {

        if (g->order == NGX_HTTP_BATCH_ORDER_COMPLETION) {
            return NGX_OK;
        }

        rc = ngx_http_batch_gather_picks(g, pick, 1);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    if (batch_jsonl_parse(l->line, l->len, &g->rules, &line, &err)
        != BATCH_OK)
    {
        ngx_log_error(NGX_LOG_ALERT, g->log, 0,
                      "batch: %s, line %uL: was valid and is not any more",
                      g->id, l->number);
        return NGX_DECLINED;
    }

    return ngx_http_batch_result_fill(g->result, &line.custom_id, g->target);
}
