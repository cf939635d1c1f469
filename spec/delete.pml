/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One file, from its manifest to its deletion, while the power fails and Redis
 * comes back with an older state.  What was answered "deleted" stays deleted:
 * no rebuild, no late finalizer and no tidying brings it back.  What nobody has
 * meant to delete is there for whoever asks.
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
#define BLOB    4

#define HAS(m, b)   (((m) & (b)) != 0)

/* the manifest of a result is not synced: it is made again of final.json */

byte  dir_m = JSON | BLOB;
#if OUTPUT
byte  dir_d = BLOB;
#else
byte  dir_d = JSON | BLOB;
#endif

/* is there a file that is not deleted: a rebuild looks for names */

#ifdef M_NO_BLOB
#define ALIVE(m)    (!HAS(m, DEL))
#else
#define ALIVE(m)    (!HAS(m, DEL) && HAS(m, BLOB))
#endif

/* the index: the file, and the batch that it is the output of has ended; the
 * latter keeps a late "it has ended" from making the file again */
bool  idx = 1, ended = 1, filled = 1, torn;
bool  s_idx = 1, s_ended = 1;

bool  deleted;                     /* answered 200 */
bool  inflight;                    /* a DELETE that has found the file */
bool  begun;                       /* there was one, whatever became of it */
bool  made;                        /* somebody is making the manifest */

byte  cuts = CUTS, rewinds = REWINDS, kills = KILLS, dead;

#define RESTART(n)  atomic { HAS(dead, 1 << n) -> dead = dead & ~(1 << n) }


/* DELETE /files/<id>; also the sweep of expired files */

active proctype deleter()
{
restart:
    {
        do
        :: atomic { filled && idx -> inflight = 1; begun = 1 };

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
           dir_m = dir_m & ~BLOB;
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
restart:
    {
        do
        :: atomic { ALIVE(dir_m) && !HAS(dir_m, JSON) -> made = 1 };
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
    bool  json, alive, ghost;

restart:
    {
        do
        :: atomic { !filled -> torn = 0 };

           /* the walk: files, then batches, whose manifests may not be made for
            * want of space */

           atomic { json = HAS(dir_m, JSON) && !HAS(dir_m, DEL) };
           if
           :: atomic { json && !torn -> idx = 1 }   /* file_put.lua */
           :: !json || torn
           fi;
           alive = ALIVE(dir_m);
           atomic {                                 /* final.lua */
               if
               :: OUTPUT && !torn && !ended -> ended = 1; idx = idx || alive
               :: else
               fi };

           /* what the index has and the store has not */

#ifndef M_NO_GHOSTS
#ifdef M_GHOSTS_BY_TOMB
           ghost = HAS(dir_m, DEL);
#else
#ifdef M_GHOSTS_BY_JSON
           ghost = HAS(dir_m, DEL) || !HAS(dir_m, JSON);
#else
           ghost = HAS(dir_m, DEL) || !HAS(dir_m, JSON) && !HAS(dir_m, BLOB);
#endif
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
               json = 0; alive = 0; ghost = 0 }
        od
    } unless { RESTART(2) -> json = 0; alive = 0; ghost = 0; goto restart }
}


/* The tombstone may go, once manifest and blob are gone for certain.  It waits for
 * two days: nobody who has looked before is still making a manifest. */

active proctype tidy()
{
restart:
    {
        do
        :: atomic { deleted && HAS(dir_m, DEL) && !made ->
               dir_m = dir_m & ~JSON & ~BLOB };
#ifndef M_TIDY_UNSYNCED
           dir_d = dir_m;
#endif
           atomic { HAS(dir_m, DEL) && !made -> dir_m = dir_m & ~DEL; break }
        od
    } unless { RESTART(3) -> goto restart }
}


/* a name is as it was seen, or as it was durable */

#define CUT(b)                                                                \
    if                                                                        \
    :: dir_m = (dir_m & ~(b)) | (dir_d & (b))                                 \
    :: dir_d = (dir_d & ~(b)) | (dir_m & (b))                                 \
    fi


active proctype env()
{
    do
    :: atomic { cuts > 0 -> cuts--; dead = 15; made = 0;
           CUT(JSON); CUT(DEL); CUT(BLOB) }
    :: atomic { kills > 0 -> kills--;
           if
           :: dead = dead | 1
           :: dead = dead | 2; made = 0
           :: dead = dead | 4
           :: dead = dead | 8
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
    :: atomic { !begun && filled && !idx -> assert(false) }               /* I1 */
    od
}
