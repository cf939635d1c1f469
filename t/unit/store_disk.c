/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * store/: preparation, publishing, deletion, segments, walks, sweeping.
 */

#include "store_help.h"
#include "ngx_http_batch_cancel.h"
#include "ngx_http_batch_keys.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_reread.h"

#include <utime.h>


static ngx_log_t  *log_;


static int
refused(const char *path, const char *say)
{
    ngx_int_t  rc;
    ngx_str_t  s;

    s.data = (u_char *) path;
    s.len = strlen(path);

    shim_log_reset();

    rc = help_prepare(&s, geteuid());

    return rc == NGX_ERROR && shim_logged(NGX_LOG_EMERG) == 1
           && strstr(shim_log_text(), "\"batch_store\"") != NULL
           && strstr(shim_log_text(), say) != NULL;
}


static void
test_prepare(const char *top)
{
    char         a[4096], b[4200];
    ngx_str_t    s;
    struct stat  st;

    snprintf(b, sizeof(b), "%s/none/store", top);
    ok(refused(b, "make the directory above it"), "%s", shim_log_text());

    snprintf(a, sizeof(a), "%s/one", top);
    s.data = (u_char *) a;
    s.len = strlen(a);

    ok(help_prepare(&s, geteuid()) == NGX_OK, "new: %s",
       shim_log_text());
    ok(help_prepare(&s, geteuid()) == NGX_OK, "again");
    ok(stat(a, &st) == 0 && (st.st_mode & 0777) == 0700, "mode");

    snprintf(b, sizeof(b), "%s/link", top);
    ok(symlink(a, b) == 0, "symlink");
    ok(refused(b, "symbolic link"), "%s", shim_log_text());

    snprintf(b, sizeof(b), "%s/one/files", top);
    ok(rmdir(b) == 0 && symlink("/tmp", b) == 0, "symlink");
    ok(refused(a, "symbolic link"), "%s", shim_log_text());
    unlink(b);

    snprintf(b, sizeof(b), "%s/plain", top);
    close(open(b, O_CREAT|O_WRONLY, 0600));
    ok(refused(b, "not a directory"), "%s", shim_log_text());

    chmod(a, 0770);
    ok(refused(a, "chmod -R go-rwx"), "%s", shim_log_text());
    chmod(a, 0702);
    ok(refused(a, "chmod -R go-rwx"), "%s", shim_log_text());
    chmod(a, 0700);

    if (geteuid() == 0) {

        /* ours but full: not handed to another user */
        ok(help_prepare(&s, 65534) == NGX_ERROR,
           "full directory given away");

        ok(chown(a, 65534, -1) == 0, "chown");
        ok(refused(a, "chown -R"), "%s", shim_log_text());

        snprintf(b, sizeof(b), "%s/two", top);
        s.data = (u_char *) b;
        s.len = strlen(b);

        ok(help_prepare(&s, 65534) == NGX_OK, "other");
        ok(stat(b, &st) == 0 && st.st_uid == 65534, "owner");
        strcat(b, "/tmp");
        ok(stat(b, &st) == 0 && st.st_uid == 65534, "owner of tmp");
        b[strlen(b) - 4] = '\0';
        ok(help_prepare(&s, 65534) == NGX_OK, "again");
        ok(ngx_http_batch_layout_open(&s, log_) == NGX_ERROR, "not ours");
    }
}


/* of a file; returns its length */

static size_t
manifest(char text[200], const char *id, int bytes)
{
    return snprintf(text, 200, "{\"v\":1,\"id\":\"%s\",\"bytes\":%d,"
                    "\"created_us\":1}", id, bytes);
}


