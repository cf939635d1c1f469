/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The REST API: method and path to a handler, answers, errors, and the one way
 * in which a request waits for Redis or the thread pool (an op).
 */

#ifndef _NGX_HTTP_BATCH_API_H_INCLUDED_
#define _NGX_HTTP_BATCH_API_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_index.h"

#include <ngx_sha1.h>


#define NGX_HTTP_BATCH_API_JSON_MAX   65536    /* JSON request body, bytes */
#define NGX_HTTP_BATCH_API_SHOWN      100      /* of a client's value, bytes */
#define NGX_HTTP_BATCH_API_TENANT     256      /* of batch_tenant, bytes */

#define NGX_HTTP_BATCH_UNPROCESSABLE  422      /* dialect impala's 400 */
#define NGX_HTTP_BATCH_API_DUMP                                               \
    (JSON_COMPACT|JSON_REAL_PRECISION(15))     /* 0.2 stays 0.2 */

#define NGX_HTTP_BATCH_TTL_MIN        3600     /* expires_after, seconds */
#define NGX_HTTP_BATCH_TTL_MAX        2592000


typedef struct ngx_http_batch_op_s  ngx_http_batch_op_t;


/* a request with an Idempotency-Key; from the op's pool */

typedef struct {
    char                        key[41];       /* SHA-1 of tenant and key */
    ngx_sha1_t                  sha1;          /* of the request so far */
    ngx_str_t                   first;         /* replay: the object's text */
    json_t                     *root;          /* first points into it */
    json_t                     *object;        /* what first says, decoded */
    unsigned                    replay:1;      /* the same request was here */
    unsigned                    other:1;       /* another one was */
    unsigned                    gone:1;        /* what it made was deleted */
} ngx_http_batch_idem_t;


/* a place that the op has taken, or was refused, see ngx_http_batch_index_use_hold */

typedef struct {
    ngx_http_batch_use_e        use;
    char                        id[BATCH_ID_LEN];
    int64_t                     amount;        /* bytes, lines */
    ngx_http_batch_over_e       over;          /* refused: by which limit */
    uint64_t                    used;
    ngx_uint_t                  held;          /* to be given back */
    ngx_uint_t                  kept;          /* never to be: set by who takes
                                                  it */
    void                      (*next)(ngx_http_batch_op_t *op);
} ngx_http_batch_quota_place_t;


/* a client request's module ctx; from the request's pool */

typedef struct {
    ngx_uint_t                  kind;          /* NGX_HTTP_BATCH_CTX_API */
    ngx_uint_t                  route;
    ngx_str_t                   id;            /* as in the path, unchecked */
    ngx_str_t                   tenant;
    ngx_str_t                   request_id;    /* 32 hex digits */
    ngx_http_batch_loc_conf_t  *conf;
    ngx_http_batch_op_t        *op;            /* that reads the body */
    ngx_buf_t                  *page;          /* instead of nginx's own */
    unsigned                    headers:1;     /* of every answer: set */
    unsigned                    paged:1;       /* page was sent */
    unsigned                    cors:1;        /* its headers are set */
} ngx_http_batch_api_ctx_t;


/*
 * An op is what a request waits for.  It lives in a pool of its own, because
 * a request can die while a command or a task is under way, and what is
 * durable on disk must reach the index even then.
 *
 *   created    by a handler; holds one reference of the request (r->count)
 *   pending    an index call or a task is under way; its wrapper calls step()
 *              or done(), and runs the request's posted requests after it
 *   r == NULL  the client is gone, or was answered.  If nothing is pending,
 *              or once that has ended, abandon() is called; an op without
 *              abandon() goes on to its end
 *   destroyed  by ngx_http_batch_op_finish(), or by abandon()
 *
 * Every function that answers (finish, answer, json, reject, unavailable)
 * ends the op: its caller returns at once.
 */

typedef void (*ngx_http_batch_op_pt)(ngx_http_batch_op_t *op);
typedef void (*ngx_http_batch_op_run_pt)(ngx_http_batch_op_t *op,
    ngx_log_t *log);
typedef void (*ngx_http_batch_op_step_pt)(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);

