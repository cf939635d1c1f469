/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One file, from its manifest to its deletion, while the power fails and Redis
 * comes back with an older state.  What was answered "deleted" stays deleted:
 * no rebuild, no late finalizer and no tidying brings it back.
 *
 *   OUTPUT                 1: the file is a batch's result, which its final.json
 *                          names; 0: a client has uploaded it
 *   CUTS, REWINDS, KILLS   how often
 *   -DM_...                one protection is removed
 */

#ifndef OUTPUT
#define OUTPUT  1
#endif
#ifndef CUTS
#define CUTS    1
#endif
#ifndef REWINDS
#define REWINDS 1
#endif
#ifndef KILLS
#define KILLS   1
#endif

/* names in the directory: bits of a mask, as processes see it (_m) and as a power
 * cut leaves it (_d) */
#define JSON    1
#define DEL     2

#define HAS(m, b)   (((m) & (b)) != 0)

byte  dir_m = JSON;
byte  dir_d = JSON;

/* the index: the file, and the batch that it is the output of has ended; the
 * latter keeps a late "it has ended" from making the file again */
bool  idx = 1, ended = 1, filled = 1, torn;
bool  s_idx = 1, s_ended = 1;

bool  deleted;                     /* answered 200 */
bool  inflight;                    /* a DELETE that has found the file */

byte  cuts = CUTS, rewinds = REWINDS, kills = KILLS, dead;

#define RESTART(n)  atomic { HAS(dead, 1 << n) -> dead = dead & ~(1 << n) }


/* DELETE /files/<id>; also the sweep of expired files */

active proctype deleter()
{
restart:
    {
        do
        :: atomic { filled && idx -> inflight = 1 };

#ifdef M_JSON_FIRST
           dir_m = dir_m & ~JSON;
           idx = 0;
           atomic { deleted = 1; inflight = 0 };
           break
#endif
           dir_m = dir_m | DEL;             /* link() of the tombstone */
#ifndef M_NO_DIR_SYNC
           dir_d = dir_m;
#endif
           dir_m = dir_m & ~JSON;
           idx = 0;                         /* file_del.lua: asks for no gen */
           atomic { deleted = 1; inflight = 0 };
           break
        od
    } unless { RESTART(0) -> inflight = 0; goto restart }
}


#if OUTPUT

/* whoever finalized the batch, or rebuilds the index, makes the manifests that
 * final.json names, again and again, and tells the index until it is heard */

active proctype settler()
{
    bool  made;

restart:
    {
        do
        :: atomic { !HAS(dir_m, DEL) && !HAS(dir_m, JSON) -> made = 1 };
           atomic { dir_m = dir_m | JSON };         /* link() */
#ifndef M_NO_TOMB_CHECK
           if
           :: HAS(dir_m, DEL) -> dir_m = dir_m & ~JSON
           :: else
           fi;
#endif
           made = 0
        :: atomic { !ended -> ended = 1; idx = 1 }  /* final.lua */
        od
    } unless { RESTART(1) -> made = 0; goto restart }
}


#endif


active proctype recover()
{
    bool  json, tomb, ghost;

restart:
    {
        do
        :: atomic { !filled -> torn = 0 };

           /* the walk: files, then batches */

           atomic { json = HAS(dir_m, JSON) && !HAS(dir_m, DEL) };
           if
           :: atomic { json && !torn -> idx = 1 }   /* file_put.lua */
           :: !json || torn
           fi;
           tomb = HAS(dir_m, DEL);
           atomic {                                 /* final.lua */
               if
               :: OUTPUT && !torn && !ended -> ended = 1; idx = idx || !tomb
               :: else
               fi };

           /* what the index has and the store has not */

#ifndef M_NO_GHOSTS
#ifdef M_GHOSTS_BY_TOMB
           ghost = HAS(dir_m, DEL);
#else
           ghost = HAS(dir_m, DEL) || !HAS(dir_m, JSON);
#endif
           if
           :: atomic { ghost && !torn -> idx = 0 }
           :: !ghost || torn
           fi;
#endif
           atomic {
               if
               :: !torn -> filled = 1
               :: else
               fi;
               json = 0; tomb = 0; ghost = 0 }
        od
    } unless { RESTART(2) -> json = 0; tomb = 0; ghost = 0; goto restart }
}


#if !OUTPUT

/* The tombstone of an uploaded file may go, once the manifest is gone for
 * certain.  That of a result may not: final.json goes on naming it. */

active proctype tidy()
{
    do
#ifdef M_TOMB_FIRST
    :: atomic { deleted && HAS(dir_m, DEL) ->
           dir_m = (dir_m | JSON) & ~DEL; dir_d = dir_m; break }
#else
    :: atomic { deleted && HAS(dir_m, DEL) && !HAS(dir_m, JSON) &&
                HAS(dir_d, DEL) && !HAS(dir_d, JSON) ->
           dir_m = dir_m & ~DEL; dir_d = dir_m; break }
#endif
    od
}


#endif


active proctype env()
{
    do
    :: atomic { cuts > 0 -> cuts--; dead = 7;
           if
           :: dir_m = dir_d
           :: dir_m = (dir_m & JSON) | (dir_d & DEL)
           :: dir_m = (dir_d & JSON) | (dir_m & DEL)
           :: true
           fi;
           dir_d = dir_m }
    :: atomic { kills > 0 -> kills--;
           if
           :: dead = dead | 1
           :: dead = dead | 2
           :: dead = dead | 4
           fi }
    :: atomic { dir_d = dir_m }             /* the kernel writes when it likes */
    :: atomic { rewinds > 0 -> s_idx = idx; s_ended = ended }
    :: atomic { rewinds > 0 -> rewinds--;
           if
           :: idx = s_idx; ended = s_ended
#if OUTPUT
           :: idx = 0; ended = 0        /* before the batch had ended */
#endif
           fi;
#ifndef M_NO_REBUILD
           filled = 0;
#endif
           torn = 1 }

    /* a client asks for the file; who asks a second time to delete it may meet
     * the end of the first time */

    :: atomic { deleted && filled && idx && !inflight -> assert(false) }  /* I9 */
    od
}