static void
test_publish(void)
{
    char       id[BATCH_ID_LEN], other[BATCH_ID_LEN], one[200], two[200];
    size_t     len;
    ngx_str_t  text;

    shim_log_reset();
    batch_id_make(BATCH_ID_FILE, id);

    ok(ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE, id, log_) == 0, "no");
    ok(ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE, id, 100, &text, log_)
       == NGX_DECLINED, "no");
    ok(ngx_http_batch_store_open(NGX_HTTP_BATCH_BLOB, id, log_)
       == NGX_INVALID_FILE && errno == ENOENT, "no");

    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_BLOB, id, "x", 1, log_)
       == NGX_OK, "blob");
    len = manifest(one, id, 1);
    manifest(two, id, 2);

    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE, id, one, len, log_)
       == NGX_OK, "first");
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE, id, two, len, log_)
       == NGX_DECLINED, "second");
    ok(ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE, id, 200, &text, log_)
       == NGX_OK && text.len == len && strcmp((char *) text.data, one) == 0,
       "the first stays");
    free(text.data);

    ok(shim_logged(NGX_LOG_CRIT) == 0, "%s", shim_log_text());
    ok(ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE, id, 2, &text, log_)
       == NGX_ERROR, "too large");
    ok(help_count("tmp", "") == 0, "nothing is left in tmp");

    ok(ngx_http_batch_delete_file(id, log_) == NGX_OK, "delete");
    ok(ngx_http_batch_delete_file(id, log_) == NGX_DECLINED, "again");
    ok(ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE, id, log_) == 0, "gone");
    ok(ngx_http_batch_store_exists(NGX_HTTP_BATCH_BLOB, id, log_) == 0, "gone");
    ok(ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE_DEL, id, log_) == 1,
       "tombstone");
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE, id, one, len, log_)
       == NGX_DECLINED, "deleted is deleted");
    ok(ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE, id, log_) == 0, "gone");

    batch_id_make(BATCH_ID_FILE, other);
    ok(ngx_http_batch_delete_file(other, log_) == NGX_DECLINED,
       "unknown");

    shim_log_reset();
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE_DEL, "file-../../x",
                                     "{}", 2, log_)
       == NGX_ERROR && errno == EINVAL, "id");
    ok(shim_logged(NGX_LOG_ALERT) == 1, "alert");
    ok(help_count("tmp", "") == 0, "nothing is left in tmp");

    /* a late cancel of a batch that never was */
    batch_id_make(BATCH_ID_BATCH, id);
    shim_log_reset();
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_CANCEL, id,
                                     "{\"v\":1,\"closed\":true}", 21, log_)
       == NGX_ERROR && shim_logged(NGX_LOG_ALERT) == 0, "no batch");
    ok(help_count("batches", id) == 0, "no directory");
    ok(help_count("tmp", "") == 0, "nothing is left in tmp");
}


/* JSON ends with its checksum on disk; what does not fit is told of */

static void
test_sum(void)
{
    int         fd;
    char        id[BATCH_ID_LEN], path[4096], was[256], now[256];
    size_t      i, n;
    ngx_str_t   text;

    static const char  empty[] = "{}", one[] = "{\"v\":1,\"s\":\"}\"}";

    help_file(id, "t", "batch", 0, "x", 1);
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE_DEL, id, empty, 2,
                                     log_)
       == NGX_OK
       && ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE_DEL, id, 100, &text,
                                    log_)
          == NGX_OK
       && text.len == 2 && strcmp((char *) text.data, empty) == 0, "empty");
    free(text.data);

    help_file(id, "t", "batch", 0, "x", 1);
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE_DEL, id, one,
                                    sizeof(one) - 1, log_) == NGX_OK, "one");

    snprintf(path, sizeof(path), "%s/files/%.2s/%s.del",
             (char *) help_dir.data, id + 5, id);
    fd = open(path, O_RDWR);
    n = read(fd, was, sizeof(was));
    ok(n == sizeof(one) - 1 + 17 && was[n - 1] == '}'
       && memcmp(was + sizeof(one) - 2, ",\"crc\":\"", 8) == 0, "%.*s",
       (int) n, was);

    /* each bit, and each length */

    for (i = 0; i < n * 8; i++) {
        memcpy(now, was, n);
        now[i / 8] ^= 1 << i % 8;
        shim_log_reset();
        ok(pwrite(fd, now, n, 0) == (ssize_t) n
           && ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE_DEL, id, 100, &text,
                                        log_) == NGX_ERROR
           && ngx_http_batch_store_damaged() && text.data == NULL
           && shim_logged(NGX_LOG_ALERT) == 1 && strstr(shim_log_text(), id),
           "bit %zu: %s", i, shim_log_text());
    }

    ok(pwrite(fd, was, n, 0) == (ssize_t) n, "as it was");

    for (i = 0; i < n; i++) {
        shim_log_reset();
        ok(ftruncate(fd, i) == 0
           && ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE_DEL, id, 100, &text,
                                        log_) == NGX_ERROR
           && shim_logged(NGX_LOG_ALERT) == 1, "%zu bytes", i);
        ok(pwrite(fd, was, n, 0) == (ssize_t) n, "as it was");
    }

    shim_log_reset();
    ok(pwrite(fd, " \r\n", 3, n) == 3
       && ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE_DEL, id, 100, &text,
                                       log_)
          == NGX_OK
       && text.len == sizeof(one) - 1
       && strcmp((char *) text.data, one) == 0, "white space after it");
    free(text.data);

    close(fd);
}


