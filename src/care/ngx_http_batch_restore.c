
/*
 * Copyright (C) the ngx_http_batch_module authors
 */


#include "ngx_http_batch_restore.h"
#include "batch_hook.h"
#include "ngx_http_batch_plan.h"
#include "ngx_http_batch_scan.h"
#include "ngx_http_batch_task.h"


static ngx_int_t ngx_http_batch_restore_next(ngx_http_batch_portion_t *p,
    char id[BATCH_ID_LEN], batch_id_kind_e *kind, ngx_log_t *log);
static ngx_int_t ngx_http_batch_restore_file(ngx_http_batch_item_t *item,
    const char *id, ngx_log_t *log);
static ngx_int_t ngx_http_batch_restore_batch(ngx_http_batch_item_t *item,
    const char *id, ngx_log_t *log);
static ngx_int_t ngx_http_batch_restore_final(ngx_http_batch_item_t *item,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_restore_active(ngx_http_batch_item_t *item,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_restore_work(void *ctx, uint32_t chunk,
    uint32_t epoch, ngx_uint_t seal);
static ngx_int_t ngx_http_batch_restore_chunks(ngx_http_batch_item_t *item,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_restore_seal(ngx_http_batch_item_t *item,
    ngx_http_batch_item_chunk_t *c, uint32_t epoch, ngx_log_t *log);
static ngx_int_t ngx_http_batch_restore_count(ngx_http_batch_item_t *item,
    ngx_http_batch_item_chunk_t *c, ngx_log_t *log);
static void ngx_http_batch_restore_item_free(ngx_http_batch_item_t *item);


ngx_int_t
ngx_http_batch_restore_read(ngx_http_batch_portion_t *p, ngx_log_t *log)
{
    char                    id[BATCH_ID_LEN];
    size_t                  size;
    ngx_int_t               rc;
    batch_id_kind_e         kind;
    ngx_http_batch_item_t  *item;

    p->items = ngx_calloc(NGX_HTTP_BATCH_PORTION
                          * sizeof(ngx_http_batch_item_t), log);
    if (p->items == NULL) {
        return NGX_ERROR;
    }

    for (size = 0;
         p->n < NGX_HTTP_BATCH_PORTION && size < NGX_HTTP_BATCH_PORTION_SIZE;
         /* void */ )
    {
        if (ngx_http_batch_task_quit()) {
            return NGX_ABORT;
        }

        rc = ngx_http_batch_restore_next(p, id, &kind, log);

        if (rc == NGX_DONE) {
            p->end = 1;
            return NGX_OK;
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }

        item = &p->items[p->n];

        rc = (kind == BATCH_ID_FILE)
                 ? ngx_http_batch_restore_file(item, id, log)
                 : ngx_http_batch_restore_batch(item, id, log);

        if (rc == NGX_OK) {
            p->n++;
            size += 1024 + item->final.text.len
                    + item->nchunks * sizeof(ngx_http_batch_item_chunk_t);
            continue;
        }

        ngx_http_batch_restore_item_free(item);

        /* NGX_DECLINED: deleted meanwhile, or damaged, which was logged */

        if (rc != NGX_DECLINED) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_restore_next(ngx_http_batch_portion_t *p,
    char id[BATCH_ID_LEN], batch_id_kind_e *kind, ngx_log_t *log)
{
    ngx_int_t                     rc;
    static const batch_id_kind_e  rooms[] = { BATCH_ID_FILE, BATCH_ID_BATCH };

    for ( ;; ) {

        if (p->rooms == sizeof(rooms) / sizeof(rooms[0])) {
            return NGX_DONE;
        }

        *kind = rooms[p->rooms];

        if (p->walk == NULL) {
            p->walk = ngx_http_batch_walk_open(*kind, log);

            if (p->walk == NULL) {
                return NGX_ERROR;
            }
        }

        rc = ngx_http_batch_walk_next(p->walk, id, log);

        if (rc != NGX_DONE) {
            return rc;
        }

        ngx_http_batch_walk_close(p->walk);
        p->walk = NULL;
        p->rooms++;
    }
}


/*
 * An object that cannot be used is left out, and logged: it must not keep the
 * whole index closed.  It is back when it has been mended and the index is
 * rebuilt.
 */

static ngx_int_t
ngx_http_batch_restore_damaged(const char *what, const char *id,
    ngx_log_t *log)
{
    if (!ngx_http_batch_store_damaged()) {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_ALERT, log, 0,
                  "batch: %s: %s is damaged, left out of the index", id, what);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_batch_restore_file(ngx_http_batch_item_t *item, const char *id,
    ngx_log_t *log)
{
    ngx_int_t  rc;
    ngx_str_t  text;

    item->type = NGX_HTTP_BATCH_ITEM_FILE;

    rc = ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE, id,
                                   NGX_HTTP_BATCH_MANIFEST_MAX, &text, log);
    if (rc == NGX_ERROR) {
        return ngx_http_batch_restore_damaged("manifest", id, log);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_batch_file_decode_of(&item->file, id, text.data, text.len,
                                      &item->root)
        != NGX_OK)
    {
        rc = ngx_http_batch_restore_damaged("manifest", id, log);
    }

    ngx_free(text.data);

    return rc;
}


static ngx_int_t
ngx_http_batch_restore_batch(ngx_http_batch_item_t *item, const char *id,
    ngx_log_t *log)
{
    ngx_int_t  rc;

    rc = ngx_http_batch_meta_read(id, &item->meta, &item->root, log);

    if (rc != NGX_OK) {
        return rc == NGX_DECLINED
               ? NGX_DECLINED
               : ngx_http_batch_restore_damaged("batch.json", id, log);
    }

    rc = ngx_http_batch_final_read(&item->final, id, log);

    if (rc == NGX_OK) {
        item->type = NGX_HTTP_BATCH_ITEM_FINAL;
        return ngx_http_batch_restore_final(item, log);
    }

    if (rc != NGX_DECLINED) {
        return ngx_http_batch_restore_damaged("final.json", id, log);
    }

    /* an ended one may just be being deleted */

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_DELETED, id, log);

    if (rc != 0) {
        return rc == 1 ? NGX_DECLINED : NGX_ERROR;
    }

    item->type = NGX_HTTP_BATCH_ITEM_BATCH;

    return ngx_http_batch_restore_active(item, log);
}


static ngx_int_t
ngx_http_batch_restore_final(ngx_http_batch_item_t *item, ngx_log_t *log)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_http_batch_file_t  *f;

    if (batch_clock_sec() - item->final.ended_at < BATCH_HOOK_LIFE) {

        /* if that cannot be told, it is sent once more */

        item->unheard = ngx_http_batch_store_exists(NGX_HTTP_BATCH_HOOK,
                                                    item->meta.id, log)
                        != 1;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, log, 0, "batch: %s: has ended as %s",
                   item->meta.id, batch_status_name(item->final.status));

    /* what fails because there is no space does not keep the index closed */

    (void) ngx_http_batch_final_settle(&item->final, log);

    for (i = 0; i < 2; i++) {
        f = &item->final.files[i];

        if (f->id[0] == '\0') {
            continue;
        }

        /* what was deleted since does not come back; its tombstone goes some
         * time after it */

        rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE_DEL, f->id, log);

        if (rc == 0) {
            rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_BLOB, f->id, log);

            if (rc == 1) {
                continue;
            }
        }

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        f->id[0] = '\0';
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_restore_active(ngx_http_batch_item_t *item, ngx_log_t *log)
{
    ngx_int_t               rc;
    ngx_http_batch_plan_t   plan;

    if (ngx_http_batch_cancel_read(item->meta.id, &item->cancelling_at, log)
        == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_batch_plan_read(item->meta.id, &plan, log);

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        return ngx_http_batch_restore_damaged("plan.json", item->meta.id, log);
    }

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_INPUT, item->meta.id, log);

    if (rc != 1
        || ngx_http_batch_store_sync(NGX_HTTP_BATCH_PLAN, item->meta.id, log)
           != NGX_OK)
    {
        ngx_http_batch_plan_free(&plan);

        /* a plan without its input does not count, see validation */

        return rc == 0 ? NGX_OK : NGX_ERROR;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, log, 0,
                   "batch: %s: is under way, %uL lines in %uD chunks,"
                   " cancelled at %L", item->meta.id, plan.total, plan.nchunks,
                   item->cancelling_at);

    item->planned = 1;
    item->total = plan.total;
    item->in_progress_at = plan.in_progress_at;
    item->nplan = plan.nchunks;

    item->model.data = malloc(plan.model.len + 1);

    if (item->model.data) {
        item->model.len = plan.model.len;
        ngx_memcpy(item->model.data, plan.model.data, plan.model.len);
    }

    ngx_http_batch_plan_free(&plan);

    if (item->model.data == NULL
        || ngx_http_batch_segment_walk(item->meta.id,
                                       ngx_http_batch_restore_work, item,
                                       log)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_batch_restore_chunks(item, log);
}


/* first every work file by itself: done = it is a seal */

static ngx_int_t
ngx_http_batch_restore_work(void *ctx, uint32_t chunk, uint32_t epoch,
    ngx_uint_t seal)
{
    size_t                        n;
    ngx_http_batch_item_t        *item = ctx;
    ngx_http_batch_item_chunk_t  *c;

    if (chunk >= item->nplan) {
        return NGX_OK;
    }

    if (item->nchunks == item->nalloc) {
        n = item->nalloc ? item->nalloc * 2 : 64;

        c = realloc(item->chunks, n * sizeof(ngx_http_batch_item_chunk_t));
        if (c == NULL) {
            return NGX_ERROR;
        }

        item->chunks = c;
        item->nalloc = n;
    }

    c = &item->chunks[item->nchunks++];

    ngx_memzero(c, sizeof(ngx_http_batch_item_chunk_t));

    c->chunk = chunk;
    c->epoch = epoch;
    c->done = seal;

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_batch_restore_cmp(const void *one, const void *two)
{
    const ngx_http_batch_item_chunk_t  *a = one, *b = two;

    if (a->chunk != b->chunk) {
        return a->chunk < b->chunk ? -1 : 1;
    }

    return (a->epoch > b->epoch) - (a->epoch < b->epoch);
}


/* then one entry a chunk */

static ngx_int_t
ngx_http_batch_restore_chunks(ngx_http_batch_item_t *item, ngx_log_t *log)
{
    size_t                        i, n;
    ngx_int_t                     rc;
    ngx_http_batch_item_chunk_t   c, *w;

    if (item->nchunks == 0) {
        return NGX_OK;
    }

    ngx_qsort(item->chunks, item->nchunks,
              sizeof(ngx_http_batch_item_chunk_t),
              ngx_http_batch_restore_cmp);

    for (i = 0, n = 0; i < item->nchunks; n++) {

        c = item->chunks[i];
        c.done = 0;

        for ( /* void */ ; i < item->nchunks; i++) {
            w = &item->chunks[i];

            if (w->chunk != c.chunk) {
                break;
            }

            c.epoch = w->epoch;

            if (w->done) {
                rc = ngx_http_batch_restore_seal(item, &c, w->epoch, log);

                if (rc == NGX_ERROR) {
                    return NGX_ERROR;
                }
            }
        }

        if (!c.done
            && ngx_http_batch_restore_count(item, &c, log) != NGX_OK)
        {
            return NGX_ERROR;
        }

        item->chunks[n] = c;
    }

    item->nchunks = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_restore_seal(ngx_http_batch_item_t *item,
    ngx_http_batch_item_chunk_t *c, uint32_t epoch, ngx_log_t *log)
{
    ngx_int_t      rc;
    batch_seal_t   seal;

    /* a void one does not count: the chunk runs again */

    rc = ngx_http_batch_seal_load(item->meta.id, c->chunk, epoch, &seal, log);

    if (rc == NGX_OK) {
        c->done = 1;
        c->ok = seal.ok;
        c->failed = seal.failed;
        c->sealed = batch_seal_sec(&seal);

        free(seal.picks);
    }

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


/* what clients were told of a chunk without a seal: counts must not fall */

static ngx_int_t
ngx_http_batch_restore_count(ngx_http_batch_item_t *item,
    ngx_http_batch_item_chunk_t *c, ngx_log_t *log)
{
    size_t         i, n;
    uint32_t      *epochs;
    ngx_int_t      rc, nepochs;
    batch_pick_t  *picks;

    nepochs = ngx_http_batch_segment_epochs(item->meta.id, c->chunk, 0, &epochs,
                                            log);
    if (nepochs <= 0) {
        return nepochs;
    }

    rc = ngx_http_batch_scan(item->meta.id, c->chunk, epochs, nepochs, 0,
                             UINT64_MAX, &picks, NULL, &n, log);
    ngx_free(epochs);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (picks[i].kind == BATCH_KIND_OUTPUT) {
            c->ok++;

        } else {
            c->failed++;
        }
    }

    free(picks);

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_restore_suspect(ngx_http_batch_portion_t *p,
    const ngx_str_t *manifests, size_t n, ngx_uint_t batch, ngx_log_t *log)
{
    size_t                  i;
    ngx_http_batch_item_t  *item;

    if (n == 0) {
        return NGX_OK;
    }

    p->items = ngx_calloc(n * sizeof(ngx_http_batch_item_t), log);
    if (p->items == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        item = &p->items[i];

        item->type = NGX_HTTP_BATCH_ITEM_GHOST;
        item->batch = batch;
        item->manifest.data = malloc(manifests[i].len + 1);

        if (item->manifest.data == NULL) {
            return NGX_ERROR;
        }

        item->manifest.len = manifests[i].len;
        ngx_memcpy(item->manifest.data, manifests[i].data, manifests[i].len);

        p->n++;
    }

    return NGX_OK;
}


/* 1: the store has the object, 0, NGX_ERROR; *deleted, which may also be
 * NGX_ERROR: and its tombstone */

static ngx_int_t
ngx_http_batch_restore_have(ngx_http_batch_item_t *item, ngx_int_t *deleted,
    ngx_log_t *log)
{
    ngx_int_t  have;

    if (item->batch) {
        *deleted = ngx_http_batch_store_exists(NGX_HTTP_BATCH_DELETED,
                                               item->meta.id, log);

        return ngx_http_batch_store_exists(NGX_HTTP_BATCH_META, item->meta.id,
                                           log);
    }

    have = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE, item->file.id,
                                       log);
    if (have == 0) {

        /* a result's manifest may be lost, and there was no room to make it
         * again */

        have = ngx_http_batch_store_exists(NGX_HTTP_BATCH_BLOB, item->file.id,
                                           log);
    }

    *deleted = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE_DEL,
                                           item->file.id, log);

    return have;
}


ngx_int_t
ngx_http_batch_restore_ghosts(ngx_http_batch_portion_t *p, ngx_log_t *log)
{
    size_t                  i, n;
    ngx_int_t               rc, have, deleted;
    ngx_http_batch_item_t  *item;

    n = 0;

    for (i = 0; i < p->n; i++) {
        item = &p->items[i];

        rc = item->batch
             ? ngx_http_batch_meta_decode(&item->meta, item->manifest.data,
                                          item->manifest.len, &item->root)
             : ngx_http_batch_file_decode(&item->file, item->manifest.data,
                                          item->manifest.len, &item->root);

        if (rc != NGX_OK) {
            if (!ngx_http_batch_store_damaged()) {
                return NGX_ERROR;
            }

            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "batch: malformed manifest in the index");
            item->root = NULL;
            ngx_http_batch_restore_item_free(item);
            continue;
        }

        have = ngx_http_batch_restore_have(item, &deleted, log);

        if (have == NGX_ERROR || deleted == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (have && !deleted) {
            ngx_http_batch_restore_item_free(item);
            continue;
        }

        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: is only in the index, %s",
                       item->batch ? item->meta.id : item->file.id,
                       deleted ? "it was deleted" : "the store has lost it");

        item->deleted = deleted;

        if (n != i) {
            p->items[n] = *item;
            ngx_memzero(item, sizeof(ngx_http_batch_item_t));
        }

        n++;
    }

    p->n = n;

    return NGX_OK;
}


static void
ngx_http_batch_restore_item_free(ngx_http_batch_item_t *item)
{
    json_decref(item->root);
    ngx_http_batch_final_free(&item->final);

    free(item->model.data);
    free(item->manifest.data);
    free(item->chunks);

    ngx_memzero(item, sizeof(ngx_http_batch_item_t));
}


void
ngx_http_batch_restore_items_free(ngx_http_batch_portion_t *p)
{
    size_t  i;

    for (i = 0; i < p->n; i++) {
        ngx_http_batch_restore_item_free(&p->items[i]);
    }

    if (p->items) {
        ngx_free(p->items);
        p->items = NULL;
    }

    p->n = 0;
}


void
ngx_http_batch_restore_free(ngx_http_batch_portion_t *p)
{
    ngx_http_batch_restore_items_free(p);

    if (p->walk) {
        ngx_http_batch_walk_close(p->walk);
        p->walk = NULL;
    }
}
