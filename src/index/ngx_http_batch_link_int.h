/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Private to ngx_http_batch_link.c (the state machine of the link),
 * ngx_http_batch_link_server.c (who is at its other end) and
 * ngx_http_batch_redis.c (commands and scripts on it): the files that know
 * hiredis, with ngx_http_batch_reply.c.
 */

#ifndef _NGX_HTTP_BATCH_LINK_INT_H_INCLUDED_
#define _NGX_HTTP_BATCH_LINK_INT_H_INCLUDED_

#include "ngx_http_batch_redis.h"
#include <hiredis/hiredis.h>
#include <hiredis/async.h>


typedef enum {
    NGX_HTTP_BATCH_LINK_DOWN = 0,
    NGX_HTTP_BATCH_LINK_CONNECTING,
    NGX_HTTP_BATCH_LINK_SETUP,
    NGX_HTTP_BATCH_LINK_READY
} ngx_http_batch_link_state_e;


#define NGX_HTTP_BATCH_LINK_NAME  64


typedef struct {
    ngx_http_batch_redis_conf_t    *conf;
    ngx_http_batch_link_state_pt   on_state;
    ngx_log_t                      *log;

    ngx_uint_t                      addr;      /* of conf's, in use or next */
    ngx_uint_t                      tried;     /* of them, since the last pause
                                                  or READY */

    redisAsyncContext              *ac;
    ngx_connection_t               *c;
    ngx_http_batch_link_state_e     state;
    ngx_uint_t                      exiting;   /* never connect again */
    ngx_uint_t                      first;     /* never READY, never DOWN yet */
    ngx_http_batch_link_state_pt   waiting;   /* for its end */

    ngx_event_t                     timer;     /* connect time-out, or time to
                                                  connect again */
    ngx_event_t                     overdue;   /* of the oldest command */
    ngx_queue_t                     ops;       /* pending, oldest first */
    ngx_uint_t                      pending;
    ngx_msec_t                      heard;     /* when bytes came last */

    ngx_msec_t                      backoff;
    ngx_msec_t                      ready_at;
    ngx_uint_t                      warned;
    char                            server[NGX_HTTP_BATCH_LINK_NAME];

    const char                     *why;       /* our reason for going down */
    u_char                          reason[128];
    ngx_msec_t                      reason_at;
} ngx_http_batch_link_t;


typedef struct {
    ngx_queue_t                     queue;
    ngx_http_batch_redis_pt         cb;
    void                           *data;
    ngx_msec_t                      sent;
    ngx_uint_t                      internal;  /* the link's own */

    /* of a script, for the case that Redis does not have it */
    ngx_http_batch_script_t        *script;
    ngx_uint_t                      text;      /* it was sent as EVAL */
    ngx_uint_t                      nkeys;
    ngx_uint_t                      argc;
    ngx_str_t                      *argv;      /* copies after this struct */
} ngx_http_batch_redis_op_t;


/* why a link is closed when there are more replies than commands: it cannot be
 * known any more which reply belongs to which command */
#define NGX_HTTP_BATCH_LINK_UNASKED  "a reply that no command asked for"


extern ngx_http_batch_link_t  ngx_http_batch_link;


/* SETUP: what has to be answered well before the link is READY */
ngx_int_t ngx_http_batch_link_server_setup(void);

/* READY: one worker's word about the server's settings is enough */
void ngx_http_batch_link_server_advise(void);

/* all of the setup is answered */
void ngx_http_batch_link_ready(void);

/* Logs why and closes the link; hiredis puts it off to the end of a reply's
 * callback.  Commands under way are called back with NULL. */
void ngx_http_batch_link_free(const char *why);

/* A command's bookkeeping; argv is copied into it for the case that the command
 * has to be sent again.  NULL if there is no memory. */
ngx_http_batch_redis_op_t *ngx_http_batch_redis_op(ngx_uint_t argc,
    const ngx_str_t *argv, ngx_http_batch_redis_pt cb, void *data);

/* Sends in any state of the link.  op is freed on error, otherwise when the
 * reply was handled. */
ngx_int_t ngx_http_batch_redis_send(ngx_http_batch_redis_op_t *op,
    ngx_uint_t argc, const ngx_str_t *argv);


#endif /* _NGX_HTTP_BATCH_LINK_INT_H_INCLUDED_ */
