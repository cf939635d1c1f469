/*
 * The run of a batch in one worker.
 *
 *   runs       which batches there are
 *   dispatch   claims, starts lines
 *   budget     how many more lines may start now
 *   open       a claimed chunk: what the disk knows of it
 *   chunk      its life; window: the part of the input it looks through
 *   journal    the chunk's segment: group commit, seal
 *   line       one line: attempts, deadline, end
 *   attempt    fake request, subrequest; capture: the filters, the variables
 *   answer     what the line's output is: captured body -> finished line;
 *              spool: the front of a large one
 *   routed     settings of the location that a batch came in by
 *   job        validation and finalizing; sweep: what has expired
 */

#ifndef _NGX_HTTP_BATCH_RUN_H_INCLUDED_
#define _NGX_HTTP_BATCH_RUN_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_index.h"
#include "ngx_http_batch_plan.h"
#include "ngx_http_batch_slots.h"
#include "batch_crc32c.h"


#define NGX_HTTP_BATCH_LEASE          10000     /* ms */
#define NGX_HTTP_BATCH_TELL           250       /* ms between counts */
#define NGX_HTTP_BATCH_GRACE          5000      /* ms; lines in flight after a
                                                   cancel or an expiry */
#define NGX_HTTP_BATCH_TURN           32        /* starts per event-loop turn */
#define NGX_HTTP_BATCH_WINDOW         (256 * 1024)
#define NGX_HTTP_BATCH_ANSWER_MAX     (BATCH_RECORD_MAX - 1024 * 1024) /* bytes,
                                                         as received and as
                                                         kept */
#define NGX_HTTP_BATCH_SPOOL_SIZE     (256 * 1024)    /* of an answer that is
                                                         kept in memory */
#define NGX_HTTP_BATCH_SPOOL_AHEAD    (1024 * 1024)   /* ... that is on its way
                                                         to the spool */
#define NGX_HTTP_BATCH_HEAD_MAX       4096      /* of an answer that is no JSON */

#define NGX_HTTP_BATCH_TMP_AGE        (24 * 3600)   /* s; a file in tmp/ that is
                                                       open stays anyhow, on a
                                                       filesystem with locks */
#define NGX_HTTP_BATCH_META_MAX       (1024 * 1024)   /* batch.json, bytes */

#define NGX_HTTP_BATCH_COMMIT_N       256       /* records */
#define NGX_HTTP_BATCH_COMMIT_SIZE    (256 * 1024)
#define NGX_HTTP_BATCH_COMMIT_MS      10
#define NGX_HTTP_BATCH_PENDING_MAX    (32 * 1024 * 1024)


typedef struct ngx_http_batch_run_s    ngx_http_batch_run_t;
typedef struct ngx_http_batch_chunk_s  ngx_http_batch_chunk_t;
typedef struct ngx_http_batch_line_s   ngx_http_batch_line_t;
typedef struct ngx_http_batch_attempt_s  ngx_http_batch_attempt_t;
typedef struct ngx_http_batch_entry_s  ngx_http_batch_entry_t;
typedef struct ngx_http_batch_spool_s  ngx_http_batch_spool_t;


/*
 * A batch as this worker knows it.  Allocated and freed by runs (ngx_calloc);
 * chunks and jobs point to it and count in refs; it goes when it
 * is no longer active and refs is 0.
 */

struct ngx_http_batch_run_s {
    ngx_queue_t                   queue;          /* ngx_http_batch_runs */
    ngx_uint_t                    refs;
    char                          id[BATCH_ID_LEN];

    /* from batch.json and plan.json, by the first chunk's open task */
    ngx_uint_t                    loaded;
    ngx_http_batch_meta_t         meta;           /* strings in root */
    json_t                       *root;
    ngx_http_batch_plan_t         plan;
    ngx_http_batch_loc_conf_t    *conf;           /* the route's */
    ngx_uint_t                    route;          /* its index, a lane */
    ngx_http_batch_job_conf_t    *jcf;            /* the job's, or NULL */
    ngx_uint_t                    job_lane;       /* if jcf */
    ngx_str_t                     pass;           /* the job's or the route's */
    ngx_uint_t                    lane;           /* whose upstream: the job's
                                                     if it has its own pass */
    ngx_uint_t                    held;           /* the lane that was full */
    ngx_uint_t                    priority;       /* 0..9 */
    ngx_str_t                     uri;            /* pass + endpoint */
    ngx_str_t                     request_line;   /* for logs; both ngx_alloc()ed
                                                     in one block */

