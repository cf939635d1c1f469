/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Webhooks that are due: claimed, sent, sent again.
 *
 *   state     means                                      goes to
 *   FREE      nothing                                    READING
 *   READING   task: is it still due, what is to be sent  FLYING, TELLING
 *   FLYING    an attempt is with the receiver            MARKING, TELLING
 *   MARKING   task: publish hook.json, a 2xx was had     TELLING
 *   TELLING   the index: delivered, or when the next     FREE
 *             attempt is due
 *
 * The structs are never freed.  Only the answer to a claim uses one again,
 * which has a stack of its own: see ngx_http_batch_line.c.
 *
 * The pause before the next attempt grows with the time since the batch's end,
 * so the number of attempts need not be kept.
 */

#include "ngx_http_batch_hook.h"
#include "ngx_http_batch_index.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"
#include "ngx_http_batch_final.h"
#include "ngx_http_batch_lookup.h"


#define NGX_HTTP_BATCH_HOOKS         64         /* at once, per worker ... */
#define NGX_HTTP_BATCH_HOOKS_PART    8          /* ... and part of its
                                                   connections */
#define NGX_HTTP_BATCH_HOOK_POLL     1000       /* ms */
#define NGX_HTTP_BATCH_HOOK_LEASE    15000      /* ms, longer than an
                                                   attempt takes */
#define NGX_HTTP_BATCH_HOOK_PAUSE    1000       /* ms, the shortest ... */
#define NGX_HTTP_BATCH_HOOK_LONGEST  3600000    /* ... and the longest one */
#define NGX_HTTP_BATCH_HOOK_GONE     -1


typedef enum {
    NGX_HTTP_BATCH_HOOK_DUE = 0,
    NGX_HTTP_BATCH_HOOK_OVER,          /* delivered, deleted, not wanted */
    NGX_HTTP_BATCH_HOOK_LATE,          /* 72 hours are over */
    NGX_HTTP_BATCH_HOOK_TROUBLE        /* not known now */
} ngx_http_batch_hook_due_e;


/* context of both tasks */

typedef struct {
    ngx_http_batch_hook_t       *hook;
    char                         id[BATCH_ID_LEN];
    ngx_http_batch_hook_due_e    due;
    json_t                      *root;
    ngx_str_t                    tenant;
    ngx_uint_t                   route;
    char                         name[BATCH_HOOK_RECEIVER];
    batch_status_e               status;
    int64_t                      ended_at;
    ngx_int_t                    rc;             /* of publishing */
} ngx_http_batch_hook_task_t;