/* a whole object of another batch; final.json has several names, and its id
 * within */

static void
test_sum_names(void)
{
    char                   id[BATCH_ID_LEN], other[BATCH_ID_LEN];
    char                   path[4096], json[200];
    size_t                 i, n;
    ngx_str_t              text;
    ngx_http_batch_obj_e   obj;

    for (i = 0; i < 2; i++) {
        obj = i ? NGX_HTTP_BATCH_FINAL : NGX_HTTP_BATCH_PLAN;
        help_batch(id, "t", "f", "/v1/chat/completions", "");
        help_batch(other, "t", "f", "/v1/chat/completions", "");
        n = snprintf(json, sizeof(json), "{\"id\":\"%s\",\"status\":\"failed\","
                     "\"total\":1,\"chunks\":[[0,1,1,1]]}", id);
        ok(ngx_http_batch_publish_object(obj, id, json, n, log_) == NGX_OK,
           "published");
        snprintf(path, sizeof(path), "cd %s/batches && cp %.2s/%s/%s %.2s/%s",
                 (char *) help_dir.data, id + 6, id,
                 i ? "final.json" : "plan.json", other + 6, other);
        ok(system(path) == 0
           && ngx_http_batch_store_read(obj, other, 200, &text, log_)
              == (i ? NGX_OK : NGX_ERROR), "another batch's, %zu", i);
        free(text.data);
    }

    batch_id_make(BATCH_ID_FILE, id);
    shim_log_reset();
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE, id, "x", 1, log_)
       == NGX_ERROR && shim_logged(NGX_LOG_ALERT) == 1, "no JSON");
    ok(help_count("tmp", "") == 0, "nothing is left in tmp");
}


/*
 * What its reader would refuse is not published: an alert, EIO, and nothing is
 * left.  ID in a text is the object's id.
 */

