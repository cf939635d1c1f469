
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Finalizing: what the result is to be, and its publication.
 */


#include "ngx_http_batch_finalize.h"
#include "ngx_http_batch_gather.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_lookup.h"
#include "ngx_http_batch_validate.h"


typedef struct {
    uint32_t                       chunk;
    uint32_t                       epoch;
    ngx_uint_t                     seal;
} ngx_http_batch_work_t;


typedef struct {
    ngx_http_batch_finalize_t     *f;
    ngx_log_t                     *log;
    ngx_uint_t                     order;      /* NGX_HTTP_BATCH_ORDER_... */
    time_t                         file_ttl;   /* if the meta has none */
    batch_status_e                 target;
    int64_t                        cancelling_at;
    ngx_http_batch_plan_t          plan;
    ngx_http_batch_result_t        result;
    ngx_http_batch_gather_t        gather;

    ngx_http_batch_work_t         *work;       /* by chunk, seal, epoch */
    size_t                         nwork;
    size_t                         nalloc;

    ngx_http_batch_file_t          files[2];
    u_char                         names[2][BATCH_ID_LEN + 16];
} ngx_http_batch_finalizer_t;


static void ngx_http_batch_finalize_route(ngx_http_batch_finalizer_t *z);
static ngx_http_batch_finalize_e ngx_http_batch_finalize_run(
    ngx_http_batch_finalizer_t *z);
static ngx_http_batch_finalize_e ngx_http_batch_finalize_whole(
    ngx_http_batch_finalizer_t *z);
static ngx_http_batch_finalize_e ngx_http_batch_finalize_ended(
    ngx_http_batch_finalizer_t *z);
static ngx_int_t ngx_http_batch_finalize_target(ngx_http_batch_finalizer_t *z);
static ngx_int_t ngx_http_batch_finalize_work(ngx_http_batch_finalizer_t *z);
static ngx_int_t ngx_http_batch_finalize_chunk(ngx_http_batch_finalizer_t *z,
    uint32_t chunk, size_t *pos);
static ngx_int_t ngx_http_batch_finalize_rest(ngx_http_batch_finalizer_t *z,
    uint32_t chunk, const ngx_http_batch_work_t *segments, size_t n);
static ngx_http_batch_finalize_e ngx_http_batch_finalize_publish(
    ngx_http_batch_finalizer_t *z);
static ngx_int_t ngx_http_batch_finalize_blob(ngx_http_batch_finalizer_t *z,
    ngx_uint_t sink);
static void ngx_http_batch_finalize_text(ngx_http_batch_finalizer_t *z,
    batch_text_t *text, int64_t begun);
static ngx_http_batch_finalize_e ngx_http_batch_finalize_commit(
    ngx_http_batch_finalizer_t *z, batch_text_t *text, ngx_int_t rc);
static void ngx_http_batch_finalize_drop(ngx_http_batch_finalizer_t *z);


void
ngx_http_batch_finalize(ngx_http_batch_finalize_t *f, ngx_log_t *log)
{
    ngx_http_batch_finalizer_t  z;

    f->rc = NGX_HTTP_BATCH_FINAL_TROUBLE;
    f->root = NULL;
    f->redo_chunk = 0;

    ngx_memzero(&f->final, sizeof(ngx_http_batch_final_t));

    if (f->known) {
        f->meta = *f->known;

    } else if (ngx_http_batch_validate_meta(f->id, &f->meta, &f->root, log)
               != NGX_OK)
    {
        return;
    }

    ngx_memzero(&z, sizeof(ngx_http_batch_finalizer_t));

    z.f = f;
    z.log = log;

    ngx_http_batch_finalize_route(&z);
    ngx_http_batch_result_init(&z.result, log);

    f->rc = ngx_http_batch_finalize_run(&z);

    ngx_http_batch_result_free(&z.result);
    ngx_http_batch_plan_free(&z.plan);
    free(z.work);
}


/* without its location, what there is is written all the same */

static void
ngx_http_batch_finalize_route(ngx_http_batch_finalizer_t *z)
{
    ngx_uint_t                  n;
    ngx_http_batch_loc_conf_t  *blcf;

    blcf = ngx_http_batch_lookup_route(&z->f->meta.route, &n);

    z->order = blcf ? blcf->output_order : NGX_HTTP_BATCH_ORDER_INPUT;
    z->file_ttl = blcf ? blcf->file_ttl : NGX_HTTP_BATCH_FILE_TTL;
}


