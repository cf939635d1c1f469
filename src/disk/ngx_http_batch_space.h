/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Is there room on the store's filesystem?
 *
 * A floor of free bytes and inodes is kept for what must still be written when
 * the disk fills up: journals of lines in flight, seals, results, cancels,
 * tombstones.  Below it nothing new is let in: uploads and new batches are
 * refused, and no line starts.  Above it all goes on by itself.
 *
 * Each worker measures once a second, in a thread; what is asked here is the
 * last measurement, on the event thread only.
 */

#ifndef _NGX_HTTP_BATCH_SPACE_H_INCLUDED_
#define _NGX_HTTP_BATCH_SPACE_H_INCLUDED_

#include "ngx_http_batch.h"

typedef struct {
    uint64_t      bytes;        /* free, for this user */
    uint64_t      inodes;       /* free; ..._SPACE_ANY: not limited */
    uint64_t      min_bytes;    /* the floor; 0: none */
    uint64_t      min_inodes;
    ngx_uint_t    full;         /* below one of the floors */
} ngx_http_batch_space_t;

#define NGX_HTTP_BATCH_SPACE_ANY  ((uint64_t) -1)

/* init_process, with the store open: measures once at once, then by timer */
void ngx_http_batch_space_init(ngx_cycle_t *cycle);

/* 1: nothing of so many bytes (0 or less: not known) may be let in */
ngx_uint_t ngx_http_batch_space_full(off_t bytes);

/* 1: full, or writes have failed a moment ago: what is paid for now could not
 * be kept */
ngx_uint_t ngx_http_batch_space_paused(void);

/* a journal could (0), or could not (1) be written; the pause after a failure
 * grows from one second to half a minute while they follow each other */
void ngx_http_batch_space_failed(ngx_uint_t failed);

/* the last measurement */
const ngx_http_batch_space_t *ngx_http_batch_space(void);

#endif
