/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A chunk that this worker has claimed: its life, the part of the input that
 * it walks, its journal.  docs/internals/chunk.md tells it from the beginning.
 *
 *   open       what the disk knows of it, before anything is sent
 *   chunk      its life: every event ends in chunk_advance()
 *   window     the part of the input that it walks
 *   journal    its segment: group commit, seal
 *   whole      a batch that ends without a segment
 */

#ifndef _NGX_HTTP_BATCH_CHUNK_H_INCLUDED_
#define _NGX_HTTP_BATCH_CHUNK_H_INCLUDED_

#include "ngx_http_batch_run.h"
#include "ngx_http_batch_finalize.h"


typedef struct ngx_http_batch_chunk_s  ngx_http_batch_chunk_t;
typedef struct ngx_http_batch_entry_s  ngx_http_batch_entry_t;
typedef struct ngx_http_batch_spool_s  ngx_http_batch_spool_t;


/*
 *   state      means                              next
 *   OPENING    task: plan, input, older           RUNNING, RELEASING,
 *              segments, own segment              SEALED (a seal is there)
 *   RUNNING    lines start, records are           SEALING, RELEASING,
 *              journalled                         GONE (all of the batch ended)
 *   SEALING    task: publish the seal             SEALED, RELEASING (failed)
 *   SEALED     the index is told DONE             GONE
 *   RELEASING  waits for lines and tasks, then    GONE, SEALING (it has all
 *              the index is told RELEASE          records by now)
 *   GONE       freed when nothing points here
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
 * Allocated by ngx_http_batch_open_start(), freed by chunk_free() when it is
 * GONE and no task, index call or line points to it.  Counts in run->refs and
 * run->nchunks meanwhile.
 */

struct ngx_http_batch_chunk_s {
    ngx_queue_t                   queue;          /* ngx_http_batch_chunks */
    ngx_queue_t                   sibling;        /* run->chunks */
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
    off_t                         next_read;      /* file offset after win */
    ngx_msec_t                    walked_at;      /* ms: the window, last */
    size_t                        need;           /* bytes of the line that
                                                     waits for room; 0: none */
    uint64_t                      line;           /* number of the next one */
    uint32_t                      walked;         /* requests, not lines */

    /* records of older segments, sorted by line, walked past meanwhile */
    batch_pick_t                 *older;
    batch_usage_t                *older_usage;
    size_t                        nolder;
    size_t                        iolder;

    /* durable records; picks has room for all requests of the chunk */
    batch_pick_t                 *picks;
    uint32_t                      npicks;
    uint64_t                      ok;
    uint64_t                      failed;
    batch_usage_t                 usage;
    int64_t                       sealed;         /* seconds, 0 = not yet */

    /* the journal */
    ngx_queue_t                   pending;        /* entries not yet posted */
    ngx_uint_t                    npending;
    size_t                        pending_size;   /* bytes, also those that a
                                                     task is writing */
    off_t                         seg_off;        /* durable up to here */
    ngx_event_t                   flush;          /* the group waits no more */
    ngx_http_batch_finalize_line_t  *whole;       /* while ending: what is
                                                     pending */

    ngx_queue_t                   lines;          /* started, not ended */
    ngx_uint_t                    nlines;

    /* what the index knows */
    uint64_t                      told;           /* ok + failed */
    ngx_msec_t                    told_at;        /* ms */
    ngx_msec_t                    leased_at;      /* ms; the lease began then,
                                                     or later */
    ngx_http_batch_chunk_state_e  tell;           /* what is being told */

    unsigned                      reading:1;      /* window task under way */
    unsigned                      found:1;        /* a whole line is, or was,
                                                     in the window */
    unsigned                      writing:1;      /* journal task under way */
    unsigned                      busy:1;         /* open, seal or job */
    unsigned                      ending:1;       /* a job has whole */
    unsigned                      kept:1;         /* that failed */
    unsigned                      telling:1;      /* index call under way */
    unsigned                      due:1;          /* to be told at once */
    unsigned                      poisoned:1;     /* nothing can be kept */
    unsigned                      lost:1;         /* the lease is another's */
    unsigned                      aborted:1;      /* lines were cut */
    unsigned                      aborting:1;     /* ... just now */
    unsigned                      pause:1;        /* it could not be opened */
};


/*
 * A finished line on its way to the segment, in one ngx_alloc() block with its
 * payload.  Made by answer; once appended it is the journal's, which frees it
 * after the sync.  The header is encoded by the journal's task, which knows
 * what was durable before.  Of a large answer payload is only the end: what
 * comes before it is in the spool.
 */

