/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The index of webhooks: when each is to be sent, again or for the first time.
 */

#include "ngx_http_batch_index_int.h"


NGX_HTTP_BATCH_SCRIPT(hook_claim, HOOK_CLAIM, ITEMS, GEN);
NGX_HTTP_BATCH_SCRIPT(hook_set, HOOK_SET, CODE, ANY);


ngx_int_t
ngx_http_batch_index_hook_claim(ngx_uint_t limit, ngx_msec_t lease,
    ngx_msec_t longest, ngx_uint_t others, const ngx_str_t *places,
    ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_hook_claim, NULL);
    ngx_http_batch_args_key(&a, "hd", NULL, NULL);
    ngx_http_batch_args_key(&a, "hw", NULL, NULL);
    ngx_http_batch_args_int(&a, (int64_t) limit);
    ngx_http_batch_args_int(&a, (int64_t) lease);
    ngx_http_batch_args_int(&a, (int64_t) longest);
    ngx_http_batch_args_prefix(&a, "b");
    ngx_http_batch_args_prefix(&a, "hq");
    ngx_http_batch_args_int(&a, (int64_t) others);
    ngx_http_batch_args_str(&a, places);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_hook_set(const char *id, int64_t pause,
    const char *receiver, ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_hook_set, id);
    ngx_http_batch_args_key(&a, "hd", NULL, NULL);
    ngx_http_batch_args_text(&a, id);
    ngx_http_batch_args_int(&a, pause);
    ngx_http_batch_args_prefix(&a, "b");
    ngx_http_batch_args_text(&a, receiver);

    return ngx_http_batch_index_send(&a, cb, data);
}
