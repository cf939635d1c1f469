/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * GET /files and GET /batches.
 *
 * A page may hold 10000 manifests, or 100 batches with 256 KB of errors each.
 * It is made in pieces:
 *
 *   wait    until the lists before it have had their turn     -> ask
 *   ask     the index for a piece: some objects, or one that
 *           is large                                          -> render
 *   render  it; large ones in a thread                        -> wait, send
 *   send    what there is, and wait until it has been sent    -> wait
 *
 * One list of a worker at a time asks and renders, and then it is the next
 * one's turn: so eight long lists cost a turn of the event loop no more than
 * one, and take the memory of one piece each.  A slow client holds nobody up.
 *
 * What fits into 64 KB is answered when it is complete, with its length.  The
 * rest is a stream; if the index fails in the midst of it, it is cut.  Objects
 * that are deleted meanwhile may be missing; others are there once.
 */

#include "ngx_http_batch_op.h"
#include "ngx_http_batch_param.h"
#include "ngx_http_batch_purpose.h"
#include "ngx_http_batch_render.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_turn.h"


#define NGX_HTTP_BATCH_LIST_HOLD  100             /* ms */


#define NGX_HTTP_BATCH_LIST_FILES    10000   /* of a page, at most */
#define NGX_HTTP_BATCH_LIST_BATCHES  100

#define NGX_HTTP_BATCH_LIST_FILES_PIECE    64
#define NGX_HTTP_BATCH_LIST_BATCHES_PIECE  24
#define NGX_HTTP_BATCH_LIST_INLINE   65536   /* bytes of a piece that is not
                                                rendered by a thread */
#define NGX_HTTP_BATCH_LIST_WHOLE    65536   /* bytes of a page that is sent
                                                with its length */


/* from the op's pool */

typedef struct {
    batch_id_kind_e         kind;
    ngx_uint_t              dialect;
    int64_t                 limit;
    ngx_uint_t              asc;
    ngx_str_t               after;           /* as the client named it */
    ngx_str_t               purpose;
    int64_t                 now;             /* seconds */

    ngx_queue_t             queue;           /* while it waits */
    ngx_uint_t              waiting;
    ngx_http_batch_op_t    *op;

    ngx_http_batch_place_t  place;           /* behind it the next piece ... */
    u_char                  id[BATCH_ID_LEN];
    u_char                  score[NGX_INT64_LEN];

    size_t                  n;               /* objects of this piece */
    ngx_http_batch_view_t  *views;           /* of files: meta alone; malloc,
                                                their texts follow */
    size_t                  bytes;           /* of texts */
    ngx_uint_t              more;            /* pieces, may be */

    int64_t                 shown;           /* objects */
    ngx_uint_t              has_more;
    ngx_uint_t              begun;
    ngx_uint_t              end;             /* the page is complete */
    char                    first[BATCH_ID_LEN];
    char                    last[BATCH_ID_LEN];
} ngx_http_batch_api_list_t;


static ngx_int_t ngx_http_batch_api_list_create(ngx_http_request_t *r,
    batch_id_kind_e kind);
