/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A claimed chunk in this worker: states in ngx_http_batch_run.h.  Everything
 * that happens to a chunk ends in ngx_http_batch_chunk_advance(), which looks what
 * its state allows next.
 */

#include "ngx_http_batch_run.h"
#include "ngx_http_batch_scan.h"


typedef enum {
    NGX_HTTP_BATCH_OPEN_OK = 0,
    NGX_HTTP_BATCH_OPEN_ENDED,     /* final.json is there: the index is old */
    NGX_HTTP_BATCH_OPEN_SEALED,    /* a seal is there: the same */
    NGX_HTTP_BATCH_OPEN_EPOCH,     /* our epoch was used: the same */
    NGX_HTTP_BATCH_OPEN_ROUTE,     /* its location is gone */
    NGX_HTTP_BATCH_OPEN_ERROR
} ngx_http_batch_open_e;


typedef struct {
    ngx_http_batch_chunk_t        *chunk;
    char                           id[BATCH_ID_LEN];
    uint32_t                       n;
    uint32_t                       epoch;
    ngx_uint_t                     load;
    ngx_uint_t                     routed;

    ngx_http_batch_open_e          rc;
    json_t                        *root;
    ngx_http_batch_meta_t          meta;
    ngx_http_batch_plan_t          plan;
    ngx_fd_t                       input;
    ngx_fd_t                       segment;
    batch_pick_t                  *older;
    batch_usage_t                 *older_usage;
    size_t                         nolder;
    uint64_t                       ok;
    uint64_t                       failed;
    uint32_t                       max_epoch;
} ngx_http_batch_open_t;


typedef struct {
    ngx_http_batch_chunk_t        *chunk;
    ngx_fd_t                       fd;
    u_char                        *buf;
    size_t                         size;
    off_t                          off;
    ssize_t                        n;
} ngx_http_batch_fill_t;


typedef struct {
    ngx_fd_t                       fds[2];
} ngx_http_batch_close_t;


#define NGX_HTTP_BATCH_TROUBLE_PAUSE   5000    /* ms, before the next claim */


