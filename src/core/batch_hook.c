/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Webhooks: ids, body and signature.
 */

#include "batch_hook.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define BATCH_HOOK_HASH  16      /* bytes of the SHA-256 in an id */


int
batch_hook_id(const char *prefix, const char *batch_id, batch_status_e status,
    char id[BATCH_HOOK_ID])
{
    int            n;
    char           text[BATCH_ID_LEN + 64], *p;
    size_t         i;
    unsigned int   len;
    unsigned char  hash[EVP_MAX_MD_SIZE];

    n = snprintf(text, sizeof(text), "%s%s.%s", prefix, batch_id,
                 batch_status_name(status));

    if (n < 0 || (size_t) n >= sizeof(text)
        || EVP_Digest(text, n, hash, &len, EVP_sha256(), NULL) != 1
        || strlen(prefix) + 2 * BATCH_HOOK_HASH >= BATCH_HOOK_ID)
    {
        return BATCH_ERROR;
    }

    p = id + snprintf(id, BATCH_HOOK_ID, "%s", prefix);

    for (i = 0; i < BATCH_HOOK_HASH; i++, p += 2) {
        snprintf(p, 3, "%02x", hash[i]);
    }

    return BATCH_OK;
}


void
batch_hook_receiver(const batch_str_t *route, const batch_str_t *tenant,
    char receiver[BATCH_HOOK_RECEIVER])
{
    size_t         i;
    uint64_t       len;
    EVP_MD_CTX    *md;
    unsigned char  hash[EVP_MAX_MD_SIZE];

    snprintf(receiver, BATCH_HOOK_RECEIVER, "1");

    md = EVP_MD_CTX_new();
    len = route->len;

    if (md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1
        && EVP_DigestUpdate(md, &len, sizeof(len)) == 1
        && EVP_DigestUpdate(md, route->data, route->len) == 1
        && EVP_DigestUpdate(md, tenant->data, tenant->len) == 1
        && EVP_DigestFinal_ex(md, hash, NULL) == 1)
    {
        for (i = 0; i < 8; i++) {
            snprintf(receiver + 2 * i, 3, "%02x", hash[i]);
        }
    }

    EVP_MD_CTX_free(md);
}


int
batch_hook_body(const char *batch_id, batch_status_e status, int64_t at,
    char body[BATCH_HOOK_BODY])
{
    int   n;
    char  id[BATCH_HOOK_ID];

    if (batch_hook_id("evt_", batch_id, status, id) != BATCH_OK) {
        return BATCH_ERROR;
    }

    n = snprintf(body, BATCH_HOOK_BODY,
                 "{\"id\":\"%s\",\"object\":\"event\","
                 "\"created_at\":%" PRId64 ",\"type\":\"batch.%s\","
                 "\"data\":{\"id\":\"%s\"}}",
                 id, at, batch_status_name(status), batch_id);

    return (n < 0 || n >= BATCH_HOOK_BODY) ? BATCH_ERROR : n;
}


int
batch_hook_sign(const batch_str_t *key, const char *id, int64_t at,
    const batch_str_t *body, char signature[BATCH_HOOK_SIGNATURE])
{
    int            n, rc;
    char          *text;
    size_t         size;
    unsigned int   len;
    unsigned char  mac[EVP_MAX_MD_SIZE];

    size = BATCH_HOOK_ID + 24 + body->len;

    if (key->len > INT_MAX || strlen(id) >= BATCH_HOOK_ID) {
        return BATCH_ERROR;
    }

    text = malloc(size);
    if (text == NULL) {
        return BATCH_ERROR;
    }

    n = snprintf(text, size, "%s.%" PRId64 ".", id, at);

    memcpy(text + n, body->data, body->len);

    rc = BATCH_ERROR;

    if (HMAC(EVP_sha256(), key->data, (int) key->len, (unsigned char *) text,
             n + body->len, mac, &len)
        != NULL)
    {
        memcpy(signature, "v1,", 3);
        EVP_EncodeBlock((unsigned char *) signature + 3, mac, (int) len);
        rc = BATCH_OK;
    }

    free(text);

    return rc;
}