    ngx_uint_t                    stop;           /* cancelling or expired */
    ngx_msec_t                    stop_at;

    ngx_uint_t                    seen;           /* in the last active list */
    ngx_uint_t                    known;          /* named before */
    ngx_msec_t                    claim_after;    /* nothing free before */
    ngx_msec_t                    claimed_at;     /* the last claim was sent */
    ngx_uint_t                    pauses;         /* claims in vain, in a row */
    ngx_uint_t                    hurried;        /* since the claim was sent */
    ngx_uint_t                    starved;        /* of a job, all are taken */
    ngx_uint_t                    unplanned;      /* as far as is known: only a
                                                     job can do anything */
    ngx_uint_t                    claiming;
    ngx_uint_t                    idle;           /* ... with no chunk here */
    ngx_uint_t                    unrouted;       /* that its location is gone
                                                     was said */
    ngx_uint_t                    jobs;           /* ... with room for a job */
    ngx_uint_t                    job;            /* a job is under way */
    ngx_uint_t                    nchunks;        /* held by this worker */
    uint32_t                      planned;        /* chunks of the batch, 0 = not
                                                     known */
    ngx_uint_t                    starts;         /* of lines, in this tick */
    ngx_uint_t                    pace;           /* and in the one before */
    ngx_uint_t                    round;          /* that it got lines in */
    char                          nonce[17];      /* of the claim under way; it
                                                     is kept while the outcome
                                                     is unknown */
};


/*
 *   state      means                                  goes to
 *   OPENING    task: plan, input, older segments,     RUNNING, SEALED (one was
 *              own segment                            there), RELEASING
 *   RUNNING    lines start, records are journalled    SEALING, RELEASING
 *   SEALING    task: publish the seal                 SEALED, RELEASING
 *   SEALED     telling the index: DONE                GONE
 *   RELEASING  waits for lines and journal, then      GONE, SEALING (the last
 *              tells the index: RELEASE               answers came meanwhile)
 *   GONE       freed as soon as nothing points here
 */

typedef enum {
    NGX_HTTP_BATCH_CHUNK_OPENING = 0,
    NGX_HTTP_BATCH_CHUNK_RUNNING,
    NGX_HTTP_BATCH_CHUNK_SEALING,
    NGX_HTTP_BATCH_CHUNK_SEALED,
    NGX_HTTP_BATCH_CHUNK_RELEASING,
    NGX_HTTP_BATCH_CHUNK_GONE
} ngx_http_batch_chunk_life_e;


/*
 * Allocated by a claim (ngx_calloc), freed by ngx_http_batch_chunk_free()
 * when GONE and no task, no index call, no line and no timer points to it.
 */

struct ngx_http_batch_chunk_s {
    ngx_queue_t                   queue;          /* dispatch.chunks */
    ngx_http_batch_run_t         *run;
    uint32_t                      chunk;
    uint32_t                      epoch;
    uint64_t                      tag;            /* of its records */
    ngx_http_batch_chunk_life_e   life;

    ngx_fd_t                      input;
    ngx_fd_t                      segment;

    /* the window of the input: win[pos .. len) is not walked yet */
    u_char                       *win;
    size_t                        win_size;
    size_t                        win_len;
    size_t                        win_pos;
    off_t                         next_read;      /* file offset behind win */
    uint64_t                      line;           /* number of the next one */
    uint32_t                      walked;         /* requests walked */

    /* records found in older segments, by line; then walked past */
    batch_pick_t                 *older;
    batch_usage_t                *older_usage;
    size_t                        nolder;
    size_t                        iolder;

    /* durable records */
    batch_pick_t                 *picks;
    uint32_t                      npicks;
    uint64_t                      ok;
    uint64_t                      failed;
    batch_usage_t                 usage;
    int64_t                       sealed;         /* seconds, 0 = not yet */

    /* the journal */
    ngx_queue_t                   pending;        /* entries not yet posted */
    ngx_uint_t                    npending;
    size_t                        pending_size;   /* also those being written */
    off_t                         seg_off;
    ngx_event_t                   flush;
    ngx_connection_t              dummy;          /* flush.data, for logs */

