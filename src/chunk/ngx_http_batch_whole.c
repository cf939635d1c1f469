/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A small batch, of which all answers are in memory at once, ends without
 * a segment: a job makes its result of what is pending in the journal.
 *
 * Nobody has heard of these answers, so that they need not be durable
 * before the result is.  It saves a segment, a seal, and three syncs.
 *
 * If the job fails nothing has changed, and what is pending is written
 * to a segment after all (chunk->kept).
 */

#include "ngx_http_batch_chunk.h"
#include "ngx_http_batch_job.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_turn.h"


#define NGX_HTTP_BATCH_WHOLE_SIZE    (256 * 1024)    /* bytes */


static ngx_uint_t ngx_http_batch_whole_ready(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_whole_done(void *data, ngx_uint_t ended);


ngx_int_t
ngx_http_batch_whole_end(ngx_http_batch_chunk_t *c)
{
    ngx_uint_t                       n;
    ngx_queue_t                     *q;
    ngx_http_batch_entry_t          *entry;
    ngx_http_batch_finalize_line_t  *lines;

    if (!ngx_http_batch_whole_ready(c)) {
        return NGX_DECLINED;
    }

    lines = ngx_alloc(c->npending * sizeof(ngx_http_batch_finalize_line_t),
                      ngx_cycle->log);
    if (lines == NULL) {
        return NGX_DECLINED;
    }

    for (q = ngx_queue_head(&c->pending), n = 0;
         q != ngx_queue_sentinel(&c->pending);
         q = ngx_queue_next(q), n++)
    {
        entry = ngx_queue_data(q, ngx_http_batch_entry_t, queue);

        lines[n].record = &entry->record;
        lines[n].line = entry->payload;
    }

    if (ngx_http_batch_job_end(c->run, lines, n, ngx_http_batch_whole_done, c)
        != NGX_OK)
    {
        ngx_free(lines);
        return NGX_DECLINED;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, chunk %uD: whole batch of %ui lines to a job",
                   c->run->id, c->chunk, n);

    ngx_http_batch_turn_cancel(&c->flush);

    c->whole = lines;
    c->busy = 1;
    c->ending = 1;

    return NGX_OK;
}


/*
 * The index may let the batch expire while the job runs, so the last seconds
 * before that are not for this.
 */

static ngx_uint_t
ngx_http_batch_whole_ready(ngx_http_batch_chunk_t *c)
{
    ngx_queue_t             *q;
    ngx_http_batch_entry_t  *entry;

    if (c->segment != NGX_INVALID_FILE
        || c->kept
        || c->writing
        || c->ending
        || c->poisoned
        || c->npending == 0
        || c->life != NGX_HTTP_BATCH_CHUNK_RUNNING
        || c->busy
        || c->lost
        || c->npicks
        || c->run->stop
        || c->run->job
        || !ngx_http_batch_plan_small(&c->run->plan)
        || c->npending != c->run->plan.chunks[c->chunk].count
        || c->pending_size > NGX_HTTP_BATCH_WHOLE_SIZE
        || (c->run->meta.expires_at
            && batch_clock_sec() + NGX_HTTP_BATCH_LEASE / 1000
               >= c->run->meta.expires_at)
        || ngx_http_batch_turn_leaving())
    {
        return 0;
    }

    for (q = ngx_queue_head(&c->pending);
         q != ngx_queue_sentinel(&c->pending);
         q = ngx_queue_next(q))
    {
        entry = ngx_queue_data(q, ngx_http_batch_entry_t, queue);

        if (entry->spool) {
            return 0;
        }
    }

    return 1;
}


static void
ngx_http_batch_whole_done(void *data, ngx_uint_t ended)
{
    ngx_http_batch_chunk_t *c = data;

    ngx_queue_t             *q;
    ngx_http_batch_entry_t  *entry;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, chunk %uD: whole batch %s",
                   c->run->id, c->chunk,
                   ended ? "has ended" : "goes to a segment after all");

    ngx_free(c->whole);

    c->whole = NULL;
    c->busy = 0;
    c->ending = 0;

    if (!ended) {
        c->kept = 1;
        ngx_http_batch_chunk_commit(c, 1);
        ngx_http_batch_chunk_advance(c);
        return;
    }

    for (q = ngx_queue_head(&c->pending);
         q != ngx_queue_sentinel(&c->pending);
         q = ngx_queue_next(q))
    {
        entry = ngx_queue_data(q, ngx_http_batch_entry_t, queue);

        if (entry->record.kind == BATCH_KIND_OUTPUT) {
            ngx_http_batch_slot->completed++;

        } else {
            ngx_http_batch_slot->failed++;
        }
    }

    /* the end of the batch has told the index of its chunk, too */

    c->life = NGX_HTTP_BATCH_CHUNK_GONE;
    ngx_http_batch_chunk_advance(c);
}
