/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * store/: preparation, publishing, deletion, segments, walks, sweeping.
 */

#include "store_help.h"
#include "batch_crc32c.h"

#include <sys/resource.h>
#include <sys/wait.h>
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


/* the store's version; NULL text: there is none */

static void
put_version(const char *store, const char *text)
{
    int   fd;
    char  path[4200], all[256];

    snprintf(path, sizeof(path), "%s/version", store);

    if (unlink(path) == -1) {
        rmdir(path);
    }

    if (text == NULL) {
        return;
    }

    snprintf(all, sizeof(all), "%s,\"crc\":\"%08x\"}", text,
             batch_crc32c(0, text, strlen(text)));

    fd = open(path, O_CREAT|O_EXCL|O_WRONLY, 0600);
    ok(fd != -1 && write(fd, all, strlen(all)) == (ssize_t) strlen(all), "%s",
       path);
    close(fd);
}


static char *
get_version(const char *store)
{
    int          fd;
    char         path[4200];
    ssize_t      n;
    static char  text[256];

    snprintf(path, sizeof(path), "%s/version", store);

    fd = open(path, O_RDONLY);
    n = read(fd, text, sizeof(text) - 1);
    close(fd);

    text[n > 0 ? n : 0] = '\0';

    return text;
}


static void
test_version(const char *top)
{
    int             i, status, wrong;
    char            a[4096], b[4200];
    ngx_str_t       s;
    struct stat     st;
    struct rlimit   was, none;

    static const char  whole[] = "{\"v\":1,\"format\":1,"
                                 "\"crc\":\"a910b158\"}";

    snprintf(a, sizeof(a), "%s/versions", top);
    s.data = (u_char *) a;
    s.len = strlen(a);

    ok(help_prepare(&s, geteuid()) == NGX_OK, "new: %s", shim_log_text());
    ok(strcmp(get_version(a), whole) == 0, "%s", get_version(a));

    snprintf(b, sizeof(b), "%s/version", a);
    ok(stat(b, &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_nlink == 1,
       "mode, one name");

    /* as made by a module that did not know it */

    put_version(a, NULL);
    ok(help_prepare(&s, geteuid()) == NGX_OK
       && strcmp(get_version(a), whole) == 0, "of an old store");

    /* members of newer modules are ignored */

    put_version(a, "{\"v\":2,\"format\":1,\"new\":{}");
    ok(help_prepare(&s, geteuid()) == NGX_OK
       && strstr(get_version(a), "new") != NULL, "%s", get_version(a));

    /* a store that is not ours to read is not touched */

    snprintf(b, sizeof(b), "%s/workers", a);
    ok(rmdir(b) == 0, "%s", b);

    put_version(a, "{\"v\":1,\"format\":2");
    ok(refused(a, "has format 2, this module reads format 1: a newer module"),
       "%s", shim_log_text());
    put_version(a, "{\"v\":1,\"format\":9007199254740993");
    ok(refused(a, "has format 9007199254740993, this module reads format 1"),
       "%s", shim_log_text());
    put_version(a, "{\"v\":1,\"format\":0");
    ok(refused(a, "has format 0, this module reads format 1: it is too old"),
       "%s", shim_log_text());

    put_version(a, "{\"v\":1,\"format\":\"1\"");
    ok(refused(a, "is damaged"), "a string: %s", shim_log_text());
    put_version(a, "{\"v\":1,\"format\":-1");
    ok(refused(a, "is damaged"), "negative: %s", shim_log_text());
    put_version(a, "{\"v\":1");
    ok(refused(a, "is damaged"), "no format: %s", shim_log_text());
    put_version(a, "{x");
    ok(refused(a, "is damaged"), "no JSON: %s", shim_log_text());

    put_version(a, "{\"v\":1,\"format\":1");
    snprintf(b, sizeof(b), "%s/version", a);
    ok(truncate(b, 20) == 0, "cut");
    ok(refused(a, "is damaged"), "cut: %s", shim_log_text());
    ok(truncate(b, 0) == 0, "empty");
    ok(refused(a, "is damaged"), "empty: %s", shim_log_text());
    ok(truncate(b, 1 << 20) == 0, "huge");
    ok(refused(a, "is damaged"), "huge: %s", shim_log_text());

    put_version(a, NULL);
    ok(symlink("/etc/passwd", b) == 0, "link");
    ok(refused(a, "is damaged"), "a link: %s", shim_log_text());
    put_version(a, NULL);
    ok(mkdir(b, 0700) == 0, "directory");
    ok(refused(a, "is damaged"), "a directory: %s", shim_log_text());

    snprintf(b, sizeof(b), "%s/workers", a);
    ok(stat(b, &st) == -1, "a store that is refused is not touched");

    /* no room for it: as before, and with the next start */

    put_version(a, NULL);
    getrlimit(RLIMIT_FSIZE, &was);
    none = was;
    none.rlim_cur = 0;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &none);
    shim_log_reset();
    ok(help_prepare(&s, geteuid()) == NGX_OK
       && shim_logged(NGX_LOG_WARN) == 1 && shim_logged(NGX_LOG_EMERG) == 0
       && strstr(shim_log_text(), "cannot write the file \"version\""),
       "no room: %s", shim_log_text());
    setrlimit(RLIMIT_FSIZE, &was);
    snprintf(b, sizeof(b), "%s/version", a);
    ok(stat(b, &st) == -1, "none");
    snprintf(b, sizeof(b), "%s/tmp", a);
    ok(rmdir(b) == 0, "nothing is left in tmp");

    ok(help_prepare(&s, geteuid()) == NGX_OK
       && strcmp(get_version(a), whole) == 0, "and with the next start");

    /* nodes that start at the same time */

    for (wrong = 0, i = 0; i < 50; i++) {

        put_version(a, NULL);

        if (fork() == 0) {
            _exit(help_prepare(&s, geteuid()) != NGX_OK);
        }

        wrong += help_prepare(&s, geteuid()) != NGX_OK;
        wrong += wait(&status) == -1 || status != 0;
        wrong += strcmp(get_version(a), whole) != 0;
    }

    ok(wrong == 0, "at once: %d of 50 are wrong, %s", wrong, shim_log_text());
    ok(rmdir(b) == 0, "nothing is left in tmp");

    if (geteuid() == 0) {
        snprintf(a, sizeof(a), "%s/anothers", top);
        s.len = strlen(a);
        snprintf(b, sizeof(b), "%s/version", a);
        ok(help_prepare(&s, 65534) == NGX_OK && stat(b, &st) == 0
           && st.st_uid == 65534, "it is the workers'");
    }
}