static void ngx_http_batch_hook_claimed(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_hook_begin(ngx_str_t *id, ngx_str_t *receiver);
static ngx_uint_t ngx_http_batch_hook_place(ngx_http_batch_hook_t *h,
    uint64_t key);
static uint64_t ngx_http_batch_hook_key(const u_char *name, size_t len);
static ngx_http_batch_hook_t *ngx_http_batch_hook_get(void);
static ngx_int_t ngx_http_batch_hook_post(ngx_http_batch_hook_t *h,
    ngx_http_batch_task_pt run, ngx_http_batch_task_pt done);
static void ngx_http_batch_hook_read(void *ctx, ngx_log_t *log);
static ngx_http_batch_hook_due_e ngx_http_batch_hook_due(
    ngx_http_batch_hook_task_t *t, ngx_log_t *log);
static ngx_http_batch_hook_due_e ngx_http_batch_hook_ended(
    ngx_http_batch_hook_task_t *t, ngx_log_t *log);
static void ngx_http_batch_hook_have(void *ctx, ngx_log_t *log);
static void ngx_http_batch_hook_fly(ngx_http_batch_hook_t *h);
static ngx_uint_t ngx_http_batch_hook_reached(ngx_http_batch_hook_t *h);
static void ngx_http_batch_hook_mark(void *ctx, ngx_log_t *log);
static void ngx_http_batch_hook_marked(void *ctx, ngx_log_t *log);
static int64_t ngx_http_batch_hook_pause(ngx_http_batch_hook_t *h);
static void ngx_http_batch_hook_tell(ngx_http_batch_hook_t *h, int64_t pause);
static void ngx_http_batch_hook_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_hook_free(ngx_http_batch_hook_t *h);


static ngx_http_batch_hook_t  *ngx_http_batch_hooks;    /* NULL: no route has
                                                           one */
static ngx_uint_t              ngx_http_batch_hooks_n;
static ngx_uint_t              ngx_http_batch_hooks_busy;
static ngx_uint_t              ngx_http_batch_hook_asking;
static ngx_uint_t              ngx_http_batch_hook_hurried;   /* meanwhile */
static ngx_uint_t              ngx_http_batch_hook_more;      /* are due */
static ngx_msec_t              ngx_http_batch_hook_ask_at;


ngx_int_t
ngx_http_batch_hook_init(void)
{
    ngx_uint_t                    i, wanted;
    ngx_http_batch_hook_t        *h;
    ngx_http_batch_loc_conf_t   **routes;

    wanted = 0;
    routes = ngx_http_batch_conf->routes.elts;

    for (i = 0; i < ngx_http_batch_conf->routes.nelts; i++) {
        if (routes[i]->hook) {
            wanted = 1;
        }
    }

    if (!wanted) {
        return NGX_OK;
    }

    ngx_http_batch_hooks_n = ngx_min(NGX_HTTP_BATCH_HOOKS,
                                     ngx_cycle->connection_n
                                     / NGX_HTTP_BATCH_HOOKS_PART);
    ngx_http_batch_hooks_n = ngx_max(ngx_http_batch_hooks_n, 8);

    ngx_http_batch_hooks = ngx_calloc(ngx_http_batch_hooks_n
                                      * sizeof(ngx_http_batch_hook_t),
                                      ngx_cycle->log);
    if (ngx_http_batch_hooks == NULL
        || ngx_http_batch_receiver_init(ngx_http_batch_hooks_n) != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < ngx_http_batch_hooks_n; i++) {
        h = &ngx_http_batch_hooks[i];

        h->at.c.pool = ngx_create_pool(1024, ngx_cycle->log);
        if (h->at.c.pool == NULL) {
            return NGX_ERROR;
        }

        ngx_http_batch_hook_send_init(h);
    }

    ngx_http_batch_hook_ask_at = ngx_current_msec;

    return NGX_OK;
}


void
ngx_http_batch_hook_beat(void)
{
    ngx_str_t   places;
    ngx_uint_t  n;

    if (ngx_http_batch_hooks == NULL
        || ngx_http_batch_hook_asking
        || ngx_http_batch_turn_leaving()
        || (ngx_msec_int_t) (ngx_current_msec - ngx_http_batch_hook_ask_at)
           < 0)
    {
        return;
    }

    n = ngx_http_batch_hooks_n - ngx_http_batch_hooks_busy;

    if (n == 0) {
        return;
    }

    ngx_http_batch_hook_ask_at = ngx_current_msec + NGX_HTTP_BATCH_HOOK_POLL;

    ngx_http_batch_receiver_list(&places);

    if (ngx_http_batch_index_hook_claim(n, NGX_HTTP_BATCH_HOOK_LEASE,
                                        2 * NGX_HTTP_BATCH_HOOK_LONGEST,
                                        ngx_http_batch_receiver_others(),
                                        &places, ngx_http_batch_hook_claimed,
                                        NULL)
        == NGX_OK)
    {
        ngx_http_batch_hook_asking = 1;
        ngx_http_batch_hook_hurried = 0;
    }
}


void
ngx_http_batch_hook_hurry(void)
{
    ngx_http_batch_hook_hurried = 1;
    ngx_http_batch_hook_ask_at = ngx_current_msec;
    ngx_http_batch_hook_beat();
}


static void
ngx_http_batch_hook_claimed(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    size_t  i;

    ngx_http_batch_hook_asking = 0;

    if (ngx_http_batch_hook_hurried) {
        ngx_http_batch_hook_ask_at = ngx_current_msec;
    }

    if (rc != NGX_OK || res->n == 0) {
        return;
    }

    ngx_http_batch_slot->hooks_pending = (ngx_atomic_uint_t) res->cursor;
    ngx_http_batch_hook_more = (res->items[0].len == 1
                                && res->items[0].data[0] == '1');

    for (i = 1; i + 1 < res->n; i += 2) {
        ngx_http_batch_hook_begin(&res->items[i], &res->items[i + 1]);
    }
}


static void
ngx_http_batch_hook_begin(ngx_str_t *id, ngx_str_t *receiver)
{
    uint64_t                key;
    ngx_http_batch_hook_t  *h;

    if (!batch_id_check(BATCH_ID_BATCH, id->data, id->len)) {
        /* we did not make it; strings of hiredis end with a NUL */
        (void) ngx_http_batch_index_hook_set((char *) id->data,
                                             NGX_HTTP_BATCH_HOOK_GONE, "",
                                             NULL, NULL);
        return;
    }

    h = ngx_http_batch_hook_get();

    if (h == NULL) {
        /* another worker asks when the lease is over */
        return;
    }

    ngx_memcpy(h->id, id->data, id->len);
    h->id[id->len] = '\0';
    h->ended_at = batch_clock_sec();
    h->name[0] = '\0';

    key = ngx_http_batch_hook_key(receiver->data, receiver->len);

    if (ngx_http_batch_turn_leaving()) {
        ngx_http_batch_hook_tell(h, 0);

    } else if ((key && !ngx_http_batch_hook_place(h, key))
               || ngx_http_batch_hook_post(h, ngx_http_batch_hook_read,
                                           ngx_http_batch_hook_have)
                  != NGX_OK)
    {
        ngx_http_batch_hook_tell(h, NGX_HTTP_BATCH_HOOK_PAUSE);
    }
}


/* 1: the webhook has a place of that receiver, and gives back another one */

static ngx_uint_t
ngx_http_batch_hook_place(ngx_http_batch_hook_t *h, uint64_t key)
{
    ngx_http_batch_receiver_t  *rc;

    rc = ngx_http_batch_receiver_get(key);

    if (rc == h->receiver) {
        return 1;
    }

    if (ngx_http_batch_receiver_left(rc) == 0) {
        return 0;
    }

    if (h->receiver) {
        h->receiver->flying--;
    }

    h->receiver = rc;
    rc->flying++;

    return 1;
}


/* 0: it is not known */

static uint64_t
ngx_http_batch_hook_key(const u_char *name, size_t len)
{
    size_t     i;
    uint64_t   key;
    ngx_int_t  n;

    key = 0;

    for (i = 0; i < len && i < BATCH_HOOK_RECEIVER - 1; i++) {
        n = ngx_hextoi((u_char *) name + i, 1);
        key = key << 4 | (uint64_t) (n == NGX_ERROR ? 0 : n);
    }

    return key;
}


static ngx_http_batch_hook_t *
ngx_http_batch_hook_get(void)
{
    ngx_uint_t              i;
    ngx_http_batch_hook_t  *h;

    for (i = 0; i < ngx_http_batch_hooks_n; i++) {
        h = &ngx_http_batch_hooks[i];

        if (h->life == NGX_HTTP_BATCH_HOOK_FREE) {
            h->life = NGX_HTTP_BATCH_HOOK_READING;
            ngx_http_batch_hooks_busy++;
            return h;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_batch_hook_post(ngx_http_batch_hook_t *h, ngx_http_batch_task_pt run,
    ngx_http_batch_task_pt done)
{
    ngx_http_batch_hook_task_t  *t;

    t = ngx_http_batch_task_create(sizeof(ngx_http_batch_hook_task_t),
                                   run, done);
    if (t == NULL) {
        return NGX_ERROR;
    }

    t->hook = h;
    ngx_memcpy(t->id, h->id, BATCH_ID_LEN);

    return ngx_http_batch_task_start(t);
}


/* in a thread */

static void
ngx_http_batch_hook_read(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_hook_task_t  *t = ctx;

    t->due = ngx_http_batch_hook_due(t, log);
}


static ngx_http_batch_hook_due_e
ngx_http_batch_hook_due(ngx_http_batch_hook_task_t *t, ngx_log_t *log)
{
    ngx_int_t                   rc;
    ngx_str_t                   text;
    ngx_uint_t                  damaged;
    batch_str_t                 route, tenant;
    ngx_http_batch_meta_t       meta;
    ngx_http_batch_loc_conf_t  *blcf;

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_HOOK, t->id, log);

    if (rc != 0) {
        return rc == 1 ? NGX_HTTP_BATCH_HOOK_OVER
                       : NGX_HTTP_BATCH_HOOK_TROUBLE;
    }

    rc = ngx_http_batch_store_read(NGX_HTTP_BATCH_META, t->id,
                                   NGX_HTTP_BATCH_MANIFEST_MAX, &text, log);
    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED || ngx_http_batch_store_damaged())
               ? NGX_HTTP_BATCH_HOOK_OVER : NGX_HTTP_BATCH_HOOK_TROUBLE;
    }

    rc = ngx_http_batch_meta_decode(&meta, text.data, text.len, &t->root);
    damaged = ngx_http_batch_store_damaged();

    ngx_free(text.data);

    if (rc != NGX_OK) {
        /* recovery logs the damage, and leaves the batch out */
        return damaged ? NGX_HTTP_BATCH_HOOK_OVER
                       : NGX_HTTP_BATCH_HOOK_TROUBLE;
    }

    t->tenant = meta.tenant;

    route.data = meta.route.data;
    route.len = meta.route.len;
    tenant.data = meta.tenant.data;
    tenant.len = meta.tenant.len;
    batch_hook_receiver(&route, &tenant, t->name);

    blcf = ngx_http_batch_lookup_route(&meta.route, &t->route);

    if (blcf == NULL || blcf->hook == NULL) {
        return NGX_HTTP_BATCH_HOOK_OVER;
    }

    return ngx_http_batch_hook_ended(t, log);
}


static ngx_http_batch_hook_due_e
ngx_http_batch_hook_ended(ngx_http_batch_hook_task_t *t, ngx_log_t *log)
{
    ngx_int_t   rc;
    ngx_str_t   text;
    ngx_uint_t  damaged;

    rc = ngx_http_batch_store_read(NGX_HTTP_BATCH_FINAL, t->id,
                                   NGX_HTTP_BATCH_FINAL_MAX, &text, log);
    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED || ngx_http_batch_store_damaged())
               ? NGX_HTTP_BATCH_HOOK_OVER : NGX_HTTP_BATCH_HOOK_TROUBLE;
    }

    rc = ngx_http_batch_final_status(&text, t->id, &t->status, &t->ended_at);
    damaged = ngx_http_batch_store_damaged();

    ngx_free(text.data);

    if (rc != NGX_OK) {
        return damaged ? NGX_HTTP_BATCH_HOOK_OVER
                       : NGX_HTTP_BATCH_HOOK_TROUBLE;
    }

    if (batch_clock_sec() - t->ended_at >= BATCH_HOOK_LIFE) {
        return NGX_HTTP_BATCH_HOOK_LATE;
    }

    return NGX_HTTP_BATCH_HOOK_DUE;
}


