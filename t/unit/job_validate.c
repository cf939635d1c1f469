/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Validation, the check for duplicates, plans.
 */

#include "store_help.h"
#include "ngx_http_batch_check.h"
#include "ngx_http_batch_dedup.h"
#include "ngx_http_batch_validate.h"


#define URL   "/v1/chat/completions"
#define BODY  "\"body\":{\"model\":\"m\",\"messages\":[]}}"


static ngx_log_t                  *log_;
static ngx_http_batch_validate_t   v;
static json_t                     *final;      /* of the last INVALID */
static char                        batch[BATCH_ID_LEN];


static void
done(void)
{
    json_decref(final);
    final = NULL;

    json_decref(v.root);
    ngx_http_batch_final_free(&v.final);
    ngx_http_batch_plan_free(&v.plan);
    memset(&v, 0, sizeof(v));
}


static int
validate(const char *id)
{
    done();

    strcpy(v.id, id);

    ngx_http_batch_validate(&v, log_);

    if (v.final.text.data) {
        final = json_loadb((char *) v.final.text.data, v.final.text.len, 0,
                           NULL);
        ok(final != NULL, "final.json is no JSON");
    }

    return v.rc;
}


/* a file with this content and a batch of it, validated */

static int
check(const char *endpoint, const void *data, size_t len)
{
    char  file[BATCH_ID_LEN];

    help_file(file, "t", "batch", 0, data, len);
    help_batch(batch, "t", file, endpoint, "");

    return validate(batch);
}


static json_t *
err(size_t i)
{
    return json_array_get(json_object_get(final, "errors"), i);
}


static size_t
errs(void)
{
    return json_array_size(json_object_get(final, "errors"));
}


static int
is(size_t i, const char *code, int line, const char *param)
{
    json_t  *e = err(i), *p = json_object_get(e, "param");
    json_t  *l = json_object_get(e, "line");

    return e && strcmp(json_string_value(json_object_get(e, "code")), code)
                == 0
           && (line ? json_integer_value(l) == line : json_is_null(l))
           && (param ? strcmp(json_string_value(p), param) == 0
                     : json_is_null(p));
}


static const char *
message(size_t i)
{
    const char  *s = json_string_value(json_object_get(err(i), "message"));

    return s ? s : "";
}


/* chunks follow each other, hold all requests, and first_line is true */

static void
plan_is_right(const char *text, size_t len, uint64_t total)
{
    off_t                         end;
    size_t                        pos, n;
    const char                   *nl;
    uint32_t                      i, count;
    uint64_t                      line, sum;
    ngx_http_batch_plan_chunk_t  *c;

    end = v.plan.nchunks ? v.plan.chunks[0].offset : 0;
    line = 1;
    pos = 0;
    sum = 0;

    for (i = 0; i < v.plan.nchunks; i++) {
        c = &v.plan.chunks[i];

        if (c->offset != end || c->count == 0) {
            break;
        }

        while ((off_t) pos < c->offset) {
            nl = memchr(text + pos, '\n', len - pos);

            if (nl == NULL || nl - text >= c->offset) {
                break;
            }

            pos = nl - text + 1;
            line++;
        }

        if (line != c->first_line) {
            break;
        }

        end = c->offset + c->length;
        count = 0;

        while ((off_t) pos < end) {
            nl = memchr(text + pos, '\n', len - pos);
            n = (nl ? (size_t) (nl - text) : len) - pos;
            count += !batch_jsonl_blank((u_char *) text + pos, n);
            pos += n + 1;
            line++;
        }

        if (count != c->count) {
            break;
        }

        sum += count;
    }

    ok(i == v.plan.nchunks, "chunk %u", i);
    ok(end == (off_t) len, "the plan ends at %ld of %zu", (long) end, len);
    ok(sum == total && v.plan.total == total, "total");
}


