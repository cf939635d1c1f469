/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One batch, from its plan to its end: chunks are claimed, run, journalled and
 * sealed, the batch is finalized or cancelled, while processes are killed, the
 * power fails, and Redis comes back with an older state.  README.md says what
 * is modelled how, and which code it follows.
 *
 *   NW, NF       workers, finalizers
 *   NC, NL       chunks, lines of a chunk (1 or 2)
 *   ME           epochs of a chunk: 1 .. ME - 1
 *   KILLS, CUTS, REWINDS    how often a process is killed, the power fails,
 *                           Redis loses what it was told last
 *   CANCEL       1: a client cancels
 *   EXPIRE       1: its time runs out
 *   FINE         1: each look at the disk, and each unlink(), is a step of its
 *                own; 0: those are one step that give the same answers as long
 *                as there is no final.json, and behind it they do not matter
 *
 * -DM_...: one protection is removed; the model has to find what that breaks.
 */

#ifndef NW
#define NW      2
#endif
#ifndef NF
#define NF      2
#endif
#ifndef NC
#define NC      1
#endif
#ifndef NL
#define NL      2
#endif
#ifndef ME
#define ME      4
#endif
#ifndef KILLS
#define KILLS   0
#endif
#ifndef CUTS
#define CUTS    0
#endif
#ifndef REWINDS
#define REWINDS 0
#endif
#ifndef CANCEL
#define CANCEL  0
#endif
#ifndef EXPIRE
#define EXPIRE  0
#endif
#ifndef FINE
#define FINE    0
#endif

#define ALL         ((1 << NL) - 1)
#define HAS(m, i)   (((m) >> (i)) & 1)
#define AT(c, e)    ((c) * ME + (e))

/* status of the batch in the index */
#define RUN         0
#define FINALIZING  1
#define CANCELLING  2
#define ENDED       3

/* states of a chunk in the index */
#define FREE        0
#define LEASED      1       /* a lease can run out at any time */
#define DONE        2

/* cancel.json */
#define CANCELLED   1
#define CLOSED      2

/* final.json: how the batch ended (COMPLETED, EXPIRED, or CANCELLED as above) */
#define COMPLETED   2
#define DAMAGED     3
#define EXPIRED     4

/* --- the index, and what it was when its file was written last */

byte  r_status, r_final, r_ep[NC], r_st[NC];
bool  r_expired;
bool  filled = 1;                  /* the gen of this server is there */

#if REWINDS
byte  s_status, s_final, s_ep[NC], s_st[NC];
bool  s_expired;
byte  rewinds = REWINDS;
bool  torn;                        /* the rebuild's link is cut */
#endif

/* --- the disk: _m what processes see, _d what a power cut leaves for certain */

byte  ex_m[NC], ex_d[NC];          /* segments, by epoch */
byte  rec_m[NC * ME];              /* records of a segment, by line */
byte  rec_d[NC * ME];
byte  seal_m[NC], seal_d[NC];      /* seals, by epoch */
byte  pick0[NC * ME];              /* of a seal: the epoch of each line's record */
byte  pick1[NC * ME];
byte  cancel_m, cancel_d;
byte  final_m, final_d;
#ifdef M_NO_TMP_SYNC
bool  final_c;                     /* its content is durable */
#endif

/* --- what has been promised */

byte  told;                        /* a client may have seen it end so */
bool  cancelled;                   /* a client's cancel was answered 200 */
byte  writer[NC * ME];             /* of a segment: process, from 1 */

/* --- faults */

byte  kills = KILLS;
byte  cuts = CUTS;
byte  dead;                        /* processes to begin anew */

#define P_WORKER     0
#define P_FINALIZER  NW
#define P_CANCEL     (NW + NF)
#define P_RECOVER    (NW + NF + CANCEL)
#define P_N          (NW + NF + CANCEL + (REWINDS != 0))

/* Processes begin anew before anybody goes on, the lowest first: in between they
 * would do nothing anyway.  ID: behind env and init. */

#define ID           (_pid - 2)
#define UP           (dead == 0 || HAS(dead, ID) && (dead & (1 << ID) - 1) == 0)


/* fsync() of the batch's directory: all its names are durable, or gone */

inline sync_dir() {
    i = 0;
    do
    :: i < NC -> ex_d[i] = ex_m[i]; seal_d[i] = seal_m[i]; i++
    :: else -> i = 0; break
    od;
    cancel_d = cancel_m;
    final_d = final_m;
}