    ngx_queue_t                   lines;          /* started, not ended */
    ngx_uint_t                    nlines;

    uint64_t                      told;           /* ok + failed told */
    ngx_msec_t                    told_at;
    ngx_msec_t                    leased_at;      /* the lease began then, or
                                                     later */
    ngx_http_batch_chunk_state_e  tell;           /* what is being told */

    unsigned                      reading:1;      /* window task under way */
    unsigned                      writing:1;      /* journal task under way */
    unsigned                      busy:1;         /* open, seal or end task */
    unsigned                      ending:1;       /* a job has what is pending,
                                                     all of the batch */
    unsigned                      kept:1;         /* that came to nothing */
    unsigned                      telling:1;      /* index call under way */
    unsigned                      poisoned:1;     /* a write or sync failed */
    unsigned                      lost:1;         /* the lease is another's */
    unsigned                      aborted:1;      /* lines were cut: none starts */
    unsigned                      aborting:1;     /* just now */
    unsigned                      pause:1;        /* it could not be opened */
};


/*
 * A finished line on its way to the segment: header and payload in one
 * ngx_alloc() block.  Made by answer; the header by the journal's task, which
 * knows what was durable before; owned by the chunk's journal once
 * appended, freed by it after the sync.  Of a large answer the payload here is
 * only the end; the spool has what is in front of it.
 */

struct ngx_http_batch_entry_s {
    ngx_queue_t                   queue;
    batch_record_t                record;
    size_t                        size;           /* room in payload */
    size_t                        tail;           /* bytes in payload */
    ngx_http_batch_spool_t       *spool;
    u_char                        header[BATCH_RECORD_HEADER];
    u_char                        payload[1];
};


/* the front of a large answer: see spool.c */

struct ngx_http_batch_spool_s {
    ngx_http_batch_line_t        *line;           /* NULL: owned by an entry, or
                                                     by nobody */
    ngx_fd_t                      fd;
    off_t                         size;           /* pushed */
    off_t                         written;
    uint32_t                      crc;
    ngx_queue_t                   pieces;         /* not yet with a task */
    unsigned                      busy:1;
    unsigned                      failed:1;
};


typedef enum {
    NGX_HTTP_BATCH_LINE_FLYING = 0,    /* an attempt is with the upstream */
    NGX_HTTP_BATCH_LINE_SPOOLING,      /* it ended; a task writes its answer */
    NGX_HTTP_BATCH_LINE_WAITING,       /* for its next attempt */
    NGX_HTTP_BATCH_LINE_ENDED
} ngx_http_batch_line_life_e;


/*
 * A fake main request with one subrequest, which POSTs JSON: an attempt of a
 * line, or of a webhook.  Its own connection, so that nothing of it takes a slot
 * of clients' connections.  The connection's pool is reset between attempts; the
 * request lives in its own pool.  ctx of the fake main request.
 */

typedef struct {
    ngx_log_handler_pt            log;            /* data: at->log_ctx */
    char                         *action;         /* for logs */
    /* The subrequest has ended with rc; maybe twice.  cut: nginx had given it
     * up, there may be no answer. */
    void                        (*post)(ngx_http_batch_attempt_t *at,
                                     ngx_int_t rc, ngx_uint_t cut);
    /* it is torn down: its answer, or the lack of one, is known */
    void                        (*answered)(ngx_http_batch_attempt_t *at);
} ngx_http_batch_attempt_type_t;

struct ngx_http_batch_attempt_s {
    ngx_uint_t                    kind;           /* NGX_HTTP_BATCH_CTX_LINE, or
                                                     _HOOK */
    ngx_http_batch_attempt_type_t  *type;

    /* what is sent where; all of it the caller's */
    ngx_http_conf_ctx_t          *conf;           /* of a location in the server */
    ngx_str_t                     uri;
    ngx_str_t                     request_line;   /* for logs */
    ngx_str_t                     body;
    ngx_keyval_t                 *headers;        /* besides the usual ones */
    ngx_uint_t                    nheaders;