/*
 * Takes a piece of the request body, advancing *pos.  NGX_OK: all taken;
 * NGX_AGAIN: a task is pending, call again with the rest after it (also if
 * *pos == last); NGX_DONE: the request was answered, the op may be gone.
 */
typedef ngx_int_t (*ngx_http_batch_op_take_pt)(ngx_http_batch_op_t *op,
    u_char **pos, u_char *last);

struct ngx_http_batch_op_s {
    ngx_http_request_t         *r;
    ngx_http_cleanup_t         *cln;
    ngx_pool_t                 *pool;
    ngx_http_batch_loc_conf_t  *conf;

    char                        id[BATCH_ID_LEN];
    ngx_str_t                   tenant;

    ngx_http_batch_op_step_pt   step;
    ngx_http_batch_op_run_pt    run;
    ngx_http_batch_op_pt        done;
    ngx_http_batch_op_pt        abandon;

    /* the request body */
    ngx_http_batch_op_take_pt   take;
    ngx_http_batch_op_pt        end;
    u_char                     *piece;         /* read back from a file */
    u_char                     *piece_pos;
    u_char                     *piece_last;
    off_t                       piece_off;     /* in the file, bytes */
    size_t                      piece_size;
    ngx_fd_t                    body_fd;
    ngx_buf_t                  *body;          /* of JSON, as it came */
    size_t                      body_max;      /* bytes */
    ngx_http_batch_op_pt        parsed;

    /* how fast it comes */
    ngx_event_t                 pace;
    ngx_msec_t                  pace_since;    /* not while paused */
    ngx_msec_t                  pace_used;     /* ms before that */
    off_t                       pace_bytes;    /* that came so far */

    /* results of a task */
    ngx_int_t                   rc;
    ngx_err_t                   err;
    ngx_fd_t                    fd;
    off_t                       size;

    int64_t                     at;            /* s: the batch's creation, then
                                                  its cancellation */
    ngx_http_batch_file_t       file;
    ngx_http_batch_meta_t       meta;
    json_t                     *root;          /* file or meta point into it */
    char                       *text;          /* the answer, malloc()ed */
    void                       *data;
    ngx_http_batch_idem_t      *idem;          /* NULL: no key */
    ngx_http_batch_quota_place_t  quota;

    unsigned                    pending:1;
    unsigned                    again:1;       /* take() said NGX_AGAIN */
    unsigned                    paused:1;      /* the disk is waited for */
};


/* content handler of a location with batch_api */
ngx_int_t ngx_http_batch_api_handler(ngx_http_request_t *r);

/* ngx_http_batch_page.c: filters for pages that nginx makes itself */
ngx_int_t ngx_http_batch_page_filter_init(ngx_conf_t *cf);
/* the request's ctx, made if need be; NULL: it is no API request's, or there is
 * no memory */
ngx_http_batch_api_ctx_t *ngx_http_batch_page_ctx(ngx_http_request_t *r);

/* ngx_http_batch_cors.c: batch_cors */
ngx_int_t ngx_http_batch_cors_init(ngx_conf_t *cf);
/* in the header filter, of every answer below batch_api; once */
ngx_int_t ngx_http_batch_cors_headers(ngx_http_request_t *r);

/* ngx_http_batch_send.c: answers.  What they return goes to
 * ngx_http_finalize_request(). */

/* sends text, from malloc(), which is freed with the request */
ngx_int_t ngx_http_batch_send_text(ngx_http_request_t *r, ngx_uint_t status,
    char *text);
/* takes the reference */
ngx_int_t ngx_http_batch_send_json(ngx_http_request_t *r, ngx_uint_t status,
    json_t *root);
/* An error, type by status: invalid_request_error, server_error from 500.
 * param and code may be NULL; fmt as ngx_sprintf()'s. */
ngx_int_t ngx_http_batch_send_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *param, const char *code, const char *fmt, ...);
ngx_int_t ngx_http_batch_send_verror(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, const char *param, const char *code, const char *fmt,
    va_list args);
