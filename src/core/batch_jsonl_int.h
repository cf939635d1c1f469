/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What batch_jsonl.c, which reads a line, and batch_demand.c, which judges it,
 * share.
 */

#ifndef _BATCH_JSONL_INT_H_INCLUDED_
#define _BATCH_JSONL_INT_H_INCLUDED_

#include "batch_jsonl.h"
#include "batch_scan.h"

/* the keys of the body, batch_key_e, and then those of the line */

typedef enum {
    BATCH_JSONL_URL = BATCH_KEY_N,
    BATCH_JSONL_BODY,
    BATCH_JSONL_METHOD,
    BATCH_JSONL_CUSTOM_ID,
    BATCH_JSONL_NKEYS,
    BATCH_JSONL_OTHER = BATCH_JSONL_NKEYS
} batch_jsonl_key_e;

#define BATCH_JSONL_LINE  (batch_key(BATCH_JSONL_URL)                         \
                           | batch_key(BATCH_JSONL_BODY)                      \
                           | batch_key(BATCH_JSONL_METHOD)                    \
                           | batch_key(BATCH_JSONL_CUSTOM_ID))


typedef struct {
    const char            *name;
    const char            *param;
    const char            *duplicate;
} batch_jsonl_name_t;


typedef struct {
    batch_scan_t           scan;
    batch_str_t            value[BATCH_JSONL_NKEYS];
    uint64_t               inputs;
    unsigned               keys;           /* that are looked for */
    unsigned               target;
    const batch_rules_t   *rules;
    batch_line_error_t    *err;
} batch_jsonl_ctx_t;


extern const batch_jsonl_name_t  batch_jsonl_names[BATCH_JSONL_NKEYS];

/* notes the defect; always returns BATCH_ERROR */
int batch_demand_fail(batch_jsonl_ctx_t *ctx, const char *code,
    const char *param, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* what is wrong with the values that were found; sets target */
int batch_demand(batch_jsonl_ctx_t *ctx);

#endif /* _BATCH_JSONL_INT_H_INCLUDED_ */
