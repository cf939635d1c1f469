
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the mock remembers of requests, and how it is asked for that.
 */

#include "mock.h"


#define MOCK_ATTEMPTS   4096          /* buckets */
#define MOCK_LOG        4096          /* requests remembered */


typedef struct attempt_s  attempt_t;

struct attempt_s {
    uint64_t    hash;
    unsigned    n;
    attempt_t  *next;
};


typedef struct {
    char        method[16];
    char        path[256];
    char        line[64];
    size_t      len;
    uint64_t    hash;
    uint64_t    time;
    int         status;
} entry_t;


static attempt_t  *mock_attempts[MOCK_ATTEMPTS];
static entry_t     mock_entries[MOCK_LOG];
static size_t      mock_nentries;


unsigned
mock_attempt(uint64_t hash)
{
    attempt_t  *a;

    for (a = mock_attempts[hash % MOCK_ATTEMPTS]; a; a = a->next) {
        if (a->hash == hash) {
            return ++a->n;
        }
    }

    a = mock_realloc(NULL, sizeof(attempt_t));
    a->hash = hash;
    a->n = 1;
    a->next = mock_attempts[hash % MOCK_ATTEMPTS];
    mock_attempts[hash % MOCK_ATTEMPTS] = a;

    return 1;
}


static void
mock_reset(void)
{
    size_t      i;
    attempt_t  *a;

    for (i = 0; i < MOCK_ATTEMPTS; i++) {
        while ((a = mock_attempts[i]) != NULL) {
            mock_attempts[i] = a->next;
            free(a);
        }
    }

    mock_nentries = 0;
    mock_stats.requests = 0;
    mock_stats.answered = 0;
    mock_stats.aborted = 0;
    mock_stats.connections = 0;
    mock_stats.max_inflight = mock_stats.inflight;
}


void
mock_entry(request_t *r, int status)
{
    entry_t  *e;

    e = &mock_entries[mock_nentries++ % MOCK_LOG];

    strcpy(e->method, r->method);
    strcpy(e->path, r->path);
    strcpy(e->line, r->line);
    e->len = r->body_len;
    e->hash = r->hash;
    e->time = r->time;
    e->status = status;
}


static void
mock_log(request_t *r, buf_t *b)
{
    size_t    i, n;
    entry_t  *e;

    n = MOCK_LOG;

    if (strncmp(r->query, "n=", 2) == 0) {
        n = strtoul(r->query + 2, NULL, 10);
    }

    i = mock_nentries > MOCK_LOG ? mock_nentries - MOCK_LOG : 0;

    if (mock_nentries - i > n) {
        i = mock_nentries - n;
    }

    buf_printf(b, "{\"data\":[");

    for (n = i; i < mock_nentries; i++) {
        e = &mock_entries[i % MOCK_LOG];

        buf_printf(b, "%s{\"method\":\"%s\",\"path\":\"", i > n ? "," : "",
                   e->method);
        buf_json(b, e->path, strlen(e->path));
        buf_printf(b, "\",\"line\":\"");
        buf_json(b, e->line, strlen(e->line));
        buf_printf(b, "\",\"bytes\":%zu,\"hash\":\"%016llx\",\"time\":%llu,"
                   "\"status\":%d}", e->len, (unsigned long long) e->hash,
                   (unsigned long long) e->time, e->status);
    }

    buf_printf(b, "]}");
}


int
mock_admin(request_t *r, buf_t *b)
{
    if (strcmp(r->path, "/mock/stats") == 0) {
        buf_printf(b, "{\"requests\":%lu,\"answered\":%lu,\"aborted\":%lu,"
                   "\"connections\":%lu,\"inflight\":%lu,"
                   "\"max_inflight\":%lu}",
                   mock_stats.requests, mock_stats.answered,
                   mock_stats.aborted, mock_stats.connections,
                   mock_stats.inflight, mock_stats.max_inflight);

    } else if (strcmp(r->path, "/mock/log") == 0) {
        mock_log(r, b);

    } else if (strcmp(r->path, "/mock/reset") == 0) {
        mock_reset();
        buf_printf(b, "{}");

    } else if (strcmp(r->path, "/health") == 0) {
        buf_printf(b, "{\"status\":\"ok\"}");

    } else {
        return 0;
    }

    return 1;
}
