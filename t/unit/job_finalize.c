/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Finalizing, and what recovery reads of its result.
 */

#include "store_help.h"
#include "ngx_http_batch_cancel.h"
#include "ngx_http_batch_finalize.h"
#include "ngx_http_batch_restore.h"
#include "ngx_http_batch_validate.h"

#include <pthread.h>


#define N       400            /* requests of a batch here */
#define CANCEL  "{\"v\":1,\"cancelling_at\":1700000005}"


static ngx_log_t                  *log_;
static ngx_http_batch_finalize_t   f;
static ngx_http_batch_plan_t       plan;
static json_t                     *final;
static char                        id[BATCH_ID_LEN];


static void
clear(void)
{
    json_decref(final);
    final = NULL;

    ngx_http_batch_final_free(&f.final);
    json_decref(f.root);
    memset(&f, 0, sizeof(f));
}


/* a validated batch of N requests "id0".. in lines 1..N; its plan */

static void
begin(void)
{
    char                        file[BATCH_ID_LEN], *text;
    size_t                      len;
    ngx_http_batch_validate_t   v;

    shim_log_reset();
    ngx_http_batch_plan_free(&plan);

    text = help_lines(0, N, &len);
    help_file(file, "t", "batch", 0, text, len);
    help_batch(id, "t", file, "/v1/chat/completions", "");
    free(text);

    memset(&v, 0, sizeof(v));
    strcpy(v.id, id);
    ngx_http_batch_validate(&v, log_);
    ok(v.rc == NGX_HTTP_BATCH_VALID, "%d", v.rc);

    json_decref(v.root);
    plan = v.plan;
}


static uint16_t
kind_of(uint64_t line)
{
    return line % 10 == 3 ? BATCH_KIND_ERROR : BATCH_KIND_OUTPUT;
}


/*
 * Journals lines [0, n) of the chunk into a segment, in reverse order, line 5
 * longer than a write of the finalizer; seals them if asked to.
 */

static void
work(uint32_t chunk, uint32_t epoch, uint32_t n, int seal)
{
    off_t                         off;
    char                         *big, text[64];
    uint32_t                      i;
    uint64_t                      line;
    ngx_fd_t                      fd;
    batch_pick_t                 *picks;
    ngx_http_batch_plan_chunk_t  *c;

    c = &plan.chunks[chunk];
    picks = calloc(n + 1, sizeof(batch_pick_t));
    big = malloc(1500000);
    off = 0;

    fd = ngx_http_batch_segment_create(id, chunk, epoch, log_);
    ok(fd != NGX_INVALID_FILE, "segment");

    for (i = n; i-- > 0; ) {
        line = c->first_line + i;

        if (line == 5) {
            memset(big, 'b', 1400000);
            sprintf(big + 1400000, "%u\n", 5);
            picks[i] = help_record(fd, &off, id, chunk, epoch, line,
                                   kind_of(line), big);

        } else {
            sprintf(text, "line %lu of %u\n", (unsigned long) line, epoch);
            picks[i] = help_record(fd, &off, id, chunk, epoch, line,
                                   kind_of(line), text);
        }
    }

    fsync(fd);
    close(fd);

    if (seal) {
        help_seal(id, chunk, epoch, picks, n, 1700000009000000ull);
    }

    free(big);
    free(picks);
}


static int
finalize(void)
{
    ngx_uint_t  expired = f.expired;

    clear();

    strcpy(f.id, id);
    f.expired = expired;

    ngx_http_batch_finalize(&f, log_);

    if (f.final.text.data) {
        final = json_loadb((char *) f.final.text.data, f.final.text.len, 0,
                           NULL);
    }

    return f.rc;
}


static int64_t
num(const char *name)
{
    return json_integer_value(json_object_get(final, name));
}


static const char *
str(json_t *o, const char *name)
{
    const char  *s = json_string_value(json_object_get(o, name));

    return s ? s : "(none)";
}


/* the file's text by final.json's key, malloc()ed; checks its manifest */

