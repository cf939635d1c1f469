/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One batch as a worker knows it while it is not over.
 */

#ifndef _NGX_HTTP_BATCH_RUN_H_INCLUDED_
#define _NGX_HTTP_BATCH_RUN_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_index.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_owner.h"
#include "ngx_http_batch_plan.h"


#define NGX_HTTP_BATCH_LEASE          10000     /* ms, of a chunk or a job */


typedef struct ngx_http_batch_run_s  ngx_http_batch_run_t;


/* where lines of an endpoint go */

typedef struct {
    ngx_str_t                     uri;            /* pass + endpoint */
    ngx_str_t                     request_line;   /* for logs */
} ngx_http_batch_run_uri_t;


/*
 * A batch as this worker knows it.  ngx_http_batch_runs.c allocates it, and
 * frees it when it is no longer active and refs is 0.  Chunks and jobs point to
 * it and count in refs.  meta, plan, rules and uris belong to it.
 */

struct ngx_http_batch_run_s {
    ngx_queue_t                   queue;          /* ngx_http_batch_runs */
    ngx_http_batch_owner_t       *owner;          /* never NULL */
    ngx_queue_t                   mate;           /* owner->runs */
    ngx_queue_t                   turn;           /* owner->picks, if picked */
    ngx_queue_t                   chunks;         /* held by this worker */
    ngx_uint_t                    refs;
    char                          id[BATCH_ID_LEN];

    /* from batch.json and plan.json, by the first chunk's open task */
    ngx_uint_t                    loaded;
    ngx_http_batch_meta_t         meta;           /* strings in root */
    json_t                       *root;
    ngx_http_batch_plan_t         plan;
    ngx_http_batch_loc_conf_t    *conf;           /* the route's */
    ngx_uint_t                    route;          /* its index, a lane */
    ngx_http_batch_job_conf_t    *jcf;            /* the job's, or NULL */
    ngx_uint_t                    job_lane;       /* if jcf */
    ngx_str_t                     pass;           /* the job's or the route's */
    ngx_uint_t                    lane;           /* whose upstream: the job's
                                                     if it has its own pass */
    ngx_uint_t                    priority;       /* 0..9 */
    batch_rules_t                 rules;          /* of its lines; a block */
    ngx_http_batch_run_uri_t     *uris;           /* of the rules' targets; a
                                                     block with their text */

    ngx_uint_t                    stop;           /* cancelling or ended */
    ngx_msec_t                    stop_at;

    ngx_uint_t                    seen;           /* in the last active list */
    ngx_uint_t                    known;          /* was named before */
    ngx_msec_t                    claim_after;    /* nothing free before */
    ngx_msec_t                    claimed_at;     /* the last claim was sent */
    ngx_uint_t                    pauses;         /* vain claims in a row */
    ngx_uint_t                    hurried;        /* since the claim was sent */
    ngx_uint_t                    starved;        /* waits for room for a job */
    ngx_uint_t                    unplanned;      /* as far as is known: only a
                                                     job can do anything */
    ngx_uint_t                    claiming;
    ngx_uint_t                    idle;           /* ... with no chunk here */
    ngx_uint_t                    picked;         /* pick has it */
    ngx_uint_t                    unrouted;       /* that its location is gone
                                                     was logged */
    ngx_uint_t                    jobs;           /* ... with room for a job */
    ngx_uint_t                    job;            /* a job is under way */
    ngx_uint_t                    nchunks;        /* held by this worker */
    uint32_t                      planned;        /* chunks of the batch; 0 =
                                                     unknown */
    ngx_uint_t                    starts;         /* of lines, in this tick */
    ngx_uint_t                    pace;           /* and in the one before */
    char                          nonce[17];      /* of the claim under way; it
                                                     is kept while the outcome
                                                     is unknown */
};


/*
 * The run takes over what batch.json and plan.json say, and what the
 * configuration says now of its route and job.  root and plan belong to it from
 * here on; if it had them already, the new ones are freed.  Without its route
 * it has no conf, and waits.
 */
void ngx_http_batch_run_adopt(ngx_http_batch_run_t *run, json_t *root,
    ngx_http_batch_meta_t *meta, ngx_http_batch_plan_t *plan);
/* logs, once, that the location of the batch has no batch_api any more */
void ngx_http_batch_run_unrouted(ngx_http_batch_run_t *run, ngx_str_t *route);

/* the index has told a status: notices cancel and expiry */
void ngx_http_batch_run_status(ngx_http_batch_run_t *run,
    ngx_http_batch_index_res_t *res);

/* something may be claimable for the run at once */
void ngx_http_batch_run_hurry(ngx_http_batch_run_t *run);
/* nothing was: ask again later */
void ngx_http_batch_run_pause(ngx_http_batch_run_t *run);


#endif /* _NGX_HTTP_BATCH_RUN_H_INCLUDED_ */
