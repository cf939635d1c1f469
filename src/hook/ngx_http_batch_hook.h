/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Webhooks: when a batch has ended, its location's batch_webhook is told.
 *
 * final.json implies that the webhook is to be delivered, hook.json that it
 * was; the index knows when the next attempt is due.  One worker at a time has
 * it: a claim puts it off for longer than an attempt takes.  So it is delivered
 * at least once, and normally once.
 *
 * Receivers are apart: ngx_http_batch_hook_receiver.h says how many places each
 * has, and the index keeps what is due and has none in a queue for each.
 */

#ifndef _NGX_HTTP_BATCH_HOOK_H_INCLUDED_
#define _NGX_HTTP_BATCH_HOOK_H_INCLUDED_

#include "ngx_http_batch_attempt.h"
#include "ngx_http_batch_hook_receiver.h"
#include "ngx_http_batch_object.h"
#include "batch_hook.h"

/* init_process */
ngx_int_t ngx_http_batch_hook_init(void);
/* every beat */
void ngx_http_batch_hook_beat(void);
/* a batch has ended: one is due */
void ngx_http_batch_hook_hurry(void);
/* the worker leaves; cut = 1: attempts under way are for another worker */
void ngx_http_batch_hook_leave(ngx_uint_t cut);
/* 1: nothing is under way */
ngx_uint_t ngx_http_batch_hook_idle(void);


/* between hook.c and hook_send.c */

typedef enum {
    NGX_HTTP_BATCH_HOOK_FREE = 0,
    NGX_HTTP_BATCH_HOOK_READING,
    NGX_HTTP_BATCH_HOOK_FLYING,
    NGX_HTTP_BATCH_HOOK_MARKING,
    NGX_HTTP_BATCH_HOOK_TELLING
} ngx_http_batch_hook_life_e;


typedef struct {
    ngx_http_batch_attempt_t     at;             /* the first member */
    ngx_http_batch_hook_life_e   life;
    char                         id[BATCH_ID_LEN];
    json_t                      *root;           /* batch.json */
    ngx_str_t                    tenant;         /* in root */
    ngx_uint_t                   route;
    ngx_http_batch_receiver_t   *receiver;       /* whose place it has, or
                                                    NULL */
    char                         name[BATCH_HOOK_RECEIVER];   /* of another
                                                    receiver, to be told; or
                                                    "" */
    ngx_msec_t                   sent_at;
    batch_status_e               status;
    int64_t                      ended_at;       /* seconds */

    ngx_event_t                  timer;
    ngx_uint_t                   answer;         /* its status; 0: none */
    size_t                       received;       /* of its body */

    char                         body[BATCH_HOOK_BODY];
    char                         hook_id[BATCH_HOOK_ID];
    char                         signature[BATCH_HOOK_SIGNATURE];
    u_char                       stamp[NGX_INT64_LEN];
    ngx_keyval_t                 headers[3];
} ngx_http_batch_hook_t;

/* once, when it is made */
void ngx_http_batch_hook_send_init(ngx_http_batch_hook_t *h);
/* what is in h is sent; verdict() follows, maybe from inside the call */
void ngx_http_batch_hook_send(ngx_http_batch_hook_t *h);
/* ends an attempt from outside, as if there was no answer but what has come */
void ngx_http_batch_hook_send_cut(ngx_http_batch_hook_t *h);
void ngx_http_batch_hook_verdict(ngx_http_batch_hook_t *h);

#endif