static void
ngx_http_batch_hook_have(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_hook_t       *h;
    ngx_http_batch_hook_due_e    due;
    ngx_http_batch_hook_task_t  *t = ctx;

    h = t->hook;
    due = t->due;

    h->root = t->root;
    h->tenant = t->tenant;
    h->route = t->route;
    h->status = t->status;

    if (h->receiver == NULL) {
        ngx_memcpy(h->name, t->name, BATCH_HOOK_RECEIVER);
    }

    if (due == NGX_HTTP_BATCH_HOOK_DUE) {
        h->ended_at = t->ended_at;
    }

    ngx_http_batch_task_free(t);

    switch (due) {

    case NGX_HTTP_BATCH_HOOK_OVER:
        ngx_http_batch_hook_tell(h, NGX_HTTP_BATCH_HOOK_GONE);
        return;

    case NGX_HTTP_BATCH_HOOK_LATE:
        ngx_http_batch_slot->hooks_given_up++;

        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "batch: %s: webhook was not delivered within 72 hours,"
                      " giving up", h->id);

        ngx_http_batch_hook_tell(h, NGX_HTTP_BATCH_HOOK_GONE);
        return;

    case NGX_HTTP_BATCH_HOOK_TROUBLE:
        ngx_http_batch_hook_tell(h, NGX_HTTP_BATCH_HOOK_LEASE);
        return;

    default: /* NGX_HTTP_BATCH_HOOK_DUE */
        break;
    }

    if (ngx_http_batch_turn_leaving()) {
        ngx_http_batch_hook_tell(h, 0);
        return;
    }

    if (h->receiver == NULL
        && !ngx_http_batch_hook_place(h,
               ngx_http_batch_hook_key((u_char *) h->name,
                                       ngx_strlen(h->name))))
    {
        ngx_http_batch_hook_tell(h, NGX_HTTP_BATCH_HOOK_PAUSE);
        return;
    }

    ngx_http_batch_hook_fly(h);
}


