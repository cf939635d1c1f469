/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The directives, and one list each of what starts, beats, leaves and ends with
 * a worker.  Everything else is in src.
 */

#include "ngx_http_batch.h"
#include "ngx_http_batch_alive.h"
#include "ngx_http_batch_api.h"
#include "ngx_http_batch_attempt.h"
#include "ngx_http_batch_chunk.h"
#include "ngx_http_batch_conf.h"
#include "ngx_http_batch_cors.h"
#include "ngx_http_batch_dispatch.h"
#include "ngx_http_batch_hook.h"
#include "ngx_http_batch_job.h"
#include "ngx_http_batch_line.h"
#include "ngx_http_batch_page.h"
#include "ngx_http_batch_reap.h"
#include "ngx_http_batch_recover.h"
#include "ngx_http_batch_redis.h"
#include "ngx_http_batch_runs.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_space.h"
#include "ngx_http_batch_status.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_retire.h"
#include "ngx_http_batch_sweep.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_tidy.h"
#include "ngx_http_batch_turn.h"


static ngx_int_t ngx_http_batch_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_batch_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_batch_configured(void);
static void *ngx_http_batch_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_batch_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_batch_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_batch_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_batch_init_process(ngx_cycle_t *cycle);
static void ngx_http_batch_exit_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_batch_init(ngx_cycle_t *cycle);
static void ngx_http_batch_beat(void);
static void ngx_http_batch_leave(ngx_uint_t cut);
static ngx_uint_t ngx_http_batch_idle(void);
static void ngx_http_batch_exit(void);
static void ngx_http_batch_ended(ngx_http_batch_run_t *run);
static void ngx_http_batch_redis_state(ngx_uint_t ready);


static const ngx_http_batch_turn_t  ngx_http_batch_turns = {
    ngx_http_batch_beat,
    ngx_http_batch_dispatch_pump,
    ngx_http_batch_leave,
    ngx_http_batch_idle
};

/* the configuration that is being read */
static ngx_cycle_t                 *ngx_http_batch_new_cycle;
static ngx_http_batch_main_conf_t  *ngx_http_batch_new_conf;


