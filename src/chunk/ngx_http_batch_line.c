/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A line under way: its attempts, its deadline, its end; its states are at
 * ngx_http_batch_line_life_e.
 *
 * From outside (deadline, cancel, shutdown) an attempt is ended by
 * ngx_http_batch_line_cut(), which waits while a thread points to its request.
 *
 * The struct is used again from the next turn of the event loop on only:
 * ngx_http_run_posted_requests() further up the stack still looks at the
 * connection's "destroyed".  So ended lines are dead until the dispatcher, at
 * the start of its turn, calls ngx_http_batch_line_reap().
 */

#include "ngx_http_batch_line.h"
#include "ngx_http_batch_budget.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_turn.h"
#include "batch_splice.h"


static ngx_http_batch_line_t *ngx_http_batch_line_get(void);
static void ngx_http_batch_line_attempt(ngx_http_batch_line_t *line);
static u_char *ngx_http_batch_line_log(ngx_http_batch_attempt_t *at,
    u_char *buf, size_t len);
static ngx_int_t ngx_http_batch_line_variable(ngx_http_batch_attempt_t *at,
    ngx_http_request_t *r, ngx_http_batch_variable_e var, ngx_str_t *value);
static ngx_int_t ngx_http_batch_line_header(ngx_http_batch_attempt_t *at);
static ngx_int_t ngx_http_batch_line_body(ngx_http_batch_attempt_t *at,
    const u_char *p, size_t len);
static ngx_uint_t ngx_http_batch_line_full(ngx_http_batch_attempt_t *at);
static void ngx_http_batch_line_post(ngx_http_batch_attempt_t *at,
    ngx_int_t rc, ngx_uint_t cut);
static void ngx_http_batch_line_answered(ngx_http_batch_attempt_t *at);
static void ngx_http_batch_line_cut(ngx_http_batch_line_t *line);
static void ngx_http_batch_line_verdict(ngx_http_batch_line_t *line);
static void ngx_http_batch_line_end(ngx_http_batch_line_t *line,
    ngx_http_batch_entry_t *entry);
static ngx_uint_t ngx_http_batch_line_again(ngx_http_batch_line_t *line,
    ngx_http_batch_answer_e verdict);
static void ngx_http_batch_line_timer(ngx_event_t *ev);


#define NGX_HTTP_BATCH_BACKOFF        500       /* ms, doubled each time */
#define NGX_HTTP_BATCH_BACKOFF_MAX    30000     /* ms */
#define NGX_HTTP_BATCH_STALE_PAUSE    250       /* ms until the lease is looked
                                                   at again */
#define NGX_HTTP_BATCH_FREE_LINES     1024      /* structs that are kept */
#define NGX_HTTP_BATCH_POOL_SIZE      512       /* bytes, of a connection */
#define NGX_HTTP_BATCH_LARGE          (1024 * 1024)       /* bytes: a line above
                                                             it is large */
#define NGX_HTTP_BATCH_LARGE_MAX      (64 * 1024 * 1024)  /* of all large ones */


static ngx_queue_t         ngx_http_batch_line_free;
static ngx_queue_t         ngx_http_batch_line_dead;
static ngx_uint_t          ngx_http_batch_line_nfree;
static size_t              ngx_http_batch_line_large;    /* bytes in flight */


static const ngx_http_batch_attempt_type_t  ngx_http_batch_line_type = {
    "processing batch line",
    ngx_http_batch_line_log,
    ngx_http_batch_line_variable,
    ngx_http_batch_line_header,
    ngx_http_batch_line_body,
    ngx_http_batch_line_full,
    ngx_http_batch_line_post,
    ngx_http_batch_line_answered
};


void
ngx_http_batch_line_init(void)
{
    ngx_queue_init(&ngx_http_batch_line_free);
    ngx_queue_init(&ngx_http_batch_line_dead);

    ngx_http_batch_attempt_init();
}