static void
test_good(void)
{
    char                   *text, *t;
    size_t                  len, n;
    ngx_http_batch_plan_t   plan;

    shim_log_reset();

    text = help_lines(0, 1, &len);
    ok(check(URL, text, len) == NGX_HTTP_BATCH_VALID, "one");
    plan_is_right(text, len, 1);
    ok(v.plan.model.len == 1 && v.plan.model.data[0] == 'm', "model");
    ok(check(URL, text, len - 1) == NGX_HTTP_BATCH_VALID, "no newline");
    plan_is_right(text, len - 1, 1);
    free(text);

    text = help_lines(0, 20000, &len);
    ok(check(URL, text, len) == NGX_HTTP_BATCH_VALID, "many");
    plan_is_right(text, len, 20000);
    ok(v.plan.chunks[0].count == 2048
       && v.plan.chunks[v.plan.nchunks - 2].count == 64
       && v.plan.chunks[v.plan.nchunks - 1].count <= 64,
       "sizes %u..%u, %u in %u", v.plan.chunks[0].count,
       v.plan.chunks[v.plan.nchunks - 2].count,
       v.plan.chunks[v.plan.nchunks - 1].count, v.plan.nchunks);
    ok(ngx_http_batch_plan_read(batch, &plan, log_) == NGX_OK
       && plan.nchunks == v.plan.nchunks && plan.total == 20000
       && plan.chunks[9].offset == v.plan.chunks[9].offset
       && plan.chunks[9].length == v.plan.chunks[9].length
       && plan.chunks[9].first_line == v.plan.chunks[9].first_line
       && plan.chunks[9].count == v.plan.chunks[9].count
       && plan.in_progress_at == help_now / 1000000, "the plan on disk");
    ngx_http_batch_plan_free(&plan);

    ok(validate(batch) == NGX_HTTP_BATCH_VALID && v.plan.total == 20000,
       "again");
    free(text);

    /* more granules than the table has: they double, twice */
    text = help_lines(0, 600000, &len);
    ok(check(URL, text, len) == NGX_HTTP_BATCH_VALID, "granules");
    plan_is_right(text, len, 600000);
    free(text);

    /* byte-order mark, blank lines, CRLF */
    text = help_lines(0, 3, &n);
    t = malloc(n + 64);
    len = sprintf(t, "\xef\xbb\xbf\r\n \t\n%.*s\r\n\n%s\n\n",
                  (int) (strchr(text, '\n') - text), text,
                  strchr(text, '\n') + 1);
    ok(check(URL, t, len) == NGX_HTTP_BATCH_VALID, "%s",
       v.final.text.data ? (char *) v.final.text.data : "");
    plan_is_right(t, len, 3);
    ok(v.plan.chunks[0].first_line == 3, "physical numbers");
    free(t);
    free(text);

    ok(shim_log_text()[0] == '\0', "%s", shim_log_text());
}


static void
test_missing(void)
{
    char     file[BATCH_ID_LEN];
    char    *text;
    size_t   len;

    text = help_lines(0, 2, &len);

#define missing(what)                                                         \
    help_batch(batch, "t", file, URL, "");                                    \
    ok(validate(batch) == NGX_HTTP_BATCH_INVALID                              \
       && is(0, "invalid_request", 0, "file_id") && errs() == 1               \
       && strncmp(message(0), "Cannot find file ", 17) == 0, what);           \
    ok(validate(batch) == NGX_HTTP_BATCH_ENDED, what)

    batch_id_make(BATCH_ID_FILE, file);
    missing("unknown");
    ok(strstr(message(0), "or organization default does not have access"),
       "%s", message(0));

    help_file(file, "other", "batch", 0, text, len);
    missing("foreign");
    help_file(file, "t", "fine-tune", 0, text, len);
    missing("purpose");
    help_file(file, "t", "batch", help_now / 1000000, text, len);
    missing("expired");
    help_file(file, "t", "batch", 0, text, len);
    ngx_http_batch_delete_file(file, log_);
    missing("deleted");
    strcpy(file, "../../etc/passwd");
    missing("no id");

    /* the link was made, then the worker died and the client deleted it */
    help_file(file, "t", "batch", 0, text, len);
    help_batch(batch, "t", file, URL, "");
    ngx_http_batch_publish_input(batch, file, log_);
    ngx_http_batch_delete_file(file, log_);
    ok(validate(batch) == NGX_HTTP_BATCH_VALID, "linked");

    help_file(file, "t", "batch", 0, text, len);
    help_batch(batch, "t", file, URL, "");
    ngx_http_batch_publish_object(NGX_HTTP_BATCH_CANCEL, batch,
                                 "{\"v\":1,\"cancelling_at\":1}", 25, log_);
    ok(validate(batch) == NGX_HTTP_BATCH_CANCELLED_EARLY && v.root,
       "cancelled");

    shim_quit = 1;
    free(text);
    text = help_lines(0, 30000, &len);
    ok(check(URL, text, len) == NGX_HTTP_BATCH_QUIT, "quit");
    shim_quit = 0;
    ok(validate(batch) == NGX_HTTP_BATCH_VALID, "after quit");
    free(text);

    shim_log_reset();
    batch_id_make(BATCH_ID_BATCH, batch);
    ok(validate(batch) == NGX_HTTP_BATCH_TROUBLE && v.root == NULL
       && shim_logged(NGX_LOG_ALERT) == 1, "no batch");
}