static const struct {
    ngx_http_batch_obj_e   obj;
    batch_id_kind_e        kind;
    const char            *good;
    const char            *bad[6];
} rereads[] = {
    { NGX_HTTP_BATCH_FILE, BATCH_ID_FILE,
      "{\"v\":1,\"id\":\"ID\",\"bytes\":1,\"created_us\":1}",
      { "{\"v\":1,\"id\":\"ID\",\"bytes\":-1,\"created_us\":1}",
        "{\"v\":1,\"id\":\"ID\",\"bytes\":1e400,\"created_us\":1}",
        "{\"v\":1,\"id\":\"ID\",\"bytes\":1.5,\"created_us\":1}",
        "{\"v\":1,\"id\":\"file-abc\",\"bytes\":1,\"created_us\":1}",
        "{\"v\":1,\"id\":\"ID\",\"bytes\":1,\"created_us\":1,}" } },
    { NGX_HTTP_BATCH_FILE_DEL, BATCH_ID_FILE, "{\"v\":1}",
      { "{\"v\":1,}", "{\"v\":1e999}" } },
    { NGX_HTTP_BATCH_META, BATCH_ID_BATCH,
      "{\"v\":1,\"id\":\"ID\",\"created_us\":1,\"price\":0.1}",
      { "{\"v\":1,\"id\":\"ID\",\"created_us\":1,\"price\":1e309}",
        "{\"v\":1,\"id\":\"ID\",\"created_us\":1,\"output_ttl\":-1}",
        "{\"v\":1,\"id\":\"ID\",\"created_us\":1,\"model\":\"\\u0000\"}",
        "{\"v\":1,\"id\":\"ID\",\"created_us\":1,\"created_us\":1}",
        "{\"v\":1,\"created_us\":1}" } },
    { NGX_HTTP_BATCH_PLAN, BATCH_ID_BATCH,
      "{\"v\":1,\"total\":1,\"chunks\":[[0,1,1,1]]}",
      { "{\"v\":1,\"total\":2,\"chunks\":[[0,1,1,1]]}",
        "{\"v\":1,\"total\":1,\"chunks\":[[-1,1,1,1]]}",
        "{\"v\":1,\"total\":1,\"chunks\":[[0,1,1,1.0]]}",
        "{\"v\":1,\"total\":0,\"chunks\":[]}",
        "{\"v\":1,\"total\":1,\"model\":\"\\u0000\","
        "\"chunks\":[[0,1,1,1]]}" } },
    { NGX_HTTP_BATCH_CANCEL, BATCH_ID_BATCH, "{\"v\":1,\"cancelling_at\":1}",
      { "{\"v\":1,\"cancelling_at\":0}", "{\"v\":1,\"cancelling_at\":-1}",
        "{\"v\":1,\"cancelling_at\":1e400}", "{\"v\":1}" } },
    { NGX_HTTP_BATCH_FINAL, BATCH_ID_BATCH,
      "{\"v\":1,\"id\":\"ID\",\"status\":\"completed\",\"output\":null}",
      { "{\"v\":1,\"id\":\"ID\",\"status\":\"completed\",\"output\":{}}",
        "{\"v\":1,\"id\":\"ID\",\"status\":\"in_progress\"}",
        "{\"v\":1,\"id\":\"ID\",\"status\":\"failed\",\"failed\":1}",
        "{\"v\":1,\"id\":\"ID\",\"status\":\"failed\",\"usage\":{\"total\":"
        "1e400}}",
        "{\"v\":1,\"id\":\"ID\",\"status\":\"failed\",\"errors\":["
        "{\"message\":\"\xff\"}]}",
        "{\"v\":1,\"status\":\"failed\"}" } },
    { NGX_HTTP_BATCH_HOOK, BATCH_ID_BATCH, "{\"v\":1,\"id\":\"ID\"}",
      { "{\"v\":1,\"id\":7}", "{\"v\":1}", "{\"id\":\"ID\",\"v\":1e999}" } },
    { NGX_HTTP_BATCH_UPLOAD, BATCH_ID_UPLOAD,
      "{\"v\":1,\"id\":\"ID\",\"bytes\":1,\"created_us\":1,\"expires_at\":1}",
      { "{\"v\":1,\"id\":\"ID\",\"bytes\":0,\"created_us\":1,\"expires_at\":1}",
        "{\"v\":1,\"id\":\"ID\",\"bytes\":1,\"created_us\":1}",
        "{\"v\":1,\"id\":\"ID\",\"bytes\":1,\"created_us\":1,\"expires_at\":"
        "-1}" } },
    { NGX_HTTP_BATCH_UPLOAD_END, BATCH_ID_UPLOAD,
      "{\"v\":1,\"id\":\"ID\",\"status\":\"cancelled\"}",
      { "{\"v\":1,\"id\":\"ID\",\"status\":\"completed\",\"file\":{}}",
        "{\"v\":1,\"id\":\"ID\",\"status\":\"pending\"}",
        "{\"v\":1,\"status\":\"cancelled\"}" } }
};


