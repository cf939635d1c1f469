/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The settings of the location that a batch came in by, where only batch.json
 * knows which that was: for jobs, which begin before a chunk was opened.
 */

#ifndef _NGX_HTTP_BATCH_ROUTED_H_INCLUDED_
#define _NGX_HTTP_BATCH_ROUTED_H_INCLUDED_

#include "ngx_http_batch_run.h"


/* in a thread.  NULL: it is gone, or batch.json cannot be read */
ngx_http_batch_loc_conf_t *ngx_http_batch_routed(const char *id,
    ngx_log_t *log);

/* logged once, if it is gone.  text: batch.json */
void ngx_http_batch_routed_gone(ngx_http_batch_run_t *run,
    const ngx_str_t *text);


#endif /* _NGX_HTTP_BATCH_ROUTED_H_INCLUDED_ */
