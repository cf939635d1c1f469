/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What has expired is deleted, by one worker of a node: files, uploads.
 */

#ifndef _NGX_HTTP_BATCH_SWEEP_H_INCLUDED_
#define _NGX_HTTP_BATCH_SWEEP_H_INCLUDED_

#include "ngx_http_batch.h"


#define NGX_HTTP_BATCH_TMP_AGE        (24 * 3600)   /* s; a file in tmp/ that is
                                                       open stays anyhow, on a
                                                       filesystem with locks */


void ngx_http_batch_sweep_init(ngx_cycle_t *cycle);


#endif /* _NGX_HTTP_BATCH_SWEEP_H_INCLUDED_ */
