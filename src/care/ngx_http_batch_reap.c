/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Uploads whose time is over lose their parts, and a day later the rest; a
 * completed upload whose worker died before it had made the file gets it here;
 * records of Idempotency-Keys go when they do not count any more.  The index
 * knows nothing of these, so a room of the store is walked through, in portions
 * that follow each other until all of it was seen.  One worker of a node does
 * this; two nodes at once do no harm.
 *
 * A walk knows before when nothing of the room is due, since what it has not
 * seen is younger than it is itself: so another one begins when there may be
 * something to do, and now and then for what crashes leave.  The more names a
 * room has, the longer it rests, so that walks never take more than a small part
 * of a thread's time.
 */

#include "ngx_http_batch_reap.h"
#include "ngx_http_batch_index.h"
#include "ngx_http_batch_keys.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_tidy.h"
#include "ngx_http_batch_turn.h"
#include "ngx_http_batch_uploads.h"


#define NGX_HTTP_BATCH_REAP_LOOK      5000           /* ms: is anything due? */
#define NGX_HTTP_BATCH_REAP_NAMES     1000           /* a portion of keys */
#define NGX_HTTP_BATCH_REAP_ENDED     4200000        /* ms: for how long a part
                                                        may still come */
#define NGX_HTTP_BATCH_REAP_UPLOADS   64             /* a portion of uploads */

#define NGX_HTTP_BATCH_UPLOADS_GRACE  600            /* s: a complete call that
                                                        came in time may still
                                                        be at work */
#define NGX_HTTP_BATCH_UPLOADS_KEEP   (24 * 3600)    /* s: how long an upload
                                                        says how it ended */


/* the file of a completed upload; its strings point into root */

typedef struct {
    ngx_http_batch_file_t        file;
    json_t                      *root;
    char                         from[BATCH_ID_LEN];
} ngx_http_batch_reap_file_t;


typedef struct ngx_http_batch_reap_room_s  ngx_http_batch_reap_room_t;


/* a walk: the context of a task, which is posted for each portion */

typedef struct {
    ngx_http_batch_reap_room_t  *room;
    int64_t                      now;      /* s, of this portion */
    int64_t                      due;      /* s: nothing is earlier */
    ngx_uint_t                   names;    /* seen */
    ngx_int_t                    rc;       /* NGX_AGAIN: there is more */
    ngx_http_batch_walk_t       *uploads;
    ngx_http_batch_sweep_dir_t   keys;
    ngx_uint_t                   nmade;
    ngx_http_batch_reap_file_t   made[NGX_HTTP_BATCH_REAP_UPLOADS];
} ngx_http_batch_reap_t;


struct ngx_http_batch_reap_room_s {
    const char                  *name;     /* in the debug log */
    ngx_int_t                  (*portion)(ngx_http_batch_reap_t *w,
                                          ngx_log_t *log);
    ngx_msec_t                   every;    /* ms, at least so often */
    int64_t                      young;    /* s: what is younger is not due */
    ngx_uint_t                   rest;     /* us, for each name of a walk, before
                                              the next one */
    ngx_uint_t                   walking;
    ngx_msec_t                   pause;    /* ms, of these; 0: no walk yet */
    ngx_msec_t                   begun;
    int64_t                      due;      /* s: nothing is earlier */
};