static void
test_publish(void)
{
    char       id[BATCH_ID_LEN], other[BATCH_ID_LEN];
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
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE, id, "{\"n\":1}", 7,
                                     log_)
       == NGX_OK, "first");
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE, id, "{\"n\":2}", 7,
                                     log_)
       == NGX_DECLINED, "second");
    ok(ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE, id, 100, &text, log_)
       == NGX_OK && text.len == 7
       && strcmp((char *) text.data, "{\"n\":1}") == 0,
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
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE, id, "{}", 2, log_)
       == NGX_DECLINED, "deleted is deleted");
    ok(ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE, id, log_) == 0, "gone");

    batch_id_make(BATCH_ID_FILE, other);
    ok(ngx_http_batch_delete_file(other, log_) == NGX_DECLINED,
       "unknown");

    shim_log_reset();
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE, "file-../../x", "{}",
                                     2, log_)
       == NGX_ERROR && errno == EINVAL, "id");
    ok(shim_logged(NGX_LOG_ALERT) == 1, "alert");
    ok(help_count("tmp", "") == 0, "nothing is left in tmp");

    /* a late cancel of a batch that never was */
    batch_id_make(BATCH_ID_BATCH, id);
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_CANCEL, id, "{}", 2, log_)
       == NGX_ERROR, "no batch");
    ok(help_count("batches", id) == 0, "no directory");
    ok(help_count("tmp", "") == 0, "nothing is left in tmp");
}


/* JSON ends with its checksum on disk; what does not fit is told of */