static void
ngx_http_batch_hook_fly(ngx_http_batch_hook_t *h)
{
    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: webhook is sent, route %ui, status %s",
                   h->id, h->route, batch_status_name(h->status));

    h->life = NGX_HTTP_BATCH_HOOK_FLYING;
    h->sent_at = ngx_current_msec;

    ngx_http_batch_hook_send(h);

    if (h->life != NGX_HTTP_BATCH_HOOK_FLYING || h->at.sr == NULL
        || ngx_http_batch_hook_reached(h))
    {
        return;
    }

    /* what it has led to has no place left: as if it had not been sent */

    if (ngx_http_batch_attempt_cut(&h->at) == NGX_OK) {
        ngx_http_batch_turn_cancel(&h->timer);
        ngx_http_batch_hook_tell(h, NGX_HTTP_BATCH_HOOK_PAUSE);
    }
}


/*
 * Which server it is, only the attempt shows: the location may choose it by any
 * variable.  If it is not always the same one, each of them is a receiver from
 * then on, and the index is told which one this webhook goes to.  0: that one
 * has no place left.
 */

static ngx_uint_t
ngx_http_batch_hook_reached(ngx_http_batch_hook_t *h)
{
    uint64_t                    server, key;
    ngx_http_batch_receiver_t  *rc;

    server = ngx_http_batch_receiver_server(h->at.sr);
    rc = h->receiver;

    if (server == 0) {
        return 1;
    }

    if (rc->leads == 0) {
        rc->leads = server;
    }

    if (rc->leads != server) {
        rc->many = 1;
    }

    if (!rc->many) {
        return 1;
    }

    key = rc->key ^ (server * 0x9e3779b97f4a7c15ULL);

    ngx_sprintf((u_char *) h->name, "%016xL%Z", key);

    if (!ngx_http_batch_hook_place(h, key)) {
        return 0;
    }

    h->receiver->leads = server;

    return 1;
}


