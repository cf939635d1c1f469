/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Paths of the API: which call they are, and that each call has one path.
 */

#include "batch_path.h"
#include "test.h"


typedef struct {
    const char  *text;
    int          call;               /* -1: none */
    const char  *id;
} parse_row_t;

typedef struct {
    const char  *written;
    const char  *prefix;
    int          rest;               /* -1: it does not begin with it */
} written_row_t;


static const parse_row_t  calls[] = {
    { "files", BATCH_PATH_FILES, "" },
    { "files/a", BATCH_PATH_FILE, "a" },
    { "files/a/content", BATCH_PATH_FILE_CONTENT, "a" },
    { "batches", BATCH_PATH_BATCHES, "" },
    { "batches/a", BATCH_PATH_BATCH, "a" },
    { "batches/a/cancel", BATCH_PATH_BATCH_CANCEL, "a" },
    { "uploads", BATCH_PATH_UPLOADS, "" },
    { "uploads/a", BATCH_PATH_UPLOAD, "a" },
    { "uploads/a/parts", BATCH_PATH_UPLOAD_PART, "a" },
    { "uploads/a/complete", BATCH_PATH_UPLOAD_COMPLETE, "a" },
    { "uploads/a/cancel", BATCH_PATH_UPLOAD_CANCEL, "a" },
    { "files/files", BATCH_PATH_FILE, "files" },
    { "files/%2F/content", BATCH_PATH_FILE_CONTENT, "%2F" },
    { "", -1, NULL },
    { "/", -1, NULL },
    { "/files", -1, NULL },
    { "files/", -1, NULL },
    { "files//", -1, NULL },
    { "files//content", -1, NULL },
    { "files/a/", -1, NULL },
    { "files/a/content/", -1, NULL },
    { "files/a//content", -1, NULL },
    { "files/a/content/b", -1, NULL },
    { "files/a/conten", -1, NULL },
    { "files/a/contents", -1, NULL },
    { "files/a/cancel", -1, NULL },
    { "files/a/parts", -1, NULL },
    { "batches/a/content", -1, NULL },
    { "batches/a/complete", -1, NULL },
    { "uploads/a/content", -1, NULL },
    { "batches/x/files/a/content", -1, NULL },
    { "x/files", -1, NULL },
    { "Files", -1, NULL },
    { "file", -1, NULL },
    { "filess", -1, NULL },
    { "%66iles", -1, NULL },
    { "files;a", -1, NULL }
};

static const written_row_t  spellings[] = {
    { "/v1/files", "/v1/", 4 },
    { "/v1/", "/v1/", 4 },
    { "/files", "/", 1 },
    { "/a%20b/files", "/a b/", 7 },
    { "/a b/files", "/a b/", 5 },
    { "/%C3%a9/files", "/\xc3\xa9/", 8 },
    { "/\xc3\xa9/files", "/\xc3\xa9/", 4 },
    { "/100%25/files", "/100%/", 8 },
    { "/100%/files", "/100%/", -1 },
    { "/%76%31/files", "/v1/", -1 },
    { "/v%31/files", "/v1/", -1 },
    { "/v1%2ffiles", "/v1/", -1 },
    { "/%2e/", "/./", -1 },
    { "/%7Euser/files", "/~user/", -1 },
    { "//v1/files", "/v1/", -1 },
    { "/v1", "/v1/", -1 },
    { "/v1%", "/v1/", -1 },
    { "/%", "/a/", -1 },
    { "/%2", "/ /", -1 },
    { "/%2g/", "/ /", -1 },
    { "/%g0/", "/ /", -1 },
    { "", "/", -1 },
    { "/V1/files", "/v1/", -1 }
};


static void
parse(const parse_row_t *row)
{
    int             rc;
    size_t          len;
    batch_path_t    path;
    unsigned char  *p;

    len = strlen(row->text);
    p = test_copy(row->text, len);

    rc = batch_path_parse(p, len, &path);

    ok(rc == (row->call < 0 ? BATCH_ERROR : BATCH_OK), "%s", row->text);

    if (rc == BATCH_OK && row->call >= 0) {
        ok(path.call == (batch_path_e) row->call, "%s: call", row->text);
        ok(path.id.len == strlen(row->id)
           && (path.id.len == 0
               || memcmp(path.id.data, row->id, path.id.len) == 0),
           "%s: id", row->text);
    }

    free(p);
}


static size_t
collection(const char *text)
{
    size_t          n, len;
    unsigned char  *p;

    len = strlen(text);
    p = test_copy(text, len);
    n = batch_path_collection(p, len);
    free(p);

    return n;
}


static size_t
prefix(const char *text, int exact)
{
    size_t          n, len;
    unsigned char  *p;

    len = strlen(text);
    p = test_copy(text, len);
    n = batch_path_prefix(p, len, exact);
    free(p);

    return n;
}


static void
written(const written_row_t *row)
{
    size_t          n, len, prefix_len;
    unsigned char  *p, *pre;

    len = strlen(row->written);
    prefix_len = strlen(row->prefix);
    p = test_copy(row->written, len);
    pre = test_copy(row->prefix, prefix_len);

    n = batch_path_written(p, len, pre, prefix_len);

    ok(n == (row->rest < 0 ? 0 : (size_t) row->rest), "%s of %s: %zu",
       row->prefix, row->written, n);

    free(p);
    free(pre);
}


int
main(void)
{
    size_t  i;

    for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        parse(&calls[i]);
    }

    for (i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        written(&spellings[i]);
    }

    ok(collection("/files") == 1, "at the root");
    ok(collection("/v1/files") == 4, "below v1");
    ok(collection("/v1/batches/x/files") == 4, "the first one");
    ok(collection("/v1//files") == 5, "behind two slashes");
    ok(collection("/v1/filesx/uploads") == 11, "a whole segment");
    ok(collection("files") == 5, "no slash");
    ok(collection("files/uploads") == 6, "behind a slash");
    ok(collection("/v1/chat") == 8, "none");
    ok(collection("/") == 1, "none");
    ok(collection("") == 0, "none");

    ok(prefix("/v1/", 0) == 4, "a prefix");
    ok(prefix("/v1", 0) == 3, "without its slash");
    ok(prefix("/", 0) == 1, "the root");
    ok(prefix("", 0) == 0, "nothing");
    ok(prefix("/v1/files", 0) == 4, "with a collection");
    ok(prefix("/v1/files/", 0) == 4, "and a slash");
    ok(prefix("/files", 0) == 1, "below the root");
    ok(prefix("/files/v1/", 0) == 10, "a collection's name above");
    ok(prefix("/v1/files//", 0) == 11, "two slashes");
    ok(prefix("files", 0) == 5, "no slash before it");
    ok(prefix("/v1/batches/x/cancel", 1) == 4, "a whole path");
    ok(prefix("/v1/files", 1) == 4, "a whole path");
    ok(prefix("/v1/chat", 1) == 8, "another one");

    return test_done("path");
}
