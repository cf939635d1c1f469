/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Shared memory of a node.  A worker writes its own slot only; a dead worker's
 * id is moved to a grave, where it stays until its leases are free.
 */

#include "ngx_http_batch_slots.h"


#define NGX_HTTP_BATCH_SLOTS_CHECK  200     /* ms */

#define NGX_HTTP_BATCH_SLOTS_ASLEEP 10000   /* ms, the length of a lease */

/*
 * An era is one word: the bits of its name, and above them the time when it
 * began, in ms.  In a word of 32 bits the time wraps after hours.  An era then
 * looks younger than it is, and an index may be filled once more than needed.
 */
#define NGX_HTTP_BATCH_ERA_BITS     (NGX_PTR_SIZE == 8 ? 24 : 8)
#define NGX_HTTP_BATCH_ERA_NAME                                               \
    (((ngx_atomic_uint_t) 1 << NGX_HTTP_BATCH_ERA_BITS) - 1)
#define NGX_HTTP_BATCH_ERA_TIME                                               \
    (((ngx_atomic_uint_t) -1) >> NGX_HTTP_BATCH_ERA_BITS)

#define NGX_HTTP_BATCH_GRAVES       64

/* a grave's state; the bits above count how often it was used */
#define NGX_HTTP_BATCH_GRAVE_FREE   0
#define NGX_HTTP_BATCH_GRAVE_OPEN   1       /* being written */
#define NGX_HTTP_BATCH_GRAVE_FULL   2
#define NGX_HTTP_BATCH_GRAVE_MASK   3
#define NGX_HTTP_BATCH_GRAVE_USED   4


/* a dead worker whose leases are not known to be free yet */

typedef struct {
    ngx_atomic_t           state;
    ngx_atomic_t           at;          /* ngx_current_msec */
    char                   owner[NGX_HTTP_BATCH_WORKER_ID];
} ngx_http_batch_grave_t;


/* what is in the zone; it survives reloads */

typedef struct {
    ngx_http_batch_grave_t graves[NGX_HTTP_BATCH_GRAVES];
    ngx_atomic_t           births;      /* of processes: changed, look again */
    ngx_atomic_t           news;        /* for idle workers */
    ngx_atomic_t           era;
    ngx_atomic_t           advised;     /* which advice was logged last */
    ngx_http_batch_clock_t clock;
    ngx_http_batch_slot_t  slots[NGX_HTTP_BATCH_SLOTS];
} ngx_http_batch_slots_t;


static ngx_int_t ngx_http_batch_slots_init_zone(ngx_shm_zone_t *zone,
    void *data);
static void ngx_http_batch_slots_look(void);
static void ngx_http_batch_slots_bury(ngx_http_batch_slot_t *slot);
static ngx_http_batch_grave_t *ngx_http_batch_slots_grave(const char *owner);
static void ngx_http_batch_slots_close(ngx_http_batch_grave_t *grave,
    ngx_atomic_uint_t state);
static ngx_uint_t ngx_http_batch_slots_lies(ngx_http_batch_grave_t *grave,
    const char *owner, ngx_atomic_uint_t *state);


ngx_http_batch_slot_t   *ngx_http_batch_slot;
ngx_uint_t               ngx_http_batch_slots_workers;
ngx_http_batch_clock_t  *ngx_http_batch_slots_clock;
ngx_atomic_t            *ngx_http_batch_slots_news;

static ngx_int_t             (*ngx_http_batch_slots_ready)(void);
static ngx_http_batch_slot_t  *ngx_http_batch_slots;
static ngx_atomic_t           *ngx_http_batch_slots_births;
static ngx_atomic_uint_t       ngx_http_batch_slots_known;
static ngx_uint_t              ngx_http_batch_slots_live[NGX_MAX_PROCESSES];
static ngx_uint_t              ngx_http_batch_slots_nlive;
static ngx_msec_t              ngx_http_batch_slots_looked;
static ngx_http_batch_grave_t  *ngx_http_batch_slots_graves;
static ngx_atomic_t            *ngx_http_batch_slots_present;   /* era */
static ngx_atomic_t            *ngx_http_batch_slots_told;      /* advised */