static void
test_sum(void)
{
    int                    fd;
    char                   id[BATCH_ID_LEN], other[BATCH_ID_LEN];
    char                   path[4096], was[256], now[256];
    size_t                 i, n;
    ngx_str_t              text;
    ngx_http_batch_obj_e   obj;
    static const char  empty[] = "{}", one[] = "{\"v\":1,\"s\":\"}\"}";

    batch_id_make(BATCH_ID_FILE, id);
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE, id, empty, 2, log_)
       == NGX_OK
       && ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE, id, 100, &text, log_)
          == NGX_OK
       && text.len == 2 && strcmp((char *) text.data, empty) == 0, "empty");
    free(text.data);

    batch_id_make(BATCH_ID_FILE, id);
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE, id, one,
                                    sizeof(one) - 1, log_) == NGX_OK, "one");

    snprintf(path, sizeof(path), "%s/files/%.2s/%s.json",
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
           && ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE, id, 100, &text,
                                        log_) == NGX_ERROR
           && ngx_http_batch_store_damaged() && text.data == NULL
           && shim_logged(NGX_LOG_ALERT) == 1 && strstr(shim_log_text(), id),
           "bit %zu: %s", i, shim_log_text());
    }

    ok(pwrite(fd, was, n, 0) == (ssize_t) n, "as it was");

    for (i = 0; i < n; i++) {
        shim_log_reset();
        ok(ftruncate(fd, i) == 0
           && ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE, id, 100, &text,
                                        log_) == NGX_ERROR
           && shim_logged(NGX_LOG_ALERT) == 1, "%zu bytes", i);
        ok(pwrite(fd, was, n, 0) == (ssize_t) n, "as it was");
    }

    shim_log_reset();
    ok(pwrite(fd, " \r\n", 3, n) == 3
       && ngx_http_batch_store_read(NGX_HTTP_BATCH_FILE, id, 100, &text, log_)
          == NGX_OK
       && text.len == sizeof(one) - 1
       && strcmp((char *) text.data, one) == 0, "white space behind it");
    free(text.data);

    close(fd);

    /* of another batch; final.json has several names, and its id within */

    for (i = 0; i < 2; i++) {
        obj = i ? NGX_HTTP_BATCH_FINAL : NGX_HTTP_BATCH_PLAN;
        batch_id_make(BATCH_ID_BATCH, id);
        batch_id_make(BATCH_ID_BATCH, other);
        ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_META, id, empty, 2,
                                        log_) == NGX_OK
           && ngx_http_batch_publish_object(NGX_HTTP_BATCH_META, other, empty,
                                           2, log_) == NGX_OK
           && ngx_http_batch_publish_object(obj, id, one, sizeof(one) - 1, log_)
              == NGX_OK, "batches");
        snprintf(path, sizeof(path), "cd %s/batches && cp %.2s/%s/%s %.2s/%s",
                 (char *) help_dir.data, id + 6, id,
                 i ? "final.json" : "plan.json", other + 6, other);
        ok(system(path) == 0
           && ngx_http_batch_store_read(obj, other, 100, &text, log_)
              == (i ? NGX_OK : NGX_ERROR), "another batch's, %zu", i);
        free(text.data);
    }

    batch_id_make(BATCH_ID_FILE, id);
    shim_log_reset();
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE, id, "x", 1, log_)
       == NGX_ERROR && shim_logged(NGX_LOG_ALERT) == 1, "no JSON");
    ok(help_count("tmp", "") == 0, "nothing is left in tmp");
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
    char       id[BATCH_ID_LEN];
    uint32_t  *e;
    ngx_fd_t   fd;
    ngx_str_t  text;

    help_batch(id, "t", "x", "/v1/embeddings", "");
    shim_log_reset();

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
    ok(ngx_http_batch_seal_publish(id, 7, 3, "seal", 4, log_) == NGX_OK,
       "seal");
    ok(ngx_http_batch_seal_publish(id, 7, 3, "zeal", 4, log_)
       == NGX_DECLINED, "once");
    ok(ngx_http_batch_seal_read(id, 7, 3, &text, log_) == NGX_OK
       && strcmp((char *) text.data, "seal") == 0, "read");
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


static ngx_int_t
count(void *ctx, const char *id, ngx_log_t *log)
{
    (*(unsigned *) ctx)++;

    return NGX_OK;
}


static void
test_walk(void)
{
    char      id[BATCH_ID_LEN], path[4096];
    unsigned  before, after, i;

    before = after = 0;
    ngx_http_batch_walk(BATCH_ID_FILE, count, &before, log_);

    for (i = 0; i < 50; i++) {
        help_file(id, "t", "batch", 0, "x", 1);
    }

    /* deleted, but cut short behind the tombstone */
    ok(ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE_DEL, id, "{}", 2, log_)
       == NGX_OK, "tombstone");

    ngx_http_batch_walk(BATCH_ID_FILE, count, &after, log_);
    ok(after == before + 49, "%u %u", before, after);
    ok(ngx_http_batch_store_exists(NGX_HTTP_BATCH_BLOB, id, log_) == 0,
       "the deletion is finished");

    before = after = 0;
    ngx_http_batch_walk(BATCH_ID_BATCH, count, &before, log_);
    help_batch(id, "t", "x", "/v1/embeddings", "");
    snprintf(path, sizeof(path), "%s/batches/%.2s/batch_%.2saaaaaaaaaaaaaaaaaa"
             "aaaaaaaaaaaa", (char *) help_dir.data, id + 6, id + 6);
    ok(mkdir(path, 0700) == 0, "%s", path);
    ngx_http_batch_walk(BATCH_ID_BATCH, count, &after, log_);
    ok(after == before + 1, "%u %u", before, after);
}


static void
test_sweep(void)
{
    char            name[NGX_HTTP_BATCH_TMP_LEN], path[4096];
    ngx_fd_t        fd;
    struct utimbuf  old;

    fd = ngx_http_batch_store_tmp(name, log_);
    ok(fd != NGX_INVALID_FILE, "tmp");

    ngx_http_batch_store_sweep_tmp(3600, log_);
    ok(help_count("tmp", "") == 1, "young");

    snprintf(path, sizeof(path), "%s/tmp/%s", (char *) help_dir.data, name);
    old.actime = old.modtime = time(NULL) - 7200;
    utime(path, &old);

    ngx_http_batch_store_sweep_tmp(3600, log_);
    ok(help_count("tmp", "") == 1, "old, but in use");

    close(fd);
    ngx_http_batch_store_sweep_tmp(3600, log_);
    ok(help_count("tmp", "") == 0, "old");
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
    test_version(argv[1]);

    snprintf(dir, sizeof(dir), "%s/store", argv[1]);
    help_store(dir);

    test_publish();
    test_sum();
    test_input();
    test_segments();
    test_walk();
    test_sweep();

    ngx_http_batch_layout_close();
    free(help_dir.data);

    return test_done("store: the disk");
}