void
ngx_http_batch_hook_verdict(ngx_http_batch_hook_t *h)
{
    int64_t     pause;
    ngx_uint_t  good;

    ngx_http_batch_turn_cancel(&h->timer);

    good = (h->answer >= 200 && h->answer < 300);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: webhook attempt ended, answer %ui",
                   h->id, h->answer);

    if (good || h->answer || !ngx_http_batch_turn_leaving()) {
        ngx_http_batch_receiver_outcome(h->receiver, good,
                                        ngx_current_msec - h->sent_at);
    }

    pause = ngx_http_batch_hook_pause(h);

    if (good) {
        h->life = NGX_HTTP_BATCH_HOOK_MARKING;
        ngx_http_batch_slot->hooks_delivered++;

        if (ngx_http_batch_hook_post(h, ngx_http_batch_hook_mark,
                                     ngx_http_batch_hook_marked)
            != NGX_OK)
        {
            /* at least once: it will be delivered again */
            ngx_http_batch_hook_tell(h, pause);
        }

        return;
    }

    if (ngx_http_batch_turn_leaving() && h->answer == 0) {
        ngx_http_batch_hook_tell(h, 0);
        return;
    }

    ngx_http_batch_slot->hooks_failed++;

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "batch: %s: webhook was answered %ui, next attempt in %L ms",
                  h->id, h->answer, pause);

    ngx_http_batch_hook_tell(h, pause);
}


