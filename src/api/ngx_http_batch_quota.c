/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Quotas (batch_quota).  A place is taken in the index before something is
 * published, and given back if it was not; so a refused request leaves nothing
 * in the store, and two at once cannot both get the last place.  The place of a
 * file grows with its body, ahead of what is written.
 */

#include "ngx_http_batch_op.h"
#include "ngx_http_batch_quota.h"


static ngx_uint_t ngx_http_batch_quota_limits(ngx_http_batch_op_t *op,
    ngx_http_batch_hold_t *h);
static void ngx_http_batch_quota_hold_part(ngx_http_batch_op_t *op,
    ngx_http_batch_hold_part_t *h, const char *what);
static void ngx_http_batch_quota_timer(ngx_event_t *ev);
static const char *ngx_http_batch_quota_bytes(ngx_http_batch_op_t *op);
static void ngx_http_batch_quota_step(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);


static ngx_uint_t
ngx_http_batch_quota_limits(ngx_http_batch_op_t *op, ngx_http_batch_hold_t *h)
{
    ngx_http_batch_quota_conf_t  *conf;

    conf = op->conf->quota;

    h->max_sum = 0;
    h->max_number = 0;

    if (conf && h->use == NGX_HTTP_BATCH_USE_FILES) {
        h->max_sum = conf->bytes;
        h->max_number = conf->files;

    } else if (conf) {
        h->max_sum = conf->lines;
        h->max_number = conf->batches;
    }

    return h->max_sum || h->max_number;
}


ngx_uint_t
ngx_http_batch_quota_any(ngx_http_batch_op_t *op, ngx_http_batch_use_e use)
{
    ngx_http_batch_hold_t  h;

    h.use = use;

    return ngx_http_batch_quota_limits(op, &h);
}


void
ngx_http_batch_quota_check(ngx_http_batch_op_t *op, off_t bytes,
    ngx_http_batch_op_pt next)
{
    op->quota.left = INT64_MAX;

    /* a request that is repeated gets its answer: that is decided later */

    if (op->idem == NULL
        && ngx_http_batch_quota_any(op, NGX_HTTP_BATCH_USE_FILES))
    {
        ngx_http_batch_quota_take(op, NGX_HTTP_BATCH_USE_FILES, "", bytes, 0,
                                  next);
        return;
    }

    ngx_http_batch_op_ready(op, next);
}


void
ngx_http_batch_quota_take(ngx_http_batch_op_t *op, ngx_http_batch_use_e use,
    const char *id, int64_t amount, ngx_msec_t hold, ngx_http_batch_op_pt next)
{
    ngx_http_batch_hold_t  h;

    h.use = use;

    if (!ngx_http_batch_quota_limits(op, &h)) {
        next(op);
        return;
    }

    h.tenant = op->tenant;
    h.id = id;
    h.amount = amount;
    h.most = op->quota.kept ? amount : 0;
    h.hold = hold;

    op->quota.use = use;
    op->quota.amount = amount;
    op->quota.next = next;
    op->quota.growing = 0;

    /* the place may be taken even if the client leaves before the answer */

    op->quota.held = (id[0] != '\0' && !op->quota.kept);

    (void) ngx_cpystrn((u_char *) op->quota.id, (u_char *) id, BATCH_ID_LEN);

    ngx_http_batch_op_wait(op, ngx_http_batch_quota_step,
                           ngx_http_batch_index_use_hold(&h,
                                                 ngx_http_batch_op_index, op));
}


ngx_int_t
ngx_http_batch_quota_grow(ngx_http_batch_op_t *op, const char *id,
    int64_t bytes, int64_t most, ngx_http_batch_op_pt next)
{
    ngx_int_t              rc;
    ngx_http_batch_hold_t  h;

    h.use = NGX_HTTP_BATCH_USE_FILES;

    (void) ngx_http_batch_quota_limits(op, &h);

    h.tenant = op->tenant;
    h.id = id;
    h.amount = bytes;
    h.most = most;
    h.hold = NGX_HTTP_BATCH_QUOTA_HOLD;

    op->quota.use = h.use;
    op->quota.amount = bytes;
    op->quota.next = next;
    op->quota.growing = 1;
    op->quota.held = 1;

    (void) ngx_cpystrn((u_char *) op->quota.id, (u_char *) id, BATCH_ID_LEN);

    rc = ngx_http_batch_op_wait(op, ngx_http_batch_quota_step,
                                ngx_http_batch_index_use_hold(&h,
                                                 ngx_http_batch_op_index, op));

    return rc == NGX_OK ? NGX_AGAIN : NGX_DONE;
}


