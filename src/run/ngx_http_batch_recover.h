/*
 * Recovery: disk -> Redis.  When the index is empty (a new or emptied Redis)
 * one worker walks the store and fills it; until then every API call answers
 * 503.
 */

#ifndef _NGX_HTTP_BATCH_RECOVER_H_INCLUDED_
#define _NGX_HTTP_BATCH_RECOVER_H_INCLUDED_

#include "ngx_http_batch.h"

/* to be called whenever the Redis link gets READY; looks at the index at once
 * and from then on every 2 seconds, and rebuilds it in tasks when it is empty,
 * trying again every second until it is filled.  Nothing happens if that is
 * under way already. */
void ngx_http_batch_recover_start(ngx_log_t *log);

void ngx_http_batch_recover_exit(void);

#endif