static void ngx_http_batch_chunk_open_run(void *ctx, ngx_log_t *log);
static ngx_int_t ngx_http_batch_chunk_load(ngx_http_batch_open_t *o,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_chunk_sealed(ngx_http_batch_open_t *o,
    ngx_log_t *log);
static void ngx_http_batch_chunk_open_done(void *ctx, ngx_log_t *log);
static ngx_int_t ngx_http_batch_chunk_adopt(ngx_http_batch_run_t *run,
    ngx_http_batch_open_t *o);
static ngx_int_t ngx_http_batch_chunk_ready(ngx_http_batch_chunk_t *c,
    ngx_http_batch_open_t *o);
static void ngx_http_batch_chunk_restored(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static ngx_int_t ngx_http_batch_chunk_next(ngx_http_batch_chunk_t *c,
    u_char **p, size_t *len);
static void ngx_http_batch_chunk_fill(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_fill_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_chunk_fill_done(void *ctx, ngx_log_t *log);
static void ngx_http_batch_chunk_flush(ngx_event_t *ev);
static void ngx_http_batch_chunk_tell(ngx_http_batch_chunk_t *c,
    ngx_http_batch_chunk_state_e state);
static void ngx_http_batch_chunk_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_chunk_free(ngx_http_batch_chunk_t *c);
static void ngx_http_batch_chunk_close_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_chunk_close_done(void *ctx, ngx_log_t *log);


ngx_queue_t  ngx_http_batch_chunks;


void
ngx_http_batch_chunk_open(ngx_http_batch_run_t *run, uint32_t chunk,
    uint32_t epoch)
{
    ngx_http_batch_open_t   *o;
    ngx_http_batch_task_t   *task;
    ngx_http_batch_chunk_t  *c;

    /* on failure nothing is told: the lease runs out, and somebody claims */

    c = ngx_calloc(sizeof(ngx_http_batch_chunk_t), ngx_cycle->log);
    if (c == NULL) {
        return;
    }

    task = ngx_http_batch_task_create(sizeof(ngx_http_batch_open_t),
                                      ngx_http_batch_chunk_open_run,
                                      ngx_http_batch_chunk_open_done);
    if (task == NULL) {
        ngx_free(c);
        return;
    }

    c->run = run;
    c->chunk = chunk;
    c->epoch = epoch;
    c->input = NGX_INVALID_FILE;
    c->segment = NGX_INVALID_FILE;
    c->told_at = ngx_current_msec;
    c->busy = 1;

    ngx_queue_init(&c->pending);
    ngx_queue_init(&c->lines);

    c->dummy.fd = (ngx_socket_t) -1;
    c->flush.handler = ngx_http_batch_chunk_flush;
    c->flush.data = &c->dummy;
    c->flush.log = ngx_cycle->log;

    o = task->ctx;
    o->chunk = c;
    o->n = chunk;
    o->epoch = epoch;
    o->load = !run->loaded;
    o->routed = (run->conf != NULL);
    ngx_memcpy(o->id, run->id, BATCH_ID_LEN);

    if (ngx_http_batch_task_post(task) != NGX_OK) {
        ngx_http_batch_task_free(task);
        ngx_free(c);
        return;
    }

    run->refs++;
    run->nchunks++;
    ngx_http_batch_slot->chunks++;
    ngx_http_batch_slot->claimed++;

    ngx_queue_insert_tail(&ngx_http_batch_chunks, &c->queue);
}


/* in a thread: CLAIM and SCAN of the protocol, on the node's side */

static void
ngx_http_batch_chunk_open_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_open_t *o = ctx;

    uint32_t    *epochs;
    ngx_int_t    n;
    ngx_uint_t   route;

    o->rc = NGX_HTTP_BATCH_OPEN_ERROR;
    o->input = NGX_INVALID_FILE;
    o->segment = NGX_INVALID_FILE;

    n = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FINAL, o->id, log);

    if (n == 1) {
        o->rc = NGX_HTTP_BATCH_OPEN_ENDED;
        return;
    }

    if (n == NGX_ERROR
        || (o->load && ngx_http_batch_chunk_load(o, log) != NGX_OK))
    {
        return;
    }

    n = ngx_http_batch_chunk_sealed(o, log);

    if (n != NGX_DECLINED) {
        if (n == NGX_OK) {
            o->rc = NGX_HTTP_BATCH_OPEN_SEALED;
        }

        return;
    }

    if (o->load) {
        o->routed = (ngx_http_batch_route(&o->meta.route, &route) != NULL);
    }

    if (!o->routed) {
        o->rc = NGX_HTTP_BATCH_OPEN_ROUTE;
        return;
    }

    n = ngx_http_batch_store_epochs(o->id, o->n, 0, &epochs, log);

    if (n == NGX_ERROR) {
        return;
    }

    if (n > 0) {
        o->max_epoch = epochs[n - 1];

        if (o->max_epoch >= o->epoch) {
            ngx_free(epochs);
            o->rc = NGX_HTTP_BATCH_OPEN_EPOCH;
            return;
        }

        n = ngx_http_batch_scan(o->id, o->n, epochs, n, 0, UINT64_MAX,
                                &o->older, &o->older_usage, &o->nolder, log);
        ngx_free(epochs);

        if (n != NGX_OK) {
            return;
        }
    }

    o->input = ngx_http_batch_store_open(NGX_HTTP_BATCH_INPUT, o->id, log);

    if (o->input == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      "batch: %s has a plan and no input", o->id);
        return;
    }

    o->segment = ngx_http_batch_store_segment_create(o->id, o->n, o->epoch,
                                                     log);

    if (o->segment == NGX_INVALID_FILE) {
        if (ngx_errno == NGX_EEXIST) {
            o->max_epoch = o->epoch;
            o->rc = NGX_HTTP_BATCH_OPEN_EPOCH;
        }

        return;
    }

    o->rc = NGX_HTTP_BATCH_OPEN_OK;
}