struct ngx_http_batch_entry_s {
    ngx_queue_t                   queue;
    batch_record_t                record;
    size_t                        size;           /* room in payload, bytes */
    size_t                        tail;           /* bytes in payload */
    ngx_http_batch_spool_t       *spool;          /* or NULL */
    u_char                        header[BATCH_RECORD_HEADER];
    u_char                        payload[1];
};


extern ngx_queue_t  ngx_http_batch_chunks;


void ngx_http_batch_chunk_init(void);

/* a claim: the chunk is opened in a thread.  If there is no memory or no place
 * in the thread pool, nothing happens and the lease runs out */
void ngx_http_batch_open_start(ngx_http_batch_run_t *run, uint32_t chunk,
    uint32_t epoch);
/* the index has forgotten that epochs up to this one were used: it is told, and
 * the chunk is claimed anew */
void ngx_http_batch_open_used(ngx_http_batch_chunk_t *c, uint32_t epoch);

/* for ngx_http_batch_pick_t: has one of the run's chunks here a line to start?
 * starts it */
ngx_uint_t ngx_http_batch_chunk_ready(ngx_http_batch_run_t *run);
ngx_int_t ngx_http_batch_chunk_start(ngx_http_batch_run_t *run);

/* requests of the run's chunks here that have not been started */
uint32_t ngx_http_batch_chunk_left(ngx_http_batch_run_t *run);

/* for ngx_http_batch_runs_handlers_t: the status may have changed, the chunks
 * ask the index for it at once */
void ngx_http_batch_chunk_changed(ngx_http_batch_run_t *run);

/* every beat: renew leases, tell counts, stop, release, seal */
void ngx_http_batch_chunk_beat(void);
/* the worker leaves; cut = 1: lines in flight are for the next owner */
void ngx_http_batch_chunk_leave(ngx_uint_t cut);
/* 1: none is held */
ngx_uint_t ngx_http_batch_chunk_idle(void);

/* 1: the lease is lost, or may be */
ngx_uint_t ngx_http_batch_chunk_stale(ngx_http_batch_chunk_t *c);
/* a line has ended; entry = its output (taken over), or NULL */
void ngx_http_batch_chunk_ended(ngx_http_batch_chunk_t *c,
    ngx_http_batch_entry_t *entry);
/* does what the state allows next; may free c */
void ngx_http_batch_chunk_advance(ngx_http_batch_chunk_t *c);
/* what is pending is written, or ends the batch; force: even if it is little */
void ngx_http_batch_chunk_commit(ngx_http_batch_chunk_t *c, ngx_uint_t force);
/* 1: all its lines have begun and ended */
ngx_uint_t ngx_http_batch_chunk_dry(ngx_http_batch_chunk_t *c);
/* what comes cannot be kept: the chunk is given back.  why is for the log */
void ngx_http_batch_chunk_poison(ngx_http_batch_chunk_t *c, const char *why);
/* handler of c->flush */
void ngx_http_batch_chunk_flush(ngx_event_t *ev);

/* the next line, without its newline, valid until the next call; NGX_AGAIN: it
 * is being read; NGX_ERROR: the chunk is poisoned */
ngx_int_t ngx_http_batch_window_next(ngx_http_batch_chunk_t *c, u_char **p,
    size_t *len);
void ngx_http_batch_window_free(ngx_http_batch_chunk_t *c);

void ngx_http_batch_journal_append(ngx_http_batch_chunk_t *c,
    ngx_http_batch_entry_t *entry);
/* posts what is pending if a group is full, or if force */
void ngx_http_batch_journal_flush(ngx_http_batch_chunk_t *c,
    ngx_uint_t force);
/* frees what is pending */
void ngx_http_batch_journal_discard(ngx_http_batch_chunk_t *c);
/* a durable record counts, be it of this epoch or of an older one */
void ngx_http_batch_journal_count(ngx_http_batch_chunk_t *c,
    const batch_pick_t *pick, const batch_usage_t *usage);
/* all requests have a durable record: which of them count is published */
void ngx_http_batch_journal_seal(ngx_http_batch_chunk_t *c);
void ngx_http_batch_journal_free(ngx_http_batch_entry_t *entry);

/* NGX_OK: what is pending is all of the batch, and a job ends it with that;
 * NGX_DECLINED: it is not, or there is no job: it goes to the segment */
ngx_int_t ngx_http_batch_whole_end(ngx_http_batch_chunk_t *c);


#endif /* _NGX_HTTP_BATCH_CHUNK_H_INCLUDED_ */