static void
test_defects(void)
{
    char    *text;
    size_t   len;
    static const char  bad[] =
        "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"" URL "\"," BODY
        "\n"
        "{nonsense\n"
        "{\"method\":\"POST\",\"url\":\"" URL "\"," BODY "\n"
        "\n"
        "{\"custom_id\":\"b\",\"method\":\"GET\",\"url\":\"" URL "\"," BODY
        "\n"
        "{\"custom_id\":\"c\",\"method\":\"POST\",\"url\":\"/v1/x\"," BODY
        "\n"
        "{\"custom_id\":\"d\",\"method\":\"POST\",\"url\":\"" URL "\","
        "\"body\":{\"model\":\"other\\u00e9\",\"messages\":[]}}\n"
        "{\"custom_id\":\"\\u0061\",\"method\":\"POST\",\"url\":\"" URL "\","
        BODY "\n"
        "{\"custom_id\":\"e\",\"method\":\"POST\",\"url\":\"" URL "\","
        "\"body\":{\"model\":\"\\u006d\",\"messages\":[],\"stream\":true}}\n"
        "{\"custom_id\":\"d\",\"method\":\"POST\",\"url\":\"" URL "\","
        BODY "\n";

    shim_log_reset();

    ok(check(URL, bad, sizeof(bad) - 1) == NGX_HTTP_BATCH_INVALID, "bad");
    ok(errs() == 8, "%zu", errs());
    ok(is(0, "invalid_json_line", 2, NULL), "%s", message(0));
    ok(is(1, "missing_required_parameter", 3, "custom_id"), "%s", message(1));
    ok(is(2, "invalid_method", 5, "method"), "%s", message(2));
    ok(is(3, "invalid_url", 6, "url"), "%s", message(3));
    ok(is(4, "mismatched_model", 7, "body.model")
       && strcmp(message(4), "The model 'other\xc3\xa9' for this request does "
                 "not match the rest of the batch. Each batch must contain "
                 "requests for a single model.") == 0, "%s", message(4));
    ok(is(5, "duplicate_custom_id", 8, "custom_id")
       && strcmp(message(5), "The custom_id 'a' for this request is a "
                 "duplicate of another request. The custom_id parameter must "
                 "be unique for each request in a batch.") == 0, "%s",
       message(5));
    ok(is(6, "streaming_unsupported", 9, "body.stream"), "%s", message(6));
    ok(is(7, "duplicate_custom_id", 10, "custom_id"), "%s", message(7));
    ok(ngx_http_batch_store_exists(NGX_HTTP_BATCH_INPUT, batch, log_) == 1,
       "the input stays until the index was told");
    ok(json_integer_value(json_object_get(final, "failed_at"))
       == help_now / 1000000
       && json_integer_value(json_object_get(final, "total")) == 0
       && json_is_null(json_object_get(final, "model"))
       && json_is_null(json_object_get(final, "completed_at"))
       && strcmp(json_string_value(json_object_get(final, "status")),
                 "failed") == 0, "%s", (char *) v.final.text.data);

    ok(check(URL, "", 0) == NGX_HTTP_BATCH_INVALID
       && is(0, "empty_batch", 0, NULL), "empty");
    ok(check(URL, "\xef\xbb\xbf\n \n", 6) == NGX_HTTP_BATCH_INVALID
       && is(0, "empty_batch", 0, NULL) && errs() == 1, "blank");

    help_route.max_file_size = 10;
    ok(check(URL, bad, 11) == NGX_HTTP_BATCH_INVALID && errs() == 1
       && strcmp(message(0), "The batch input file is larger than the 10 "
                 "maximum.") == 0, "%s", message(0));
    help_route.max_file_size = 0;

    help_route.max_requests = 10;
    text = help_lines(0, 11, &len);
    ok(check(URL, text, len) == NGX_HTTP_BATCH_INVALID && errs() == 1
       && is(0, "too_many_tasks", 0, NULL) && strstr(message(0), "11 ")
       && strstr(message(0), "of 10."), "%s", message(0));
    help_route.max_requests = 11;
    ok(check(URL, text, len) == NGX_HTTP_BATCH_VALID, "as many as allowed");
    help_route.max_requests = 0;
    free(text);

    ok(shim_log_text()[0] == '\0', "%s", shim_log_text());
}


