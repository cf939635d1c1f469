/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * How fast is a validation?  50 000 lines of 4 KB (or as argv says).
 */

#include "store_help.h"
#include "ngx_http_batch_validate.h"

#include <sys/resource.h>
#include <time.h>


static double
seconds(clockid_t clock)
{
    struct timespec  ts;

    clock_gettime(clock, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


int
main(int argc, char **argv)
{
    int                         round;
    char                        file[BATCH_ID_LEN], id[BATCH_ID_LEN];
    char                       *text, *p;
    size_t                      i, lines, size, len;
    double                      wall, cpu;
    struct rusage               before, after;
    ngx_http_batch_validate_t   v;

    if (argc < 2) {
        return 2;
    }

    lines = (argc > 2) ? strtoul(argv[2], NULL, 10) : 50000;
    size = (argc > 3) ? strtoul(argv[3], NULL, 10) : 4096;

    help_store(argv[1]);

    p = text = malloc(lines * (size + 200));

    for (i = 0; i < lines; i++) {
        p += sprintf(p, "{\"custom_id\":\"request-%zu\",\"method\":\"POST\","
                     "\"url\":\"/v1/chat/completions\",\"body\":{\"model\":"
                     "\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"",
                     i);
        memset(p, 'x', size);
        p += size - 140;
        p += sprintf(p, "\"}]}}\n");
    }

    len = p - text;

    help_file(file, "t", "batch", 0, text, len);
    free(text);

    for (round = 0; round < 3; round++) {

        help_batch(id, "t", file, "/v1/chat/completions", "");

        memset(&v, 0, sizeof(v));
        strcpy(v.id, id);

        getrusage(RUSAGE_SELF, &before);
        wall = seconds(CLOCK_MONOTONIC);
        cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);

        ngx_http_batch_validate(&v, shim_log());

        wall = seconds(CLOCK_MONOTONIC) - wall;
        cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        getrusage(RUSAGE_SELF, &after);

        printf("%zu lines, %.0f MB: %s, %u chunks, %.0f ms (CPU %.0f ms), "
               "%.0f MB/s\n", lines, len / 1e6,
               v.rc == NGX_HTTP_BATCH_VALID ? "valid" : "not valid",
               v.plan.nchunks, wall * 1e3, cpu * 1e3, len / 1e6 / wall);

        json_decref(v.root);
        ngx_http_batch_final_free(&v.final);
        ngx_http_batch_plan_free(&v.plan);
    }

    ngx_http_batch_layout_close();
    free(help_dir.data);

    return 0;
}