static char *
file_text(const char *key)
{
    char                   *text;
    char                    name[128];
    json_t                 *o;
    ngx_str_t               s;

    o = json_object_get(final, key);

    if (!json_is_object(o)) {
        return NULL;
    }

    text = help_blob(str(o, "id"));
    sprintf(name, "%s_%s.jsonl", id, key);

    ok(text && (int64_t) strlen(text)
               == json_integer_value(json_object_get(o, "bytes")), "bytes");
    ok(strcmp(str(o, "filename"), name) == 0, "%s", str(o, "filename"));
    ok(strcmp(str(o, "purpose"), "batch_output") == 0, "purpose");
    ok(strcmp(str(o, "tenant"), "t") == 0, "tenant");
    ok(json_integer_value(json_object_get(o, "expires_at"))
       == help_now / 1000000 + 1000, "expires_at");
    ok(ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE, str(o, "id"), 10000, &s,
                                 log_) == NGX_OK, "manifest");
    free(s.data);

    return text;
}


static unsigned
lines_of(const char *text)
{
    unsigned  n;

    for (n = 0; text && *text; text++) {
        n += (*text == '\n');
    }

    return n;
}


static void
test_completed(void)
{
    int           sorted, last, n;
    char         *out, *errs, *p;
    uint32_t      i;

    begin();

    for (i = 0; i < plan.nchunks; i++) {
        work(i, 1, plan.chunks[i].count, 1);
    }

    /* a zombie's later segment without a seal does not count */
    work(2, 2, 3, 0);

    ok(finalize() == NGX_HTTP_BATCH_FINAL_OK, "%s", shim_log_text());
    ok(f.final.status == BATCH_COMPLETED && f.root, "status");

    out = file_text("output");
    errs = file_text("error");
    ok(lines_of(out) == N - N / 10 && lines_of(errs) == N / 10, "%u %u",
       lines_of(out), lines_of(errs));

    sorted = 1;
    last = 0;

    for (p = out; p && *p; p = strchr(p, '\n') + 1) {
        n = (*p == 'b') ? 5 : atoi(p + 5);
        sorted &= (n > last && kind_of(n) == BATCH_KIND_OUTPUT);
        sorted &= (strchr(p, '\n') - p < 64) == (n != 5);
        last = n;
    }

    ok(sorted, "order of the input");
    ok(strstr(out, " of 2") == NULL, "zombie");
    free(out);
    free(errs);

    ok(num("total") == N && num("completed") == N - N / 10
       && num("failed") == N / 10, "counts");
    ok(num("completed_at") == help_now / 1000000
       && num("finalizing_at") == help_now / 1000000
       && num("in_progress_at") == help_now / 1000000
       && json_is_null(json_object_get(final, "cancelling_at"))
       && json_is_null(json_object_get(final, "errors")), "times");
    ok(json_integer_value(json_object_get(json_object_get(final, "usage"),
                                          "total"))
       == 8 * (N - N / 10), "usage");
    ok(strcmp(str(final, "model"), "m") == 0, "model");
    ok(ngx_http_batch_store_exists(NGX_HTTP_BATCH_INPUT, id, log_) == 1,
       "work files stay until the index was told");

    ok(finalize() == NGX_HTTP_BATCH_FINAL_OK
       && f.final.status == BATCH_COMPLETED,
       "again");
    ok(shim_log_text()[0] == '\0', "%s", shim_log_text());
}


static void
test_order(void)
{
    char      *out;
    uint32_t   i;

    begin();
    help_route.output_order = NGX_HTTP_BATCH_ORDER_COMPLETION;

    for (i = 0; i < plan.nchunks; i++) {
        work(i, 1, plan.chunks[i].count, 1);
    }

    ok(finalize() == NGX_HTTP_BATCH_FINAL_OK, "%s", shim_log_text());

    out = file_text("output");
    ok(out && atoi(out + 5) == (int) plan.chunks[1].first_line - 1,
       "order of completion");
    ok(lines_of(out) == N - N / 10, "lines");
    free(out);
    help_route.output_order = 0;
}


static void
damage(const char *name, off_t off)
{
    int   fd;
    char  path[4096];

    snprintf(path, sizeof(path), "%s/batches/%.2s/%s/%s",
             (char *) help_dir.data, id + 6, id, name);

    fd = open(path, O_RDWR);
    ok(fd != -1 && pwrite(fd, "\xff", 1, off) == 1, "%s", path);
    close(fd);
}