static size_t
reread_text(char text[512], const char *form, const char *id)
{
    const char  *p;

    p = strstr(form, "ID");

    if (p == NULL) {
        return snprintf(text, 512, "%s", form);
    }

    return snprintf(text, 512, "%.*s%s%s", (int) (p - form), form, id, p + 2);
}


static void
test_reread(void)
{
    char         id[BATCH_ID_LEN], other[BATCH_ID_LEN], text[512];
    size_t       i, k, len;
    ngx_str_t    data;
    ngx_int_t    rc;
    const char  *form;

    for (i = 0; i < sizeof(rereads) / sizeof(rereads[0]); i++) {

        if (rereads[i].kind == BATCH_ID_BATCH) {
            help_batch(id, "t", "f", "/v1/chat/completions", "");

            if (rereads[i].obj == NGX_HTTP_BATCH_META) {
                batch_id_make(BATCH_ID_BATCH, id);
            }

        } else if (rereads[i].obj == NGX_HTTP_BATCH_FILE_DEL) {
            help_file(id, "t", "batch", 0, "x", 1);

        } else {
            batch_id_make(rereads[i].kind, id);
        }

        if (rereads[i].obj == NGX_HTTP_BATCH_UPLOAD_END) {
            len = reread_text(text, rereads[i - 1].good, id);
            ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_UPLOAD, id, text,
                                             len, log_) == NGX_OK, "upload");
        }

        for (k = 0; k < 6 && rereads[i].bad[k]; k++) {
            form = rereads[i].bad[k];
            len = reread_text(text, form, id);

            shim_log_reset();
            errno = 0;
            rc = ngx_http_batch_publish_object(rereads[i].obj, id, text, len,
                                               log_);
            ok(rc == NGX_ERROR && errno == EIO, "%s: %d, errno %d", text,
               (int) rc, errno);
            ok(shim_logged(NGX_LOG_ALERT) == 1
               && strstr(shim_log_text(), "could not be read again"), "%s",
               shim_log_text());
            ok(ngx_http_batch_store_exists(rereads[i].obj, id, log_) == 0,
               "%s: not published", text);
            ok(help_count("tmp", "") == 0, "nothing is left in tmp");

            if (rereads[i].obj == NGX_HTTP_BATCH_FINAL) {
                ok(ngx_http_batch_publish_final(id, text, len, 1, log_)
                   == NGX_ERROR
                   && ngx_http_batch_store_exists(NGX_HTTP_BATCH_CANCEL, id,
                                                  log_) == 0,
                   "%s: nothing is decided", text);
            }
        }

        /* another object's, where the text has an id */

        form = rereads[i].good;

        if (strstr(form, "ID")) {
            batch_id_make(rereads[i].kind, other);
            len = reread_text(text, form, other);
            ok(ngx_http_batch_publish_object(rereads[i].obj, id, text, len,
                                             log_) == NGX_ERROR,
               "%s: another's", text);
        }

        len = reread_text(text, form, id);
        shim_log_reset();
        ok(ngx_http_batch_publish_object(rereads[i].obj, id, text, len, log_)
           == NGX_OK && shim_logged(NGX_LOG_ALERT) == 0, "%s: %s", text,
           shim_log_text());
        ok(ngx_http_batch_store_read(rereads[i].obj, id, 1000, &data, log_)
           == NGX_OK && data.len == len, "%s: is there", text);
        free(data.data);
    }
}


/* longer than its reader reads, and what is not an object by id */