static void
test_long_lines(void)
{
    char      *text, *t, *p;
    size_t     len;
    unsigned   i;

    shim_log_reset();

    /* embedding inputs */
    text = p = malloc(200000);
    p += sprintf(p, "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":"
                 "\"/v1/embeddings\",\"body\":{\"model\":\"m\",\"input\":[");
    for (i = 0; i < 50000; i++) {
        p += sprintf(p, "\"\",");
    }
    p += sprintf(p, "\"\"]}}\n");
    ok(check("/v1/embeddings", text, p - text) == NGX_HTTP_BATCH_INVALID
       && is(0, "too_many_tasks", 0, NULL) && strstr(message(0), "50001"),
       "%s", message(0));
    free(text);

    /* a line that is too long, then one that is good, then a bad one */
    text = help_lines(0, 1, &len);
    t = malloc(HELP_LINE_SIZE + 3 * len + 100);
    memset(t, ' ', HELP_LINE_SIZE + 1);
    t[0] = '{';
    p = t + HELP_LINE_SIZE + 1;
    p += sprintf(p, "\n%sx\n", text);
    ok(check(URL, t, p - t) == NGX_HTTP_BATCH_INVALID && errs() == 2
       && is(0, "invalid_json_line", 1, NULL) && strstr(message(0), "too long")
       && is(1, "invalid_json_line", 3, NULL), "%s",
       (char *) v.final.text.data);

    /* the longest one that is not */
    memcpy(t, text, len - 1);
    memset(t + len - 1, ' ', HELP_LINE_SIZE - len + 1);
    t[HELP_LINE_SIZE] = '\n';
    ok(check(URL, t, HELP_LINE_SIZE + 1) == NGX_HTTP_BATCH_VALID,
       "longest line");
    free(t);
    free(text);

    ok(shim_log_text()[0] == '\0', "%s", shim_log_text());
}


static void
test_many_defects(void)
{
    char     *text, *p;
    size_t    i, len;

    /* 5000 good lines, each of them twice, a bad one behind each second one */
    text = malloc(5000 * 300);
    p = text;

    for (i = 0; i < 5000; i++) {
        p += sprintf(p, "{\"custom_id\":\"i%zu\",\"method\":\"POST\",\"url\":"
                     "\"" URL "\"," BODY "\n", i);
    }

    for (i = 0; i < 5000; i++) {
        p += sprintf(p, "{\"custom_id\":\"i%zu\",\"method\":\"POST\",\"url\":"
                     "\"" URL "\"," BODY "\nx\n", i);
    }

    len = p - text;

    ok(check(URL, text, len) == NGX_HTTP_BATCH_INVALID && errs() == 1001,
       "%zu", errs());

    for (i = 0; i < 1000; i += 2) {
        if (!is(i, "duplicate_custom_id", 5001 + i, "custom_id")
            || !is(i + 1, "invalid_json_line", 5002 + i, NULL))
        {
            break;
        }
    }

    ok(i == 1000, "error %zu: %s", i, message(i));
    ok(is(1000, "more_errors", 0, NULL) && strstr(message(1000), "9000 "),
       "%s", message(1000));

    free(text);
}


/* whatever clients have in their lines: a bound in bytes, and a count of what is
 * left out; the index gets the first few */

