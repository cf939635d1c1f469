/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Is the index of this server filled, and who fills it.
 */

#include "ngx_http_batch_index_int.h"


static ngx_int_t ngx_http_batch_index_era_call(const char *what,
    const char *owner, ngx_msec_t lease, ngx_http_batch_index_pt cb,
    void *data);


ngx_atomic_uint_t  ngx_http_batch_index_era;


NGX_HTTP_BATCH_SCRIPT(check, CHECK, CODE, GEN);
NGX_HTTP_BATCH_SCRIPT(filled, FILLED, CODE, ANY);
NGX_HTTP_BATCH_SCRIPT(rebuild, REBUILD, CODE, ANY);


uint32_t
ngx_http_batch_index_era_name(void)
{
    uint32_t      crc;
    const char   *server;
    ngx_str_t    *prefix;
    ngx_uint_t    db;

    server = ngx_http_batch_link_server();
    prefix = &ngx_http_batch_conf->redis.prefix;
    db = ngx_http_batch_conf->redis.db;

    ngx_crc32_init(crc);
    ngx_crc32_update(&crc, (u_char *) server, ngx_strlen(server) + 1);
    ngx_crc32_update(&crc, (u_char *) &db, sizeof(ngx_uint_t));
    ngx_crc32_update(&crc, prefix->data, prefix->len);
    ngx_crc32_final(crc);

    return crc;
}


ngx_int_t
ngx_http_batch_index_era_check(int64_t since, ngx_http_batch_index_pt cb,
    void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_check, NULL);
    ngx_http_batch_args_key(&a, "gen", NULL, NULL);
    ngx_http_batch_args_server(&a, NULL);
    ngx_http_batch_args_int(&a, since);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_era_filled(int64_t begun, ngx_http_batch_index_pt cb,
    void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_filled, NULL);
    ngx_http_batch_args_server(&a, "gen");
    ngx_http_batch_args_server(&a, "rebuild");
    ngx_http_batch_args_key(&a, "gen", NULL, NULL);
    ngx_http_batch_args_text(&a, ngx_http_batch_worker_id);
    ngx_http_batch_args_server(&a, NULL);
    ngx_http_batch_args_prefix(&a, "gen");
    ngx_http_batch_args_int(&a, begun);

    return ngx_http_batch_index_send(&a, cb, data);
}


static ngx_int_t
ngx_http_batch_index_era_call(const char *what, const char *owner,
    ngx_msec_t lease, ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_rebuild, NULL);
    ngx_http_batch_args_server(&a, "rebuild");
    ngx_http_batch_args_text(&a, owner);
    ngx_http_batch_args_int(&a, (int64_t) lease);
    ngx_http_batch_args_text(&a, what);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_era_lock(ngx_msec_t lease,
    ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_era_call("take", ngx_http_batch_worker_id,
                                         lease, cb, data);
}


ngx_int_t
ngx_http_batch_index_era_renew(ngx_msec_t lease,
    ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_era_call("renew", ngx_http_batch_worker_id,
                                         lease, cb, data);
}


ngx_int_t
ngx_http_batch_index_era_unlock(const char *owner,
    ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_era_call("free", owner, 0, cb, data);
}