    ngx_http_request_t           *r;
    ngx_http_request_t           *sr;
    ngx_connection_t              c;
    ngx_event_t                   rev;
    ngx_event_t                   wev;
    ngx_log_t                     log;
    ngx_http_log_ctx_t            log_ctx;
    ngx_http_connection_t         hc;
    ngx_uint_t                    done;           /* post was called */
    ngx_chain_t                  *held;           /* of the answer, that there
                                                     was no room for yet; sr's
                                                     pool */
};


/*
 * One line under way.  From a free list in line.c, which also frees it.
 */

struct ngx_http_batch_line_s {
    ngx_http_batch_attempt_t      at;             /* the first member */
    ngx_queue_t                   queue;          /* chunk->lines */
    ngx_http_batch_chunk_t       *chunk;
    ngx_http_batch_line_life_e    life;

    uint64_t                      number;         /* physical, 1-based */
    ngx_uint_t                    attempt;        /* 1-based */
    ngx_uint_t                    free_attempts;  /* not counted: breaker open */
    ngx_msec_t                    deadline;       /* ngx_current_msec clock */

    u_char                       *data;           /* the line, copied */
    batch_line_t                  parsed;         /* spans of data */

    ngx_event_t                   timer;          /* deadline, or next attempt */

    /* the answer */
    ngx_uint_t                    status;         /* of the upstream, 0 = none */
    ngx_int_t                     rc;             /* nginx made it itself */
    ngx_int_t                     made;           /* rc >= 300 that nginx passed
                                                     to the post handler */
    ngx_msec_t                    retry_after;    /* ms */
    ngx_http_batch_entry_t       *entry;
    ngx_http_batch_spool_t       *spool;
    size_t                        len;            /* bytes in entry->payload */
    batch_json_t                  json;
    size_t                        nraw;           /* raw bytes kept */
    uint64_t                      received;       /* body bytes */
    u_char                        raw[NGX_HTTP_BATCH_HEAD_MAX];
    u_char                        request_id[64];
    size_t                        request_id_len;

    unsigned                      header:1;       /* header filter was called */
    unsigned                      last:1;         /* the body is complete */
    unsigned                      bad_json:1;
    unsigned                      encoded:1;      /* Content-Encoding */
    unsigned                      garbled:1;      /* 502 is nginx' word for an
                                                     answer that is no HTTP */
    unsigned                      too_large:1;
    unsigned                      no_memory:1;
    unsigned                      timedout:1;
    unsigned                      aborted:1;
};


/* dispatch */
ngx_int_t ngx_http_batch_dispatch_init(ngx_cycle_t *cycle);
void ngx_http_batch_dispatch_exit(void);
/* the pump runs at the next turn of the event loop */
void ngx_http_batch_dispatch_wake(void);
/* budget: the one place that says whether another line may start */
/* 0: run->held says which lane is full.  1 reserves a place: budget_started()
 * must follow when the line is in flight, or when there was none after all. */
ngx_uint_t ngx_http_batch_budget(ngx_http_batch_run_t *run);
/* 0: none of any run; the tick finds when that is over */
ngx_uint_t ngx_http_batch_budget_any(void);
void ngx_http_batch_budget_started(ngx_http_batch_run_t *run);
/* what the batch's job says, once batch.json is read and the route is known */
void ngx_http_batch_budget_job(ngx_http_batch_run_t *run,
    ngx_http_batch_loc_conf_t *blcf);
/* lines of the run that may be in flight on this node */
ngx_uint_t ngx_http_batch_budget_limit(ngx_http_batch_run_t *run);
/* an attempt ended: dead = it could not be had from the upstream at all */
void ngx_http_batch_budget_outcome(ngx_http_batch_run_t *run,
    ngx_uint_t dead);
/* 1 while the upstream of the run's lane is taken for dead */
ngx_uint_t ngx_http_batch_budget_broken(ngx_http_batch_run_t *run);
/* 1 once the worker was told to quit */
ngx_uint_t ngx_http_batch_dispatch_leaving(void);
/* 1: this worker holds a lease, or may: of a claim nothing was heard yet */
ngx_uint_t ngx_http_batch_dispatch_holds(void);

/* routed: in a thread: the settings of the location that the batch came in by,
 * as they are now; NULL: there is none, or batch.json cannot be read */
ngx_http_batch_loc_conf_t *ngx_http_batch_routed(const char *id,
    ngx_log_t *log);
/* says so, once; text: batch.json */
void ngx_http_batch_unrouted(ngx_http_batch_run_t *run, const ngx_str_t *text);

