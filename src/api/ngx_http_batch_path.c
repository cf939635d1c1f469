/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The call is read from the path as the client wrote it: an id that needs
 * decoding is not an id of ours, and what a rule of the configuration names has
 * no second spelling.  A path that was rewritten is the operator's, and taken as
 * it is.
 */

#include "ngx_http_batch_path.h"


#define NGX_HTTP_BATCH_PATH_SEGMENTS  16           /* of a prefix, at most */


static ngx_int_t ngx_http_batch_path_prefix(ngx_http_batch_loc_conf_t *route,
    ngx_str_t *uri, ngx_str_t *prefix);
static ngx_uint_t ngx_http_batch_path_begins(const ngx_str_t *uri,
    const ngx_str_t *with);

#if (NGX_PCRE)
static ngx_int_t ngx_http_batch_path_regex(ngx_regex_t *re, ngx_str_t *uri,
    ngx_str_t *prefix);
#endif


ngx_str_t
ngx_http_batch_path_written(ngx_http_request_t *r)
{
    u_char     *p;
    ngx_str_t   path;

    path = r->unparsed_uri;

    for (p = path.data; p < path.data + path.len; p++) {
        if (*p == '?' || *p == '#') {
            path.len = p - path.data;
            break;
        }
    }

    return path;
}


ngx_int_t
ngx_http_batch_path_of(ngx_http_request_t *r, ngx_http_batch_loc_conf_t *route,
    batch_path_t *path)
{
    ngx_str_t  written;

    written = ngx_http_batch_path_written(r);

    return ngx_http_batch_path_find(route, &r->uri,
                                    r->valid_unparsed_uri ? &written : NULL,
                                    path);
}


ngx_int_t
ngx_http_batch_path_find(ngx_http_batch_loc_conf_t *route, ngx_str_t *uri,
    const ngx_str_t *written, batch_path_t *path)
{
    size_t     n;
    ngx_str_t  prefix, text;

    if (ngx_http_batch_path_prefix(route, uri, &prefix) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (written) {
        text = *written;
        n = batch_path_written(text.data, text.len, prefix.data, prefix.len);

        if (n == 0) {
            return NGX_DECLINED;
        }

    } else {
        text = *uri;
        n = prefix.len;
    }

    return batch_path_parse(text.data + n, text.len - n, path) == BATCH_OK
           ? NGX_OK : NGX_DECLINED;
}


/* ends with a slash; uri is one of the location, and begins with it */

static ngx_int_t
ngx_http_batch_path_prefix(ngx_http_batch_loc_conf_t *route, ngx_str_t *uri,
    ngx_str_t *prefix)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(route->ctx, ngx_http_core_module);

#if (NGX_PCRE)
    if (clcf->regex) {
        return ngx_http_batch_path_regex(clcf->regex->regex, uri, prefix);
    }
#endif

    *prefix = route->prefix;

    return (clcf->exact_match ? uri->len == clcf->name.len : 1)
           && ngx_http_batch_path_begins(uri, &clcf->name)
           && ngx_http_batch_path_begins(uri, prefix)
           ? NGX_OK : NGX_DECLINED;
}


static ngx_uint_t
ngx_http_batch_path_begins(const ngx_str_t *uri, const ngx_str_t *with)
{
    return uri->len >= with->len
           && ngx_memcmp(uri->data, with->data, with->len) == 0;
}


#if (NGX_PCRE)

/*
 * A regular expression has no prefix of its own.  It is what stands before the
 * path's first collection, if the expression has need of it: if no shorter
 * part of the path, from its beginning to a slash, matches.  "^/v1/" and
 * "^/v1/(files|batches)" have thus the prefix "/v1/", and neither lets
 * "/v1/x/files" pass.
 */

static ngx_int_t
ngx_http_batch_path_regex(ngx_regex_t *re, ngx_str_t *uri, ngx_str_t *prefix)
{
    size_t      i;
    ngx_str_t   part;
    ngx_uint_t  n;

    prefix->data = uri->data;
    prefix->len = batch_path_collection(uri->data, uri->len);

    if (prefix->len == uri->len
        || ngx_regex_exec(re, uri, NULL, 0) == NGX_REGEX_NO_MATCHED)
    {
        return NGX_DECLINED;
    }

    part.data = uri->data;
    n = 0;

    for (i = 0; i + 1 < prefix->len; i++) {

        if (uri->data[i] != '/') {
            continue;
        }

        if (n++ == NGX_HTTP_BATCH_PATH_SEGMENTS) {
            return NGX_DECLINED;
        }

        /* without the slash, and with it; an error is no reason to go on */

        for (part.len = ngx_max(i, 1); part.len <= i + 1; part.len++) {
            if (ngx_regex_exec(re, &part, NULL, 0) != NGX_REGEX_NO_MATCHED) {
                return NGX_DECLINED;
            }
        }
    }

    return NGX_OK;
}

#endif