ngx_int_t
ngx_http_batch_quota_grow_part(ngx_http_batch_op_t *op, int64_t bytes,
    int64_t most, ngx_http_batch_op_pt next)
{
    ngx_int_t                   rc;
    ngx_http_batch_hold_part_t  h;

    ngx_http_batch_quota_hold_part(op, &h, "take");

    h.hold.amount = bytes;
    h.hold.most = most;

    op->quota.use = h.hold.use;
    op->quota.amount = bytes;
    op->quota.next = next;
    op->quota.growing = 1;
    op->quota.held = 1;

    rc = ngx_http_batch_op_wait(op, ngx_http_batch_quota_step,
                                ngx_http_batch_index_use_part(&h,
                                                 ngx_http_batch_op_index, op));

    return rc == NGX_OK ? NGX_AGAIN : NGX_DONE;
}


static void
ngx_http_batch_quota_hold_part(ngx_http_batch_op_t *op,
    ngx_http_batch_hold_part_t *h, const char *what)
{
    int64_t  ms;

    ngx_memzero(h, sizeof(ngx_http_batch_hold_part_t));

    h->hold.use = NGX_HTTP_BATCH_USE_FILES;

    (void) ngx_http_batch_quota_limits(op, &h->hold);

    ms = (op->quota.part.expires_at - batch_clock_sec()) * 1000;

    h->hold.tenant = op->tenant;
    h->hold.id = op->id;
    h->hold.hold = (ngx_msec_t) ngx_max(ms, 0) + NGX_HTTP_BATCH_QUOTA_HOLD;

    h->part = op->quota.part.id;
    h->what = what;
    h->bytes = op->quota.part.whole;
    h->max = op->quota.part.max;
    h->stored = op->quota.part.stored;
}


static void
ngx_http_batch_quota_step(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_event_t  *ev;

    if (rc == NGX_OK) {

        if (op->quota.growing) {
            op->quota.granted = res->granted;

            ev = &op->quota.timer;
            ev->handler = ngx_http_batch_quota_timer;
            ev->data = op;
            ev->log = ngx_cycle->log;
            ev->cancelable = 1;

            ngx_add_timer(ev, NGX_HTTP_BATCH_QUOTA_HOLD / 2);

        } else if (op->quota.id[0] == '\0' && op->conf->quota->bytes) {
            op->quota.left = op->conf->quota->bytes - res->used;
        }

        op->quota.next(op);
        return;
    }

    /* what was granted before is there still */

    op->quota.held = (op->quota.held && op->quota.granted);
    op->quota.over = res->over;
    op->quota.used = res->used;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: request %V: quota is exceeded, use:%d, over:%d, "
                   "used:%uL", &op->request_id, op->quota.use, op->quota.over,
                   op->quota.used);

    if (op->quota.part.id[0]) {

        if (op->quota.over != NGX_HTTP_BATCH_OVER_SUM) {
            op->quota.next(op);
            return;
        }

        op->quota.amount = res->granted;

    } else if (op->quota.over == NGX_HTTP_BATCH_OVER_SUM && !op->quota.kept) {
        op->quota.used -= ngx_min(op->quota.used,
                                  (uint64_t) op->quota.granted);
    }

    if (op->idem) {

        /* only the disk knows whether the request was here before */

        op->quota.next(op);
        return;
    }

    ngx_http_batch_quota_reject(op);
}


/* a body may come for hours; should this fail, the next step tells */

static void
ngx_http_batch_quota_timer(ngx_event_t *ev)
{
    ngx_http_batch_op_t *op = ev->data;

    ngx_http_batch_hold_t       h;
    ngx_http_batch_hold_part_t  hp;

    ngx_add_timer(ev, NGX_HTTP_BATCH_QUOTA_HOLD / 2);

    if (op->quota.part.id[0]) {
        ngx_http_batch_quota_hold_part(op, &hp, "take");

        hp.hold.amount = op->quota.granted;
        hp.hold.most = op->quota.granted;

        (void) ngx_http_batch_index_use_part(&hp, NULL, NULL);
        return;
    }

    h.use = op->quota.use;

    (void) ngx_http_batch_quota_limits(op, &h);

    h.tenant = op->tenant;
    h.id = op->quota.id;
    h.amount = op->quota.granted;
    h.most = op->quota.granted;
    h.hold = NGX_HTTP_BATCH_QUOTA_HOLD;

    (void) ngx_http_batch_index_use_hold(&h, NULL, NULL);
}


