/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What crashes have left in the store is deleted.
 */

#ifndef _NGX_HTTP_BATCH_TIDY_H_INCLUDED_
#define _NGX_HTTP_BATCH_TIDY_H_INCLUDED_

#include "ngx_http_batch.h"


#define NGX_HTTP_BATCH_TMP_AGE        (24 * 3600)   /* s; a file in tmp/ that is
                                                       open stays anyhow, on a
                                                       filesystem with locks */


void ngx_http_batch_tidy_init(ngx_cycle_t *cycle);

/* the work files of a batch that has ended, in a thread */
void ngx_http_batch_tidy_work(const char *id);


#endif /* _NGX_HTTP_BATCH_TIDY_H_INCLUDED_ */
