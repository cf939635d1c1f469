/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The status of a batch in an answer of the index.
 *
 * A debug build remembers, per worker, what the index last said of a batch, and
 * holds the next answer against the status machine: by then other workers may
 * have taken it several steps on, but never back.  All of it is forgotten when
 * the link breaks, and when the index is found not to be filled: a rebuild
 * tells what is on disk in steps.
 */

#include "ngx_http_batch_index_int.h"


#if (NGX_DEBUG)

#define NGX_HTTP_BATCH_INDEX_STATUS_KNOWN  256   /* batches, by hash */


typedef struct {
    char            id[BATCH_ID_LEN];
    batch_status_e  status;
} ngx_http_batch_index_status_t;


static ngx_uint_t ngx_http_batch_index_status_leads(batch_status_e from,
    batch_status_e to);


static ngx_http_batch_index_status_t
    ngx_http_batch_index_status_known[NGX_HTTP_BATCH_INDEX_STATUS_KNOWN];

#endif


batch_status_e
ngx_http_batch_index_status_read(struct redisReply *reply)
{
    int        status;
    ngx_str_t  s;

    if (!ngx_http_batch_reply_str(reply, &s) || s.len == 0) {
        return BATCH_STATUS_N;
    }

    status = batch_status_parse(s.data, s.len);

    return status < 0 ? BATCH_STATUS_N : (batch_status_e) status;
}


#if (NGX_DEBUG)

void
ngx_http_batch_index_status_seen(const char *id, batch_status_e status,
    ngx_uint_t filled)
{
    size_t                          len;
    ngx_http_batch_index_status_t  *known;

    len = ngx_strlen(id);

    if (status >= BATCH_STATUS_N || len == 0 || len >= BATCH_ID_LEN) {
        return;
    }

    known = &ngx_http_batch_index_status_known[
                 ngx_crc32_short((u_char *) id, len)
                 % NGX_HTTP_BATCH_INDEX_STATUS_KNOWN];

    if (ngx_strcmp(known->id, id) == 0
        && !ngx_http_batch_index_status_leads(known->status, status))
    {
        if (filled) {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                          "batch: %s: status went from %s to %s", id,
                          batch_status_name(known->status),
                          batch_status_name(status));
        }

        return;
    }

    ngx_cpystrn((u_char *) known->id, (u_char *) id, BATCH_ID_LEN);
    known->status = status;
}


void
ngx_http_batch_index_status_forget(void)
{
    ngx_memzero(ngx_http_batch_index_status_known,
                sizeof(ngx_http_batch_index_status_known));
}


/* by any number of legal steps: the way is shorter than the list of statuses */

static ngx_uint_t
ngx_http_batch_index_status_leads(batch_status_e from, batch_status_e to)
{
    unsigned        reached, before;
    batch_status_e  a, b;

    /* the input is bad, which was found out when its time was already over */

    if (from == BATCH_FINALIZING && to == BATCH_FAILED) {
        return 1;
    }

    reached = 1u << from;

    do {
        before = reached;

        for (a = 0; a < BATCH_STATUS_N; a++) {
            for (b = 0; b < BATCH_STATUS_N; b++) {
                if (reached & (1u << a) && batch_status_legal(a, b)) {
                    reached |= 1u << b;
                }
            }
        }

    } while (reached != before);

    return (reached & (1u << to)) != 0;
}

#endif
