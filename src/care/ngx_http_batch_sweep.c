/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the index lists by the time at which it is to go: it is deleted as a
 * client's DELETE would do it (tombstone first), then the index is told.  One
 * worker of a node does this; two nodes at once do no harm.
 *
 * A pass goes through one list, in portions:
 *
 *   ask      the index for a portion                     -> delete, end
 *   delete   it on disk, by several tasks, because most
 *            of it is waiting for syncs                  -> tell
 *   tell     the index what is gone                      -> ask, end
 *
 * The next portion follows in the next turn of the event loop, for as long as
 * there is one.  What could not be deleted is passed over, and is tried again
 * by a later pass.  If that is a whole portion, the disk is in trouble: the
 * pass ends, and the next one goes on behind it.
 */

#include "ngx_http_batch_sweep.h"
#include "ngx_http_batch_index.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"


#define NGX_HTTP_BATCH_SWEEP_EVERY    5000           /* ms between passes */
#define NGX_HTTP_BATCH_SWEEP_PORTION  64
#define NGX_HTTP_BATCH_SWEEP_TASKS    8              /* of a portion */


/* strings of the object point into root */

typedef struct {
    ngx_str_t                     text;    /* as the index has it */
    json_t                       *root;
    ngx_http_batch_file_t         file;
    ngx_int_t                     rc;      /* of its deletion; NGX_OK and
                                              NGX_DECLINED: it is gone */
} ngx_http_batch_sweep_item_t;


/* one list of the index */

typedef struct {
    ngx_int_t                   (*due)(int64_t now, ngx_uint_t skip,
                                       ngx_uint_t limit,
                                       ngx_http_batch_index_pt cb, void *data);
    /* in a thread; sets root, rc */
    void                        (*delete)(ngx_http_batch_sweep_item_t *item,
                                          ngx_log_t *log);
    ngx_int_t                   (*tell)(ngx_http_batch_sweep_item_t *item,
                                        ngx_http_batch_index_pt cb,
                                        void *data);
} ngx_http_batch_sweep_list_t;


typedef struct {
    size_t                        n;
    ngx_http_batch_sweep_item_t   items[NGX_HTTP_BATCH_SWEEP_PORTION];
    /* their texts follow */
} ngx_http_batch_sweep_portion_t;


typedef struct {
    const ngx_http_batch_sweep_list_t  *list;
    ngx_http_batch_sweep_portion_t     *portion;   /* under way */
    ngx_uint_t                          running;
    ngx_uint_t                          pending;   /* tasks or calls of it */
    ngx_uint_t                          more;
    ngx_uint_t                          failed;    /* the index was not told */
    ngx_uint_t                          skip;      /* passed over */
    ngx_event_t                         next;
} ngx_http_batch_sweep_t;


/* the context of a task: items [from, from + n) of the portion are its own */

typedef struct {
    ngx_http_batch_sweep_t       *sweep;
    size_t                        from;
    size_t                        n;
} ngx_http_batch_sweep_task_t;


