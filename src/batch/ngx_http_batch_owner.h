/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A tenant as this worker knows it: its batches, and what it has of the places
 * that tenants share.  Lines and claims go by tenant first and by batch then,
 * so that many batches are not many turns.
 */

#ifndef _NGX_HTTP_BATCH_OWNER_H_INCLUDED_
#define _NGX_HTTP_BATCH_OWNER_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_slots.h"


/* of batches that nobody has told the tenant of yet */
#define NGX_HTTP_BATCH_OWNER_UNKNOWN  UINT64_MAX


struct ngx_http_batch_run_s;


/* Allocated with its first run, freed with its last one.  Runs point to it. */

typedef struct {
    ngx_queue_t     queue;                /* all; which claimed longest ago
                                             first */
    ngx_queue_t     runs;                 /* by their mate, the oldest first */
    ngx_queue_t     ring;                 /* pick's, while picks is not empty */
    ngx_queue_t     picks;                /* pick's: runs that have chunks here,
                                             by their turn */
    uint64_t        tenant;               /* a hash */
    ngx_uint_t      held;                 /* chunks here, and claims under way
                                             that may give one */
    ngx_uint_t      inflight[NGX_HTTP_BATCH_LANES];    /* lines, here */
} ngx_http_batch_owner_t;


void ngx_http_batch_owner_init(void);

/* the tenant's hash, from its name or from the index's key for it */
uint64_t ngx_http_batch_owner_tenant(const ngx_str_t *tenant);
uint64_t ngx_http_batch_owner_key(const u_char *key, size_t len);

/*
 * The run belongs to that tenant from here on; it has no line in flight, and
 * pick does not have it.  NGX_ERROR: no memory, nothing has changed.
 */
ngx_int_t ngx_http_batch_owner_set(struct ngx_http_batch_run_s *run,
    uint64_t tenant);
/* the run is about to be freed */
void ngx_http_batch_owner_unset(struct ngx_http_batch_run_s *run);

/* how many there are */
ngx_uint_t ngx_http_batch_owner_n(void);
/* the one that claimed longest ago; the one after it; it has claimed */
ngx_http_batch_owner_t *ngx_http_batch_owner_first(void);
ngx_http_batch_owner_t *ngx_http_batch_owner_next(
    ngx_http_batch_owner_t *owner);
void ngx_http_batch_owner_last(ngx_http_batch_owner_t *owner);


#endif /* _NGX_HTTP_BATCH_OWNER_H_INCLUDED_ */
