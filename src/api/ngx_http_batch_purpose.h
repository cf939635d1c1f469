/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The purposes of files that OpenAI's service has.
 */

#ifndef _NGX_HTTP_BATCH_PURPOSE_H_INCLUDED_
#define _NGX_HTTP_BATCH_PURPOSE_H_INCLUDED_

#include "ngx_http_batch.h"


typedef struct {
    ngx_str_t    name;
    unsigned     upload:1;             /* a client may give it */
    unsigned     download:1;           /* a file of it may be downloaded */
} ngx_http_batch_purpose_t;


/* "batch" */
extern const ngx_str_t  ngx_http_batch_purpose_batch;

/* NULL: there is no such purpose.  lenient: "batch" has the names that other
 * services have for it, too */
const ngx_http_batch_purpose_t *ngx_http_batch_purpose_find(
    const ngx_str_t *name, ngx_uint_t lenient);
ngx_uint_t ngx_http_batch_purpose_is_batch(const ngx_str_t *name);
/* writes those that a client may give: 'a', 'b' ... */
u_char *ngx_http_batch_purpose_names(u_char *p, u_char *last);


#endif /* _NGX_HTTP_BATCH_PURPOSE_H_INCLUDED_ */
