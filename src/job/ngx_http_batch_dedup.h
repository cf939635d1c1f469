/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Which custom_ids occur twice?  Keyed 64-bit hashes of the decoded ids are
 * sorted, in memory up to ngx_http_batch_dedup_max of them, beyond that in runs
 * in one unlinked file of tmp/ that are merged at the end.  Where hashes meet,
 * the ids themselves are read from the input again and compared.  In a thread.
 */

#ifndef _NGX_HTTP_BATCH_DEDUP_H_INCLUDED_
#define _NGX_HTTP_BATCH_DEDUP_H_INCLUDED_

#include "ngx_http_batch.h"

/* the longest raw token of a custom_id: every byte escaped, and the quotes */
#define NGX_HTTP_BATCH_TOKEN_MAX   (6 * BATCH_CUSTOM_ID_MAX + 2)

/* entries (24 bytes each) kept in memory; tests lower it */
extern size_t  ngx_http_batch_dedup_max;

typedef struct {
    uint64_t     hash;
    uint64_t     line;          /* number * 2, + 1 if known to be bad */
    uint64_t     offset;        /* of the token in the input */
} ngx_http_batch_dedup_entry_t;

typedef struct {
    ngx_log_t                      *log;
    ngx_fd_t                        input;
    uint64_t                        key[2];
    ngx_http_batch_dedup_entry_t   *entries;    /* from malloc() */
    size_t                          n;
    size_t                          nalloc;
    ngx_fd_t                        spill;      /* runs, one after the other */
    uint64_t                       *runs;       /* entries in each; from
                                                   malloc() */
    size_t                          nruns;
    uint64_t                        spilled;    /* entries */
} ngx_http_batch_dedup_t;

ngx_int_t ngx_http_batch_dedup_init(ngx_http_batch_dedup_t *d, ngx_fd_t input,
    ngx_log_t *log);

/* token as batch_jsonl_parse() gives it, offset its place in the input; bad:
 * the line is listed already, so only others are reported as its duplicates */
ngx_int_t ngx_http_batch_dedup_add(ngx_http_batch_dedup_t *d,
    const batch_str_t *token, uint64_t line, off_t offset, ngx_uint_t bad);

/*
 * Calls cb for every line whose custom_id occurs on an earlier line too, in no
 * order.  NGX_OK; NGX_ERROR: trouble; NGX_ABORT: the worker leaves.
 */
typedef void (*ngx_http_batch_dedup_pt)(void *ctx, uint64_t line,
    off_t offset);
ngx_int_t ngx_http_batch_dedup_finish(ngx_http_batch_dedup_t *d,
    ngx_http_batch_dedup_pt cb, void *ctx);

void ngx_http_batch_dedup_free(ngx_http_batch_dedup_t *d);

/* Reads the token at offset of the input and decodes it into out (room for
 * BATCH_CUSTOM_ID_MAX bytes).  NGX_ERROR: trouble. */
ngx_int_t ngx_http_batch_dedup_token(ngx_fd_t input, off_t offset,
    u_char *out, size_t *len, ngx_log_t *log);

#endif
