/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One batch that has ended, from there to its deletion and the end of its
 * tombstone, while the power fails and Redis comes back with an older state.
 * What was deleted stays so: no rebuild, no late finalizer and no key that is
 * used again brings it back, and none of its lines is sent a second time.  Its
 * result, which is a file of its own, is not lost.
 *
 *   CUTS, REWINDS, KILLS   how often
 *   -DM_...                one protection is removed
 */

#ifndef CUTS
#define CUTS    1
#endif
#ifndef REWINDS
#define REWINDS 1
#endif
#ifndef KILLS
#define KILLS   1
#endif

/* names: of the batch's directory, and the manifest of its result, which is not
 * synced: it is made of final.json.  As processes see them (_m), as a power cut
 * leaves them (_d). */

#define META    1
#define FINAL   2
#define DEL     4
#define JSON    8

#define HAS(m, b)   (((m) & (b)) != 0)

byte  dir_m = META | FINAL, dir_d = META | FINAL;

/* the index: 0 unknown, 1 under way, 2 ended; mark: for an hour, deleted */
byte  idx = 2, s_idx = 2;
bool  mark, s_mark, filled = 1, torn;

bool  deleted;                     /* a client was told 404 */
bool  begun;                       /* there is, or was, a tombstone */
bool  busy;                        /* somebody may put a name beside it */
bool  over;                        /* two days later: nobody will any more */

byte  cuts = CUTS, rewinds = REWINDS, kills = KILLS, dead;

#define RESTART(n)  atomic { HAS(dead, 1 << n) -> dead = dead & ~(1 << n) }

/* would a rebuild show it, and as what? */

#ifdef M_WALK_BLIND
#define SEEN(m)     (HAS(m, META))
#else
#define SEEN(m)     (HAS(m, META) && !HAS(m, DEL))
#endif


/* ngx_http_batch_delete_batch(), then batch_del.lua */

active proctype retire()
{
restart:
    {
        do
        :: filled && idx == 2;

           if
           :: !HAS(dir_m, DEL) && HAS(dir_m, FINAL) ->
#ifndef M_NO_SETTLE
               dir_m = dir_m | JSON;
#endif
#ifndef M_RESULT_UNSYNCED
               atomic { dir_d = (dir_d & ~JSON) | (dir_m & JSON) };
#endif
#ifndef M_NO_TOMB
               atomic { dir_m = dir_m | DEL; begun = 1 };
#ifndef M_TOMB_UNSYNCED
               dir_d = dir_d | DEL;
#endif
#else
               begun = 1;
#endif
               dir_m = dir_m & ~META;
               dir_m = dir_m & ~FINAL
           :: else
           fi;

           /* a DELETE that is repeated makes the tombstone durable, too */

           atomic {
               if
               :: HAS(dir_m, DEL) -> dir_d = dir_d | DEL
               :: else
               fi
           };

           if
           :: atomic { begun || !HAS(dir_m, META) -> idx = 0; mark = 1 };
              atomic { filled -> deleted = 1 }
           :: else
           fi
        od
    } unless { RESTART(0) -> goto restart }
}


/* a request that is repeated with its key: batch.json again, batch_put.lua; a
 * finalizer that was stopped for long: final.json again, final.lua */

active proctype late()
{
    byte name;

restart:
    {
        do
        :: atomic { !over && !HAS(dir_m, META) && HAS(dir_m, DEL) ->
               busy = 1; name = META };
           goto link
        :: atomic { !over && !HAS(dir_m, FINAL) && HAS(dir_m, DEL) ->
               busy = 1; name = FINAL };
           goto link
        :: atomic { !mark && idx == 0 && HAS(dir_m, META) && !HAS(dir_m, DEL)
                    -> idx = 1 }
        od;

link:
        atomic { dir_m = dir_m | name };
#ifndef M_NO_LOOK
        if
        :: HAS(dir_m, DEL) -> dir_m = dir_m & ~name
        :: else
        fi;
#endif
        atomic { busy = 0 };
        goto restart
    } unless { RESTART(1) -> busy = 0; goto restart }
}


/* a rebuild: what the walk finds, then what only the index has */

active proctype recover()
{
    byte seen;

restart:
    {
        do
        :: atomic { !filled -> torn = 0 };
           atomic { seen = 0;
               if
               :: SEEN(dir_m) -> seen = 1
               :: else
               fi };
           if
           :: seen ->
              if
              :: HAS(dir_m, FINAL) -> seen = 2
              :: !HAS(dir_m, FINAL) ->
#ifndef M_NO_SECOND_LOOK
                 if
                 :: HAS(dir_m, DEL) -> seen = 0
                 :: else
                 fi
#else
                 skip
#endif
              fi
           :: else
           fi;
           atomic {
               if
               :: seen && !mark && idx < seen -> idx = seen
               :: else
               fi };
#ifndef M_NO_GHOSTS
           if
           :: idx && (!HAS(dir_m, META) || HAS(dir_m, DEL)) -> idx = 0
           :: else
           fi;
#endif
           atomic {
               if
               :: !torn -> filled = 1
               :: else
               fi }
        od
    } unless { RESTART(2) -> goto restart }
}


/* the tombstone goes when the rest is gone for certain: two days later, when
 * nobody is left who is still at it, and keys have been forgotten */

active proctype tidy()
{
restart:
    {
        do
        :: atomic { HAS(dir_m, DEL) && deleted && !busy ->
               over = 1; dir_m = dir_m & ~META & ~FINAL };
#ifndef M_TIDY_UNSYNCED
           dir_d = dir_m;
#endif
           dir_m = dir_m & ~DEL
        od
    } unless { RESTART(3) -> goto restart }
}


#define CUT(b)                                                                \
    if                                                                        \
    :: dir_m = (dir_m & ~(b)) | (dir_d & (b))                                 \
    :: dir_d = (dir_d & ~(b)) | (dir_m & (b))                                 \
    fi


active proctype env()
{
    do
    :: atomic { cuts > 0 -> cuts--; dead = 15; busy = 0;
           CUT(META); CUT(FINAL); CUT(DEL); CUT(JSON) }
    :: atomic { kills > 0 -> kills--;
           if
           :: dead = dead | 1
           :: dead = dead | 2; busy = 0
           :: dead = dead | 4
           :: dead = dead | 8
           fi }
    :: atomic { dir_d = dir_m }
    :: atomic { rewinds > 0 -> s_idx = idx; s_mark = mark }
    :: atomic { rewinds > 0 -> rewinds--;
           if
           :: idx = s_idx; mark = s_mark
           :: idx = 0; mark = 0
           fi;
           filled = 0; torn = 1 }

    /* deleted is deleted (I9); nothing runs again, as it would without its
     * final.json; until then it is there */

    :: atomic { deleted && filled && idx -> assert(false) }
    :: atomic { filled && idx == 1 && !HAS(dir_m, FINAL) -> assert(false) }
    :: atomic { !begun && filled && !idx -> assert(false) }

    /* the result has its manifest, or can get it */

    :: atomic { !HAS(dir_m, JSON) && !HAS(dir_m, FINAL) -> assert(false) }
    od
}
