/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * An answer becomes a line of the output file or of the error file.
 *
 * The body is compacted as it comes in, straight into the entry that the
 * journal will write: what comes before it there (id, custom_id, status,
 * request_id) is known with the header.  Only when the body turns out not to be
 * JSON is the entry made again, of the first bytes, which are kept for that.
 *
 * Shapes (OpenAI's):
 *   {"id": "batch_req_..", "custom_id": "..", "response": {"status_code": 200,
 *    "request_id": "..", "body": {..}}, "error": null}
 *   ... and, behind "error", "repaired": true if the body's text was broken
 *   {"id": "batch_req_..", "custom_id": "..", "response": null,
 *    "error": {"code": "..", "message": ".."}}
 */

#include "ngx_http_batch_line.h"
#include "batch_crc32c.h"


static ngx_int_t ngx_http_batch_answer_room(ngx_http_batch_line_t *line,
    size_t n);
static void ngx_http_batch_answer_begin(ngx_http_batch_line_t *line);
static u_char *ngx_http_batch_answer_front(ngx_http_batch_line_t *line,
    size_t n);
static ngx_http_batch_entry_t *ngx_http_batch_answer_response(
    ngx_http_batch_line_t *line, ngx_http_batch_answer_e verdict);
static ngx_http_batch_entry_t *ngx_http_batch_answer_wrapped(
    ngx_http_batch_line_t *line);
static ngx_int_t ngx_http_batch_answer_too_large(ngx_http_batch_line_t *line);
static void ngx_http_batch_answer_drop(ngx_http_batch_line_t *line);
static ngx_http_batch_entry_t *ngx_http_batch_answer_error(
    ngx_http_batch_line_t *line, const char *code, const char *message);
static ngx_http_batch_entry_t *ngx_http_batch_answer_entry(
    ngx_http_batch_line_t *line, ngx_uint_t kind, ngx_uint_t status);
static const char *ngx_http_batch_answer_trouble(ngx_http_batch_line_t *line,
    u_char *buf, size_t size, const char **code);
static void ngx_http_batch_answer_heard(ngx_http_batch_line_t *line,
    ngx_table_elt_t *h);
static void ngx_http_batch_answer_request_id(ngx_http_batch_line_t *line,
    ngx_str_t *value);
static ngx_msec_t ngx_http_batch_answer_retry_after(ngx_str_t *value);


#define NGX_HTTP_BATCH_ENTRY_SIZE     4096      /* bytes, at first */

/* Retry-After is a wish: an upstream cannot park a line for a day */
#define NGX_HTTP_BATCH_RETRY_MAX      300000    /* ms */

/* bytes before the body without custom_id, and after it */
#define NGX_HTTP_BATCH_FRAME_MAX      512


void
ngx_http_batch_answer_reset(ngx_http_batch_line_t *line)
{
    line->status = 0;
    line->rc = 0;
    line->retry_after = 0;
    line->len = 0;
    line->nraw = 0;
    line->received = 0;
    line->request_id_len = 0;

    line->header = 0;
    line->bad_json = 0;
    line->encoded = 0;
    line->garbled = 0;
    line->torn = 0;
    line->too_large = 0;
    line->no_memory = 0;

    ngx_http_batch_spool_free(line->spool);
    line->spool = NULL;
}


ngx_int_t
ngx_http_batch_answer_header(ngx_http_batch_line_t *line,
    ngx_http_request_t *sr)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    ngx_http_batch_answer_reset(line);

    line->header = 1;
    line->status = sr->headers_out.status;

    part = &sr->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash) {
            ngx_http_batch_answer_heard(line, &h[i]);
        }
    }

    if (line->request_id_len == 0
        && batch_id_random_hex((char *) line->request_id, 16) == BATCH_OK)
    {
        line->request_id_len = 32;
    }

    if (sr->headers_out.content_length_n > (off_t) NGX_HTTP_BATCH_ANSWER_MAX) {
        return ngx_http_batch_answer_too_large(line);
    }

    ngx_http_batch_answer_begin(line);

    return NGX_OK;
}


static ngx_inline ngx_uint_t
ngx_http_batch_answer_is(ngx_str_t *s, const char *name)
{
    return s->len == ngx_strlen(name)
           && ngx_strncasecmp(s->data, (u_char *) name, s->len) == 0;
}