static void ngx_http_batch_reap_timer(ngx_event_t *ev);
static ngx_uint_t ngx_http_batch_reap_is_due(ngx_http_batch_reap_room_t *room);
static void ngx_http_batch_reap_begin(ngx_http_batch_reap_room_t *room);
static void ngx_http_batch_reap_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_reap_close(ngx_http_batch_reap_t *w);
static ngx_int_t ngx_http_batch_reap_keys(ngx_http_batch_reap_t *w,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_reap_uploads(ngx_http_batch_reap_t *w,
    ngx_log_t *log);
static void ngx_http_batch_reap_upload(ngx_http_batch_reap_t *w,
    const char *id, ngx_log_t *log);
static void ngx_http_batch_reap_ended(ngx_http_batch_reap_t *w,
    const char *id, ngx_http_batch_upload_state_t *st, ngx_log_t *log);
static void ngx_http_batch_reap_due(ngx_http_batch_reap_t *w, int64_t due);
static void ngx_http_batch_reap_done(void *ctx, ngx_log_t *log);
static void ngx_http_batch_reap_tell(ngx_http_batch_reap_t *w);
static void ngx_http_batch_reap_end(ngx_http_batch_reap_t *w);


static ngx_http_batch_reap_room_t  ngx_http_batch_reap_rooms[] = {
    { "uploads", ngx_http_batch_reap_uploads, 300000,
      NGX_HTTP_BATCH_UPLOADS_GRACE, 2000, 0, 0, 0, 0 },
    { "keys", ngx_http_batch_reap_keys, 3600000,
      NGX_HTTP_BATCH_KEY_TTL, 200, 0, 0, 0, 0 }
};

static ngx_event_t  ngx_http_batch_reap_event;


void
ngx_http_batch_reap_init(ngx_cycle_t *cycle)
{
    if (ngx_process == NGX_PROCESS_WORKER && ngx_worker != 0) {
        return;
    }

    ngx_http_batch_turn_timer(&ngx_http_batch_reap_event,
                              ngx_http_batch_reap_timer, 1);

    ngx_add_timer(&ngx_http_batch_reap_event, 1000);
}


static void
ngx_http_batch_reap_timer(ngx_event_t *ev)
{
    ngx_uint_t                   i;
    ngx_http_batch_reap_room_t  *room;

    if (ngx_http_batch_turn_leaving()) {
        return;
    }

    ngx_add_timer(ev, NGX_HTTP_BATCH_REAP_LOOK);

    for (i = 0; i < 2; i++) {
        room = &ngx_http_batch_reap_rooms[i];

        if (!room->walking && ngx_http_batch_reap_is_due(room)) {
            ngx_http_batch_reap_begin(room);
        }
    }
}


static ngx_uint_t
ngx_http_batch_reap_is_due(ngx_http_batch_reap_room_t *room)
{
    ngx_msec_t  since;

    since = ngx_current_msec - room->begun;

    return room->pause == 0
           || since >= ngx_max(room->every, room->pause)
           || (room->due <= batch_clock_sec() && since >= room->pause);
}


static void
ngx_http_batch_reap_begin(ngx_http_batch_reap_room_t *room)
{
    ngx_http_batch_reap_t  *w;

    w = ngx_http_batch_task_create(sizeof(ngx_http_batch_reap_t),
                                   ngx_http_batch_reap_run,
                                   ngx_http_batch_reap_done);
    if (w == NULL) {
        return;
    }

    w->room = room;
    w->now = batch_clock_sec();
    w->due = w->now + room->young;

    if (ngx_http_batch_task_start(w) == NGX_OK) {
        room->walking = 1;
        room->begun = ngx_current_msec;
    }
}


static void
ngx_http_batch_reap_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_reap_t *w = ctx;

    w->rc = w->room->portion(w, log);

    if (w->rc != NGX_AGAIN) {
        ngx_http_batch_reap_close(w);
    }
}


static void
ngx_http_batch_reap_close(ngx_http_batch_reap_t *w)
{
    if (w->uploads) {
        ngx_http_batch_walk_close(w->uploads);
        w->uploads = NULL;
    }

    ngx_http_batch_layout_sweep_end(&w->keys);
}


static ngx_int_t
ngx_http_batch_reap_keys(ngx_http_batch_reap_t *w, ngx_log_t *log)
{
    ngx_int_t  rc;

    rc = ngx_http_batch_keys_sweep(&w->keys, NGX_HTTP_BATCH_REAP_NAMES, log);

    w->names += NGX_HTTP_BATCH_REAP_NAMES;

    if (w->keys.next) {
        ngx_http_batch_reap_due(w, w->keys.next);
    }

    return rc;
}


static ngx_int_t
ngx_http_batch_reap_uploads(ngx_http_batch_reap_t *w, ngx_log_t *log)
{
    char        id[BATCH_ID_LEN];
    ngx_int_t   rc;
    ngx_uint_t  n;

    if (w->uploads == NULL) {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: uploads are looked at");

        w->uploads = ngx_http_batch_walk_open(BATCH_ID_UPLOAD, log);

        if (w->uploads == NULL) {
            return NGX_ERROR;
        }
    }

    for (n = 0; n < NGX_HTTP_BATCH_REAP_UPLOADS; n++) {

        if (ngx_http_batch_task_quit()) {
            return NGX_ABORT;
        }

        rc = ngx_http_batch_walk_next(w->uploads, id, log);

        if (rc != NGX_OK) {
            return rc;
        }

        w->names++;
        ngx_http_batch_reap_upload(w, id, log);
    }

    return NGX_AGAIN;
}


