/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * batch_redis: where it is, and how to log in.
 */

#include "ngx_http_batch_conf.h"


static char *ngx_http_batch_conf_redis_address(ngx_conf_t *cf,
    ngx_http_batch_redis_conf_t *rcf, ngx_str_t *value);
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

    if (rcf->host.data) {
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
    u_char      *p;
    ngx_url_t    u;
    ngx_addr_t  *addr;

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

    p = ngx_pnalloc(cf->pool, NGX_SOCKADDR_STRLEN + 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    rcf->host.data = p;
    addr = &u.addrs[0];

    if (u.family == AF_UNIX) {
        rcf->host.len = u.host.len ? u.host.len : value->len - 5;
        rcf->host.data = ngx_pnalloc(cf->pool, value->len + 1);
        if (rcf->host.data == NULL) {
            return NGX_CONF_ERROR;
        }

        rcf->host.len = value->len - 5;
        (void) ngx_cpystrn(rcf->host.data, value->data + 5,
                           rcf->host.len + 1);
        rcf->port = 0;

        return NGX_CONF_OK;
    }

    rcf->host.len = ngx_sock_ntop(addr->sockaddr, addr->socklen, p,
                                  NGX_SOCKADDR_STRLEN, 0);
    rcf->port = ngx_inet_get_port(addr->sockaddr);

    if (p[0] == '[') {
        /* hiredis takes IPv6 addresses without brackets */
        rcf->host.data++;
        rcf->host.len -= 2;
    }

    rcf->host.data[rcf->host.len] = '\0';

    return NGX_CONF_OK;
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
