/*
 * What the workers of this node tell each other, in shared memory: how many
 * lines each has in flight per lane, and counters for the status page.
 *
 * One slot per process, indexed by ngx_process_slot (unique among live
 * processes, also while old and new workers overlap in a reload).  Only its
 * owner writes a slot, everybody reads; init_process zeroes it, so the gauges
 * of a worker that was killed end when its successor starts.  Plain aligned
 * words: no lock is ever held.
 */

#ifndef _NGX_HTTP_BATCH_SLOTS_H_INCLUDED_
#define _NGX_HTTP_BATCH_SLOTS_H_INCLUDED_

#include "ngx_http_batch.h"

#define NGX_HTTP_BATCH_SLOTS    NGX_MAX_PROCESSES
#define NGX_HTTP_BATCH_ROUTES   16      /* locations with batch_api */

/* A lane is what has a limit of lines in flight: a route; behind the routes, a
 * job. */
#define NGX_HTTP_BATCH_LANES    (NGX_HTTP_BATCH_ROUTES + NGX_HTTP_BATCH_JOBS_MAX)

typedef struct {
    ngx_atomic_t   inflight[NGX_HTTP_BATCH_LANES];
    ngx_atomic_t   want[NGX_HTTP_BATCH_LANES];    /* has lines, may not start */
    ngx_atomic_t   reserved[NGX_HTTP_BATCH_LANES];   /* about to start one */
    ngx_atomic_t   pid;
    ngx_atomic_t   beat;             /* ngx_current_msec, when it last lived */
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
 * Redis' clock by ours, ngx_current_msec, as this node's workers have last seen
 * it: each keeps its own, and writes it down here for those that begin.
 */
typedef struct {
    ngx_atomic_t   known;
    ngx_atomic_t   moved;            /* it has been set, at moved_at */
    ngx_msec_t     moved_at;
    int64_t        ahead;            /* ms */
} ngx_http_batch_clock_t;

/*
 * Configuration time: adds the zone.  nginx calls ready() when the whole
 * configuration is read, also for nginx -t; if it fails, the configuration is
 * refused, and a reload leaves the running one alone.
 */
ngx_int_t ngx_http_batch_slots_add(ngx_conf_t *cf, ngx_int_t (*ready)(void));

/* init_process: this worker's slot is zeroed and live */
ngx_int_t ngx_http_batch_slots_init(ngx_cycle_t *cycle);
/* exit_process.  holds = 1: others have something to take over, as of a worker
 * that has died */
void ngx_http_batch_slots_exit(ngx_uint_t holds);

/* this worker is not stuck; to be called many times a second */
void ngx_http_batch_slots_beat(void);

/* this worker's slot; never NULL after init */
extern ngx_http_batch_slot_t  *ngx_http_batch_slot;

/* a worker that has not beaten for as long as a lease lasts counts as nothing:
 * others run its lines by then */
ngx_uint_t ngx_http_batch_slots_asleep(ngx_http_batch_slot_t *slot);

/* worker processes of this node, as configured */
extern ngx_uint_t  ngx_http_batch_slots_workers;

/*
 * Workers that have died without a word: of this node, or any that dead() was
 * told of.  Each is told to every worker, again and again, until one says that
 * all has been done that its death asks for: who was about to do it may die as
 * well.
 *
 * 1, the id of one and how long it has been known to be dead, in ms: *i starts
 * at 0.  0: no more.
 */
ngx_uint_t ngx_http_batch_slots_died(ngx_uint_t *i,
    char owner[NGX_HTTP_BATCH_WORKER_ID], ngx_msec_t *age);
/* nothing happens if it is known, or too many are: to be called again then */
void ngx_http_batch_slots_dead(const char *owner);
void ngx_http_batch_slots_buried(const char *owner);

/* in the zone; never NULL after init */
extern ngx_http_batch_clock_t  *ngx_http_batch_slots_clock;

/* A count that changes when workers of this node may find something to claim:
 * tell() changes it. */
extern ngx_atomic_t  *ngx_http_batch_slots_news;
void ngx_http_batch_slots_tell(void);

/*
 * With which Redis this node's workers are.  An era begins when one of them
 * comes to another one than that of the last era; what is known of the older
 * eras' is not to be trusted, since something may have been told to another one
 * meanwhile, also by workers that are no more.  Eras survive reloads and dead
 * workers, not the master.  0: none has been with any.
 *
 * begin(): this worker is with the Redis of that name (a hash); no new era if
 * it is the present one's.
 */
ngx_atomic_uint_t ngx_http_batch_slots_era(void);
void ngx_http_batch_slots_era_begin(uint32_t name);
ngx_uint_t ngx_http_batch_slots_era_is(ngx_atomic_uint_t era, uint32_t name);
/* how long ago it began, in ms; -1: it is the first one */
int64_t ngx_http_batch_slots_era_age(ngx_atomic_uint_t era);

/*
 * All live slots in turn: NULL ends.  *i starts at 0.  Which are live costs a
 * system call each; recent() asks again only after 200 ms, or if a process was
 * born since.
 */
ngx_http_batch_slot_t *ngx_http_batch_slots_next(ngx_uint_t *i);
ngx_http_batch_slot_t *ngx_http_batch_slots_recent(ngx_uint_t *i);

#endif
