/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The purposes of files that OpenAI's service has.
 */

#include "ngx_http_batch_purpose.h"


const ngx_str_t  ngx_http_batch_purpose_batch = ngx_string("batch");


/* in the order in which OpenAI's error names them */

static const ngx_http_batch_purpose_t  ngx_http_batch_purposes[] = {
    { ngx_string("fine-tune"), 1, 1 },
    { ngx_string("assistants"), 1, 0 },
    { ngx_string("batch"), 1, 1 },
    { ngx_string("user_data"), 1, 0 },
    { ngx_string("vision"), 1, 1 },
    { ngx_string("evals"), 1, 1 },
    { ngx_string("fine-tune-results"), 0, 1 },
    { ngx_string("assistants_output"), 0, 1 },
    { ngx_string("batch_output"), 0, 1 },
    { ngx_null_string, 0, 0 }
};


const ngx_http_batch_purpose_t *
ngx_http_batch_purpose_find(const ngx_str_t *name)
{
    const ngx_http_batch_purpose_t  *purpose;

    for (purpose = ngx_http_batch_purposes; purpose->name.len; purpose++) {

        if (purpose->name.len == name->len
            && ngx_memcmp(purpose->name.data, name->data, name->len) == 0)
        {
            return purpose;
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_batch_purpose_is_batch(const ngx_str_t *name)
{
    return name->len == ngx_http_batch_purpose_batch.len
           && ngx_memcmp(name->data, ngx_http_batch_purpose_batch.data,
                         name->len)
              == 0;
}


u_char *
ngx_http_batch_purpose_names(u_char *p, u_char *last)
{
    const ngx_http_batch_purpose_t  *purpose;

    for (purpose = ngx_http_batch_purposes; purpose->upload; purpose++) {
        p = ngx_slprintf(p, last, "%s'%V'",
                         purpose == ngx_http_batch_purposes ? "" : ", ",
                         &purpose->name);
    }

    return p;
}
