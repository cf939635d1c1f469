/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The tenants whose batches this worker knows.  There are no more of them than
 * runs, which are few: a list is enough.
 */

#include "ngx_http_batch_owner.h"
#include "ngx_http_batch_run.h"


#define NGX_HTTP_BATCH_OWNER_DIGITS  15      /* of the index's key: no hash is
                                                OWNER_UNKNOWN */


static ngx_http_batch_owner_t *ngx_http_batch_owner_get(uint64_t tenant);


static ngx_queue_t  ngx_http_batch_owners;
static ngx_uint_t   ngx_http_batch_nowners;


void
ngx_http_batch_owner_init(void)
{
    ngx_queue_init(&ngx_http_batch_owners);
    ngx_http_batch_nowners = 0;
}


uint64_t
ngx_http_batch_owner_tenant(const ngx_str_t *tenant)
{
    char  key[41];

    ngx_http_batch_object_tenant_key(tenant, key);

    return ngx_http_batch_owner_key((u_char *) key, ngx_strlen(key));
}


uint64_t
ngx_http_batch_owner_key(const u_char *key, size_t len)
{
    size_t     i;
    uint64_t   hash;
    ngx_int_t  n;

    len = ngx_min(len, NGX_HTTP_BATCH_OWNER_DIGITS);
    hash = 0;

    for (i = 0; i < len; i++) {
        n = ngx_hextoi((u_char *) key + i, 1);

        if (n == NGX_ERROR) {
            return NGX_HTTP_BATCH_OWNER_UNKNOWN;
        }

        hash = hash << 4 | (uint64_t) n;
    }

    return len ? hash : NGX_HTTP_BATCH_OWNER_UNKNOWN;
}


ngx_int_t
ngx_http_batch_owner_set(ngx_http_batch_run_t *run, uint64_t tenant)
{
    ngx_http_batch_owner_t  *owner;

    if (run->owner && run->owner->tenant == tenant) {
        return NGX_OK;
    }

    owner = ngx_http_batch_owner_get(tenant);
    if (owner == NULL) {
        return NGX_ERROR;
    }

    if (run->owner) {
        ngx_http_batch_owner_unset(run);
    }

    run->owner = owner;
    owner->held += run->nchunks + (run->claiming && run->idle);

    ngx_queue_insert_tail(&owner->runs, &run->mate);

    return NGX_OK;
}


static ngx_http_batch_owner_t *
ngx_http_batch_owner_get(uint64_t tenant)
{
    ngx_queue_t             *q;
    ngx_http_batch_owner_t  *owner;

    for (q = ngx_queue_head(&ngx_http_batch_owners);
         q != ngx_queue_sentinel(&ngx_http_batch_owners);
         q = ngx_queue_next(q))
    {
        owner = ngx_queue_data(q, ngx_http_batch_owner_t, queue);

        if (owner->tenant == tenant) {
            return owner;
        }
    }

    owner = ngx_calloc(sizeof(ngx_http_batch_owner_t), ngx_cycle->log);
    if (owner == NULL) {
        return NULL;
    }

    owner->tenant = tenant;
    ngx_queue_init(&owner->runs);
    ngx_queue_init(&owner->picks);

    /* one that is new has waited longest */

    ngx_queue_insert_head(&ngx_http_batch_owners, &owner->queue);
    ngx_http_batch_nowners++;

    return owner;
}


void
ngx_http_batch_owner_unset(ngx_http_batch_run_t *run)
{
    ngx_http_batch_owner_t  *owner;

    owner = run->owner;
    owner->held -= run->nchunks + (run->claiming && run->idle);

    ngx_queue_remove(&run->mate);
    run->owner = NULL;

    if (ngx_queue_empty(&owner->runs)) {
        ngx_queue_remove(&owner->queue);
        ngx_http_batch_nowners--;
        ngx_free(owner);
    }
}


ngx_uint_t
ngx_http_batch_owner_n(void)
{
    return ngx_http_batch_nowners;
}


ngx_http_batch_owner_t *
ngx_http_batch_owner_first(void)
{
    return ngx_queue_data(ngx_queue_head(&ngx_http_batch_owners),
                          ngx_http_batch_owner_t, queue);
}


ngx_http_batch_owner_t *
ngx_http_batch_owner_next(ngx_http_batch_owner_t *owner)
{
    return ngx_queue_data(ngx_queue_next(&owner->queue),
                          ngx_http_batch_owner_t, queue);
}


void
ngx_http_batch_owner_last(ngx_http_batch_owner_t *owner)
{
    ngx_queue_remove(&owner->queue);
    ngx_queue_insert_tail(&ngx_http_batch_owners, &owner->queue);
}