void
ngx_http_batch_line_reap(void)
{
    ngx_queue_t            *q;
    ngx_http_batch_line_t  *line;

    while (!ngx_queue_empty(&ngx_http_batch_line_dead)) {
        q = ngx_queue_head(&ngx_http_batch_line_dead);
        ngx_queue_remove(q);

        line = ngx_queue_data(q, ngx_http_batch_line_t, queue);

        if (ngx_http_batch_line_nfree >= NGX_HTTP_BATCH_FREE_LINES) {
            ngx_destroy_pool(line->at.c.pool);
            ngx_free(line);
            continue;
        }

        ngx_queue_insert_head(&ngx_http_batch_line_free, q);
        ngx_http_batch_line_nfree++;
    }
}


static ngx_http_batch_line_t *
ngx_http_batch_line_get(void)
{
    ngx_queue_t            *q;
    ngx_http_batch_line_t  *line;

    if (!ngx_queue_empty(&ngx_http_batch_line_free)) {
        q = ngx_queue_head(&ngx_http_batch_line_free);
        ngx_queue_remove(q);
        ngx_http_batch_line_nfree--;

        return ngx_queue_data(q, ngx_http_batch_line_t, queue);
    }

    line = ngx_calloc(sizeof(ngx_http_batch_line_t), ngx_cycle->log);
    if (line == NULL) {
        return NULL;
    }

    line->at.c.pool = ngx_create_pool(NGX_HTTP_BATCH_POOL_SIZE, ngx_cycle->log);
    if (line->at.c.pool == NULL) {
        ngx_free(line);
        return NULL;
    }

    line->at.kind = NGX_HTTP_BATCH_CTX_ATTEMPT;
    line->at.type = &ngx_http_batch_line_type;
    line->timer.handler = ngx_http_batch_line_timer;
    line->timer.data = &line->at.c;
    line->timer.log = ngx_cycle->log;

    return line;
}


ngx_uint_t
ngx_http_batch_line_room(size_t len)
{
    return len <= NGX_HTTP_BATCH_LARGE
           || ngx_http_batch_line_large == 0
           || ngx_http_batch_line_large + len <= NGX_HTTP_BATCH_LARGE_MAX;
}


ngx_int_t
ngx_http_batch_line_start(ngx_http_batch_chunk_t *c, const u_char *p,
    size_t len, uint64_t number)
{
    batch_line_error_t      err;
    ngx_http_batch_line_t  *line;
    const batch_rules_t    *rules;

    line = ngx_http_batch_line_get();
    if (line == NULL) {
        return NGX_ERROR;
    }

    rules = &c->run->rules;

    if (batch_jsonl_parse(p, len, rules, &line->parsed, &err) != BATCH_OK) {

        /* the validation accepted it: the input has changed since */

        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "batch: %s, line %uL: not what was validated: %s",
                      c->run->id, number, err.code);

        ngx_queue_insert_tail(&ngx_http_batch_line_dead, &line->queue);

        ngx_http_batch_chunk_poison(c, "input");
        return NGX_ERROR;
    }

    line->data = ngx_alloc(batch_splice_size(&line->parsed, rules),
                           ngx_cycle->log);
    if (line->data == NULL) {
        ngx_queue_insert_tail(&ngx_http_batch_line_dead, &line->queue);
        return NGX_ERROR;
    }

    batch_splice_keep(&line->parsed, rules, line->data);

    line->large = (len > NGX_HTTP_BATCH_LARGE) ? len : 0;
    ngx_http_batch_line_large += line->large;

    line->chunk = c;
    line->number = number;
    line->attempt = 0;
    line->free_attempts = 0;
    line->timedout = 0;
    line->aborted = 0;
    line->deadline = ngx_current_msec + c->run->conf->timeout;

    ngx_queue_insert_tail(&c->lines, &line->queue);
    c->nlines++;

    ngx_http_batch_budget_enter(c->run);

    ngx_http_batch_line_attempt(line);

    return NGX_OK;
}