ngx_int_t
ngx_http_batch_slots_add(ngx_conf_t *cf, ngx_int_t (*ready)(void))
{
    size_t                       size;
    ngx_str_t                    name = ngx_string("ngx_http_batch");
    ngx_shm_zone_t              *zone;
    ngx_http_batch_main_conf_t  *bmcf;

    size = sizeof(ngx_http_batch_slots_t) + 16 * ngx_pagesize;

    zone = ngx_shared_memory_add(cf, &name, size, &ngx_http_batch_module);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    zone->init = ngx_http_batch_slots_init_zone;
    zone->data = (void *) 1;

    /* a configuration that is refused later must not leave its zone */

    bmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_batch_module);
    bmcf->slots = zone;

    ngx_http_batch_slots_ready = ready;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_slots_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    if (ngx_http_batch_slots_ready() != NGX_OK) {
        return NGX_ERROR;
    }

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    /* after a reload workers of both cycles share the slots */

    if (data == NULL && !zone->shm.exists) {
        shpool->data = ngx_slab_calloc(shpool, sizeof(ngx_http_batch_slots_t));
        if (shpool->data == NULL) {
            return NGX_ERROR;
        }
    }

    zone->data = shpool->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_slots_init(ngx_cycle_t *cycle)
{
    ngx_core_conf_t         *ccf;
    ngx_http_batch_slots_t  *sh;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    ngx_http_batch_slots_workers = (ngx_process == NGX_PROCESS_SINGLE) ? 1
                                   : (ngx_uint_t) ccf->worker_processes;

    sh = ngx_http_batch_conf->slots->data;

    ngx_http_batch_slots = sh->slots;
    ngx_http_batch_slots_graves = sh->graves;
    ngx_http_batch_slots_births = &sh->births;
    ngx_http_batch_slots_news = &sh->news;
    ngx_http_batch_slots_clock = &sh->clock;
    ngx_http_batch_slots_present = &sh->era;
    ngx_http_batch_slots_told = &sh->advised;
    ngx_http_batch_slot = &ngx_http_batch_slots[ngx_process_slot];

    if (ngx_http_batch_slot->pid) {
        /* its owner is dead, and nobody has noticed yet: we have its place */
        ngx_http_batch_slots_bury(ngx_http_batch_slot);
    }

    ngx_memzero(ngx_http_batch_slot, sizeof(ngx_http_batch_slot_t));
    ngx_memcpy(ngx_http_batch_slot->owner, ngx_http_batch_worker_id,
               NGX_HTTP_BATCH_WORKER_ID);
    ngx_http_batch_slot->beat = ngx_current_msec;
    ngx_memory_barrier();
    ngx_http_batch_slot->pid = ngx_pid;

    (void) ngx_atomic_fetch_add(&sh->births, 1);

    ngx_http_batch_slots_look();

    return NGX_OK;
}


void
ngx_http_batch_slots_beat(void)
{
    ngx_http_batch_slot->beat = ngx_current_msec;
}


void
ngx_http_batch_slots_exit(ngx_uint_t holds)
{
    if (ngx_http_batch_slot && !holds) {
        ngx_memzero(ngx_http_batch_slot, sizeof(ngx_http_batch_slot_t));
    }
}


void
ngx_http_batch_slots_tell(void)
{
    (void) ngx_atomic_fetch_add(ngx_http_batch_slots_news, 1);
}


/*
 * A gauge of a killed worker must not hold the node's limit down until a new
 * process happens to get its slot: a slot counts while its pid lives.
 */

static void
ngx_http_batch_slots_look(void)
{
    ngx_uint_t    i, n;
    ngx_atomic_t  pid;

    n = 0;
    ngx_http_batch_slots_known = *ngx_http_batch_slots_births;

    for (i = 0; i < NGX_HTTP_BATCH_SLOTS; i++) {
        pid = ngx_http_batch_slots[i].pid;

        if (pid == 0) {
            continue;
        }

        if (kill((ngx_pid_t) pid, 0) == -1 && ngx_errno == NGX_ESRCH) {
            ngx_http_batch_slots_bury(&ngx_http_batch_slots[i]);
            continue;
        }

        ngx_http_batch_slots_live[n++] = i;
    }

    ngx_http_batch_slots_nlive = n;
    ngx_http_batch_slots_looked = ngx_current_msec;
}


/*
 * Of all workers that see a dead one, exactly one writes its id down.  Without
 * a free grave the slot stays as it is, and is seen again.
 */

