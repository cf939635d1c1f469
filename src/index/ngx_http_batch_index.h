/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What Redis knows: an index that can be rebuilt from disk.  One function per
 * question; each script in its own .lua file beside this one.  The keys, and
 * who asks what when, are in docs/internals/index.md.  Leases are compared with
 * Redis' own TIME, never with a client's.
 *
 * Every function: NGX_OK: the callback will be called once, later.  NGX_ERROR:
 * not sent (Redis is away): it will not be called.  While the worker connects
 * for the first time in its life, calls wait for that, 4096 at most, and are
 * sent in their order, or called back with NGX_ERROR.  The callback's rc:
 *   NGX_OK        done; res is valid during the call only
 *   NGX_DECLINED  no such object (or: lease lost, nothing to claim)
 *   NGX_ERROR     Redis went away or refused: the outcome is unknown
 *   NGX_BUSY      the index is being rebuilt (p:gen:<server> is missing): 503
 * BUSY is possible from what answers clients, from active and claim (nothing
 * runs from a half-filled index), and from chunk and renew when they find
 * nothing (keep working and ask again: the rebuild puts it back).
 */

#ifndef _NGX_HTTP_BATCH_INDEX_H_INCLUDED_
#define _NGX_HTTP_BATCH_INDEX_H_INCLUDED_

#include "ngx_http_batch_index_types.h"
#include "ngx_http_batch_final.h"

/*
 * Takes a place for what is about to be published: file_put and batch_put fill
 * it, otherwise it is free again after hold ms.  DECLINED: the tenant would be
 * over a limit; see res->over, used, granted.
 */
ngx_int_t ngx_http_batch_index_use_hold(const ngx_http_batch_hold_t *h,
    ngx_http_batch_index_pt cb, void *data);
/* The same for a part of an upload: the upload's place grows with its parts,
 * where they are more than its bytes. */
ngx_int_t ngx_http_batch_index_use_part(const ngx_http_batch_hold_part_t *h,
    ngx_http_batch_index_pt cb, void *data);
/* an upload has ended, and is filled by nothing: no part that is still coming
 * takes its place again, within keep ms */
ngx_int_t ngx_http_batch_index_use_end(const ngx_str_t *tenant,
    const char *upload, ngx_msec_t keep, ngx_http_batch_index_pt cb,
    void *data);
/* gives a place back that was not filled; DECLINED: there is nothing to give */
ngx_int_t ngx_http_batch_index_use_drop(ngx_http_batch_use_e use,
    const ngx_str_t *tenant, const char *id, ngx_http_batch_index_pt cb,
    void *data);

/* files; repeating a put is harmless, and so is one after a deletion.  upload:
 * whose place it takes over, or NULL */
ngx_int_t ngx_http_batch_index_file_put(const ngx_http_batch_file_t *f,
    const char *upload, ngx_http_batch_index_pt cb, void *data);
/* items[0] = manifest */
ngx_int_t ngx_http_batch_index_file_get(const char *id,
    ngx_http_batch_index_pt cb, void *data);
/* DECLINED: it was not in the index.  check: BUSY, if it may be in one that is
 * being filled.  deleted: there is a tombstone, else the store has lost it. */
ngx_int_t ngx_http_batch_index_file_del(const ngx_http_batch_file_t *f,
    ngx_uint_t check, ngx_uint_t deleted, ngx_http_batch_index_pt cb,
    void *data);
/* A piece of a list, of limit objects at most, fewer if they are large, or if
 * the index has no manifest of some.  purpose: len 0 = any.  Unknown after: an
 * empty one, and no more.  items = manifests, has_more: there may be more behind
 * place. */
ngx_int_t ngx_http_batch_index_file_list(const ngx_str_t *tenant,
    const ngx_str_t *purpose, const ngx_http_batch_place_t *after,
    ngx_uint_t limit, ngx_uint_t asc, ngx_http_batch_index_pt cb, void *data);
/* items = manifests of up to limit files with expires_at <= now (seconds), the
 * first skip of them left out; has_more: there may be more */
ngx_int_t ngx_http_batch_index_file_expired(int64_t now, ngx_uint_t skip,
    ngx_uint_t limit, ngx_http_batch_index_pt cb, void *data);

/* batches, for clients */
ngx_int_t ngx_http_batch_index_batch_put(const ngx_http_batch_meta_t *m,
    ngx_http_batch_index_pt cb, void *data);
ngx_int_t ngx_http_batch_index_batch_get(const char *id,
    ngx_http_batch_index_pt cb, void *data);
/* a piece, as file_list; views */
ngx_int_t ngx_http_batch_index_batch_list(const ngx_str_t *tenant,
    const ngx_http_batch_place_t *after, ngx_uint_t limit,
    ngx_http_batch_index_pt cb, void *data);
