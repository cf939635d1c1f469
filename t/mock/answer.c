
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the mock says: the JSON of each endpoint, the framing of the answer
 * and the faults in it.
 */

#define _GNU_SOURCE

#include "mock.h"


#define MOCK_WORDS      12


static size_t
mock_words(span_t s, size_t max, size_t *len)
{
    size_t  i, n;

    n = 0;

    for (i = 0; i < s.len; i++) {
        if (s.p[i] != ' ' && (i == 0 || s.p[i - 1] == ' ')) {
            if (n == max) {
                break;
            }

            n++;
        }
    }

    while (i > 0 && s.p[i - 1] == ' ') {
        i--;
    }

    *len = i;

    return n;
}


/* the text that a request asks about, still escaped as it was in the body */

static span_t
mock_prompt(request_t *r)
{
    int                 i;
    span_t              body, s;
    static const char  *keys[] = { "content", "prompt", "input", NULL };

    body.p = r->body;
    body.len = r->body_len;

    for (i = 0; keys[i]; i++) {
        if (!mock_find(body, keys[i], 1, &s)) {
            continue;
        }

        if (mock_string(&s)) {
            return s;
        }

        /* an array of parts, or of strings */

        if (mock_find(s, "text", 0, &body) && mock_string(&body)) {
            return body;
        }

        for (s.p++, s.len--; s.len && *s.p == ' '; s.p++, s.len--) {
            /* void */
        }

        if (mock_string(&s)) {
            return s;
        }

        break;
    }

    s.p = "nothing";
    s.len = 7;

    return s;
}


/* how many things an embeddings request wants embedded */

static size_t
mock_inputs(span_t s)
{
    size_t  i, n, depth, items, arrays;

    if (s.len == 0 || s.p[0] != '[') {
        return 1;
    }

    items = 0;
    arrays = 0;
    depth = 0;

    for (i = 0; i < s.len; i++) {
        switch (s.p[i]) {

        case '[':
            if (++depth == 2) {
                arrays++;
            }

            break;

        case ']':
            if (--depth == 0) {
                n = items ? items : arrays;
                return n ? n : 1;
            }

            break;

        case '"':
            items++;

            for (i++; i < s.len && s.p[i] != '"'; i++) {
                if (s.p[i] == '\\') {
                    i++;
                }
            }

            break;
        }
    }

    return 1;
}


static void
mock_embeddings(request_t *r, buf_t *b)
{
    int       k;
    size_t    i, n;
    span_t    body, input;
    uint64_t  h;

    body.p = r->body;
    body.len = r->body_len;
    n = mock_find(body, "input", 0, &input) ? mock_inputs(input) : 1;
    h = r->hash;

    buf_printf(b, "\"object\":\"list\",\"data\":[");

    for (i = 0; i < n; i++) {
        buf_printf(b, "%s{\"object\":\"embedding\",\"index\":%zu,"
                   "\"embedding\":[", i ? "," : "", i);

        for (k = 0; k < 8; k++) {
            h = h * 6364136223846793005u + 1442695040888963407u;
            buf_printf(b, "%s%.6f", k ? "," : "",
                       (double) (h >> 40) / 8388608 - 1);
        }

        buf_printf(b, "]}");
    }

    buf_printf(b, "],");
}


/* the answer's text, as the inside of a JSON string */

static void
mock_text(request_t *r, buf_t *b, span_t prompt, size_t len, size_t pad)
{
    buf_add(b, "You said: ", 10);
    buf_add(b, prompt.p, len);

    if (mock_fault(r, "u2028")) {
        buf_add(b, " [\xe2\x80\xa8\xe2\x80\xa9\xc2\x85]", 11);
    }

    for ( /* void */ ; pad; pad -= (pad < 8 ? pad : 8)) {
        buf_add(b, "lorem i ", pad < 8 ? pad : 8);
    }
}


/* usage as "tokens=N" has it, without a sum, and the two counts that some
 * servers have beside it */

static void
mock_tokens(request_t *r, buf_t *b)
{
    int           i;
    const char   *v;

    static const char  *words[][2] = {
        { "tokens", "\"prompt_tokens\":" },
        { "thought", ",\"reasoning_tokens\":" },
        { "hit", ",\"prompt_cache_hit_tokens\":" }
    };

    for (i = 0; i < 3; i++) {
        v = mock_fault(r, words[i][0]);

        if (v) {
            buf_printf(b, "%s%.*s", words[i][1], (int) strcspn(v, ";"), v);
        }
    }

    buf_printf(b, ",\"completion_tokens\":1}");
}


