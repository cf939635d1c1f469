/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A chunk was claimed: a task looks at what the disk knows of it before
 * anything is sent (CLAIM and SCAN of the protocol, on the node's side).  What
 * it finds outweighs the index, which may have fallen back to an older state.
 */

#include "ngx_http_batch_chunk.h"
#include "ngx_http_batch_job.h"
#include "ngx_http_batch_pick.h"
#include "ngx_http_batch_scan.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_final.h"
#include "ngx_http_batch_turn.h"
#include "ngx_http_batch_lookup.h"


/*
 * what is found       means                          the chunk then
 * OK                  it can be run                  runs
 * ENDED               final.json: the index is old   is lost; a job tells it
 * SEALED              a seal: the index is old       is told DONE
 * EPOCH               our epoch or a later one was   is lost; the index is
 *                     used: the index is old         told, then claimed anew
 * ROUTE               the location is gone           is released for a while
 * ERROR               no memory, or the disk         is released for a while
 */

typedef enum {
    NGX_HTTP_BATCH_OPEN_OK = 0,
    NGX_HTTP_BATCH_OPEN_ENDED,
    NGX_HTTP_BATCH_OPEN_SEALED,
    NGX_HTTP_BATCH_OPEN_EPOCH,
    NGX_HTTP_BATCH_OPEN_ROUTE,
    NGX_HTTP_BATCH_OPEN_ERROR
} ngx_http_batch_open_e;


/* a task's; what it finds is moved to the chunk or freed by open_done() */

typedef struct {
    ngx_http_batch_chunk_t        *chunk;
    char                           id[BATCH_ID_LEN];
    uint32_t                       n;             /* of the chunk */
    uint32_t                       epoch;
    ngx_uint_t                     load;          /* batch.json and the plan */
    ngx_uint_t                     routed;

    ngx_http_batch_open_e          rc;
    json_t                        *root;          /* if load: batch.json */
    ngx_http_batch_meta_t          meta;
    ngx_http_batch_plan_t          plan;
    ngx_fd_t                       input;
    ngx_fd_t                       segment;
    batch_pick_t                  *older;         /* ngx_alloc() */
    batch_usage_t                 *older_usage;
    size_t                         nolder;
    uint64_t                       ok;            /* of a seal */
    uint64_t                       failed;
    int64_t                        sealed;        /* seconds */
    uint32_t                       max_epoch;     /* that was used */
} ngx_http_batch_open_t;


static void ngx_http_batch_open_run(void *ctx, ngx_log_t *log);
static ngx_http_batch_open_e ngx_http_batch_open_look(
    ngx_http_batch_open_t *o, ngx_log_t *log);
static ngx_http_batch_open_e ngx_http_batch_open_older(
    ngx_http_batch_open_t *o, ngx_log_t *log);
static ngx_http_batch_open_e ngx_http_batch_open_files(
    ngx_http_batch_open_t *o, ngx_log_t *log);
static ngx_int_t ngx_http_batch_open_load(ngx_http_batch_open_t *o,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_open_sealed(ngx_http_batch_open_t *o,
    ngx_log_t *log);
static void ngx_http_batch_open_done(void *ctx, ngx_log_t *log);
static void ngx_http_batch_open_restored(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static ngx_int_t ngx_http_batch_open_ready(ngx_http_batch_chunk_t *c,
    ngx_http_batch_open_t *o);


void
ngx_http_batch_open_start(ngx_http_batch_run_t *run, uint32_t chunk,
    uint32_t epoch)
{
    ngx_http_batch_open_t   *o;
    ngx_http_batch_chunk_t  *c;

    /* on failure nothing is told: the lease runs out, then anybody claims it */

    c = ngx_calloc(sizeof(ngx_http_batch_chunk_t), ngx_cycle->log);
    if (c == NULL) {
        return;
    }

    o = ngx_http_batch_task_create(sizeof(ngx_http_batch_open_t),
                                   ngx_http_batch_open_run,
                                   ngx_http_batch_open_done);
    if (o == NULL) {
        ngx_free(c);
        return;
    }

    c->run = run;
    c->chunk = chunk;
    c->epoch = epoch;
    c->tag = batch_record_tag(run->id, chunk, epoch);
    c->input = NGX_INVALID_FILE;
    c->segment = NGX_INVALID_FILE;
    c->told_at = ngx_current_msec;
    c->leased_at = run->claimed_at;
    c->busy = 1;

    ngx_queue_init(&c->pending);
    ngx_queue_init(&c->lines);

    ngx_http_batch_turn_timer(&c->flush, ngx_http_batch_chunk_flush, 0);

    o->chunk = c;
    o->n = chunk;
    o->epoch = epoch;
    o->load = !run->loaded;
    o->routed = (run->conf != NULL);
    ngx_memcpy(o->id, run->id, BATCH_ID_LEN);

    if (ngx_http_batch_task_start(o) != NGX_OK) {
        ngx_free(c);
        return;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, chunk %uD: opening, epoch %uD, load: %ui",
                   run->id, chunk, epoch, o->load);

    run->nchunks++;
    run->owner->held++;
    run->refs++;
    ngx_http_batch_slot->chunks++;
    ngx_http_batch_slot->claimed++;

    ngx_queue_insert_tail(&ngx_http_batch_chunks, &c->queue);
    ngx_queue_insert_tail(&run->chunks, &c->sibling);
}


static void
ngx_http_batch_open_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_open_t *o = ctx;

    o->input = NGX_INVALID_FILE;
    o->segment = NGX_INVALID_FILE;

    o->rc = ngx_http_batch_open_look(o, log);

    if (o->rc == NGX_HTTP_BATCH_OPEN_OK) {
        o->rc = ngx_http_batch_open_older(o, log);
    }

    if (o->rc == NGX_HTTP_BATCH_OPEN_OK) {
        o->rc = ngx_http_batch_open_files(o, log);
    }
}


/* is there anything left to do? */

static ngx_http_batch_open_e
ngx_http_batch_open_look(ngx_http_batch_open_t *o, ngx_log_t *log)
{
    ngx_int_t   rc;
    ngx_uint_t  route;

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FINAL, o->id, log);

    if (rc == 1) {
        return NGX_HTTP_BATCH_OPEN_ENDED;
    }

    if (rc == NGX_ERROR
        || (o->load && ngx_http_batch_open_load(o, log) != NGX_OK))
    {
        return NGX_HTTP_BATCH_OPEN_ERROR;
    }

    rc = ngx_http_batch_open_sealed(o, log);

    if (rc != NGX_DECLINED) {
        return rc == NGX_OK ? NGX_HTTP_BATCH_OPEN_SEALED
                            : NGX_HTTP_BATCH_OPEN_ERROR;
    }

    if (o->load) {
        o->routed = (ngx_http_batch_lookup_route(&o->meta.route, &route)
                     != NULL);
    }

    return o->routed ? NGX_HTTP_BATCH_OPEN_OK : NGX_HTTP_BATCH_OPEN_ROUTE;
}


/* the records that earlier owners have left */

static ngx_http_batch_open_e
ngx_http_batch_open_older(ngx_http_batch_open_t *o, ngx_log_t *log)
{
    uint32_t   *epochs;
    ngx_int_t   n, rc;

    n = ngx_http_batch_segment_epochs(o->id, o->n, 0, &epochs, log);

    if (n == NGX_ERROR) {
        return NGX_HTTP_BATCH_OPEN_ERROR;
    }

    if (n == 0) {
        return NGX_HTTP_BATCH_OPEN_OK;
    }

    o->max_epoch = epochs[n - 1];

    if (o->max_epoch >= o->epoch) {
        ngx_free(epochs);
        return NGX_HTTP_BATCH_OPEN_EPOCH;
    }

    rc = ngx_http_batch_scan(o->id, o->n, epochs, n, 0, UINT64_MAX, &o->older,
                             &o->older_usage, &o->nolder, log);
    ngx_free(epochs);

    return rc == NGX_OK ? NGX_HTTP_BATCH_OPEN_OK : NGX_HTTP_BATCH_OPEN_ERROR;
}


static ngx_http_batch_open_e
ngx_http_batch_open_files(ngx_http_batch_open_t *o, ngx_log_t *log)
{
    o->input = ngx_http_batch_store_open(NGX_HTTP_BATCH_INPUT, o->id, log);

    if (o->input == NGX_INVALID_FILE) {
        if (ngx_errno == NGX_ENOENT) {
            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "batch: %s: input is missing", o->id);
        }

        return NGX_HTTP_BATCH_OPEN_ERROR;
    }

    if (ngx_http_batch_plan_small(o->load ? &o->plan : &o->chunk->run->plan)) {

        /* the journal creates the segment if it needs one */

        return NGX_HTTP_BATCH_OPEN_OK;
    }

    o->segment = ngx_http_batch_segment_create(o->id, o->n, o->epoch, log);

    if (o->segment != NGX_INVALID_FILE) {
        return NGX_HTTP_BATCH_OPEN_OK;
    }

    if (ngx_errno == NGX_EEXIST) {
        o->max_epoch = o->epoch;
        return NGX_HTTP_BATCH_OPEN_EPOCH;
    }

    return NGX_HTTP_BATCH_OPEN_ERROR;
}