static void
ngx_http_batch_line_attempt(ngx_http_batch_line_t *line)
{
    ngx_msec_t                 left;
    ngx_http_batch_run_t      *run;
    ngx_http_batch_run_uri_t  *u;

    run = line->chunk->run;
    u = &run->uris[line->parsed.target];

    line->at.conf = run->conf->ctx;
    line->at.uri = u->uri;
    line->at.request_line = u->request_line;
    line->at.body.data = (u_char *) line->parsed.body.data;
    line->at.body.len = line->parsed.body.len;

    line->attempt++;
    line->life = NGX_HTTP_BATCH_LINE_FLYING;
    line->made = 0;

    ngx_http_batch_answer_reset(line);

    ngx_http_batch_slot->started++;

    if (line->attempt > 1) {
        ngx_http_batch_slot->retried++;
    }

    left = line->deadline - ngx_current_msec;
    ngx_add_timer(&line->timer, (ngx_msec_int_t) left > 0 ? left : 1);

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, line %uL: attempt %ui begins, chunk %uD",
                   run->id, line->number, line->attempt, line->chunk->chunk);

    if (ngx_http_batch_attempt_send(&line->at) != NGX_OK) {
        line->rc = NGX_ERROR;
        ngx_http_batch_line_verdict(line);
    }
}


/*
 * Did nginx make this answer itself?  After an rc >= 300 the page has that
 * status, unless error_page has led to another answer; and the upstream, if
 * there was one, has not said it.  It may have sent another status, and then a
 * header that nginx could not take.
 */

static ngx_int_t
ngx_http_batch_line_header(ngx_http_batch_attempt_t *at)
{
    ngx_http_upstream_t    *u;
    ngx_http_batch_line_t  *line;

    line = (ngx_http_batch_line_t *) at;

    u = at->sr->upstream;

    /* an upstream that has ended has no cleanup; what follows is nginx's */

    line->own = (u == NULL || u->cleanup == NULL);
    line->unframed = (!line->own && u->headers_in.content_length_n == -1
                      && !u->headers_in.chunked);

    if (ngx_http_batch_answer_header(line, at->sr) != NGX_OK) {
        return NGX_ERROR;
    }

    if (line->made == 0) {
        return NGX_OK;
    }

    if (line->status == (ngx_uint_t) line->made
        && (u == NULL || u->headers_in.status_n != (ngx_uint_t) line->made))
    {
        line->rc = line->made;
        line->garbled = (u && u->state && u->state->bytes_received > 0);

    } else {
        line->made = 0;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_line_body(ngx_http_batch_attempt_t *at, const u_char *p,
    size_t len)
{
    return ngx_http_batch_answer_body((ngx_http_batch_line_t *) at, p, len);
}


static ngx_uint_t
ngx_http_batch_line_full(ngx_http_batch_attempt_t *at)
{
    return ngx_http_batch_spool_full(((ngx_http_batch_line_t *) at)->spool);
}


static void
ngx_http_batch_line_post(ngx_http_batch_attempt_t *at, ngx_int_t rc,
    ngx_uint_t cut)
{
    ngx_http_batch_line_t  *line;

    line = (ngx_http_batch_line_t *) at;

    ngx_log_debug5(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, line %uL: subrequest ended, rc %i, status %ui,"
                   " cut %ui", line->chunk->run->id, line->number, rc,
                   line->status, cut);

    if (cut) {

        if (!line->header) {
            line->rc = (rc == NGX_ERROR) ? NGX_ERROR
                                         : NGX_HTTP_GATEWAY_TIME_OUT;
        }

    } else if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        line->made = rc;
        line->rc = rc;

    } else if (line->header && line->own) {
        /* not every content handler marks the end of its body */
        at->last = 1;
    }
}


static void
ngx_http_batch_line_answered(ngx_http_batch_attempt_t *at)
{
    ngx_http_batch_line_t  *line;

    line = (ngx_http_batch_line_t *) at;

    if (ngx_http_batch_spool_busy(line->spool)) {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "batch: %s, line %uL: answered, %O bytes to the spool",
                       line->chunk->run->id, line->number, line->spool->size);

        line->life = NGX_HTTP_BATCH_LINE_SPOOLING;
        return;
    }

    ngx_http_batch_line_verdict(line);
}


void
ngx_http_batch_line_spooled(ngx_http_batch_line_t *line)
{
    if (line->life == NGX_HTTP_BATCH_LINE_SPOOLING) {
        ngx_http_batch_line_verdict(line);
    }
}


/* ends an attempt from outside */