static void
ngx_http_batch_answer_heard(ngx_http_batch_line_t *line, ngx_table_elt_t *h)
{
    if (ngx_http_batch_answer_is(&h->key, "Retry-After")) {
        line->retry_after = ngx_http_batch_answer_retry_after(&h->value);

    } else if (ngx_http_batch_answer_is(&h->key, "X-Request-Id")) {
        ngx_http_batch_answer_request_id(line, &h->value);

    } else if (ngx_http_batch_answer_is(&h->key, "Content-Encoding")) {
        /* not asked for: the line has no Accept-Encoding */
        line->encoded = !ngx_http_batch_answer_is(&h->value, "identity");
    }
}


/* the upstream's id is kept if it is safe inside a JSON string */

static void
ngx_http_batch_answer_request_id(ngx_http_batch_line_t *line,
    ngx_str_t *value)
{
    size_t  i;
    u_char  ch;

    if (value->len == 0 || value->len > sizeof(line->request_id)) {
        return;
    }

    for (i = 0; i < value->len; i++) {
        ch = value->data[i];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
              || (ch >= '0' && ch <= '9')
              || ch == '-' || ch == '_' || ch == '.' || ch == ':'))
        {
            return;
        }
    }

    ngx_memcpy(line->request_id, value->data, value->len);
    line->request_id_len = value->len;
}


/*
 * Seconds, or a date.  A fraction counts as the second that it has begun; what
 * only begins with digits says nothing.
 */

static ngx_msec_t
ngx_http_batch_answer_retry_after(ngx_str_t *value)
{
    u_char      *p, *last;
    time_t       when;
    ngx_msec_t   n, max;

    max = NGX_HTTP_BATCH_RETRY_MAX / 1000;
    p = value->data;
    last = p + value->len;

    if (p < last && *p >= '0' && *p <= '9') {

        for (n = 0; p < last && *p >= '0' && *p <= '9'; p++) {
            n = ngx_min(n * 10 + (*p - '0'), max);
        }

        if (p < last && *p == '.') {
            n = ngx_min(n + 1, max);

            do {
                p++;
            } while (p < last && *p >= '0' && *p <= '9');
        }

        return p == last ? n * 1000 : 0;
    }

    when = ngx_parse_http_time(value->data, value->len);

    if (when == NGX_ERROR || when <= ngx_time()) {
        return 0;
    }

    return ngx_min((ngx_msec_t) (when - ngx_time()), max) * 1000;
}


static ngx_int_t
ngx_http_batch_answer_room(ngx_http_batch_line_t *line, size_t n)
{
    size_t                   size;
    ngx_http_batch_entry_t  *entry;

    size = line->entry ? line->entry->size : 0;

    if (line->len + n <= size) {
        return NGX_OK;
    }

    size = ngx_max(ngx_max(size * 2, line->len + n),
                   NGX_HTTP_BATCH_ENTRY_SIZE);

    entry = ngx_alloc(offsetof(ngx_http_batch_entry_t, payload) + size,
                      ngx_cycle->log);
    if (entry == NULL) {
        return NGX_ERROR;
    }

    if (line->entry) {
        ngx_memcpy(entry->payload, line->entry->payload, line->len);
        ngx_free(line->entry);
    }

    entry->size = size;
    entry->spool = NULL;
    line->entry = entry;

    return NGX_OK;
}


static void
ngx_http_batch_answer_begin(ngx_http_batch_line_t *line)
{
    u_char  *p;

    p = ngx_http_batch_answer_front(line, 0);

    if (p == NULL) {
        line->no_memory = 1;
        return;
    }

    p = ngx_sprintf(p, "{\"status_code\": %ui, \"request_id\": \"%*s\", "
                    "\"body\": ", line->status, line->request_id_len,
                    line->request_id);

    line->len = p - line->entry->payload;

    batch_json_init(&line->json);

    line->json.repair = line->status >= 200 && line->status < 300
                        && line->chunk->run->conf->repair;
}


/* {"id": .., "custom_id": .., "response":_ and room for n bytes and the frame's
 * rest; NULL: no memory.  The token of custom_id is written as the client wrote
 * it, except for characters that break lines. */

static u_char *
ngx_http_batch_answer_front(ngx_http_batch_line_t *line, size_t n)
{
    u_char        *p;
    batch_json_t   json;

    n += NGX_HTTP_BATCH_FRAME_MAX
         + batch_json_bound(line->parsed.custom_id.len);

    if (ngx_http_batch_answer_room(line, n) != NGX_OK) {
        return NULL;
    }

    p = ngx_cpymem(line->entry->payload, "{\"id\": \"batch_req_",
                   sizeof("{\"id\": \"batch_req_") - 1);

    if (batch_id_random_hex((char *) p, 16) != BATCH_OK) {
        ngx_memset(p, '0', 32);
    }

    p += 32;
    p = ngx_cpymem(p, "\", \"custom_id\": ", sizeof("\", \"custom_id\": ") - 1);

    batch_json_init(&json);
    p = batch_json_feed(&json, line->parsed.custom_id.data,
                        line->parsed.custom_id.len, p);

    return ngx_cpymem(p, ", \"response\": ", sizeof(", \"response\": ") - 1);
}


