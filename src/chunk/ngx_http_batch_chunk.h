/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A claimed chunk in this worker: its life, the part of the input that it walks,
 * its journal.
 *
 *   open       what the disk knows of it, before anything is sent
 *   chunk      its life: everything that happens to it ends in chunk_advance()
 *   window     the part of the input that it looks through
 *   journal    its segment: group commit, seal
 */

#ifndef _NGX_HTTP_BATCH_CHUNK_H_INCLUDED_
#define _NGX_HTTP_BATCH_CHUNK_H_INCLUDED_

#include "ngx_http_batch_run.h"
#include "ngx_http_batch_finalize.h"


typedef struct ngx_http_batch_chunk_s  ngx_http_batch_chunk_t;
typedef struct ngx_http_batch_entry_s  ngx_http_batch_entry_t;
typedef struct ngx_http_batch_spool_s  ngx_http_batch_spool_t;


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
    ngx_http_batch_finalize_line_t  *whole;       /* what is pending, all of the
                                                     batch: see ending */

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
    unsigned                      ending:1;       /* a job has whole */
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


extern ngx_queue_t  ngx_http_batch_chunks;


void ngx_http_batch_chunk_init(void);

/* a claim: the chunk is opened in a thread; on failure nothing happens */
void ngx_http_batch_open(ngx_http_batch_run_t *run, uint32_t chunk,
    uint32_t epoch);
/* the index has forgotten that epochs up to this one were used: it is told, and
 * the chunk is claimed anew */
void ngx_http_batch_open_used(ngx_http_batch_chunk_t *c, uint32_t epoch);

/* for ngx_http_batch_pick_t: a chunk of the run that is held here has a line to
 * start; starts it */
ngx_uint_t ngx_http_batch_chunk_ready(ngx_http_batch_run_t *run);
ngx_int_t ngx_http_batch_chunk_start(ngx_http_batch_run_t *run);

/* requests of the run's chunks here that have not been started */
uint32_t ngx_http_batch_chunk_left(ngx_http_batch_run_t *run);

/* for ngx_http_batch_runs_handlers_t: the chunks hear the batch's status soon */
void ngx_http_batch_chunk_changed(ngx_http_batch_run_t *run);

/* every beat: renew, count, stop, release, seal */
void ngx_http_batch_chunk_beat(void);
/* the worker leaves; cut = 1: lines in flight are for the next owner */
void ngx_http_batch_chunk_leave(ngx_uint_t cut);
/* 1: none is held */
ngx_uint_t ngx_http_batch_chunk_idle(void);

/* 1: the lease is lost, or may be */
ngx_uint_t ngx_http_batch_chunk_stale(ngx_http_batch_chunk_t *c);
/* a line has ended; entry = its output (taken over), NULL = none */
void ngx_http_batch_chunk_ended(ngx_http_batch_chunk_t *c,
    ngx_http_batch_entry_t *entry);
/* looks what the state allows next */
void ngx_http_batch_chunk_advance(ngx_http_batch_chunk_t *c);
/* what is pending is written, or ends the batch.  force: however little it is */
void ngx_http_batch_chunk_commit(ngx_http_batch_chunk_t *c, ngx_uint_t force);
/* all its lines have begun and ended */
ngx_uint_t ngx_http_batch_chunk_dry(ngx_http_batch_chunk_t *c);
/* the timer of its journal */
void ngx_http_batch_chunk_flush(ngx_event_t *ev);

/* the next line, without its newline; NGX_AGAIN: it is being read */
ngx_int_t ngx_http_batch_window_next(ngx_http_batch_chunk_t *c, u_char **p,
    size_t *len);

void ngx_http_batch_journal_append(ngx_http_batch_chunk_t *c,
    ngx_http_batch_entry_t *entry);
/* posts what is pending; force: however little it is */
void ngx_http_batch_journal_flush(ngx_http_batch_chunk_t *c,
    ngx_uint_t force);
/* 1: all answers of a small batch are pending, and nothing was written yet */
ngx_uint_t ngx_http_batch_journal_whole(ngx_http_batch_chunk_t *c);
void ngx_http_batch_journal_discard(ngx_http_batch_chunk_t *c);
/* a durable record counts: as of this epoch or an older one */
void ngx_http_batch_journal_count(ngx_http_batch_chunk_t *c,
    const batch_pick_t *pick, const batch_usage_t *usage);
void ngx_http_batch_journal_seal(ngx_http_batch_chunk_t *c);
void ngx_http_batch_journal_free(ngx_http_batch_entry_t *entry);


#endif /* _NGX_HTTP_BATCH_CHUNK_H_INCLUDED_ */