static void
ngx_http_batch_line_cut(ngx_http_batch_line_t *line)
{
    if (ngx_http_batch_attempt_cut(&line->at) != NGX_OK) {
        ngx_add_timer(&line->timer, NGX_HTTP_BATCH_ATTEMPT_BLOCKED);
        return;
    }

    ngx_http_batch_line_verdict(line);
}


void
ngx_http_batch_line_abort(ngx_http_batch_line_t *line)
{
    line->aborted = 1;
    ngx_http_batch_line_cut(line);
}


static void
ngx_http_batch_line_verdict(ngx_http_batch_line_t *line)
{
    ngx_http_batch_run_t     *run;
    ngx_http_batch_entry_t   *entry;
    ngx_http_batch_answer_e   verdict;

    ngx_http_batch_turn_cancel(&line->timer);

    if (line->aborted) {
        ngx_http_batch_line_end(line, NULL);
        return;
    }

    run = line->chunk->run;
    verdict = ngx_http_batch_answer_judge(line);

    ngx_log_debug6(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, line %uL: attempt %ui ended, status %ui, rc %i,"
                   " verdict %d", run->id, line->number, line->attempt,
                   line->status, line->rc, verdict);

    if (!line->timedout) {
        ngx_http_batch_budget_outcome(run,
                                      verdict == NGX_HTTP_BATCH_ANSWER_DEAD);
    }

    if (verdict >= NGX_HTTP_BATCH_ANSWER_RETRY) {

        if (run->stop || line->chunk->lost || ngx_http_batch_turn_leaving()) {
            /* another attempt is due, but the next owner's, or nobody's */
            ngx_http_batch_line_end(line, NULL);
            return;
        }

        if (ngx_http_batch_line_again(line, verdict)) {
            return;
        }
    }

    entry = ngx_http_batch_answer_finish(line, verdict);

    if (entry == NULL) {
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                      "batch: %s, line %uL: no memory for the answer, its"
                      " chunk is run again", run->id, line->number);
        ngx_http_batch_chunk_poison(line->chunk, "memory");
    }

    ngx_http_batch_line_end(line, entry);
}


/*
 * Exponential back-off with jitter; Retry-After is a lower bound.  While the
 * breaker takes the upstream for dead, failures are not the line's: they do not
 * count, and only its deadline ends the waiting.  A waiting line keeps its
 * place in flight: that is what holds the other lines back.
 */

static ngx_uint_t
ngx_http_batch_line_again(ngx_http_batch_line_t *line,
    ngx_http_batch_answer_e verdict)
{
    ngx_uint_t             n;
    ngx_msec_t             delay;
    ngx_http_batch_run_t  *run;

    run = line->chunk->run;

    if (verdict == NGX_HTTP_BATCH_ANSWER_DEAD
        && ngx_http_batch_budget_broken(run))
    {
        line->free_attempts++;
    }

    n = line->attempt - line->free_attempts;

    if (n > run->conf->retries) {
        return 0;
    }

    delay = NGX_HTTP_BATCH_BACKOFF << ngx_min(line->attempt - 1, 10);
    delay = ngx_min(delay, NGX_HTTP_BATCH_BACKOFF_MAX);
    delay = delay / 2 + ngx_random() % (delay / 2 + 1);

    if (line->retry_after > delay) {
        delay = line->retry_after + ngx_random() % (line->retry_after / 10 + 1);
    }

    if ((ngx_msec_int_t) (line->deadline - ngx_current_msec)
        <= (ngx_msec_int_t) delay)
    {
        return 0;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, line %uL: attempt %ui failed, next in %M ms",
                   run->id, line->number, line->attempt, delay);

    line->life = NGX_HTTP_BATCH_LINE_WAITING;
    ngx_add_timer(&line->timer, delay);

    return 1;
}