/* status cancelling unless terminal (then unchanged); view = afterwards */
ngx_int_t ngx_http_batch_index_batch_cancel(const char *id, int64_t at,
    ngx_http_batch_index_pt cb, void *data);

/* items = batch.json of up to limit batches that are to be deleted: they ended
 * by until (seconds), or are beyond the quota; has_more: there may be others.
 * They come again after the pause (seconds). */
ngx_int_t ngx_http_batch_index_batch_old(int64_t until, ngx_uint_t limit,
    int64_t pause, ngx_http_batch_index_pt cb, void *data);
/* DECLINED: it was not in the index.  deleted: there is a tombstone, else the
 * store has lost it. */
ngx_int_t ngx_http_batch_index_batch_del(const char *id,
    const ngx_str_t *tenant, ngx_uint_t deleted, ngx_http_batch_index_pt cb,
    void *data);

/* batches, for the run */
/* items = ids of up to limit active batches, oldest first; if there are more,
 * half of them are others, which ones depends on turn (0, 1, 2, ...) */
ngx_int_t ngx_http_batch_index_run_active(ngx_uint_t limit, ngx_uint_t turn,
    ngx_http_batch_index_pt cb, void *data);

/*
 * What may this worker do for the batch?  In this order: expiry is noticed
 * (status -> finalizing); validating -> VALIDATE if no live lease; in_progress
 * -> a chunk never claimed, released, or whose lease ran out; finalizing, or
 * cancelling without live chunk or validate leases -> FINALIZE if no live lease
 * (finalizing by expiry waits for those too).  nonce (1..64 bytes, no colon)
 * makes a repeated call of this worker return the same claim; once the batch is
 * finalizing or cancelling, a chunk that was claimed so is given back instead.
 * lease in ms; without jobs only a chunk is claimed.
 */
ngx_int_t ngx_http_batch_index_run_claim(const char *id, const ngx_str_t *nonce,
    ngx_msec_t lease, ngx_uint_t jobs, ngx_http_batch_index_pt cb,
    void *data);

/* validation ended well: in_progress (unless cancelling or expired meanwhile),
 * and its lease is given back; DECLINED: no such batch */
ngx_int_t ngx_http_batch_index_run_planned(const char *id,
    const ngx_str_t *tenant, uint64_t total, uint32_t chunks,
    const ngx_str_t *model, int64_t in_progress_at,
    ngx_http_batch_index_pt cb, void *data);

/* DECLINED: the lease was lost (another epoch).  res->status always.  Counts
 * are set per chunk, never added, and never fall; so repeating is harmless.
 * The last DONE moves the batch to finalizing, since the newest seal (sealed:
 * seconds; 0 unless DONE), so that a filled index says the same. */
ngx_int_t ngx_http_batch_index_run_chunk(const char *id, uint32_t chunk,
    uint32_t epoch, ngx_http_batch_chunk_state_e state, uint64_t ok,
    uint64_t failed, int64_t sealed, ngx_msec_t lease,
    ngx_http_batch_index_pt cb, void *data);

/* The seal of a chunk is void: back to released, and the batch to in_progress
 * (internally; the counts stay).  The finalizer's lease is given back.  Nothing
 * happens if the batch is cancelling, expired or terminal: see res->status. */
ngx_int_t ngx_http_batch_index_run_chunk_redo(const char *id, uint32_t chunk,
    ngx_http_batch_index_pt cb, void *data);

/* The worker of that id (ngx_http_batch_worker_id) is dead: its leases of the
 * batch end now. */
ngx_int_t ngx_http_batch_index_run_evict(const char *id, const char *owner,
    ngx_http_batch_index_pt cb, void *data);

/* extends the lease of VALIDATE or FINALIZE; lease 0 gives it back.  DECLINED:
 * lost */
ngx_int_t ngx_http_batch_index_run_renew(const char *id,
    ngx_http_batch_claim_e claim, uint32_t epoch, ngx_msec_t lease,
    ngx_http_batch_index_pt cb, void *data);

/* final.json is durable: terminal status, counts, model, times and files in one
 * step.  Of the files those count that have an id here: one that was deleted
 * since has none.  A batch that is terminal already stays as it is, its files
 * too; an unknown one (recovery) is made from the meta.  hook: its webhook is
 * due.  keep: how many ended batches its tenant keeps, 0: all; beyond them the
 * oldest become old.  DECLINED: it has been deleted since.  Asks for no p:gen.
 */
ngx_int_t ngx_http_batch_index_batch_final(const ngx_http_batch_meta_t *m,
    const ngx_http_batch_final_t *final, ngx_uint_t hook, ngx_uint_t keep,
    ngx_http_batch_index_pt cb, void *data);

