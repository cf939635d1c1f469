/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Which workers on this store live, also those of other nginx: each has a file
 * <store>/workers/<its id>, whose lock the kernel drops with the process.
 *
 * A lock that can be taken says that the worker is dead if the filesystem
 * carries locks from it to us.  So the file says which machine, that is which
 * kernel and which mounted filesystem, its worker is on.  It is believed of our
 * own, and of each other one of which a lock was met here.
 *
 * A file is locked before it gets its name, and loses the name last: when all
 * is done that the worker's death asks for, or by the worker itself, when it
 * leaves and holds nothing.  A worker that cannot have one goes on without it.
 * What is left of machines that we know nothing of goes after two days.
 */

#ifndef _NGX_HTTP_BATCH_ALIVE_H_INCLUDED_
#define _NGX_HTTP_BATCH_ALIVE_H_INCLUDED_

#include "ngx_http_batch.h"

/*
 * init_process, when the store and the slots are there: makes this worker's
 * file (blocks for a few calls), and begins to look at the others', in the
 * thread pool.  Dead ones are told to ngx_http_batch_slots_dead().
 */
void ngx_http_batch_alive_init(ngx_cycle_t *cycle);

/* exit_process, the thread pool has ended.  holds = 1: others have something to
 * take over, so the file stays */
void ngx_http_batch_alive_exit(ngx_uint_t holds);

/* in a task: all is done that this worker's death asks for.  NGX_OK also if
 * there is no such file; NGX_ERROR (logged) */
ngx_int_t ngx_http_batch_alive_forget(const char *owner, ngx_log_t *log);

#endif
