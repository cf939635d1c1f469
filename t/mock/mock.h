
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the mock's connections (mock.c) and its answers (answer.c) share.
 */

#ifndef _MOCK_H_INCLUDED_
#define _MOCK_H_INCLUDED_

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>


/* bytes that grow; data belongs to the buffer */
typedef struct {
    char      *data;
    size_t     len;
    size_t     cap;
} buf_t;


typedef struct {
    char       method[16];
    char       path[256];         /* without the query */
    char       query[64];
    char       line[64];          /* X-Batch-Line, "-" without */
    char       script[256];       /* X-Mock, "" without */
    char      *head;              /* of the connection, as received */
    size_t     head_len;
    char      *body;              /* of the connection, decoded */
    size_t     body_len;
    size_t     content_length;
    uint64_t   hash;              /* of the body */
    uint64_t   time;              /* ms since the epoch */
    unsigned   chunked:1;
    unsigned   close:1;
    unsigned   expect:1;
    unsigned   healed:1;          /* past the attempts that fail */
} request_t;


/* a piece of the request's body, not terminated */
typedef struct {
    const char  *p;
    size_t       len;
} span_t;


/* how the connection treats the bytes of an answer */
typedef struct {
    int        status;
    long       slow;              /* ms before the first byte */
    long       drip;              /* ms between pieces, -1: in one go */
    size_t     drip_bytes;
    unsigned   close:1;           /* afterwards */
    unsigned   hang:1;            /* no byte, ever */
    unsigned   early:1;           /* before the body was read */
    unsigned   reset:1;           /* closed by RST, on TCP */
    unsigned   stay:1;            /* open and silent afterwards */
    unsigned   admin:1;           /* a request about the mock itself */
} answer_t;


typedef struct {
    unsigned long  requests;
    unsigned long  answered;
    unsigned long  aborted;       /* the client went away before */
    unsigned long  connections;
    unsigned long  inflight;
    unsigned long  max_inflight;
} mock_stats_t;


extern mock_stats_t  mock_stats;


/* these never fail: without memory the mock ends */
void *mock_realloc(void *p, size_t size);
void buf_reserve(buf_t *b, size_t more);
void buf_add(buf_t *b, const char *p, size_t len);
void buf_printf(buf_t *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));      /* up to 2047 bytes */

/* as the inside of a JSON string; bytes above 0x7f are taken as they are */
void buf_json(buf_t *b, const char *p, size_t len);

uint64_t mock_hash(const char *p, size_t len);

/* values in a body: 0 means there is none, and the span is undefined */
int mock_find(span_t body, const char *key, int last, span_t *value);
int mock_string(span_t *s);

/* reads the script of the body, unless the header has one */
void mock_script(request_t *r);

/* the value of a word of the script, "" for a word without one, or NULL */
const char *mock_fault(request_t *r, const char *name);
long mock_number(request_t *r, const char *name, long none);

/* head of len bytes, up to and with the empty line; -1 if it is no HTTP */
int mock_parse_head(request_t *r, char *head, size_t len);

/* true if the script asks for an answer before the body's end */
int mock_is_early(request_t *r);

/* writes the whole answer, header and body, into out */
void mock_answer(request_t *r, answer_t *a, buf_t *out);

/* which attempt at a body with this hash it is, counted from 1 */
unsigned mock_attempt(uint64_t hash);

/* remembers the request, of which the latest 4096 are kept */
void mock_entry(request_t *r, int status);

/* answers a request about the mock itself; 0 if it is none */
int mock_admin(request_t *r, buf_t *b);

#endif /* _MOCK_H_INCLUDED_ */
