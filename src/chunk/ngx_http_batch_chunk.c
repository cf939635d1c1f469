/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A claimed chunk in this worker: states in ngx_http_batch_chunk.h.  Everything
 * that happens to a chunk ends in ngx_http_batch_chunk_advance(), which looks
 * what its state allows next.
 */

#include "ngx_http_batch_chunk.h"
#include "ngx_http_batch_job.h"
#include "ngx_http_batch_line.h"
#include "ngx_http_batch_pick.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"


typedef struct {
    ngx_fd_t                       fds[2];
} ngx_http_batch_close_t;


#define NGX_HTTP_BATCH_TROUBLE_PAUSE   5000    /* ms, before the next claim */
#define NGX_HTTP_BATCH_TELL            250     /* ms between counts */
#define NGX_HTTP_BATCH_GRACE           5000    /* ms; lines in flight after a
                                                  cancel or an expiry */
#define NGX_HTTP_BATCH_PENDING_MAX     (32 * 1024 * 1024)


static uint32_t ngx_http_batch_chunk_rest(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_awake(void);
static ngx_int_t ngx_http_batch_chunk_line(ngx_http_batch_chunk_t *c);
static ngx_int_t ngx_http_batch_chunk_end(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_whole(void *data, ngx_uint_t ended);
static void ngx_http_batch_chunk_abort(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_tick(ngx_http_batch_chunk_t *c);
static ngx_uint_t ngx_http_batch_chunk_running(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_release(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_tell(ngx_http_batch_chunk_t *c,
    ngx_http_batch_chunk_state_e state);
static void ngx_http_batch_chunk_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_chunk_free(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_close_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_chunk_close_done(void *ctx, ngx_log_t *log);


ngx_queue_t  ngx_http_batch_chunks;

static ngx_msec_t  ngx_http_batch_chunk_seen;      /* awake, last */
static ngx_msec_t  ngx_http_batch_chunk_woken;     /* if it has slept: since */
static ngx_uint_t  ngx_http_batch_chunk_slept;


void
ngx_http_batch_chunk_init(void)
{
    ngx_queue_init(&ngx_http_batch_chunks);
}


ngx_uint_t
ngx_http_batch_chunk_idle(void)
{
    return ngx_queue_empty(&ngx_http_batch_chunks);
}


ngx_uint_t
ngx_http_batch_chunk_ready(ngx_http_batch_run_t *run)
{
    ngx_queue_t             *q;
    ngx_http_batch_chunk_t  *c;

    for (q = ngx_queue_head(&run->chunks);
         q != ngx_queue_sentinel(&run->chunks);
         q = ngx_queue_next(q))
    {
        c = ngx_queue_data(q, ngx_http_batch_chunk_t, sibling);

        if (c->life == NGX_HTTP_BATCH_CHUNK_RUNNING
            && ngx_http_batch_chunk_rest(c))
        {
            return 1;
        }
    }

    return 0;
}


/* one chunk is emptied before the next one is begun */

ngx_int_t
ngx_http_batch_chunk_start(ngx_http_batch_run_t *run)
{
    ngx_int_t                rc;
    ngx_queue_t             *q, *next;
    ngx_http_batch_chunk_t  *c;

    rc = NGX_DECLINED;

    for (q = ngx_queue_head(&run->chunks);
         q != ngx_queue_sentinel(&run->chunks) && rc != NGX_OK;
         q = next)
    {
        next = ngx_queue_next(q);

        c = ngx_queue_data(q, ngx_http_batch_chunk_t, sibling);

        if (ngx_http_batch_chunk_rest(c)) {
            rc = ngx_http_batch_chunk_line(c);
        }
    }

    return rc;
}


uint32_t
ngx_http_batch_chunk_left(ngx_http_batch_run_t *run)
{
    uint32_t                 left;
    ngx_queue_t             *q;
    ngx_http_batch_chunk_t  *c;

    left = 0;

    for (q = ngx_queue_head(&run->chunks);
         q != ngx_queue_sentinel(&run->chunks);
         q = ngx_queue_next(q))
    {
        c = ngx_queue_data(q, ngx_http_batch_chunk_t, sibling);
        left += ngx_http_batch_chunk_rest(c);
    }

    return left;
}


/* requests not yet started; of a chunk that is not open yet, as far as known */

static uint32_t
ngx_http_batch_chunk_rest(ngx_http_batch_chunk_t *c)
{
    if (c->life == NGX_HTTP_BATCH_CHUNK_OPENING) {
        return c->run->loaded ? c->run->plan.chunks[c->chunk].count : 1;
    }

    if (c->life != NGX_HTTP_BATCH_CHUNK_RUNNING) {
        return 0;
    }

    return c->run->plan.chunks[c->chunk].count - c->walked;
}


/*
 * A worker may be stopped anywhere, also in the midst of a turn of the event
 * loop: so the time is taken anew, nginx's is that of the turn's beginning.
 * The beat comes 20 times a second; where there was none for so long, the
 * worker has slept.
 */

static void
ngx_http_batch_chunk_awake(void)
{
    ngx_msec_t  now;

    ngx_time_update();

    now = ngx_current_msec;

    if (ngx_http_batch_chunk_seen
        && now - ngx_http_batch_chunk_seen >= NGX_HTTP_BATCH_LEASE / 2)
    {
        ngx_http_batch_chunk_slept = 1;
        ngx_http_batch_chunk_woken = now;
    }

    ngx_http_batch_chunk_seen = now;
}


/*
 * Whoever has slept wakes up with chunks that may be another's by now: no line
 * is sent on a lease that may have run out.  Without Redis nobody else can
 * claim it either; but that our link is down says nothing about Redis if it was
 * we who did not answer.
 */

ngx_uint_t
ngx_http_batch_chunk_stale(ngx_http_batch_chunk_t *c)
{
    if (c->lost) {
        return 1;
    }

    ngx_http_batch_chunk_awake();

    if (ngx_current_msec - c->leased_at < NGX_HTTP_BATCH_LEASE) {
        return 0;
    }

    return ngx_http_batch_slot->redis
           || (ngx_http_batch_chunk_slept
               && (ngx_msec_int_t) (ngx_http_batch_chunk_woken - c->leased_at)
                  > 0);
}


static ngx_int_t
ngx_http_batch_chunk_line(ngx_http_batch_chunk_t *c)
{
    size_t     len, pos;
    u_char    *p;
    uint64_t   number;

    if (c->life != NGX_HTTP_BATCH_CHUNK_RUNNING
        || c->poisoned || c->lost || c->aborted || c->reading
        || c->run->stop || ngx_http_batch_chunk_stale(c)
        || c->pending_size > NGX_HTTP_BATCH_PENDING_MAX
        || c->walked == c->run->plan.chunks[c->chunk].count)
    {
        return NGX_DECLINED;
    }

    for ( ;; ) {

        pos = c->win_pos;

        if (ngx_http_batch_window_next(c, &p, &len) != NGX_OK) {
            return NGX_DECLINED;
        }

        number = c->line++;

        if (batch_jsonl_blank(p, len)) {
            continue;
        }

        c->walked++;

        while (c->iolder < c->nolder && c->older[c->iolder].line < number) {
            c->iolder++;
        }

        if (c->iolder < c->nolder && c->older[c->iolder].line == number) {
            ngx_http_batch_journal_count(c, &c->older[c->iolder],
                                         &c->older_usage[c->iolder]);
            c->iolder++;

            if (c->walked == c->run->plan.chunks[c->chunk].count) {
                ngx_http_batch_chunk_advance(c);
                return NGX_DECLINED;
            }

            continue;
        }

        break;
    }

    if (ngx_http_batch_line_start(c, p, len, number) != NGX_OK) {

        /* walk it again later */

        c->win_pos = pos;
        c->line = number;
        c->walked--;

        if (c->poisoned) {
            ngx_http_batch_chunk_advance(c);
        }

        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_http_batch_chunk_ended(ngx_http_batch_chunk_t *c,
    ngx_http_batch_entry_t *entry)
{
    if (entry) {

        if (c->poisoned) {
            ngx_http_batch_journal_free(entry);

        } else {
            ngx_http_batch_journal_append(c, entry);
            ngx_http_batch_chunk_commit(c, 0);
        }
    }

    ngx_http_batch_turn_wake();

    if (!c->aborting) {
        ngx_http_batch_chunk_advance(c);
    }
}


void
ngx_http_batch_chunk_commit(ngx_http_batch_chunk_t *c, ngx_uint_t force)
{
    if (ngx_http_batch_journal_whole(c)
        && ngx_http_batch_chunk_end(c) == NGX_OK)
    {
        return;
    }

    ngx_http_batch_journal_flush(c, force);
}


/* what is pending is all of the batch: its result is made of it at once */

static ngx_int_t
ngx_http_batch_chunk_end(ngx_http_batch_chunk_t *c)
{
    ngx_uint_t                       n;
    ngx_queue_t                     *q;
    ngx_http_batch_entry_t          *entry;
    ngx_http_batch_finalize_line_t  *lines;

    lines = ngx_alloc(c->npending * sizeof(ngx_http_batch_finalize_line_t),
                      ngx_cycle->log);
    if (lines == NULL) {
        return NGX_ERROR;
    }

    for (q = ngx_queue_head(&c->pending), n = 0;
         q != ngx_queue_sentinel(&c->pending);
         q = ngx_queue_next(q), n++)
    {
        entry = ngx_queue_data(q, ngx_http_batch_entry_t, queue);

        lines[n].record = &entry->record;
        lines[n].line = entry->payload;
    }

    if (ngx_http_batch_job_end(c->run, lines, n, ngx_http_batch_chunk_whole, c)
        != NGX_OK)
    {
        ngx_free(lines);
        return NGX_ERROR;
    }

    if (c->flush.timer_set) {
        ngx_del_timer(&c->flush);
    }

    c->whole = lines;
    c->busy = 1;
    c->ending = 1;

    return NGX_OK;
}


static void
ngx_http_batch_chunk_whole(void *data, ngx_uint_t ended)
{
    ngx_http_batch_chunk_t *c = data;

    ngx_queue_t             *q;
    ngx_http_batch_entry_t  *entry;

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

    /* the end of the batch tells the index of its chunk, too */

    c->life = NGX_HTTP_BATCH_CHUNK_GONE;
    ngx_http_batch_chunk_advance(c);
}


void
ngx_http_batch_chunk_flush(ngx_event_t *ev)
{
    ngx_http_batch_chunk_t  *c;

    c = (ngx_http_batch_chunk_t *) ((u_char *) ev
                                    - offsetof(ngx_http_batch_chunk_t, flush));

    ngx_http_batch_chunk_commit(c, 1);
}


/*
 * Nothing more will come: the journal does not wait for company.  In the middle
 * of a chunk answers that come all at once are only the end of a turn, and a
 * group for each would be a sync for a few lines.
 */

ngx_uint_t
ngx_http_batch_chunk_dry(ngx_http_batch_chunk_t *c)
{
    return c->nlines == 0
           && c->walked == c->run->plan.chunks[c->chunk].count;
}


void
ngx_http_batch_chunk_advance(ngx_http_batch_chunk_t *c)
{
    switch (c->life) {

    case NGX_HTTP_BATCH_CHUNK_RUNNING:

        if (ngx_http_batch_chunk_running(c)) {
            break;
        }

        c->life = NGX_HTTP_BATCH_CHUNK_RELEASING;
        ngx_http_batch_chunk_release(c);
        break;

    case NGX_HTTP_BATCH_CHUNK_SEALING:

        if (c->busy || !c->poisoned) {
            break;
        }

        c->life = NGX_HTTP_BATCH_CHUNK_RELEASING;

        /* fall through */

    case NGX_HTTP_BATCH_CHUNK_RELEASING:
        ngx_http_batch_chunk_release(c);
        break;

    case NGX_HTTP_BATCH_CHUNK_SEALED:
        ngx_http_batch_chunk_tell(c, NGX_HTTP_BATCH_CHUNK_DONE);
        break;

    case NGX_HTTP_BATCH_CHUNK_GONE:
        ngx_http_batch_chunk_free(c);
        break;

    default: /* NGX_HTTP_BATCH_CHUNK_OPENING */
        break;
    }
}


/* 0: it has to be given back */

static ngx_uint_t
ngx_http_batch_chunk_running(ngx_http_batch_chunk_t *c)
{
    if (c->npicks == c->run->plan.chunks[c->chunk].count
        && !c->busy && !c->poisoned)
    {
        ngx_http_batch_journal_seal(c);
        return 1;
    }

    if (ngx_http_batch_chunk_dry(c)) {
        ngx_http_batch_chunk_commit(c, 1);
    }

    return !c->poisoned && !c->lost && !c->run->stop
           && !ngx_http_batch_turn_leaving();
}


static void
ngx_http_batch_chunk_release(ngx_http_batch_chunk_t *c)
{
    if (c->poisoned && c->nlines && !c->aborted) {
        /* what they bring cannot be kept; ends in here again */
        ngx_http_batch_chunk_abort(c);
        return;
    }

    if (c->nlines) {
        return;
    }

    ngx_http_batch_chunk_commit(c, 1);

    if (c->writing || c->reading || c->busy
        || (c->npending && !c->poisoned))
    {
        return;
    }

    if (c->lost) {
        c->life = NGX_HTTP_BATCH_CHUNK_GONE;
        ngx_http_batch_chunk_free(c);
        return;
    }

    if (c->npicks && !c->poisoned
        && c->npicks == c->run->plan.chunks[c->chunk].count)
    {
        /* the last answers came in while it was stopping */
        ngx_http_batch_journal_seal(c);
        return;
    }

    ngx_http_batch_chunk_tell(c, NGX_HTTP_BATCH_CHUNK_RELEASE);
}


/*
 * Lines remove themselves from the list; one whose request is blocked stays,
 * and ends as soon as that is over.
 */

static void
ngx_http_batch_chunk_abort(ngx_http_batch_chunk_t *c)
{
    ngx_queue_t            *q, *next;
    ngx_http_batch_line_t  *line;

    if (c->aborted) {
        return;
    }

    c->aborted = 1;
    c->aborting = 1;

    for (q = ngx_queue_head(&c->lines);
         q != ngx_queue_sentinel(&c->lines);
         q = next)
    {
        next = ngx_queue_next(q);

        line = ngx_queue_data(q, ngx_http_batch_line_t, queue);
        ngx_http_batch_line_abort(line);
    }

    c->aborting = 0;

    ngx_http_batch_chunk_advance(c);
}


void
ngx_http_batch_chunk_leave(ngx_uint_t cut)
{
    ngx_queue_t             *q, *next;
    ngx_http_batch_chunk_t  *c;

    if (!cut) {
        return;
    }

    for (q = ngx_queue_head(&ngx_http_batch_chunks);
         q != ngx_queue_sentinel(&ngx_http_batch_chunks);
         q = next)
    {
        next = ngx_queue_next(q);

        c = ngx_queue_data(q, ngx_http_batch_chunk_t, queue);
        ngx_http_batch_chunk_abort(c);
    }
}


void
ngx_http_batch_chunk_changed(ngx_http_batch_run_t *run)
{
    ngx_queue_t             *q, *next;
    ngx_http_batch_chunk_t  *c;

    for (q = ngx_queue_head(&run->chunks);
         q != ngx_queue_sentinel(&run->chunks);
         q = next)
    {
        next = ngx_queue_next(q);

        c = ngx_queue_data(q, ngx_http_batch_chunk_t, sibling);

        /* due to be told, and so to hear the status */
        c->told_at = ngx_current_msec - NGX_HTTP_BATCH_LEASE;
        ngx_http_batch_chunk_tick(c);
    }
}


void
ngx_http_batch_chunk_beat(void)
{
    ngx_queue_t             *q, *next;
    ngx_http_batch_chunk_t  *c;

    ngx_http_batch_chunk_awake();

    for (q = ngx_queue_head(&ngx_http_batch_chunks);
         q != ngx_queue_sentinel(&ngx_http_batch_chunks);
         q = next)
    {
        next = ngx_queue_next(q);

        c = ngx_queue_data(q, ngx_http_batch_chunk_t, queue);
        ngx_http_batch_chunk_tick(c);
    }
}


static void
ngx_http_batch_chunk_tick(ngx_http_batch_chunk_t *c)
{
    ngx_msec_t  now;

    now = ngx_current_msec;

    if (c->nlines && c->run->stop && !c->aborted
        && now - c->run->stop_at >= NGX_HTTP_BATCH_GRACE)
    {
        ngx_http_batch_chunk_abort(c);
        return;
    }

    if (c->life == NGX_HTTP_BATCH_CHUNK_SEALED
        || c->life == NGX_HTTP_BATCH_CHUNK_RELEASING
        || c->life == NGX_HTTP_BATCH_CHUNK_RUNNING)
    {
        if (!c->telling && now - c->told_at >= NGX_HTTP_BATCH_TELL
            && (c->life != NGX_HTTP_BATCH_CHUNK_RUNNING
                || c->told != c->ok + c->failed
                || now - c->told_at >= NGX_HTTP_BATCH_LEASE / 4
                || c->nlines))
        {
            if (c->life == NGX_HTTP_BATCH_CHUNK_RUNNING || c->nlines) {
                ngx_http_batch_chunk_tell(c, NGX_HTTP_BATCH_CHUNK_RUN);
            }
        }

        ngx_http_batch_chunk_advance(c);
    }
}


static void
ngx_http_batch_chunk_tell(ngx_http_batch_chunk_t *c,
    ngx_http_batch_chunk_state_e state)
{
    if (c->telling) {
        return;
    }

    if (ngx_http_batch_index_run_chunk(c->run->id, c->chunk, c->epoch, state,
                                   c->ok, c->failed, c->sealed,
                                   NGX_HTTP_BATCH_LEASE,
                                   ngx_http_batch_chunk_told, c)
        != NGX_OK)
    {
        if (ngx_http_batch_turn_leaving()
            && state != NGX_HTTP_BATCH_CHUNK_RUN)
        {
            /* the lease runs out, and the seal is found by the next owner */
            c->life = NGX_HTTP_BATCH_CHUNK_GONE;
            ngx_http_batch_chunk_free(c);
        }

        return;
    }

    c->telling = 1;
    c->tell = state;
    c->told = c->ok + c->failed;
    c->told_at = ngx_current_msec;
}


static void
ngx_http_batch_chunk_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_chunk_t *c = data;

    ngx_http_batch_run_t  *run;

    run = c->run;
    c->telling = 0;

    if (rc == NGX_OK || rc == NGX_BUSY) {
        /* renewed; or the index is empty, and nobody can claim */
        c->leased_at = c->told_at;
    }

    if (rc == NGX_OK || rc == NGX_DECLINED) {

        /* without this chunk only an expiry can have led there */
        res->expired = (rc == NGX_OK && res->status == BATCH_FINALIZING
                        && c->tell == NGX_HTTP_BATCH_CHUNK_RUN);

        ngx_http_batch_run_status(run, res);

        if (rc == NGX_DECLINED) {
            c->lost = 1;
        }

        if (c->tell != NGX_HTTP_BATCH_CHUNK_RUN) {
            c->life = NGX_HTTP_BATCH_CHUNK_GONE;

            if (c->poisoned || c->pause) {
                /* what is wrong here will hardly be right at once */
                run->claim_after = ngx_current_msec
                                   + NGX_HTTP_BATCH_TROUBLE_PAUSE;

            } else {
                ngx_http_batch_run_hurry(run);
            }
        }

        ngx_http_batch_chunk_advance(c);
        return;
    }

    /* Redis went away; repeating is harmless: with the next tick */

    if (ngx_http_batch_turn_leaving()
        && c->tell != NGX_HTTP_BATCH_CHUNK_RUN)
    {
        c->life = NGX_HTTP_BATCH_CHUNK_GONE;
        ngx_http_batch_chunk_free(c);
    }
}


static void
ngx_http_batch_chunk_free(ngx_http_batch_chunk_t *c)
{
    ngx_http_batch_run_t    *run;
    ngx_http_batch_task_t   *task;
    ngx_http_batch_close_t  *cl, fds;

    if (c->telling || c->busy || c->reading || c->writing || c->nlines) {
        return;
    }

    ngx_http_batch_journal_discard(c);

    fds.fds[0] = c->input;
    fds.fds[1] = c->segment;

    if (c->input != NGX_INVALID_FILE || c->segment != NGX_INVALID_FILE) {
        task = ngx_http_batch_task_create(sizeof(ngx_http_batch_close_t),
                                          ngx_http_batch_chunk_close_run,
                                          ngx_http_batch_chunk_close_done);

        if (task) {
            cl = task->ctx;
            *cl = fds;
        }

        if (task == NULL || ngx_http_batch_task_post(task) != NGX_OK) {

            ngx_http_batch_chunk_close_run(&fds, ngx_cycle->log);

            if (task) {
                ngx_http_batch_task_free(task);
            }
        }
    }

    ngx_queue_remove(&c->queue);
    ngx_queue_remove(&c->sibling);

    run = c->run;
    run->refs--;
    ngx_http_batch_slot->chunks--;

    if (--run->nchunks == 0) {
        ngx_http_batch_pick_remove(run);
    }

    ngx_free(c->win);
    ngx_free(c->older);
    ngx_free(c->older_usage);
    ngx_free(c->picks);
    ngx_free(c);

    ngx_http_batch_turn_wake();
}


static void
ngx_http_batch_chunk_close_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_close_t *cl = ctx;

    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        if (cl->fds[i] != NGX_INVALID_FILE
            && ngx_close_file(cl->fds[i]) == NGX_FILE_ERROR)
        {
            ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                          ngx_close_file_n " of a chunk failed");
        }
    }
}


static void
ngx_http_batch_chunk_close_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_task_free(ngx_http_batch_task_of(ctx));
}