static void
test_void(void)
{
    uint32_t   i;
    unsigned   blobs;

    begin();

    for (i = 0; i < plan.nchunks; i++) {
        work(i, 1, plan.chunks[i].count, 1);
    }

    blobs = help_count("files", "");

    damage("c3.1.seg", 90);
    ok(finalize() == NGX_HTTP_BATCH_FINAL_REDO && f.redo_chunk == 3, "%d",
       f.rc);
    ok(shim_logged(NGX_LOG_ALERT) == 1 && strstr(shim_log_text(), id)
       && strstr(shim_log_text(), "chunk 3"), "%s", shim_log_text());
    ok(help_count("tmp", "") == 0 && help_count("files", "") == blobs,
       "nothing is left");

    /* it ran again */
    work(3, 2, plan.chunks[3].count, 1);
    ok(finalize() == NGX_HTTP_BATCH_FINAL_OK && num("completed") == N - N / 10,
       "%s", shim_log_text());

    begin();

    for (i = 0; i < plan.nchunks; i++) {
        work(i, 1, plan.chunks[i].count - (i == 4), 1);
    }

    ok(finalize() == NGX_HTTP_BATCH_FINAL_REDO && f.redo_chunk == 4,
       "a line is missing in a seal");

    /* an older, good seal is as good */
    begin();

    for (i = 0; i < plan.nchunks; i++) {
        work(i, 1, plan.chunks[i].count, 1);
    }

    work(0, 2, plan.chunks[0].count, 1);
    damage("c0.2.seg", 90);
    ok(finalize() == NGX_HTTP_BATCH_FINAL_OK && num("completed") == N - N / 10,
       "%s", shim_log_text());
}


static void
filled(const char *code, int order)
{
    char      *out, *errs, *p, want[256];
    int        ascending, last, n;
    unsigned   done, errors, i;

    done = plan.chunks[0].count + 5;
    errors = 0;

    for (i = 1; i <= done; i++) {
        errors += (kind_of(i) == BATCH_KIND_ERROR);
    }

    out = file_text("output");
    errs = file_text("error");

    ok(lines_of(out) == done - errors, "%u", lines_of(out));
    ok(lines_of(errs) == N - done + errors, "%u", lines_of(errs));
    ok(num("total") == N && num("failed") == errors
       && num("completed") == done - errors, "filled lines are no failures");

    ascending = 1;
    last = 0;

    for (p = errs; p && *p; p = strchr(p, '\n') + 1) {
        if (*p == '{') {
            n = atoi(strstr(p, "\"custom_id\": \"id") + 16) + 1;

            sprintf(want, "\", \"custom_id\": \"id%d\", \"response\": null, "
                    "\"error\": {\"code\": \"%s\", \"message\": \"This "
                    "request ", n - 1, code);

            ok(strncmp(p, "{\"id\": \"batch_req_", 18) == 0
               && strncmp(p + 50, want, strlen(want)) == 0, "%.200s", p);
        } else {
            n = atoi(p + 5);
        }

        ascending &= (n > last);
        last = n;
    }

    ok(ascending || order, "order");

    free(out);
    free(errs);
}


static void
test_cancelled(int order)
{
    uint32_t  i;

    /* chunk 0 sealed, chunk 1 begun twice, the rest never */
    begin();
    help_route.output_order = order;

    work(0, 1, plan.chunks[0].count, 1);
    work(1, 1, 2, 0);
    work(1, 2, 5, 0);

    ngx_http_batch_publish_object(NGX_HTTP_BATCH_CANCEL, id, CANCEL,
                                 sizeof(CANCEL) - 1, log_);
    ok(finalize() == NGX_HTTP_BATCH_FINAL_OK
       && f.final.status == BATCH_CANCELLED,
       "%s", shim_log_text());
    filled("batch_cancelled", order);
    /* by a clock that is ahead of ours: what comes later is not told earlier */

    ok(num("cancelling_at") == 1700000005 && num("cancelled_at") == 1700000005
       && json_is_null(json_object_get(final, "finalizing_at")), "times");

    begin();
    f.expired = 1;

    work(0, 1, plan.chunks[0].count, 1);
    work(1, 4, 5, 0);

    ok(finalize() == NGX_HTTP_BATCH_FINAL_OK
       && f.final.status == BATCH_EXPIRED,
       "%s", shim_log_text());
    filled("batch_expired", order);
    ok(num("expired_at") == help_now / 1000000
       && json_is_null(json_object_get(final, "cancelling_at")), "times");
    f.expired = 0;

    /* nothing but a void seal: its records are found all the same */
    begin();

    for (i = 0; i < plan.nchunks; i++) {
        work(i, 1, plan.chunks[i].count, i != 2);
    }

    damage("c1.1.seal", 40);
    ngx_http_batch_publish_object(NGX_HTTP_BATCH_CANCEL, id, CANCEL,
                                 sizeof(CANCEL) - 1, log_);
    ok(finalize() == NGX_HTTP_BATCH_FINAL_OK
       && f.final.status == BATCH_CANCELLED
       && num("completed") == N - N / 10, "%s", shim_log_text());
    help_route.output_order = 0;
}


