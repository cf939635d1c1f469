/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Private to ngx_http_batch_index*.c: how a call is sent, and its reply read.
 *
 * Every script answers {code, ...}: 0 done, 1 declined, 2 the index is being
 * rebuilt; what follows is described at the top of its file.
 */

#ifndef _NGX_HTTP_BATCH_INDEX_INT_H_INCLUDED_
#define _NGX_HTTP_BATCH_INDEX_INT_H_INCLUDED_

#include "ngx_http_batch_index.h"
#include "ngx_http_batch_args.h"
#include "ngx_http_batch_lua.h"


/* a piece of a list ends early when it has so many bytes */
#define NGX_HTTP_BATCH_INDEX_PIECE  32768


/*
 * Sends, and gives the arguments' memory back in any case; a new worker's call
 * waits for its link first.
 */
ngx_int_t ngx_http_batch_index_send(ngx_http_batch_args_t *a,
    ngx_http_batch_index_pt cb, void *data);

/* goes through keys of the database: n of them, "{<prefix>" and tail is their
 * pattern */
ngx_int_t ngx_http_batch_index_file_scan_of(
    ngx_http_batch_index_script_t *script, const char *tail, ngx_uint_t n,
    int64_t cursor, ngx_http_batch_index_pt cb, void *data);

/* the claim's answer says that Redis has this time, ms */
void ngx_http_batch_index_run_clock(int64_t ms);

/* ERROR: it is not one */
ngx_int_t ngx_http_batch_index_view_read(struct redisReply *reply,
    ngx_http_batch_view_t *v);

/* BATCH_STATUS_N: it is not one */
batch_status_e ngx_http_batch_index_status_read(struct redisReply *reply);

#if (NGX_DEBUG)

/* What an answer says of a batch.  filled: the script knew the index to be
 * filled, then an illegal step is an alert. */
void ngx_http_batch_index_status_seen(const char *id, batch_status_e status,
    ngx_uint_t filled);

/* the link is another one, or the index is not filled */
void ngx_http_batch_index_status_forget(void);

#endif


#endif /* _NGX_HTTP_BATCH_INDEX_INT_H_INCLUDED_ */