#ifdef M_NO_DIR_SYNC
#define sync_published()    skip
#else
#define sync_published()    sync_dir()
#endif

#ifdef M_NO_FENCE
#define UNFENCED    1
#else
#define UNFENCED    0
#endif

/* a reader makes what it acts on durable */

#ifdef M_NO_READ_SYNC
#define sync_read()         skip
#else
#define sync_read()         sync_dir()
#endif

inline all_done() {
    ok = 1;
    i = 0;
    do
    :: i < NC -> ok = ok && r_st[i] == DONE; i++
    :: else -> i = 0; break
    od
}

/* the index hears of the end; an ended batch stays as it is */

inline tell_final() {
    if
    :: r_status != ENDED -> r_status = ENDED; r_final = final_m
    :: else
    fi;
    assert(final_d == final_m && final_m != DAMAGED);     /* I1, I4 */
    assert(told == 0 || told == r_final);                 /* I3 */
    told = r_final;
    assert(!cancelled || told == CANCELLED);              /* I9 */
}


/* Once the batch has ended, its files are being deleted: a record may go to one
 * that has no name any more, and a name may be made anew for another one. */

inline write_record(line) {
    if
    :: final_d == 0 ->
       rec_m[AT(c, e)] = rec_m[AT(c, e)] | line;
       assert(writer[AT(c, e)] == 0 || writer[AT(c, e)] == id + 1);   /* I6 */
       writer[AT(c, e)] = id + 1
    :: else
    fi
}


/* the highest epoch of chunk c on disk, in k; 0: none */

inline highest_epoch() {
    k = ME - 1;
    do
    :: k > 0 && !HAS(ex_m[c], k) -> k--
    :: else -> break
    od
}


#define TO_RUN(i)   (r_st[i] != DONE && r_ep[i] < ME - 1)

