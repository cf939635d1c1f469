/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A location without batch_tenant has one tenant, whose name is empty.  Where
 * there is the directive, an empty value is nobody's: what should have named
 * the tenant has not.  The name goes into manifests, which are JSON, so it is
 * text; mending one that is not could make two tenants one.
 */

#include "ngx_http_batch_tenant.h"


#define NGX_HTTP_BATCH_TENANT_QUIET  60000         /* ms between messages */


typedef enum {
    NGX_HTTP_BATCH_TENANT_EMPTY = 0,
    NGX_HTTP_BATCH_TENANT_SEVERAL,
    NGX_HTTP_BATCH_TENANT_NO_TEXT,
    NGX_HTTP_BATCH_TENANT_REASONS
} ngx_http_batch_tenant_reason_e;


typedef struct {
    const char   *client;
    const char   *log;
    ngx_msec_t    quiet;               /* until then; 0: not said yet */
    ngx_uint_t    unsaid;              /* since then */
} ngx_http_batch_tenant_reason_t;


static ngx_int_t ngx_http_batch_tenant_refuse(ngx_http_request_t *r,
    ngx_http_batch_tenant_reason_e n, const char **why);
static ngx_uint_t ngx_http_batch_tenant_several(ngx_http_request_t *r,
    ngx_http_batch_tenant_conf_t *from);
static ngx_uint_t ngx_http_batch_tenant_is(const ngx_table_elt_t *h,
    const ngx_str_t *name);


/* in the order of ngx_http_batch_tenant_reason_e */

static ngx_http_batch_tenant_reason_t  ngx_http_batch_tenant_reasons[] = {

    { "The request does not say which tenant it is of: its tenant is empty.",
      "the value of \"batch_tenant\" is empty", 0, 0 },

    { "The request has more than one header that says which tenant it is of. "
      "Expected exactly one.",
      "it has several of a header that decides about \"batch_tenant\"", 0, 0 },

    { "The tenant of this request is not valid. Expected UTF-8 text of at most "
      "256 bytes.",
      "the value of \"batch_tenant\" is too long, or no text", 0, 0 }
};


ngx_int_t
ngx_http_batch_tenant_find(ngx_http_request_t *r,
    ngx_http_batch_api_ctx_t *ctx, const char **why)
{
    ngx_http_batch_loc_conf_t  *route;

    route = ctx->conf->api;

    if (route->tenant == NULL) {
        return NGX_OK;
    }

    if (ngx_http_batch_tenant_several(r, route->from)) {
        return ngx_http_batch_tenant_refuse(r, NGX_HTTP_BATCH_TENANT_SEVERAL,
                                            why);
    }

    if (ngx_http_complex_value(r, route->tenant, &ctx->tenant) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->tenant.len == 0) {
        return ngx_http_batch_tenant_refuse(r, NGX_HTTP_BATCH_TENANT_EMPTY,
                                            why);
    }

    if (ctx->tenant.len > NGX_HTTP_BATCH_TENANT_MAX
        || !batch_utf8_valid(ctx->tenant.data, ctx->tenant.len))
    {
        return ngx_http_batch_tenant_refuse(r, NGX_HTTP_BATCH_TENANT_NO_TEXT,
                                            why);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_tenant_refuse(ngx_http_request_t *r,
    ngx_http_batch_tenant_reason_e n, const char **why)
{
    ngx_http_batch_tenant_reason_t  *reason;

    reason = &ngx_http_batch_tenant_reasons[n];
    *why = reason->client;

    if (reason->quiet
        && (ngx_msec_int_t) (ngx_current_msec - reason->quiet) < 0)
    {
        reason->unsaid++;
        return NGX_DECLINED;
    }

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "batch: request refused, %s, %ui more since the last"
                  " message", reason->log, reason->unsaid);

    reason->quiet = (ngx_current_msec + NGX_HTTP_BATCH_TENANT_QUIET) | 1;
    reason->unsaid = 0;

    return NGX_DECLINED;
}


/*
 * nginx 1.22 takes the first of several headers of a name, later ones join
 * them: with the version, files would change hands.
 */

static ngx_uint_t
ngx_http_batch_tenant_several(ngx_http_request_t *r,
    ngx_http_batch_tenant_conf_t *from)
{
    ngx_str_t        *name;
    ngx_uint_t        i, n, found;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    name = from->headers.elts;

    for (n = 0; n < from->headers.nelts; n++) {
        found = 0;

        for (part = &r->headers_in.headers.part; part; part = part->next) {
            h = part->elts;

            for (i = 0; i < part->nelts; i++) {
                found += ngx_http_batch_tenant_is(&h[i], &name[n]);
            }
        }

        if (found > 1) {
            return 1;
        }
    }

    return 0;
}


/* as nginx finds that of $http_<name> */

static ngx_uint_t
ngx_http_batch_tenant_is(const ngx_table_elt_t *h, const ngx_str_t *name)
{
    u_char  ch;
    size_t  i;

    if (h->key.len != name->len) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        ch = h->key.data[i];
        ch = (ch == '-') ? '_' : ngx_tolower(ch);

        if (ch != name->data[i]) {
            return 0;
        }
    }

    return 1;
}
