
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Recovery, the index's half.
 *
 *   IDLE      the index was filled when last looked at; it is looked at now and
 *             then, because Redis can be emptied while the link stays up
 *                                                     -> ASKING
 *   ASKING    is it filled?  may we fill it?          -> IDLE, WAITING, READING
 *   WAITING   another worker fills it, or Redis or the disk is in trouble: ask
 *             again in a second                       -> ASKING
 *   READING   a task reads a portion of the store, or looks there for files
 *             that the index has                      -> SENDING
 *   SENDING   its objects go to Redis                 -> READING, SCANNING,
 *                                                        MARKING, WAITING
 *   SCANNING  all is there: what else has the index?  -> READING, SENDING
 *   MARKING   nothing that the store has not: the
 *             index is opened                         -> IDLE, WAITING
 *
 * A key whose name has the server's replication id in it marks the index as
 * filled.  It is therefore missing after a restart, which may have lost the
 * latest writes, and after a failover to a server that may never have had them.
 * Of such a stale index only deleted files are removed: all else only rises to
 * what the disk knows, and leases go on.
 *
 * Another worker may have filled the new server's index while this one was
 * still telling the old server of its work.  So a worker that changes servers
 * asks for an index whose filling began after the worker had left the old one.
 *
 * A worker that stays with its server may be wrong as well: another worker may
 * have been with another server, and may have died there.  So the workers of a
 * node share an era (slots.h), which ends when one of them is with another
 * server.  All of them then ask again for an index of the new one.  Until they
 * have done so, and have moved to that server, what their index says does not
 * count.
 */


#include "ngx_http_batch_recover.h"
#include "ngx_http_batch_turn.h"
#include "ngx_http_batch_index.h"
#include "ngx_http_batch_redis.h"
#include "ngx_http_batch_refill.h"
#include "ngx_http_batch_restore.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_task.h"


#define NGX_HTTP_BATCH_RECOVER_LEASE   10000    /* ms */
#define NGX_HTTP_BATCH_RECOVER_RENEW   3000     /* ms */
#define NGX_HTTP_BATCH_RECOVER_WAIT    1000     /* ms */
#define NGX_HTTP_BATCH_RECOVER_LOOK    2000     /* ms */
#define NGX_HTTP_BATCH_RECOVER_FLIGHT  64       /* commands not answered yet */


typedef enum {
    NGX_HTTP_BATCH_RECOVER_IDLE = 0,
    NGX_HTTP_BATCH_RECOVER_ASKING,
    NGX_HTTP_BATCH_RECOVER_WAITING,
    NGX_HTTP_BATCH_RECOVER_READING,
    NGX_HTTP_BATCH_RECOVER_SENDING,
    NGX_HTTP_BATCH_RECOVER_SCANNING,
    NGX_HTTP_BATCH_RECOVER_MARKING
} ngx_http_batch_recover_e;


/* context of the task, and of all commands */

typedef struct {
    ngx_http_batch_portion_t   portion;
    ngx_int_t                  rc;           /* of the last read */
    size_t                     item;         /* being sent */
    size_t                     step;         /* of the item */
    ngx_uint_t                 flight;       /* commands not answered yet */
    ngx_uint_t                 failed;       /* give up, ask again */
    ngx_msec_t                 begun;
    ngx_atomic_uint_t          era;          /* in which it was */
    int64_t                    cursor;       /* of the scan of the index */
    ngx_uint_t                 scanned;      /* all of it: its files (1),
                                                its batches (2) */
} ngx_http_batch_rebuild_t;