static ngx_http_batch_finalize_e
ngx_http_batch_finalize_run(ngx_http_batch_finalizer_t *z)
{
    size_t                      pos;
    uint32_t                    i;
    ngx_int_t                   rc;
    ngx_http_batch_finalize_e   e;

    if (z->f->lines) {
        return ngx_http_batch_finalize_whole(z);
    }

    e = ngx_http_batch_finalize_ended(z);

    if (e != NGX_HTTP_BATCH_FINAL_REDO) {
        return e;
    }

    if (ngx_http_batch_finalize_target(z) != NGX_OK) {
        return NGX_HTTP_BATCH_FINAL_TROUBLE;
    }

    if (ngx_http_batch_meta_rules(&z->f->meta, 1, &z->gather.rules, z->log)
        != NGX_OK)
    {
        return NGX_HTTP_BATCH_FINAL_TROUBLE;
    }

    z->gather.id = z->f->id;
    z->gather.plan = &z->plan;
    z->gather.order = z->order;
    z->gather.target = z->target;
    z->gather.result = &z->result;
    z->gather.log = z->log;

    ngx_http_batch_gather_init(&z->gather);

    rc = ngx_http_batch_finalize_work(z);
    pos = 0;

    for (i = 0; i < z->plan.nchunks && rc == NGX_OK; i++) {
        rc = ngx_http_batch_finalize_chunk(z, i, &pos);

        if (rc == NGX_DECLINED) {
            z->f->redo_chunk = i;
        }
    }

    ngx_http_batch_gather_free(&z->gather);

    if (rc == NGX_OK) {
        return ngx_http_batch_finalize_publish(z);
    }

    if (rc == NGX_ABORT) {
        return NGX_HTTP_BATCH_FINAL_QUIT;
    }

    /* another finalizer may have ended it and removed what we were reading */

    e = ngx_http_batch_finalize_ended(z);

    if (e == NGX_HTTP_BATCH_FINAL_REDO && rc != NGX_DECLINED) {
        e = NGX_HTTP_BATCH_FINAL_TROUBLE;
    }

    return e;
}


static int ngx_libc_cdecl
ngx_http_batch_finalize_line_cmp(const void *one, const void *two)
{
    const ngx_http_batch_finalize_line_t  *a = one, *b = two;

    return (a->record->line > b->record->line)
           - (a->record->line < b->record->line);
}


/* what is on disk already, a cancel or an end, is found by its links */

static ngx_http_batch_finalize_e
ngx_http_batch_finalize_whole(ngx_http_batch_finalizer_t *z)
{
    size_t                      i;
    ngx_http_batch_finalize_t  *f;
    ngx_http_batch_finalize_e   e;

    f = z->f;

    if (z->order == NGX_HTTP_BATCH_ORDER_INPUT) {
        ngx_qsort(f->lines, f->nlines, sizeof(ngx_http_batch_finalize_line_t),
                  ngx_http_batch_finalize_line_cmp);
    }

    for (i = 0; i < f->nlines; i++) {

        if (ngx_http_batch_result_put(&z->result, f->lines[i].record,
                                      f->lines[i].line)
            != NGX_OK)
        {
            return NGX_HTTP_BATCH_FINAL_TROUBLE;
        }
    }

    z->target = BATCH_COMPLETED;
    z->plan = *f->plan;

    e = ngx_http_batch_finalize_publish(z);

    ngx_memzero(&z->plan, sizeof(ngx_http_batch_plan_t));

    return e;
}


/*
 * FINAL_OK if there is a final.json, FINAL_REDO if there is none.  What follows
 * the commit point (manifests of the two files) is repeated here, because
 * the worker that published it may have died right then.
 */

static ngx_http_batch_finalize_e
ngx_http_batch_finalize_ended(ngx_http_batch_finalizer_t *z)
{
    ngx_int_t                   rc;
    ngx_http_batch_finalize_t  *f;

    f = z->f;

    ngx_http_batch_final_free(&f->final);

    rc = ngx_http_batch_final_read(&f->final, f->id, z->log);

    if (rc == NGX_DECLINED) {
        return NGX_HTTP_BATCH_FINAL_REDO;
    }

    if (rc == NGX_OK) {
        rc = ngx_http_batch_final_settle(&f->final, z->log);
    }

    if (rc != NGX_OK) {
        ngx_http_batch_final_free(&f->final);
        return NGX_HTTP_BATCH_FINAL_TROUBLE;
    }

    return NGX_HTTP_BATCH_FINAL_OK;
}


