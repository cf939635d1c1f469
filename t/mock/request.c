
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A request to the mock: its header, its script of faults, and values found
 * in its body without parsing the JSON around them.
 */

#define _GNU_SOURCE

#include "mock.h"

#include <ctype.h>
#include <stdarg.h>


#define MOCK_SCAN  65536


void *
mock_realloc(void *p, size_t size)
{
    p = realloc(p, size);

    if (p == NULL) {
        fprintf(stderr, "mock: no memory\n");
        exit(1);
    }

    return p;
}


void
buf_reserve(buf_t *b, size_t more)
{
    if (b->cap - b->len < more) {
        b->cap = b->len + more + b->cap / 2;
        b->data = mock_realloc(b->data, b->cap);
    }
}


void
buf_add(buf_t *b, const char *p, size_t len)
{
    buf_reserve(b, len);
    memcpy(b->data + b->len, p, len);
    b->len += len;
}


void
buf_printf(buf_t *b, const char *fmt, ...)
{
    char     text[2048];
    int      n;
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    buf_add(b, text, n);
}


/* as the inside of a JSON string; bytes above 0x7f are taken as they are */

void
buf_json(buf_t *b, const char *p, size_t len)
{
    size_t         i;
    unsigned char  ch;

    for (i = 0; i < len; i++) {
        ch = p[i];

        if (ch == '"' || ch == '\\') {
            buf_printf(b, "\\%c", ch);

        } else if (ch < 0x20 || ch == 0x7f) {
            buf_printf(b, "\\u%04x", ch);

        } else {
            buf_add(b, p + i, 1);
        }
    }
}


uint64_t
mock_hash(const char *p, size_t len)
{
    size_t    i;
    uint64_t  h;

    h = 14695981039346656037u;

    for (i = 0; i < len; i++) {
        h = (h ^ (unsigned char) p[i]) * 1099511628211u;
    }

    return h;
}


/* copies the value of a header into a field of size bytes */

static int
mock_header(const char *line, size_t len, const char *name, char *value,
    size_t size)
{
    size_t  n;

    n = strlen(name);

    if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0) {
        return 0;
    }

    line += n + 1;
    len -= n + 1;

    while (len && *line == ' ') {
        line++;
        len--;
    }

    snprintf(value, size, "%.*s", (int) len, line);

    return 1;
}


int
mock_parse_head(request_t *r, char *head, size_t len)
{
    int    n;
    char  *p, *end, *last, *q, value[64];

    memset(r, 0, sizeof(request_t));
    r->head = head;
    r->head_len = len;
    strcpy(r->line, "-");

    end = memmem(head, len, "\r\n", 2);
    last = head + len - 2;
    n = 0;

    if (sscanf(head, "%15[A-Z] %255[^ \r\n] HTTP/1.%d", r->method, r->path, &n)
        != 3)
    {
        return -1;
    }

    r->close = (n == 0);

    q = strchr(r->path, '?');

    if (q) {
        snprintf(r->query, sizeof(r->query), "%.63s", q + 1);
        *q = '\0';
    }

    for (p = end + 2; p < last; p = end + 2) {
        end = memmem(p, head + len - p, "\r\n", 2);

        if (mock_header(p, end - p, "Content-Length", value, sizeof(value))) {
            r->content_length = strtoul(value, NULL, 10);

        } else if (mock_header(p, end - p, "Transfer-Encoding", value,
                               sizeof(value)))
        {
            r->chunked = (strcasecmp(value, "chunked") == 0);

        } else if (mock_header(p, end - p, "Connection", value,
                               sizeof(value)))
        {
            r->close = (strcasecmp(value, "close") == 0);

        } else if (mock_header(p, end - p, "Expect", value, sizeof(value))) {
            r->expect = 1;
        }

        (void) mock_header(p, end - p, "X-Batch-Line", r->line,
                           sizeof(r->line));
        (void) mock_header(p, end - p, "X-Mock", r->script,
                           sizeof(r->script));
    }

    return 0;
}


/*
 * The raw value after the first or the last "key": of the body; an escaped
 * quote inside a string never looks like a key.  len runs to the body's end.
 */

int
mock_find(span_t body, const char *key, int last, span_t *value)
{
    char         name[32];
    size_t       n;
    const char  *p, *q, *end;

    n = snprintf(name, sizeof(name), "\"%s\"", key);
    p = body.p;
    end = body.p + body.len;
    value->p = NULL;

    while ((p = memmem(p, end - p, name, n)) != NULL) {

        for (q = p + n; q < end && isspace((unsigned char) *q); q++) {
            /* void */
        }

        if (q < end && *q == ':') {
            for (q++; q < end && isspace((unsigned char) *q); q++) {
                /* void */
            }

            value->p = q;
            value->len = end - q;

            if (!last) {
                break;
            }
        }

        p += n;
    }

    return value->p != NULL;
}


/* narrows a span that starts at a quote to the inside of that string */

int
mock_string(span_t *s)
{
    size_t  i;

    if (s->len == 0 || s->p[0] != '"') {
        return 0;
    }

    for (i = 1; i < s->len && s->p[i] != '"'; i++) {
        if (s->p[i] == '\\') {
            i++;
        }
    }

    if (i >= s->len) {
        return 0;
    }

    s->p++;
    s->len = i - 1;

    return 1;
}


void
mock_script(request_t *r)
{
    span_t  body, value;

    body.p = r->body;
    body.len = r->body_len;

    if (r->script[0] == '\0' && mock_find(body, "mock", 0, &value)
        && mock_string(&value) && value.len < sizeof(r->script))
    {
        memcpy(r->script, value.p, value.len);
        r->script[value.len] = '\0';
    }
}


/* the value of a word of the script, "" for a word without one, or NULL */

const char *
mock_fault(request_t *r, const char *name)
{
    size_t               n;
    const char          *p, **f;
    static const char   *faults[] = { "status", "hang", "close", "cut",
                                      "cutchunk", "garbage", "html500",
                                      "nonjson", "empty", "slow", "drip",
                                      "raw",
                                      NULL };

    /* after the last failing attempt only the harmless words count */

    for (f = faults; r->healed && *f; f++) {
        if (strcmp(name, *f) == 0) {
            return NULL;
        }
    }

    n = strlen(name);

    for (p = r->script; *p; p++) {
        if (strncmp(p, name, n) == 0) {
            if (p[n] == '=') {
                return p + n + 1;
            }

            if (p[n] == ';' || p[n] == '\0') {
                return "";
            }
        }

        p = strchr(p, ';');

        if (p == NULL) {
            break;
        }
    }

    return NULL;
}


long
mock_number(request_t *r, const char *name, long none)
{
    const char  *v;

    v = mock_fault(r, name);

    return v ? atol(v) : none;
}


int
mock_is_early(request_t *r)
{
    int        early;
    request_t  peek;

    peek = *r;

    if (peek.body_len > MOCK_SCAN) {
        peek.body_len = MOCK_SCAN;
    }

    mock_script(&peek);
    early = mock_fault(&peek, "early") != NULL;

    return early;
}
