
/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "ngx_http_batch_refill.h"
#include "ngx_http_batch_lookup.h"


static ngx_int_t ngx_http_batch_refill_batch(ngx_http_batch_item_t *item,
    size_t step, ngx_http_batch_index_pt sent, ngx_http_batch_index_pt gone,
    void *data);


ngx_int_t
ngx_http_batch_refill(ngx_http_batch_item_t *item, size_t *step,
    ngx_http_batch_index_pt sent, ngx_http_batch_index_pt gone, void *data)
{
    size_t  n;

    n = (*step)++;

    if (item->type == NGX_HTTP_BATCH_ITEM_BATCH) {
        return ngx_http_batch_refill_batch(item, n, sent, gone, data);
    }

    if (n > 0) {
        return NGX_DONE;
    }

    switch (item->type) {

    case NGX_HTTP_BATCH_ITEM_FILE:
        return ngx_http_batch_index_file_restore(&item->file, sent, data);

    case NGX_HTTP_BATCH_ITEM_GHOST:

        if (item->meta.id[0]) {
            return ngx_http_batch_index_batch_del(item->meta.id,
                                                  &item->meta.tenant,
                                                  item->deleted, gone, data);
        }

        return ngx_http_batch_index_file_del(&item->file, 0, item->deleted,
                                             gone, data);

    default: /* NGX_HTTP_BATCH_ITEM_FINAL */
        return ngx_http_batch_index_batch_final(&item->meta, &item->final,
                                                item->unheard
                          && ngx_http_batch_lookup_hook(&item->meta.route),
                               ngx_http_batch_lookup_ended(&item->meta.route),
                                                gone, data);
    }
}


/* steps of a batch under way: itself, its plan, its chunks; what it comes to */

static ngx_int_t
ngx_http_batch_refill_batch(ngx_http_batch_item_t *item, size_t step,
    ngx_http_batch_index_pt sent, ngx_http_batch_index_pt gone, void *data)
{
    ngx_http_batch_item_chunk_t  *c;

    if (step == 0) {
        return ngx_http_batch_index_batch_restore(&item->meta, gone, data);
    }

    step--;

    if (item->planned) {

        if (step == 0) {
            return ngx_http_batch_index_run_planned(item->meta.id,
                                                &item->meta.tenant,
                                                    item->total, item->nplan,
                                                &item->model,
                                                    item->in_progress_at,
                                                    sent, data);
        }

        step--;
    }

    if (step < item->nchunks) {
        c = &item->chunks[step];

        return ngx_http_batch_index_run_chunk_restore(item->meta.id, c->chunk,
                                                      c->epoch, c->done, c->ok,
                                                      c->failed, c->sealed,
                                                      sent, data);
    }

    step -= item->nchunks;

    if (step == 0) {
        return ngx_http_batch_index_batch_restore_end(item->meta.id,
                                                      item->cancelling_at,
                                                      sent, data);
    }

    return NGX_DONE;
}