static void
test_reread_rest(void)
{
    char           id[BATCH_ID_LEN], *text;
    json_t        *root;
    ngx_str_t      object, first;
    batch_seal_t   seal;
    unsigned char  buf[96];

    help_batch(id, "t", "f", "/v1/chat/completions", "");

    text = malloc(NGX_HTTP_BATCH_CANCEL_MAX);
    memset(text, ' ', NGX_HTTP_BATCH_CANCEL_MAX);
    memcpy(text, "{\"v\":1,\"closed\":true", 20);
    text[NGX_HTTP_BATCH_CANCEL_MAX - 1] = '}';

    shim_log_reset();
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_CANCEL, id, text,
                                     NGX_HTTP_BATCH_CANCEL_MAX, log_)
       == NGX_ERROR && shim_logged(NGX_LOG_ALERT) == 1, "too long");
    free(text);

    memset(&seal, 0, sizeof(seal));
    seal.chunk = 1;
    seal.epoch = 2;
    batch_seal_encode(&seal, id, buf);

    shim_log_reset();
    ok(ngx_http_batch_seal_publish(id, 1, 3, buf, sizeof(buf), log_)
       == NGX_ERROR && errno == EIO && shim_logged(NGX_LOG_ALERT) == 1,
       "a seal of another epoch");
    ok(ngx_http_batch_seal_publish(id, 1, 2, buf, sizeof(buf) - 1, log_)
       == NGX_ERROR && errno == EIO, "half a seal");
    ok(ngx_http_batch_seal_publish(id, 1, 2, buf, sizeof(buf), log_)
       == NGX_OK, "a seal");

    ok(ngx_http_batch_reread(NGX_HTTP_BATCH_REREAD_VERSION, "store", "version",
                             "{\"v\":1,\"format\":-1}", 19, log_)
       == NGX_ERROR && errno == EIO, "version");
    ok(ngx_http_batch_reread(NGX_HTTP_BATCH_REREAD_KEY, "keys", "k",
                             "{\"v\":1,\"at\":1,\"request\":\"r\"}", 28, log_)
       == NGX_ERROR && errno == EIO, "key");

    ngx_str_set(&object, "{}");
    ok(ngx_http_batch_keys_claim("0123456789012345678901234567890123456789",
                                 "r", &object, &first, &root, log_)
       == NGX_OK, "a key");
    ok(ngx_http_batch_keys_peek("0123456789012345678901234567890123456789",
                                "r", &first, &root, log_)
       == NGX_DONE && first.len == 2, "read again");
    json_decref(root);

    /* a record as large as one can be cannot be claimed if it is larger */

    object.len = NGX_HTTP_BATCH_KEY_MAX;
    object.data = malloc(object.len);
    memset(object.data, 'x', object.len);
    shim_log_reset();
    ok(ngx_http_batch_keys_claim("1123456789012345678901234567890123456789",
                                 "r", &object, &first, &root, log_)
       == NGX_ERROR && errno == EIO && shim_logged(NGX_LOG_ALERT) == 1,
       "too long a key's record: %s", shim_log_text());
    free(object.data);

    ok(help_count("tmp", "") == 0, "nothing is left in tmp");
}


/* numbers that int64_t does not hold, out of clients and older modules */

static void
test_integers(void)
{
    size_t        i, len;
    json_t       *root;
    const char   *p;

    static const struct {
        const char  *text;
        json_int_t   n;
    } rows[] = {
        { "{\"s\":\"18446744073709551615\",\"n\":7}", 7 },
        { "{\"n\":9223372036854775807}", INT64_MAX },
        { "{\"n\":9223372036854775808}", BATCH_USAGE_MAX },
        { "{\"n\":18446744073709551615}", BATCH_USAGE_MAX },
        { "{\"n\":-18446744073709551615}", - (json_int_t) BATCH_USAGE_MAX },
        { "{\"s\":\"\\\"1\",\"n\":99999999999999999999999999999999999}",
          BATCH_USAGE_MAX },
        { "{\"a\":[18446744073709551615,\"18446744073709551615\"],\"n\":5}",
          5 }
    };

    static const char  *bad[] = {
        "{\"n\":1e400}", "{\"n\":18446744073709551615",
        "{\"n\":018446744073709551615}", "{\"n\":18446744073709551615x}",
        "18446744073709551615", "{\"n\":\"18446744073709551615\\", ""
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        p = rows[i].text;
        len = strlen(p);
        root = ngx_http_batch_object_json((u_char *) p, len, 0);
        ok(root && json_integer_value(json_object_get(root, "n")) == rows[i].n,
           "%s", p);
        json_decref(root);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        root = ngx_http_batch_object_json((u_char *) bad[i], strlen(bad[i]),
                                          0);
        ok(root == NULL && errno == EBADMSG, "%s", bad[i]);
    }
}