/* runs */
extern ngx_queue_t  ngx_http_batch_runs;
void ngx_http_batch_runs_init(void);
void ngx_http_batch_runs_tick(void);
/* the index has told a status: notices cancel and expiry */
void ngx_http_batch_run_status(ngx_http_batch_run_t *run,
    ngx_http_batch_index_res_t *res);
/* something may be claimable for the run at once */
void ngx_http_batch_run_hurry(ngx_http_batch_run_t *run);
/* nothing was: ask again later */
void ngx_http_batch_run_pause(ngx_http_batch_run_t *run);
/* nothing will be, the batch has ended */
void ngx_http_batch_run_over(ngx_http_batch_run_t *run);
/* n jobs may start that had to wait */
void ngx_http_batch_runs_feed(ngx_uint_t n);

/* evict: with every poll, frees what dead workers hold.  whole = 0: there are
 * batches beyond those that are known */
void ngx_http_batch_evict_init(void);
void ngx_http_batch_evict(ngx_uint_t rebuilding, ngx_uint_t whole);

/* job: validation and finalizing, one at a time per run */
extern ngx_queue_t  ngx_http_batch_jobs;
/* how many more jobs this worker may start */
ngx_uint_t ngx_http_batch_jobs_free(void);
ngx_int_t ngx_http_batch_job_start(ngx_http_batch_run_t *run,
    ngx_http_batch_claim_e kind, ngx_http_batch_index_res_t *res);
void ngx_http_batch_job_tick(void);
/* what is pending is all of the batch: its result is made of it.  NGX_OK:
 * ngx_http_batch_chunk_whole() will be called; else nothing has changed */
ngx_int_t ngx_http_batch_job_end(ngx_http_batch_chunk_t *c);

/* sweep: files and uploads that have expired */
void ngx_http_batch_sweep_init(ngx_cycle_t *cycle);
/* tidy: what else crashes have left in the store */
void ngx_http_batch_tidy_init(ngx_cycle_t *cycle);

/* the work files of a batch that has ended, in a thread */
void ngx_http_batch_tidy_work(const char *id);

/* chunk */
void ngx_http_batch_chunk_open(ngx_http_batch_run_t *run, uint32_t chunk,
    uint32_t epoch);
/* starts the next line if there is one in the window; NGX_OK, NGX_DECLINED
 * (none now), NGX_ERROR (no memory now) */
ngx_int_t ngx_http_batch_chunk_start(ngx_http_batch_chunk_t *c);
/* 1: the lease is lost, or may be */
/* takes the time anew; a gap between two calls means that the worker slept */
void ngx_http_batch_chunk_awake(void);
ngx_uint_t ngx_http_batch_chunk_stale(ngx_http_batch_chunk_t *c);
/* requests not yet started */
uint32_t ngx_http_batch_chunk_left(ngx_http_batch_chunk_t *c);
/* a line has ended; entry = its output (taken over), NULL = none */
void ngx_http_batch_chunk_ended(ngx_http_batch_chunk_t *c,
    ngx_http_batch_entry_t *entry);
/* every tick: renew, count, stop, release, seal */
void ngx_http_batch_chunk_tick(ngx_http_batch_chunk_t *c);
/* all its lines have begun and ended */
ngx_uint_t ngx_http_batch_chunk_dry(ngx_http_batch_chunk_t *c);
/* looks what the state allows next */
void ngx_http_batch_chunk_advance(ngx_http_batch_chunk_t *c);
void ngx_http_batch_chunk_abort(ngx_http_batch_chunk_t *c);
/* what ngx_http_batch_job_end() came to: the batch has ended, or all goes on */
void ngx_http_batch_chunk_whole(ngx_http_batch_chunk_t *c, ngx_uint_t ended);
/* the index has forgotten that epochs up to this one were used */
void ngx_http_batch_chunk_used(ngx_http_batch_chunk_t *c, uint32_t epoch);
void ngx_http_batch_chunk_flush(ngx_event_t *ev);
extern ngx_queue_t  ngx_http_batch_chunks;

/* window: the next line, without its newline; NGX_AGAIN: it is being read */
ngx_int_t ngx_http_batch_window_next(ngx_http_batch_chunk_t *c, u_char **p,
    size_t *len);