static void
mock_json(request_t *r, buf_t *b, size_t pad)
{
    int     embeddings;
    size_t  len, in, out;
    span_t  body, prompt, model;

    prompt = mock_prompt(r);
    in = mock_words(prompt, (size_t) -1, &len);
    out = mock_words(prompt, MOCK_WORDS, &len) + 2;

    body.p = r->body;
    body.len = r->body_len;

    if (!mock_find(body, "model", 0, &model) || !mock_string(&model)) {
        model.p = "mock";
        model.len = 4;
    }

    embeddings = (strcmp(r->path, "/v1/embeddings") == 0);
    buf_printf(b, "{");

    if (embeddings) {
        mock_embeddings(r, b);

    } else if (strcmp(r->path, "/v1/completions") == 0) {
        buf_printf(b, "\"id\":\"cmpl-%016llx\",\"object\":\"text_completion\","
                   "\"created\":%llu,\"choices\":[{\"index\":0,\"text\":\"",
                   (unsigned long long) r->hash,
                   (unsigned long long) r->time / 1000);
        mock_text(r, b, prompt, len, pad);
        buf_printf(b, "\",\"logprobs\":null,\"finish_reason\":\"stop\"}],");

    } else if (strcmp(r->path, "/v1/responses") == 0) {
        buf_printf(b, "\"id\":\"resp_%016llx\",\"object\":\"response\","
                   "\"created_at\":%llu,\"status\":\"completed\",\"output\":"
                   "[{\"type\":\"message\",\"id\":\"msg_1\",\"status\":"
                   "\"completed\",\"role\":\"assistant\",\"content\":[{"
                   "\"type\":\"output_text\",\"annotations\":[],\"text\":\"",
                   (unsigned long long) r->hash,
                   (unsigned long long) r->time / 1000);
        mock_text(r, b, prompt, len, pad);
        buf_printf(b, "\"}]}],");

    } else {
        buf_printf(b, "\"id\":\"chatcmpl-%016llx\",\"object\":"
                   "\"chat.completion\",\"created\":%llu,\"choices\":[{"
                   "\"index\":0,\"message\":{\"role\":\"assistant\","
                   "\"content\":\"", (unsigned long long) r->hash,
                   (unsigned long long) r->time / 1000);
        mock_text(r, b, prompt, len, pad);
        buf_printf(b, "\"},\"finish_reason\":\"stop\"}],");
    }

    buf_printf(b, "\"model\":\"");
    buf_add(b, model.p, model.len);
    buf_printf(b, "\",\"usage\":{");

    if (embeddings) {
        buf_printf(b, "\"prompt_tokens\":%zu,\"total_tokens\":%zu}", in, in);

    } else if (strcmp(r->path, "/v1/responses") == 0) {
        buf_printf(b, "\"input_tokens\":%zu,\"input_tokens_details\":{"
                   "\"cached_tokens\":0},\"output_tokens\":%zu,"
                   "\"output_tokens_details\":{\"reasoning_tokens\":0},"
                   "\"total_tokens\":%zu}", in, out, in + out);

    } else if (mock_fault(r, "tokens")) {
        mock_tokens(r, b);

    } else {
        buf_printf(b, "\"prompt_tokens\":%zu,\"completion_tokens\":%zu,"
                   "\"total_tokens\":%zu}", in, out, in + out);
    }

    if (mock_fault(r, "echo")) {
        buf_printf(b, ",\"echo\":\"");
        buf_json(b, r->body, r->body_len);
        buf_printf(b, "\"");
    }

    if (mock_fault(r, "headers")) {
        buf_printf(b, ",\"headers\":\"");
        buf_json(b, r->head, r->head_len);
        buf_printf(b, "\"");
    }

    buf_printf(b, "}");
}


static void
mock_indent(buf_t *b, size_t depth)
{
    buf_add(b, "\r\n", 2);

    while (depth--) {
        buf_add(b, "  ", 2);
    }
}


/* the same JSON over many lines, as some servers write it */

static void
mock_pretty(buf_t *b)
{
    char    *p, *end;
    size_t   depth;
    buf_t    in;

    in = *b;
    memset(b, 0, sizeof(buf_t));
    depth = 0;
    end = in.data + in.len;

    for (p = in.data; p < end; p++) {

        if (*p == '}' || *p == ']') {
            mock_indent(b, --depth);
        }

        buf_add(b, p, 1);

        if (*p == '"') {
            for (p++; *p != '"'; p++) {
                buf_add(b, p, 1);

                if (*p == '\\') {
                    buf_add(b, ++p, 1);
                }
            }

            buf_add(b, p, 1);

        } else if (*p == '{' || *p == '[') {
            mock_indent(b, ++depth);

        } else if (*p == ',') {
            mock_indent(b, depth);

        } else if (*p == ':') {
            buf_add(b, " ", 1);
        }
    }

    buf_add(b, "\r\n", 2);
    free(in.data);
}