static ngx_conf_enum_t  ngx_http_batch_orders[] = {
    { ngx_string("input"), NGX_HTTP_BATCH_ORDER_INPUT },
    { ngx_string("completion"), NGX_HTTP_BATCH_ORDER_COMPLETION },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_batch_lines[] = {
    { ngx_string("strict"), NGX_HTTP_BATCH_LINES_STRICT },
    { ngx_string("lenient"), NGX_HTTP_BATCH_LINES_LENIENT },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_batch_dialects[] = {
    { ngx_string("openai"), NGX_HTTP_BATCH_OPENAI },
    { ngx_string("impala"), NGX_HTTP_BATCH_IMPALA },
    { ngx_string("tensorzero"), NGX_HTTP_BATCH_TENSORZERO },
    { ngx_null_string, 0 }
};


static ngx_conf_num_bounds_t  ngx_http_batch_concurrency_bounds = {
    ngx_conf_check_num_bounds, 1, 65535
};

static ngx_conf_num_bounds_t  ngx_http_batch_retries_bounds = {
    ngx_conf_check_num_bounds, 0, 1000
};


static ngx_conf_post_t  ngx_http_batch_line_sizes = {
    ngx_http_batch_conf_line_size
};


static ngx_http_batch_pace_conf_t  ngx_http_batch_default_pace = {
    500, 20000, 12 * 3600 * 1000
};


#define NGX_HTTP_BATCH_ALL_CONF                                               \
    NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF


static ngx_command_t  ngx_http_batch_commands[] = {

    { ngx_string("batch_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_batch_conf_set_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("batch_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_batch_conf_set_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("batch_store"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_batch_conf_set_store,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("batch_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_batch_conf_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("batch_retention"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_batch_main_conf_t, retention),
      NULL },

    { ngx_string("batch_thread_pool"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_batch_main_conf_t, thread_pool),
      NULL },

    { ngx_string("batch_job"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_batch_conf_job,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("batch_lines"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_batch_loc_conf_t, lines),
      &ngx_http_batch_lines },

    { ngx_string("batch_dialect"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_batch_loc_conf_t, dialect),
      &ngx_http_batch_dialects },

    { ngx_string("batch_pass"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_TAKE1,
      ngx_http_batch_conf_set_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("batch_concurrency"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_batch_loc_conf_t, concurrency),
      &ngx_http_batch_concurrency_bounds },

    { ngx_string("batch_retries"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_batch_loc_conf_t, retries),
      &ngx_http_batch_retries_bounds },

    { ngx_string("batch_timeout"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_batch_loc_conf_t, timeout),
      NULL },

    { ngx_string("batch_tenant"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_batch_loc_conf_t, tenant),
      NULL },

    { ngx_string("batch_endpoints"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_1MORE,
      ngx_http_batch_conf_set_endpoints,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("batch_windows"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_1MORE,
      ngx_http_batch_conf_set_windows,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("batch_max_requests"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_batch_loc_conf_t, max_requests),
      NULL },

    { ngx_string("batch_max_file_size"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_off_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_batch_loc_conf_t, given.max_file_size),
      NULL },

    { ngx_string("batch_max_line_size"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_batch_loc_conf_t, max_line_size),
      &ngx_http_batch_line_sizes },

    { ngx_string("batch_repair"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_batch_loc_conf_t, repair),
      NULL },

    { ngx_string("batch_output_order"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_batch_loc_conf_t, output_order),
      &ngx_http_batch_orders },

    { ngx_string("batch_file_ttl"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_batch_loc_conf_t, file_ttl),
      NULL },

    { ngx_string("batch_body_rate"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_TAKE123,
      ngx_http_batch_conf_client_body_rate,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("batch_quota"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_1MORE,
      ngx_http_batch_conf_client_quota,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("batch_webhook"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_TAKE12,
      ngx_http_batch_conf_hook,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("batch_cors"),
      NGX_HTTP_BATCH_ALL_CONF|NGX_CONF_1MORE,
      ngx_http_batch_conf_client_cors,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_batch_module_ctx = {
    ngx_http_batch_preconfiguration,       /* preconfiguration */
    ngx_http_batch_postconfiguration,      /* postconfiguration */

    ngx_http_batch_create_main_conf,       /* create main configuration */
    ngx_http_batch_init_main_conf,         /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_batch_create_loc_conf,        /* create location configuration */
    ngx_http_batch_merge_loc_conf          /* merge location configuration */
};


ngx_module_t  ngx_http_batch_module = {
    NGX_MODULE_V1,
    &ngx_http_batch_module_ctx,            /* module context */
    ngx_http_batch_commands,               /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_batch_init_process,           /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_batch_exit_process,           /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_batch_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_batch_variable_add(cf);
}


static ngx_int_t
ngx_http_batch_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_batch_main_conf_t  *bmcf;

    bmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_batch_module);

    if (!bmcf->enabled) {
        return NGX_OK;
    }

    if (ngx_http_batch_conf_check(cf, bmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_thread_pool_add(cf, bmcf->thread_pool.len ? &bmcf->thread_pool
                                                      : NULL)
        == NULL)
    {
        return NGX_ERROR;
    }

    ngx_http_batch_new_cycle = cf->cycle;
    ngx_http_batch_new_conf = bmcf;

    if (ngx_http_batch_slots_add(cf, ngx_http_batch_configured) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_batch_page_filter_init(cf) != NGX_OK
        || ngx_http_batch_cors_init(cf) != NGX_OK
        || ngx_http_batch_accel_add(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_batch_capture_add(cf);
}


static ngx_int_t
ngx_http_batch_configured(void)
{
    return ngx_http_batch_conf_store(ngx_http_batch_new_cycle,
                                     ngx_http_batch_new_conf);
}


static void *
ngx_http_batch_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_batch_main_conf_t  *bmcf;

    bmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_batch_main_conf_t));
    if (bmcf == NULL) {
        return NULL;
    }

    bmcf->min_free = NGX_CONF_UNSET;
    bmcf->retention = NGX_CONF_UNSET;

    if (ngx_array_init(&bmcf->routes, cf->pool, 4,
                       sizeof(ngx_http_batch_loc_conf_t *))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_array_init(&bmcf->jobs, cf->pool, 4,
                       sizeof(ngx_http_batch_job_conf_t))
        != NGX_OK)
    {
        return NULL;
    }

    return bmcf;
}


static char *
ngx_http_batch_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_batch_main_conf_t *bmcf = conf;

    ngx_conf_init_value(bmcf->retention, 90 * 24 * 3600);

    return NGX_CONF_OK;
}


static void *
ngx_http_batch_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_batch_loc_conf_t  *blcf;

    blcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_batch_loc_conf_t));
    if (blcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     blcf->api = NULL;
     *     blcf->status = 0;
     *     blcf->server = 0;
     *     blcf->pass = { 0, NULL };
     *     blcf->tenant = NULL;
     *     blcf->route = { 0, NULL };
     *     blcf->ctx = NULL;
     */

    blcf->concurrency = NGX_CONF_UNSET_UINT;
    blcf->retries = NGX_CONF_UNSET_UINT;
    blcf->timeout = NGX_CONF_UNSET_MSEC;
    blcf->max_requests = NGX_CONF_UNSET_UINT;
    blcf->max_line_size = NGX_CONF_UNSET_SIZE;
    blcf->repair = NGX_CONF_UNSET;
    blcf->output_order = NGX_CONF_UNSET_UINT;
    blcf->file_ttl = NGX_CONF_UNSET;
    blcf->endpoints = NGX_CONF_UNSET_PTR;
    blcf->dialect = NGX_CONF_UNSET_UINT;
    blcf->lines = NGX_CONF_UNSET_UINT;
    blcf->cors = NGX_CONF_UNSET_PTR;
    blcf->pace = NGX_CONF_UNSET_PTR;
    blcf->quota = NGX_CONF_UNSET_PTR;
    blcf->hook = NGX_CONF_UNSET_PTR;
    blcf->given.windows = NGX_CONF_UNSET_PTR;
    blcf->given.max_file_size = NGX_CONF_UNSET;

    return blcf;
}


static char *
ngx_http_batch_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_batch_loc_conf_t  *prev = parent;
    ngx_http_batch_loc_conf_t  *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname || clcf->lmt_excpt) {
        conf->api = prev->api;
        conf->status = prev->status;
    }

    ngx_conf_merge_str_value(conf->pass, prev->pass, "");
    ngx_conf_merge_uint_value(conf->concurrency, prev->concurrency, 64);
    ngx_conf_merge_uint_value(conf->retries, prev->retries, 5);
    ngx_conf_merge_msec_value(conf->timeout, prev->timeout, 3600000);
    ngx_conf_merge_uint_value(conf->max_requests, prev->max_requests, 50000);
    ngx_conf_merge_size_value(conf->max_line_size, prev->max_line_size,
                              NGX_HTTP_BATCH_LINE_SIZE);
    ngx_conf_merge_value(conf->repair, prev->repair, 1);
    ngx_conf_merge_uint_value(conf->output_order, prev->output_order,
                              NGX_HTTP_BATCH_ORDER_INPUT);
    ngx_conf_merge_sec_value(conf->file_ttl, prev->file_ttl,
                             NGX_HTTP_BATCH_FILE_TTL);
    ngx_conf_merge_ptr_value(conf->endpoints, prev->endpoints, NULL);
    ngx_conf_merge_uint_value(conf->lines, prev->lines,
                              NGX_HTTP_BATCH_LINES_STRICT);
    ngx_conf_merge_uint_value(conf->dialect, prev->dialect,
                              NGX_HTTP_BATCH_OPENAI);
    ngx_conf_merge_ptr_value(conf->cors, prev->cors, NULL);
    ngx_conf_merge_ptr_value(conf->pace, prev->pace,
                             &ngx_http_batch_default_pace);
    ngx_conf_merge_ptr_value(conf->quota, prev->quota, NULL);
    ngx_conf_merge_ptr_value(conf->hook, prev->hook, NULL);
    ngx_conf_merge_ptr_value(conf->given.windows, prev->given.windows,
                             NGX_CONF_UNSET_PTR);
    ngx_conf_merge_off_value(conf->given.max_file_size,
                             prev->given.max_file_size, NGX_CONF_UNSET);

    if (conf->tenant == NULL) {
        conf->tenant = prev->tenant;
    }

    ngx_http_batch_conf_defaults(conf);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_batch_init_process(ngx_cycle_t *cycle)
{
    ngx_str_t                    name;
    ngx_http_batch_main_conf_t  *bmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    bmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_batch_module);

    if (bmcf == NULL || !bmcf->enabled) {
        return NGX_OK;
    }

    if (!(ngx_event_flags & NGX_USE_CLEAR_EVENT)) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "the batch module needs an edge-triggered event method:"
                      " remove \"use poll\" or \"use select\" from the events"
                      " block");
        return NGX_ERROR;
    }

    ngx_http_batch_conf = bmcf;

    if (batch_id_random_hex(ngx_http_batch_worker_id, 16) != BATCH_OK) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "batch: random bytes for the worker failed");
        return NGX_ERROR;
    }

    json_object_seed(0);

    ngx_str_set(&name, "default");

    if (bmcf->thread_pool.len) {
        name = bmcf->thread_pool;
    }

    bmcf->tp = ngx_thread_pool_get(cycle, &name);
    if (bmcf->tp == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_batch_init(cycle);
}


/* what a worker starts with */

static ngx_int_t
ngx_http_batch_init(ngx_cycle_t *cycle)
{
    if (ngx_http_batch_layout_open(&ngx_http_batch_conf->store, cycle->log)
        != NGX_OK
        || ngx_http_batch_slots_init(cycle) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_batch_job_init(ngx_http_batch_ended);
    ngx_http_batch_chunk_init();
    ngx_http_batch_line_init();
    ngx_http_batch_dispatch_init();
    ngx_http_batch_sweep_init(cycle);
    ngx_http_batch_reap_init(cycle);
    ngx_http_batch_retire_init(cycle);
    ngx_http_batch_tidy_init(cycle);

    if (ngx_http_batch_hook_init() != NGX_OK
        || ngx_http_batch_turn_init(cycle, &ngx_http_batch_turns) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_batch_alive_init(cycle);
    ngx_http_batch_space_init(cycle);

    return ngx_http_batch_link_init(&ngx_http_batch_conf->redis,
                                    ngx_http_batch_redis_state, cycle->log);
}


/* every 50 ms, and while a worker that leaves still holds something */

static void
ngx_http_batch_beat(void)
{
    ngx_http_batch_chunk_beat();
    ngx_http_batch_slots_beat();
    ngx_http_batch_runs_beat();
    ngx_http_batch_job_beat();
    ngx_http_batch_hook_beat();

    ngx_http_batch_turn_wake();
}


/* the worker quits gracefully; cut = 1: worker_shutdown_timeout is over */

static void
ngx_http_batch_leave(ngx_uint_t cut)
{
    ngx_http_batch_recover_leave();
    ngx_http_batch_chunk_leave(cut);
    ngx_http_batch_hook_leave(cut);
}


static ngx_uint_t
ngx_http_batch_idle(void)
{
    return ngx_http_batch_chunk_idle()
           && ngx_http_batch_job_idle()
           && ngx_http_batch_hook_idle();
}


/*
 * Another worker takes over the leases that are left, or they run out.  What is
 * in memory and not on disk, their next owner does again.
 */

static void
ngx_http_batch_exit(void)
{
    ngx_uint_t  holds;

    holds = !ngx_http_batch_chunk_idle()
            || !ngx_http_batch_job_idle()
            || ngx_http_batch_runs_hold()
            || ngx_http_batch_recover_holds();

    ngx_http_batch_task_close();
    ngx_http_batch_turn_exit();
    ngx_http_batch_recover_exit();
    ngx_http_batch_link_exit();
    ngx_http_batch_slots_exit(holds);
    ngx_http_batch_alive_exit(holds);
    ngx_http_batch_layout_close();
}


/* a job has ended the batch */

static void
ngx_http_batch_ended(ngx_http_batch_run_t *run)
{
    ngx_http_batch_hook_hurry();
    ngx_http_batch_tidy_work(run->id);
}


static void
ngx_http_batch_redis_state(ngx_uint_t ready)
{
    ngx_http_batch_slot->redis = ready;

    if (ready) {
        ngx_http_batch_recover_start();
        ngx_http_batch_turn_wake();

    } else {
        ngx_http_batch_recover_down();
    }
}


static void
ngx_http_batch_exit_process(ngx_cycle_t *cycle)
{
    if (ngx_http_batch_conf) {
        ngx_http_batch_exit();
    }
}