static ngx_int_t
ngx_http_batch_chunk_load(ngx_http_batch_open_t *o, ngx_log_t *log)
{
    ngx_int_t  rc;
    ngx_str_t  text;

    if (ngx_http_batch_store_read(NGX_HTTP_BATCH_META, o->id,
                                  NGX_HTTP_BATCH_META_MAX, &text, log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_batch_meta_decode(&o->meta, text.data, text.len, &o->root);
    ngx_free(text.data);

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch: %s has a damaged batch.json", o->id);
        return NGX_ERROR;
    }

    return ngx_http_batch_plan_read(o->id, &o->plan, log);
}


static ngx_int_t
ngx_http_batch_chunk_sealed(ngx_http_batch_open_t *o, ngx_log_t *log)
{
    uint32_t      *epochs;
    ngx_int_t      i, n, rc;
    ngx_str_t      data;
    batch_seal_t   seal;

    n = ngx_http_batch_store_epochs(o->id, o->n, 1, &epochs, log);

    if (n <= 0) {
        return n == 0 ? NGX_DECLINED : NGX_ERROR;
    }

    rc = NGX_DECLINED;

    for (i = n - 1; i >= 0 && rc == NGX_DECLINED; i--) {

        if (ngx_http_batch_store_seal_read(o->id, o->n, epochs[i], &data, log)
            != NGX_OK)
        {
            continue;
        }

        if (batch_seal_decode(data.data, data.len, &seal) == BATCH_OK) {
            o->ok = seal.ok;
            o->failed = seal.failed;
            free(seal.picks);
            rc = NGX_OK;
        }

        ngx_free(data.data);
    }

    ngx_free(epochs);

    return rc;
}


static void
ngx_http_batch_chunk_open_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_open_t *o = ctx;

    ngx_http_batch_chunk_t  *c;

    c = o->chunk;
    c->busy = 0;
    c->life = NGX_HTTP_BATCH_CHUNK_RELEASING;

    if (o->root) {
        (void) ngx_http_batch_chunk_adopt(c->run, o);
    }

    switch (o->rc) {

    case NGX_HTTP_BATCH_OPEN_OK:

        c->input = o->input;
        c->segment = o->segment;

        if (c->run->conf && ngx_http_batch_chunk_ready(c, o) == NGX_OK) {
            c->life = NGX_HTTP_BATCH_CHUNK_RUNNING;
            o->older = NULL;
            o->older_usage = NULL;
        }

        break;

    case NGX_HTTP_BATCH_OPEN_SEALED:
        c->ok = o->ok;
        c->failed = o->failed;
        c->life = NGX_HTTP_BATCH_CHUNK_SEALED;
        break;

    case NGX_HTTP_BATCH_OPEN_EPOCH:

        /* the index has forgotten: raise its epoch, then claim anew */

        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "batch: %s, chunk %uD: epoch %uD was used up to %uD",
                      c->run->id, c->chunk, c->epoch, o->max_epoch);

        if (ngx_http_batch_index_chunk_restore(c->run->id, c->chunk,
                                               o->max_epoch, 0, 0, 0,
                                               ngx_http_batch_chunk_restored,
                                               NULL)
            != NGX_OK)
        {
            /* the lease runs out, and the next owner sees the same */
        }

        c->lost = 1;
        break;

    case NGX_HTTP_BATCH_OPEN_ENDED:
        c->lost = 1;
        (void) ngx_http_batch_job_start(c->run, NGX_HTTP_BATCH_CLAIM_FINALIZE,
                                        NULL);
        break;

    default: /* NGX_HTTP_BATCH_OPEN_ERROR, NGX_HTTP_BATCH_OPEN_ROUTE */
        c->pause = 1;
    }

    ngx_free(o->older);
    ngx_free(o->older_usage);
    ngx_http_batch_task_free(ngx_http_batch_task_of(ctx));

    ngx_http_batch_chunk_advance(c);
}


static void
ngx_http_batch_chunk_restored(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_dispatch_wake();
}


/* meta and plan of the first chunk become the run's; later ones are dropped */