static void
test_large_defects(void)
{
    int      n;
    char    *text, *p, model[1001];
    size_t   i, listed;
    json_t  *brief, *e;

    text = malloc(3000 * 1300);
    p = text;

    for (i = 0; i < 500; i++) {
        memcpy(model + 2 * i, i % 2 ? "\\\"" : "\\\\", 2);
    }

    model[1000] = '\0';

    for (i = 0; i < 3000; i++) {
        p += sprintf(p, "{\"custom_id\":\"i%zu\",\"method\":\"POST\",\"url\":"
                     "\"" URL "\",\"body\":{\"model\":\"%s%c\",\"messages\":"
                     "[]}}\n", i, model, i ? 'b' : 'a');
    }

    ok(check(URL, text, p - text) == NGX_HTTP_BATCH_INVALID, "%d", v.rc);

    listed = errs() - 1;

    ok(v.final.text.len < NGX_HTTP_BATCH_ERRORS_SIZE + 1024
       && v.final.text.len > NGX_HTTP_BATCH_ERRORS_SIZE - 2048,
       "%zu bytes", v.final.text.len);
    ok(is(0, "mismatched_model", 2, "body.model")
       && is(listed - 1, "mismatched_model", listed + 1, "body.model")
       && strlen(message(0)) < 300, "%s", message(0));
    ok(is(listed, "more_errors", 0, NULL)
       && sscanf(message(listed), "%d more lines", &n) == 1
       && n == (int) (2999 - listed), "%s", message(listed));

    brief = json_loadb((char *) v.final.brief.data, v.final.brief.len, 0,
                       NULL);
    e = json_object_get(brief, "errors");

    ok(v.final.brief.len <= NGX_HTTP_BATCH_FINAL_BRIEF
       && ngx_http_batch_final_is_brief(&v.final.brief)
       && !ngx_http_batch_final_is_brief(&v.final.text), "%zu bytes: %.*s",
       v.final.brief.len, (int) v.final.brief.len, v.final.brief.data);
    ok(json_array_size(e) > 4
       && json_equal(json_array_get(e, 0), err(0))
       && json_equal(json_object_get(brief, "status"),
                     json_object_get(final, "status")), "the first ones");

    n = 0;
    p = (char *) json_string_value(json_object_get(
                     json_array_get(e, json_array_size(e) - 1), "message"));
    ok(p && sscanf(p, "Retrieve the batch to see %d more", &n) == 1
       && n == (int) (errs() - json_array_size(e) + 1), "%s", p);

    json_decref(brief);

    /* few are few */

    ok(check(URL, "x\n", 2) == NGX_HTTP_BATCH_INVALID && errs() == 1
       && v.final.brief.data == v.final.text.data
       && !ngx_http_batch_final_is_brief(&v.final.brief), "%zu", errs());

    free(text);
}


/* the same verdict whether hashes stay in memory or are spilled */

static void
test_spill(void)
{
    char      *text, *p, *whole;
    size_t     i, len, max;
    unsigned   files;

    max = ngx_http_batch_dedup_max;
    ngx_http_batch_dedup_max = 100;
    files = help_count("tmp", "");

    text = help_lines(0, 12345, &len);
    ok(check(URL, text, len) == NGX_HTTP_BATCH_VALID, "no duplicates");
    plan_is_right(text, len, 12345);

    whole = malloc(len + 2000);
    memcpy(whole, text, len);
    p = whole + len;

    for (i = 0; i < 5; i++) {
        p += sprintf(p, "{\"custom_id\":\"\\u0069d%zu\",\"method\":\"POST\","
                     "\"url\":\"" URL "\"," BODY "\n", 12000 - i * 3000);
    }

    ok(check(URL, whole, p - whole) == NGX_HTTP_BATCH_INVALID && errs() == 5,
       "%zu", errs());

    for (i = 0; i < 5; i++) {
        ok(is(i, "duplicate_custom_id", 12346 + i, "custom_id"), "%s",
           message(i));
    }

    /* one id everywhere */
    for (i = 0, p = whole; i < 5000; i++) {
        p += sprintf(p, "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":"
                     "\"" URL "\"," BODY "\n");
        if ((size_t) (p - whole) > len) {
            break;
        }
    }

    ok(check(URL, whole, p - whole) == NGX_HTTP_BATCH_INVALID
       && errs() == 1001 && is(0, "duplicate_custom_id", 2, "custom_id")
       && is(999, "duplicate_custom_id", 1001, "custom_id"), "%zu", errs());

    ok(help_count("tmp", "") == files, "nothing is left in tmp");

    free(text);
    free(whole);
    ngx_http_batch_dedup_max = max;
}


int
main(int argc, char **argv)
{
    if (argc != 2) {
        return 2;
    }

    log_ = shim_log();
    help_store(argv[1]);

    test_good();
    test_missing();
    test_defects();
    test_long_lines();
    test_many_defects();
    test_large_defects();
    test_spill();

    done();
    ngx_http_batch_layout_close();
    free(help_dir.data);

    return test_done("job: validation");
}