/* Webhooks: items = "1" if there are more, else "0"; then, of up to limit
 * batches whose webhook is due, the id and its receiver, 16 hex digits or "0":
 * not known.  For other workers, and after a lost answer, they are due again
 * after lease ms.  What is further away than longest ms is due, too: the clock
 * was set back.  Of no receiver more are taken than it has places: as many as
 * places says, which is borrowed until the call is sent, or others. */
ngx_int_t ngx_http_batch_index_hook_claim(ngx_uint_t limit, ngx_msec_t lease,
    ngx_msec_t longest, ngx_uint_t others, const ngx_str_t *places,
    ngx_http_batch_index_pt cb, void *data);
/* It is due again after pause ms; -1: not any more.  receiver "": as it was.
 * DECLINED: it was not due at all, which remains so. */
ngx_int_t ngx_http_batch_index_hook_set(const char *id, int64_t pause,
    const char *receiver, ngx_http_batch_index_pt cb, void *data);

/* The era (slots.h) whose index this worker has asked for.  In every other one
 * the calls that want a filled index are answered BUSY: a worker of this node
 * is, or has been, with another Redis, and this one has not noticed yet. */
extern ngx_atomic_uint_t  ngx_http_batch_index_era;
/* the name of an era: which server the link leads to, and where in it */
uint32_t ngx_http_batch_index_era_name(void);

/* recovery: is the index filled?  OK or BUSY.  since: when it was begun to be
 * filled longer ago (ms), it is closed, and is BUSY; -1: whenever that was */
ngx_int_t ngx_http_batch_index_era_check(int64_t since,
    ngx_http_batch_index_pt cb, void *data);
/* Marks it filled, from a store that was begun to be read that long ago (ms),
 * and gives the lock back.  DECLINED: the lock was lost, so Redis may have been
 * emptied again meanwhile: begin again. */
ngx_int_t ngx_http_batch_index_era_filled(int64_t begun,
    ngx_http_batch_index_pt cb, void *data);
/* Some of the manifests that the index has; cursor 0 to begin with, then that
 * of the last answer, until it is 0.  A manifest may come twice. */
ngx_int_t ngx_http_batch_index_file_scan(int64_t cursor,
    ngx_http_batch_index_pt cb, void *data);
/* the same of batches: items = batch.json */
ngx_int_t ngx_http_batch_index_batch_scan(int64_t cursor,
    ngx_http_batch_index_pt cb, void *data);
/* a lock for the worker that rebuilds: OK (got it, for lease ms) or DECLINED */
ngx_int_t ngx_http_batch_index_era_lock(ngx_msec_t lease,
    ngx_http_batch_index_pt cb, void *data);
/* keeps it for lease ms more; DECLINED: it was lost, begin again */
ngx_int_t ngx_http_batch_index_era_renew(ngx_msec_t lease,
    ngx_http_batch_index_pt cb, void *data);
/* takes it from a worker that is dead; DECLINED: it did not have it */
ngx_int_t ngx_http_batch_index_era_unlock(const char *owner,
    ngx_http_batch_index_pt cb, void *data);
/* The same as file_put, batch_put, batch_cancel, but while p:gen is missing,
 * and ngx_http_batch_index_on_change() is not called.  A file: DECLINED if the
 * lock of the rebuild is not ours any more.  Order: batch, planned,
 * chunk_restore for each chunk with a seal or a segment, end (at: seconds, of
 * its cancel, 0 = it was not cancelled); or final alone. */
ngx_int_t ngx_http_batch_index_file_restore(const ngx_http_batch_file_t *f,
    ngx_http_batch_index_pt cb, void *data);
ngx_int_t ngx_http_batch_index_batch_restore(const ngx_http_batch_meta_t *m,
    ngx_http_batch_index_pt cb, void *data);
ngx_int_t ngx_http_batch_index_batch_restore_end(const char *id, int64_t at,
    ngx_http_batch_index_pt cb, void *data);
/* Puts a planned chunk's state back: never lowers an epoch or a count.  A lease
 * of the same epoch goes on, one of a lower epoch is taken away.  Also the
 * answer to an epoch that was used (segment_create: NGX_EEXIST): restore with
 * the highest epoch on disk, then RELEASE one's own, then claim again. */
ngx_int_t ngx_http_batch_index_run_chunk_restore(const char *id, uint32_t chunk,
    uint32_t epoch, ngx_uint_t done, uint64_t ok, uint64_t failed,
    int64_t sealed, ngx_http_batch_index_pt cb, void *data);

/* where api and sched meet: called on this worker after batch_put and
 * batch_cancel have succeeded, so that it need not wait for the next poll */
extern void (*ngx_http_batch_index_on_change)(const char *id);

#endif
