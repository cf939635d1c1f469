/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Quotas (batch_quota).  A place is taken in the index before something is
 * published, and given back if it was not; so a refused request leaves nothing
 * in the store, and two at once cannot both get the last place.
 */

#include "ngx_http_batch_op.h"
#include "ngx_http_batch_quota.h"


static ngx_uint_t ngx_http_batch_quota_limits(ngx_http_batch_op_t *op,
    ngx_http_batch_hold_t *h);
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
    h.hold = hold;

    op->quota.use = use;
    op->quota.amount = amount;
    op->quota.next = next;

    /* the place may be taken even if the client leaves before the answer */

    op->quota.held = (id[0] != '\0' && !op->quota.kept);

    (void) ngx_cpystrn((u_char *) op->quota.id, (u_char *) id, BATCH_ID_LEN);

    ngx_http_batch_op_wait(op, ngx_http_batch_quota_step,
                           ngx_http_batch_index_use_hold(&h,
                                                 ngx_http_batch_op_index, op));
}


static void
ngx_http_batch_quota_step(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (rc == NGX_OK) {
        op->quota.next(op);
        return;
    }

    op->quota.held = 0;
    op->quota.over = res->over;
    op->quota.used = res->used;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: request %V: quota is exceeded, use:%d, over:%d, "
                   "used:%uL", &op->request_id, op->quota.use, op->quota.over,
                   op->quota.used);

    if (op->idem) {

        /* only the disk knows whether the request was here before */

        op->quota.next(op);
        return;
    }

    ngx_http_batch_quota_reject(op);
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
        fmt = op->quota.id[0]
              ? "You have reached your quota of storage: %uL of %uL bytes are "
                "used, and this file has %L bytes. Delete files that you no "
                "longer need."
              : "You have reached your quota of storage: %uL of %uL bytes are "
                "used. Delete files that you no longer need.";
    }

    ngx_http_batch_op_reject(op, NGX_HTTP_FORBIDDEN, NULL, "quota_exceeded",
                             fmt, op->quota.used, max, op->quota.amount);
}


void
ngx_http_batch_quota_keep(ngx_http_batch_op_t *op, const char *id)
{
    if (op->quota.held && ngx_strcmp(op->quota.id, id) == 0) {
        op->quota.held = 0;
    }
}


void
ngx_http_batch_quota_release(ngx_http_batch_op_t *op)
{
    if (!op->quota.held) {
        return;
    }

    op->quota.held = 0;

    /* if this does not reach the index, the place is free when its time is
     * over */

    (void) ngx_http_batch_index_use_drop(op->quota.use, &op->tenant,
                                         op->quota.id, NULL, NULL);
}
