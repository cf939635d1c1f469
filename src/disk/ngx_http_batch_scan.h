/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the segments of a chunk hold.
 */

#ifndef _NGX_HTTP_BATCH_SCAN_H_INCLUDED_
#define _NGX_HTTP_BATCH_SCAN_H_INCLUDED_

#include "ngx_http_batch.h"

/*
 * In a thread.  Scans segments of a chunk, each made durable before a record of
 * it is trusted; one that cannot be made so does not count.  *picks and *usages
 * (NULL: not wanted) from malloc(): the records of the lines [from, to), sorted
 * by line, one a line (that of the lowest epoch).  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_batch_scan(const char *id, uint32_t chunk,
    const uint32_t *epochs, size_t nepochs, uint64_t from, uint64_t to,
    batch_pick_t **picks, batch_usage_t **usages, size_t *n, ngx_log_t *log);

#endif
