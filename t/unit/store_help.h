/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Files, batches, segments and seals for the tests, made by the store itself.
 */

#ifndef _STORE_HELP_H_INCLUDED_
#define _STORE_HELP_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_plan.h"
#include "ngx_http_batch_store.h"
#include "ngx_shim.h"
#include "test.h"

extern int64_t     help_now;       /* the clock, microseconds */
extern ngx_str_t   help_dir;

/* what nginx does with the store's directory when it starts */
ngx_int_t help_prepare(ngx_str_t *path, ngx_uid_t uid);

/* the location of every batch; its limits are none at first */
#define HELP_LINE_SIZE  (8 * 1024 * 1024)

extern ngx_http_batch_loc_conf_t  help_route;

/* makes and opens a fresh store in the directory; exits on failure */
void help_store(const char *dir);

/* a published file of the tenant with this content; id is filled */
void help_file(char id[BATCH_ID_LEN], const char *tenant, const char *purpose,
    int64_t expires_at, const void *data, size_t len);

/* a published batch */
void help_batch(char id[BATCH_ID_LEN], const char *tenant, const char *input,
    const char *endpoint, const char *job_id);

/* n good lines "id<i>" of the model into a malloc()ed text */
char *help_lines(unsigned from, unsigned n, size_t *len);

/* a record in a segment that is open; its pick.  kind as in batch_record.h */
batch_pick_t help_record(ngx_fd_t fd, off_t *off, const char *id,
    uint32_t chunk, uint32_t epoch, uint64_t line, uint16_t kind,
    const char *payload);

/* publishes a seal of the picks (sorted by line) */
void help_seal(const char *id, uint32_t chunk, uint32_t epoch,
    batch_pick_t *picks, uint32_t n, uint64_t sealed_us);

/* entries of the store's room (below its shards) whose name ends so */
unsigned help_count(const char *room, const char *suffix);

/* the content of a blob, malloc()ed, NUL-terminated; NULL if there is none */
char *help_blob(const char *id);

#endif