static void
test_early(void)
{
    help_batch(id, "t", "x", "/v1/embeddings", "");
    shim_log_reset();

    ok(finalize() == NGX_HTTP_BATCH_FINAL_TROUBLE
       && shim_logged(NGX_LOG_ALERT) == 1, "no plan");

    ngx_http_batch_publish_object(NGX_HTTP_BATCH_CANCEL, id, CANCEL,
                                 sizeof(CANCEL) - 1, log_);
    ok(finalize() == NGX_HTTP_BATCH_FINAL_OK
       && f.final.status == BATCH_CANCELLED
       && num("total") == 0 && json_is_null(json_object_get(final, "output"))
       && json_is_null(json_object_get(final, "error"))
       && json_is_null(json_object_get(final, "in_progress_at")), "cancelled");

    help_batch(id, "t", "x", "/v1/embeddings", "");
    f.expired = 1;
    ok(finalize() == NGX_HTTP_BATCH_FINAL_OK
       && f.final.status == BATCH_EXPIRED
       && num("finalizing_at") && num("expired_at"), "expired");
    f.expired = 0;

    begin();
    shim_quit = 1;
    work(0, 1, plan.chunks[0].count, 1);
    ok(finalize() == NGX_HTTP_BATCH_FINAL_QUIT, "quit");
    shim_quit = 0;
}


static void *
racer(void *data)
{
    ngx_http_batch_finalize(data, log_);

    return NULL;
}


static void
test_race(void)
{
    int                         round;
    uint32_t                    i;
    unsigned                    blobs, names;
    pthread_t                   t[3];
    ngx_http_batch_finalize_t   r[3];

    for (round = 0; round < 10; round++) {

        begin();

        for (i = 0; i < plan.nchunks; i++) {
            work(i, 1, plan.chunks[i].count, 1);
        }

        blobs = help_count("files", "");
        names = help_count("files", ".json");

        memset(r, 0, sizeof(r));

        for (i = 0; i < 3; i++) {
            strcpy(r[i].id, id);
            pthread_create(&t[i], NULL, racer, &r[i]);
        }

        for (i = 0; i < 3; i++) {
            pthread_join(t[i], NULL);
        }

        for (i = 0; i < 3; i++) {
            ok(r[i].rc == NGX_HTTP_BATCH_FINAL_OK, "racer %u: %d", i, r[i].rc);
            ok(r[i].final.text.len == r[0].final.text.len
               && memcmp(r[i].final.text.data, r[0].final.text.data,
                         r[0].final.text.len)
                  == 0, "one result");
        }

        for (i = 0; i < 3; i++) {
            ngx_http_batch_final_free(&r[i].final);
            json_decref(r[i].root);
        }

        ok(help_count("files", "") == blobs + 4
           && help_count("files", ".json") == names + 2, "no orphan");
        ok(help_count("tmp", "") == 0, "nothing is left in tmp");
        ok(shim_logged(NGX_LOG_ALERT) == 0, "%s", shim_log_text());
    }
}


/* what recovery finds */