static void
test_input(void)
{
    char      file[BATCH_ID_LEN], id[BATCH_ID_LEN];
    ngx_fd_t  fd;

    help_file(file, "t", "batch", 0, "hello", 5);
    help_batch(id, "t", file, "/v1/embeddings", "");

    ok(ngx_http_batch_publish_input(id, file, log_) == NGX_OK, "link");
    ok(ngx_http_batch_publish_input(id, file, log_) == NGX_OK, "again");
    ok(ngx_http_batch_delete_file(file, log_) == NGX_OK, "delete");

    fd = ngx_http_batch_store_open(NGX_HTTP_BATCH_INPUT, id, log_);
    ok(fd != NGX_INVALID_FILE, "the input outlives the file");
    close(fd);

    help_batch(id, "t", file, "/v1/embeddings", "");
    ok(ngx_http_batch_publish_input(id, file, log_) == NGX_DECLINED, "gone");
}


static void
test_segments(void)
{
    char           id[BATCH_ID_LEN];
    uint32_t      *e;
    ngx_fd_t       fd;
    ngx_str_t      text;
    batch_seal_t   s;
    unsigned char  seal[96], zeal[96];

    help_batch(id, "t", "x", "/v1/embeddings", "");
    shim_log_reset();

    memset(&s, 0, sizeof(s));
    s.chunk = 7;
    s.epoch = 3;
    batch_seal_encode(&s, id, seal);
    s.sealed_us = 1;
    batch_seal_encode(&s, id, zeal);

    fd = ngx_http_batch_segment_create(id, 7, 3, log_);
    ok(fd != NGX_INVALID_FILE, "create");
    close(fd);
    fd = ngx_http_batch_segment_create(id, 7, 10, log_);
    close(fd);
    fd = ngx_http_batch_segment_create(id, 8, 4, log_);
    close(fd);

    ok(ngx_http_batch_segment_create(id, 7, 3, log_) == NGX_INVALID_FILE
       && errno == EEXIST, "an epoch is used once");
    ok(ngx_http_batch_segment_open(id, 7, 4, log_) == NGX_INVALID_FILE
       && errno == ENOENT, "none");
    ok(ngx_http_batch_segment_epochs(id, 7, 0, &e, log_) == 2 && e[0] == 3
       && e[1] == 10, "ascending numbers");
    free(e);

    ok(ngx_http_batch_seal_read(id, 7, 3, &text, log_) == NGX_DECLINED,
       "no seal");
    ok(ngx_http_batch_seal_publish(id, 7, 3, seal, sizeof(seal), log_)
       == NGX_OK, "seal");
    ok(ngx_http_batch_seal_publish(id, 7, 3, zeal, sizeof(zeal), log_)
       == NGX_DECLINED, "once");
    ok(ngx_http_batch_seal_read(id, 7, 3, &text, log_) == NGX_OK
       && text.len == sizeof(seal)
       && memcmp(text.data, seal, sizeof(seal)) == 0, "read");
    free(text.data);
    ok(ngx_http_batch_segment_epochs(id, 7, 1, &e, log_) == 1 && e[0] == 3,
       "1");
    free(e);

    ok(ngx_http_batch_delete_work(id, log_) == NGX_OK, "delete");
    ok(ngx_http_batch_segment_epochs(id, 7, 0, &e, log_) == 0, "none");
    free(e);
    ok(ngx_http_batch_store_exists(NGX_HTTP_BATCH_META, id, log_) == 1, "meta");
    ok(shim_log_text()[0] == '\0', "%s", shim_log_text());
}


