/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A batch's output and error file while they are made.  In a thread.
 */

#ifndef _NGX_HTTP_BATCH_RESULT_H_INCLUDED_
#define _NGX_HTTP_BATCH_RESULT_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_store.h"

#define NGX_HTTP_BATCH_SINK_SIZE   (512 * 1024)      /* of a buffered write */
#define NGX_HTTP_BATCH_VIEW_SIZE   (256 * 1024)      /* of a buffered read */

#define NGX_HTTP_BATCH_SINK_OUTPUT  0
#define NGX_HTTP_BATCH_SINK_ERROR   1

/* a file in tmp/, made with its first byte */
typedef struct {
    ngx_fd_t                      fd;
    char                          tmp[NGX_HTTP_BATCH_TMP_LEN];
    u_char                       *buf;
    size_t                        len;         /* bytes in buf */
    off_t                         off;         /* of buf[0] in the file */
} ngx_http_batch_sink_t;

typedef struct {
    uint64_t                      lines[2];
    uint64_t                      ok;
    uint64_t                      failed;
    batch_usage_t                 usage;       /* of the OUTPUT records */
    off_t                         pos[2];      /* only set in marks */
} ngx_http_batch_tally_t;

/* the part of a segment that was read last */
typedef struct {
    u_char                       *buf;
    ngx_fd_t                      fd;
    off_t                         off;         /* of buf[0] in the file */
    size_t                        len;
} ngx_http_batch_result_view_t;

typedef struct {
    ngx_http_batch_sink_t         sinks[2];
    ngx_http_batch_tally_t        tally;
    ngx_http_batch_result_view_t  view;
    ngx_log_t                    *log;
} ngx_http_batch_result_t;

void ngx_http_batch_result_init(ngx_http_batch_result_t *r, ngx_log_t *log);

/* what is not published is gone */
void ngx_http_batch_result_free(ngx_http_batch_result_t *r);

/* where the files end now, and back to there */
void ngx_http_batch_result_mark(ngx_http_batch_result_t *r,
    ngx_http_batch_tally_t *mark);
void ngx_http_batch_result_rollback(ngx_http_batch_result_t *r,
    const ngx_http_batch_tally_t *mark);

/* Copies the record that the pick names from its segment, which has the tag,
 * checking all of it.
 * NGX_OK; NGX_DECLINED: it is not what the pick says, nothing was copied;
 * NGX_ERROR: the result could not be written. */
ngx_int_t ngx_http_batch_result_copy(ngx_http_batch_result_t *r,
    ngx_fd_t segment, uint64_t tag, const batch_pick_t *pick);

/* the same with a record and its line that are in memory; NGX_OK, NGX_ERROR */
ngx_int_t ngx_http_batch_result_put(ngx_http_batch_result_t *r,
    const batch_record_t *record, const u_char *line);

/* must be called before a segment is closed: its number may come again */
void ngx_http_batch_result_forget(ngx_http_batch_result_t *r);

/* the line of a request that was not executed: batch_cancelled or
 * batch_expired; custom_id is the token of the input */
ngx_int_t ngx_http_batch_result_fill(ngx_http_batch_result_t *r,
    const batch_str_t *custom_id, batch_status_e status);

/* Publishes a file as a blob under the id, durably; *bytes = its size. */
ngx_int_t ngx_http_batch_result_publish(ngx_http_batch_result_t *r,
    ngx_uint_t sink, const char *file_id, off_t *bytes);

#endif