static ngx_int_t
ngx_http_batch_open_load(ngx_http_batch_open_t *o, ngx_log_t *log)
{
    if (ngx_http_batch_meta_read(o->id, &o->meta, &o->root, log) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_batch_plan_read(o->id, &o->plan, log);
}


static ngx_int_t
ngx_http_batch_open_sealed(ngx_http_batch_open_t *o, ngx_log_t *log)
{
    uint32_t      *epochs;
    ngx_int_t      i, n, rc;
    batch_seal_t   seal;

    n = ngx_http_batch_segment_epochs(o->id, o->n, 1, &epochs, log);

    if (n <= 0) {
        return n == 0 ? NGX_DECLINED : NGX_ERROR;
    }

    rc = NGX_DECLINED;

    for (i = n - 1; i >= 0 && rc == NGX_DECLINED; i--) {

        rc = ngx_http_batch_seal_load(o->id, o->n, epochs[i], &seal, log);

        if (rc == NGX_OK) {
            o->ok = seal.ok;
            o->failed = seal.failed;
            o->sealed = batch_seal_sec(&seal);
            free(seal.picks);
        }
    }

    ngx_free(epochs);

    return rc;
}


static void
ngx_http_batch_open_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_open_t *o = ctx;

    ngx_http_batch_chunk_t  *c;

    c = o->chunk;
    c->busy = 0;
    c->life = NGX_HTTP_BATCH_CHUNK_RELEASING;

    ngx_log_debug5(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, chunk %uD: opened, epoch %uD, result %d,"
                   " %uz older records", c->run->id, c->chunk, c->epoch,
                   o->rc, o->nolder);

    /* whatever the result: the chunk closes them */

    c->input = o->input;
    c->segment = o->segment;

    if (o->root) {
        ngx_http_batch_run_adopt(c->run, o->root, &o->meta, &o->plan);
    }

    switch (o->rc) {

    case NGX_HTTP_BATCH_OPEN_OK:

        if (c->run->conf && ngx_http_batch_open_ready(c, o) == NGX_OK) {
            c->life = NGX_HTTP_BATCH_CHUNK_RUNNING;
            o->older = NULL;
            o->older_usage = NULL;

            ngx_http_batch_pick_add(c->run);
            ngx_http_batch_turn_wake();
        }

        break;

    case NGX_HTTP_BATCH_OPEN_SEALED:
        c->ok = o->ok;
        c->failed = o->failed;
        c->sealed = o->sealed;
        c->life = NGX_HTTP_BATCH_CHUNK_SEALED;
        break;

    case NGX_HTTP_BATCH_OPEN_EPOCH:

        ngx_http_batch_open_used(c, o->max_epoch);
        break;

    case NGX_HTTP_BATCH_OPEN_ENDED:
        c->lost = 1;
        (void) ngx_http_batch_job_start(c->run, NGX_HTTP_BATCH_CLAIM_FINALIZE,
                                        NULL);
        break;

    default: /* NGX_HTTP_BATCH_OPEN_ERROR, NGX_HTTP_BATCH_OPEN_ROUTE */
        c->pause = 1;
    }

    ngx_free(o->older);
    ngx_free(o->older_usage);
    ngx_http_batch_task_free(ctx);

    ngx_http_batch_chunk_advance(c);
}