static void ngx_http_batch_sweep_timer(ngx_event_t *ev);
static void ngx_http_batch_sweep_next(ngx_event_t *ev);
static void ngx_http_batch_sweep_due(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static ngx_int_t ngx_http_batch_sweep_copy(ngx_http_batch_sweep_t *s,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_sweep_start(ngx_http_batch_sweep_t *s);
static void ngx_http_batch_sweep_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_sweep_done(void *ctx, ngx_log_t *log);
static void ngx_http_batch_sweep_tell(ngx_http_batch_sweep_t *s);
static void ngx_http_batch_sweep_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_sweep_portion_end(ngx_http_batch_sweep_t *s);

static void ngx_http_batch_sweep_file_delete(
    ngx_http_batch_sweep_item_t *item, ngx_log_t *log);
static ngx_int_t ngx_http_batch_sweep_file_tell(
    ngx_http_batch_sweep_item_t *item, ngx_http_batch_index_pt cb, void *data);


static const ngx_http_batch_sweep_list_t  ngx_http_batch_sweep_lists[] = {
    { ngx_http_batch_index_file_expired,
      ngx_http_batch_sweep_file_delete,
      ngx_http_batch_sweep_file_tell }
};

#define NGX_HTTP_BATCH_SWEEP_LISTS                                            \
    (sizeof(ngx_http_batch_sweep_lists)                                       \
     / sizeof(ngx_http_batch_sweep_lists[0]))

static ngx_http_batch_sweep_t  ngx_http_batch_sweeps[
                                                NGX_HTTP_BATCH_SWEEP_LISTS];
static ngx_event_t             ngx_http_batch_sweep_event;


void
ngx_http_batch_sweep_init(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    if (ngx_process == NGX_PROCESS_WORKER && ngx_worker != 0) {
        return;
    }

    for (i = 0; i < NGX_HTTP_BATCH_SWEEP_LISTS; i++) {
        ngx_http_batch_sweeps[i].list = &ngx_http_batch_sweep_lists[i];

        ngx_http_batch_turn_timer(&ngx_http_batch_sweeps[i].next,
                                  ngx_http_batch_sweep_next, 1);
        ngx_http_batch_sweeps[i].next.data = &ngx_http_batch_sweeps[i];
    }

    ngx_http_batch_turn_timer(&ngx_http_batch_sweep_event,
                              ngx_http_batch_sweep_timer, 1);

    ngx_add_timer(&ngx_http_batch_sweep_event, 1000);
}


static void
ngx_http_batch_sweep_timer(ngx_event_t *ev)
{
    ngx_uint_t  i;

    if (ngx_http_batch_turn_leaving()) {
        return;
    }

    ngx_add_timer(ev, NGX_HTTP_BATCH_SWEEP_EVERY);

    for (i = 0; i < NGX_HTTP_BATCH_SWEEP_LISTS; i++) {
        if (!ngx_http_batch_sweeps[i].running) {
            ngx_http_batch_sweep_next(&ngx_http_batch_sweeps[i].next);
        }
    }
}


static void
ngx_http_batch_sweep_next(ngx_event_t *ev)
{
    ngx_http_batch_sweep_t *s = ev->data;

    s->running = 0;

    if (ngx_http_batch_turn_leaving()) {
        return;
    }

    if (s->list->due(batch_clock_sec(), s->skip, NGX_HTTP_BATCH_SWEEP_PORTION,
                     ngx_http_batch_sweep_due, s)
        == NGX_OK)
    {
        s->running = 1;
    }
}


static void
ngx_http_batch_sweep_due(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_sweep_t *s = data;

    if (rc != NGX_OK || ngx_http_batch_turn_leaving()) {
        s->running = 0;
        return;
    }

    s->more = res->has_more;
    s->failed = 0;

    if (ngx_http_batch_sweep_copy(s, res) != NGX_OK) {
        s->running = 0;
        return;
    }

    ngx_http_batch_sweep_start(s);
}


/* the index's answer is valid during its callback only */

static ngx_int_t
ngx_http_batch_sweep_copy(ngx_http_batch_sweep_t *s,
    ngx_http_batch_index_res_t *res)
{
    u_char                          *p;
    size_t                           i, n, len;
    ngx_http_batch_sweep_portion_t  *portion;

    n = ngx_min(res->n, NGX_HTTP_BATCH_SWEEP_PORTION);
    len = 0;

    for (i = 0; i < n; i++) {
        len += res->items[i].len;
    }

    portion = ngx_alloc(sizeof(ngx_http_batch_sweep_portion_t) + len,
                        ngx_cycle->log);
    if (portion == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(portion, sizeof(ngx_http_batch_sweep_portion_t));

    p = (u_char *) (portion + 1);

    for (i = 0; i < n; i++) {
        portion->items[i].rc = NGX_ERROR;
        portion->items[i].text.len = res->items[i].len;
        portion->items[i].text.data = p;
        p = ngx_cpymem(p, res->items[i].data, res->items[i].len);
    }

    portion->n = n;
    s->portion = portion;

    return NGX_OK;
}


static void
ngx_http_batch_sweep_start(ngx_http_batch_sweep_t *s)
{
    size_t                        i, each;
    ngx_http_batch_sweep_task_t  *t;

    each = (s->portion->n + NGX_HTTP_BATCH_SWEEP_TASKS - 1)
           / NGX_HTTP_BATCH_SWEEP_TASKS;

    /* one for this function, which is not to end the portion half-way */

    s->pending = 1;

    for (i = 0; i < s->portion->n; i += each) {

        t = ngx_http_batch_task_create(sizeof(ngx_http_batch_sweep_task_t),
                                       ngx_http_batch_sweep_run,
                                       ngx_http_batch_sweep_done);
        if (t == NULL) {
            break;
        }

        t->sweep = s;
        t->from = i;
        t->n = ngx_min(each, s->portion->n - i);

        /* if the queue is full, the rest has not been deleted */

        if (ngx_http_batch_task_start(t) != NGX_OK) {
            break;
        }

        s->pending++;
    }

    if (--s->pending == 0) {
        ngx_http_batch_sweep_tell(s);
    }
}


static void
ngx_http_batch_sweep_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_sweep_task_t *t = ctx;

    size_t  i;

    for (i = t->from; i < t->from + t->n; i++) {

        if (ngx_http_batch_task_quit()) {
            return;
        }

        t->sweep->list->delete(&t->sweep->portion->items[i], log);
    }
}


static void
ngx_http_batch_sweep_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_sweep_task_t *t = ctx;

    ngx_http_batch_sweep_t  *s;

    s = t->sweep;

    ngx_http_batch_task_free(ctx);

    if (--s->pending == 0) {
        ngx_http_batch_sweep_tell(s);
    }
}


/* if the index is not told, a later pass deletes it again */

static void
ngx_http_batch_sweep_tell(ngx_http_batch_sweep_t *s)
{
    size_t                        i, gone;
    ngx_http_batch_sweep_item_t  *item;

    gone = 0;
    s->pending = 1;

    for (i = 0; i < s->portion->n; i++) {
        item = &s->portion->items[i];

        if (item->rc == NGX_ERROR) {
            continue;
        }

        gone++;

        if (s->list->tell(item, ngx_http_batch_sweep_told, s) == NGX_OK) {
            s->pending++;

        } else {
            s->failed = 1;
        }
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: sweep: %uz of %uz objects deleted, more: %ui", gone,
                   s->portion->n, s->more);

    s->skip += s->portion->n - gone;

    if (gone == 0 && s->portion->n) {
        s->failed = 1;
    }

    if (--s->pending == 0) {
        ngx_http_batch_sweep_portion_end(s);
    }
}


/* NGX_DECLINED: the index has not had it any more */

static void
ngx_http_batch_sweep_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_sweep_t *s = data;

    if (rc != NGX_OK && rc != NGX_DECLINED) {
        s->failed = 1;
    }

    if (--s->pending == 0) {
        ngx_http_batch_sweep_portion_end(s);
    }
}


static void
ngx_http_batch_sweep_portion_end(ngx_http_batch_sweep_t *s)
{
    size_t  i;

    for (i = 0; i < s->portion->n; i++) {
        json_decref(s->portion->items[i].root);
    }

    ngx_free(s->portion);
    s->portion = NULL;

    if (!s->more) {
        s->skip = 0;
    }

    if (s->more && !s->failed) {
        ngx_post_event(&s->next, &ngx_posted_next_events);
        return;
    }

    s->running = 0;
}


static void
ngx_http_batch_sweep_file_delete(ngx_http_batch_sweep_item_t *item,
    ngx_log_t *log)
{
    if (ngx_http_batch_file_decode(&item->file, item->text.data,
                                   item->text.len, &item->root)
        != NGX_OK)
    {
        return;
    }

    item->rc = ngx_http_batch_delete_file(item->file.id, log);

    if (item->rc != NGX_ERROR) {
        ngx_log_error(NGX_LOG_INFO, log, 0, "batch: %s has expired",
                      item->file.id);
    }
}


static ngx_int_t
ngx_http_batch_sweep_file_tell(ngx_http_batch_sweep_item_t *item,
    ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_file_del(&item->file, 0, 1, cb, data);
}
