/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The version of the store: written once, read at each start.
 */

#include "store_help.h"
#include "batch_crc32c.h"

#include <sys/resource.h>
#include <sys/wait.h>


static const char  whole[] = "{\"v\":1,\"format\":1,\"crc\":\"a910b158\"}";

static char       a[4096];      /* the store */
static ngx_str_t  s;            /* the same */


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
test_made(void)
{
    char         b[4200];
    struct stat  st;

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
}


static void
test_refused(void)
{
    char         b[4200];
    struct stat  st;

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
}


/* as on a full disk: the start goes on, and the next one writes it */

static void
test_no_room(void)
{
    char           b[4200];
    struct stat    st;
    struct rlimit  was, none;

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
}


/* nodes that start at the same time */

static void
test_at_once(void)
{
    int   i, status, wrong;
    char  b[4200];

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
    snprintf(b, sizeof(b), "%s/tmp", a);
    ok(rmdir(b) == 0, "nothing is left in tmp");
}


static void
test_owner(const char *top)
{
    char         b[4200];
    struct stat  st;

    if (geteuid() == 0) {
        snprintf(a, sizeof(a), "%s/anothers", top);
        s.len = strlen(a);
        snprintf(b, sizeof(b), "%s/version", a);
        ok(help_prepare(&s, 65534) == NGX_OK && stat(b, &st) == 0
           && st.st_uid == 65534, "it is the workers'");
    }
}


int
main(int argc, char **argv)
{
    if (argc != 2) {
        return 2;
    }

    (void) shim_log();
    mkdir(argv[1], 0700);

    snprintf(a, sizeof(a), "%s/versions", argv[1]);
    s.data = (u_char *) a;
    s.len = strlen(a);

    test_made();
    test_refused();
    test_no_room();
    test_at_once();
    test_owner(argv[1]);

    return test_done("store: its version");
}
