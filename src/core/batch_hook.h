/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Webhooks: what is sent, and its signature, as OpenAI's service and Standard
 * Webhooks define them.
 *
 *   body        {"id":"evt_...","object":"event","created_at":<seconds>,
 *                "type":"batch.completed","data":{"id":"batch_..."}}
 *   signature   "v1," and base64 of HMAC-SHA256(key, id.timestamp.body)
 *
 * The ids are derived from the batch's id and status: a process that sends it
 * again, even after a crash, uses the same ones.
 */

#ifndef _BATCH_HOOK_H_INCLUDED_
#define _BATCH_HOOK_H_INCLUDED_

#include "batch_core.h"
#include "batch_id.h"
#include "batch_status.h"

/* both with the NUL */
#define BATCH_HOOK_ID         37       /* "evt_" and 32 hex digits */
#define BATCH_HOOK_SIGNATURE  48       /* "v1," and 44 characters */
#define BATCH_HOOK_RECEIVER   17       /* 16 hex digits */

/* seconds after the end of its batch during which a webhook is repeated, as
 * OpenAI's service does */
#define BATCH_HOOK_LIFE       (72 * 3600)

#define BATCH_HOOK_BODY       256      /* the longest body, NUL included */

/* "wh_" or "evt_" and a hash of batch and status.  BATCH_ERROR: libcrypto
 * failed. */
int batch_hook_id(const char *prefix, const char *batch_id,
    batch_status_e status, char id[BATCH_HOOK_ID]);

/* A name for what gets the webhooks of a location and a tenant, the same on all
 * nodes; "1" if libcrypto failed. */
void batch_hook_receiver(const batch_str_t *route, const batch_str_t *tenant,
    char receiver[BATCH_HOOK_RECEIVER]);

/* Returns its length, or BATCH_ERROR; at: when the batch ended, seconds. */
int batch_hook_body(const char *batch_id, batch_status_e status, int64_t at,
    char body[BATCH_HOOK_BODY]);

/* BATCH_OK or BATCH_ERROR; at: when this attempt is made, seconds; signature is
 * NUL-terminated. */
int batch_hook_sign(const batch_str_t *key, const char *id, int64_t at,
    const batch_str_t *body, char signature[BATCH_HOOK_SIGNATURE]);

#endif /* _BATCH_HOOK_H_INCLUDED_ */
