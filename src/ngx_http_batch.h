/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The configuration, which every room above core reads.
 */

#ifndef _NGX_HTTP_BATCH_H_INCLUDED_
#define _NGX_HTTP_BATCH_H_INCLUDED_

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "batch_core.h"
#include "batch_clock.h"
#include "batch_id.h"
#include "batch_status.h"
#include "batch_utf8.h"
#include "batch_shown.h"
#include "batch_text.h"
#include "batch_token.h"
#include "batch_escape.h"
#include "batch_jsonl.h"
#include "batch_json.h"
#include "batch_record.h"
#include "batch_seal.h"

#if !(NGX_THREADS)
#error the batch module needs nginx built --with-threads
#endif


#define NGX_HTTP_BATCH_ORDER_INPUT       0
#define NGX_HTTP_BATCH_ORDER_COMPLETION  1

#define NGX_HTTP_BATCH_FILE_TTL          2592000    /* s; batch_file_ttl */
#define NGX_HTTP_BATCH_LINE_SIZE         33554432   /* bytes;
                                                       batch_max_line_size */

#define NGX_HTTP_BATCH_OPENAI            0
#define NGX_HTTP_BATCH_IMPALA            1
#define NGX_HTTP_BATCH_TENSORZERO        2

#define NGX_HTTP_BATCH_LINES_STRICT      0
#define NGX_HTTP_BATCH_LINES_LENIENT     1

#define NGX_HTTP_BATCH_JOBS_MAX              64      /* batch_job, at most */
#define NGX_HTTP_BATCH_PRIORITY_MAX      9

#define NGX_HTTP_BATCH_TENANT_MAX        256     /* bytes; batch_tenant */


/*
 * A request's context of this module begins with an ngx_uint_t that says what
 * the request is: one of the API, or the fake main request of an attempt (of a
 * line or a webhook).
 */

#define NGX_HTTP_BATCH_CTX_API           1
#define NGX_HTTP_BATCH_CTX_ATTEMPT       2


/* batch_redis */

typedef struct {
    ngx_str_t                     name;        /* for messages */
    ngx_str_t                     host;        /* NUL-terminated IP address */
    ngx_uint_t                    port;        /* 0: host is a unix path */
} ngx_http_batch_redis_addr_t;

typedef struct {
    ngx_str_t                     address;     /* as written, for messages */
    ngx_http_batch_redis_addr_t  *addrs;       /* of one server, in the order
                                                  in which they are tried */
    ngx_uint_t                    naddrs;      /* 0: no batch_redis */
    ngx_str_t                     prefix;      /* default "batch" */
    ngx_str_t                     user;
    ngx_str_t                     password;    /* content of password_file */
    ngx_uint_t                    db;
    ngx_msec_t                    timeout;     /* connect and command */
} ngx_http_batch_redis_conf_t;


typedef struct {
    ngx_http_batch_redis_conf_t   redis;
    ngx_str_t                     store;       /* absolute, no slash at the
                                                  end, NUL-terminated */
    off_t                         min_free;    /* bytes kept free; 0: none,
                                                  NGX_CONF_UNSET: by size */
    time_t                        retention;   /* s; 0: ended batches stay */
    ngx_str_t                     thread_pool;
    ngx_thread_pool_t            *tp;          /* set in init_process */
    ngx_array_t                   routes;      /* of
                                            ngx_http_batch_loc_conf_t * */
    ngx_array_t                   jobs;        /* of ..._job_conf_t */
    ngx_uint_t                    enabled;     /* some location has batch_api */
    ngx_shm_zone_t               *slots;
} ngx_http_batch_main_conf_t;


typedef struct {
    ngx_str_t                     name;        /* as clients write it */
    int64_t                       seconds;     /* 0: unlimited */
} ngx_http_batch_window_t;


/*
 * batch_job: what a client's job_id stands for.  A client is told price, model
 * and window, so a batch keeps those of its creation.  Pass, concurrency and
 * priority are looked up by the job_id when the batch runs, so a reload applies
 * to batches that are under way.
 */

typedef struct {
    ngx_str_t                     id;
    ngx_str_t                     model;       /* len 0: that of the lines */
    double                        price;       /* USD per 1M tokens */
    ngx_http_batch_window_t       window;      /* name.len 0: the client's */
    ngx_str_t                     pass;        /* len 0: the route's */
    ngx_uint_t                    concurrency; /* per node, 0: the route's */
    ngx_uint_t                    priority;    /* 0..9, 9 is first */
} ngx_http_batch_job_conf_t;