static ngx_int_t
ngx_http_batch_chunk_adopt(ngx_http_batch_run_t *run, ngx_http_batch_open_t *o)
{
    u_char                     *p;
    size_t                      len;
    ngx_http_batch_loc_conf_t  *blcf;

    if (run->loaded || o->plan.chunks == NULL) {
        json_decref(o->root);
        ngx_http_batch_plan_free(&o->plan);
        return NGX_OK;
    }

    run->loaded = 1;
    run->root = o->root;
    run->meta = o->meta;
    run->plan = o->plan;

    blcf = ngx_http_batch_route(&run->meta.route, &run->route);

    if (blcf == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "batch: %s came in by location \"%V\", which has no"
                      " \"batch_api\" any more: it waits", run->id,
                      &run->meta.route);
        return NGX_DECLINED;
    }

    len = blcf->pass.len + run->meta.endpoint.len;

    p = ngx_alloc(2 * len + sizeof("POST  HTTP/1.1"), ngx_cycle->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    run->uri.data = p;
    run->uri.len = len;
    p = ngx_sprintf(p, "%V%V", &blcf->pass, &run->meta.endpoint);

    run->request_line.data = p;
    p = ngx_sprintf(p, "POST %V HTTP/1.1", &run->uri);
    run->request_line.len = p - run->request_line.data;

    run->conf = blcf;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_chunk_ready(ngx_http_batch_chunk_t *c, ngx_http_batch_open_t *o)
{
    ngx_http_batch_plan_chunk_t  *pc;

    if (c->chunk >= c->run->plan.nchunks) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "batch: %s has no chunk %uD", c->run->id, c->chunk);
        c->lost = 1;
        return NGX_ERROR;
    }

    pc = &c->run->plan.chunks[c->chunk];

    c->picks = ngx_alloc(pc->count * sizeof(batch_pick_t), ngx_cycle->log);
    if (c->picks == NULL) {
        return NGX_ERROR;
    }

    c->next_read = pc->offset;
    c->line = pc->first_line;

    c->older = o->older;
    c->older_usage = o->older_usage;
    c->nolder = o->nolder;

    return NGX_OK;
}


uint32_t
ngx_http_batch_chunk_left(ngx_http_batch_chunk_t *c)
{
    if (c->life == NGX_HTTP_BATCH_CHUNK_OPENING) {
        return c->run->loaded ? c->run->plan.chunks[c->chunk].count : 1;
    }

    if (c->life != NGX_HTTP_BATCH_CHUNK_RUNNING) {
        return 0;
    }

    return c->run->plan.chunks[c->chunk].count - c->walked;
}


