/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * batch_webhook: where it leads, and its secret.
 */

#include "ngx_http_batch_conf.h"


static char *ngx_http_batch_conf_hook_secret(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *secret);
static ngx_int_t ngx_http_batch_conf_hook_key(ngx_conf_t *cf, ngx_str_t *secret,
    ngx_str_t *key);


char *
ngx_http_batch_conf_hook(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_batch_loc_conf_t *blcf = conf;

    char                        *rv;
    u_char                      *p;
    ngx_str_t                   *value, secret;
    ngx_http_batch_hook_conf_t  *hook;

    if (blcf->hook != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        blcf->hook = NULL;
        return NGX_CONF_OK;
    }

    if (cf->args->nelts != 3) {
        return "needs \"secret_file=<path>\" or \"secret=<text>\"";
    }

    if (value[1].data[0] != '/'
        || ngx_strlchr(value[1].data, value[1].data + value[1].len, '?'))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"batch_webhook %V\" must be the path of an"
                           " internal location in the same server, for"
                           " example /batch-webhook", &value[1]);
        return NGX_CONF_ERROR;
    }

    hook = ngx_pcalloc(cf->pool, sizeof(ngx_http_batch_hook_conf_t));
    if (hook == NULL) {
        return NGX_CONF_ERROR;
    }

    hook->uri = value[1];

    hook->request_line.len = sizeof("POST  HTTP/1.1") - 1 + hook->uri.len;
    hook->request_line.data = ngx_pnalloc(cf->pool, hook->request_line.len);
    if (hook->request_line.data == NULL) {
        return NGX_CONF_ERROR;
    }

    p = ngx_cpymem(hook->request_line.data, "POST ", 5);
    p = ngx_cpymem(p, hook->uri.data, hook->uri.len);
    ngx_memcpy(p, " HTTP/1.1", 9);

    rv = ngx_http_batch_conf_hook_secret(cf, &value[2], &secret);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (ngx_http_batch_conf_hook_key(cf, &secret, &hook->key) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    blcf->hook = hook;

    return NGX_CONF_OK;
}


static char *
ngx_http_batch_conf_hook_secret(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *secret)
{
    ngx_str_t  file;

    if (ngx_http_batch_conf_option(value, "secret_file=", &file)) {
        return ngx_http_batch_conf_file(cf, "batch_webhook", "secret_file",
                                        &file, secret);
    }

    if (ngx_http_batch_conf_option(value, "secret=", secret)) {
        return NGX_CONF_OK;
    }

    /* the parameter may be the secret itself, so it is not logged */

    return "has an unknown parameter: expected is secret_file=<path> or"
           " secret=<text>";
}


/*
 * A secret is "whsec_" and base64, or else the bytes as they are, as OpenAI's
 * SDKs read it.  A secret that a receiver might read in another way is refused.
 */

static ngx_int_t
ngx_http_batch_conf_hook_key(ngx_conf_t *cf, ngx_str_t *secret, ngx_str_t *key)
{
    ngx_str_t  coded, again;

    *key = *secret;

    if (secret->len >= 6 && ngx_strncmp(secret->data, "whsec_", 6) == 0) {
        coded.data = secret->data + 6;
        coded.len = secret->len - 6;

        key->data = ngx_pnalloc(cf->pool, ngx_base64_decoded_length(coded.len));
        again.data = ngx_pnalloc(cf->pool,
                                 ngx_base64_encoded_length(coded.len));

        if (key->data == NULL || again.data == NULL) {
            return NGX_ERROR;
        }

        if (ngx_decode_base64(key, &coded) != NGX_OK) {
            goto invalid;
        }

        ngx_encode_base64(&again, key);

        if (again.len != coded.len
            || ngx_memcmp(again.data, coded.data, coded.len) != 0)
        {
            goto invalid;
        }
    }

    if (key->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the secret of \"batch_webhook\" is empty");
        return NGX_ERROR;
    }

    return NGX_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "the secret of \"batch_webhook\" begins with \"whsec_\","
                       " but what follows is not base64");
    return NGX_ERROR;
}
