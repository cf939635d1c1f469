/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One line of the input under way, from its first attempt to its record.
 * docs/internals/line.md tells it from the beginning.
 *
 *   line       attempts, deadline, end
 *   answer     header and body of an answer -> finished line of the result
 *   spool      the front of a large answer
 */

#ifndef _NGX_HTTP_BATCH_LINE_H_INCLUDED_
#define _NGX_HTTP_BATCH_LINE_H_INCLUDED_

#include "ngx_http_batch_attempt.h"
#include "ngx_http_batch_chunk.h"


/* bytes of an answer, as received and as kept */
#define NGX_HTTP_BATCH_ANSWER_MAX     (BATCH_RECORD_MAX - 1024 * 1024)
/* ... of it in memory, before they go to the spool */
#define NGX_HTTP_BATCH_SPOOL_SIZE     (256 * 1024)
/* ... on their way to the spool: no more is read beyond */
#define NGX_HTTP_BATCH_SPOOL_AHEAD    (1024 * 1024)
/* ... kept as received, to be shown if it is not JSON */
#define NGX_HTTP_BATCH_HEAD_MAX       4096


typedef struct ngx_http_batch_line_s  ngx_http_batch_line_t;


/*
 * The front of a large answer.  Belongs to its line, then to the entry that the
 * line is finished to; freed when the owner has let go of it and no task writes
 * it.  See spool.c.
 */

struct ngx_http_batch_spool_s {
    ngx_http_batch_line_t        *line;           /* NULL: an entry's, or to be
                                                     freed by its task */
    ngx_fd_t                      fd;
    off_t                         size;           /* bytes pushed */
    off_t                         written;
    uint32_t                      crc;            /* of the bytes pushed */
    ngx_queue_t                   pieces;         /* not yet with a task */
    unsigned                      busy:1;         /* task under way */
    unsigned                      failed:1;
};


/*
 *   state      means                              next
 *   FLYING     an attempt is with the upstream    SPOOLING, WAITING, ENDED
 *   SPOOLING   it ended; a task writes the        WAITING, ENDED
 *              answer
 *   WAITING    for the next attempt               FLYING, ENDED
 *   ENDED      until the next turn of the event   FLYING (of another line)
 *              loop; then it may be used again
 */

typedef enum {
    NGX_HTTP_BATCH_LINE_FLYING = 0,
    NGX_HTTP_BATCH_LINE_SPOOLING,
    NGX_HTTP_BATCH_LINE_WAITING,
    NGX_HTTP_BATCH_LINE_ENDED
} ngx_http_batch_line_life_e;


/*
 * One line under way.  Allocated and freed by line.c, which keeps some for the
 * next lines.  In chunk->lines, and counted in chunk->nlines, until it ends.
 */

struct ngx_http_batch_line_s {
    ngx_http_batch_attempt_t      at;             /* the first member */
    ngx_queue_t                   queue;          /* in chunk->lines */
    ngx_http_batch_chunk_t       *chunk;          /* NULL: it has ended */
    ngx_http_batch_line_life_e    life;

    uint64_t                      number;         /* physical, 1-based */
    ngx_uint_t                    attempt;        /* 1-based */
    ngx_uint_t                    free_attempts;  /* ... of them, that do not
                                                     count: breaker open */
    ngx_msec_t                    deadline;       /* ms, as ngx_current_msec */
    size_t                        large;          /* bytes; 0: not large */

    u_char                       *data;           /* what of the line is sent
                                                     and kept */
    batch_line_t                  parsed;         /* spans of data */

    ngx_event_t                   timer;          /* deadline or next attempt */

    /* the answer */
    ngx_uint_t                    status;         /* of its header; 0 = none */
    ngx_int_t                     rc;             /* nginx's own answer; 0 =
                                                     the upstream's */
    ngx_int_t                     made;           /* rc >= 300 that nginx passed
                                                     to the post handler */
    ngx_msec_t                    retry_after;    /* ms */
    ngx_http_batch_entry_t       *entry;
    ngx_http_batch_spool_t       *spool;
    size_t                        len;            /* bytes in entry->payload */
    batch_json_t                  json;
    size_t                        nraw;           /* bytes in raw */
    uint64_t                      received;       /* bytes of the body */
    u_char                        raw[NGX_HTTP_BATCH_HEAD_MAX];
    u_char                        request_id[64];
    size_t                        request_id_len;