/* journal */
void ngx_http_batch_entry_free(ngx_http_batch_entry_t *entry);
void ngx_http_batch_journal_append(ngx_http_batch_chunk_t *c,
    ngx_http_batch_entry_t *entry);
/* posts what is pending; force: whatever little it is */
void ngx_http_batch_journal_flush(ngx_http_batch_chunk_t *c,
    ngx_uint_t force);
void ngx_http_batch_journal_discard(ngx_http_batch_chunk_t *c);
/* a durable record counts: as of this epoch or an older one */
void ngx_http_batch_journal_count(ngx_http_batch_chunk_t *c,
    const batch_pick_t *pick, const batch_usage_t *usage);
void ngx_http_batch_journal_seal(ngx_http_batch_chunk_t *c);

/* line */
void ngx_http_batch_line_init(void);
/* makes ended lines usable again; from a fresh stack only */
void ngx_http_batch_line_reap(void);
ngx_int_t ngx_http_batch_line_start(ngx_http_batch_chunk_t *c,
    const u_char *p, size_t len, uint64_t number);
/* ends the attempt or the waiting without an output */
void ngx_http_batch_line_abort(ngx_http_batch_line_t *line);
ngx_http_batch_line_t *ngx_http_batch_line_of(ngx_http_request_t *r);

/* capture: the filters, and the $batch_* variables */
ngx_int_t ngx_http_batch_line_filter_init(ngx_conf_t *cf);
ngx_int_t ngx_http_batch_variables(ngx_conf_t *cf);

/* attempt */
void ngx_http_batch_attempt_init(void);
/* with a pool in at->c; NGX_ERROR: tear it down */
ngx_int_t ngx_http_batch_attempt_send(ngx_http_batch_attempt_t *at);
void ngx_http_batch_attempt_teardown(ngx_http_batch_attempt_t *at);
/* the upstream is not read from until attempt_resume(), which only does
 * something if that was called.  Header and body filter only */
void ngx_http_batch_attempt_hold(ngx_http_batch_attempt_t *at);
void ngx_http_batch_attempt_resume(ngx_http_batch_attempt_t *at);
/* whose request it is, if it is of that kind, or NULL */
ngx_http_batch_attempt_t *ngx_http_batch_attempt_of(ngx_http_request_t *r,
    ngx_uint_t kind);
/* the spool has written all it was given */
void ngx_http_batch_line_spooled(ngx_http_batch_line_t *line);

/* spool */
void ngx_http_batch_spool_push(ngx_http_batch_line_t *line);
ngx_uint_t ngx_http_batch_spool_busy(ngx_http_batch_spool_t *s);
/* 1: the disk has to catch up first; attempt_resume() is called when it has */
ngx_uint_t ngx_http_batch_spool_full(ngx_http_batch_spool_t *s);
void ngx_http_batch_spool_free(ngx_http_batch_spool_t *s);
ngx_int_t ngx_http_batch_spool_copy(ngx_http_batch_spool_t *s, ngx_fd_t fd,
    off_t *off, ngx_log_t *log);

/* answer */
typedef enum {
    NGX_HTTP_BATCH_ANSWER_OK = 0,      /* ends in the output file */
    NGX_HTTP_BATCH_ANSWER_FINAL,       /* ends in the error file */
    NGX_HTTP_BATCH_ANSWER_RETRY,       /* a status worth another attempt */
    NGX_HTTP_BATCH_ANSWER_DEAD         /* the same, and the upstream seems gone */
} ngx_http_batch_answer_e;

void ngx_http_batch_answer_reset(ngx_http_batch_line_t *line);
/* both: NGX_ERROR: the rest is not wanted, the attempt may end */
ngx_int_t ngx_http_batch_answer_header(ngx_http_batch_line_t *line,
    ngx_http_request_t *sr);
ngx_int_t ngx_http_batch_answer_body(ngx_http_batch_line_t *line,
    const u_char *p, size_t len);
ngx_http_batch_answer_e ngx_http_batch_answer_judge(
    ngx_http_batch_line_t *line);
/* the finished line; NULL if there is no memory */
ngx_http_batch_entry_t *ngx_http_batch_answer_finish(
    ngx_http_batch_line_t *line, ngx_http_batch_answer_e verdict);


#endif /* _NGX_HTTP_BATCH_RUN_H_INCLUDED_ */