/* in a thread */

static void
ngx_http_batch_hook_mark(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_hook_task_t  *t = ctx;

    t->rc = ngx_http_batch_store_publish(NGX_HTTP_BATCH_HOOK, t->id,
                                         ngx_http_batch_object_hook(t->id,
                                                         batch_clock_sec()),
                                         log);
}


static void
ngx_http_batch_hook_marked(void *ctx, ngx_log_t *log)
{
    ngx_int_t                    rc;
    ngx_http_batch_hook_t       *h;
    ngx_http_batch_hook_task_t  *t = ctx;

    h = t->hook;
    rc = t->rc;

    ngx_http_batch_task_free(t);

    /* NGX_DECLINED: another worker has delivered it, too */

    ngx_http_batch_hook_tell(h, rc == NGX_ERROR ? ngx_http_batch_hook_pause(h)
                                                : NGX_HTTP_BATCH_HOOK_GONE);
}


/*
 * About as long as the time since the end of the batch: a second, two, four, up
 * to an hour.  The last pause ends with the 72 hours.
 */

static int64_t
ngx_http_batch_hook_pause(ngx_http_batch_hook_t *h)
{
    int64_t  age, pause, left;

    age = (batch_clock_sec() - h->ended_at) * 1000;

    /* the clock may have been set back since */

    pause = ngx_max(age < 0 ? -age : age, NGX_HTTP_BATCH_HOOK_PAUSE);
    pause = ngx_min(pause, NGX_HTTP_BATCH_HOOK_LONGEST);
    pause = pause / 2 + ngx_random() % (pause / 2 + 1);

    left = (int64_t) BATCH_HOOK_LIFE * 1000 - age;

    return left > 0 ? ngx_min(pause, left) : 0;
}


static void
ngx_http_batch_hook_tell(ngx_http_batch_hook_t *h, int64_t pause)
{
    h->life = NGX_HTTP_BATCH_HOOK_TELLING;

    /* if the index does not hear of it, it is due again after the lease */

    if (ngx_http_batch_index_hook_set(h->id, pause, h->name,
                                      ngx_http_batch_hook_told, h)
        != NGX_OK)
    {
        ngx_http_batch_hook_free(h);
    }
}


static void
ngx_http_batch_hook_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_hook_free(data);
}


static void
ngx_http_batch_hook_free(ngx_http_batch_hook_t *h)
{
    json_decref(h->root);
    h->root = NULL;
    ngx_str_null(&h->tenant);

    if (h->receiver) {
        h->receiver->flying--;
        h->receiver = NULL;
    }

    h->life = NGX_HTTP_BATCH_HOOK_FREE;
    ngx_http_batch_hooks_busy--;

    if (ngx_http_batch_hook_more) {
        ngx_http_batch_hook_ask_at = ngx_current_msec;
    }
}


void
ngx_http_batch_hook_leave(ngx_uint_t cut)
{
    ngx_uint_t              i;
    ngx_http_batch_hook_t  *h;

    if (!cut) {
        return;
    }

    for (i = 0; i < ngx_http_batch_hooks_n; i++) {
        h = &ngx_http_batch_hooks[i];

        if (h->life == NGX_HTTP_BATCH_HOOK_FLYING) {
            ngx_http_batch_hook_send_cut(h);
        }
    }
}


ngx_uint_t
ngx_http_batch_hook_idle(void)
{
    return ngx_http_batch_hooks_busy == 0;
}