/* a gzip file of stored blocks: decodes everywhere, compresses nothing */

static void
mock_gzip(buf_t *b)
{
    int            k;
    buf_t          in;
    size_t         i, n;
    uint32_t       crc;
    unsigned char  h[8];

    in = *b;
    memset(b, 0, sizeof(buf_t));
    buf_add(b, "\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);

    crc = 0xffffffff;

    for (i = 0; i < in.len; i++) {
        crc ^= (unsigned char) in.data[i];

        for (k = 0; k < 8; k++) {
            crc = (crc >> 1) ^ (0xedb88320 & -(crc & 1));
        }
    }

    crc = ~crc;

    for (i = 0; i < in.len || i == 0; i += n) {
        n = in.len - i < 65535 ? in.len - i : 65535;
        h[0] = (i + n == in.len);
        h[1] = n & 0xff;
        h[2] = n >> 8;
        h[3] = ~h[1];
        h[4] = ~h[2];
        buf_add(b, (char *) h, 5);
        buf_add(b, in.data + i, n);

        if (n == 0) {
            break;
        }
    }

    for (k = 0; k < 4; k++) {
        h[k] = crc >> (8 * k);
        h[4 + k] = (uint32_t) in.len >> (8 * k);
    }

    buf_add(b, (char *) h, 8);
    free(in.data);
}


static const char *
mock_reason(int status)
{
    switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    default:  return "Status";
    }
}


static void
mock_error(buf_t *b, int status)
{
    const char  *type;

    type = status == 429 ? "rate_limit_error"
           : status >= 500 ? "server_error" : "invalid_request_error";

    buf_printf(b, "{\"error\":{\"message\":\"mock answers %d\",\"type\":\"%s\","
               "\"param\":null,\"code\":null}}", status, type);
}


/* body into out, as chunks of sizes that fall on no boundary of interest */

static void
mock_chunks(buf_t *out, buf_t *body, int cut)
{
    size_t  i, n, end;

    end = cut ? body->len / 2 : body->len;

    for (i = 0; i < end; i += n) {
        n = end - i < 3001 ? (end - i + 1) / 2 : 3001;
        buf_printf(out, "%zx\r\n", n);
        buf_add(out, body->data + i, n);
        buf_add(out, "\r\n", 2);
    }

    if (cut) {
        buf_add(out, "ffff\r\n{\"cut", 11);

    } else {
        buf_add(out, "0\r\n\r\n", 5);
    }
}


static void
mock_frame(request_t *r, answer_t *a, const char *type, buf_t *body,
    buf_t *out)
{
    const char  *v;

    buf_printf(out, "HTTP/1.1 %d %s\r\nServer: mock\r\nContent-Type: %s\r\n",
               a->status, mock_reason(a->status), type);

    v = mock_fault(r, "retry_after");

    if (v && a->status != 200) {
        buf_printf(out, "Retry-After: %.*s\r\n", (int) strcspn(v, ";"), v);
    }

    if (mock_fault(r, "xaccel")) {
        buf_printf(out, "X-Accel-Redirect: /v1/files\r\n");
    }

    if (mock_fault(r, "rid")) {
        buf_printf(out, "x-request-id: abc-123\r\n");
    }

    if (mock_fault(r, "gzip")) {
        buf_printf(out, "Content-Encoding: gzip\r\n");
        mock_gzip(body);
    }

    if (mock_fault(r, "cut")) {
        a->close = 1;
        buf_printf(out, "Content-Length: %zu\r\n\r\n",
                   body->len > 1000 ? body->len : 1000);
        buf_add(out, body->data, body->len / 2);
        return;
    }

    if (mock_fault(r, "nolength")) {
        a->close = 1;
        buf_printf(out, "Connection: close\r\n\r\n");
        buf_add(out, body->data, body->len);
        return;
    }

    if (mock_fault(r, "chunked") || mock_fault(r, "cutchunk")) {
        a->close |= (mock_fault(r, "cutchunk") != NULL);
        buf_printf(out, "Transfer-Encoding: chunked\r\n\r\n");
        mock_chunks(out, body, mock_fault(r, "cutchunk") != NULL);
        return;
    }

    buf_printf(out, "Content-Length: %zu\r\n%s\r\n", body->len,
               a->close ? "Connection: close\r\n" : "");

    if (body->len) {
        buf_add(out, body->data, body->len);
    }
}


