/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * POST /uploads/{id}/parts.  The upload is looked at before the body is read,
 * before the part is published, and once more afterwards: it may end meanwhile,
 * and whoever ends it may have looked for its parts before this one was there.
 */

#include "ngx_http_batch_api_upload.h"
#include "ngx_http_batch_form.h"
#include "ngx_http_batch_op.h"
#include "ngx_http_batch_send.h"
#include "ngx_http_batch_store.h"


#define NGX_HTTP_BATCH_UPLOAD_PART  67108864       /* bytes: 64 MB */


/* from the op's pool */

typedef struct {
    ngx_http_batch_form_t           form;
    char                            part[BATCH_ID_LEN];
    int64_t                         now;       /* us */
    ngx_uint_t                      nparts;    /* on disk */
    off_t                           sum;       /* their bytes */
    off_t                           max;       /* of all parts, bytes */
    u_char                          large[96]; /* form.too_large */
    unsigned                        over:1;    /* there are too many */
    ngx_http_batch_upload_state_t   st;
} ngx_http_batch_api_part_t;


static void ngx_http_batch_api_upload_part_load(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_upload_part_loaded(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_part_many(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_upload_part_grow(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_part_grown(ngx_http_batch_op_t *op);
static ngx_uint_t ngx_http_batch_api_upload_part_refused(
    ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_part_ended(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_part_end(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_part_post(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_part_look(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_upload_part_publish(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_upload_part_published(ngx_http_batch_op_t *op);


static const ngx_str_t  ngx_http_batch_api_part_fields[] = {
    ngx_null_string,
    ngx_string("data")
};


ngx_int_t
ngx_http_batch_api_upload_part(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_http_batch_op_t        *op;
    ngx_http_batch_api_part_t  *pt;

    op = ngx_http_batch_op_of_id(r, BATCH_ID_UPLOAD, &rc);
    if (op == NULL) {
        return rc;
    }

    pt = ngx_http_batch_api_upload_data(op, sizeof(ngx_http_batch_api_part_t),
                                        offsetof(ngx_http_batch_api_part_t,
                                                 st));
    if (pt == NULL) {
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    op->data = pt;

    pt->form.names = ngx_http_batch_api_part_fields;
    pt->form.n = 2;
    pt->form.max = NGX_HTTP_BATCH_UPLOAD_PART;
    pt->form.too_large = "Part is too large. Expected at most 67108864 bytes.";
    pt->form.on_end = ngx_http_batch_api_upload_part_end;

    if (ngx_http_batch_form_check(op) == NGX_OK
        && ngx_http_batch_form_init(op) == NGX_OK)
    {
        (void) ngx_http_batch_op_task(op, ngx_http_batch_api_upload_part_load,
                                      ngx_http_batch_api_upload_part_loaded);
    }

    return NGX_DONE;
}


static void
ngx_http_batch_api_upload_part_load(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_api_part_t *pt = op->data;

    ngx_http_batch_api_upload_read(op, &pt->st, log);

    if (op->rc == NGX_OK && pt->st.status == NGX_HTTP_BATCH_UPLOAD_PENDING) {
        op->rc = ngx_http_batch_parts_sum(op->id, &pt->nparts, &pt->sum,
                                          log);
        op->err = ngx_errno;
    }
}


static void
ngx_http_batch_api_upload_part_loaded(ngx_http_batch_op_t *op)
{
    off_t                       bytes;
    ngx_http_batch_api_part_t  *pt;

    pt = op->data;

    if (ngx_http_batch_api_upload_check(op) != NGX_OK) {
        return;
    }

    if (pt->st.status != NGX_HTTP_BATCH_UPLOAD_PENDING) {
        ngx_http_batch_api_upload_ended(op, "add a part to", pt->st.status);
        return;
    }

    /* each part may be sent twice, whose answer was lost, but not without
     * end */

    bytes = pt->st.upload.bytes;
    pt->max = 2 * bytes;

    if (pt->nparts >= NGX_HTTP_BATCH_UPLOAD_PARTS_MAX || pt->sum >= pt->max) {
        ngx_http_batch_api_upload_part_many(op);
        return;
    }

    if (bytes < pt->form.max) {
        ngx_sprintf(pt->large, "Part is too large. Expected at most %O bytes, "
                    "as the upload has.%Z", bytes);
        pt->form.max = bytes;
        pt->form.too_large = (char *) pt->large;
    }

    if (ngx_http_batch_form_check(op) != NGX_OK
        || ngx_http_batch_op_new_id(op, BATCH_ID_PART, pt->part) != NGX_OK)
    {
        return;
    }

    pt->form.granted = pt->max - pt->sum;
    pt->form.on_grow = ngx_http_batch_api_upload_part_grow;

    if (op->conf->quota && op->conf->quota->bytes) {
        pt->form.granted = ngx_min(pt->form.granted,
                                   NGX_HTTP_BATCH_FORM_BUFFER);

        ngx_memcpy(op->quota.part.id, pt->part, BATCH_ID_LEN);
        op->quota.part.whole = bytes;
        op->quota.part.max = pt->max;
        op->quota.part.stored = pt->sum;
        op->quota.part.expires_at = pt->st.upload.expires_at;
    }

    ngx_http_batch_body_start(op);
}


static void
ngx_http_batch_api_upload_part_many(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_part_t *pt = op->data;

    ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL,
                             "too_many_parts",
                             "The upload takes no more parts: it has %ui "
                             "parts of %O bytes in all. Expected at most "
                             "%d parts of at most %O bytes in all.",
                             pt->nparts, pt->sum,
                             NGX_HTTP_BATCH_UPLOAD_PARTS_MAX, pt->max);
}


static ngx_int_t
ngx_http_batch_api_upload_part_grow(ngx_http_batch_op_t *op)
{
    off_t                       bytes, most;
    ngx_http_batch_api_part_t  *pt;

    pt = op->data;

    if (op->quota.part.id[0] == '\0'
        || pt->form.bytes > pt->max - pt->sum)
    {
        ngx_http_batch_api_upload_part_many(op);
        return NGX_DONE;
    }

    ngx_http_batch_form_wants(op, &bytes, &most);

    return ngx_http_batch_quota_grow_part(op, bytes, most,
                                       ngx_http_batch_api_upload_part_grown);
}


static void
ngx_http_batch_api_upload_part_grown(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_part_t *pt = op->data;

    if (!ngx_http_batch_api_upload_part_refused(op)) {
        pt->form.granted = op->quota.granted;
        ngx_http_batch_body_resume(op);
    }
}


static ngx_uint_t
ngx_http_batch_api_upload_part_refused(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_part_t *pt = op->data;

    switch (op->quota.over) {

    case NGX_HTTP_BATCH_OVER_PARTS:
        pt->sum = op->quota.used;
        ngx_http_batch_api_upload_part_many(op);
        return 1;

    case NGX_HTTP_BATCH_OVER_ENDED:

        /* the disk knows how */

        (void) ngx_http_batch_op_task(op, ngx_http_batch_api_upload_part_load,
                                      ngx_http_batch_api_upload_part_ended);
        return 1;

    default:
        return 0;
    }
}


static void
ngx_http_batch_api_upload_part_ended(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_part_t *pt = op->data;

    if (ngx_http_batch_api_upload_check(op) != NGX_OK) {
        return;
    }

    if (pt->st.status != NGX_HTTP_BATCH_UPLOAD_PENDING) {
        ngx_http_batch_api_upload_ended(op, "add a part to", pt->st.status);
        return;
    }

    ngx_http_batch_op_unavailable(op, NGX_ERROR);
}


static void
ngx_http_batch_api_upload_part_end(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_part_t *pt = op->data;

    pt->now = batch_clock_us();

    if (op->quota.part.id[0]) {
        (void) ngx_http_batch_quota_grow_part(op, pt->form.bytes, 0,
                                        ngx_http_batch_api_upload_part_post);
        return;
    }

    ngx_http_batch_api_upload_part_post(op);
}


static void
ngx_http_batch_api_upload_part_post(ngx_http_batch_op_t *op)
{
    if (ngx_http_batch_api_upload_part_refused(op)) {
        return;
    }

    if (ngx_http_batch_op_task(op, ngx_http_batch_api_upload_part_publish,
                               ngx_http_batch_api_upload_part_published)
        == NGX_OK)
    {
        op->abandon = NULL;
    }
}


static void
ngx_http_batch_api_upload_part_publish(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_api_part_t *pt = op->data;

    if (ngx_http_batch_form_flush(op, log) != NGX_OK) {
        return;
    }

    /* its status may have changed while the body came */

    ngx_http_batch_api_upload_read(op, &pt->st, log);

    if (op->rc != NGX_OK || pt->st.status != NGX_HTTP_BATCH_UPLOAD_PENDING) {
        ngx_http_batch_store_tmp_delete(pt->form.tmp, log);
        return;
    }

    op->rc = ngx_http_batch_parts_publish(op->id, pt->part, op->fd,
                                          pt->form.tmp, log);
    op->err = ngx_errno;

    if (op->rc == NGX_OK) {
        ngx_http_batch_api_upload_part_look(op, log);
    }
}


/*
 * Whoever ends the upload publishes that first and then deletes its parts: if
 * that is not seen here, this part is seen there.  Others may have been sent at
 * the same time, on any worker: each looks when it is there itself.
 */

static void
ngx_http_batch_api_upload_part_look(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_api_part_t *pt = op->data;

    ngx_http_batch_api_upload_part_load(op, log);

    if (op->rc == NGX_DECLINED) {

        /* its directory could not be deleted because of this part */

        ngx_http_batch_uploads_delete(op->id, log);
        return;
    }

    pt->over = (pt->nparts > NGX_HTTP_BATCH_UPLOAD_PARTS_MAX
                || pt->sum > pt->max);

    if (op->rc != NGX_OK || pt->over
        || pt->st.status != NGX_HTTP_BATCH_UPLOAD_PENDING)
    {
        ngx_http_batch_parts_delete(op->id, pt->part, log);
    }
}


static void
ngx_http_batch_api_upload_part_published(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_part_t  *pt;

    pt = op->data;

    op->quota.part.ended = (op->rc == NGX_DECLINED
                            || (op->rc == NGX_OK
                                && pt->st.status
                                   != NGX_HTTP_BATCH_UPLOAD_PENDING));

    if (ngx_http_batch_api_upload_check(op) != NGX_OK) {
        return;
    }

    if (pt->st.status != NGX_HTTP_BATCH_UPLOAD_PENDING) {
        ngx_http_batch_api_upload_ended(op, "add a part to", pt->st.status);
        return;
    }

    if (pt->over) {
        ngx_http_batch_api_upload_part_many(op);
        return;
    }

    ngx_http_batch_quota_keep_part(op);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: %s: part %s added, %O bytes", op->id, pt->part,
                   pt->form.bytes);

    batch_text_printf(&op->text, "{\"id\":\"%s\",\"object\":\"upload.part\","
                      "\"created_at\":%" PRId64 ",\"upload_id\":\"%s\"}",
                      pt->part, pt->now / 1000000, op->id);
    ngx_http_batch_op_answer(op);
}
