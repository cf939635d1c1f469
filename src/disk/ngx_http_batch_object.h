/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Manifests: the JSON of files and batches as it lies on disk and in Redis,
 * and structs of it.  jansson on private objects only, so both may be called in
 * threads.  Unknown keys of newer versions are ignored.
 */

#ifndef _NGX_HTTP_BATCH_OBJECT_H_INCLUDED_
#define _NGX_HTTP_BATCH_OBJECT_H_INCLUDED_

#include "ngx_http_batch.h"
#include <jansson.h>

#define NGX_HTTP_BATCH_FORMAT   1     /* "v" of every object */

/* bytes: batch.json and <file id>.json */
#define NGX_HTTP_BATCH_MANIFEST_MAX  (4 * 1024 * 1024)

/*
 * <file id>.json:
 * {"v":1,"id","tenant","purpose","filename","bytes","created_us","expires_at"}
 */
typedef struct {
    char          id[BATCH_ID_LEN];
    ngx_str_t     tenant;              /* value of batch_tenant, "" = none */
    ngx_str_t     purpose;
    ngx_str_t     filename;
    off_t         bytes;
    int64_t       created_us;          /* wall clock, microseconds */
    int64_t       expires_at;          /* seconds, 0 = never */
} ngx_http_batch_file_t;

/*
 * batch.json: what the client asked for; never changes.
 * {"v":1,"id","tenant","route","input_file_id","endpoint","completion_window",
 *  "created_us","expires_at","job_id","price","model","output_ttl",
 *  "metadata"}
 * With lenient lines it has "endpoints" in the place of "endpoint": that, and
 * the others that lines may name.  A module that knows no lenient lines cannot
 * use it, and so cannot judge them by strict rules.
 */
typedef struct {
    char          id[BATCH_ID_LEN];
    ngx_str_t     tenant;
    ngx_str_t     route;               /* ngx_http_batch_loc_conf_t.route */
    ngx_str_t     input_file_id;       /* as the client wrote it, unchecked */
    ngx_str_t     endpoint;            /* with the leading slash */
    ngx_str_t     window;
    int64_t       created_us;
    int64_t       expires_at;          /* seconds, 0 = unlimited window */
    ngx_str_t     job_id;              /* "" = none */
    double        price;               /* USD per 1M tokens */
    ngx_str_t     model;               /* of the job, or the client's with
                                          lenient lines; "" = that of the
                                          lines */
    int64_t       output_ttl;          /* seconds; 0 = the route's file_ttl */
    json_t       *metadata;            /* object or NULL; own reference */
    json_t       *endpoints;           /* lenient: array of strings, endpoint is
                                          the first; or NULL; as metadata */
} ngx_http_batch_meta_t;

/*
 * final.json, the one commit point of a result:
 * {"v":1,"id","status":"completed|failed|expired|cancelled",
 *  "in_progress_at","finalizing_at","completed_at","failed_at","expired_at",
 *  "cancelling_at","cancelled_at",                 (seconds or null)
 *  "total","completed","failed","model" (string or null),
 *  "usage":{"input","output","cached","reasoning","total"},
 *  "output":<file manifest or null>,"error":<file manifest or null>,
 *  "errors":[{"code","line","message","param"},...] or null}
 * It is kept as JSON text: recovery and the API read it with jansson.
 */

/*
 * upload.json: what the client asked for; never changes.
 * {"v":1,"id","tenant","purpose","filename","mime_type","bytes","created_us",
 *  "expires_at","file_expires_at"}
 */
typedef struct {
    char          id[BATCH_ID_LEN];
    ngx_str_t     tenant;
    ngx_str_t     purpose;
    ngx_str_t     filename;
    ngx_str_t     mime_type;
    off_t         bytes;               /* that the parts must add up to */
    int64_t       created_us;
    int64_t       expires_at;          /* of the upload, seconds */
    int64_t       file_expires_at;     /* of its file, seconds, 0 = never */
} ngx_http_batch_upload_t;

/*
 * end.json, the one commit point of an upload's end:
 * {"v":1,"id","status":"completed|cancelled|expired","parts":<SHA-1 of the part
 *  ids, hex>,"file":<file manifest>}, the last two only of a completed one
 */