ngx_int_t
ngx_http_batch_answer_body(ngx_http_batch_line_t *line, const u_char *data,
    size_t len)
{
    size_t    n;
    u_char   *p;
    uint64_t  before;

    if (line->nraw < NGX_HTTP_BATCH_HEAD_MAX) {
        n = ngx_min(len, NGX_HTTP_BATCH_HEAD_MAX - line->nraw);
        ngx_memcpy(line->raw + line->nraw, data, n);
        line->nraw += n;
    }

    line->received += len;

    if (line->no_memory || line->too_large
        || (line->spool && line->spool->failed))
    {
        return NGX_ERROR;
    }

    /* escapes may make it larger than it came */

    if (line->received > NGX_HTTP_BATCH_ANSWER_MAX
        || (line->spool && line->spool->size > NGX_HTTP_BATCH_ANSWER_MAX))
    {
        return ngx_http_batch_answer_too_large(line);
    }

    if (line->bad_json) {
        return NGX_OK;
    }

    /* two thirds of the bound are for characters that hardly ever occur, but
     * there has to be room for them */

    while (len) {
        n = ngx_min(len, 16384);

        if (ngx_http_batch_answer_room(line,
                                       batch_json_bound_of(&line->json, n)
                                       + NGX_HTTP_BATCH_FRAME_MAX)
            != NGX_OK)
        {
            line->no_memory = 1;
            return NGX_ERROR;
        }

        before = line->json.offset;

        p = batch_json_feed(&line->json, data, n,
                            line->entry->payload + line->len);

        if (p == NULL) {
            line->bad_json = 1;
            return NGX_OK;
        }

        line->len = p - line->entry->payload;

        n = (size_t) (line->json.offset - before);

        data += n;
        len -= n;

        if (line->len >= NGX_HTTP_BATCH_SPOOL_SIZE) {
            ngx_http_batch_spool_push(line);
        }
    }

    return NGX_OK;
}


/* nothing of it is kept, and its space on the disk is free at once */

static ngx_int_t
ngx_http_batch_answer_too_large(ngx_http_batch_line_t *line)
{
    line->too_large = 1;

    ngx_http_batch_answer_drop(line);

    return NGX_ERROR;
}


/*
 * line->rc: nginx itself made the answer (upstream not reached, timed out,
 * refused by a limit of the location).
 */

ngx_http_batch_answer_e
ngx_http_batch_answer_judge(ngx_http_batch_line_t *line)
{
    ngx_uint_t  status;

    if (line->timedout) {
        return NGX_HTTP_BATCH_ANSWER_FINAL;
    }

    switch (line->rc) {

    case 0:
        break;

    case NGX_HTTP_BAD_GATEWAY:
        return line->garbled ? NGX_HTTP_BATCH_ANSWER_RETRY
                             : NGX_HTTP_BATCH_ANSWER_DEAD;

    case NGX_HTTP_SERVICE_UNAVAILABLE:
    case NGX_HTTP_TOO_MANY_REQUESTS:
        return NGX_HTTP_BATCH_ANSWER_DEAD;

    case NGX_HTTP_GATEWAY_TIME_OUT:
    case NGX_HTTP_INTERNAL_SERVER_ERROR:
    case NGX_ERROR:
        return NGX_HTTP_BATCH_ANSWER_RETRY;

    default:
        return NGX_HTTP_BATCH_ANSWER_FINAL;
    }

    if (!line->header || (!line->at.last && !line->too_large)
        || line->status < 200)
    {
        /* nothing, cut in the middle, or not HTTP */
        return NGX_HTTP_BATCH_ANSWER_RETRY;
    }

    if (line->no_memory || (line->spool && line->spool->failed)) {
        return NGX_HTTP_BATCH_ANSWER_RETRY;
    }

    if (!line->too_large && !line->bad_json
        && batch_json_finish(&line->json) != BATCH_OK)
    {
        line->bad_json = 1;

        /* an error page and "204 No Content" may be empty, and then end well */

        line->torn = line->unframed
                     && (line->received
                         || (line->status < 300
                             && line->status != NGX_HTTP_NO_CONTENT
                             && line->status != 205));
    }

    status = line->status;

    if (status == NGX_HTTP_TOO_MANY_REQUESTS
        || status == NGX_HTTP_BAD_GATEWAY
        || status == NGX_HTTP_SERVICE_UNAVAILABLE)
    {
        return NGX_HTTP_BATCH_ANSWER_DEAD;
    }

    if (status == NGX_HTTP_REQUEST_TIME_OUT || status >= 500 || line->torn) {
        return NGX_HTTP_BATCH_ANSWER_RETRY;
    }

    if (status < 300 && !line->too_large && !line->bad_json && !line->encoded)
    {
        return NGX_HTTP_BATCH_ANSWER_OK;
    }

    return NGX_HTTP_BATCH_ANSWER_FINAL;
}


