/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Idempotency-Key: the same request with the same key makes one object, for 24
 * hours.  The key is claimed on disk, in the task that publishes the object,
 * right before it.
 */

#include "ngx_http_batch_api.h"
#include "ngx_http_batch_keys.h"


#define NGX_HTTP_BATCH_IDEM_KEY  255               /* bytes */


static ngx_int_t ngx_http_batch_idem_find(ngx_http_request_t *r,
    ngx_str_t *key);
static void ngx_http_batch_idem_cleanup(void *data);
static void ngx_http_batch_idem_text(ngx_sha1_t *sha1, const ngx_str_t *s);
static void ngx_http_batch_idem_request(ngx_http_batch_idem_t *idem,
    char request[41]);


/* NGX_DECLINED: there is none; NGX_ERROR: there are several */

static ngx_int_t
ngx_http_batch_idem_find(ngx_http_request_t *r, ngx_str_t *key)
{
    ngx_int_t         rc;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    rc = NGX_DECLINED;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len == sizeof("Idempotency-Key") - 1
                && ngx_strcasecmp(h[i].key.data, (u_char *) "Idempotency-Key")
                   == 0)
            {
                if (rc == NGX_OK) {
                    return NGX_ERROR;
                }

                *key = h[i].value;
                rc = NGX_OK;
            }
        }
    }

    return rc;
}


ngx_int_t
ngx_http_batch_idem_init(ngx_http_batch_op_t *op)
{
    size_t                  i;
    u_char                  digest[20];
    ngx_int_t               rc;
    ngx_str_t               key, path;
    ngx_sha1_t              sha1;
    ngx_pool_cleanup_t     *cln;
    ngx_http_batch_idem_t  *idem;

    rc = ngx_http_batch_idem_find(op->r, &key);

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    for (i = 0; rc == NGX_OK && i < key.len; i++) {
        if (key.data[i] < 0x20 || key.data[i] > 0x7e) {
            rc = NGX_ERROR;
        }
    }

    if (rc != NGX_OK || key.len == 0 || key.len > NGX_HTTP_BATCH_IDEM_KEY) {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL,
                                 "invalid_idempotency_key",
                                 "Invalid 'Idempotency-Key': expected one "
                                 "header of 1 to %d printable ASCII "
                                 "characters.", NGX_HTTP_BATCH_IDEM_KEY);
        return NGX_DONE;
    }

    idem = ngx_pcalloc(op->pool, sizeof(ngx_http_batch_idem_t));
    cln = ngx_pool_cleanup_add(op->pool, 0);

    if (idem == NULL || cln == NULL) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return NGX_DONE;
    }

    cln->handler = ngx_http_batch_idem_cleanup;
    cln->data = idem;

    ngx_sha1_init(&sha1);
    ngx_http_batch_idem_text(&sha1, &op->tenant);
    ngx_http_batch_idem_text(&sha1, &key);
    ngx_sha1_final(digest, &sha1);
    *ngx_hex_dump((u_char *) idem->key, digest, 20) = '\0';

    path = ngx_http_batch_api_path(op->r);

    ngx_sha1_init(&idem->sha1);
    ngx_http_batch_idem_text(&idem->sha1, &op->r->method_name);
    ngx_http_batch_idem_text(&idem->sha1, &path);

    op->idem = idem;

    return NGX_OK;
}


static void
ngx_http_batch_idem_cleanup(void *data)
{
    ngx_http_batch_idem_t *idem = data;

    json_decref(idem->root);
    json_decref(idem->object);
}


/* with its length, or "ab" and "c" would be "a" and "bc" */

static void
ngx_http_batch_idem_text(ngx_sha1_t *sha1, const ngx_str_t *s)
{
    uint64_t  len;

    len = s->len;

    ngx_sha1_update(sha1, &len, sizeof(uint64_t));
    ngx_sha1_update(sha1, s->data, s->len);
}


void
ngx_http_batch_idem_add(ngx_http_batch_op_t *op, const void *p, size_t len)
{
    ngx_str_t  s;

    if (op->idem) {
        s.data = (u_char *) p;
        s.len = len;
        ngx_http_batch_idem_text(&op->idem->sha1, &s);
    }
}


/* of what was added so far */

static void
ngx_http_batch_idem_request(ngx_http_batch_idem_t *idem, char request[41])
{
    u_char      digest[20];
    ngx_sha1_t  sha1;

    sha1 = idem->sha1;

    ngx_sha1_final(digest, &sha1);
    *ngx_hex_dump((u_char *) request, digest, 20) = '\0';
}


ngx_int_t
ngx_http_batch_idem_look(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    char                    request[41];
    ngx_int_t               rc;
    ngx_http_batch_idem_t  *idem;

    idem = op->idem;

    ngx_http_batch_idem_request(idem, request);

    rc = ngx_http_batch_keys_peek(idem->key, request, &idem->first,
                                       &idem->root, log);

    if (rc != NGX_DONE) {
        json_decref(idem->root);
        idem->root = NULL;
    }

    idem->replay = (rc == NGX_DONE);
    idem->other = (rc == NGX_DECLINED);

    return rc;
}


ngx_int_t
ngx_http_batch_idem_claim(ngx_http_batch_op_t *op, const ngx_str_t *object,
    ngx_log_t *log)
{
    char                    request[41];
    ngx_int_t               rc;
    ngx_http_batch_idem_t  *idem;

    idem = op->idem;

    ngx_http_batch_idem_request(idem, request);

    rc = ngx_http_batch_keys_claim(idem->key, request,
                                        op->quota.over ? NULL : object,
                                        &idem->first, &idem->root, log);

    idem->replay = (rc == NGX_DONE);
    idem->other = (rc == NGX_DECLINED);

    return rc;
}


ngx_int_t
ngx_http_batch_idem_check(ngx_http_batch_op_t *op)
{
    if (op->idem == NULL || !op->idem->other) {
        return NGX_OK;
    }

    ngx_http_batch_op_reject(op, NGX_HTTP_CONFLICT, NULL,
                             "idempotency_key_reused",
                             "The Idempotency-Key of this request was used "
                             "for another request in the last 24 hours.");
    return NGX_DONE;
}
