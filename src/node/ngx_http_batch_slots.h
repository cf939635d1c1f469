/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the workers of a node tell each other in shared memory: how many lines
 * each has in flight per lane, counters for the status page, which workers have
 * died, which Redis the node uses.
 *
 * There is one slot per process, indexed by ngx_process_slot, which is unique
 * among live processes, also while old and new workers overlap in a reload.
 * Only its owner writes a slot, everybody reads it.  init_process zeroes it, so
 * the gauges of a killed worker end when its successor starts.  All fields are
 * aligned words; no lock is ever held.
 */

#ifndef _NGX_HTTP_BATCH_SLOTS_H_INCLUDED_
#define _NGX_HTTP_BATCH_SLOTS_H_INCLUDED_

#include "ngx_http_batch.h"

#define NGX_HTTP_BATCH_SLOTS    NGX_MAX_PROCESSES
#define NGX_HTTP_BATCH_ROUTES   16      /* locations with batch_api */

/* a lane has a limit of lines in flight: first the routes, then the jobs */
#define NGX_HTTP_BATCH_LANES    (NGX_HTTP_BATCH_ROUTES                        \
                                 + NGX_HTTP_BATCH_JOBS_MAX)

typedef struct {
    ngx_atomic_t   inflight[NGX_HTTP_BATCH_LANES];
    ngx_atomic_t   want[NGX_HTTP_BATCH_LANES];    /* since when it has lines
                                                     that may not start, ms;
                                                     0: it has none */
    ngx_atomic_t   reserved[NGX_HTTP_BATCH_LANES];   /* is about to start one */
    ngx_atomic_t   pid;
    ngx_atomic_t   beat;             /* ngx_current_msec of its last beat */
    char           owner[NGX_HTTP_BATCH_WORKER_ID];  /* of its leases */
    ngx_atomic_t   chunks;           /* gauge: claimed chunks */
    ngx_atomic_t   redis;            /* gauge: 1 = the link is ready */
    ngx_atomic_t   started;          /* attempts sent */
    ngx_atomic_t   retried;          /* attempts after the first */
    ngx_atomic_t   completed;        /* lines that ended in the output file */
    ngx_atomic_t   failed;           /* lines that ended in the error file */
    ngx_atomic_t   claimed;          /* chunks claimed, ever */
    ngx_atomic_t   finalized;        /* batches finalized here */
    ngx_atomic_t   hooks_pending;    /* gauge: webhooks, when last asked for */
    ngx_atomic_t   hooks_delivered;
    ngx_atomic_t   hooks_failed;     /* attempts */
    ngx_atomic_t   hooks_given_up;
} ngx_http_batch_slot_t;

/*
 * Redis' clock relative to ours (ngx_current_msec), as this node's workers have
 * last seen it.  Each worker keeps its own copy, and writes it here for workers
 * that start later.
 */
typedef struct {
    ngx_atomic_t   known;
    ngx_atomic_t   moved;            /* somebody set it, at moved_at */
    ngx_msec_t     moved_at;
    int64_t        ahead;            /* ms */
} ngx_http_batch_clock_t;

/*
 * Adds the zone at configuration time.  nginx calls ready() once it has read
 * the whole configuration, also for nginx -t.  If ready() fails, the
 * configuration is refused, and a reload keeps the running one.
 */
ngx_int_t ngx_http_batch_slots_add(ngx_conf_t *cf, ngx_int_t (*ready)(void));

/* init_process: zeroes this worker's slot and makes it live */
ngx_int_t ngx_http_batch_slots_init(ngx_cycle_t *cycle);
/* exit_process.  holds = 1: other workers take over what this one holds, as if
 * it had died */
void ngx_http_batch_slots_exit(ngx_uint_t holds);

/* tells the others that this worker is not stuck; many times a second */
void ngx_http_batch_slots_beat(void);

/* this worker's slot; never NULL after init */
extern ngx_http_batch_slot_t  *ngx_http_batch_slot;

/* 1: the worker has not beaten for as long as a lease lasts.  Its lines are
 * other workers' by then, so it does not count */
ngx_uint_t ngx_http_batch_slots_asleep(ngx_http_batch_slot_t *slot);

/* worker processes of this node, as configured */
extern ngx_uint_t  ngx_http_batch_slots_workers;

/*
 * Workers that died without giving back what they held: of this node, or any
 * that dead() was called for.  Every worker is told of each, again and again,
 * until one of them calls buried(): the worker that was about to free its
 * leases may die as well.
 *
 * Returns 1, an id, and for how long it has been known to be dead, in ms; *i
 * starts at 0.  Returns 0 after the last one.
 */
ngx_uint_t ngx_http_batch_slots_died(ngx_uint_t *i,
    char owner[NGX_HTTP_BATCH_WORKER_ID], ngx_msec_t *age);
/* does nothing if the worker is known already, or if too many are: the caller
 * calls it again then */
void ngx_http_batch_slots_dead(const char *owner);
void ngx_http_batch_slots_buried(const char *owner);

/* both in the zone; never NULL after init */
extern ngx_http_batch_clock_t  *ngx_http_batch_slots_clock;

/* a count; tell() changes it when workers of this node may find something to
 * claim */
extern ngx_atomic_t  *ngx_http_batch_slots_news;
void ngx_http_batch_slots_tell(void);

/*
 * Which Redis this node's workers use.  An era begins when one of them connects
 * to a server other than the last era's.  An index of an older era is not
 * trusted, since workers, also dead ones, may have told another server
 * something in the meantime.  Eras survive reloads and dead workers, but not
 * the master.  0: no worker has been connected yet.
 *
 * begin(): this worker is connected to the server of that name (a hash).  There
 * is no new era if it is the present one's.
 */
ngx_atomic_uint_t ngx_http_batch_slots_era(void);
void ngx_http_batch_slots_era_begin(uint32_t name);
ngx_uint_t ngx_http_batch_slots_era_is(ngx_atomic_uint_t era, uint32_t name);
/* how long ago the era began, in ms; -1: it is the first one */
int64_t ngx_http_batch_slots_era_age(ngx_atomic_uint_t era);

/*
 * 1: the advice (a hash of what it is about) is to be logged: it was not the
 * last one of this node, since its master started.
 */
ngx_uint_t ngx_http_batch_slots_advise(uint32_t what);

/*
 * All live slots in turn: NULL ends.  *i starts at 0.  Which are live costs a
 * system call each; recent() asks again only after 200 ms, or if a process was
 * born since.
 */
ngx_http_batch_slot_t *ngx_http_batch_slots_next(ngx_uint_t *i);
ngx_http_batch_slot_t *ngx_http_batch_slots_recent(ngx_uint_t *i);

#endif
