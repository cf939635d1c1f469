/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "batch_status.h"
#include "test.h"


/* the table in batch_status.h, once more */

static const batch_status_e  legal[][2] = {
    { BATCH_VALIDATING, BATCH_IN_PROGRESS },
    { BATCH_VALIDATING, BATCH_FAILED },
    { BATCH_VALIDATING, BATCH_CANCELLING },
    { BATCH_VALIDATING, BATCH_FINALIZING },
    { BATCH_IN_PROGRESS, BATCH_FINALIZING },
    { BATCH_IN_PROGRESS, BATCH_CANCELLING },
    { BATCH_FINALIZING, BATCH_COMPLETED },
    { BATCH_FINALIZING, BATCH_EXPIRED },
    { BATCH_FINALIZING, BATCH_CANCELLING },
    { BATCH_CANCELLING, BATCH_CANCELLED }
};

static const char  *names[][2] = {
    { "validating", "created_at" },
    { "in_progress", "in_progress_at" },
    { "finalizing", "finalizing_at" },
    { "cancelling", "cancelling_at" },
    { "completed", "completed_at" },
    { "failed", "failed_at" },
    { "expired", "expired_at" },
    { "cancelled", "cancelled_at" }
};


static int
in_table(int from, int to)
{
    size_t  i;

    for (i = 0; i < sizeof(legal) / sizeof(legal[0]); i++) {
        if ((int) legal[i][0] == from && (int) legal[i][1] == to) {
            return 1;
        }
    }

    return 0;
}


int
main(void)
{
    int     from, to;
    size_t  len;

    ok(sizeof(names) / sizeof(names[0]) == BATCH_STATUS_N, "names");

    for (from = 0; from < BATCH_STATUS_N; from++) {
        len = strlen(names[from][0]);

        ok(strcmp(batch_status_name(from), names[from][0]) == 0, "%d", from);
        ok(strcmp(batch_status_stamp(from), names[from][1]) == 0, "%d", from);
        ok(batch_status_parse((const unsigned char *) names[from][0], len)
           == from, "%d", from);
        ok(batch_status_parse((const unsigned char *) names[from][0], len - 1)
           == -1, "%d", from);
        ok(batch_status_terminal(from) == (from >= BATCH_COMPLETED),
           "%d", from);

        for (to = 0; to < BATCH_STATUS_N; to++) {
            ok(batch_status_legal(from, to) == in_table(from, to),
               "%s -> %s", names[from][0], names[to][0]);
        }

        ok(!batch_status_legal(from, BATCH_STATUS_N), "to nowhere");
        ok(!batch_status_legal(BATCH_STATUS_N, from), "from nowhere");
        ok(!batch_status_legal(from, (batch_status_e) -1), "to -1");
    }

    ok(batch_status_parse((const unsigned char *) "", 0) == -1, "empty");
    ok(batch_status_parse((const unsigned char *) "Failed", 6) == -1, "case");
    ok(!batch_status_terminal(BATCH_STATUS_N), "nothing is not terminal");
    ok(batch_status_name(BATCH_STATUS_N) != NULL, "a name for nonsense");

    return test_done("status");
}