proctype worker(byte id) provided (UP)
{
    byte  c, e, k, q0, q1, i;
    bool  ok;

restart:
    {
end:    do
        :: atomic {             /* claim.lua */
               filled && r_status == RUN && (TO_RUN(0) || TO_RUN(NC - 1)) ->
               if
               :: TO_RUN(0) -> c = 0
#if NC > 1
               :: TO_RUN(1) -> c = 1
#endif
               fi;
               r_ep[c]++; r_st[c] = LEASED; e = r_ep[c]
           }

#if FINE
           if
           :: atomic { final_m != 0 -> goto ended }
           :: final_m == 0
           fi;
           if
           :: atomic { seal_m[c] != 0 -> goto sealed }
           :: seal_m[c] == 0
           fi;
           atomic { highest_epoch() };
#else
           if
           :: atomic { final_m != 0 -> goto ended }
           :: atomic { final_m == 0 && seal_m[c] != 0 -> goto sealed }
           :: atomic { final_m == 0 && seal_m[c] == 0 -> highest_epoch() }
           fi;
#endif

           if
#ifdef M_NO_EXCL
           :: false -> skip
#else
           :: k >= e -> goto used
#endif
           :: else -> k = 1
           fi;

           /* older segments, one by one: the oldest record of a line counts */

           do
           :: k < e && HAS(ex_m[c], k) ->
#ifdef M_SYNC_BEFORE_SCAN
              rec_d[AT(c, k)] = rec_m[AT(c, k)];
#endif
              atomic {
                  if
                  :: q0 == 0 && HAS(rec_m[AT(c, k)], 0) -> q0 = k
                  :: else
                  fi;
                  if
                  :: q1 == 0 && HAS(rec_m[AT(c, k)], 1) -> q1 = k
                  :: else
                  fi
              }
#if !defined(M_NO_SCAN_SYNC) && !defined(M_SYNC_BEFORE_SCAN)
              rec_d[AT(c, k)] = rec_m[AT(c, k)];
#endif
              k++
           :: k < e && !HAS(ex_m[c], k) -> k++
           :: k >= e -> k = 0; break
           od;

#if NC == 1
           /* all answers of a small batch have come in at once: its result is
            * made of them, without a segment */

           if
           :: atomic { q0 == 0 && q1 == 0 ->
#ifdef M_WHOLE_UNDECIDED
                  k = COMPLETED
#else
                  if            /* link() of cancel.json */
                  :: cancel_m == CANCELLED -> k = CANCELLED
                  :: else -> cancel_m = CLOSED; k = COMPLETED
                  fi
#endif
              };

              if                /* link() of final.json */
              :: atomic { final_m == 0 -> final_m = k; k = 0;
#ifdef M_NO_TMP_SYNC
                          final_c = 0
#endif
                 };
                 atomic { sync_published() };
                 goto tell
              :: atomic { final_m != 0 -> goto ended }

              /* it fails: the journal gets them after all */

              :: k = 0
              fi
           :: true
           fi;
#endif

           /* the own segment */

           if
#ifdef M_NO_EXCL
           :: ex_m[c] = ex_m[c] | (1 << e)
#else
           :: atomic { HAS(ex_m[c], e) -> k = e; goto used }
           :: atomic { !HAS(ex_m[c], e) ->
                  ex_m[c] = ex_m[c] | (1 << e);
                  rec_m[AT(c, e)] = 0; rec_d[AT(c, e)] = 0;
                  writer[AT(c, e)] = 0 }
#endif
           fi;
#ifndef M_NO_DIR_SYNC
           atomic { sync_dir() };
#endif

           /* lines in any order, in groups */

           do
           :: atomic { q0 == 0 && !HAS(k, 0) && HAS(ALL, 0) -> k = k | 1;
                       write_record(1) }
           :: atomic { q1 == 0 && !HAS(k, 1) && HAS(ALL, 1) -> k = k | 2;
                       write_record(2) }
           :: atomic { k != 0 ->
#ifndef M_NO_SYNC
                       rec_d[AT(c, e)] = rec_m[AT(c, e)];
#endif
                       if :: HAS(k, 0) -> q0 = e :: else fi;
                       if :: HAS(k, 1) -> q1 = e :: else fi;
                       k = 0 }
           :: k == 0 && (q0 != 0 || !HAS(ALL, 0)) &&
                     (q1 != 0 || !HAS(ALL, 1)) -> break
           od;

           /* the seal: link(), then fsync() of the directory */

           atomic {
#ifdef M_PICK_LATE
               k = e;
               do
               :: k > 0 ->
                  if
                  :: HAS(ex_m[c], k) && HAS(rec_m[AT(c, k)], 0) -> q0 = k
                  :: else
                  fi;
                  if
                  :: HAS(ex_m[c], k) && HAS(rec_m[AT(c, k)], 1) -> q1 = k
                  :: else
                  fi;
                  k--
               :: else -> break
               od;
#endif
               if
               :: final_d == 0 ->                         /* I8 */
                  assert(HAS(rec_d[AT(c, q0)], 0) && HAS(ex_d[c], q0));
                  assert(NL == 1 ||
                         HAS(rec_d[AT(c, q1)], 1) && HAS(ex_d[c], q1));
                  pick0[AT(c, e)] = q0; pick1[AT(c, e)] = q1
               :: else         /* work files are being deleted */
               fi;
               seal_m[c] = seal_m[c] | (1 << e)
           };
           atomic { sync_published() };

sealed:    atomic {             /* chunk.lua */
               if
               :: r_ep[c] == e || UNFENCED -> r_st[c] = DONE;
                  all_done();
                  if
                  :: ok && r_status == RUN -> r_status = FINALIZING
                  :: else
                  fi
               :: else
               fi;
               goto again
           }

used:      atomic {             /* chunk_restore.lua */
               if
               :: k > r_ep[c] && r_status != ENDED -> r_ep[c] = k;
                  if
                  :: r_st[c] != DONE -> r_st[c] = FREE
                  :: else
                  fi
               :: else
               fi;
               goto again
           }

ended:     atomic { sync_read() };
tell:      atomic { tell_final() };

again:     atomic { c = 0; e = 0; k = 0; q0 = 0; q1 = 0; ok = 0 }
        od
    } unless {
        atomic { HAS(dead, id) ->
                 c = 0; e = 0; k = 0; q0 = 0; q1 = 0; i = 0; ok = 0;
                 dead = dead & ~(1 << id); goto restart }
    }
}


/* the newest seal of chunk c: its epoch in k (0: none), and whether what it names
 * is there */

inline newest_seal() {
    k = ME - 1;
    do
    :: k > 0 && !HAS(seal_m[c], k) -> k--
    :: else -> break
    od;
    ok = k != 0 && HAS(ex_m[c], pick0[AT(c, k)]) &&
         HAS(rec_m[AT(c, pick0[AT(c, k)])], 0) &&
         (NL == 1 || HAS(ex_m[c], pick1[AT(c, k)]) &&
                        HAS(rec_m[AT(c, pick1[AT(c, k)])], 1))
}


