/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The "errors" of a batch that failed its validation.  In a thread.
 */

#ifndef _NGX_HTTP_BATCH_DEFECTS_H_INCLUDED_
#define _NGX_HTTP_BATCH_DEFECTS_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_final.h"

typedef struct {
    uint64_t                   line;
    const char                *code;       /* static */
    const char                *param;      /* static, NULL = null */
    ngx_str_t                  message;    /* malloc()ed */
} ngx_http_batch_defect_t;

typedef struct {
    uint64_t                   line;
    off_t                      offset;     /* of the custom_id in the input */
} ngx_http_batch_dup_t;

/* a zeroed one is empty */
typedef struct {
    batch_text_t               whole;      /* about no line: JSON objects */
    ngx_uint_t                 nwhole;
    ngx_http_batch_defect_t   *lines;      /* the first ones, ascending */
    size_t                     nlines;
    uint64_t                   total;      /* of lines, listed or not */
    ngx_http_batch_dup_t      *dups;       /* among them the first ones */
    size_t                     ndups;
    uint64_t                   total_dups;
    ngx_uint_t                 failed;     /* no memory */
} ngx_http_batch_defects_t;

/* about the whole file; param NULL = null; fmt as ngx_sprintf() has it */
void ngx_http_batch_defects_whole(ngx_http_batch_defects_t *d,
    const char *code, const char *param, const char *fmt, ...);

/* about a line; lines come ascending */
void ngx_http_batch_defects_line(ngx_http_batch_defects_t *d, uint64_t line,
    const char *code, const char *param, const char *fmt, ...);

/* about a line whose custom_id is at offset; lines come in any order; as
 * dedup_finish() calls it */
void ngx_http_batch_defects_dup(void *defects, uint64_t line, off_t offset);

#define ngx_http_batch_defects_any(d)                                        \
    ((d)->nwhole || (d)->total || (d)->total_dups)

/* JSON objects with commas between; reads the duplicates' ids from the input.
 * NGX_ERROR: trouble. */
ngx_int_t ngx_http_batch_defects_text(ngx_http_batch_defects_t *d,
    ngx_fd_t input, batch_text_t *t, ngx_log_t *log);

void ngx_http_batch_defects_free(ngx_http_batch_defects_t *d);

#endif
