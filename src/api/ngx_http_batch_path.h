/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Which call of the API a request's path is: docs/API.md says what a
 * location's prefix is.
 */

#ifndef _NGX_HTTP_BATCH_PATH_H_INCLUDED_
#define _NGX_HTTP_BATCH_PATH_H_INCLUDED_

#include "ngx_http_batch.h"
#include "batch_path.h"


/* the path as the client wrote it, without the query */
ngx_str_t ngx_http_batch_path_written(ngx_http_request_t *r);

/*
 * The call in this route of a path that nginx has decoded.  written is what the
 * client wrote, or NULL if the path has been rewritten since.  NGX_DECLINED:
 * it is none.  path points into one of the two.
 */
ngx_int_t ngx_http_batch_path_find(ngx_http_batch_loc_conf_t *route,
    ngx_str_t *uri, const ngx_str_t *written, batch_path_t *path);

/* of the request, as it is now */
ngx_int_t ngx_http_batch_path_of(ngx_http_request_t *r,
    ngx_http_batch_loc_conf_t *route, batch_path_t *path);


#endif /* _NGX_HTTP_BATCH_PATH_H_INCLUDED_ */