static void
test_restore(void)
{
    char                        ended[BATCH_ID_LEN], gone[BATCH_ID_LEN];
    size_t                      i, finals, active, files;
    unsigned                    all;
    ngx_http_batch_item_t      *item;
    ngx_http_batch_portion_t    p;

    begin();

    for (i = 0; i < plan.nchunks; i++) {
        work(i, 1, plan.chunks[i].count, 1);
    }

    ok(finalize() == NGX_HTTP_BATCH_FINAL_OK, "final");
    strcpy(ended, id);

    /* one file deleted, the manifest of the other lost */
    strcpy(gone, str(json_object_get(final, "error"), "id"));
    ok(ngx_http_batch_delete_file(gone, log_) == NGX_OK, "delete");
    {
        char         path[4096];
        const char  *out = str(json_object_get(final, "output"), "id");

        snprintf(path, sizeof(path), "%s/files/%.2s/%s.json",
                 (char *) help_dir.data, out + 5, out);
        ok(unlink(path) == 0, "%s", path);
    }

    begin();
    work(0, 1, plan.chunks[0].count, 1);
    work(0, 3, 1, 0);
    work(2, 6, 1, 0);
    ngx_http_batch_publish_object(NGX_HTTP_BATCH_CANCEL, id, CANCEL,
                                 sizeof(CANCEL) - 1, log_);

    all = help_count("files", ".json");
    memset(&p, 0, sizeof(p));
    finals = active = files = 0;

    do {
        ok(ngx_http_batch_restore_read(&p, log_) == NGX_OK, "portion");

        for (i = 0; i < p.n; i++) {
            item = &p.items[i];

            if (item->type == NGX_HTTP_BATCH_ITEM_FILE) {
                files++;
                ok(strcmp(item->file.id, gone) != 0, "deleted");
                continue;
            }

            if (strcmp(item->meta.id, ended) == 0) {
                finals++;
                ok(item->type == NGX_HTTP_BATCH_ITEM_FINAL
                   && item->final.status == BATCH_COMPLETED
                   && item->final.files[0].id[0]
                   && !item->final.files[1].id[0], "final");
            }

            if (strcmp(item->meta.id, id) == 0) {
                active++;
                ok(item->type == NGX_HTTP_BATCH_ITEM_BATCH && item->planned
                   && item->total == N && item->nplan == plan.nchunks
                   && item->cancelling_at == 1700000005, "active");
                ok(item->nchunks == 2 && item->chunks[0].chunk == 0
                   && item->chunks[0].epoch == 3 && item->chunks[0].done
                   && item->chunks[0].ok + item->chunks[0].failed
                      == plan.chunks[0].count
                   && item->chunks[1].chunk == 2
                   && item->chunks[1].epoch == 6 && !item->chunks[1].done,
                   "chunks");
            }
        }

        ngx_http_batch_restore_items_free(&p);

    } while (!p.end);

    ngx_http_batch_restore_free(&p);

    ok(files == all && finals == 1 && active == 1, "%zu of %u, %zu, %zu",
       files, all, finals, active);
    ok(help_count("files", ".json") == all + 1, "the lost manifest is back");
}


/* who links cancel.json first decides, and the other one hears of it */

static void
test_decision(void)
{
    int64_t   at;
    uint32_t  i;

    begin();

    for (i = 0; i < plan.nchunks; i++) {
        work(i, 1, plan.chunks[i].count, 1);
    }

    ok(finalize() == NGX_HTTP_BATCH_FINAL_OK
       && f.final.status == BATCH_COMPLETED,
       "completed");

    at = 1700000009;
    ok(ngx_http_batch_cancel_mark(id, &at, log_) == NGX_DECLINED,
       "a cancel after the end is refused");
    ok(ngx_http_batch_cancel_read(id, &at, log_) == NGX_DECLINED && at == 0,
       "and is none");

    begin();

    at = 1700000009;
    ok(ngx_http_batch_cancel_mark(id, &at, log_) == NGX_OK, "cancelled");

    at = 1700000010;
    ok(ngx_http_batch_cancel_mark(id, &at, log_) == NGX_OK
       && at == 1700000009, "twice: the first one's time");
    ok(ngx_http_batch_cancel_close(id, &at, log_) == NGX_DECLINED
       && at == 1700000009, "no other end then");
    ok(finalize() == NGX_HTTP_BATCH_FINAL_OK
       && f.final.status == BATCH_CANCELLED,
       "cancelled it ends");
}


int
main(int argc, char **argv)
{
    if (argc != 2) {
        return 2;
    }

    log_ = shim_log();
    help_store(argv[1]);
    help_route.file_ttl = 1000;

    test_completed();
    test_order();
    test_void();
    test_cancelled(NGX_HTTP_BATCH_ORDER_INPUT);
    test_cancelled(NGX_HTTP_BATCH_ORDER_COMPLETION);
    test_early();
    test_decision();
    test_race();
    test_restore();

    clear();
    ngx_http_batch_plan_free(&plan);
    ngx_http_batch_layout_close();
    free(help_dir.data);

    return test_done("job: finalizing");
}
