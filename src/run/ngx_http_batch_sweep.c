/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Files whose time has passed are deleted as a client's DELETE would do it
 * (tombstone first), and what a crash has left in tmp/ goes when it is old.
 * One worker of a node does it; two nodes at once do no harm.
 */

#include "ngx_http_batch_run.h"


#define NGX_HTTP_BATCH_SWEEP_EVERY    10000          /* ms */
#define NGX_HTTP_BATCH_SWEEP_FILES    64             /* at once */
#define NGX_HTTP_BATCH_TMP_EVERY      3600000        /* ms */
#define NGX_HTTP_BATCH_TMP_AGE        (24 * 3600)    /* s: longer than any
                                                        upload may last */


typedef struct {
    ngx_uint_t              tmp;       /* also look into tmp/ */
    ngx_uint_t              n;
    char                    ids[NGX_HTTP_BATCH_SWEEP_FILES][BATCH_ID_LEN];
    ngx_int_t               rc[NGX_HTTP_BATCH_SWEEP_FILES];
    ngx_str_t               text[NGX_HTTP_BATCH_SWEEP_FILES];
} ngx_http_batch_sweep_t;


static void ngx_http_batch_sweep_timer(ngx_event_t *ev);
static void ngx_http_batch_sweep_expired(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_sweep_add(ngx_http_batch_sweep_t *s,
    ngx_str_t *manifest);
static void ngx_http_batch_sweep_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_sweep_done(void *ctx, ngx_log_t *log);
static void ngx_http_batch_sweep_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);


static ngx_event_t       ngx_http_batch_sweep_event;
static ngx_connection_t  ngx_http_batch_sweep_dummy;
static ngx_msec_t        ngx_http_batch_sweep_tmp_at;
static ngx_uint_t        ngx_http_batch_sweep_swept_tmp;


void
ngx_http_batch_sweep_init(ngx_cycle_t *cycle)
{
    ngx_event_t  *ev;

    if (ngx_process == NGX_PROCESS_WORKER && ngx_worker != 0) {
        return;
    }

    ngx_http_batch_sweep_dummy.fd = (ngx_socket_t) -1;

    ev = &ngx_http_batch_sweep_event;
    ev->handler = ngx_http_batch_sweep_timer;
    ev->data = &ngx_http_batch_sweep_dummy;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, 1000);
}


static void
ngx_http_batch_sweep_timer(ngx_event_t *ev)
{
    if (ngx_http_batch_dispatch_leaving()) {
        return;
    }

    ngx_add_timer(ev, NGX_HTTP_BATCH_SWEEP_EVERY);

    (void) ngx_http_batch_index_file_expired(batch_clock_sec(),
                                             NGX_HTTP_BATCH_SWEEP_FILES,
                                             ngx_http_batch_sweep_expired,
                                             NULL);
}


static void
ngx_http_batch_sweep_expired(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    size_t                   i;
    ngx_uint_t               tmp;
    ngx_http_batch_task_t   *task;
    ngx_http_batch_sweep_t  *s;

    if (rc != NGX_OK) {
        return;
    }

    tmp = !ngx_http_batch_sweep_swept_tmp
          || ngx_current_msec - ngx_http_batch_sweep_tmp_at
             > NGX_HTTP_BATCH_TMP_EVERY;

    if (res->n == 0 && !tmp) {
        return;
    }

    task = ngx_http_batch_task_create(sizeof(ngx_http_batch_sweep_t),
                                      ngx_http_batch_sweep_run,
                                      ngx_http_batch_sweep_done);
    if (task == NULL) {
        return;
    }

    s = task->ctx;
    s->tmp = tmp;

    for (i = 0; i < res->n && i < NGX_HTTP_BATCH_SWEEP_FILES; i++) {
        ngx_http_batch_sweep_add(s, &res->items[i]);
    }

    if (ngx_http_batch_task_post(task) != NGX_OK) {
        ngx_http_batch_sweep_done(s, ngx_cycle->log);
        return;
    }

    if (tmp) {
        ngx_http_batch_sweep_swept_tmp = 1;
        ngx_http_batch_sweep_tmp_at = ngx_current_msec;
    }
}


static void
ngx_http_batch_sweep_add(ngx_http_batch_sweep_t *s, ngx_str_t *manifest)
{
    json_t                 *root;
    ngx_http_batch_file_t   f;

    if (ngx_http_batch_file_decode(&f, manifest->data, manifest->len, &root)
        != NGX_OK)
    {
        return;
    }

    s->text[s->n].data = ngx_alloc(manifest->len, ngx_cycle->log);

    if (s->text[s->n].data) {
        ngx_memcpy(s->text[s->n].data, manifest->data, manifest->len);
        s->text[s->n].len = manifest->len;

        ngx_memcpy(s->ids[s->n], f.id, BATCH_ID_LEN);
        s->rc[s->n] = NGX_ERROR;
        s->n++;
    }

    json_decref(root);
}


static void
ngx_http_batch_sweep_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_sweep_t *s = ctx;

    ngx_uint_t  i;

    for (i = 0; i < s->n && !ngx_http_batch_task_quit(); i++) {
        s->rc[i] = ngx_http_batch_store_delete_file(s->ids[i], log);
    }

    if (s->tmp) {
        ngx_http_batch_store_sweep_tmp(NGX_HTTP_BATCH_TMP_AGE, log);
    }
}


static void
ngx_http_batch_sweep_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_sweep_t *s = ctx;

    json_t                 *root;
    ngx_uint_t              i;
    ngx_http_batch_file_t   f;

    for (i = 0; i < s->n; i++) {

        if (s->rc[i] != NGX_ERROR
            && ngx_http_batch_file_decode(&f, s->text[i].data, s->text[i].len,
                                          &root)
               == NGX_OK)
        {
            ngx_log_error(NGX_LOG_INFO, log, 0, "batch: %s has expired",
                          s->ids[i]);

            (void) ngx_http_batch_index_file_del(&f,
                                                 ngx_http_batch_sweep_told,
                                                 NULL);
            json_decref(root);
        }

        ngx_free(s->text[i].data);
    }

    ngx_http_batch_task_free(ngx_http_batch_task_of(ctx));
}


static void
ngx_http_batch_sweep_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    /* if the index did not hear it, the next sweep deletes it again */
}
