/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Files that have expired are deleted as a client's DELETE would do it
 * (tombstone first), and so are the parts of uploads that have expired.  A
 * completed upload whose worker died before it had made the file gets it here.
 * One worker of a node does this; two nodes at once do no harm.
 */

#include "ngx_http_batch_sweep.h"
#include "ngx_http_batch_index.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"
#include "ngx_http_batch_uploads.h"


#define NGX_HTTP_BATCH_SWEEP_EVERY    10000          /* ms */
#define NGX_HTTP_BATCH_SWEEP_FILES    64             /* at once */
#define NGX_HTTP_BATCH_UPLOADS_EVERY  300000         /* ms */
#define NGX_HTTP_BATCH_UPLOADS_GRACE  600            /* s: a complete call that
                                                        came in time may still
                                                        be at work */
#define NGX_HTTP_BATCH_SWEEP_ENDED    4200000        /* ms: for how long a part
                                                        may still come */
#define NGX_HTTP_BATCH_UPLOADS_KEEP   (24 * 3600)    /* s: how long an upload
                                                        says how it ended */


/* strings of the file point into root */

typedef struct {
    ngx_http_batch_file_t       file;
    json_t                     *root;
    ngx_int_t                   rc;        /* of its deletion */
    char                        from[BATCH_ID_LEN];     /* its upload */
} ngx_http_batch_sweep_file_t;


typedef struct {
    ngx_uint_t                  uploads;   /* also look into uploads/ */
    int64_t                     now;       /* s */
    ngx_uint_t                  nmade;     /* files of completed uploads */
    ngx_http_batch_sweep_file_t made[NGX_HTTP_BATCH_SWEEP_FILES];
    ngx_uint_t                  n;         /* files that have expired */
    ngx_http_batch_sweep_file_t old[NGX_HTTP_BATCH_SWEEP_FILES];
} ngx_http_batch_sweep_t;


static void ngx_http_batch_sweep_timer(ngx_event_t *ev);
static void ngx_http_batch_sweep_expired(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_sweep_add(ngx_http_batch_sweep_t *s,
    ngx_str_t *manifest);
static ngx_int_t ngx_http_batch_sweep_upload(void *ctx, const char *id,
    ngx_log_t *log);
static void ngx_http_batch_sweep_finish(ngx_http_batch_sweep_t *s,
    const char *id, ngx_http_batch_upload_state_t *st, ngx_log_t *log);
static void ngx_http_batch_sweep_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_sweep_done(void *ctx, ngx_log_t *log);


static ngx_event_t       ngx_http_batch_sweep_event;
static ngx_msec_t        ngx_http_batch_sweep_uploads_at;
static ngx_uint_t        ngx_http_batch_sweep_swept_uploads;


void
ngx_http_batch_sweep_init(ngx_cycle_t *cycle)
{
    if (ngx_process == NGX_PROCESS_WORKER && ngx_worker != 0) {
        return;
    }

    ngx_http_batch_turn_timer(&ngx_http_batch_sweep_event,
                              ngx_http_batch_sweep_timer, 1);

    ngx_add_timer(&ngx_http_batch_sweep_event, 1000);
}


static void
ngx_http_batch_sweep_timer(ngx_event_t *ev)
{
    if (ngx_http_batch_turn_leaving()) {
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
    ngx_uint_t               uploads;
    ngx_http_batch_sweep_t  *s;

    if (rc != NGX_OK) {
        return;
    }

    uploads = !ngx_http_batch_sweep_swept_uploads
              || ngx_current_msec - ngx_http_batch_sweep_uploads_at
                 > NGX_HTTP_BATCH_UPLOADS_EVERY;

    if (res->n == 0 && !uploads) {
        return;
    }

    s = ngx_http_batch_task_create(sizeof(ngx_http_batch_sweep_t),
                                   ngx_http_batch_sweep_run,
                                   ngx_http_batch_sweep_done);
    if (s == NULL) {
        return;
    }

    s->uploads = uploads;
    s->now = batch_clock_sec();

    for (i = 0; i < res->n && i < NGX_HTTP_BATCH_SWEEP_FILES; i++) {
        ngx_http_batch_sweep_add(s, &res->items[i]);
    }

    if (ngx_http_batch_task_post(s) != NGX_OK) {
        ngx_http_batch_sweep_done(s, ngx_cycle->log);
        return;
    }

    if (uploads) {
        ngx_http_batch_sweep_swept_uploads = 1;
        ngx_http_batch_sweep_uploads_at = ngx_current_msec;
    }
}


static void
ngx_http_batch_sweep_add(ngx_http_batch_sweep_t *s, ngx_str_t *manifest)
{
    ngx_http_batch_sweep_file_t  *old;

    old = &s->old[s->n];

    if (ngx_http_batch_file_decode(&old->file, manifest->data, manifest->len,
                                   &old->root)
        == NGX_OK)
    {
        old->rc = NGX_ERROR;
        s->n++;
    }
}


static void
ngx_http_batch_sweep_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_sweep_t *s = ctx;

    ngx_uint_t  i;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, log, 0,
                   "batch: sweep: %ui files have expired%s", s->n,
                   s->uploads ? ", uploads are looked at" : "");

    for (i = 0; i < s->n && !ngx_http_batch_task_quit(); i++) {
        s->old[i].rc = ngx_http_batch_delete_file(s->old[i].file.id, log);
    }

    if (s->uploads) {
        (void) ngx_http_batch_walk(BATCH_ID_UPLOAD,
                                   ngx_http_batch_sweep_upload, s, log);
    }
}