/* NGX_OK: target and plan are known */

static ngx_int_t
ngx_http_batch_finalize_target(ngx_http_batch_finalizer_t *z)
{
    ngx_int_t  rc;

    if (ngx_http_batch_cancel_read(z->f->id, &z->cancelling_at, z->log)
        == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    if (z->cancelling_at) {
        z->target = BATCH_CANCELLED;

    } else if (z->f->expired) {
        z->target = BATCH_EXPIRED;

    } else {
        z->target = BATCH_COMPLETED;
    }

    rc = ngx_http_batch_plan_read(z->f->id, &z->plan, z->log);

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, z->log, 0,
                   "batch: %s: is to be %s, %uL lines in %uD chunks",
                   z->f->id, batch_status_name(z->target), z->plan.total,
                   z->plan.nchunks);

    if (rc == NGX_DECLINED && z->target == BATCH_COMPLETED) {
        ngx_log_error(NGX_LOG_ALERT, z->log, 0,
                      "batch: %s: has no plan, but all of its chunks are"
                      " done", z->f->id);
        return NGX_ERROR;
    }

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_batch_finalize_work_add(void *ctx, uint32_t chunk, uint32_t epoch,
    ngx_uint_t seal)
{
    size_t                        n;
    ngx_http_batch_work_t        *w;
    ngx_http_batch_finalizer_t   *z = ctx;

    if (z->nwork == z->nalloc) {
        n = z->nalloc ? z->nalloc * 2 : 256;

        w = realloc(z->work, n * sizeof(ngx_http_batch_work_t));
        if (w == NULL) {
            return NGX_ERROR;
        }

        z->work = w;
        z->nalloc = n;
    }

    w = &z->work[z->nwork++];

    w->chunk = chunk;
    w->epoch = epoch;
    w->seal = seal;

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_batch_finalize_work_cmp(const void *one, const void *two)
{
    const ngx_http_batch_work_t  *a = one, *b = two;

    if (a->chunk != b->chunk) {
        return a->chunk < b->chunk ? -1 : 1;
    }

    if (a->seal != b->seal) {
        return a->seal < b->seal ? -1 : 1;
    }

    return (a->epoch > b->epoch) - (a->epoch < b->epoch);
}


/* one listing for all chunks: a directory of n files is not read n times */

static ngx_int_t
ngx_http_batch_finalize_work(ngx_http_batch_finalizer_t *z)
{
    if (z->plan.nchunks == 0) {
        return NGX_OK;
    }

    if (ngx_http_batch_segment_walk(z->f->id,
                                    ngx_http_batch_finalize_work_add, z,
                                    z->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (z->nwork) {
        ngx_qsort(z->work, z->nwork, sizeof(ngx_http_batch_work_t),
                  ngx_http_batch_finalize_work_cmp);
    }

    return NGX_OK;
}


/* NGX_DECLINED: the chunk must run again */

static ngx_int_t
ngx_http_batch_finalize_chunk(ngx_http_batch_finalizer_t *z, uint32_t chunk,
    size_t *pos)
{
    size_t     i, first, seals, last;
    ngx_int_t  rc;

    while (*pos < z->nwork && z->work[*pos].chunk < chunk) {
        (*pos)++;
    }

    first = *pos;

    for (seals = first;
         seals < z->nwork && z->work[seals].chunk == chunk
         && !z->work[seals].seal;
         seals++)
    {
        /* void */
    }

    for (last = seals;
         last < z->nwork && z->work[last].chunk == chunk;
         last++)
    {
        /* void */
    }

    *pos = last;

    for (i = last; i > seals; i--) {
        rc = ngx_http_batch_gather_seal(&z->gather, chunk,
                                        z->work[i - 1].epoch);
        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    if (z->target == BATCH_COMPLETED) {

        if (last == seals
            && ngx_http_batch_store_exists(NGX_HTTP_BATCH_FINAL, z->f->id,
                                           z->log)
               == 0)
        {
            ngx_log_error(NGX_LOG_ALERT, z->log, 0,
                          "batch: %s, chunk %uD: has no seal, it runs again",
                          z->f->id, chunk);
        }

        return NGX_DECLINED;
    }

    return ngx_http_batch_finalize_rest(z, chunk, &z->work[first],
                                        seals - first);
}


/* a chunk without a valid seal: its segments, and nothing for the rest */

static ngx_int_t
ngx_http_batch_finalize_rest(ngx_http_batch_finalizer_t *z, uint32_t chunk,
    const ngx_http_batch_work_t *segments, size_t n)
{
    size_t      i;
    uint32_t   *epochs;
    ngx_int_t   rc;

    epochs = malloc((n + 1) * sizeof(uint32_t));
    if (epochs == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        epochs[i] = segments[i].epoch;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, z->log, 0,
                   "batch: %s, chunk %uD: has no valid seal, %uz segments",
                   z->f->id, chunk, n);

    rc = ngx_http_batch_gather_rest(&z->gather, chunk, epochs, n);

    free(epochs);

    /* NGX_DECLINED is for seals */

    return rc == NGX_DECLINED ? NGX_ERROR : rc;
}


static ngx_http_batch_finalize_e
ngx_http_batch_finalize_publish(ngx_http_batch_finalizer_t *z)
{
    int64_t                     begun;
    ngx_int_t                   rc;
    ngx_uint_t                  i, decide;
    batch_text_t                text;
    ngx_http_batch_finalize_e   e;

    begun = batch_clock_sec();

    for (i = 0; i < 2; i++) {
        if (z->result.tally.lines[i]
            && ngx_http_batch_finalize_blob(z, i) != NGX_OK)
        {
            ngx_http_batch_finalize_drop(z);
            return NGX_HTTP_BATCH_FINAL_TROUBLE;
        }
    }

    /* Copying takes a while: a cancel that has come since is honoured, a later
     * one is refused.  All lines of a completed batch are there, so only the
     * status changes. */

    decide = (z->target != BATCH_CANCELLED);

    for ( ;; ) {
        ngx_memzero(&text, sizeof(batch_text_t));

        ngx_http_batch_finalize_text(z, &text, begun);

        if (text.failed) {
            ngx_log_error(NGX_LOG_EMERG, z->log, NGX_ENOMEM,
                          "batch: %s: no memory for final.json", z->f->id);
            ngx_http_batch_finalize_drop(z);
            e = NGX_HTTP_BATCH_FINAL_TROUBLE;
            break;
        }

        rc = ngx_http_batch_publish_final(z->f->id, text.data, text.len,
                                          decide, z->log);
        if (rc != NGX_ABORT) {
            e = ngx_http_batch_finalize_commit(z, &text, rc);
            break;
        }

        batch_text_free(&text);
        decide = 0;

        rc = ngx_http_batch_cancel_read(z->f->id, &z->cancelling_at, z->log);

        if (rc == NGX_ERROR) {
            ngx_http_batch_finalize_drop(z);
            return NGX_HTTP_BATCH_FINAL_TROUBLE;
        }

        if (rc == NGX_OK) {
            z->target = BATCH_CANCELLED;
        }
    }

    batch_text_free(&text);

    return e;
}


static ngx_int_t
ngx_http_batch_finalize_blob(ngx_http_batch_finalizer_t *z, ngx_uint_t sink)
{
    int64_t                 ttl;
    u_char                 *last;
    ngx_http_batch_file_t  *file;

    file = &z->files[sink];

    if (batch_id_make(BATCH_ID_FILE, file->id) == 0) {
        ngx_log_error(NGX_LOG_CRIT, z->log, ngx_errno,
                      "batch: %s: random bytes for an id failed", z->f->id);
        return NGX_ERROR;
    }

    file->tenant = z->f->meta.tenant;
    ngx_str_set(&file->purpose, "batch_output");

    last = ngx_slprintf(z->names[sink],
                        z->names[sink] + sizeof(z->names[sink]),
                        "%s_%s.jsonl", z->f->id,
                        sink == NGX_HTTP_BATCH_SINK_OUTPUT ? "output"
                                                           : "error");
    file->filename.data = z->names[sink];
    file->filename.len = last - z->names[sink];

    ttl = z->f->meta.output_ttl ? z->f->meta.output_ttl : z->file_ttl;

    file->created_us = batch_clock_us();
    file->expires_at = ttl ? file->created_us / 1000000 + ttl : 0;

    /* DECLINED: there is a file of the same 131 random bits */

    if (ngx_http_batch_result_publish(&z->result, sink, file->id, &file->bytes)
        != NGX_OK)
    {
        file->id[0] = '\0';
        return NGX_ERROR;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, z->log, 0,
                   "batch: %s: %s has %uL lines, %O bytes", z->f->id,
                   file->id, z->result.tally.lines[sink], file->bytes);

    return NGX_OK;
}


/*
 * Clients know some of the times already, and those do not change.  As the
 * clock may have been set back, it is the later time that gives way.
 */

static void
ngx_http_batch_finalize_text(ngx_http_batch_finalizer_t *z,
    batch_text_t *text, int64_t begun)
{
    int64_t                  last;
    ngx_http_batch_final_t   final;
    ngx_http_batch_tally_t  *tally;

    tally = &z->result.tally;

    ngx_memzero(&final, sizeof(ngx_http_batch_final_t));

    ngx_memcpy(final.id, z->f->id, BATCH_ID_LEN);
    final.status = z->target;
    final.in_progress_at = z->plan.in_progress_at;
    final.cancelling_at = z->cancelling_at;

    last = ngx_max(z->f->meta.created_us / 1000000, final.in_progress_at);
    last = ngx_max(last, final.cancelling_at);

    final.finalizing_at = z->f->finalizing_at;

    if (z->target != BATCH_CANCELLED) {

        /* no client has seen one */

        if (final.finalizing_at == 0) {
            final.finalizing_at = (int64_t) (z->gather.sealed_us / 1000000);

            if (final.finalizing_at == 0 || final.finalizing_at > begun) {
                final.finalizing_at = begun;
            }
        }

        last = ngx_max(last, final.finalizing_at);
        final.finalizing_at = last;
    }

    final.ended_at = batch_clock_since(last);

    final.total = z->plan.total;
    final.completed = tally->ok;
    final.failed = tally->failed;
    final.model = z->plan.model;
    final.usage = tally->usage;
    final.files[0] = z->files[0];
    final.files[1] = z->files[1];

    ngx_http_batch_final_encode(text, &final);
}


/* rc: of publishing final.json */

static ngx_http_batch_finalize_e
ngx_http_batch_finalize_commit(ngx_http_batch_finalizer_t *z,
    batch_text_t *text, ngx_int_t rc)
{
    size_t                      len;
    ngx_uint_t                  i;
    ngx_http_batch_finalize_t  *f;
    ngx_http_batch_finalize_e   e;

    f = z->f;

    if (rc == NGX_OK) {

        /* the sweep finds what is left undone here */

        for (i = 0; i < 2; i++) {
            if (z->files[i].id[0]) {
                (void) ngx_http_batch_publish_manifest(f->id,
                                                       z->files[i].id,
                                                       z->log);
            }
        }

        ngx_log_debug4(NGX_LOG_DEBUG_HTTP, z->log, 0,
                       "batch: %s: final.json is published: %s, %uL completed,"
                       " %uL failed", f->id, batch_status_name(z->target),
                       z->result.tally.ok, z->result.tally.failed);

        len = text->len;

        if (ngx_http_batch_final_decode(&f->final, f->id,
                                        (u_char *) batch_text_end(text), len)
            == NGX_OK)
        {
            return NGX_HTTP_BATCH_FINAL_OK;
        }

        /* there was no memory; the next finalizer finds it */

        return NGX_HTTP_BATCH_FINAL_TROUBLE;
    }

    if (rc == NGX_ERROR
        && ngx_http_batch_store_exists(NGX_HTTP_BATCH_FINAL, f->id, z->log)
           == 0)
    {
        ngx_http_batch_finalize_drop(z);
        return NGX_HTTP_BATCH_FINAL_TROUBLE;
    }

    /* whatever the answer was, final.json on disk says whose result counts;
     * while it cannot be read, our blobs may be the ones it names: they stay */

    e = ngx_http_batch_finalize_ended(z);

    if (e == NGX_HTTP_BATCH_FINAL_REDO) {
        e = NGX_HTTP_BATCH_FINAL_TROUBLE;
    }

    if (e == NGX_HTTP_BATCH_FINAL_OK
        && (f->final.text.len != text->len
            || ngx_memcmp(f->final.text.data, text->data, text->len) != 0))
    {
        ngx_http_batch_finalize_drop(z);
    }

    return e;
}


/* the blobs that no final.json names */

static void
ngx_http_batch_finalize_drop(ngx_http_batch_finalizer_t *z)
{
    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        if (z->files[i].id[0]) {
            (void) ngx_http_batch_delete_blob(z->files[i].id, z->log);
            z->files[i].id[0] = '\0';
        }
    }
}