void
ngx_http_batch_quota_reject(ngx_http_batch_op_t *op)
{
    uint64_t                      max;
    ngx_uint_t                    number;
    const char                   *fmt;
    ngx_http_batch_quota_conf_t  *conf;

    conf = op->conf->quota;
    number = (op->quota.over == NGX_HTTP_BATCH_OVER_NUMBER);

    if (op->quota.use == NGX_HTTP_BATCH_USE_BATCHES) {
        max = number ? conf->batches : conf->lines;
        fmt = number
              ? "You have reached your quota of batches: %uL of %uL batches "
                "are not finished. Wait until batches have finished, or "
                "cancel them."
              : "You have reached your quota of lines: %uL of %uL lines are "
                "in batches that are not finished. Wait until batches have "
                "finished, or cancel them.";

    } else if (number) {
        max = conf->files;
        fmt = "You have reached your quota of files: %uL of %uL files are "
              "stored. Delete files that you no longer need.";

    } else {
        max = conf->bytes;
        fmt = ngx_http_batch_quota_bytes(op);
    }

    ngx_http_batch_op_reject(op, NGX_HTTP_FORBIDDEN, NULL, "quota_exceeded",
                             fmt, op->quota.used, max, op->quota.amount);
}


static const char *
ngx_http_batch_quota_bytes(ngx_http_batch_op_t *op)
{
    if (op->quota.part.id[0]) {
        return "You have reached your quota of storage: %uL of %uL bytes are "
               "used, and this upload takes at least %L bytes with this part. "
               "Delete files that you no longer need.";
    }

    if (op->quota.growing) {
        return "You have reached your quota of storage: %uL of %uL bytes are "
               "used, and this file has at least %L bytes. Delete files that "
               "you no longer need.";
    }

    if (op->quota.id[0]) {
        return "You have reached your quota of storage: %uL of %uL bytes are "
               "used, and this file has %L bytes. Delete files that you no "
               "longer need.";
    }

    return "You have reached your quota of storage: %uL of %uL bytes are "
           "used. Delete files that you no longer need.";
}


void
ngx_http_batch_quota_keep(ngx_http_batch_op_t *op, const char *id)
{
    if (op->quota.held && ngx_strcmp(op->quota.id, id) == 0) {
        op->quota.held = 0;
    }
}


void
ngx_http_batch_quota_keep_part(ngx_http_batch_op_t *op)
{
    ngx_http_batch_hold_part_t  h;

    if (!op->quota.held) {
        return;
    }

    op->quota.held = 0;

    /* if this is lost, it is as if the part were under way for ever, which
     * has the same sum */

    ngx_http_batch_quota_hold_part(op, &h, "stored");
    (void) ngx_http_batch_index_use_part(&h, NULL, NULL);
}


void
ngx_http_batch_quota_end(ngx_http_batch_op_t *op)
{
    if (ngx_http_batch_quota_any(op, NGX_HTTP_BATCH_USE_FILES)) {
        (void) ngx_http_batch_index_use_end(&op->tenant, op->id,
                                            NGX_HTTP_BATCH_QUOTA_UPLOAD, NULL,
                                            NULL);
    }
}


void
ngx_http_batch_quota_release(ngx_http_batch_op_t *op)
{
    ngx_http_batch_hold_part_t  h;

    if (op->quota.timer.timer_set) {
        ngx_del_timer(&op->quota.timer);
    }

    if (!op->quota.held) {
        return;
    }

    op->quota.held = 0;

    /* if this does not reach the index, the place is free when its time is
     * over */

    if (op->quota.part.ended) {
        ngx_http_batch_quota_end(op);

    } else if (op->quota.part.id[0]) {
        ngx_http_batch_quota_hold_part(op, &h, "drop");
        (void) ngx_http_batch_index_use_part(&h, NULL, NULL);

    } else {
        (void) ngx_http_batch_index_use_drop(op->quota.use, &op->tenant,
                                             op->quota.id, NULL, NULL);
    }
}
