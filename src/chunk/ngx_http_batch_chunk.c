/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The life of a chunk that this worker has claimed; its states are at
 * ngx_http_batch_chunk_life_e.  Every event (a line has ended, a task is done,
 * the index has answered, a beat) ends in ngx_http_batch_chunk_advance(), which
 * does what the state allows next.
 */

#include "ngx_http_batch_chunk.h"
#include "ngx_http_batch_line.h"
#include "ngx_http_batch_pick.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"


typedef struct {
    ngx_fd_t                       fds[2];    /* input, segment */
} ngx_http_batch_chunk_close_t;


#define NGX_HTTP_BATCH_TROUBLE_PAUSE   5000    /* ms before the next claim */
#define NGX_HTTP_BATCH_TELL            250     /* ms between counts */
#define NGX_HTTP_BATCH_GRACE           5000    /* ms that lines in flight have
                                                  after a cancel or an expiry */
#define NGX_HTTP_BATCH_PENDING_MAX     (32 * 1024 * 1024)    /* bytes that wait
                                                  for the disk; no line starts
                                                  beyond */


static uint32_t ngx_http_batch_chunk_rest(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_awake(void);
static ngx_int_t ngx_http_batch_chunk_line(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_abort(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_tick(ngx_http_batch_chunk_t *c);
static ngx_uint_t ngx_http_batch_chunk_due(ngx_http_batch_chunk_t *c);
static ngx_uint_t ngx_http_batch_chunk_running(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_release(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_tell(ngx_http_batch_chunk_t *c,
    ngx_http_batch_chunk_state_e state);
static void ngx_http_batch_chunk_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_chunk_free(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_close_run(void *ctx, ngx_log_t *log);


ngx_queue_t  ngx_http_batch_chunks;

static ngx_msec_t  ngx_http_batch_chunk_seen;      /* awake last */
static ngx_msec_t  ngx_http_batch_chunk_woken;     /* after a sleep */
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


/* one chunk is walked to its end before the next one is begun */

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


/* requests not yet started; of a chunk that is not open yet, as far as it is
 * known */

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
 * A worker may be stopped anywhere, also in the middle of a turn of the event
 * loop: so the time is taken anew, nginx's is that of the turn's beginning.
 * The beat comes 20 times a second; after half a lease without one the worker
 * has slept.
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
 * A worker that has slept wakes up with chunks that may be another's by now: no
 * line is sent on a lease that may have run out.  If Redis is gone, nobody else
 * can claim the chunk, and lines go on; but after a sleep a broken link says
 * nothing about Redis, as it was we who did not answer.
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
        || !ngx_http_batch_line_room(c->need)
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

    c->need = ngx_http_batch_line_room(len) ? 0 : len;

    if (c->need) {

        /* it is walked again when one of the large lines in flight has ended */

        c->win_pos = pos;
        c->line = number;
        c->walked--;

        return NGX_DECLINED;
    }

    if (c->nlines == 0) {
        ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "batch: %s, chunk %uD: lines start at line %uL,"
                       " request %uD", c->run->id, c->chunk, number, c->walked);
    }

    if (ngx_http_batch_line_start(c, p, len, number) != NGX_OK) {

        /* it is walked again later */

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
    if (ngx_http_batch_whole_end(c) != NGX_OK) {
        ngx_http_batch_journal_flush(c, force);
    }
}


void
ngx_http_batch_chunk_poison(ngx_http_batch_chunk_t *c, const char *why)
{
    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, chunk %uD: poisoned: %s",
                   c->run->id, c->chunk, why);

    c->poisoned = 1;
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
 * Nothing more will come, so the journal does not wait for a full group.  In
 * the middle of a chunk it does: that no line is in flight there is only the
 * end of a turn, and a group for each turn would be a sync for a few lines.
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

        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "batch: %s, chunk %uD: to be released, %ui in flight",
                       c->run->id, c->chunk, c->nlines);

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


/* 0: the chunk has to be given back */

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
        /* what they bring cannot be kept; it calls this again */
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
 * Lines remove themselves from the list; one whose request is blocked by a
 * thread stays, and ends when the thread is done.
 */

static void
ngx_http_batch_chunk_abort(ngx_http_batch_chunk_t *c)
{
    ngx_queue_t            *q, *next;
    ngx_http_batch_line_t  *line;

    if (c->aborted) {
        return;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, chunk %uD: %ui lines in flight are cut",
                   c->run->id, c->chunk, c->nlines);

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

        c->due = 1;
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
    if (c->nlines && c->run->stop && !c->aborted
        && ngx_current_msec - c->run->stop_at >= NGX_HTTP_BATCH_GRACE)
    {
        ngx_http_batch_chunk_abort(c);
        return;
    }

    if (ngx_http_batch_chunk_due(c)) {
        ngx_http_batch_chunk_tell(c, NGX_HTTP_BATCH_CHUNK_RUN);
    }

    ngx_http_batch_chunk_advance(c);
}


/* is it time to renew the lease, tell counts, hear the status? */

static ngx_uint_t
ngx_http_batch_chunk_due(ngx_http_batch_chunk_t *c)
{
    ngx_msec_t  since;

    if (c->life != NGX_HTTP_BATCH_CHUNK_RUNNING
        && (c->life != NGX_HTTP_BATCH_CHUNK_RELEASING || c->nlines == 0))
    {
        return 0;
    }

    since = ngx_current_msec - c->told_at;

    return c->due
           || since >= NGX_HTTP_BATCH_LEASE / 4
           || (since >= NGX_HTTP_BATCH_TELL
               && (c->nlines || c->told != c->ok + c->failed));
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
    c->due = 0;
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

    ngx_log_debug6(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, chunk %uD: told %s, %uL answered, %uL failed:"
                   " rc %i", run->id, c->chunk,
                   c->tell == NGX_HTTP_BATCH_CHUNK_DONE ? "done"
                   : c->tell == NGX_HTTP_BATCH_CHUNK_RELEASE ? "released"
                   : "counts", c->ok, c->failed, rc);

    if (rc == NGX_OK || rc == NGX_BUSY) {
        /* renewed; or the index is being filled, and nobody can claim */
        c->leased_at = c->told_at;
    }

    if (rc == NGX_OK || rc == NGX_DECLINED) {

        /* as this chunk is not done, only an expiry can have led there */
        res->expired = (rc == NGX_OK && res->status == BATCH_FINALIZING
                        && c->tell == NGX_HTTP_BATCH_CHUNK_RUN);

        ngx_http_batch_run_status(run, res);

        if (rc == NGX_DECLINED) {
            ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                           "batch: %s, chunk %uD: lease of epoch %uD is lost",
                           run->id, c->chunk, c->epoch);
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

    /* Redis went away; the next beat tells it again, which does no harm */

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
    ngx_http_batch_run_t          *run;
    ngx_http_batch_chunk_close_t  *cl, fds;

    if (c->telling || c->busy || c->reading || c->writing || c->nlines) {
        return;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, chunk %uD: freed, epoch %uD",
                   c->run->id, c->chunk, c->epoch);

    ngx_http_batch_journal_discard(c);

    fds.fds[0] = c->input;
    fds.fds[1] = c->segment;

    if (c->input != NGX_INVALID_FILE || c->segment != NGX_INVALID_FILE) {
        cl = ngx_http_batch_task_create(sizeof(ngx_http_batch_chunk_close_t),
                                        ngx_http_batch_chunk_close_run, NULL);

        if (cl) {
            *cl = fds;
        }

        if (cl == NULL || ngx_http_batch_task_start(cl) != NGX_OK) {
            ngx_http_batch_chunk_close_run(&fds, ngx_cycle->log);
        }
    }

    ngx_queue_remove(&c->queue);
    ngx_queue_remove(&c->sibling);

    run = c->run;
    run->refs--;
    run->owner->held--;
    ngx_http_batch_slot->chunks--;

    if (--run->nchunks == 0) {
        ngx_http_batch_pick_remove(run);
    }

    ngx_http_batch_window_free(c);
    ngx_free(c->older);
    ngx_free(c->older_usage);
    ngx_free(c->picks);
    ngx_free(c);

    ngx_http_batch_turn_wake();
}


static void
ngx_http_batch_chunk_close_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_chunk_close_t *cl = ctx;

    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        if (cl->fds[i] != NGX_INVALID_FILE
            && ngx_close_file(cl->fds[i]) == NGX_FILE_ERROR)
        {
            ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                          "batch: " ngx_close_file_n " of a chunk's file"
                          " failed");
        }
    }
}