/* batch_tenant: the headers of a request that decide about it, as far as its
 * text tells */

typedef struct {
    ngx_array_t                   headers;     /* of ngx_str_t, "x_team": only
                                                  one of them in a request */
    ngx_str_t                     vary;        /* "X-Team, Cookie", or empty */
} ngx_http_batch_tenant_conf_t;


/* batch_quota: what a tenant may have at once; 0: no limit */

typedef struct {
    uint64_t                      bytes;       /* stored */
    ngx_uint_t                    files;
    ngx_uint_t                    batches;     /* not finished */
    ngx_uint_t                    lines;       /* of those */
    ngx_uint_t                    ended;       /* batches that are kept */
} ngx_http_batch_quota_conf_t;


/* batch_body_rate: how fast request bodies must come */

typedef struct {
    size_t                        rate;        /* bytes per second, not 0 */
    ngx_msec_t                    grace;
    ngx_msec_t                    max;         /* for all of it, 0: none */
} ngx_http_batch_pace_conf_t;


/* batch_webhook: where to report how a batch has ended */

typedef struct {
    ngx_str_t                     uri;         /* of an internal location */
    ngx_str_t                     key;         /* of signatures; never logged */
    ngx_str_t                     request_line;
} ngx_http_batch_hook_conf_t;


/*
 * The settings of a location.  A location with batch_api is a route.  Its
 * batches remember the route's key and run with what the route says now, so a
 * reload applies to batches that are under way.
 */

typedef struct ngx_http_batch_loc_conf_s  ngx_http_batch_loc_conf_t;

struct ngx_http_batch_loc_conf_s {
    ngx_http_batch_loc_conf_t    *api;             /* the route: this location,
                                                      or that around an "if" or
                                                      limit_except, or NULL */
    ngx_flag_t                    status;
    ngx_flag_t                    server;          /* the server's own, which
                                                      has a route */
    ngx_str_t                     pass;
    ngx_uint_t                    concurrency;     /* per node */
    ngx_uint_t                    retries;
    ngx_msec_t                    timeout;         /* a line's total time */
    ngx_uint_t                    max_requests;    /* 0: no limit */
    off_t                         max_file_size;   /* bytes, 0: no limit */
    size_t                        max_line_size;   /* bytes */
    ngx_flag_t                    repair;
    ngx_uint_t                    output_order;
    time_t                        file_ttl;
    ngx_array_t                  *endpoints;       /* of ngx_str_t */
    ngx_array_t                  *windows;         /* ..._window_t */
    ngx_http_complex_value_t     *tenant;
    ngx_uint_t                    dialect;
    ngx_uint_t                    lines;           /* of batches created here */
    ngx_array_t                  *cors;            /* of ngx_str_t, origins;
                                                      NULL: off */
    ngx_http_batch_pace_conf_t   *pace;            /* NULL: off */
    ngx_http_batch_quota_conf_t  *quota;           /* NULL: off */
    ngx_http_batch_hook_conf_t   *hook;            /* NULL: off */
    ngx_uint_t                    target;          /* 1: lines or webhooks lead
                                                      here, known at start */

    /* as written; the default depends on the dialect */
    struct {
        ngx_array_t              *windows;
        off_t                     max_file_size;
    } given;

    ngx_str_t                     route;           /* "server location" */
    ngx_http_batch_tenant_conf_t *from;            /* of a route with tenant */
    ngx_str_t                     prefix;          /* of the API's paths, with
                                                      the slash at its end; of
                                                      no use if the location
                                                      has an expression */
    ngx_http_conf_ctx_t          *ctx;             /* of the location */
};


extern ngx_module_t  ngx_http_batch_module;


/* the cycle's main conf, set in init_process for the life of the worker */
extern ngx_http_batch_main_conf_t  *ngx_http_batch_conf;

/* the worker's name in leases, unique among all workers of all nodes: random
 * hex digits and a NUL, made in init_process */
#define NGX_HTTP_BATCH_WORKER_ID   33

extern char  ngx_http_batch_worker_id[NGX_HTTP_BATCH_WORKER_ID];


#endif /* _NGX_HTTP_BATCH_H_INCLUDED_ */