static ngx_uint_t ngx_http_batch_api_list_purpose(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_list_args(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_list_arg(ngx_http_batch_op_t *op,
    const char *name, ngx_str_t *value);
static void ngx_http_batch_api_list_wait(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_list_hold(ngx_event_t *ev);
static void ngx_http_batch_api_list_turn(ngx_event_t *ev);
static void ngx_http_batch_api_list_turn_over(ngx_http_batch_api_list_t *list);
static void ngx_http_batch_api_list_ask(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_list_step(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static ngx_int_t ngx_http_batch_api_list_go_on(ngx_http_batch_api_list_t *list,
    const ngx_http_batch_place_t *place);
static ngx_int_t ngx_http_batch_api_list_copy(ngx_http_batch_api_list_t *list,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_api_list_str(ngx_str_t *dst, const ngx_str_t *src,
    u_char **p);
static void ngx_http_batch_api_list_run(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_api_list_item(ngx_http_batch_api_list_t *list,
    size_t i, batch_text_t *t, char id[BATCH_ID_LEN]);
static void ngx_http_batch_api_list_done(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_list_abandon(ngx_http_batch_op_t *op);


/* lists of this worker that wait for their turn; which one has it; the next one
 * gets it with this event */
static ngx_queue_t                 ngx_http_batch_api_lists;
static ngx_event_t                 ngx_http_batch_api_list_held;
static ngx_http_batch_api_list_t  *ngx_http_batch_api_list_now;
static ngx_event_t                 ngx_http_batch_api_list_event;

static const ngx_str_t  ngx_http_batch_list_orders[] = {
    ngx_string("asc"),
    ngx_string("desc")
};


ngx_int_t
ngx_http_batch_api_list_files(ngx_http_request_t *r)
{
    return ngx_http_batch_api_list_create(r, BATCH_ID_FILE);
}


ngx_int_t
ngx_http_batch_api_list_batches(ngx_http_request_t *r)
{
    return ngx_http_batch_api_list_create(r, BATCH_ID_BATCH);
}


static ngx_int_t
ngx_http_batch_api_list_create(ngx_http_request_t *r, batch_id_kind_e kind)
{
    ngx_http_batch_op_t        *op;
    ngx_http_batch_api_list_t  *list;

    op = ngx_http_batch_op_create(r);
    if (op == NULL) {
        return NGX_ERROR;
    }

    list = ngx_pcalloc(op->pool, sizeof(ngx_http_batch_api_list_t));
    if (list == NULL) {
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    list->kind = kind;
    list->dialect = op->conf->dialect;
    list->limit = (kind == BATCH_ID_FILE) ? NGX_HTTP_BATCH_LIST_FILES : 20;
    list->now = batch_clock_sec();
    list->op = op;
    op->data = list;
    op->abandon = ngx_http_batch_api_list_abandon;

    if (ngx_http_batch_api_list_args(op) != NGX_OK) {
        return NGX_DONE;
    }

    /* what cannot be found needs no look-up; an unknown "after" is an empty
     * page, too: clients that page by id rely on it */

    if (list->limit == 0
        || (list->after.len
            && !batch_id_check(kind, list->after.data, list->after.len))
        || !ngx_http_batch_api_list_purpose(op))
    {
        ngx_http_batch_api_list_run(op, ngx_cycle->log);
        ngx_http_batch_op_answer(op);
        return NGX_DONE;
    }

    list->place.id = list->after;

    ngx_http_batch_api_list_wait(op);

    return NGX_DONE;
}


/* 1: there may be files of it, or any purpose is asked for */

static ngx_uint_t
ngx_http_batch_api_list_purpose(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_list_t       *list;
    const ngx_http_batch_purpose_t  *purpose;

    list = op->data;

    if (list->purpose.len == 0) {
        return 1;
    }

    purpose = ngx_http_batch_purpose_find(&list->purpose, op->conf->lines);

    if (purpose) {
        list->purpose = purpose->name;
    }

    return purpose != NULL;
}


static ngx_int_t
ngx_http_batch_api_list_args(ngx_http_batch_op_t *op)
{
    int64_t                     max;
    ngx_int_t                   rc;
    ngx_str_t                   value;
    ngx_http_batch_api_list_t  *list;

    list = op->data;

    rc = ngx_http_batch_api_list_arg(op, "limit", &value);

    if (rc == NGX_OK) {
        max = (list->kind == BATCH_ID_FILE) ? NGX_HTTP_BATCH_LIST_FILES
                                            : NGX_HTTP_BATCH_LIST_BATCHES;

        rc = ngx_http_batch_param_int(op, "limit", &value, 0, max,
                                      &list->limit);
    }

    if (rc == NGX_DONE) {
        return NGX_DONE;
    }

    if (ngx_http_batch_api_list_arg(op, "after", &list->after) == NGX_DONE) {
        return NGX_DONE;
    }

    if (list->kind != BATCH_ID_FILE) {
        return NGX_OK;
    }

    if (ngx_http_batch_api_list_arg(op, "purpose", &list->purpose)
        == NGX_DONE)
    {
        return NGX_DONE;
    }

    rc = ngx_http_batch_api_list_arg(op, "order", &value);

    if (rc == NGX_OK) {

        if (value.len == 3 && ngx_strncmp(value.data, "asc", 3) == 0) {
            list->asc = 1;

        } else if (value.len != 4 || ngx_strncmp(value.data, "desc", 4) != 0) {
            return ngx_http_batch_param_supported(op, "order", &value,
                                                  ngx_http_batch_list_orders,
                                                  2, sizeof(ngx_str_t));
        }
    }

    return (rc == NGX_DONE) ? NGX_DONE : NGX_OK;
}


/* a decoded query argument; NGX_DECLINED if there is none, NGX_DONE if the op
 * has ended */

static ngx_int_t
ngx_http_batch_api_list_arg(ngx_http_batch_op_t *op, const char *name,
    ngx_str_t *value)
{
    u_char     *src, *dst;
    ngx_str_t   raw;

    ngx_str_null(value);

    if (ngx_http_arg(op->r, (u_char *) name, ngx_strlen(name), &raw)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    value->data = ngx_pnalloc(op->pool, raw.len + 1);
    if (value->data == NULL) {
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    src = raw.data;
    dst = value->data;

    ngx_unescape_uri(&dst, &src, raw.len, 0);

    value->len = dst - value->data;

    return NGX_OK;
}


static void
ngx_http_batch_api_list_wait(ngx_http_batch_op_t *op)
{
    ngx_event_t                *ev;
    ngx_http_batch_api_list_t  *list;

    list = op->data;
    ev = &ngx_http_batch_api_list_event;

    if (ev->handler == NULL) {
        ngx_http_batch_turn_timer(ev, ngx_http_batch_api_list_turn, 0);
        ngx_queue_init(&ngx_http_batch_api_lists);
    }

    if (ngx_http_batch_api_list_now == NULL && !ev->posted) {
        ngx_http_batch_api_list_ask(op);
        return;
    }

    list->waiting = 1;
    ngx_queue_insert_tail(&ngx_http_batch_api_lists, &list->queue);

    ngx_http_batch_api_list_hold(&ngx_http_batch_api_list_held);
}


/* a worker that quits waits for its timers: it is not to leave these lists */

static void
ngx_http_batch_api_list_hold(ngx_event_t *ev)
{
    if (ev->handler == NULL) {
        ngx_http_batch_turn_timer(ev, ngx_http_batch_api_list_hold, 0);
    }

    if (!ev->timer_set && !ngx_queue_empty(&ngx_http_batch_api_lists)) {
        ngx_add_timer(ev, NGX_HTTP_BATCH_LIST_HOLD);
    }
}


static void
ngx_http_batch_api_list_turn(ngx_event_t *ev)
{
    ngx_queue_t                *q;
    ngx_connection_t           *c;
    ngx_http_batch_api_list_t  *list;

    if (ngx_queue_empty(&ngx_http_batch_api_lists)) {
        return;
    }

    q = ngx_queue_head(&ngx_http_batch_api_lists);
    ngx_queue_remove(q);

    list = ngx_queue_data(q, ngx_http_batch_api_list_t, queue);
    list->waiting = 0;

    c = list->op->r->connection;
    ngx_http_set_log_request(c->log, list->op->r);

    ngx_http_batch_api_list_ask(list->op);

    ngx_http_run_posted_requests(c);
}


/* the next list has the next turn of the event loop, not this one */

static void
ngx_http_batch_api_list_turn_over(ngx_http_batch_api_list_t *list)
{
    if (ngx_http_batch_api_list_now != list) {
        return;
    }

    ngx_http_batch_api_list_now = NULL;

    ngx_post_event(&ngx_http_batch_api_list_event, &ngx_posted_next_events);
}


static void
ngx_http_batch_api_list_ask(ngx_http_batch_op_t *op)
{
    int64_t                     n;
    ngx_int_t                   rc;
    ngx_http_batch_api_list_t  *list;

    list = op->data;
    ngx_http_batch_api_list_now = list;

    /* the one beyond the page tells that there are more */

    n = list->limit + 1 - list->shown;

    if (list->kind == BATCH_ID_FILE) {
        n = ngx_min(n, NGX_HTTP_BATCH_LIST_FILES_PIECE);
        rc = ngx_http_batch_index_file_list(&op->tenant, &list->purpose,
                                            &list->place, (ngx_uint_t) n,
                                            list->asc,
                                            ngx_http_batch_op_index, op);

    } else {
        n = ngx_min(n, NGX_HTTP_BATCH_LIST_BATCHES_PIECE);
        rc = ngx_http_batch_index_batch_list(&op->tenant, &list->place,
                                             (ngx_uint_t) n,
                                             ngx_http_batch_op_index, op);
    }

    ngx_http_batch_op_wait(op, ngx_http_batch_api_list_step, rc);
}


static void
ngx_http_batch_api_list_step(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_api_list_t *list = op->data;

    list->n = 0;
    list->bytes = 0;
    list->more = 0;

    if (rc == NGX_OK) {
        list->more = res->has_more;

        if ((list->more
             && ngx_http_batch_api_list_go_on(list, &res->place) != NGX_OK)
            || ngx_http_batch_api_list_copy(list, res) != NGX_OK)
        {
            ngx_http_batch_op_unavailable(op, NGX_ERROR);
            return;
        }
    }

    if (list->bytes > NGX_HTTP_BATCH_LIST_INLINE) {
        (void) ngx_http_batch_op_task(op, ngx_http_batch_api_list_run,
                                      ngx_http_batch_api_list_done);
        return;
    }

    ngx_http_batch_api_list_run(op, ngx_cycle->log);
    ngx_http_batch_api_list_done(op);
}


/* NGX_ERROR: it does not go on, so a list would have no end */

static ngx_int_t
ngx_http_batch_api_list_go_on(ngx_http_batch_api_list_t *list,
    const ngx_http_batch_place_t *place)
{
    if (place->id.len == 0 || place->id.len >= sizeof(list->id)
        || place->score.len == 0 || place->score.len > sizeof(list->score)
        || (place->id.len == list->place.id.len
            && ngx_memcmp(place->id.data, list->place.id.data, place->id.len)
               == 0))
    {
        return NGX_ERROR;
    }

    ngx_memcpy(list->id, place->id.data, place->id.len);
    ngx_memcpy(list->score, place->score.data, place->score.len);

    list->place.id.data = list->id;
    list->place.id.len = place->id.len;
    list->place.score.data = list->score;
    list->place.score.len = place->score.len;

    return NGX_OK;
}


/* the index's answer is valid during its callback only */

static ngx_int_t
ngx_http_batch_api_list_copy(ngx_http_batch_api_list_t *list,
    ngx_http_batch_index_res_t *res)
{
    u_char                 *p;
    size_t                  i;
    ngx_http_batch_view_t  *v;

    for (i = 0; i < res->n; i++) {

        if (list->kind == BATCH_ID_FILE) {
            list->bytes += res->items[i].len;
            continue;
        }

        v = &res->views[i];
        list->bytes += v->meta.len + v->final.len + v->model.len;
    }

    list->views = ngx_alloc(res->n * sizeof(ngx_http_batch_view_t)
                            + list->bytes + 1, ngx_cycle->log);
    if (list->views == NULL) {
        return NGX_ERROR;
    }

    p = (u_char *) (list->views + res->n);

    for (i = 0; i < res->n; i++) {
        v = &list->views[i];

        if (list->kind == BATCH_ID_FILE) {
            ngx_memzero(v, sizeof(ngx_http_batch_view_t));
            ngx_http_batch_api_list_str(&v->meta, &res->items[i], &p);
            continue;
        }

        *v = res->views[i];

        ngx_http_batch_api_list_str(&v->meta, &res->views[i].meta, &p);
        ngx_http_batch_api_list_str(&v->final, &res->views[i].final, &p);
        ngx_http_batch_api_list_str(&v->model, &res->views[i].model, &p);
    }

    list->n = res->n;

    return NGX_OK;
}


static void
ngx_http_batch_api_list_str(ngx_str_t *dst, const ngx_str_t *src, u_char **p)
{
    dst->data = *p;
    dst->len = src->len;

    if (src->len) {
        *p = ngx_cpymem(*p, src->data, src->len);
    }
}


static void
ngx_http_batch_api_list_run(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    char                        id[BATCH_ID_LEN];
    size_t                      i, before;
    ngx_int_t                   rc;
    batch_text_t               *t;
    ngx_http_batch_api_list_t  *list;

    list = op->data;
    t = &op->text;

    if (!list->begun) {
        list->begun = 1;
        ngx_http_batch_render_list(t);
    }

    for (i = 0; i < list->n && !list->has_more; i++) {

        before = t->len;

        if (list->shown) {
            batch_text_literal(t, ",");
        }

        rc = ngx_http_batch_api_list_item(list, i, t, id);

        if (rc == NGX_OK && list->shown < list->limit) {
            ngx_memcpy(list->last, id, BATCH_ID_LEN);

            if (list->shown++ == 0) {
                ngx_memcpy(list->first, id, BATCH_ID_LEN);
            }

            continue;
        }

        t->len = before;

        if (rc == NGX_OK) {
            list->has_more = 1;
        }

        if (rc == NGX_ERROR && !ngx_http_batch_store_damaged()) {

            /* no memory for the object: a page without it would be wrong */

            t->failed = 1;
            return;
        }

        if (rc == NGX_ERROR) {
            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "batch: malformed manifest in the index, left out "
                          "of a list");
        }
    }

    if (list->has_more || !list->more) {
        list->end = 1;
        ngx_http_batch_render_list_end(t, list->first, list->last,
                                       list->has_more);
    }
}


/* NGX_OK with its id; NGX_DECLINED: an expired file, left out; NGX_ERROR: not
 * a manifest of ours, or no memory (see ngx_http_batch_store_damaged()) */

static ngx_int_t
ngx_http_batch_api_list_item(ngx_http_batch_api_list_t *list, size_t i,
    batch_text_t *t, char id[BATCH_ID_LEN])
{
    json_t                 *root;
    ngx_int_t               rc;
    ngx_http_batch_file_t   f;
    ngx_http_batch_view_t  *v;

    v = &list->views[i];

    if (list->kind == BATCH_ID_BATCH) {
        return ngx_http_batch_render_batch(t, v, list->dialect, id);
    }

    if (ngx_http_batch_file_decode(&f, v->meta.data, v->meta.len, &root)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = NGX_DECLINED;

    if (f.expires_at == 0 || f.expires_at > list->now) {
        ngx_http_batch_render_file(t, &f);
        ngx_memcpy(id, f.id, BATCH_ID_LEN);
        rc = NGX_OK;
    }

    json_decref(root);

    return rc;
}


static void
ngx_http_batch_api_list_done(ngx_http_batch_op_t *op)
{
    ngx_int_t                   rc;
    ngx_http_batch_api_list_t  *list;

    list = op->data;

    ngx_free(list->views);
    list->views = NULL;

    ngx_http_batch_api_list_turn_over(list);

    if (op->text.failed) {
        ngx_http_batch_op_failed(op);
        return;
    }

    if (op->r == NULL || (list->end && op->stream == NULL)) {
        ngx_http_batch_op_answer(op);
        return;
    }

    if (op->text.len >= NGX_HTTP_BATCH_LIST_WHOLE
        || (op->stream && op->text.len) || list->end)
    {
        rc = ngx_http_batch_stream_send(op, list->end,
                                        ngx_http_batch_api_list_wait);
        if (rc != NGX_OK) {
            return;
        }
    }

    ngx_http_batch_api_list_wait(op);
}


/* the client is gone, or has its answer */

static void
ngx_http_batch_api_list_abandon(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_list_t  *list;

    list = op->data;

    if (list->waiting) {
        ngx_queue_remove(&list->queue);
    }

    if (list->views) {
        ngx_free(list->views);
    }

    ngx_http_batch_api_list_turn_over(list);

    ngx_http_batch_op_destroy(op);
}
