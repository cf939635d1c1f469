/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One line of the input under way, from its first attempt to its record.
 *
 *   line       attempts, deadline, end
 *   capture    the filters that take its answer
 *   answer     captured body -> finished line
 *   spool      the front of a large answer
 */

#ifndef _NGX_HTTP_BATCH_LINE_H_INCLUDED_
#define _NGX_HTTP_BATCH_LINE_H_INCLUDED_

#include "ngx_http_batch_attempt.h"
#include "ngx_http_batch_chunk.h"


#define NGX_HTTP_BATCH_ANSWER_MAX     (BATCH_RECORD_MAX - 1024 * 1024) /* bytes,
                                                         as received and as
                                                         kept */
#define NGX_HTTP_BATCH_SPOOL_SIZE     (256 * 1024)    /* of an answer that is
                                                         kept in memory */
#define NGX_HTTP_BATCH_SPOOL_AHEAD    (1024 * 1024)   /* ... that is on its way
                                                         to the spool */
#define NGX_HTTP_BATCH_HEAD_MAX       4096      /* of an answer that is not JSON */


typedef struct ngx_http_batch_line_s  ngx_http_batch_line_t;


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


void ngx_http_batch_line_init(void);
/* makes ended lines usable again; from a fresh stack only */
void ngx_http_batch_line_reap(void);
ngx_int_t ngx_http_batch_line_start(ngx_http_batch_chunk_t *c,
    const u_char *p, size_t len, uint64_t number);
/* ends the attempt or the waiting without an output */
void ngx_http_batch_line_abort(ngx_http_batch_line_t *line);
/* the spool has written all it was given */
void ngx_http_batch_line_spooled(ngx_http_batch_line_t *line);
ngx_http_batch_line_t *ngx_http_batch_line_of(ngx_http_request_t *r);

/* postconfiguration: adds the filters */
ngx_int_t ngx_http_batch_capture_add(ngx_conf_t *cf);

void ngx_http_batch_spool_push(ngx_http_batch_line_t *line);
ngx_uint_t ngx_http_batch_spool_busy(ngx_http_batch_spool_t *s);
/* 1: the disk has to catch up first; attempt_resume() is called when it has */
ngx_uint_t ngx_http_batch_spool_full(ngx_http_batch_spool_t *s);
void ngx_http_batch_spool_free(ngx_http_batch_spool_t *s);
ngx_int_t ngx_http_batch_spool_copy(ngx_http_batch_spool_t *s, ngx_fd_t fd,
    off_t *off, const char *id, ngx_log_t *log);

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


#endif /* _NGX_HTTP_BATCH_LINE_H_INCLUDED_ */