static unsigned
count(batch_id_kind_e kind)
{
    char                    id[BATCH_ID_LEN];
    unsigned                n;
    ngx_http_batch_walk_t  *w;

    w = ngx_http_batch_walk_open(kind, log_);

    for (n = 0; ngx_http_batch_walk_next(w, id, log_) == NGX_OK; n++) { }

    ngx_http_batch_walk_close(w);

    return n;
}


static void
test_walk(void)
{
    char      id[BATCH_ID_LEN], path[4096];
    unsigned  before, after, i;

    before = count(BATCH_ID_FILE);

    for (i = 0; i < 50; i++) {
        help_file(id, "t", "batch", 0, "x", 1);
    }

    /* deleted, but cut short behind the tombstone */
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE_DEL, id, "{}", 2, log_)
       == NGX_OK, "tombstone");

    after = count(BATCH_ID_FILE);
    ok(after == before + 49, "%u %u", before, after);
    ok(ngx_http_batch_store_exists(NGX_HTTP_BATCH_BLOB, id, log_) == 0,
       "the deletion is finished");

    before = count(BATCH_ID_BATCH);
    help_batch(id, "t", "x", "/v1/embeddings", "");
    snprintf(path, sizeof(path), "%s/batches/%.2s/batch_%.2saaaaaaaaaaaaaaaaaa"
             "aaaaaaaaaaaa", (char *) help_dir.data, id + 6, id + 6);
    ok(mkdir(path, 0700) == 0, "%s", path);
    after = count(BATCH_ID_BATCH);
    ok(after == before + 1, "%u %u", before, after);
}


static void
test_sweep(void)
{
    char                         name[NGX_HTTP_BATCH_TMP_LEN], path[4096];
    ngx_fd_t                     fd;
    struct utimbuf               old;
    ngx_http_batch_sweep_dir_t   s;

    memset(&s, 0, sizeof(s));

    fd = ngx_http_batch_store_tmp(name, log_);
    ok(fd != NGX_INVALID_FILE, "tmp");

    ok(ngx_http_batch_store_sweep_tmp(&s, 3600, 1, log_) == NGX_AGAIN,
       "one name is seen");
    ok(ngx_http_batch_store_sweep_tmp(&s, 3600, 1, log_) == NGX_OK,
       "that was all");
    ok(help_count("tmp", "") == 1, "young");
    ok(s.dir == NULL && s.next > time(NULL) + 3500
       && s.next <= time(NULL) + 3600, "when it is to go");

    snprintf(path, sizeof(path), "%s/tmp/%s", (char *) help_dir.data, name);
    old.actime = old.modtime = time(NULL) - 7200;
    utime(path, &old);

    ngx_http_batch_store_sweep_tmp(&s, 3600, 9, log_);
    ok(help_count("tmp", "") == 1 && s.next == 0, "old, but in use");

    close(fd);
    ngx_http_batch_store_sweep_tmp(&s, 3600, 9, log_);
    ok(help_count("tmp", "") == 0, "old");

    (void) ngx_http_batch_store_sweep_tmp(&s, 3600, 0, log_);
    ok(s.dir != NULL, "it is open");
    ngx_http_batch_layout_sweep_end(&s);
    ok(s.dir == NULL, "it is closed");
}


int
main(int argc, char **argv)
{
    char  dir[4096];

    if (argc != 2) {
        return 2;
    }

    log_ = shim_log();
    mkdir(argv[1], 0700);

    test_prepare(argv[1]);

    snprintf(dir, sizeof(dir), "%s/store", argv[1]);
    help_store(dir);

    test_publish();
    test_sum();
    test_sum_names();
    test_reread();
    test_reread_rest();
    test_integers();
    test_input();
    test_segments();
    test_walk();
    test_sweep();

    ngx_http_batch_layout_close();
    free(help_dir.data);

    return test_done("store: the disk");
}