void
ngx_http_batch_open_used(ngx_http_batch_chunk_t *c, uint32_t epoch)
{
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "batch: %s, chunk %uD: claimed with epoch %uD, but up to %uD"
                  " were used, the index is told",
                  c->run->id, c->chunk, c->epoch, epoch);

    if (ngx_http_batch_index_run_chunk_restore(c->run->id, c->chunk, epoch,
                                               0, 0, 0, 0,
                                               ngx_http_batch_open_restored,
                                               NULL)
        != NGX_OK)
    {
        /* the lease runs out, and the next owner sees the same */
    }

    c->lost = 1;
}


static void
ngx_http_batch_open_restored(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_turn_wake();
}


static ngx_int_t
ngx_http_batch_open_ready(ngx_http_batch_chunk_t *c, ngx_http_batch_open_t *o)
{
    ngx_http_batch_plan_chunk_t  *pc;

    if (c->chunk >= c->run->plan.nchunks) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "batch: %s, chunk %uD: not in the plan of %uD chunks",
                      c->run->id, c->chunk, c->run->plan.nchunks);
        c->lost = 1;
        return NGX_ERROR;
    }

    pc = &c->run->plan.chunks[c->chunk];

    c->picks = ngx_alloc(pc->count * sizeof(batch_pick_t), ngx_cycle->log);
    if (c->picks == NULL) {
        return NGX_ERROR;
    }

    c->next_read = pc->offset;
    c->line = pc->first_line;

    c->older = o->older;
    c->older_usage = o->older_usage;
    c->nolder = o->nolder;

    return NGX_OK;
}