ngx_int_t
ngx_http_batch_chunk_start(ngx_http_batch_chunk_t *c)
{
    size_t     len, pos;
    u_char    *p;
    uint64_t   number;

    if (c->life != NGX_HTTP_BATCH_CHUNK_RUNNING
        || c->poisoned || c->lost || c->aborted || c->reading
        || c->run->stop
        || c->pending_size > NGX_HTTP_BATCH_PENDING_MAX
        || c->walked == c->run->plan.chunks[c->chunk].count)
    {
        return NGX_DECLINED;
    }

    for ( ;; ) {

        pos = c->win_pos;

        if (ngx_http_batch_chunk_next(c, &p, &len) != NGX_OK) {
            return NGX_DECLINED;
        }

        number = c->line++;

        if (batch_jsonl_blank(p, len)) {
            continue;
        }

        c->walked++;

        while (c->iolder < c->nolder && c->older[c->iolder].line < number) {
            c->iolder++;
        }

        if (c->iolder < c->nolder && c->older[c->iolder].line == number) {
            ngx_http_batch_journal_count(c, &c->older[c->iolder],
                                         &c->older_usage[c->iolder]);
            c->iolder++;

            if (c->walked == c->run->plan.chunks[c->chunk].count) {
                ngx_http_batch_chunk_advance(c);
                return NGX_DECLINED;
            }

            continue;
        }

        break;
    }

    if (ngx_http_batch_line_start(c, p, len, number) != NGX_OK) {

        /* walk it again later */

        c->win_pos = pos;
        c->line = number;
        c->walked--;

        if (c->poisoned) {
            ngx_http_batch_chunk_advance(c);
        }

        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the next line of the window, without its newline */

static ngx_int_t
ngx_http_batch_chunk_next(ngx_http_batch_chunk_t *c, u_char **p, size_t *len)
{
    u_char                       *start, *nl;
    size_t                        left;
    ngx_http_batch_plan_chunk_t  *pc;

    pc = &c->run->plan.chunks[c->chunk];

    start = c->win + c->win_pos;
    left = c->win_len - c->win_pos;

    nl = left ? memchr(start, LF, left) : NULL;

    if (nl) {
        *len = nl - start;
        c->win_pos += *len + 1;

    } else if (c->next_read < pc->offset + pc->length) {
        ngx_http_batch_chunk_fill(c);
        return NGX_AGAIN;

    } else if (left) {
        *len = left;
        c->win_pos = c->win_len;

    } else {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "batch: %s, chunk %uD ends too early: the input is not"
                      " what was validated", c->run->id, c->chunk);
        c->poisoned = 1;
        ngx_http_batch_chunk_advance(c);
        return NGX_ERROR;
    }

    if (c->line == 1 && *len >= 3 && ngx_memcmp(start, "\xEF\xBB\xBF", 3) == 0)
    {
        /* the byte-order mark of the file */
        start += 3;
        *len -= 3;
    }

    *p = start;

    return NGX_OK;
}


/* reads on behind the part of a line that is left in the window */

static void
ngx_http_batch_chunk_fill(ngx_http_batch_chunk_t *c)
{
    size_t                        left, size;
    u_char                       *win;
    ngx_http_batch_fill_t        *f;
    ngx_http_batch_task_t        *task;
    ngx_http_batch_plan_chunk_t  *pc;

    pc = &c->run->plan.chunks[c->chunk];
    left = c->win_len - c->win_pos;

    if (left == c->win_size) {
        size = c->win_size ? c->win_size * 2
                           : (size_t) ngx_min(NGX_HTTP_BATCH_WINDOW,
                                              pc->length);

        win = ngx_alloc(size, ngx_cycle->log);
        if (win == NULL) {
            return;
        }

        ngx_memcpy(win, c->win + c->win_pos, left);
        ngx_free(c->win);

        c->win = win;
        c->win_size = size;

    } else if (left) {
        ngx_memmove(c->win, c->win + c->win_pos, left);
    }

    c->win_pos = 0;
    c->win_len = left;

    task = ngx_http_batch_task_create(sizeof(ngx_http_batch_fill_t),
                                      ngx_http_batch_chunk_fill_run,
                                      ngx_http_batch_chunk_fill_done);
    if (task == NULL) {
        return;
    }

    f = task->ctx;
    f->chunk = c;
    f->fd = c->input;
    f->buf = c->win + left;
    f->off = c->next_read;
    f->size = ngx_min((off_t) (c->win_size - left),
                      pc->offset + pc->length - c->next_read);

    if (ngx_http_batch_task_post(task) != NGX_OK) {
        ngx_http_batch_task_free(task);
        return;
    }

    c->reading = 1;
}


static void
ngx_http_batch_chunk_fill_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_fill_t *f = ctx;

    ssize_t  rc;

    f->n = 0;

    while ((size_t) f->n < f->size) {

        rc = pread(f->fd, f->buf + f->n, f->size - f->n, f->off + f->n);

        if (rc == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (rc <= 0) {
            ngx_log_error(NGX_LOG_CRIT, log, rc ? ngx_errno : 0,
                          "pread() of the input of %s failed",
                          f->chunk->run->id);
            f->n = -1;
            return;
        }

        f->n += rc;
    }
}


static void
ngx_http_batch_chunk_fill_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_fill_t *f = ctx;

    ngx_http_batch_chunk_t  *c;

    c = f->chunk;
    c->reading = 0;

    if (f->n < 0) {
        c->poisoned = 1;

    } else {
        c->win_len += f->n;
        c->next_read += f->n;
    }

    ngx_http_batch_task_free(ngx_http_batch_task_of(ctx));

    ngx_http_batch_chunk_advance(c);
    ngx_http_batch_dispatch_wake();
}


void
ngx_http_batch_chunk_ended(ngx_http_batch_chunk_t *c,
    ngx_http_batch_entry_t *entry)
{
    if (entry) {

        if (c->poisoned) {
            ngx_http_batch_entry_free(entry);

        } else {
            ngx_http_batch_journal_append(c, entry);
        }
    }

    ngx_http_batch_dispatch_wake();

    if (!c->aborting) {
        ngx_http_batch_chunk_advance(c);
    }
}


static void
ngx_http_batch_chunk_flush(ngx_event_t *ev)
{
    ngx_connection_t        *dummy;
    ngx_http_batch_chunk_t  *c;

    dummy = ev->data;
    c = (ngx_http_batch_chunk_t *) ((u_char *) dummy
                                    - offsetof(ngx_http_batch_chunk_t, dummy));

    ngx_http_batch_journal_flush(c, 1);
}


