/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the configuration says now of the names that a batch remembers: its
 * route, its job.  All of it may be called from threads: the configuration does
 * not change while a worker lives.
 */

#ifndef _NGX_HTTP_BATCH_LOOKUP_H_INCLUDED_
#define _NGX_HTTP_BATCH_LOOKUP_H_INCLUDED_

#include "ngx_http_batch.h"


/*
 * The route of that key and its number in routes.  The only route there is
 * stands in for one that was renamed.  NULL: there is none.
 */
ngx_http_batch_loc_conf_t *ngx_http_batch_lookup_route(const ngx_str_t *key,
    ngx_uint_t *n);

/* the job of that id and its number in jobs.  NULL: there is none */
ngx_http_batch_job_conf_t *ngx_http_batch_lookup_job(const ngx_array_t *jobs,
    const ngx_str_t *id, ngx_uint_t *n);

/* 1: the route of that key has a webhook */
ngx_uint_t ngx_http_batch_lookup_hook(const ngx_str_t *route);

/* how many ended batches a tenant of the route keeps; 0: all */
ngx_uint_t ngx_http_batch_lookup_ended(const ngx_str_t *route);


#endif /* _NGX_HTTP_BATCH_LOOKUP_H_INCLUDED_ */