static ngx_int_t
ngx_http_batch_sweep_upload(void *ctx, const char *id, ngx_log_t *log)
{
    ngx_http_batch_sweep_t *s = ctx;

    ngx_int_t                       rc;
    ngx_http_batch_upload_state_t   st;

    if (ngx_http_batch_task_quit()) {
        return NGX_ABORT;
    }

    rc = ngx_http_batch_uploads_load(id, s->now, &st, log);

    if (rc == NGX_DECLINED) {

        /* never created, or not quite deleted */

        if (ngx_http_batch_uploads_old(id, NGX_HTTP_BATCH_TMP_AGE, log)) {
            ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                           "batch: %s: was never created, is deleted", id);
            ngx_http_batch_uploads_delete(id, log);
        }

        return NGX_OK;
    }

    if (rc != NGX_OK) {
        return NGX_OK;
    }

    if (st.end) {
        ngx_http_batch_sweep_finish(s, id, &st, log);

    } else if (st.upload.expires_at + NGX_HTTP_BATCH_UPLOADS_GRACE <= s->now
               && ngx_http_batch_uploads_end(id,
                                             NGX_HTTP_BATCH_UPLOAD_EXPIRED,
                                             NULL, NULL, log)
                  == NGX_OK)
    {
        ngx_log_error(NGX_LOG_INFO, log, 0, "batch: %s has expired", id);
        ngx_http_batch_uploads_clean(id, log);
    }

    ngx_http_batch_uploads_free(&st);

    return NGX_OK;
}


static void
ngx_http_batch_sweep_finish(ngx_http_batch_sweep_t *s, const char *id,
    ngx_http_batch_upload_state_t *st, ngx_log_t *log)
{
    ngx_uint_t                    made;
    ngx_http_batch_sweep_file_t  *new;

    if (st->status == NGX_HTTP_BATCH_UPLOAD_COMPLETED) {

        if (s->nmade == NGX_HTTP_BATCH_SWEEP_FILES
            || ngx_http_batch_uploads_finish(id, &st->file, &made, log)
               == NGX_ERROR)
        {
            return;
        }

        if (made) {
            ngx_log_debug2(NGX_LOG_DEBUG_HTTP, log, 0,
                           "batch: %s: gets its file %s", id, st->file.id);

            new = &s->made[s->nmade++];
            new->file = st->file;
            new->root = json_incref(st->end);
            (void) ngx_cpystrn((u_char *) new->from, (u_char *) id,
                               BATCH_ID_LEN);
        }
    }

    if (st->upload.expires_at + NGX_HTTP_BATCH_UPLOADS_KEEP <= s->now) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: ended long ago, is deleted", id);
        ngx_http_batch_uploads_delete(id, log);
        return;
    }

    /* a part may have come while the upload ended */

    ngx_http_batch_uploads_clean(id, log);
}


static void
ngx_http_batch_sweep_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_sweep_t *s = ctx;

    ngx_uint_t                    i;
    ngx_http_batch_sweep_file_t  *f;

    for (i = 0; i < s->n; i++) {
        f = &s->old[i];

        if (f->rc != NGX_ERROR) {
            ngx_log_error(NGX_LOG_INFO, log, 0, "batch: %s has expired",
                          f->file.id);

            /* if the index is not told, the next sweep deletes it again */

            (void) ngx_http_batch_index_file_del(&f->file, 0, 1, NULL, NULL);
        }

        json_decref(f->root);
    }

    for (i = 0; i < s->nmade; i++) {
        f = &s->made[i];

        /* the upload's place in the quota becomes the file's */

        (void) ngx_http_batch_index_file_put(&f->file, f->from, NULL, NULL);
        (void) ngx_http_batch_index_use_end(&f->file.tenant, f->from,
                                            NGX_HTTP_BATCH_SWEEP_ENDED, NULL,
                                            NULL);

        json_decref(f->root);
    }

    ngx_http_batch_task_free(ctx);
}
