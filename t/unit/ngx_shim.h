/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What a test sees of the shim that stands for nginx.
 */

#ifndef _NGX_SHIM_H_INCLUDED_
#define _NGX_SHIM_H_INCLUDED_

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_sha1.h>

/* what ngx_http_batch_task_quit() says */
extern ngx_uint_t  shim_quit;

ngx_log_t *shim_log(void);
void shim_log_reset(void);

/* lines of the level since the reset; all text of them */
unsigned shim_logged(ngx_uint_t level);
const char *shim_log_text(void);

#endif
