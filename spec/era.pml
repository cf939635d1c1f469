/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Two servers, A and B, each of which takes itself for the only Redis: links of
 * workers move between them, while one object is made and ended (or deleted).
 * What a client was shown through the one must not be unknown to the other.
 * README.md says what is modelled how.
 *
 *   NN, NW    nodes, workers in all: worker w is of node w % NN
 *   MOVES     how often a link is made
 *   DEATHS    how often a worker dies, and another one takes its place
 *   RESTARTS  how often a node's master dies: its era is forgotten
 *   LEAVING   1: worker 0 may be told to leave; such a one begins no era
 *   LEASES    1: the lock of a rebuild may run out under its owner
 *   OBJECT    BATCH: it is made, then it ends; FILE: made, then deleted
 *   ONE       1: there is only A
 *   FORGETS   how often A is emptied
 *   SETTLED   1: clients ask only while all workers are with the same server, and
 *             each has found its index to be good
 *
 * There is no clock: of each filled index, and of each one that is being filled,
 * there is known behind which events that was begun.
 */

#ifndef NN
#define NN        1
#endif
#ifndef NW
#define NW        2
#endif
#ifndef MOVES
#define MOVES     5
#endif
#ifndef DEATHS
#define DEATHS    0
#endif
#ifndef RESTARTS
#define RESTARTS  0
#endif
#ifndef LEAVING
#define LEAVING   0
#endif
#ifndef ONE
#define ONE       0
#endif
#ifndef FORGETS
#define FORGETS   0
#endif
#ifndef LEASES
#define LEASES    1
#endif
#ifndef SETTLED
#define SETTLED   0
#endif

#define BATCH     0
#define FILE      1

#ifndef OBJECT
#define OBJECT    BATCH
#endif

#define HAS(m, i)   (((m) >> (i)) & 1)

/* servers */
#define NONE      0
#define A         1
#define B         2

/* what is known of the object */
#define UNKNOWN   0
#define MADE      1
#define OVER      2         /* ended, or deleted */

#define NODE(w)   ((w) % NN)

/* events: an era of a node began, a worker lost its link */
#define ERA(n)    (n)
#define LEFT(w)   (NN + (w))
#define EVENTS    ((1 << (NN + NW)) - 1)

/* --- the disk, and the servers */

byte  disk;
byte  idx[3];
bool  gen[3];               /* the index is filled, which was begun */
byte  since[3];             /* ... behind the last of these events */
byte  lock[3];              /* worker, from 1 */
bool  mark[3];              /* a client has deleted the file through it */

/* --- the nodes' shared memory */

byte  era[NN], name[NN];    /* a number, from 1; whose it is */

/* --- the workers */

byte  link[NW];
byte  asked[NW];            /* ngx_http_batch_index_era */
byte  good[NW];             /* ngx_http_batch_recover_era */
byte  server[NW];           /* whose index it has found to be good */
bool  astray[NW];           /* it has been with another one since */
byte  begun[NW];            /* of its rebuild: as since[] */
bool  leaving;              /* worker 0 */

/* --- what clients have been shown */

byte  shown;

bool  making;               /* it is on disk, who made it is not answered yet; with
                             * two servers nobody deletes it so early */

byte  moves = MOVES, deaths = DEATHS, restarts = RESTARTS, forgets = FORGETS;

#ifdef M_NO_ERA
#define PRESENT(w)    1
#define STRAYED(w)    0
#else
#define PRESENT(w)    (asked[w] == era[NODE(w)])
#define STRAYED(w)    (name[NODE(w)] != link[w])
#endif

/* a call that wants a filled index is served */

#define OPEN(w)       (link[w] != NONE && gen[link[w]] && PRESENT(w))

/* who fills an index puts files into it, and who deletes one asks for gen */

#ifdef M_NO_LOCK
#define FILLS(w)      1
#else
#define FILLS(w)      (lock[link[w]] == (w) + 1)
#endif

