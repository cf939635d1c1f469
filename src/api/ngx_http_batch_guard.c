/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The configurations of nginx's access modules are private to them.  What is
 * read here stands at their beginning in all versions from 1.22 on.  A module
 * that nginx was built without is not found, and has no rules.
 */

#include "ngx_http_batch_guard.h"


/* ngx_http_access_loc_conf_t */

typedef struct {
    ngx_array_t               *rules;
#if (NGX_HAVE_INET6)
    ngx_array_t               *rules6;
#endif
#if (NGX_HAVE_UNIX_DOMAIN)
    ngx_array_t               *rules_un;
#endif
} ngx_http_batch_guard_access_t;


/* ngx_http_auth_basic_loc_conf_t */

typedef struct {
    ngx_http_complex_value_t  *realm;
} ngx_http_batch_guard_basic_t;


/* ngx_http_auth_request_conf_t */

typedef struct {
    ngx_str_t                  uri;
} ngx_http_batch_guard_request_t;


static ngx_uint_t ngx_http_batch_guard_local(const struct sockaddr *sa);
static ngx_uint_t ngx_http_batch_guard_ruled(ngx_http_request_t *r);
static void *ngx_http_batch_guard_conf(ngx_http_request_t *r,
    const char *module);


ngx_uint_t
ngx_http_batch_guard_open(ngx_http_request_t *r)
{
    return ngx_http_batch_guard_local(r->connection->sockaddr)
           || ngx_http_batch_guard_ruled(r);
}


static ngx_uint_t
ngx_http_batch_guard_local(const struct sockaddr *sa)
{
    const struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    const struct in6_addr      *in6;
#endif

    switch (sa->sa_family) {

    case AF_INET:
        sin = (const struct sockaddr_in *) sa;
        return (ntohl(sin->sin_addr.s_addr) >> 24) == 127;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        in6 = &((const struct sockaddr_in6 *) sa)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(in6)
               || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);
#endif

#if (NGX_HAVE_UNIX_DOMAIN)
    case AF_UNIX:
        return 1;
#endif

    default:
        return 0;
    }
}


static ngx_uint_t
ngx_http_batch_guard_ruled(ngx_http_request_t *r)
{
    ngx_http_batch_guard_basic_t    *basic;
    ngx_http_batch_guard_access_t   *access;
    ngx_http_batch_guard_request_t  *request;

    access = ngx_http_batch_guard_conf(r, "ngx_http_access_module");

    if (access
        && (access->rules
#if (NGX_HAVE_INET6)
            || access->rules6
#endif
#if (NGX_HAVE_UNIX_DOMAIN)
            || access->rules_un
#endif
           ))
    {
        return 1;
    }

    basic = ngx_http_batch_guard_conf(r, "ngx_http_auth_basic_module");

    if (basic && basic->realm
        && (basic->realm->lengths || basic->realm->value.len != 3
            || ngx_strncmp(basic->realm->value.data, "off", 3) != 0))
    {
        return 1;
    }

    request = ngx_http_batch_guard_conf(r, "ngx_http_auth_request_module");

    return request && request->uri.len;
}


/* of the request's location */

static void *
ngx_http_batch_guard_conf(ngx_http_request_t *r, const char *module)
{
    ngx_uint_t  i;

    for (i = 0; ngx_cycle->modules[i]; i++) {

        if (ngx_cycle->modules[i]->type == NGX_HTTP_MODULE
            && ngx_strcmp(ngx_cycle->modules[i]->name, module) == 0)
        {
            return r->loc_conf[ngx_cycle->modules[i]->ctx_index];
        }
    }

    return NULL;
}
