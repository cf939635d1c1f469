/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * batch_redis: where it is, and how to log in.
 */

#include "ngx_http_batch_conf.h"


static char *ngx_http_batch_conf_redis_address(ngx_conf_t *cf,
    ngx_http_batch_redis_conf_t *rcf, ngx_str_t *value);
static ngx_int_t ngx_http_batch_conf_redis_addr(ngx_conf_t *cf,
    ngx_addr_t *addr, ngx_http_batch_redis_addr_t *redis);
static char *ngx_http_batch_conf_redis_option(ngx_conf_t *cf,
    ngx_http_batch_redis_conf_t *rcf, ngx_str_t *value);


char *
ngx_http_batch_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_batch_main_conf_t *bmcf = conf;

    char                         *rv;
    ngx_str_t                    *value;
    ngx_uint_t                    i;
    ngx_http_batch_redis_conf_t  *rcf;

    rcf = &bmcf->redis;

    if (rcf->naddrs) {
        return "is duplicate";
    }

    value = cf->args->elts;

    rcf->timeout = 2000;
    ngx_str_set(&rcf->prefix, "batch");

    rv = ngx_http_batch_conf_redis_address(cf, rcf, &value[1]);

    for (i = 2; rv == NGX_CONF_OK && i < cf->args->nelts; i++) {
        rv = ngx_http_batch_conf_redis_option(cf, rcf, &value[i]);
    }

    if (rv == NGX_CONF_OK && rcf->user.len && rcf->password.len == 0) {
        return "has \"user=\" without \"password_file=\"";
    }

    return rv;
}


/*
 * An address or a unix socket.  A name is resolved once, at configuration time,
 * as that of a "server" in upstream{} is: the resolver of hiredis blocks.
 */

static char *
ngx_http_batch_conf_redis_address(ngx_conf_t *cf,
    ngx_http_batch_redis_conf_t *rcf,
    ngx_str_t *value)
{
    ngx_url_t   u;
    ngx_uint_t  i;

    rcf->address = *value;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *value;
    u.default_port = 6379;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in \"batch_redis %V\": give host:port or"
                           " unix:/path", u.err ? u.err : "bad address",
                           value);
        return NGX_CONF_ERROR;
    }

    rcf->addrs = ngx_pcalloc(cf->pool,
                             u.naddrs * sizeof(ngx_http_batch_redis_addr_t));
    if (rcf->addrs == NULL) {
        return NGX_CONF_ERROR;
    }

    rcf->naddrs = u.naddrs;

    for (i = 0; i < u.naddrs; i++) {
        if (ngx_http_batch_conf_redis_addr(cf, &u.addrs[i], &rcf->addrs[i])
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_batch_conf_redis_addr(ngx_conf_t *cf, ngx_addr_t *addr,
    ngx_http_batch_redis_addr_t *redis)
{
    u_char                *p;
    struct sockaddr_un    *sun;

    redis->name = addr->name;

    if (addr->sockaddr->sa_family == AF_UNIX) {
        sun = (struct sockaddr_un *) addr->sockaddr;

        redis->host.data = (u_char *) sun->sun_path;
        redis->host.len = ngx_strlen(sun->sun_path);

        return NGX_OK;
    }

    p = ngx_pnalloc(cf->pool, NGX_SOCKADDR_STRLEN + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    redis->host.data = p;
    redis->host.len = ngx_sock_ntop(addr->sockaddr, addr->socklen, p,
                                    NGX_SOCKADDR_STRLEN, 0);
    redis->port = ngx_inet_get_port(addr->sockaddr);

    if (p[0] == '[') {
        /* hiredis takes IPv6 addresses without brackets */
        redis->host.data++;
        redis->host.len -= 2;
    }

    redis->host.data[redis->host.len] = '\0';

    return NGX_OK;
}


static char *
ngx_http_batch_conf_redis_option(ngx_conf_t *cf,
    ngx_http_batch_redis_conf_t *rcf,
    ngx_str_t *value)
{
    ngx_int_t  n;
    ngx_str_t  s;

    if (ngx_http_batch_conf_option(value, "db=", &s)) {
        n = ngx_atoi(s.data, s.len);
        if (n == NGX_ERROR) {
            goto invalid;
        }

        rcf->db = n;
        return NGX_CONF_OK;
    }

    if (ngx_http_batch_conf_option(value, "user=", &rcf->user)) {
        if (rcf->user.len == 0) {
            goto invalid;
        }

        return NGX_CONF_OK;
    }

    if (ngx_http_batch_conf_option(value, "prefix=", &rcf->prefix)) {
        if (rcf->prefix.len == 0
            || ngx_strlchr(rcf->prefix.data, value->data + value->len, '{')
            || ngx_strlchr(rcf->prefix.data, value->data + value->len, '}'))
        {
            goto invalid;
        }

        return NGX_CONF_OK;
    }

    if (ngx_http_batch_conf_option(value, "timeout=", &s)) {
        n = ngx_parse_time(&s, 0);
        if (n == NGX_ERROR || n == 0) {
            goto invalid;
        }

        rcf->timeout = n;
        return NGX_CONF_OK;
    }

    if (ngx_http_batch_conf_option(value, "password_file=", &s)) {
        return ngx_http_batch_conf_file(cf, "batch_redis", "password_file", &s,
                                        &rcf->password);
    }

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid option \"%V\" in \"batch_redis\": known are"
                       " db=<number>, user=<name>, password_file=<path>,"
                       " prefix=<text without braces>, timeout=<time>", value);

    return NGX_CONF_ERROR;
}