static void
ngx_http_batch_slots_bury(ngx_http_batch_slot_t *slot)
{
    ngx_atomic_uint_t        pid;
    ngx_http_batch_grave_t  *grave;

    pid = slot->pid;
    grave = ngx_http_batch_slots_grave(slot->owner);

    if (grave == NULL) {
        return;
    }

    if (pid && ngx_atomic_cmp_set(&slot->pid, pid, 0)) {
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "batch: worker %s, pid %uA: found dead", grave->owner,
                       pid);

        ngx_http_batch_slots_close(grave, NGX_HTTP_BATCH_GRAVE_FULL);

    } else {
        ngx_http_batch_slots_close(grave, NGX_HTTP_BATCH_GRAVE_FREE);
    }
}


/* opens a grave and writes the id into it; NULL if none is free */

static ngx_http_batch_grave_t *
ngx_http_batch_slots_grave(const char *owner)
{
    ngx_uint_t               i;
    ngx_atomic_uint_t        state;
    ngx_http_batch_grave_t  *grave;

    for (i = 0; i < NGX_HTTP_BATCH_GRAVES; i++) {
        grave = &ngx_http_batch_slots_graves[i];
        state = grave->state;

        if ((state & NGX_HTTP_BATCH_GRAVE_MASK) == NGX_HTTP_BATCH_GRAVE_FREE
            && ngx_atomic_cmp_set(&grave->state, state,
                                  state | NGX_HTTP_BATCH_GRAVE_OPEN))
        {
            ngx_memcpy(grave->owner, owner, NGX_HTTP_BATCH_WORKER_ID);
            grave->at = ngx_current_msec;
            return grave;
        }
    }

    return NULL;
}


/* called by the worker that opened it only */

static void
ngx_http_batch_slots_close(ngx_http_batch_grave_t *grave,
    ngx_atomic_uint_t state)
{
    ngx_memory_barrier();

    grave->state = (grave->state & ~(ngx_atomic_uint_t)
                                    NGX_HTTP_BATCH_GRAVE_MASK) | state;
}


static ngx_uint_t
ngx_http_batch_slots_lies(ngx_http_batch_grave_t *grave, const char *owner,
    ngx_atomic_uint_t *state)
{
    *state = grave->state;
    ngx_memory_barrier();

    return (*state & NGX_HTTP_BATCH_GRAVE_MASK) == NGX_HTTP_BATCH_GRAVE_FULL
           && (owner == NULL
               || ngx_memcmp(grave->owner, owner, NGX_HTTP_BATCH_WORKER_ID)
                  == 0);
}


void
ngx_http_batch_slots_dead(const char *owner)
{
    ngx_uint_t               i;
    ngx_atomic_uint_t        state;
    ngx_http_batch_grave_t  *grave;

    for (i = 0; i < NGX_HTTP_BATCH_GRAVES; i++) {
        if (ngx_http_batch_slots_lies(&ngx_http_batch_slots_graves[i], owner,
                                      &state))
        {
            return;
        }
    }

    /* two workers may write it at once: then it is buried twice */

    grave = ngx_http_batch_slots_grave(owner);

    if (grave) {
        ngx_http_batch_slots_close(grave, NGX_HTTP_BATCH_GRAVE_FULL);
    }
}


ngx_uint_t
ngx_http_batch_slots_died(ngx_uint_t *i, char owner[NGX_HTTP_BATCH_WORKER_ID],
    ngx_msec_t *age)
{
    ngx_atomic_uint_t        state;
    ngx_msec_int_t           ms;
    ngx_http_batch_grave_t  *grave;

    if (*i == 0
        && ngx_current_msec - ngx_http_batch_slots_looked
           > NGX_HTTP_BATCH_SLOTS_CHECK)
    {
        ngx_http_batch_slots_look();
    }

    while (*i < NGX_HTTP_BATCH_GRAVES) {
        grave = &ngx_http_batch_slots_graves[(*i)++];

        if (ngx_http_batch_slots_lies(grave, NULL, &state)) {
            ngx_memcpy(owner, grave->owner, NGX_HTTP_BATCH_WORKER_ID);
            owner[NGX_HTTP_BATCH_WORKER_ID - 1] = '\0';

            /* another worker's time may be a tick ahead of ours */

            ms = (ngx_msec_int_t) (ngx_current_msec
                                   - (ngx_msec_t) grave->at);
            *age = (ngx_msec_t) ngx_max(ms, 0);

            return 1;
        }
    }

    return 0;
}