    unsigned                      header:1;       /* a header has come */
    unsigned                      bad_json:1;
    unsigned                      encoded:1;      /* Content-Encoding */
    unsigned                      own:1;          /* the location's own answer,
                                                     set with header */
    unsigned                      unframed:1;     /* it ends with its connection,
                                                     set with header */
    unsigned                      torn:1;         /* ... and before its JSON */
    unsigned                      garbled:1;      /* nginx says 502 of an answer
                                                     that is not HTTP */
    unsigned                      too_large:1;
    unsigned                      no_memory:1;
    unsigned                      timedout:1;     /* the line's deadline */
    unsigned                      aborted:1;      /* it is the next owner's */
};


void ngx_http_batch_line_init(void);
/* ended lines may be used again; from the start of a turn only */
void ngx_http_batch_line_reap(void);
/* 0: a line of len bytes has to wait until large ones that are in flight have
 * ended.  What is not large never waits, nor does the only large one. */
ngx_uint_t ngx_http_batch_line_room(size_t len);
/* sends a copy of p[0..len); NGX_ERROR: it was not started, and the chunk is
 * poisoned if it is not the line that was validated */
ngx_int_t ngx_http_batch_line_start(ngx_http_batch_chunk_t *c,
    const u_char *p, size_t len, uint64_t number);
/* ends the attempt or the waiting without an output */
void ngx_http_batch_line_abort(ngx_http_batch_line_t *line);
/* the spool has written all it was given, or has failed */
void ngx_http_batch_line_spooled(ngx_http_batch_line_t *line);

/* the spool: NULL is an empty one */

/* takes the line's entry: the next piece of the file */
void ngx_http_batch_spool_push(ngx_http_batch_line_t *line);
/* 1: pieces are on their way to the file */
ngx_uint_t ngx_http_batch_spool_busy(ngx_http_batch_spool_t *s);
/* 1: the disk has to catch up first; attempt_resume() is called when it has */
ngx_uint_t ngx_http_batch_spool_full(ngx_http_batch_spool_t *s);
/* the owner lets go of it */
void ngx_http_batch_spool_free(ngx_http_batch_spool_t *s);
/* in a thread: appends the file to a segment at *off; id is for the log */
ngx_int_t ngx_http_batch_spool_copy(ngx_http_batch_spool_t *s, ngx_fd_t fd,
    off_t *off, const char *id, ngx_log_t *log);

/*
 *   verdict    means                              the line then
 *   OK         an answer for the output file      ends
 *   FINAL      one for the error file             ends
 *   RETRY      another attempt may do better      waits; with none left it ends
 *                                                 in the error file
 *   DEAD       the same, and the upstream seems   the same; it counts for the
 *              to be gone or overloaded           breaker
 */

typedef enum {
    NGX_HTTP_BATCH_ANSWER_OK = 0,
    NGX_HTTP_BATCH_ANSWER_FINAL,
    NGX_HTTP_BATCH_ANSWER_RETRY,
    NGX_HTTP_BATCH_ANSWER_DEAD
} ngx_http_batch_answer_e;

/* before an attempt */
void ngx_http_batch_answer_reset(ngx_http_batch_line_t *line);
/* both: NGX_ERROR: the rest is not wanted, the attempt may end */
ngx_int_t ngx_http_batch_answer_header(ngx_http_batch_line_t *line,
    ngx_http_request_t *sr);
ngx_int_t ngx_http_batch_answer_body(ngx_http_batch_line_t *line,
    const u_char *p, size_t len);
/* the attempt has ended */
ngx_http_batch_answer_e ngx_http_batch_answer_judge(
    ngx_http_batch_line_t *line);
/* after judge(): the finished line; NULL if there is no memory */
ngx_http_batch_entry_t *ngx_http_batch_answer_finish(
    ngx_http_batch_line_t *line, ngx_http_batch_answer_e verdict);


#endif /* _NGX_HTTP_BATCH_LINE_H_INCLUDED_ */