static void
ngx_http_batch_reap_upload(ngx_http_batch_reap_t *w, const char *id,
    ngx_log_t *log)
{
    int64_t                         due;
    ngx_int_t                       rc;
    ngx_http_batch_upload_state_t   st;

    rc = ngx_http_batch_uploads_load(id, w->now, &st, log);

    if (rc == NGX_DECLINED) {

        /* never created, or not quite deleted */

        if (ngx_http_batch_uploads_old(id, NGX_HTTP_BATCH_TMP_AGE, log)) {
            ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                           "batch: %s: was never created, is deleted", id);
            ngx_http_batch_uploads_delete(id, log);
        }

        return;
    }

    if (rc != NGX_OK) {
        return;
    }

    due = st.upload.expires_at + NGX_HTTP_BATCH_UPLOADS_GRACE;

    if (st.end) {
        ngx_http_batch_reap_ended(w, id, &st, log);

    } else if (due > w->now) {
        ngx_http_batch_reap_due(w, due);

    } else if (ngx_http_batch_uploads_end(id, NGX_HTTP_BATCH_UPLOAD_EXPIRED,
                                          NULL, NULL, log)
               == NGX_OK)
    {
        ngx_log_error(NGX_LOG_INFO, log, 0, "batch: %s has expired", id);
        ngx_http_batch_uploads_clean(id, log);
        ngx_http_batch_reap_due(w, st.upload.expires_at
                                   + NGX_HTTP_BATCH_UPLOADS_KEEP);
    }

    ngx_http_batch_uploads_free(&st);
}


static void
ngx_http_batch_reap_ended(ngx_http_batch_reap_t *w, const char *id,
    ngx_http_batch_upload_state_t *st, ngx_log_t *log)
{
    int64_t                      due;
    ngx_uint_t                   made;
    ngx_http_batch_reap_file_t  *new;

    if (st->status == NGX_HTTP_BATCH_UPLOAD_COMPLETED) {

        if (ngx_http_batch_uploads_finish(id, &st->file, &made, log)
            == NGX_ERROR)
        {
            return;
        }

        if (made) {
            ngx_log_debug2(NGX_LOG_DEBUG_HTTP, log, 0,
                           "batch: %s: gets its file %s", id, st->file.id);

            new = &w->made[w->nmade++];
            new->file = st->file;
            new->root = json_incref(st->end);
            (void) ngx_cpystrn((u_char *) new->from, (u_char *) id,
                               BATCH_ID_LEN);
        }
    }

    due = st->upload.expires_at + NGX_HTTP_BATCH_UPLOADS_KEEP;

    if (due <= w->now) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: ended long ago, is deleted", id);
        ngx_http_batch_uploads_delete(id, log);
        return;
    }

    ngx_http_batch_reap_due(w, due);

    /* a part may have come while the upload ended */

    ngx_http_batch_uploads_clean(id, log);
}


static void
ngx_http_batch_reap_due(ngx_http_batch_reap_t *w, int64_t due)
{
    w->due = ngx_min(w->due, due);
}


static void
ngx_http_batch_reap_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_reap_t *w = ctx;

    ngx_http_batch_reap_tell(w);

    if (w->rc == NGX_AGAIN && !ngx_http_batch_turn_leaving()) {
        w->now = batch_clock_sec();

        /* if the queue is full, the next walk begins anew */

        if (ngx_http_batch_task_post(w) == NGX_OK) {
            return;
        }
    }

    ngx_http_batch_reap_end(w);
}


/* the upload's place in the quota becomes the file's */

static void
ngx_http_batch_reap_tell(ngx_http_batch_reap_t *w)
{
    ngx_uint_t                   i;
    ngx_http_batch_reap_file_t  *f;

    for (i = 0; i < w->nmade; i++) {
        f = &w->made[i];

        (void) ngx_http_batch_index_file_put(&f->file, f->from, NULL, NULL);
        (void) ngx_http_batch_index_use_end(&f->file.tenant, f->from,
                                            NGX_HTTP_BATCH_REAP_ENDED, NULL,
                                            NULL);

        json_decref(f->root);
    }

    w->nmade = 0;
}


static void
ngx_http_batch_reap_end(ngx_http_batch_reap_t *w)
{
    ngx_http_batch_reap_room_t  *room;

    room = w->room;

    ngx_http_batch_reap_close(w);

    room->walking = 0;
    room->pause = w->names * room->rest / 1000 + 1;
    room->due = w->due;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: walk over %s has ended, next due at %L, not within"
                   " %M ms", room->name, room->due, room->pause);

    ngx_http_batch_task_free(w);
}