#ifdef M_NO_MARK
#define MARKED(w)     0
#else
#define MARKED(w)     mark[link[w]]
#endif

#ifdef M_NOT_ASKED
#define ASKS(w)       1
#else
#define ASKS(w)       OPEN(w)
#endif

#if SETTLED
#define SURE(w)       (link[w] == link[0] && server[w] == link[w] && \
                       !astray[w] && good[w] == era[NODE(w)])
#define ASKING        (SURE(0) && SURE(1) && SURE(NW - 1))
#else
#define ASKING        1
#endif


/* what is begun later is behind this event, what has been begun is not */

inline event(what) {
    since[A] = since[A] & ~(1 << (what));
    since[B] = since[B] & ~(1 << (what));
    j = 0;
    do
    :: j < NW -> begun[j] = begun[j] & ~(1 << (what)); j++
    :: else -> j = 0; break
    od
}


/* ngx_http_batch_recover_check(), and check.lua */

inline check() {
    asked[id] = era[NODE(id)];

    if
    :: server[id] != NONE && server[id] != link[id] -> astray[id] = 1
    :: else
    fi;

    need = 0;
#if !defined(M_NO_ERA) && !defined(M_NO_AGE)
    if                          /* nothing was before the first era */
    :: era[NODE(id)] > 1 && good[id] != era[NODE(id)] ->
       need = need | (1 << ERA(NODE(id)))
    :: else
    fi;
#endif
#ifndef M_NO_ASTRAY
    if
    :: astray[id] -> need = need | (1 << LEFT(id))
    :: else
    fi;
#endif

    if
    :: gen[link[id]] && (since[link[id]] & need) == need ->
       good[id] = asked[id]; server[id] = link[id]; astray[id] = 0
    :: else -> gen[link[id]] = 0
    fi;
    need = 0
}


inline leave() {
    if
    :: lock[link[id]] == id + 1 -> lock[link[id]] = 0
    :: else
    fi;
    link[id] = NONE;
    fill = 0; fera = 0; seen = UNKNOWN;
    begun[id] = 0;
    event(LEFT(id))
}


inline raise(s, v) {
    if
    :: idx[s] < v -> idx[s] = v
    :: else
    fi
}


inline shows(v) {
    if
    :: shown < v -> shown = v
    :: else
    fi
}


/* ngx_http_batch_recover_ask() */

inline look() {
    if
    :: STRAYED(id) -> leave()
    :: else -> check()
    fi
}


/* another one takes its place, which knows nothing */

inline die() {
    leave();
    asked[id] = 0; good[id] = 0; server[id] = NONE; astray[id] = 0;
    if
    :: make == 2 -> making = 0
    :: else
    fi;
    make = 0; over = 0
}