/* X-Request-Id and what else every answer carries */
ngx_int_t ngx_http_batch_send_headers(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_send_header(ngx_http_request_t *r, const char *key,
    ngx_str_t *value);

/* at most NGX_HTTP_BATCH_API_SHOWN bytes of it, cut between characters */
ngx_str_t ngx_http_batch_send_shown(const u_char *p, size_t len);
/* replaces what is not UTF-8 by '?', in place; returns how many bytes */
size_t ngx_http_batch_send_utf8(u_char *p, size_t len);
/* characters of valid UTF-8 */
size_t ngx_http_batch_send_chars(const char *p, size_t len);

/* the 404s of unknown, foreign and malformed ids */
ngx_int_t ngx_http_batch_send_no_file(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_send_no_batch(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_send_no_upload(ngx_http_request_t *r);

/* 507 */
ngx_int_t ngx_http_batch_send_full(ngx_http_request_t *r);

/* ngx_http_batch_op.c */

/* NULL if there is no memory.  With it, the handler returns NGX_DONE. */
ngx_http_batch_op_t *ngx_http_batch_op_create(ngx_http_request_t *r);
void ngx_http_batch_op_destroy(ngx_http_batch_op_t *op);
void ngx_http_batch_op_finish(ngx_http_batch_op_t *op, ngx_int_t rc);
/* 200, op->text */
void ngx_http_batch_op_answer(ngx_http_batch_op_t *op);
void ngx_http_batch_op_json(ngx_http_batch_op_t *op, json_t *root);
void ngx_http_batch_op_reject(ngx_http_batch_op_t *op, ngx_uint_t status,
    const char *param, const char *code, const char *fmt, ...);
/* the same with another type than the status has */
void ngx_http_batch_op_reject_type(ngx_http_batch_op_t *op, ngx_uint_t status,
    const char *type, const char *fmt, ...);
/* 503: rc of the index; NGX_AGAIN: no room in the queue; or by a task's
 * error: 507 when the disk is full, 500 */
void ngx_http_batch_op_unavailable(ngx_http_batch_op_t *op, ngx_int_t rc);
void ngx_http_batch_op_disk_error(ngx_http_batch_op_t *op);
/* what the index has of op->id could not be decoded: 500 and an alert, or 503
 * if there was no memory for it */
void ngx_http_batch_op_malformed(ngx_http_batch_op_t *op, const char *what);
void ngx_http_batch_op_full(ngx_http_batch_op_t *op);
void ngx_http_batch_op_no_file(ngx_http_batch_op_t *op);
void ngx_http_batch_op_no_batch(ngx_http_batch_op_t *op);

/* callback of index calls, data = op; op->step and op->pending are to be set
 * by ngx_http_batch_op_wait() before the call */
void ngx_http_batch_op_index(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
void ngx_http_batch_op_wait(ngx_http_batch_op_t *op,
    ngx_http_batch_op_step_pt step);
/* after the call: if it could not be sent, the op ends with 503 */
void ngx_http_batch_op_sent(ngx_http_batch_op_t *op, ngx_int_t rc);

/* run() in a thread, then done().  NGX_ERROR: the op has ended with 503. */
ngx_int_t ngx_http_batch_op_task(ngx_http_batch_op_t *op,
    ngx_http_batch_op_run_pt run, ngx_http_batch_op_pt done);

/* ngx_http_batch_param.c: NGX_OK, or NGX_DONE if the op was rejected */

/* decimal integer between min and max */
ngx_int_t ngx_http_batch_param_int(ngx_http_batch_op_t *op, const char *name,
    const u_char *p, size_t len, int64_t min, int64_t max, int64_t *n);
/* rejects: "Invalid value: '...'. Supported values are: 'a', 'b', and 'c'." */
void ngx_http_batch_param_supported(ngx_http_batch_op_t *op, const char *param,
    const u_char *p, size_t len, const ngx_str_t *values, ngx_uint_t n);
/* rejects: "Invalid type for '...': expected a string, but got ..." */
void ngx_http_batch_param_type(ngx_http_batch_op_t *op, const char *param,
    const char *expected, const json_t *value);
void ngx_http_batch_param_missing(ngx_http_batch_op_t *op, const char *param);
/* {"anchor":"created_at","seconds":n} */
ngx_int_t ngx_http_batch_param_expires(ngx_http_batch_op_t *op,
    const char *name, json_t *value, int64_t *seconds);
ngx_int_t ngx_http_batch_param_anchor(ngx_http_batch_op_t *op,
    const char *param, const u_char *p, size_t len);

/* the string of that name in op->root; *value of an optional one that is
 * missing or null has len 0 */
ngx_int_t ngx_http_batch_param_string(ngx_http_batch_op_t *op,
    const char *name, ngx_uint_t required, ngx_str_t *value);
/* "batch": the only purpose of the dialect tensorzero, and its default */
extern const ngx_str_t  ngx_http_batch_purpose;
/* one of the purposes a client may give; *purpose is static */
ngx_int_t ngx_http_batch_param_purpose(ngx_http_batch_op_t *op,
    const u_char *p, size_t len, ngx_str_t *purpose);
/* dialect tensorzero: the name ends with .jsonl */
ngx_int_t ngx_http_batch_param_suffix(ngx_http_batch_op_t *op,
    const char *param, const ngx_str_t *name);
/* 1 if a file that begins so may be a batch's input.  len: of the whole file,
 * or more than NGX_HTTP_BATCH_PARAM_HEAD, which is what is looked at. */
ngx_uint_t ngx_http_batch_param_jsonl(u_char *p, size_t len);

#define NGX_HTTP_BATCH_PARAM_HEAD  65536

#define ngx_http_batch_for_batch(purpose)                                     \
    ((purpose)->len == 5 && ngx_strncmp((purpose)->data, "batch", 5) == 0)

/* ngx_http_batch_body.c: reads the request body into op->take(), then
 * op->end(); op->abandon must be set */
void ngx_http_batch_body_start(ngx_http_batch_op_t *op);
void ngx_http_batch_body_resume(ngx_http_batch_op_t *op);
/*
 * Reads a JSON object of at most max bytes into op->root, then parsed(op); a
 * content handler returns what this returns.  op->abandon destroys the op:
 * whoever publishes something sets it to NULL.
 */
ngx_int_t ngx_http_batch_body_json(ngx_http_request_t *r, size_t max,
    ngx_http_batch_op_pt parsed);
/* refuses compressed bodies; NGX_OK, or the answer's rc in *answer */
ngx_int_t ngx_http_batch_body_encoded(ngx_http_request_t *r,
    ngx_int_t *answer);

/* ngx_http_batch_pace.c: batch_body_rate.  Whoever is too slow is answered
 * 408, which ends the op. */
void ngx_http_batch_pace_start(ngx_http_batch_op_t *op);
void ngx_http_batch_pace_stop(ngx_http_batch_op_t *op);
void ngx_http_batch_pace_pause(ngx_http_batch_op_t *op);
void ngx_http_batch_pace_resume(ngx_http_batch_op_t *op);

/* ngx_http_batch_idem.c: Idempotency-Key */

/* looks for the header; NGX_OK (also without one), or NGX_DONE if the op was
 * rejected */
ngx_int_t ngx_http_batch_idem_init(ngx_http_batch_op_t *op);
/* what makes a request the same, besides method and path; also in a task */
void ngx_http_batch_idem_add(ngx_http_batch_op_t *op, const void *p,
    size_t len);
/* In a task, if there is op->idem: NGX_AGAIN if the key is free; NGX_DONE, with
 * idem->first and idem->replay, if this request has used it; NGX_DECLINED if
 * another has; NGX_ERROR */
ngx_int_t ngx_http_batch_idem_look(ngx_http_batch_op_t *op, ngx_log_t *log);
/* In a task, once, if there is op->idem, right before the object (its manifest)
 * is published: as ngx_http_batch_keys_claim(), with idem->first.  If a
 * quota is exceeded, only what was published before counts, else NGX_AGAIN. */
ngx_int_t ngx_http_batch_idem_claim(ngx_http_batch_op_t *op,
    const ngx_str_t *object, ngx_log_t *log);
/* after the task: NGX_OK, or NGX_DONE if the key was another request's */
ngx_int_t ngx_http_batch_idem_check(ngx_http_batch_op_t *op);

/* ngx_http_batch_quota.c: batch_quota.  These go on with next(), or reject
 * the op, at once or later. */

#define NGX_HTTP_BATCH_QUOTA_HOLD  600000      /* ms: for publishing */

/* Is the index filled, and would a file of that many bytes do? */
void ngx_http_batch_quota_check(ngx_http_batch_op_t *op, off_t bytes,
    ngx_http_batch_op_pt next);
/*
 * Takes a place, which is given back with the op unless it is kept.  With an
 * Idempotency-Key next() is called even if there is none: then quota.over is
 * set, and ngx_http_batch_idem_claim() tells whether it is to be rejected.
 */
void ngx_http_batch_quota_take(ngx_http_batch_op_t *op,
    ngx_http_batch_use_e use, const char *id, int64_t amount, ngx_msec_t hold,
    ngx_http_batch_op_pt next);
/* 1 if there are limits */
ngx_uint_t ngx_http_batch_quota_any(ngx_http_batch_op_t *op,
    ngx_http_batch_use_e use);
void ngx_http_batch_quota_reject(ngx_http_batch_op_t *op);
/* what has that id is published and in the index */
void ngx_http_batch_quota_keep(ngx_http_batch_op_t *op, const char *id);
/* for ngx_http_batch_op_destroy() */
void ngx_http_batch_quota_release(ngx_http_batch_op_t *op);

/* the path as the client wrote it, without the query */
ngx_str_t ngx_http_batch_api_path(ngx_http_request_t *r);

/*
 * ngx_http_batch_write.c: values as jansson writes them with
 * NGX_HTTP_BATCH_API_DUMP; NULL is null.  May be used in threads.
 */

void ngx_http_batch_write_real(batch_text_t *t, double x);
void ngx_http_batch_write_str(batch_text_t *t, const char *s, size_t len);
#define ngx_http_batch_write_nstr(t, s)                                       \
    ngx_http_batch_write_str(t, (char *) (s)->data, (s)->len)
void ngx_http_batch_write_json(batch_text_t *t, json_t *value);

/* ngx_http_batch_render.c: may be called in threads; NULL on error */
json_t *ngx_http_batch_render_file(const ngx_http_batch_file_t *f);
/* f: the file of a completed one */
json_t *ngx_http_batch_render_upload(const ngx_http_batch_upload_t *u,
    ngx_http_batch_upload_status_e status, const ngx_http_batch_file_t *f);
/* appends the object, and fills id.  NGX_ERROR: no batch of ours, nothing was
 * written */
ngx_int_t ngx_http_batch_render_batch(batch_text_t *w,
    const ngx_http_batch_view_t *v, ngx_uint_t dialect, char id[BATCH_ID_LEN]);
/* {"object":"list","data":[ - and its end; first "": an empty page */
void ngx_http_batch_render_list(batch_text_t *w);
void ngx_http_batch_render_list_end(batch_text_t *w,
    const char *first, const char *last, ngx_uint_t has_more);
/* answers the op with the batch, or with 500 */
void ngx_http_batch_op_batch(ngx_http_batch_op_t *op,
    const ngx_http_batch_view_t *v);

/* handlers */
ngx_int_t ngx_http_batch_api_file_create(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_list_files(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_file(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_file_delete(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_file_content(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_upload_create(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_upload(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_upload_part(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_upload_complete(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_upload_cancel(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_batch_create(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_list_batches(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_batch(ngx_http_request_t *r);
ngx_int_t ngx_http_batch_api_batch_cancel(ngx_http_request_t *r);

/* ngx_http_batch_api_batch_params.c: fills op->meta out of the body, whose
 * reference op->root holds; NGX_OK, or NGX_DONE if the op was rejected */
ngx_int_t ngx_http_batch_api_batch_params(ngx_http_batch_op_t *op);
/* dialect impala: 404, or next() if the batch's input file is there */
void ngx_http_batch_api_batch_params_input(ngx_http_batch_op_t *op,
    ngx_http_batch_op_pt next);


#endif /* _NGX_HTTP_BATCH_API_H_INCLUDED_ */