ngx_http_batch_entry_t *
ngx_http_batch_answer_finish(ngx_http_batch_line_t *line,
    ngx_http_batch_answer_e verdict)
{
    u_char       buf[NGX_HTTP_BATCH_HEAD_MAX * 6 + 512];
    const char  *code, *message;

    if (line->spool && line->spool->failed) {
        return NULL;
    }

    if (verdict == NGX_HTTP_BATCH_ANSWER_OK) {
        return ngx_http_batch_answer_response(line, verdict);
    }

    /* an HTTP answer other than 2xx is shown as it came */

    if (!line->timedout && line->rc == 0 && line->header && line->at.last
        && line->status >= 300 && !line->too_large && !line->no_memory)
    {
        if (line->bad_json || line->encoded) {
            return ngx_http_batch_answer_wrapped(line);
        }

        return ngx_http_batch_answer_response(line, verdict);
    }

    message = ngx_http_batch_answer_trouble(line, buf, sizeof(buf), &code);

    return ngx_http_batch_answer_error(line, code, message);
}


static ngx_http_batch_entry_t *
ngx_http_batch_answer_response(ngx_http_batch_line_t *line,
    ngx_http_batch_answer_e verdict)
{
    const ngx_str_t  *tail;

    static const ngx_str_t  usual = ngx_string("}, \"error\": null}\n");
    static const ngx_str_t  repaired = ngx_string("}, \"error\": null,"
                                                  " \"repaired\": true}\n");

    tail = line->json.repaired ? &repaired : &usual;

    if (ngx_http_batch_answer_room(line, tail->len) != NGX_OK) {
        return NULL;
    }

    ngx_memcpy(line->entry->payload + line->len, tail->data, tail->len);
    line->len += tail->len;

    return ngx_http_batch_answer_entry(line,
                                       verdict == NGX_HTTP_BATCH_ANSWER_OK
                                      ? BATCH_KIND_OUTPUT : BATCH_KIND_ERROR,
                                       line->status);
}


/* an error page that is not JSON: its text becomes the message of an error */

static ngx_http_batch_entry_t *
ngx_http_batch_answer_wrapped(ngx_http_batch_line_t *line)
{
    u_char  *p;

    ngx_http_batch_answer_drop(line);
    ngx_http_batch_answer_begin(line);

    if (line->no_memory
        || ngx_http_batch_answer_room(line, 6 * line->nraw + 512) != NGX_OK)
    {
        return NULL;
    }

    p = line->entry->payload + line->len;

    p = ngx_sprintf(p, "{\"error\": {\"message\": \"");

    if (line->encoded) {
        p = ngx_sprintf(p, "The upstream answered %ui with a Content-Encoding"
                        " that was not asked for.", line->status);

    } else if (line->nraw == 0) {
        p = ngx_sprintf(p, "The upstream answered %ui with an empty body.",
                        line->status);

    } else {
        p = batch_escape_string(p, line->raw, line->nraw);

        if (line->received > line->nraw) {
            p = ngx_sprintf(p, " [cut: %uL bytes in all]", line->received);
        }
    }

    p = ngx_sprintf(p, "\", \"type\": \"upstream_error\", \"param\": null,"
                    " \"code\": null}}");

    line->len = p - line->entry->payload;

    return ngx_http_batch_answer_response(line, NGX_HTTP_BATCH_ANSWER_FINAL);
}


/* why there is no answer to show: a code for programs, a message for people */

