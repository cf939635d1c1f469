/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "batch_clock.h"
#include "batch_id.h"
#include "test.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NIDS  100000


typedef struct {
    batch_id_kind_e  kind;
    int              good;
    const char      *id;
} id_row_t;

#define A22  "0123456789abcdefghABCD"
#define A32  "0123456789abcdef0123456789ABCDEF"

static const id_row_t  rows[] = {
    { BATCH_ID_FILE,   1, "file-" A22 },
    { BATCH_ID_FILE,   1, "file_" A22 },
    { BATCH_ID_FILE,   1, "file-" A32 },
    { BATCH_ID_BATCH,  1, "batch_" A32 },
    { BATCH_ID_BATCH,  1, "batch-" A22 },
    { BATCH_ID_UPLOAD, 1, "upload_" A32 },
    { BATCH_ID_PART,   1, "part_" A32 },
    { BATCH_ID_FILE,   0, "" },
    { BATCH_ID_FILE,   0, "file" },
    { BATCH_ID_FILE,   0, "file-" },
    { BATCH_ID_FILE,   0, "file-0123456789abcdefghABC" },
    { BATCH_ID_FILE,   0, "file-" A32 "0" },
    { BATCH_ID_FILE,   0, "File-" A22 },
    { BATCH_ID_FILE,   0, "file." A22 },
    { BATCH_ID_FILE,   0, "file" A22 "0" },
    { BATCH_ID_FILE,   0, "batch_" A32 },
    { BATCH_ID_BATCH,  0, "file-" A22 },
    { BATCH_ID_PART,   0, "upload_" A32 },
    { BATCH_ID_BATCH,  0, "batch_req_0123456789abcdef01234567" },
    { BATCH_ID_FILE,   0, "file-0123456789abcdefghAB/D" },
    { BATCH_ID_FILE,   0, "file-0123456789abcdefghAB.D" },
    { BATCH_ID_FILE,   0, "file-0123456789abcdefghAB%D" },
    { BATCH_ID_FILE,   0, "file-0123456789abcdefghAB\nD" },
    { BATCH_ID_FILE,   0, "file-../../../../../etc/passwd" },
    { BATCH_ID_FILE,   0, "file-*0123456789abcdefghABCD" },
    { BATCH_ID_FILE,   0, "file-{0123456789abcdefghABCD}" },
    { BATCH_ID_FILE,   0, "file-0123456789abcdefghAB\xc3\xa9" },
    { (batch_id_kind_e) 9, 0, "file-" A22 }
};


static int
id_compare(const void *a, const void *b)
{
    return strcmp(a, b);
}


static void
id_unique(batch_id_kind_e kind, size_t len)
{
    char    *ids, *p;
    size_t   i, n, same, bad;

    ids = calloc(NIDS, BATCH_ID_LEN);

    if (ids == NULL) {
        abort();
    }

    same = 0;
    bad = 0;

    for (i = 0; i < NIDS; i++) {
        p = ids + i * BATCH_ID_LEN;
        n = batch_id_make(kind, p);

        if (n != len || strlen(p) != n
            || !batch_id_check(kind, (unsigned char *) p, n))
        {
            bad++;
        }
    }

    qsort(ids, NIDS, BATCH_ID_LEN, id_compare);

    for (i = 1; i < NIDS; i++) {
        p = ids + i * BATCH_ID_LEN;
        same += (strcmp(p, p - BATCH_ID_LEN) == 0);
    }

    ok(bad == 0, "%zu ill-formed ids of kind %d", bad, (int) kind);
    ok(same == 0, "%zu ids of kind %d came twice", same, (int) kind);

    free(ids);
}


/* each of the 62 digits must come about as often as any other */

static void
id_spread(void)
{
    char      buf[BATCH_ID_LEN];
    size_t    i, n, count[256];
    unsigned  digits;

    memset(count, 0, sizeof(count));

    for (i = 0; i < 20000; i++) {
        n = batch_id_make(BATCH_ID_FILE, buf);

        while (n > 5) {
            count[(unsigned char) buf[--n]]++;
        }
    }

    for (i = 0, digits = 0; i < 256; i++) {
        if (count[i]) {
            digits++;
            /* 440000 / 62 = 7097, standard deviation 84 */
            ok(count[i] > 6500 && count[i] < 7700, "digit %c: %zu times",
               (int) i, count[i]);
        }
    }

    ok(digits == 62, "%u digits", digits);
}


/* a child of fork() must not draw what its parent draws */

static void
id_random(void)
{
    int            fd[2], status;
    pid_t          pid;
    ssize_t        n;
    unsigned char  ours[16], theirs[16], most[BATCH_ID_RANDOM_MAX + 1];

    most[BATCH_ID_RANDOM_MAX] = 'x';
    ok(batch_id_random(most, BATCH_ID_RANDOM_MAX) == BATCH_OK, "the most");
    ok(most[BATCH_ID_RANDOM_MAX] == 'x', "not one more");
    ok(batch_id_random(ours, 0) == BATCH_OK, "none");

    /* so that there is something in store */

    ok(batch_id_random(ours, 1) == BATCH_OK, "one");

    if (pipe(fd) == -1) {
        abort();
    }

    pid = fork();

    if (pid == 0) {
        n = (batch_id_random(theirs, 16) == BATCH_OK)
            ? write(fd[1], theirs, 16) : -1;
        _exit(n != 16);
    }

    ok(batch_id_random(ours, 16) == BATCH_OK, "in the parent");
    ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "a child");
    ok(read(fd[0], theirs, 16) == 16, "in the child");
    ok(memcmp(ours, theirs, 16) != 0, "the child draws its own");

    close(fd[0]);
    close(fd[1]);
}


static int64_t
clock_fixed(void)
{
    return 1234567890123456;
}


int
main(void)
{
    char    buf[BATCH_ID_LEN], hex[201];
    size_t  i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ok(batch_id_check(rows[i].kind, (const unsigned char *) rows[i].id,
                          strlen(rows[i].id)) == rows[i].good,
           "%s", rows[i].id);
    }

    ok(!batch_id_check(BATCH_ID_FILE, (const unsigned char *)
                       "file-\0" "123456789abcdefghABCD", 27), "NUL in an id");

    id_unique(BATCH_ID_FILE, 27);
    id_unique(BATCH_ID_BATCH, 38);
    id_unique(BATCH_ID_UPLOAD, 39);
    id_unique(BATCH_ID_PART, 37);
    id_spread();

    ok(batch_id_make((batch_id_kind_e) 9, buf) == 0, "unknown kind");

    memset(hex, 'x', sizeof(hex));
    ok(batch_id_random_hex(hex, 100) == BATCH_OK, "hex");
    ok(hex[200] == 'x', "no NUL, nothing after it");

    for (i = 0; i < 200; i++) {
        ok(strchr("0123456789abcdef", hex[i]) != NULL, "digit %c", hex[i]);
    }

    id_random();

    ok(llabs(batch_clock_sec() - (long long) time(NULL)) <= 2, "real time");
    batch_clock = clock_fixed;
    ok(batch_clock_us() == 1234567890123456, "injected time");
    ok(batch_clock_sec() == 1234567890, "injected seconds");

    return test_done("id, clock");
}