static void
ngx_http_batch_line_timer(ngx_event_t *ev)
{
    ngx_connection_t       *c;
    ngx_http_batch_line_t  *line;

    c = ev->data;
    line = (ngx_http_batch_line_t *)
               ((u_char *) c - offsetof(ngx_http_batch_line_t, at.c));

    if (line->life == NGX_HTTP_BATCH_LINE_WAITING) {

        if (line->chunk->lost) {
            /* the attempt is the new owner's */
            ngx_http_batch_line_end(line, NULL);

        } else if (ngx_http_batch_chunk_stale(line->chunk)) {
            ngx_add_timer(ev, NGX_HTTP_BATCH_STALE_PAUSE);

        } else {
            ngx_http_batch_line_attempt(line);
        }

        return;
    }

    if (line->life == NGX_HTTP_BATCH_LINE_SPOOLING) {
        /* the answer came in time */
        return;
    }

    if (!line->aborted) {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "batch: %s, line %uL: deadline passed in attempt %ui",
                       line->chunk->run->id, line->number, line->attempt);
        line->timedout = 1;
    }

    ngx_http_batch_line_cut(line);
}


static void
ngx_http_batch_line_end(ngx_http_batch_line_t *line,
    ngx_http_batch_entry_t *entry)
{
    ngx_http_batch_chunk_t  *c;

    c = line->chunk;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, line %uL: ended %s, chunk %uD",
                   c->run->id, line->number,
                   entry ? "with a record" : "without a record", c->chunk);

    line->life = NGX_HTTP_BATCH_LINE_ENDED;
    line->chunk = NULL;

    ngx_queue_remove(&line->queue);
    c->nlines--;

    ngx_http_batch_budget_leave(c->run);

    ngx_free(line->data);
    line->data = NULL;

    ngx_http_batch_line_large -= line->large;

    ngx_free(line->entry);
    line->entry = NULL;

    ngx_http_batch_spool_free(line->spool);
    line->spool = NULL;

    ngx_queue_insert_tail(&ngx_http_batch_line_dead, &line->queue);

    ngx_http_batch_chunk_ended(c, entry);
}


static ngx_int_t
ngx_http_batch_line_variable(ngx_http_batch_attempt_t *at,
    ngx_http_request_t *r, ngx_http_batch_variable_e var, ngx_str_t *value)
{
    ngx_http_batch_run_t   *run;
    ngx_http_batch_line_t  *line;

    line = (ngx_http_batch_line_t *) at;

    if (line->chunk == NULL) {
        return NGX_DECLINED;
    }

    run = line->chunk->run;

    switch (var) {

    case NGX_HTTP_BATCH_VARIABLE_ID:
        value->data = (u_char *) run->id;
        value->len = ngx_strlen(run->id);
        return NGX_OK;

    case NGX_HTTP_BATCH_VARIABLE_CUSTOM_ID:
        return ngx_http_batch_variable_token(r->pool, &line->parsed.custom_id,
                                             value);

    case NGX_HTTP_BATCH_VARIABLE_MODEL:

        if (line->parsed.model.len || run->meta.model.len == 0) {
            return ngx_http_batch_variable_token(r->pool, &line->parsed.model,
                                                 value);
        }

        return ngx_http_batch_variable_text(r->pool, &run->meta.model, value);

    case NGX_HTTP_BATCH_VARIABLE_TENANT:
        return ngx_http_batch_variable_text(r->pool, &run->meta.tenant, value);

    case NGX_HTTP_BATCH_VARIABLE_JOB:
        return ngx_http_batch_variable_text(r->pool, &run->meta.job_id, value);

    default: /* NGX_HTTP_BATCH_VARIABLE_LINE, NGX_HTTP_BATCH_VARIABLE_ATTEMPT */

        value->data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
        if (value->data == NULL) {
            return NGX_ERROR;
        }

        value->len = ngx_sprintf(value->data, "%uL",
                                 var == NGX_HTTP_BATCH_VARIABLE_LINE
                                 ? line->number : (uint64_t) line->attempt)
                     - value->data;
        return NGX_OK;
    }
}


static u_char *
ngx_http_batch_line_log(ngx_http_batch_attempt_t *at, u_char *buf, size_t len)
{
    ngx_http_batch_line_t  *line;

    line = (ngx_http_batch_line_t *) at;

    if (line->chunk == NULL) {
        return buf;
    }

    return ngx_snprintf(buf, len, ", batch: %s, line: %uL, attempt: %ui",
                        line->chunk->run->id, line->number, line->attempt);
}