static const char *
ngx_http_batch_answer_trouble(ngx_http_batch_line_t *line, u_char *buf,
    size_t size, const char **code)
{
    u_char      *p, *last;
    const char  *who;

    last = buf + size - 1;
    who = line->own ? "location itself" : "upstream";

    *code = "upstream_invalid_response";

    if (line->timedout) {
        *code = "request_timeout";
        p = ngx_slprintf(buf, last, "The request was not answered within the"
                         " %M ms that a line has (attempt %ui).",
                         line->chunk->run->conf->timeout, line->attempt);

    } else if (line->rc == NGX_HTTP_GATEWAY_TIME_OUT) {
        *code = "request_timeout";
        p = ngx_slprintf(buf, last, "The upstream did not answer in time"
                         " (%ui attempts).", line->attempt);

    } else if (line->rc == NGX_HTTP_BAD_GATEWAY && line->garbled) {
        p = ngx_slprintf(buf, last, "The upstream's answer was not an"
                         " HTTP response, or its header did not end (%ui"
                         " attempts).", line->attempt);

    } else if (line->rc == NGX_HTTP_BAD_GATEWAY) {
        *code = "upstream_error";
        p = ngx_slprintf(buf, last, "No connection to the upstream, or it"
                         " closed it without an answer (%ui attempts).",
                         line->attempt);

    } else if (line->rc > 0) {
        *code = "upstream_error";
        p = ngx_slprintf(buf, last, "The request was refused by nginx with"
                         " status %i (%ui attempts).", line->rc,
                         line->attempt);

    } else if (line->too_large) {
        p = ngx_slprintf(buf, last, "The upstream's answer is larger than the"
                         " %uz bytes that are kept.",
                         (size_t) NGX_HTTP_BATCH_ANSWER_MAX);

    } else if (line->no_memory) {
        *code = "server_error";
        p = ngx_slprintf(buf, last, "There was no memory for the answer.");

    } else if (!line->header || line->status < 200) {
        p = ngx_slprintf(buf, last, "The upstream's answer was not an"
                         " HTTP response (%ui attempts).", line->attempt);

    } else if (!line->at.last) {
        *code = "upstream_error";
        p = ngx_slprintf(buf, last, "The connection to the upstream was closed,"
                         " or was silent for too long, in the middle of its"
                         " answer, after %uL bytes (%ui attempts).",
                         line->received, line->attempt);

    } else if (line->torn) {
        p = ngx_slprintf(buf, last, "The upstream's answer has no length, and"
                         " ended before its JSON did, after %uL bytes"
                         " (%ui attempts).", line->received, line->attempt);

    } else if (line->encoded) {
        p = ngx_slprintf(buf, last, "The %s answered %ui with a"
                         " Content-Encoding that was not asked for.", who,
                         line->status);

    } else if (line->received == 0) {
        p = ngx_slprintf(buf, last, "The %s answered %ui with an empty"
                         " body.", who, line->status);

    } else {
        p = ngx_slprintf(buf, last, "The %s answered %ui with a body of"
                         " %uL bytes that is not JSON: ", who, line->status,
                         line->received);
        p = batch_escape_string(p, line->raw, line->nraw);
    }

    *p = '\0';

    return (char *) buf;
}


/* what came in is not used */

static void
ngx_http_batch_answer_drop(ngx_http_batch_line_t *line)
{
    ngx_http_batch_spool_free(line->spool);

    line->spool = NULL;
    line->len = 0;
}


/* message: as it stands inside a JSON string */

static ngx_http_batch_entry_t *
ngx_http_batch_answer_error(ngx_http_batch_line_t *line, const char *code,
    const char *message)
{
    u_char  *p;

    ngx_http_batch_answer_drop(line);

    p = ngx_http_batch_answer_front(line, ngx_strlen(message));

    if (p == NULL) {
        return NULL;
    }

    p = ngx_sprintf(p, "null, \"error\": {\"code\": \"%s\", \"message\": \"",
                    code);
    p = ngx_cpymem(p, message, ngx_strlen(message));
    p = ngx_cpymem(p, "\"}}\n", 4);

    line->len = p - line->entry->payload;

    return ngx_http_batch_answer_entry(line, BATCH_KIND_ERROR, 0);
}


static ngx_http_batch_entry_t *
ngx_http_batch_answer_entry(ngx_http_batch_line_t *line, ngx_uint_t kind,
    ngx_uint_t status)
{
    batch_record_t          *r;
    ngx_http_batch_entry_t  *entry;

    entry = line->entry;
    entry->tail = line->len;
    entry->spool = line->spool;

    line->entry = NULL;
    line->spool = NULL;

    r = &entry->record;

    ngx_memzero(r, sizeof(batch_record_t));

    r->line = line->number;
    r->len = line->len;

    if (entry->spool) {
        entry->spool->line = NULL;
        r->len += entry->spool->size;
        r->crc = entry->spool->crc;
    }

    r->crc = batch_crc32c(r->crc, entry->payload, line->len);
    r->kind = kind;
    r->status = status;

    if (kind == BATCH_KIND_OUTPUT) {
        r->usage = line->json.usage;
    }

    return entry;
}
