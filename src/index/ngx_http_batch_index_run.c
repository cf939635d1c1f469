/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The index of batches: leases and chunks.
 */

#include "ngx_http_batch_index_int.h"
#include "ngx_http_batch_slots.h"


#define NGX_HTTP_BATCH_NONCE_MAX    64
#define NGX_HTTP_BATCH_CLOCK_SLACK  2000      /* ms, as in claim.lua */
#define NGX_HTTP_BATCH_CLOCK_HOLD   10000     /* ms: leases are renewed more
                                                 often */


static void ngx_http_batch_index_run_keys(ngx_http_batch_args_t *a,
    const char *id);
static int64_t ngx_http_batch_index_run_expected(void);


static ngx_http_batch_clock_t  ngx_http_batch_index_run_seen;


NGX_HTTP_BATCH_SCRIPT(active, ACTIVE, ITEMS, GEN);
NGX_HTTP_BATCH_SCRIPT(claim, CLAIM, CLAIM, FILLED);
NGX_HTTP_BATCH_SCRIPT(planned, PLANNED, STATUS, ANY);
NGX_HTTP_BATCH_SCRIPT(chunk, CHUNK, STATUS, GEN);
NGX_HTTP_BATCH_SCRIPT(chunk_redo, CHUNK_REDO, STATUS, ANY);
NGX_HTTP_BATCH_SCRIPT(chunk_restore, CHUNK_RESTORE, STATUS, ANY);
NGX_HTTP_BATCH_SCRIPT(renew, RENEW, STATUS, GEN);
NGX_HTTP_BATCH_SCRIPT(evict, EVICT, STATUS, ANY);


ngx_int_t
ngx_http_batch_index_run_active(ngx_uint_t limit, ngx_uint_t turn,
    ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    if (limit == 0) {
        limit = 1;
    }

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_active, NULL);
    ngx_http_batch_args_key(&a, "active", NULL, NULL);
    ngx_http_batch_args_int(&a, (int64_t) limit);
    ngx_http_batch_args_int(&a, (int64_t) turn);
    ngx_http_batch_args_prefix(&a, "b");

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_run_claim(const char *id, const ngx_str_t *nonce,
    ngx_msec_t lease, ngx_uint_t jobs, ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    /* it becomes a field of a record with colons */

    if (nonce->len == 0 || nonce->len > NGX_HTTP_BATCH_NONCE_MAX
        || ngx_strlchr(nonce->data, nonce->data + nonce->len, ':') != NULL)
    {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "batch: %s: claim with a bad nonce", id);
        return NGX_ERROR;
    }

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_claim, id);
    ngx_http_batch_index_run_keys(&a, id);
    ngx_http_batch_args_key(&a, "active", NULL, NULL);
    ngx_http_batch_args_text(&a, id);
    ngx_http_batch_args_text(&a, ngx_http_batch_worker_id);
    ngx_http_batch_args_str(&a, nonce);
    ngx_http_batch_args_int(&a, (int64_t) lease);
    ngx_http_batch_args_int(&a, ngx_http_batch_index_run_expected());
    ngx_http_batch_args_int(&a, jobs ? 1 : 0);

    return ngx_http_batch_index_send(&a, cb, data);
}


/*
 * Leases end by Redis' wall clock, and wall clocks are set.  Ours is monotonic:
 * where the two have drifted apart since the last look, no lease is taken from
 * its owner until all that live have had the time to renew theirs.  A worker
 * that has only just begun goes by what the others have seen.
 */

static int64_t
ngx_http_batch_index_run_expected(void)
{
    ngx_http_batch_clock_t  *clock;

    clock = &ngx_http_batch_index_run_seen;

    if (!clock->known) {

        if (!ngx_http_batch_slots_clock->known) {
            return 0;
        }

        /* ahead is written last */

        clock->ahead = ngx_http_batch_slots_clock->ahead;
        ngx_memory_barrier();
        clock->moved = ngx_http_batch_slots_clock->moved;
        clock->moved_at = ngx_http_batch_slots_clock->moved_at;
        clock->known = 1;
    }

    if (clock->moved) {

        /* another worker's time may be a tick ahead of ours */

        if ((ngx_msec_int_t) (ngx_current_msec - clock->moved_at)
            < NGX_HTTP_BATCH_CLOCK_HOLD)
        {
            return -1;
        }

        clock->moved = 0;
    }

    return clock->ahead + (int64_t) ngx_current_msec;
}