void
ngx_http_batch_slots_buried(const char *owner)
{
    ngx_uint_t               i;
    ngx_atomic_uint_t        state;
    ngx_http_batch_grave_t  *grave;

    for (i = 0; i < NGX_HTTP_BATCH_GRAVES; i++) {
        grave = &ngx_http_batch_slots_graves[i];

        if (ngx_http_batch_slots_lies(grave, owner, &state)) {

            /* fails if another worker was faster: the grave is another's */

            (void) ngx_atomic_cmp_set(&grave->state, state,
                                      state - NGX_HTTP_BATCH_GRAVE_FULL
                                      + NGX_HTTP_BATCH_GRAVE_USED);
        }
    }
}


ngx_uint_t
ngx_http_batch_slots_asleep(ngx_http_batch_slot_t *slot)
{
    return slot != ngx_http_batch_slot
           && (ngx_msec_int_t) (ngx_current_msec - (ngx_msec_t) slot->beat)
              > NGX_HTTP_BATCH_SLOTS_ASLEEP;
}


ngx_uint_t
ngx_http_batch_slots_advise(uint32_t what)
{
    ngx_atomic_uint_t  last;

    last = *ngx_http_batch_slots_told;

    return last != (ngx_atomic_uint_t) what + 1
           && ngx_atomic_cmp_set(ngx_http_batch_slots_told, last,
                                 (ngx_atomic_uint_t) what + 1);
}


ngx_atomic_uint_t
ngx_http_batch_slots_era(void)
{
    return *ngx_http_batch_slots_present;
}


void
ngx_http_batch_slots_era_begin(uint32_t name)
{
    ngx_atomic_uint_t  era, old, at;

    /* everything up to now belongs to an older era */

    ngx_time_update();

    for ( ;; ) {
        old = *ngx_http_batch_slots_present;

        if (ngx_http_batch_slots_era_is(old, name)) {
            return;
        }

        at = 0;

        if (old) {
            at = ngx_current_msec & NGX_HTTP_BATCH_ERA_TIME;

            /* no two eras have the same time, and 0 is the first one's */

            if (at == old >> NGX_HTTP_BATCH_ERA_BITS || at == 0) {
                at = (at + 1) & NGX_HTTP_BATCH_ERA_TIME;
                at = ngx_max(at, 1);
            }
        }

        era = at << NGX_HTTP_BATCH_ERA_BITS
              | ((name | 1) & NGX_HTTP_BATCH_ERA_NAME);

        if (ngx_atomic_cmp_set(ngx_http_batch_slots_present, old, era)) {
            ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                           "batch: era %xA ended, era %xA begins", old, era);
            return;
        }
    }
}


ngx_uint_t
ngx_http_batch_slots_era_is(ngx_atomic_uint_t era, uint32_t name)
{
    return (era & NGX_HTTP_BATCH_ERA_NAME)
           == ((name | 1) & NGX_HTTP_BATCH_ERA_NAME);
}


int64_t
ngx_http_batch_slots_era_age(ngx_atomic_uint_t era)
{
    ngx_atomic_uint_t  at, age;

    at = era >> NGX_HTTP_BATCH_ERA_BITS;

    if (at == 0) {
        return -1;
    }

    ngx_time_update();

    age = (ngx_current_msec - at) & NGX_HTTP_BATCH_ERA_TIME;

    /* its time may be a tick ahead of ours */

    return age > NGX_HTTP_BATCH_ERA_TIME / 2 ? 0 : (int64_t) age;
}


ngx_http_batch_slot_t *
ngx_http_batch_slots_next(ngx_uint_t *i)
{
    if (*i == 0) {
        ngx_http_batch_slots_look();
    }

    return ngx_http_batch_slots_recent(i);
}


ngx_http_batch_slot_t *
ngx_http_batch_slots_recent(ngx_uint_t *i)
{
    if (*i == 0
        && (ngx_http_batch_slots_known != *ngx_http_batch_slots_births
            || ngx_current_msec - ngx_http_batch_slots_looked
               > NGX_HTTP_BATCH_SLOTS_CHECK))
    {
        ngx_http_batch_slots_look();
    }

    if (*i >= ngx_http_batch_slots_nlive) {
        return NULL;
    }

    return &ngx_http_batch_slots[ngx_http_batch_slots_live[(*i)++]];
}