proctype finalizer(byte id) provided (UP)
{
    byte  c, k, i, target;
    bool  ok;

restart:
    {
end:    do
        :: atomic {             /* claim.lua: its lease only saves work */
               filled && (r_status == FINALIZING || r_status == CANCELLING ||
                          (r_status == RUN && r_st[0] == DONE &&
                              r_st[NC - 1] == DONE)) ->
               if
               :: r_status == RUN -> r_status = FINALIZING
               :: else
               fi;
               target = (r_status == FINALIZING && r_expired ->
                            EXPIRED : COMPLETED)
           }

           if
           :: atomic { final_m != 0 -> goto ended }
#if FINE
           :: final_m == 0
           fi;

           atomic {
#else
           :: atomic { final_m == 0 ->
#endif
               if
               :: cancel_m != 0 -> sync_read();
                  if
                  :: cancel_m == CANCELLED -> target = CANCELLED
                  :: else
                  fi
               :: else
               fi
           }
#if !FINE
           fi;
#endif

           do
           :: atomic { c < NC ->
                  newest_seal();
                  if
                  :: ok || (target != COMPLETED && k == 0) -> k = 0; c++
                  :: else ->
                     if
                     :: final_m != 0 -> goto ended     /* and tidied */
                     :: else ->
                        assert(k == 0);         /* I8: the seal is void */
                        goto redo
                     fi
                  fi;
                  ok = 0 }
           :: c == NC -> c = 0; break
           od;

#ifndef M_NO_DECISION
           /* link() of cancel.json: another name of what is to be final.json,
            * and the same fsync() makes both durable */

           if
#ifdef M_EXPIRED_UNDECIDED
           :: target == COMPLETED ->
#else
           :: target != CANCELLED ->
#endif
              atomic {
                  if
                  :: cancel_m == 0 -> cancel_m = CLOSED
                  :: cancel_m == CANCELLED -> target = CANCELLED
                  :: else
                  fi
              }
           :: else
           fi;
#endif

           if                   /* link() of final.json */
#ifdef M_OVERWRITE
           :: atomic { assert(final_m == 0 || final_m == target);    /* I4 */
                       assert(final_m == 0);
                       final_m = target };
              goto publ
#else
           :: atomic { final_m != 0 -> goto ended }
#endif
           :: atomic { final_m == 0 -> final_m = target;
#ifdef M_NO_TMP_SYNC
                       final_c = 0
#endif
              }
           fi;
publ:      atomic { sync_published() };
           goto tell;

ended:     atomic { sync_read() };
tell:      atomic { tell_final(); goto again };

redo:      atomic {             /* chunk_redo.lua */
               if
               :: (r_status == FINALIZING || r_status == RUN) &&
                  !r_expired && r_st[c] != LEASED ->
                  r_st[c] = FREE; r_status = RUN
               :: else
               fi
           };

again:     atomic { c = 0; k = 0; target = 0; ok = 0 }
        od
    } unless {
        atomic { HAS(dead, id) ->
                 c = 0; k = 0; i = 0; target = 0; ok = 0;
                 dead = dead & ~(1 << id); goto restart }
    }
}


/*
 * Work files go once final.json is there for certain: reading it syncs its name.
 * Nobody syncs the unlink(); but a power cut that brings a file back leaves what
 * one before the unlink() leaves.  That is why they are gone at once here.
 */

#ifdef M_TIDY_UNSYNCED
#define TIDY    final_m
#else
#define TIDY    final_d
#endif

inline unlink_segments() {
    k = 0;
    do
    :: k < ME ->
       rec_m[AT(i, k)] = 0; rec_d[AT(i, k)] = 0; writer[AT(i, k)] = 0;
       k++
    :: else -> k = 0; break
    od;
    ex_m[i] = 0; ex_d[i] = 0
}

inline unlink_seals() {
    k = 0;
    do
    :: k < ME -> pick0[AT(i, k)] = 0; pick1[AT(i, k)] = 0; k++
    :: else -> k = 0; break
    od;
    seal_m[i] = 0; seal_d[i] = 0
}

proctype tidy() provided (dead == 0)
{
    byte  i, k;

end:
    do
    :: atomic { final_m != final_d -> sync_read() }
#if FINE
    :: atomic { TIDY != 0 && ex_m[0] != 0 -> i = 0; unlink_segments() }
    :: atomic { TIDY != 0 && seal_m[0] != 0 -> i = 0; unlink_seals() }
#if NC > 1
    :: atomic { TIDY != 0 && ex_m[1] != 0 -> i = 1; unlink_segments(); i = 0 }
    :: atomic { TIDY != 0 && seal_m[1] != 0 -> i = 1; unlink_seals(); i = 0 }
#endif
#else
    :: atomic { TIDY != 0 &&
                (ex_m[0] != 0 || seal_m[0] != 0 ||
                    ex_m[NC - 1] != 0 || seal_m[NC - 1] != 0) ->
           do
           :: i < NC -> unlink_segments(); unlink_seals(); i++
           :: else -> i = 0; break
           od }
#endif
    od
}


#if CANCEL

proctype canceller(byte id) provided (UP)
{
    byte  i;
    bool  ok;

restart:
    {
end:    do
        :: atomic { filled && r_status != ENDED && !cancelled };

           /* after a power cut final.json may be there without the decision */

           ok = 1;
#ifndef M_NO_LOOK
           if
           :: atomic { final_m == 0 }
           :: atomic { final_m != 0 -> ok = 0 }
           fi;
#endif

           if
           :: ok ->
              atomic {          /* link() of cancel.json */
                  if
                  :: cancel_m == 0 -> cancel_m = CANCELLED
                  :: else
                  fi;
                  ok = (cancel_m == CANCELLED)
              };
              atomic { sync_published() }
           :: else
           fi;

           if
#ifdef M_NO_DECISION
           :: true ->
#else
           :: ok ->
#endif
              atomic {          /* batch_cancel.lua */
                  if
                  :: r_status != ENDED -> r_status = CANCELLING
                  :: else
                  fi;

                  /* 503 while the index is rebuilt, else 200 */
                  ok = filled;
                  cancelled = cancelled || (ok && r_status == CANCELLING);
                  assert(!cancelled || told != COMPLETED)       /* I9 */
              }
           :: else -> break     /* 409: it is closed */
           fi;

           if
           :: cancelled || r_status == ENDED -> break
           :: else -> ok = 0    /* 503: again */
           fi
        od
    } unless {
        atomic { HAS(dead, id) ->
                 i = 0; ok = 0;
                 dead = dead & ~(1 << id); goto restart }
    };

end1:
    do
    :: atomic { HAS(dead, id) -> dead = dead & ~(1 << id) }
    od
}

#endif


#if REWINDS

proctype recover(byte id) provided (UP)
{
    byte  c, i, k, v_final, v_cancel, v_ep[NC];
    byte  v_done;

restart:
    {
end:    do
        :: atomic { !filled -> torn = 0 };

           /* what the disk knows */

           if
           :: atomic { final_m != 0 -> v_final = final_m; sync_read() }
           :: atomic { final_m == 0 ->
#if FINE
                  skip };
              atomic {
#endif
                  v_cancel = cancel_m; sync_read();
#if FINE
                  skip };
              atomic {
#endif
                  do
                  :: c < NC ->
                     k = ME - 1;
                     do
                     :: k > 0 && !HAS(ex_m[c] | seal_m[c], k) -> k--
                     :: else -> break
                     od;
                     v_ep[c] = k;
                     if
                     :: seal_m[c] != 0 -> v_done = v_done | (1 << c)
                     :: else
                     fi;
                     c++
                  :: else -> c = 0; k = 0; break
                  od }
           fi;

           if
           :: v_final != 0 ->
              atomic { !torn -> tell_final() }
           :: v_final == 0 ->
              do
              :: atomic { c < NC && !torn ->    /* chunk_restore.lua */
                     if
                     :: r_status == ENDED
                     :: else ->
                        if
                        :: HAS(v_done, c) -> r_st[c] = DONE
                        :: !HAS(v_done, c) && v_ep[c] > r_ep[c] &&
                           r_st[c] != DONE -> r_st[c] = FREE
                        :: else
                        fi;
                        if
                        :: v_ep[c] > r_ep[c] -> r_ep[c] = v_ep[c]
                        :: else
                        fi
                     fi;
                     c++ }
              :: c == NC || torn -> c = 0; break
              od;
              atomic {
                  if
                  :: !torn && v_cancel == CANCELLED && r_status != ENDED ->
                     r_status = CANCELLING
                  :: else
                  fi }
           :: torn -> skip
           fi;

           atomic {             /* filled.lua: only with the lock */
               if
               :: !torn -> filled = 1
               :: else
               fi;
               c = 0; k = 0; v_final = 0; v_cancel = 0; v_done = 0;
               i = 0;
               do
               :: i < NC -> v_ep[i] = 0; i++
               :: else -> i = 0; break
               od
           }
        od
    } unless {
        atomic { HAS(dead, id) ->
                 c = 0; i = 0; k = 0; v_final = 0; v_cancel = 0; v_done = 0;
                 v_ep[0] = 0;
#if NC > 1
                 v_ep[1] = 0;
#endif;
                 dead = dead & ~(1 << id); goto restart }
    }
}

#endif


/* of a mask of names: what is durable stays, the rest may have been written */

inline survive(mem, dur) {
    k = 0;
    do
    :: k < ME ->
       if
       :: HAS(mem, k) == HAS(dur, k)
       :: HAS(mem, k) != HAS(dur, k) -> mem = mem ^ (1 << k)
       :: HAS(mem, k) != HAS(dur, k)
       fi;
       k++
    :: else -> k = 0; break
    od;
    dur = mem
}


active proctype env() provided (dead == 0)
{
    byte  i, k;

end:
    do
#if KILLS
    :: atomic { kills > 0 -> kills--;
           if
           :: dead = dead | 1
           :: dead = dead | (1 << P_FINALIZER)
#if REWINDS
           :: dead = dead | (1 << P_RECOVER)
#endif
           fi }
#endif

#if EXPIRE
    /* claim.lua, chunk.lua: its time is over, and was before a rewind */
    :: atomic { filled && r_status == RUN ->
           r_status = FINALIZING; r_expired = 1 }
#endif

#if CUTS
    :: atomic { cuts > 0 -> cuts--;
           i = 0;
           do
           :: i < NC ->
              survive(ex_m[i], ex_d[i]);
              survive(seal_m[i], seal_d[i]);
              i++
           :: else -> i = 0; break
           od;
           do
           :: i < NC * ME ->
              survive(rec_m[i], rec_d[i]);
              if
              :: !HAS(ex_m[i / ME], i % ME) ->
                 rec_m[i] = 0; rec_d[i] = 0; writer[i] = 0
              :: else
              fi;
              if
              :: !HAS(seal_m[i / ME], i % ME) -> pick0[i] = 0; pick1[i] = 0
              :: else
              fi;
              i++
           :: else -> i = 0; break
           od;
           if
           :: cancel_m = cancel_d
           :: cancel_d = cancel_m
           fi;
           if
           :: final_m = final_d
           :: final_d = final_m
           fi;
#ifdef M_NO_TMP_SYNC
           if
           :: final_m != 0 && !final_c -> final_m = DAMAGED; final_d = DAMAGED
           :: else
           fi;
#endif
           assert(told == 0 || final_m == told);                /* I1, I4 */
           assert(!cancelled || cancel_m == CANCELLED);          /* I1 */
           dead = (1 << P_N) - 1
       }
#endif

#if REWINDS
    :: atomic { rewinds > 0 ->
           s_status = r_status; s_final = r_final; s_expired = r_expired;
           do
           :: i < NC -> s_ep[i] = r_ep[i]; s_st[i] = r_st[i]; i++
           :: else -> i = 0; break
           od }
    :: atomic { rewinds > 0 -> rewinds--;
           r_status = s_status; r_final = s_final; r_expired = s_expired;
           do
           :: i < NC -> r_ep[i] = s_ep[i]; r_st[i] = s_st[i]; i++
           :: else -> i = 0; break
           od;
#ifndef M_NO_REBUILD
           filled = 0;
#endif
           torn = 1 }

    /* I3: what a client has seen does not go back */

    :: atomic { filled && told != 0 && r_status != ENDED -> assert(false) }
    :: atomic { filled && cancelled &&
                (r_status == RUN || r_status == FINALIZING) ->
           assert(false) }
#endif

    /* nothing can happen any more: then it has ended, or the epochs that are
     * modelled were not enough */

    :: atomic { timeout ->
           assert(told != 0 || r_ep[0] == ME - 1 || r_ep[NC - 1] == ME - 1);
           break }
    od
}


init
{
    byte  n;

    atomic {
        do
        :: n < NW -> run worker(P_WORKER + n); n++
        :: else -> break
        od;
        n = 0;
        do
        :: n < NF -> run finalizer(P_FINALIZER + n); n++
        :: else -> break
        od;
#if CANCEL
        run canceller(P_CANCEL);
#endif
#if REWINDS
        run recover(P_RECOVER);
#endif
        run tidy()
    }
}
