/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A table of the receivers that were met last.  It is searched from end to end:
 * there are few, and attempts are rare.
 */

#include "ngx_http_batch_hook_receiver.h"


#define NGX_HTTP_BATCH_RECEIVER_GOOD     4       /* places of one that answers */
#define NGX_HTTP_BATCH_RECEIVER_OTHER    1       /* ... of any other */
#define NGX_HTTP_BATCH_RECEIVER_SHUT     100     /* ms, the shortest ... */
#define NGX_HTTP_BATCH_RECEIVER_LONGEST  30000   /* ... and the longest time
                                                    without an attempt */


static ngx_http_batch_receiver_t  *ngx_http_batch_receivers;
static ngx_uint_t                  ngx_http_batch_receiver_limit;
static u_char                     *ngx_http_batch_receiver_text;


ngx_int_t
ngx_http_batch_receiver_init(ngx_uint_t limit)
{
    /* "0123456789abcdef=4 " */

    ngx_http_batch_receiver_text = ngx_alloc(NGX_HTTP_BATCH_RECEIVERS * 24,
                                             ngx_cycle->log);
    ngx_http_batch_receivers = ngx_calloc(NGX_HTTP_BATCH_RECEIVERS
                                          * sizeof(ngx_http_batch_receiver_t),
                                          ngx_cycle->log);
    ngx_http_batch_receiver_limit = limit;

    return ngx_http_batch_receivers && ngx_http_batch_receiver_text
           ? NGX_OK : NGX_ERROR;
}


ngx_http_batch_receiver_t *
ngx_http_batch_receiver_get(uint64_t key)
{
    ngx_uint_t                  i;
    ngx_http_batch_receiver_t  *rc, *oldest;

    oldest = NULL;

    for (i = 0; i < NGX_HTTP_BATCH_RECEIVERS; i++) {
        rc = &ngx_http_batch_receivers[i];

        if (rc->key == key) {
            rc->used = ngx_current_msec;
            return rc;
        }

        /* fewer fly than there are */

        if (rc->flying == 0
            && (oldest == NULL || rc->key == 0
                || (oldest->key
                    && (ngx_msec_int_t) (rc->used - oldest->used) < 0)))
        {
            oldest = rc;
        }
    }

    ngx_memzero(oldest, sizeof(ngx_http_batch_receiver_t));
    oldest->key = key;
    oldest->used = ngx_current_msec;

    return oldest;
}


ngx_uint_t
ngx_http_batch_receiver_left(ngx_http_batch_receiver_t *rc)
{
    ngx_uint_t  places;

    /* of one that leads to many servers, each is asked for itself */

    if (rc->many) {
        places = NGX_HTTP_BATCH_RECEIVER_GOOD;

    } else if (rc->failures) {
        places = (ngx_msec_int_t) (ngx_current_msec - rc->open_at) < 0
                 ? 0 : ngx_http_batch_receiver_others();

    } else {
        places = rc->good ? NGX_HTTP_BATCH_RECEIVER_GOOD
                          : ngx_http_batch_receiver_others();
    }

    return places > rc->flying ? places - rc->flying : 0;
}


/* a quarter is kept for those that answer */

ngx_uint_t
ngx_http_batch_receiver_others(void)
{
    ngx_uint_t                  i, n;
    ngx_http_batch_receiver_t  *rc;

    n = 0;

    for (i = 0; i < NGX_HTTP_BATCH_RECEIVERS; i++) {
        rc = &ngx_http_batch_receivers[i];

        if (rc->failures || !rc->good) {
            n += rc->flying;
        }
    }

    return n < ngx_http_batch_receiver_limit
               - ngx_http_batch_receiver_limit / 4
           ? NGX_HTTP_BATCH_RECEIVER_OTHER : 0;
}


void
ngx_http_batch_receiver_list(ngx_str_t *list)
{
    u_char                     *p;
    ngx_uint_t                  i, left, others;
    ngx_http_batch_receiver_t  *rc;

    p = ngx_http_batch_receiver_text;
    others = ngx_http_batch_receiver_others();

    for (i = 0; i < NGX_HTTP_BATCH_RECEIVERS; i++) {
        rc = &ngx_http_batch_receivers[i];
        left = rc->key ? ngx_http_batch_receiver_left(rc) : others;

        if (left != others) {
            p = ngx_sprintf(p, "%016xL=%ui ", rc->key, left);
        }
    }

    list->data = ngx_http_batch_receiver_text;
    list->len = p - list->data;
}


void
ngx_http_batch_receiver_outcome(ngx_http_batch_receiver_t *rc,
    ngx_uint_t good, ngx_msec_t took)
{
    if (good) {
        rc->good = 1;
        rc->failures = 0;
        return;
    }

    took <<= ngx_min(rc->failures, 2);
    took = ngx_max(took, NGX_HTTP_BATCH_RECEIVER_SHUT);
    took = ngx_min(took, NGX_HTTP_BATCH_RECEIVER_LONGEST);

    rc->failures++;
    rc->open_at = ngx_current_msec + took;
}


uint64_t
ngx_http_batch_receiver_server(ngx_http_request_t *r)
{
    uint64_t                       hash;
    ngx_str_t                     *host;
    ngx_uint_t                     port;
    ngx_http_upstream_t           *u;
    ngx_http_upstream_srv_conf_t  *uscf;

    u = r->upstream;

    if (u == NULL) {
        return 0;
    }

    uscf = u->conf ? u->conf->upstream : NULL;

    if (u->resolved && u->resolved->host.len) {
        host = &u->resolved->host;
        port = u->resolved->port;

    } else if (uscf) {
        host = &uscf->host;
        port = uscf->port;

    } else {
        return 0;
    }

    hash = (uint64_t) ngx_murmur_hash2(host->data, host->len) << 17
           | (port & 0xffff) << 1 | 1;

    return hash;
}
