/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A chunk's records go to its own segment, in groups: one pwritev() and one
 * fdatasync() in a thread for all that came in meanwhile.
 *
 * One task at a time per chunk.  Entries wait in chunk->pending; a group moves
 * to the task and is freed when it is done.  A record counts, is picked and is
 * told to the index only when its sync has returned 0.
 *
 * Entries reach the segment in the order in which they were appended.
 *
 * The first error of a write or a sync poisons the segment.  fsync() is never
 * tried again (the kernel may have dropped the pages and then report success):
 * the segment is cut at the last good sync and the chunk is given back.  The
 * next owner reads what is there and runs the rest again.
 */

#include "ngx_http_batch_chunk.h"
#include "ngx_http_batch_line.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_space.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"

#include <sys/uio.h>


#define NGX_HTTP_BATCH_IOVS           128
#define NGX_HTTP_BATCH_COMMIT_N       256       /* a group: records */
#define NGX_HTTP_BATCH_COMMIT_SIZE    (256 * 1024)    /* bytes */
#define NGX_HTTP_BATCH_COMMIT_MS      10        /* ms since its first record */
#define NGX_HTTP_BATCH_COMMIT_RETRY   100       /* ms; if no task was posted */


typedef struct {
    ngx_http_batch_chunk_t    *chunk;
    ngx_fd_t                   fd;
    uint64_t                   tag;
    off_t                      off;            /* durable up to here */
    ngx_queue_t                entries;
    ngx_uint_t                 n;
    size_t                     size;           /* bytes, of all entries */
    ngx_int_t                  rc;             /* NGX_DECLINED: the epoch was
                                                  used before */
} ngx_http_batch_journal_t;


typedef struct {
    ngx_http_batch_chunk_t    *chunk;
    char                       id[BATCH_ID_LEN];
    batch_seal_t               seal;
    ngx_int_t                  rc;
} ngx_http_batch_journal_seal_t;


static void ngx_http_batch_journal_run(void *ctx, ngx_log_t *log);
static ngx_int_t ngx_http_batch_journal_write(ngx_http_batch_journal_t *w,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_journal_writev(ngx_http_batch_journal_t *w,
    struct iovec *iov, ngx_uint_t n, off_t *off, ngx_log_t *log);
static void ngx_http_batch_journal_done(void *ctx, ngx_log_t *log);
static void ngx_http_batch_journal_seal_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_journal_seal_done(void *ctx, ngx_log_t *log);
static void ngx_http_batch_journal_pick(batch_pick_t *pick,
    const batch_record_t *r, uint32_t epoch, off_t off);
static int ngx_libc_cdecl ngx_http_batch_journal_cmp(const void *one,
    const void *two);


void
ngx_http_batch_journal_free(ngx_http_batch_entry_t *entry)
{
    ngx_http_batch_spool_free(entry->spool);
    ngx_free(entry);
}


void
ngx_http_batch_journal_append(ngx_http_batch_chunk_t *c,
    ngx_http_batch_entry_t *entry)
{
    ngx_queue_insert_tail(&c->pending, &entry->queue);

    c->npending++;
    c->pending_size += BATCH_RECORD_HEADER + entry->record.len;
}


void
ngx_http_batch_journal_flush(ngx_http_batch_chunk_t *c, ngx_uint_t force)
{
    ngx_http_batch_journal_t  *w;

    if (c->writing || c->ending || c->npending == 0 || c->poisoned) {
        return;
    }

    if (!force
        && c->npending < NGX_HTTP_BATCH_COMMIT_N
        && c->pending_size < NGX_HTTP_BATCH_COMMIT_SIZE)
    {
        if (!c->flush.timer_set) {
            ngx_add_timer(&c->flush, NGX_HTTP_BATCH_COMMIT_MS);
        }

        return;
    }

    w = ngx_http_batch_task_create(sizeof(ngx_http_batch_journal_t),
                                   ngx_http_batch_journal_run,
                                   ngx_http_batch_journal_done);

    if (w == NULL) {
        ngx_add_timer(&c->flush, NGX_HTTP_BATCH_COMMIT_RETRY);
        return;
    }

    w->chunk = c;
    w->fd = c->segment;
    w->tag = c->tag;
    w->off = c->seg_off;
    w->n = c->npending;
    w->size = c->pending_size;

    ngx_queue_init(&w->entries);
    ngx_queue_add(&w->entries, &c->pending);
    ngx_queue_init(&c->pending);

    if (ngx_http_batch_task_post(w) != NGX_OK) {
        ngx_queue_add(&c->pending, &w->entries);
        ngx_http_batch_task_free(w);
        ngx_add_timer(&c->flush, NGX_HTTP_BATCH_COMMIT_RETRY);
        return;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, chunk %uD: group of %ui records posted, %uz"
                   " bytes", c->run->id, c->chunk, w->n, w->size);

    ngx_http_batch_turn_cancel(&c->flush);

    c->npending = 0;
    c->writing = 1;
}


/* in a thread */

static void
ngx_http_batch_journal_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_journal_t *w = ctx;

    if (w->fd == NGX_INVALID_FILE) {
        w->fd = ngx_http_batch_segment_create(w->chunk->run->id,
                                              w->chunk->chunk,
                                              w->chunk->epoch, log);
        if (w->fd == NGX_INVALID_FILE) {
            w->rc = (ngx_errno == NGX_EEXIST) ? NGX_DECLINED : NGX_ERROR;
            return;
        }
    }

    w->rc = ngx_http_batch_journal_write(w, log);

    if (w->rc == NGX_OK && fdatasync(w->fd) == -1) {
        ngx_log_error(NGX_LOG_CRIT, log, ngx_errno,
                      "batch: %s, chunk %uD: fdatasync() of the segment"
                      " failed", w->chunk->run->id, w->chunk->chunk);
        w->rc = NGX_ERROR;
    }

    /*
     * The next owner would read from memory what was written here, though the
     * disk does not have it, and its sync would report success.
     */

    if (w->rc != NGX_OK && ftruncate(w->fd, w->off) == -1) {
        ngx_log_error(NGX_LOG_CRIT, log, ngx_errno,
                      "batch: %s, chunk %uD: ftruncate() of the segment"
                      " failed", w->chunk->run->id, w->chunk->chunk);
    }
}