/* the very bytes that the body's field "raw" has in hexadecimal */

static void
mock_raw(request_t *r, answer_t *a, buf_t *out)
{
    char         c;
    size_t       i;
    span_t       body, s;
    unsigned     byte;

    a->reset = (mock_fault(r, "rst") != NULL);
    a->stay = (mock_fault(r, "stay") != NULL);
    a->close = (mock_fault(r, "keep") == NULL);

    body.p = r->body;
    body.len = r->body_len;

    if (!mock_find(body, "raw", 0, &s) || !mock_string(&s)) {
        return;
    }

    for (i = 0; i + 1 < s.len; i += 2) {
        if (sscanf(s.p + i, "%2x", &byte) != 1) {
            break;
        }

        c = (char) byte;
        buf_add(out, &c, 1);
    }
}


static int
mock_known(const char *path)
{
    int                 i;
    static const char  *paths[] = { "/v1/chat/completions", "/v1/completions",
                                    "/v1/embeddings", "/v1/responses",
                                    "/v1/moderations", "/v1/images/generations",
                                    "/v1/rerank", "/v1/score", "/v1/messages",
                                    "/chat/completions", "/own/thing", NULL };

    for (i = 0; paths[i]; i++) {
        if (strcmp(path, paths[i]) == 0) {
            return 1;
        }
    }

    return 0;
}


/* the body of an answer that goes well, of exactly "size" bytes if asked */

static const char *
mock_good(request_t *r, buf_t *b)
{
    size_t  size;

    if (mock_fault(r, "empty")) {
        return "application/json";
    }

    if (mock_fault(r, "nonjson")) {
        buf_printf(b, "this is \"not\" JSON\r\nbut two lines\n");
        return "text/plain";
    }

    mock_json(r, b, 0);
    size = mock_number(r, "size", 0);

    if (size > b->len) {
        size -= b->len;
        b->len = 0;
        mock_json(r, b, size);
    }

    if (mock_fault(r, "pretty")) {
        mock_pretty(b);
    }

    return "application/json; charset=utf-8";
}


void
mock_answer(request_t *r, answer_t *a, buf_t *out)
{
    buf_t        body;
    const char  *type;

    memset(a, 0, sizeof(answer_t));
    memset(&body, 0, sizeof(buf_t));
    a->status = 200;
    a->drip = -1;
    a->close = r->close;
    type = "application/json";

    if (mock_admin(r, &body)) {
        a->admin = 1;
        mock_frame(r, a, type, &body, out);
        free(body.data);
        return;
    }

    mock_script(r);
    r->hash = mock_hash(r->body, r->body_len);
    r->healed = (mock_attempt(r->hash)
                 > (unsigned long) mock_number(r, "times", 0x7fffffff));

    a->slow = mock_number(r, "slow", 0);
    a->early = (mock_fault(r, "early") != NULL);
    a->drip = mock_number(r, "drip", -1);
    a->drip_bytes = mock_number(r, "piece", 64);

    if (strcmp(r->path, "/v1/models") == 0) {
        buf_printf(&body, "{\"object\":\"list\",\"data\":[{\"id\":\"mock\","
                   "\"object\":\"model\",\"created\":0,\"owned_by\":"
                   "\"mock\"}]}");

    } else if (!mock_known(r->path)) {
        a->status = 404;

    } else if (strcmp(r->method, "POST") != 0) {
        a->status = 405;

    } else if (mock_fault(r, "hang")) {
        a->hang = 1;

    } else if (mock_fault(r, "close")) {
        a->close = 1;
        a->status = 0;

    } else if (mock_fault(r, "garbage")) {
        a->close = 1;
        a->status = 0;
        buf_printf(out, "\x16\x03\x01 no HTTP at all\n\n{}");

    } else if (mock_fault(r, "raw")) {
        a->status = 0;
        mock_raw(r, a, out);

    } else if (mock_fault(r, "html500")) {
        a->status = 500;
        type = "text/html";
        buf_printf(&body, "<html>\r\n<body>500 \"mock\"</body>\r\n</html>\r\n");

    } else if (mock_fault(r, "status")) {
        a->status = mock_number(r, "status", 500);
    }

    mock_entry(r, a->status);

    if (!a->hang && a->status) {

        if (a->status == 200 && body.len == 0) {
            type = mock_good(r, &body);

        } else if (a->status != 200 && body.len == 0) {
            mock_error(&body, a->status);
        }

        mock_frame(r, a, type, &body, out);
    }

    free(body.data);
}