void
ngx_http_batch_chunk_advance(ngx_http_batch_chunk_t *c)
{
    switch (c->life) {

    case NGX_HTTP_BATCH_CHUNK_RUNNING:

        if (c->npicks == c->run->plan.chunks[c->chunk].count) {
            if (!c->busy && !c->poisoned) {
                ngx_http_batch_journal_seal(c);
                break;
            }
        }

        if (c->nlines == 0) {
            /* nothing more will come soon: do not wait for company */
            ngx_http_batch_journal_flush(c, 1);
        }

        if (!c->poisoned && !c->lost
            && !c->run->stop && !ngx_http_batch_dispatch_leaving())
        {
            break;
        }

        c->life = NGX_HTTP_BATCH_CHUNK_RELEASING;

        /* fall through */

    case NGX_HTTP_BATCH_CHUNK_SEALING:

        if (c->life == NGX_HTTP_BATCH_CHUNK_SEALING) {
            if (c->busy || !c->poisoned) {
                break;
            }

            c->life = NGX_HTTP_BATCH_CHUNK_RELEASING;
        }

        /* fall through */

    case NGX_HTTP_BATCH_CHUNK_RELEASING:

        if (c->poisoned && c->nlines && !c->aborted) {
            /* what they bring cannot be kept; ends in here again */
            ngx_http_batch_chunk_abort(c);
            break;
        }

        if (c->nlines) {
            break;
        }

        ngx_http_batch_journal_flush(c, 1);

        if (c->writing || c->reading || c->busy
            || (c->npending && !c->poisoned))
        {
            break;
        }

        if (c->lost) {
            c->life = NGX_HTTP_BATCH_CHUNK_GONE;
            ngx_http_batch_chunk_free(c);
            break;
        }

        if (c->npicks && !c->poisoned
            && c->npicks == c->run->plan.chunks[c->chunk].count)
        {
            /* the last answers came in while it was stopping */
            ngx_http_batch_journal_seal(c);
            break;
        }

        ngx_http_batch_chunk_tell(c, NGX_HTTP_BATCH_CHUNK_RELEASE);
        break;

    case NGX_HTTP_BATCH_CHUNK_SEALED:
        ngx_http_batch_chunk_tell(c, NGX_HTTP_BATCH_CHUNK_DONE);
        break;

    case NGX_HTTP_BATCH_CHUNK_GONE:
        ngx_http_batch_chunk_free(c);
        break;

    default: /* NGX_HTTP_BATCH_CHUNK_OPENING */
        break;
    }
}


/*
 * Lines remove themselves from the list; one whose request is blocked stays, and
 * ends as soon as that is over.
 */

void
ngx_http_batch_chunk_abort(ngx_http_batch_chunk_t *c)
{
    ngx_queue_t            *q, *next;
    ngx_http_batch_line_t  *line;

    if (c->aborted) {
        return;
    }

    c->aborted = 1;
    c->aborting = 1;

    for (q = ngx_queue_head(&c->lines);
         q != ngx_queue_sentinel(&c->lines);
         q = next)
    {
        next = ngx_queue_next(q);

        line = ngx_queue_data(q, ngx_http_batch_line_t, queue);
        ngx_http_batch_line_abort(line);
    }

    c->aborting = 0;

    ngx_http_batch_chunk_advance(c);
}


void
ngx_http_batch_chunk_tick(ngx_http_batch_chunk_t *c)
{
    ngx_msec_t  now;

    now = ngx_current_msec;

    if (c->nlines && c->run->stop && !c->aborted
        && now - c->run->stop_at >= NGX_HTTP_BATCH_GRACE)
    {
        ngx_http_batch_chunk_abort(c);
        return;
    }

    if (c->life == NGX_HTTP_BATCH_CHUNK_SEALED
        || c->life == NGX_HTTP_BATCH_CHUNK_RELEASING
        || c->life == NGX_HTTP_BATCH_CHUNK_RUNNING)
    {
        if (!c->telling && now - c->told_at >= NGX_HTTP_BATCH_TELL
            && (c->life != NGX_HTTP_BATCH_CHUNK_RUNNING
                || c->told != c->ok + c->failed
                || now - c->told_at >= NGX_HTTP_BATCH_LEASE / 4
                || c->nlines))
        {
            if (c->life == NGX_HTTP_BATCH_CHUNK_RUNNING || c->nlines) {
                ngx_http_batch_chunk_tell(c, NGX_HTTP_BATCH_CHUNK_RUN);
            }
        }

        ngx_http_batch_chunk_advance(c);
    }
}