void
ngx_http_batch_index_run_clock(int64_t ms)
{
    int64_t  ahead, by;

    ahead = ms - (int64_t) ngx_current_msec;
    by = ahead - ngx_http_batch_index_run_seen.ahead;

    if (ngx_http_batch_index_run_seen.known
        && (by > NGX_HTTP_BATCH_CLOCK_SLACK
            || by < -NGX_HTTP_BATCH_CLOCK_SLACK))
    {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "batch: the clock of redis has moved by %L ms", by);

        ngx_http_batch_index_run_seen.moved = 1;
        ngx_http_batch_index_run_seen.moved_at = ngx_current_msec;

        ngx_http_batch_slots_clock->moved_at = ngx_current_msec;
        ngx_http_batch_slots_clock->moved = 1;
        ngx_memory_barrier();
    }

    ngx_http_batch_index_run_seen.ahead = ahead;
    ngx_http_batch_index_run_seen.known = 1;

    ngx_http_batch_slots_clock->ahead = ahead;
    ngx_memory_barrier();
    ngx_http_batch_slots_clock->known = 1;
}


ngx_int_t
ngx_http_batch_index_run_planned(const char *id, const ngx_str_t *tenant,
    uint64_t total, uint32_t chunks, const ngx_str_t *model,
    int64_t in_progress_at, ngx_http_batch_index_pt cb, void *data)
{
    char                   key[41];
    ngx_http_batch_args_t  a;

    ngx_http_batch_object_tenant_key(tenant, key);

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_planned, id);
    ngx_http_batch_args_key(&a, "b", id, NULL);
    ngx_http_batch_args_key(&a, "ub", key, NULL);
    ngx_http_batch_args_int(&a, (int64_t) total);
    ngx_http_batch_args_int(&a, chunks);
    ngx_http_batch_args_str(&a, model);
    ngx_http_batch_args_int(&a, in_progress_at);
    ngx_http_batch_args_text(&a, id);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_run_chunk(const char *id, uint32_t chunk, uint32_t epoch,
    ngx_http_batch_chunk_state_e state, uint64_t ok, uint64_t failed,
    int64_t sealed, ngx_msec_t lease, ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    static const char  *what[] = { "run", "done", "release" };

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_chunk, id);
    ngx_http_batch_index_run_keys(&a, id);
    ngx_http_batch_args_int(&a, chunk);
    ngx_http_batch_args_int(&a, epoch);
    ngx_http_batch_args_text(&a, what[state]);
    ngx_http_batch_args_int(&a, (int64_t) ok);
    ngx_http_batch_args_int(&a, (int64_t) failed);
    ngx_http_batch_args_int(&a, (int64_t) lease);
    ngx_http_batch_args_int(&a, sealed);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_run_chunk_redo(const char *id, uint32_t chunk,
    ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_chunk_redo, id);
    ngx_http_batch_index_run_keys(&a, id);
    ngx_http_batch_args_int(&a, chunk);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_run_chunk_restore(const char *id, uint32_t chunk,
    uint32_t epoch, ngx_uint_t done, uint64_t ok, uint64_t failed,
    int64_t sealed, ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_chunk_restore, id);
    ngx_http_batch_index_run_keys(&a, id);
    ngx_http_batch_args_int(&a, chunk);
    ngx_http_batch_args_int(&a, epoch);
    ngx_http_batch_args_text(&a, done ? "1" : "0");
    ngx_http_batch_args_int(&a, (int64_t) ok);
    ngx_http_batch_args_int(&a, (int64_t) failed);
    ngx_http_batch_args_int(&a, sealed);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_run_evict(const char *id, const char *owner,
    ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_evict, id);
    ngx_http_batch_index_run_keys(&a, id);
    ngx_http_batch_args_text(&a, owner);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_run_renew(const char *id, ngx_http_batch_claim_e claim,
    uint32_t epoch, ngx_msec_t lease, ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_renew, id);
    ngx_http_batch_args_key(&a, "b", id, NULL);
    ngx_http_batch_args_text(&a, claim == NGX_HTTP_BATCH_CLAIM_VALIDATE ? "v"
                                                                       : "f");
    ngx_http_batch_args_int(&a, epoch);
    ngx_http_batch_args_int(&a, (int64_t) lease);

    return ngx_http_batch_index_send(&a, cb, data);
}


static void
ngx_http_batch_index_run_keys(ngx_http_batch_args_t *a, const char *id)
{
    ngx_http_batch_args_key(a, "b", id, NULL);
    ngx_http_batch_args_key(a, "c", id, NULL);
    ngx_http_batch_args_key(a, "l", id, NULL);
}