proctype worker(byte id)
{
    byte  j, need;
    byte  fill, fera, seen;     /* a rebuild */
    byte  make, over;           /* a request, a job */

    do

    /* --- the link */

    :: atomic { link[id] == NONE && moves > 0 -> moves--;
           if
           :: link[id] = A
#if !ONE
           :: link[id] = B
#endif
           fi;
           if                   /* ngx_http_batch_slots_era_begin() */
           :: name[NODE(id)] != link[id] && !(leaving && id == 0) ->
              name[NODE(id)] = link[id];
              era[NODE(id)]++;
              event(ERA(NODE(id)))
           :: else
           fi;
           look() }

    :: atomic { link[id] != NONE && moves > 0 -> leave() }

    /* now and then it looks */

    :: atomic { link[id] != NONE && fill == 0 -> look() }

    /* --- a rebuild */

    :: atomic { link[id] != NONE && fill == 0 && PRESENT(id) &&
                !gen[link[id]] && (LEASES || lock[link[id]] == 0) ->
           lock[link[id]] = id + 1;
           fill = 1; fera = asked[id]; begun[id] = EVENTS }

    :: atomic { fill == 1 -> seen = disk; fill = 2 }

    :: atomic { fill == 2 ->
#if OBJECT == FILE
           if                   /* file_put.lua */
           :: seen == MADE && FILLS(id) -> idx[link[id]] = MADE
           :: else
           fi;
#else
           raise(link[id], seen);
#endif
           fill = 3 }

    :: atomic { fill == 3 ->    /* files that the store has not */
#if OBJECT == FILE
           if
           :: disk == OVER ->
              mark[link[id]] = mark[link[id]] || idx[link[id]] == MADE;
              idx[link[id]] = OVER
           :: else
           fi;
#endif
           fill = 4 }

    :: atomic { fill == 4 ->    /* filled.lua */
           if
           :: lock[link[id]] == id + 1 ->
              lock[link[id]] = 0;
              if
#if !defined(M_NO_ERA) && !defined(M_OLD_REBUILD)
              :: fera != era[NODE(id)]
#endif
              :: else ->
                 gen[link[id]] = 1;
                 since[link[id]] = begun[id];
                 good[id] = fera; server[id] = link[id]; astray[id] = 0
              fi
           :: else
           fi;
           fill = 0; fera = 0; seen = UNKNOWN; begun[id] = 0 }

    /* --- the object is made: the index is asked, the disk has it, the index is
     * told if it is filled, and then the client */

    :: atomic { OPEN(id) && disk == UNKNOWN && make == 0 -> make = 1 }
    :: atomic { make == 1 ->
           if
           :: disk == UNKNOWN -> disk = MADE; make = 2; making = 1
           :: else -> make = 0
           fi }
    :: atomic { make == 2 ->
           if
           :: OPEN(id) ->
#if OBJECT == FILE
              if                /* file_put.lua */
              :: !MARKED(id) -> idx[link[id]] = MADE
              :: else
              fi;
#else
              raise(link[id], MADE);
#endif
              shows(MADE)
           :: else              /* 503 */
           fi;
           make = 0; making = 0 }

    /* --- it is claimed, its end is on disk, and told to an index that need not
     * be filled; who deletes a file has its id from the answer above, and is
     * answered then */

    :: atomic { OPEN(id) && idx[link[id]] == MADE && over == 0 &&
                (OBJECT == BATCH || ONE || making == 0) -> over = 1 }
    :: atomic { over == 1 -> disk = OVER; over = 2 }
    :: atomic { over == 2 && link[id] != NONE ->
#if OBJECT == FILE
           idx[link[id]] = OVER;
           mark[link[id]] = 1;
           if                   /* file_del.lua */
           :: ASKS(id) -> shows(OVER)
           :: else              /* 503 */
           fi;
#else
           raise(link[id], OVER);
#endif
           over = 0 }

    /* --- a client asks */

    :: atomic { OPEN(id) && ASKING && idx[link[id]] != shown ->
#if OBJECT == FILE
           assert(shown == UNKNOWN || shown == MADE && idx[link[id]] == OVER ||
                  shown == OVER && idx[link[id]] == UNKNOWN);
#else
           assert(idx[link[id]] > shown);
#endif
           shows(idx[link[id]]) }

    /* --- faults */

    :: atomic { deaths > 0 -> deaths--;
           die() }

#if LEAVING
    :: atomic { id == 0 && !leaving -> leaving = 1 }
#endif

    :: atomic { forgets > 0 -> forgets--;
           idx[A] = UNKNOWN; gen[A] = 0; lock[A] = 0; mark[A] = 0 }

#if RESTARTS
    /* of worker NW - 1's node, which has no other worker */

    :: atomic { id == NW - 1 && restarts > 0 -> restarts--;
           die();
           name[NODE(id)] = NONE; era[NODE(id)] = 0 }
#endif
    od
}


init
{
    byte  n;

    atomic {
        if                      /* filled by others, when nothing was there */
        :: gen[A] = 1
        :: true
        fi;
        if
        :: gen[B] = 1
        :: true
        fi;
        do
        :: n < NW -> run worker(n); n++
        :: else -> break
        od
    }
}