static ngx_int_t
ngx_http_batch_journal_write(ngx_http_batch_journal_t *w, ngx_log_t *log)
{
    off_t                    off;
    ngx_uint_t               n;
    ngx_queue_t             *q;
    struct iovec             iovs[NGX_HTTP_BATCH_IOVS];
    ngx_http_batch_entry_t  *entry;

    n = 0;
    off = w->off;

    for (q = ngx_queue_head(&w->entries);
         q != ngx_queue_sentinel(&w->entries);
         q = ngx_queue_next(q))
    {
        entry = ngx_queue_data(q, ngx_http_batch_entry_t, queue);

        entry->record.tag = w->tag;
        entry->record.base = (uint64_t) w->off;
        batch_record_encode(&entry->record, entry->header);

        iovs[n].iov_base = entry->header;
        iovs[n++].iov_len = BATCH_RECORD_HEADER;

        if (entry->spool) {
            if (ngx_http_batch_journal_writev(w, iovs, n, &off, log)
                != NGX_OK
                || ngx_http_batch_spool_copy(entry->spool, w->fd, &off,
                                             w->chunk->run->id, log)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }

            n = 0;
        }

        iovs[n].iov_base = entry->payload;
        iovs[n++].iov_len = entry->tail;

        if (n + 2 > NGX_HTTP_BATCH_IOVS) {
            if (ngx_http_batch_journal_writev(w, iovs, n, &off, log)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            n = 0;
        }
    }

    return ngx_http_batch_journal_writev(w, iovs, n, &off, log);
}


static ngx_int_t
ngx_http_batch_journal_writev(ngx_http_batch_journal_t *w, struct iovec *iov,
    ngx_uint_t n, off_t *off, ngx_log_t *log)
{
    ssize_t  rc;

    while (n) {

        rc = pwritev(w->fd, iov, n, *off);

        if (rc == -1) {
            if (ngx_errno == NGX_EINTR) {
                continue;
            }

            ngx_log_error(NGX_LOG_CRIT, log, ngx_errno,
                          "batch: %s, chunk %uD: pwritev() to the segment"
                          " failed", w->chunk->run->id, w->chunk->chunk);
            return NGX_ERROR;
        }

        *off += rc;

        while (n && (size_t) rc >= iov->iov_len) {
            rc -= iov->iov_len;
            iov++;
            n--;
        }

        if (n) {
            iov->iov_base = (u_char *) iov->iov_base + rc;
            iov->iov_len -= rc;
        }
    }

    return NGX_OK;
}


static void
ngx_http_batch_journal_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_journal_t *w = ctx;

    off_t                    off;
    ngx_queue_t             *q;
    batch_pick_t             pick;
    ngx_http_batch_chunk_t  *c;
    ngx_http_batch_entry_t  *entry;

    c = w->chunk;
    c->writing = 0;
    c->segment = w->fd;
    c->pending_size -= w->size;

    off = w->off;

    while (!ngx_queue_empty(&w->entries)) {
        q = ngx_queue_head(&w->entries);
        ngx_queue_remove(q);

        entry = ngx_queue_data(q, ngx_http_batch_entry_t, queue);

        if (w->rc == NGX_OK) {
            ngx_http_batch_journal_pick(&pick, &entry->record, c->epoch, off);
            ngx_http_batch_journal_count(c, &pick, &entry->record.usage);

            if (pick.kind == BATCH_KIND_OUTPUT) {
                ngx_http_batch_slot->completed++;

            } else {
                ngx_http_batch_slot->failed++;
            }
        }

        off += BATCH_RECORD_HEADER + entry->record.len;

        ngx_http_batch_journal_free(entry);
    }

    ngx_http_batch_space_failed(w->rc == NGX_ERROR);

    if (w->rc == NGX_DECLINED) {
        ngx_http_batch_open_used(c, c->epoch);
    }

    if (w->rc != NGX_OK) {
        ngx_http_batch_chunk_poison(c, "segment");
        ngx_http_batch_journal_discard(c);

    } else {
        ngx_log_debug5(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "batch: %s, chunk %uD: %ui records durable, %uD of %uD",
                       c->run->id, c->chunk, w->n, c->npicks,
                       c->run->plan.chunks[c->chunk].count);
        c->seg_off = off;
    }

    ngx_http_batch_task_free(ctx);

    ngx_http_batch_chunk_commit(c, ngx_http_batch_chunk_dry(c));
    ngx_http_batch_chunk_advance(c);
}


