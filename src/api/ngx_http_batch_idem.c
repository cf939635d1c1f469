/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Idempotency-Key: the same request with the same key makes one object, for 24
 * hours.  The key is claimed on disk, in the task that publishes the object,
 * right before it.
 */

#include "ngx_http_batch_header.h"
#include "ngx_http_batch_idem.h"
#include "ngx_http_batch_keys.h"
#include "ngx_http_batch_op.h"


#define NGX_HTTP_BATCH_IDEM_KEY  255               /* bytes */


static ngx_uint_t ngx_http_batch_idem_good(const ngx_str_t *key);
static void ngx_http_batch_idem_cleanup(void *data);
static void ngx_http_batch_idem_text(ngx_sha1_t *sha1, const ngx_str_t *s);
static void ngx_http_batch_idem_request(ngx_http_batch_idem_t *idem,
    char request[41]);


ngx_int_t
ngx_http_batch_idem_init(ngx_http_batch_op_t *op)
{
    u_char                  digest[20];
    ngx_str_t               path;
    ngx_sha1_t              sha1;
    ngx_table_elt_t        *h;
    ngx_pool_cleanup_t     *cln;
    ngx_http_batch_idem_t  *idem;

    h = ngx_http_batch_header_find(&op->r->headers_in.headers,
                                   "Idempotency-Key", NULL);

    if (h == NULL) {
        return NGX_OK;
    }

    if (ngx_http_batch_header_find(&op->r->headers_in.headers,
                                   "Idempotency-Key", h)
        || !ngx_http_batch_idem_good(&h->value))
    {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL,
                                        "invalid_idempotency_key",
                                        "Invalid 'Idempotency-Key': expected "
                                        "one header of 1 to %d printable "
                                        "ASCII characters.",
                                        NGX_HTTP_BATCH_IDEM_KEY);
    }

    idem = ngx_pcalloc(op->pool, sizeof(ngx_http_batch_idem_t));
    cln = ngx_pool_cleanup_add(op->pool, 0);

    if (idem == NULL || cln == NULL) {
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    cln->handler = ngx_http_batch_idem_cleanup;
    cln->data = idem;

    ngx_sha1_init(&sha1);
    ngx_http_batch_idem_text(&sha1, &op->tenant);
    ngx_http_batch_idem_text(&sha1, &h->value);
    ngx_sha1_final(digest, &sha1);
    *ngx_hex_dump((u_char *) idem->key, digest, 20) = '\0';

    path = ngx_http_batch_path_written(op->r);

    ngx_sha1_init(&idem->sha1);
    ngx_http_batch_idem_text(&idem->sha1, &op->r->method_name);
    ngx_http_batch_idem_text(&idem->sha1, &path);

    op->idem = idem;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_batch_idem_good(const ngx_str_t *key)
{
    size_t  i;

    if (key->len == 0 || key->len > NGX_HTTP_BATCH_IDEM_KEY) {
        return 0;
    }

    for (i = 0; i < key->len; i++) {

        if (key->data[i] < 0x20 || key->data[i] > 0x7e) {
            return 0;
        }
    }

    return 1;
}


static void
ngx_http_batch_idem_cleanup(void *data)
{
    ngx_http_batch_idem_t *idem = data;

    json_decref(idem->root);
    json_decref(idem->object);
}


/* with its length, or "ab" and "c" would be the same as "a" and "bc" */

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
    if (op->idem == NULL) {
        return NGX_OK;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: request %V: idempotency key, replay:%d, other:%d",
                   &op->request_id, op->idem->replay, op->idem->other);

    if (!op->idem->other) {
        return NGX_OK;
    }

    return ngx_http_batch_op_reject(op, NGX_HTTP_CONFLICT, NULL,
                                    "idempotency_key_reused",
                                    "The Idempotency-Key of this request was "
                                    "used for another request in the last 24 "
                                    "hours. Use a new key for a new request.");
}