typedef enum {
    NGX_HTTP_BATCH_UPLOAD_PENDING = 0,
    NGX_HTTP_BATCH_UPLOAD_COMPLETED,
    NGX_HTTP_BATCH_UPLOAD_CANCELLED,
    NGX_HTTP_BATCH_UPLOAD_EXPIRED
} ngx_http_batch_upload_status_e;

/*
 * hook.json: the webhook that tells of the batch's end was delivered, which its
 * existence says:
 * {"v":1,"id","delivered_at"}
 */

/* Encoded manifest, compact; from malloc(): free() it.  data NULL on error. */
ngx_str_t ngx_http_batch_file_encode(const ngx_http_batch_file_t *f);
ngx_str_t ngx_http_batch_meta_encode(const ngx_http_batch_meta_t *m);
ngx_str_t ngx_http_batch_uploads_encode(const ngx_http_batch_upload_t *u);
/* of an end; parts and f only of a completed one, else NULL */
ngx_str_t ngx_http_batch_uploads_end_encode(const char *id,
    ngx_http_batch_upload_status_e status, const char *parts,
    const ngx_http_batch_file_t *f);
ngx_str_t ngx_http_batch_object_hook(const char *id, int64_t delivered_at);
const char *ngx_http_batch_uploads_status(ngx_http_batch_upload_status_e s);

/* as a new json_t reference, for embedding; NULL on error */
json_t *ngx_http_batch_file_json(const ngx_http_batch_file_t *f);

/*
 * Decodes.  Strings point into *root, which the caller json_decref()s when it
 * is done with the struct (for the meta, metadata is borrowed from root).
 * NGX_ERROR if it is not a manifest of ours (then *root is NULL).
 */
ngx_int_t ngx_http_batch_file_decode(ngx_http_batch_file_t *f,
    const u_char *data, size_t len, json_t **root);
/* <file id>.json as it is on disk: that of a result is a final.json, which has
 * the manifest in it */
ngx_int_t ngx_http_batch_file_decode_of(ngx_http_batch_file_t *f,
    const char *id, const u_char *data, size_t len, json_t **root);
ngx_int_t ngx_http_batch_file_from_json(ngx_http_batch_file_t *f,
    json_t *object);
ngx_int_t ngx_http_batch_meta_decode(ngx_http_batch_meta_t *m,
    const u_char *data, size_t len, json_t **root);
/* The batch's batch.json.  NGX_OK: its strings are in *root, which is to be
 * json_decref()ed; NGX_DECLINED: there is none; NGX_ERROR: it cannot be read or
 * used, which was logged (see ngx_http_batch_store_damaged()).  In a task. */
ngx_int_t ngx_http_batch_meta_read(const char *id, ngx_http_batch_meta_t *meta,
    json_t **root, ngx_log_t *log);
/* What the batch demands of its lines; strings of the meta.  checked: they are
 * valid.  free() it, also after an error, which was logged. */
ngx_int_t ngx_http_batch_meta_rules(const ngx_http_batch_meta_t *meta,
    ngx_uint_t checked, batch_rules_t *rules, ngx_log_t *log);
void ngx_http_batch_meta_rules_free(batch_rules_t *rules);
ngx_int_t ngx_http_batch_uploads_decode(ngx_http_batch_upload_t *u,
    const u_char *data, size_t len, json_t **root);
/* of an end.json: its status; f and *parts are filled if it is completed */
ngx_int_t ngx_http_batch_uploads_end_decode(
    ngx_http_batch_upload_status_e *status, ngx_str_t *parts,
    ngx_http_batch_file_t *f, const u_char *data, size_t len, json_t **root);

/* 40 hex digits that name the tenant in keys: SHA-1, "0" for "" */
void ngx_http_batch_object_tenant_key(const ngx_str_t *tenant, char key[41]);

/* JSON out of the store; flags are jansson's.  ngx_errno then says why it, or
 * what it should have in it, is of no use: EBADMSG (it is damaged; see
 * ngx_http_batch_store_damaged()), or with NULL NGX_ENOMEM (nothing is known).
 * An integer beyond int64_t is read as BATCH_USAGE_MAX, with its sign.
 */
json_t *ngx_http_batch_object_json(const u_char *data, size_t len,
    size_t flags);

#endif