static void ngx_http_batch_recover_unlock(void);
static void ngx_http_batch_recover_ask(void);
static ngx_int_t ngx_http_batch_recover_check(void *data);
static int64_t ngx_http_batch_recover_since(ngx_atomic_uint_t era);
static void ngx_http_batch_recover_verified(ngx_atomic_uint_t era);
static void ngx_http_batch_recover_wait(void);
static void ngx_http_batch_recover_waited(ngx_event_t *ev);
static void ngx_http_batch_recover_checked(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_recover_locked(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_recover_renew(ngx_event_t *ev);
static void ngx_http_batch_recover_read(void *data, ngx_log_t *log);
static void ngx_http_batch_recover_have(void *data, ngx_log_t *log);
static void ngx_http_batch_recover_send(ngx_http_batch_rebuild_t *b);
static void ngx_http_batch_recover_gone(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_recover_sent(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_recover_scan(ngx_http_batch_rebuild_t *b);
static void ngx_http_batch_recover_scanned(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_recover_mark(ngx_http_batch_rebuild_t *b);
static void ngx_http_batch_recover_filled(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_recover_rest(ngx_http_batch_recover_e state,
    ngx_msec_t ms);
static void ngx_http_batch_recover_end(void);


static ngx_http_batch_recover_e    ngx_http_batch_recover_state;
static ngx_http_batch_rebuild_t   *ngx_http_batch_rebuild;

/* answers to older questions are not for us */
static uintptr_t    ngx_http_batch_recover_asked;

/* the server whose index this worker has found to be good; whether it has been
 * with another one since; until when that may have heard of its work */
static char         ngx_http_batch_recover_server[64];
static ngx_uint_t   ngx_http_batch_recover_astray;
static ngx_msec_t   ngx_http_batch_recover_at;

/* the era in which it was good */
static ngx_atomic_uint_t  ngx_http_batch_recover_era;

static ngx_event_t        ngx_http_batch_recover_wait_ev;
static ngx_event_t        ngx_http_batch_recover_renew_ev;



void
ngx_http_batch_recover_start(void)
{
    ngx_http_batch_turn_timer(&ngx_http_batch_recover_wait_ev,
                              ngx_http_batch_recover_waited, 1);
    ngx_http_batch_turn_timer(&ngx_http_batch_recover_renew_ev,
                              ngx_http_batch_recover_renew, 1);

    /* one that leaves may have an older configuration: it moves no other */

    if (!ngx_exiting) {
        ngx_http_batch_slots_era_begin(ngx_http_batch_index_era_name());
    }

    if (ngx_http_batch_rebuild == NULL) {
        ngx_http_batch_recover_ask();
        return;
    }

    /*
     * Begin again with this server.  The question is put all the same, for what
     * it does: before any other command of this worker it closes an index that
     * is not good enough.
     */

    ngx_http_batch_rebuild->failed = 1;

    (void) ngx_http_batch_recover_check(NULL);
}


void
ngx_http_batch_recover_down(void)
{
    ngx_http_batch_recover_at = ngx_current_msec;
}


void
ngx_http_batch_recover_leave(void)
{
    ngx_http_batch_rebuild_t  *b;

    b = ngx_http_batch_rebuild;

    /* what is under way, in a thread or in Redis, ends by itself */

    if (b && !b->failed
        && ngx_http_batch_recover_state != NGX_HTTP_BATCH_RECOVER_MARKING)
    {
        b->failed = 1;
        ngx_http_batch_recover_unlock();
    }
}


/* the next worker need not wait for the end of the lease */

static void
ngx_http_batch_recover_unlock(void)
{
    (void) ngx_http_batch_index_era_unlock(ngx_http_batch_worker_id, NULL,
                                           NULL);
}


ngx_uint_t
ngx_http_batch_recover_holds(void)
{
    return ngx_http_batch_rebuild != NULL;
}


void
ngx_http_batch_recover_exit(void)
{
    ngx_http_batch_turn_cancel(&ngx_http_batch_recover_wait_ev);

    if (ngx_http_batch_recover_state == NGX_HTTP_BATCH_RECOVER_READING) {

        /* a thread may still be at it; the process ends anyway */

        return;
    }

    ngx_http_batch_recover_end();

    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_IDLE;
}


static void
ngx_http_batch_recover_ask(void)
{
    ngx_http_batch_turn_cancel(&ngx_http_batch_recover_wait_ev);

    if (!ngx_http_batch_slots_era_is(ngx_http_batch_slots_era(),
                                     ngx_http_batch_index_era_name()))
    {
        /* where the others are is where the address leads by now */

        ngx_http_batch_link_leave("other workers are with another server");
        ngx_http_batch_recover_wait();
        return;
    }

    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_ASKING;
    ngx_http_batch_recover_asked++;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: is the index filled? era %xA, server \"%s\"",
                   ngx_http_batch_slots_era(), ngx_http_batch_link_server());

    /* the answer to this comes first; another server comes to start() */

    ngx_http_batch_link_server_look();

    if (ngx_http_batch_recover_check((void *) ngx_http_batch_recover_asked)
        != NGX_OK)
    {
        ngx_http_batch_recover_wait();
    }
}


/* commands that are sent after this one find an index that is good enough, or a
 * closed one */

static ngx_int_t
ngx_http_batch_recover_check(void *data)
{
    ngx_atomic_uint_t  era, was;

    era = ngx_http_batch_slots_era();
    was = ngx_http_batch_index_era;

    if (ngx_http_batch_slots_era_is(era, ngx_http_batch_index_era_name())) {
        ngx_http_batch_index_era = era;
    }

    if (ngx_http_batch_index_era_check(ngx_http_batch_recover_since(era),
                                       ngx_http_batch_recover_checked, data)
        != NGX_OK)
    {
        ngx_http_batch_index_era = was;
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * How long ago (ms) filling the index may have begun at most; -1: it is the
 * server that this worker has been with all the time, or its first one.  Also
 * who has been somewhere else only for a moment, and comes back, may have told
 * of its work there.  And in a new era others may have done so.
 */

static int64_t
ngx_http_batch_recover_since(ngx_atomic_uint_t era)
{
    int64_t  age, since;

    age = (era == ngx_http_batch_recover_era)
          ? -1 : ngx_http_batch_slots_era_age(era);

    if (ngx_http_batch_recover_server[0] == '\0') {
        return age;
    }

    if (ngx_strcmp(ngx_http_batch_recover_server,
                   ngx_http_batch_link_server())
        != 0)
    {
        ngx_http_batch_recover_astray = 1;
    }

    if (!ngx_http_batch_recover_astray) {
        return age;
    }

    since = (int64_t) (ngx_current_msec - ngx_http_batch_recover_at);

    return age < 0 ? since : ngx_min(age, since);
}


static void
ngx_http_batch_recover_verified(ngx_atomic_uint_t era)
{
    ngx_http_batch_recover_era = era;

    (void) ngx_cpystrn((u_char *) ngx_http_batch_recover_server,
                       (u_char *) ngx_http_batch_link_server(),
                       sizeof(ngx_http_batch_recover_server));

    ngx_http_batch_recover_astray = 0;
    ngx_http_batch_recover_at = ngx_current_msec;
}


static void
ngx_http_batch_recover_wait(void)
{
    ngx_http_batch_recover_rest(NGX_HTTP_BATCH_RECOVER_WAITING,
                                NGX_HTTP_BATCH_RECOVER_WAIT);
}


static void
ngx_http_batch_recover_waited(ngx_event_t *ev)
{
    if (!ngx_exiting) {
        ngx_http_batch_recover_ask();
    }
}


static void
ngx_http_batch_recover_checked(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (ngx_http_batch_recover_state != NGX_HTTP_BATCH_RECOVER_ASKING
        || (uintptr_t) data != ngx_http_batch_recover_asked)
    {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: index is %s",
                   rc == NGX_OK ? "filled" : rc == NGX_BUSY ? "not filled"
                                                            : "not known");

    if (rc == NGX_OK) {
        ngx_http_batch_recover_verified(ngx_http_batch_index_era);
        ngx_http_batch_recover_rest(NGX_HTTP_BATCH_RECOVER_IDLE,
                                    NGX_HTTP_BATCH_RECOVER_LOOK);
        return;
    }

    if (rc != NGX_BUSY
        || ngx_http_batch_index_era_lock(NGX_HTTP_BATCH_RECOVER_LEASE,
                                         ngx_http_batch_recover_locked,
                                         data)
           != NGX_OK)
    {
        ngx_http_batch_recover_wait();
    }
}


static void
ngx_http_batch_recover_locked(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_rebuild_t  *b;

    if (ngx_http_batch_recover_state != NGX_HTTP_BATCH_RECOVER_ASKING
        || (uintptr_t) data != ngx_http_batch_recover_asked)
    {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: lock of the rebuild was asked for: %i", rc);

    if (rc == NGX_OK && ngx_exiting) {
        ngx_http_batch_recover_unlock();
    }

    if (rc != NGX_OK || ngx_exiting) {
        ngx_http_batch_recover_wait();
        return;
    }

    b = ngx_http_batch_task_create(sizeof(ngx_http_batch_rebuild_t),
                                   ngx_http_batch_recover_read,
                                   ngx_http_batch_recover_have);
    if (b == NULL) {
        ngx_http_batch_recover_wait();
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "batch: index is missing or stale, rebuilding it from disk");

    b->begun = ngx_current_msec;
    b->era = ngx_http_batch_index_era;
    ngx_http_batch_rebuild = b;

    if (ngx_http_batch_task_post(b) != NGX_OK) {
        ngx_http_batch_recover_wait();
        return;
    }

    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_READING;

    ngx_add_timer(&ngx_http_batch_recover_renew_ev,
                  NGX_HTTP_BATCH_RECOVER_RENEW);
}


/* from a timer, so that a slow disk does not lose us the lock */

static void
ngx_http_batch_recover_renew(ngx_event_t *ev)
{
    ngx_http_batch_rebuild_t  *b;

    b = ngx_http_batch_rebuild;

    if (b == NULL || b->failed || ngx_exiting) {
        return;
    }

    if (ngx_http_batch_index_era_renew(NGX_HTTP_BATCH_RECOVER_LEASE,
                                       ngx_http_batch_recover_sent, b)
        != NGX_OK)
    {
        b->failed = 1;
        return;
    }

    b->flight++;

    ngx_add_timer(ev, NGX_HTTP_BATCH_RECOVER_RENEW);
}


/* in a thread */

static void
ngx_http_batch_recover_read(void *data, ngx_log_t *log)
{
    ngx_http_batch_rebuild_t  *b = data;

    b->rc = b->portion.end ? ngx_http_batch_restore_ghosts(&b->portion, log)
                           : ngx_http_batch_restore_read(&b->portion, log);
}


static void
ngx_http_batch_recover_have(void *data, ngx_log_t *log)
{
    ngx_http_batch_rebuild_t  *b = data;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %uz objects for the index%s: %i", b->portion.n,
                   b->portion.end ? ", the store is read" : "", b->rc);

    if (b->rc != NGX_OK || ngx_exiting) {
        b->failed = 1;
    }

    b->item = 0;
    b->step = 0;

    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_SENDING;

    ngx_http_batch_recover_send(b);
}


/* sends what may be sent, and goes on when all of the portion is answered */

static void
ngx_http_batch_recover_send(ngx_http_batch_rebuild_t *b)
{
    ngx_int_t  rc;

    while (!b->failed && b->item < b->portion.n
           && b->flight < NGX_HTTP_BATCH_RECOVER_FLIGHT)
    {
        rc = ngx_http_batch_refill(&b->portion.items[b->item], &b->step,
                                   ngx_http_batch_recover_sent,
                                   ngx_http_batch_recover_gone, b);

        if (rc == NGX_DONE) {
            b->item++;
            b->step = 0;

        } else if (rc == NGX_OK) {
            b->flight++;

        } else {
            b->failed = 1;
        }
    }

    if (b->flight) {
        return;
    }

    if (b->failed) {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "batch: rebuild of the index is given up");
        ngx_http_batch_recover_wait();
        return;
    }

    if (b->item < b->portion.n) {
        return;
    }

    ngx_http_batch_restore_items_free(&b->portion);

    if (!b->portion.end) {

        if (ngx_http_batch_task_post(b) != NGX_OK) {
            ngx_http_batch_recover_wait();
            return;
        }

        ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_READING;
        return;
    }

    if (b->scanned < 2) {
        ngx_http_batch_recover_scan(b);
        return;
    }

    ngx_http_batch_recover_mark(b);
}


/*
 * An index that is older than the store may have what has been deleted
 * since.  Their tombstones may be gone, too, so the index is gone through.
 */

static void
ngx_http_batch_recover_scan(ngx_http_batch_rebuild_t *b)
{
    ngx_int_t  rc;

    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_SCANNING;

    rc = b->scanned
         ? ngx_http_batch_index_batch_scan(b->cursor,
                                           ngx_http_batch_recover_scanned, b)
         : ngx_http_batch_index_file_scan(b->cursor,
                                          ngx_http_batch_recover_scanned, b);

    if (rc != NGX_OK) {
        ngx_http_batch_recover_wait();
        return;
    }

    b->flight++;
}


static void
ngx_http_batch_recover_scanned(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_rebuild_t  *b = data;

    if (b != ngx_http_batch_rebuild) {
        return;
    }

    b->flight--;

    if (rc != NGX_OK
        || ngx_http_batch_restore_suspect(&b->portion, res->items, res->n,
                                          b->scanned, ngx_cycle->log)
           != NGX_OK)
    {
        b->failed = 1;
    }

    b->cursor = res->cursor;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %uz %s of the index to look for%s", res->n,
                   b->scanned ? "batches" : "files",
                   b->cursor ? "" : ", the last ones");

    if (b->cursor == 0) {
        b->scanned++;
    }

    if (!b->failed && b->portion.n) {

        if (ngx_http_batch_task_post(b) == NGX_OK) {
            ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_READING;
            return;
        }

        b->failed = 1;
    }

    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_SENDING;

    ngx_http_batch_recover_send(b);
}


static void
ngx_http_batch_recover_mark(ngx_http_batch_rebuild_t *b)
{
    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_MARKING;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: index has all of the store, begun %M ms ago, era"
                   " %xA", ngx_current_msec - b->begun, b->era);

    /* with the index opened the lock is gone, and renewing it would fail */

    ngx_http_batch_turn_cancel(&ngx_http_batch_recover_renew_ev);

    /* what was told to another server meanwhile may not have been read */

    if (b->era != ngx_http_batch_slots_era()
        || ngx_http_batch_index_era_filled(
                                  (int64_t) (ngx_current_msec - b->begun),
                                           ngx_http_batch_recover_filled, b)
           != NGX_OK)
    {
        ngx_http_batch_recover_wait();
    }
}


/* also if it was not there any more */

static void
ngx_http_batch_recover_gone(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_recover_sent(data, rc == NGX_DECLINED ? NGX_OK : rc, res);
}


static void
ngx_http_batch_recover_sent(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_rebuild_t  *b = data;

    if (b != ngx_http_batch_rebuild) {
        return;
    }

    /* DECLINED: a batch unknown right after it was restored, or the lock of the
     * rebuild is lost: Redis was emptied under us */

    if (rc != NGX_OK) {
        b->failed = 1;
    }

    b->flight--;

    if (ngx_http_batch_recover_state == NGX_HTTP_BATCH_RECOVER_SENDING) {
        ngx_http_batch_recover_send(b);
    }
}


static void
ngx_http_batch_recover_filled(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (ngx_http_batch_recover_state != NGX_HTTP_BATCH_RECOVER_MARKING) {
        return;
    }

    if (rc != NGX_OK || ngx_http_batch_rebuild->failed) {
        ngx_http_batch_recover_wait();
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "batch: index is rebuilt");

    ngx_http_batch_recover_verified(ngx_http_batch_rebuild->era);

    ngx_http_batch_recover_rest(NGX_HTTP_BATCH_RECOVER_IDLE,
                                NGX_HTTP_BATCH_RECOVER_LOOK);
}


static void
ngx_http_batch_recover_rest(ngx_http_batch_recover_e state, ngx_msec_t ms)
{
    ngx_http_batch_recover_end();

    ngx_http_batch_recover_state = state;

    if (!ngx_exiting) {
        ngx_add_timer(&ngx_http_batch_recover_wait_ev, ms);
    }
}


/* no thread is at it; late answers find another rebuild, or none */

static void
ngx_http_batch_recover_end(void)
{
    ngx_http_batch_rebuild_t  *b;

    ngx_http_batch_turn_cancel(&ngx_http_batch_recover_renew_ev);

    b = ngx_http_batch_rebuild;

    if (b) {
        ngx_http_batch_rebuild = NULL;

        ngx_http_batch_restore_free(&b->portion);
        ngx_http_batch_task_free(b);
    }
}