static void
ngx_http_batch_chunk_tell(ngx_http_batch_chunk_t *c,
    ngx_http_batch_chunk_state_e state)
{
    if (c->telling) {
        return;
    }

    if (ngx_http_batch_index_chunk(c->run->id, c->chunk, c->epoch, state,
                                   c->ok, c->failed, NGX_HTTP_BATCH_LEASE,
                                   ngx_http_batch_chunk_told, c)
        != NGX_OK)
    {
        if (ngx_http_batch_dispatch_leaving()
            && state != NGX_HTTP_BATCH_CHUNK_RUN)
        {
            /* the lease runs out, and the seal is found by the next owner */
            c->life = NGX_HTTP_BATCH_CHUNK_GONE;
            ngx_http_batch_chunk_free(c);
        }

        return;
    }

    c->telling = 1;
    c->tell = state;
    c->told = c->ok + c->failed;
    c->told_at = ngx_current_msec;
}


static void
ngx_http_batch_chunk_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_chunk_t *c = data;

    ngx_http_batch_run_t  *run;

    run = c->run;
    c->telling = 0;

    if (rc == NGX_OK || rc == NGX_DECLINED) {

        /* without this chunk only an expiry can have led there */
        res->expired = (rc == NGX_OK && res->status == BATCH_FINALIZING
                        && c->tell == NGX_HTTP_BATCH_CHUNK_RUN);

        ngx_http_batch_run_status(run, res);

        if (rc == NGX_DECLINED) {
            c->lost = 1;
        }

        if (c->tell != NGX_HTTP_BATCH_CHUNK_RUN) {
            c->life = NGX_HTTP_BATCH_CHUNK_GONE;

            if (c->poisoned || c->pause) {
                /* what is wrong here will hardly be right at once */
                run->claim_after = ngx_current_msec
                                   + NGX_HTTP_BATCH_TROUBLE_PAUSE;

            } else {
                ngx_http_batch_run_hurry(run);
            }
        }

        ngx_http_batch_chunk_advance(c);
        return;
    }

    /* Redis went away; repeating is harmless: with the next tick */

    if (ngx_http_batch_dispatch_leaving()
        && c->tell != NGX_HTTP_BATCH_CHUNK_RUN)
    {
        c->life = NGX_HTTP_BATCH_CHUNK_GONE;
        ngx_http_batch_chunk_free(c);
    }
}


static void
ngx_http_batch_chunk_free(ngx_http_batch_chunk_t *c)
{
    ngx_http_batch_run_t    *run;
    ngx_http_batch_task_t   *task;
    ngx_http_batch_close_t  *cl;

    if (c->telling || c->busy || c->reading || c->writing || c->nlines) {
        return;
    }

    ngx_http_batch_journal_discard(c);

    if (c->input != NGX_INVALID_FILE) {
        task = ngx_http_batch_task_create(sizeof(ngx_http_batch_close_t),
                                          ngx_http_batch_chunk_close_run,
                                          ngx_http_batch_chunk_close_done);
        if (task) {
            cl = task->ctx;
            cl->fds[0] = c->input;
            cl->fds[1] = c->segment;

            if (ngx_http_batch_task_post(task) != NGX_OK) {
                ngx_http_batch_chunk_close_run(cl, ngx_cycle->log);
                ngx_http_batch_task_free(task);
            }
        }
    }

    ngx_queue_remove(&c->queue);

    run = c->run;
    run->refs--;
    run->nchunks--;
    ngx_http_batch_slot->chunks--;

    ngx_free(c->win);
    ngx_free(c->older);
    ngx_free(c->older_usage);
    ngx_free(c->picks);
    ngx_free(c);

    ngx_http_batch_dispatch_wake();
}


static void
ngx_http_batch_chunk_close_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_close_t *cl = ctx;

    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        if (cl->fds[i] != NGX_INVALID_FILE
            && ngx_close_file(cl->fds[i]) == NGX_FILE_ERROR)
        {
            ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                          ngx_close_file_n " of a chunk failed");
        }
    }
}


static void
ngx_http_batch_chunk_close_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_task_free(ngx_http_batch_task_of(ctx));
}
