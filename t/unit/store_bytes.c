/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the objects of the store look like, byte for byte: other versions of the
 * module read them.
 */

#include "store_help.h"
#include "ngx_http_batch_final.h"
#include "ngx_http_batch_uploads.h"


#define FILE_JSON                                                             \
    "{\"v\":1,\"id\":\"file-aaaaaaaaaaaaaaaaaaaaaaaa\","                      \
    "\"tenant\":\"t\xc3\xa4\\\"1\",\"purpose\":\"batch\",\"filename\":"        \
    "\"in ?.jsonl\",\"bytes\":9007199254740993,"                              \
    "\"created_us\":1700000000123456,\"expires_at\":1702592000}"

#define META_JSON                                                             \
    "{\"v\":1,\"id\":\"batch_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"tenant\":"  \
    "\"\",\"route\":\"s/l\",\"input_file_id\":\"file-x\",\"endpoint\":"       \
    "\"/v1/embeddings\",\"completion_window\":\"24h\","                       \
    "\"created_us\":1700000000123456,\"expires_at\":1700086400,\"job_id\":"   \
    "\"j\",\"price\":0.2,\"model\":\"m\",\"output_ttl\":60,\"metadata\":"

#define UPLOAD_JSON                                                           \
    "{\"v\":1,\"id\":\"upload_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","            \
    "\"tenant\":\"t\",\"purpose\":\"batch\",\"filename\":\"in.jsonl\","       \
    "\"mime_type\":\"text/??\",\"bytes\":5,\"created_us\":1700000000123456,"  \
    "\"expires_at\":1700003600,\"file_expires_at\":0}"


static void
same(ngx_str_t text, const char *expected, const char *name)
{
    ok(text.data && text.len == strlen(expected)
       && strcmp((char *) text.data, expected) == 0,
       "%s: %s", name, text.data ? (char *) text.data : "none");
    free(text.data);
}


static void
test_file(void)
{
    json_t                 *root;
    ngx_str_t               text;
    ngx_http_batch_file_t   f, g;

    memset(&f, 0, sizeof(f));

    strcpy(f.id, "file-aaaaaaaaaaaaaaaaaaaaaaaa");
    ngx_str_set(&f.tenant, "t\xc3\xa4\"1");
    ngx_str_set(&f.purpose, "batch");
    ngx_str_set(&f.filename, "in \xff.jsonl");
    f.bytes = 9007199254740993LL;
    f.created_us = 1700000000123456LL;
    f.expires_at = 1702592000;

    text = ngx_http_batch_file_encode(&f);

    ok(ngx_http_batch_file_decode(&g, text.data, text.len, &root) == NGX_OK
       && strcmp(g.id, f.id) == 0 && g.tenant.len == f.tenant.len
       && g.bytes == f.bytes && g.created_us == f.created_us
       && g.expires_at == f.expires_at, "file: decoded");
    json_decref(root);

    same(text, FILE_JSON, "file");

    /* two tenants must not become one */

    ngx_str_set(&f.tenant, "a\0b");
    ok(ngx_http_batch_file_encode(&f).data == NULL, "tenant with a NUL");
    ngx_str_set(&f.tenant, "a\xff");
    ok(ngx_http_batch_file_encode(&f).data == NULL, "tenant is not UTF-8");
    ngx_str_null(&f.tenant);
    ngx_str_set(&f.filename, "a\0b");
    text = ngx_http_batch_file_encode(&f);
    ok(text.data && strstr((char *) text.data, "\"filename\":\"a?b\""),
       "filename with a NUL");
    free(text.data);
}


/* the urls stand in the place of the endpoint, which is the first */

static void
test_meta_lenient(const ngx_http_batch_meta_t *strict)
{
    json_t                 *urls, *root;
    ngx_str_t               text;
    batch_rules_t           rules;
    ngx_http_batch_meta_t   m, n;

    m = *strict;
    urls = json_pack("[s,s]", "/v1/embeddings", "/v1/rerank");
    m.endpoints = urls;

    text = ngx_http_batch_meta_encode(&m);

    ok(urls->refcount == 1, "the urls are the caller's still");
    ok(memmem(text.data, text.len, "\"endpoint\":", 11) == NULL,
       "an older module finds no endpoint");
    ok(ngx_http_batch_meta_decode(&n, text.data, text.len, &root) == NGX_OK
       && n.endpoint.len == 14
       && memcmp(n.endpoint.data, "/v1/embeddings", 14) == 0
       && json_equal(n.endpoints, urls), "lenient: decoded");

    ok(ngx_http_batch_meta_rules(&n, 0, &rules, shim_log()) == NGX_OK
       && rules.lenient && rules.ntargets == 2 && rules.model.len == 3
       && memcmp(rules.model.data, "\"m\"", 3) == 0
       && rules.targets[1].url.len == 10
       && memcmp(rules.targets[1].url.data, "/v1/rerank", 10) == 0,
       "lenient: rules");

    ngx_http_batch_meta_rules_free(&rules);
    json_decref(root);
    free(text.data);
    json_decref(urls);

    /* what was edited by hand */

    urls = json_pack("[s,i]", "/v1/embeddings", 1);
    m.endpoints = urls;
    text = ngx_http_batch_meta_encode(&m);
    ok(ngx_http_batch_meta_decode(&n, text.data, text.len, &root) != NGX_OK,
       "a url that is none");
    free(text.data);

    json_array_clear(urls);
    text = ngx_http_batch_meta_encode(&m);
    ok(ngx_http_batch_meta_decode(&n, text.data, text.len, &root) != NGX_OK,
       "no urls");
    free(text.data);
    json_decref(urls);
}


