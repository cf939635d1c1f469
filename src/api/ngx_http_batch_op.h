/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * An op is what a request waits for.  It lives in a pool of its own, because
 * a request can die while a command or a task is under way, and what is
 * durable on disk must reach the index even then.
 *
 *   created    by a handler; holds one reference of the request (r->count)
 *   pending    an index call or a task is under way; its wrapper calls step()
 *              or done(), and runs the request's posted requests after it
 *   waiting    for a time: nothing is pending, the timer is set
 *   r == NULL  the client is gone, or was answered.  If nothing is pending,
 *              or once that has ended, abandon() is called; an op without
 *              abandon() goes on to its end
 *   destroyed  by ngx_http_batch_op_finish(), or by abandon()
 *
 * Every function that answers (finish, answer, reject, unavailable ...)
 * ends the op: its caller returns at once.  If it returns something, that is
 * NGX_DONE.
 */

#ifndef _NGX_HTTP_BATCH_OP_H_INCLUDED_
#define _NGX_HTTP_BATCH_OP_H_INCLUDED_

#include "ngx_http_batch_api.h"
#include "ngx_http_batch_body.h"
#include "ngx_http_batch_idem.h"
#include "ngx_http_batch_index.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_pace.h"
#include "ngx_http_batch_quota.h"
#include "ngx_http_batch_stream.h"


typedef void (*ngx_http_batch_op_run_pt)(ngx_http_batch_op_t *op,
    ngx_log_t *log);
typedef void (*ngx_http_batch_op_step_pt)(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);


struct ngx_http_batch_op_s {
    ngx_http_request_t           *r;
    ngx_http_cleanup_t           *cln;
    ngx_pool_t                   *pool;
    ngx_http_batch_loc_conf_t    *conf;

    char                          id[BATCH_ID_LEN];
    ngx_str_t                     tenant;
    ngx_str_t                     request_id;

    ngx_http_batch_op_step_pt     step;
    ngx_http_batch_op_run_pt      run;
    ngx_http_batch_op_pt          done;
    ngx_http_batch_op_pt          abandon;
    ngx_http_batch_op_pt          ready;       /* see ..._op_ready() */
    ngx_http_batch_op_pt          later;       /* see ..._op_later() */
    ngx_event_t                   timer;

    ngx_http_batch_body_t         body;
    ngx_http_batch_pace_t         pace;

    /* results of a task */
    ngx_int_t                     rc;
    ngx_err_t                     err;
    ngx_fd_t                      fd;
    off_t                         size;

    int64_t                       at;          /* s: the batch's creation, then
                                                  its cancellation */
    ngx_http_batch_file_t         file;
    ngx_http_batch_meta_t         meta;
    json_t                       *root;        /* file or meta point into it */
    ngx_http_batch_view_t         view;        /* see ..._op_batch() */
    batch_text_t                  text;        /* the answer */
    ngx_http_batch_stream_t      *stream;      /* NULL: it is sent at once */
    void                         *data;
    ngx_http_batch_idem_t        *idem;        /* NULL: no key */
    ngx_http_batch_quota_place_t  quota;

    unsigned                      pending:1;
};


/* of the request while there is one */
#define ngx_http_batch_op_log(op)                                             \
    ((op)->r ? (op)->r->connection->log : ngx_cycle->log)


/* NULL if there is no memory.  With it, the handler returns NGX_DONE. */
ngx_http_batch_op_t *ngx_http_batch_op_create(ngx_http_request_t *r);
/* for the object that the path names; *rc is for the handler to return.  NULL,
 * too, if its id is malformed, which was answered 404. */
ngx_http_batch_op_t *ngx_http_batch_op_of_id(ngx_http_request_t *r,
    batch_id_kind_e kind, ngx_int_t *rc);
/* asks the index for that file or batch; a handler returns what this returns,
 * and step() gets the result */
ngx_int_t ngx_http_batch_op_find(ngx_http_request_t *r, batch_id_kind_e kind,
    ngx_http_batch_op_step_pt step);
void ngx_http_batch_op_destroy(ngx_http_batch_op_t *op);

/* answers: rc is that of a function of send.h */
ngx_int_t ngx_http_batch_op_finish(ngx_http_batch_op_t *op, ngx_int_t rc);
/* 200 with op->text; 500 if that has failed */
void ngx_http_batch_op_answer(ngx_http_batch_op_t *op);
/* 200 with the batch, or 500 */
void ngx_http_batch_op_batch(ngx_http_batch_op_t *op,
    const ngx_http_batch_view_t *v);

/* errors: as ngx_http_batch_send_error() */
ngx_int_t ngx_http_batch_op_reject(ngx_http_batch_op_t *op, ngx_uint_t status,
    const char *param, const char *code, const char *fmt, ...);
/* with another type than the status has */
ngx_int_t ngx_http_batch_op_reject_type(ngx_http_batch_op_t *op,
    ngx_uint_t status, const char *type, const char *fmt, ...);
ngx_int_t ngx_http_batch_op_not_found(ngx_http_batch_op_t *op,
    batch_id_kind_e kind);
/* 503.  rc NGX_BUSY: the index is being rebuilt; NGX_AGAIN: there is no room
 * in the queue; others: the index is away, or there is no memory */
ngx_int_t ngx_http_batch_op_unavailable(ngx_http_batch_op_t *op, ngx_int_t rc);
/* by op->err: 507 if the disk is full, else 500 */
ngx_int_t ngx_http_batch_op_disk_error(ngx_http_batch_op_t *op);
/* what the index has of op->id could not be decoded: 500 and an alert, or 503
 * if there was no memory for it */
ngx_int_t ngx_http_batch_op_malformed(ngx_http_batch_op_t *op,
    const char *what);
ngx_int_t ngx_http_batch_op_full(ngx_http_batch_op_t *op);
/* 500 */
ngx_int_t ngx_http_batch_op_failed(ngx_http_batch_op_t *op);

/* 1 if the op's tenant is this one */
ngx_uint_t ngx_http_batch_op_owns(ngx_http_batch_op_t *op,
    const ngx_str_t *tenant);
/* a new id; NGX_OK, or NGX_DONE if the op has ended with 503 */
ngx_int_t ngx_http_batch_op_new_id(ngx_http_batch_op_t *op,
    batch_id_kind_e kind, char *id);

/* rc is that of an index call, which is never answered from inside the call:
 * step() gets its result, NGX_OK; or the op has ended with 503, since it could
 * not be sent: NGX_DONE */
ngx_int_t ngx_http_batch_op_wait(ngx_http_batch_op_t *op,
    ngx_http_batch_op_step_pt step, ngx_int_t rc);
/* the callback of the call; data is the op */
void ngx_http_batch_op_index(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);

/* next() if the index is filled, else 503: what could not be told to the index
 * is not published */
void ngx_http_batch_op_ready(ngx_http_batch_op_t *op,
    ngx_http_batch_op_pt next);

/* next() after so many ms.  If the client goes meanwhile, abandon() is called,
 * which must be set. */
void ngx_http_batch_op_later(ngx_http_batch_op_t *op, ngx_msec_t ms,
    ngx_http_batch_op_pt next);

/* run() in a thread, then done().  NGX_DONE: the op has ended with 503. */
ngx_int_t ngx_http_batch_op_task(ngx_http_batch_op_t *op,
    ngx_http_batch_op_run_pt run, ngx_http_batch_op_pt done);


#endif /* _NGX_HTTP_BATCH_OP_H_INCLUDED_ */