void
ngx_http_batch_journal_count(ngx_http_batch_chunk_t *c,
    const batch_pick_t *pick, const batch_usage_t *usage)
{
    if (c->npicks == c->run->plan.chunks[c->chunk].count) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "batch: %s, chunk %uD: more records than requests",
                      c->run->id, c->chunk);
        ngx_http_batch_chunk_poison(c, "records");
        return;
    }

    c->picks[c->npicks++] = *pick;

    if (pick->kind != BATCH_KIND_OUTPUT) {
        c->failed++;
        return;
    }

    c->ok++;
    batch_usage_add(&c->usage, usage);
}


void
ngx_http_batch_journal_discard(ngx_http_batch_chunk_t *c)
{
    ngx_queue_t             *q;
    ngx_http_batch_entry_t  *entry;

    while (!ngx_queue_empty(&c->pending)) {
        q = ngx_queue_head(&c->pending);
        ngx_queue_remove(q);

        entry = ngx_queue_data(q, ngx_http_batch_entry_t, queue);
        ngx_http_batch_journal_free(entry);
    }

    c->npending = 0;

    if (!c->writing) {
        c->pending_size = 0;
    }

    ngx_http_batch_turn_cancel(&c->flush);
}


void
ngx_http_batch_journal_seal(ngx_http_batch_chunk_t *c)
{
    ngx_http_batch_journal_seal_t  *s;

    s = ngx_http_batch_task_create(sizeof(ngx_http_batch_journal_seal_t),
                                   ngx_http_batch_journal_seal_run,
                                   ngx_http_batch_journal_seal_done);
    if (s == NULL) {
        return;
    }

    ngx_qsort(c->picks, c->npicks, sizeof(batch_pick_t),
              ngx_http_batch_journal_cmp);

    (void) ngx_cpystrn((u_char *) s->id, (u_char *) c->run->id,
                       BATCH_ID_LEN);

    s->chunk = c;
    s->seal.chunk = c->chunk;
    s->seal.epoch = c->epoch;
    s->seal.sealed_us = (uint64_t) batch_clock_us();
    s->seal.ok = c->ok;
    s->seal.failed = c->failed;
    s->seal.usage = c->usage;
    s->seal.n = c->npicks;
    s->seal.picks = c->picks;

    if (ngx_http_batch_task_start(s) != NGX_OK) {
        return;
    }

    c->life = NGX_HTTP_BATCH_CHUNK_SEALING;
    c->busy = 1;
}


static void
ngx_http_batch_journal_seal_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_journal_seal_t *s = ctx;

    size_t          size;
    unsigned char  *buf;

    size = batch_seal_size(&s->seal);

    buf = ngx_alloc(size, log);
    if (buf == NULL) {
        s->rc = NGX_ERROR;
        return;
    }

    batch_seal_encode(&s->seal, s->id, buf);

    s->rc = ngx_http_batch_seal_publish(s->id, s->seal.chunk, s->seal.epoch,
                                        buf, size, log);
    ngx_free(buf);
}


static void
ngx_http_batch_journal_seal_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_journal_seal_t *s = ctx;

    ngx_http_batch_chunk_t  *c;

    c = s->chunk;
    c->busy = 0;

    ngx_log_debug5(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, chunk %uD: seal published, %uL answered, %uL"
                   " failed: rc %i", c->run->id, c->chunk, c->ok, c->failed,
                   s->rc);

    if (s->rc == NGX_OK || s->rc == NGX_DECLINED) {
        c->sealed = batch_seal_sec(&s->seal);
        c->life = NGX_HTTP_BATCH_CHUNK_SEALED;

    } else {
        ngx_http_batch_chunk_poison(c, "seal");
    }

    ngx_http_batch_task_free(ctx);

    ngx_http_batch_chunk_advance(c);
}


static void
ngx_http_batch_journal_pick(batch_pick_t *pick, const batch_record_t *r,
    uint32_t epoch, off_t off)
{
    pick->line = r->line;
    pick->offset = off;
    pick->epoch = epoch;
    pick->len = r->len;
    pick->crc = r->crc;
    pick->kind = r->kind;
    pick->status = r->status;
}


static int ngx_libc_cdecl
ngx_http_batch_journal_cmp(const void *one, const void *two)
{
    const batch_pick_t *a = one;
    const batch_pick_t *b = two;

    if (a->line != b->line) {
        return a->line < b->line ? -1 : 1;
    }

    return a->epoch < b->epoch ? -1 : a->epoch > b->epoch;
}