static void
test_meta(void)
{
    json_t                 *md, *root;
    ngx_str_t               text;
    ngx_http_batch_meta_t   m, n;

    memset(&m, 0, sizeof(m));

    strcpy(m.id, "batch_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    ngx_str_set(&m.route, "s/l");
    ngx_str_set(&m.input_file_id, "file-x");
    ngx_str_set(&m.endpoint, "/v1/embeddings");
    ngx_str_set(&m.window, "24h");
    m.created_us = 1700000000123456LL;
    m.expires_at = 1700086400;
    ngx_str_set(&m.job_id, "j");
    m.price = 0.2;
    ngx_str_set(&m.model, "m");
    m.output_ttl = 60;

    same(ngx_http_batch_meta_encode(&m), META_JSON "null}", "meta");

    md = json_pack("{s:s,s:s}", "z", "1", "a", "\xc3\xa4");
    m.metadata = md;

    text = ngx_http_batch_meta_encode(&m);

    ok(md->refcount == 1, "the metadata are the caller's still");
    ok(ngx_http_batch_meta_decode(&n, text.data, text.len, &root) == NGX_OK
       && n.price == m.price && json_equal(n.metadata, md), "meta: decoded");
    json_decref(root);

    same(text, META_JSON "{\"z\":\"1\",\"a\":\"\xc3\xa4\"}}", "metadata");

    json_decref(md);

    m.metadata = NULL;
    test_meta_lenient(&m);

    ngx_str_set(&m.job_id, "\xff");
    ok(ngx_http_batch_meta_encode(&m).data == NULL, "job_id is not UTF-8");
}


static void
test_upload(void)
{
    ngx_http_batch_file_t    f;
    ngx_http_batch_upload_t  u;

    memset(&u, 0, sizeof(u));
    memset(&f, 0, sizeof(f));

    strcpy(u.id, "upload_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    ngx_str_set(&u.tenant, "t");
    ngx_str_set(&u.purpose, "batch");
    ngx_str_set(&u.filename, "in.jsonl");
    u.bytes = 5;
    u.created_us = 1700000000123456LL;
    u.expires_at = 1700003600;

    ngx_str_set(&u.mime_type, "text/\xff\xfe");

    same(ngx_http_batch_uploads_encode(&u), UPLOAD_JSON, "upload");

    strcpy(f.id, "file-aaaaaaaaaaaaaaaaaaaaaaaa");
    ngx_str_set(&f.tenant, "t\xc3\xa4\"1");
    ngx_str_set(&f.purpose, "batch");
    ngx_str_set(&f.filename, "in \xff.jsonl");
    f.bytes = 9007199254740993LL;
    f.created_us = 1700000000123456LL;
    f.expires_at = 1702592000;

    same(ngx_http_batch_uploads_end_encode(u.id,
                                           NGX_HTTP_BATCH_UPLOAD_COMPLETED,
                                           "0123", &f),
         "{\"v\":1,\"id\":\"upload_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
         "\"status\":\"completed\",\"parts\":\"0123\",\"file\":" FILE_JSON
         "}", "end");
    same(ngx_http_batch_uploads_end_encode(u.id,
                                           NGX_HTTP_BATCH_UPLOAD_CANCELLED,
                                           NULL, NULL),
         "{\"v\":1,\"id\":\"upload_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
         "\"status\":\"cancelled\"}", "end of a cancelled one");
    same(ngx_http_batch_object_hook("batch_a", 17),
         "{\"v\":1,\"id\":\"batch_a\",\"delivered_at\":17}", "hook");
}


int
main(void)
{
    static ngx_cycle_t  cycle;

    cycle.log = shim_log();
    ngx_cycle = &cycle;

    test_file();
    test_meta();
    test_upload();

    return test_done("store: its objects' bytes");
}
