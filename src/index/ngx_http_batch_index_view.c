/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A view of a batch, as the part "view" of prelude.lua tells it.  Here is the
 * only place where its fields are read, there the only one where they are put
 * together; t/lua holds the two lists against each other.
 */

#include "ngx_http_batch_index_int.h"


typedef enum {
    NGX_HTTP_BATCH_INDEX_VIEW_TEXT = 0,
    NGX_HTTP_BATCH_INDEX_VIEW_NUMBER,
    NGX_HTTP_BATCH_INDEX_VIEW_STATUS
} ngx_http_batch_index_view_type_e;


typedef struct {
    ngx_str_t                         name;
    ngx_http_batch_index_view_type_e  type;
    size_t                            offset;
} ngx_http_batch_index_view_field_t;


static const ngx_http_batch_index_view_field_t
    ngx_http_batch_index_view_fields[] =
{
    { ngx_string("meta"), NGX_HTTP_BATCH_INDEX_VIEW_TEXT,
      offsetof(ngx_http_batch_view_t, meta) },

    { ngx_string("final"), NGX_HTTP_BATCH_INDEX_VIEW_TEXT,
      offsetof(ngx_http_batch_view_t, final) },

    { ngx_string("status"), NGX_HTTP_BATCH_INDEX_VIEW_STATUS,
      offsetof(ngx_http_batch_view_t, status) },

    { ngx_string("in_progress_at"), NGX_HTTP_BATCH_INDEX_VIEW_NUMBER,
      offsetof(ngx_http_batch_view_t, in_progress_at) },

    { ngx_string("finalizing_at"), NGX_HTTP_BATCH_INDEX_VIEW_NUMBER,
      offsetof(ngx_http_batch_view_t, finalizing_at) },

    { ngx_string("cancelling_at"), NGX_HTTP_BATCH_INDEX_VIEW_NUMBER,
      offsetof(ngx_http_batch_view_t, cancelling_at) },

    { ngx_string("total"), NGX_HTTP_BATCH_INDEX_VIEW_NUMBER,
      offsetof(ngx_http_batch_view_t, total) },

    { ngx_string("ok"), NGX_HTTP_BATCH_INDEX_VIEW_NUMBER,
      offsetof(ngx_http_batch_view_t, ok) },

    { ngx_string("failed"), NGX_HTTP_BATCH_INDEX_VIEW_NUMBER,
      offsetof(ngx_http_batch_view_t, failed) },

    { ngx_string("model"), NGX_HTTP_BATCH_INDEX_VIEW_TEXT,
      offsetof(ngx_http_batch_view_t, model) }
};

#define NGX_HTTP_BATCH_INDEX_VIEW_N                                           \
    (sizeof(ngx_http_batch_index_view_fields)                                 \
     / sizeof(ngx_http_batch_index_view_field_t))


static void ngx_http_batch_index_view_field(
    const ngx_http_batch_index_view_field_t *f, struct redisReply *reply,
    ngx_http_batch_view_t *v);


ngx_int_t
ngx_http_batch_index_view_read(struct redisReply *reply,
    ngx_http_batch_view_t *v)
{
    ngx_uint_t  i;

    if (ngx_http_batch_reply_n(reply) != NGX_HTTP_BATCH_INDEX_VIEW_N) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_HTTP_BATCH_INDEX_VIEW_N; i++) {
        ngx_http_batch_index_view_field(&ngx_http_batch_index_view_fields[i],
                                        ngx_http_batch_reply_at(reply, i), v);
    }

    if (v->status == BATCH_STATUS_N) {
        return NGX_ERROR;
    }

    /* a chunk runs again unknown to clients: see chunk_redo.lua */

    if (v->status == BATCH_IN_PROGRESS && v->finalizing_at) {
        v->status = BATCH_FINALIZING;
    }

    return NGX_OK;
}


static void
ngx_http_batch_index_view_field(const ngx_http_batch_index_view_field_t *f,
    struct redisReply *reply, ngx_http_batch_view_t *v)
{
    int64_t  n;
    u_char  *p = (u_char *) v + f->offset;

    switch (f->type) {

    case NGX_HTTP_BATCH_INDEX_VIEW_TEXT:
        (void) ngx_http_batch_reply_str(reply, (ngx_str_t *) p);
        break;

    case NGX_HTTP_BATCH_INDEX_VIEW_NUMBER:

        /* times are signed, counts are not; none has the highest bit */

        n = ngx_http_batch_reply_int(reply);
        ngx_memcpy(p, &n, sizeof(int64_t));
        break;

    case NGX_HTTP_BATCH_INDEX_VIEW_STATUS:
        *(batch_status_e *) p = ngx_http_batch_index_status_read(reply);
        break;
    }
}
