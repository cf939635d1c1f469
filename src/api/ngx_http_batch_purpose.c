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


/* in the documentations of Together and of Maritaca */

static const ngx_str_t  ngx_http_batch_purpose_others[] = {
    ngx_string("batch-api"),
    ngx_string("batch_input"),
    ngx_null_string
};


static ngx_uint_t
ngx_http_batch_purpose_other(const ngx_str_t *name)
{
    const ngx_str_t  *other;

    for (other = ngx_http_batch_purpose_others; other->len; other++) {

        if (other->len == name->len
            && ngx_memcmp(other->data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


const ngx_http_batch_purpose_t *
ngx_http_batch_purpose_find(const ngx_str_t *name, ngx_uint_t lenient)
{
    const ngx_http_batch_purpose_t  *purpose;

    if (lenient && ngx_http_batch_purpose_other(name)) {
        name = &ngx_http_batch_purpose_batch;
    }

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
