#!/bin/bash
# verify.sh [quick|full] - checks the models in spec/ with spin: the invariants
# of the protocol in every order of events, and that a model fails when one of
# the protocol's protections is removed.  spec/README.md explains the models.
#
#     quick    only small configurations, and the mutants: less than a minute
#     full     also the largest ones: half an hour, 4 GB
#
# Prints a line per configuration: states, result, seconds.  Fails if an
# invariant is violated, a mutant survives, or a search is not finished.
#
#     LIMIT=n    seconds for one search (900; full: 3000)
#     TAP=1      the lines are TAP

set -uo pipefail
. "$(dirname "$0")/lib.sh"

how=${1:-usual}
out=$BUILD/verify
bad=0
n=0

case $how in
    quick) limit=${LIMIT:-900} memory=2000 hash=-w22 ;;
    usual) limit=${LIMIT:-900} memory=6000 hash=-w25 ;;
    full)  limit=${LIMIT:-3000} memory=10000 hash=-w27 ;;
    *)     die "usage: verify.sh [quick|full]" ;;
esac

"$ROOT/scripts/deps.sh" verify || exit 1

rm -rf "$out"
mkdir -p "$out"

row() { printf '%-48s %12s  %-10s %5s\n' "$@"; }


# run MODEL NAME EXPECTED OPTION... - holds: all states, no error; caught: an
# error is found

run() {
    local model=$1 name=$2 expected=$3 dir rc=0 t0 opt states result
    shift 3
    dir=$out/${name// /_}
    t0=$(date +%s)

    # what is caught is so at once, and compiling takes longest

    [ $expected = holds ] && opt=-O2 || opt=-O0

    mkdir -p "$dir"
    (
        cd "$dir" || exit 1
        cp "$ROOT/spec/$model.pml" .
        spin -a "$@" "$model.pml" > spin.log 2>&1 || exit 2
        gcc $opt -w -DSAFETY -DCOLLAPSE -DMEMLIM="$memory" -o pan pan.c \
            > gcc.log 2>&1 || exit 2

        # the end of a run is checked by the model itself

        timeout "$limit" ./pan -E -m2000000 "$hash" > pan.log 2>&1
    ) || rc=$?

    states=$(sed -nE 's/^ *([0-9.e+]+) states, stored.*/\1/p' \
             "$dir/pan.log" 2> /dev/null | head -1)
    states=$(printf '%.0f' "${states:-0}")

    if [ $rc = 2 ] || [ ! -s "$dir/pan.log" ]; then
        result='NOT BUILT'
    elif grep -q 'assertion violated' "$dir/pan.log"; then
        result=caught
    elif [ $rc != 0 ] || grep -qE 'max search depth|out of memory|reached -DMEMLIM' \
                              "$dir/pan.log"
    then
        result=UNFINISHED
    elif grep -q 'errors: 0' "$dir/pan.log"; then
        result=holds
    else
        result=ERROR
    fi

    [ $expected != holds ] || [ "$result" != caught ] || result=BROKEN
    [ $expected != caught ] || [ "$result" != holds ] || result=SURVIVED
    [ "$result" = $expected ] || bad=1
    n=$((n + 1))

    # the states of a finished search are not needed any more

    [ "$result" != $expected ] || rm -f "$dir/pan" "$dir"/pan.[bchmpt]

    if [ -z "${TAP:-}" ]; then
        row "$name" "$states" "$result" "$(($(date +%s) - t0))"
    elif [ "$result" = $expected ]; then
        echo "ok $n - $name: $result, $states states"
    else
        echo "not ok $n - $name: $result, see $dir"
    fi
}

holds()  { run batch "$1" holds "${@:2}"; }
mutant() { run batch "$1" caught -DM_"${1// /_}" "${@:2}"; }
del()    { run delete "$1" "$2" "${@:3}"; }
retire() { run retire "$1" "$2" "${@:3}"; }
era()    { run era "$1" "$2" "${@:3}"; }

[ -n "${TAP:-}" ] || row configuration states result s

# --- what holds

small='-DNL=1 -DNF=1'

holds '2 workers, 1 line, power cut' $small -DCUTS=1
holds '2 workers, 1 line, power cut, fine' $small -DCUTS=1 -DFINE=1
holds '1 worker, Redis rewound, power cut' $small -DNW=1 -DREWINDS=1 -DCUTS=1
holds '1 worker, cancel, expiry' $small -DNW=1 -DCANCEL=1 -DEXPIRE=1
del   'deletion of a result, all faults' holds
del   'deletion of an uploaded file, all faults' holds -DOUTPUT=0
retire 'deletion of an ended batch, all faults' holds
era   'two servers, 3 moves' holds -DMOVES=3

if [ "$how" != quick ]; then
    holds '2 workers, 2 lines, power cut, fine' -DNF=1 -DCUTS=1 -DFINE=1
    holds '2 workers, 2 lines, power cut, kill' -DNF=1 -DCUTS=1 -DKILLS=1
    holds '2 workers, 2 lines, Redis rewound, fine' -DNF=1 -DREWINDS=1 -DFINE=1
    holds '1 worker, Redis rewound, power cut, fine' $small -DNW=1 \
          -DREWINDS=1 -DCUTS=1 -DFINE=1
    holds '1 worker, 2 chunks, Redis rewound' $small -DNW=1 -DNC=2 -DME=3 \
          -DREWINDS=1
    holds '2 workers, Redis rewound, not fenced' $small -DREWINDS=1 \
          -DM_NO_FENCE
    holds '3 workers' $small -DNW=3 -DME=5
    holds '2 workers, 2 chunks, power cut' $small -DNC=2 -DME=3 -DCUTS=1
    holds '2 workers, cancel, power cut, fine' $small -DCANCEL=1 -DCUTS=1 \
          -DFINE=1
    holds '2 workers, cancel, expiry, power cut' $small -DCANCEL=1 -DEXPIRE=1 \
          -DCUTS=1
    holds '1 worker, cancel, Redis rewound, power cut' $small -DNW=1 \
          -DCANCEL=1 -DREWINDS=1 -DCUTS=1
    holds '1 worker, cancel, expiry, Redis rewound' $small -DNW=1 -DCANCEL=1 \
          -DEXPIRE=1 -DREWINDS=1
    holds '2 workers, 2 finalizers, cancel, fine' -DNL=1 -DCANCEL=1 -DFINE=1
    holds '2 workers, 2 finalizers, 2 lines, power cut' -DCUTS=1
    era   'two servers, 4 moves' holds -DMOVES=4
    era   'two servers, 3 moves, a dead worker' holds -DDEATHS=1 -DMOVES=3
    era   'two servers, 3 moves, a leaving worker' holds -DLEAVING=1 -DMOVES=3
    era   'one server, a file' holds -DONE=1 -DOBJECT=FILE -DMOVES=4
    era   'one server that forgets, a file' holds -DONE=1 -DOBJECT=FILE \
          -DFORGETS=1 -DMOVES=4
    era   'two servers, a file, 4 moves' holds -DOBJECT=FILE -DMOVES=4
    era   'two servers, a file, a dead worker' holds -DOBJECT=FILE -DDEATHS=1 \
          -DMOVES=3
    era   'two servers, two nodes, settled' holds -DNN=2 -DSETTLED=1 -DMOVES=4
fi

if [ "$how" = full ]; then
    holds '2 workers, 2 finalizers, 2 lines, cancel' -DCANCEL=1
    holds '2 workers, 2 finalizers, cancel, expiry' -DNL=1 -DCANCEL=1 \
          -DEXPIRE=1
    holds '2 workers, cancel, Redis rewound' $small -DCANCEL=1 -DREWINDS=1
    holds '2 workers, Redis rewound, power cut' $small -DREWINDS=1 -DCUTS=1
    holds '2 workers, 2 chunks, Redis rewound' $small -DNC=2 -DME=3 -DREWINDS=1
    holds '2 workers, 2 chunks, cancel' $small -DNC=2 -DME=3 -DCANCEL=1
    holds '2 workers, 2 finalizers, Redis rewound' -DNL=1 -DREWINDS=1
    holds '1 worker, 2 chunks, 2 lines, power cut' -DNW=1 -DNF=1 -DNC=2 \
          -DME=3 -DCUTS=1
    holds '2 workers, 2 chunks, cancel, power cut' $small -DNC=2 -DME=3 \
          -DCANCEL=1 -DCUTS=1
    holds '2 workers, 2 chunks, 2 lines, power cut' -DNF=1 -DNC=2 -DME=3 \
          -DCUTS=1
    del   'deletion of a result, each fault twice' holds -DCUTS=2 -DKILLS=2 \
          -DREWINDS=2
    del   'deletion of an uploaded file, each fault twice' holds -DOUTPUT=0 \
          -DCUTS=2 -DKILLS=2 -DREWINDS=2
    era   'two servers, 5 moves' holds -DMOVES=5
    era   'two servers, 4 moves, a dead worker' holds -DDEATHS=1 -DMOVES=4
    era   'two servers, 3 workers, 3 moves' holds -DNW=3 -DMOVES=3
fi

# --- what is noticed when it is missing

mutant 'NO SYNC' -DNF=1 -DCUTS=1
mutant 'NO DIR SYNC' -DNF=1 -DCUTS=1
mutant 'NO READ SYNC' -DNF=1 -DCUTS=1
mutant 'NO TMP SYNC' -DNF=1 -DCUTS=1
mutant 'NO SCAN SYNC' -DNF=1 -DCUTS=1
mutant 'SYNC BEFORE SCAN' -DNF=1 -DCUTS=1
mutant 'PICK LATE' -DNF=1 -DCUTS=1
mutant 'TIDY UNSYNCED' $small -DCUTS=1
mutant 'OVERWRITE'
mutant 'NO REBUILD' $small -DREWINDS=1
mutant 'NO EXCL' $small -DREWINDS=1
mutant 'NO DECISION' $small -DCANCEL=1
mutant 'EXPIRED UNDECIDED' $small -DNW=1 -DCANCEL=1 -DEXPIRE=1
mutant 'WHOLE UNDECIDED' $small -DCANCEL=1
mutant 'NO LOOK' $small -DNW=1 -DCANCEL=1 -DCUTS=1

for m in 'NO SETTLE' 'RESULT UNSYNCED' 'NO TOMB' 'TOMB UNSYNCED' 'NO GHOSTS' \
         'TIDY UNSYNCED'
do
    retire "batch: $m" caught "-DM_${m// /_}"
done

for o in 1 0; do
    del "JSON FIRST, output $o" caught -DOUTPUT=$o -DM_JSON_FIRST
    del "TOMBSTONE NOT SYNCED, output $o" caught -DOUTPUT=$o -DM_NO_DIR_SYNC
    del "NO GHOSTS, output $o" caught -DOUTPUT=$o -DM_NO_GHOSTS
    del "INDEX AS IT IS, output $o" caught -DOUTPUT=$o -DM_NO_REBUILD
    del "TIDIED UNSYNCED, output $o" caught -DOUTPUT=$o -DM_TIDY_UNSYNCED
done

del 'GHOSTS BY TOMBSTONE' caught -DOUTPUT=0 -DM_GHOSTS_BY_TOMB
del 'GHOSTS BY MANIFEST' caught -DM_GHOSTS_BY_JSON
del 'NO LOOK AT THE BLOB' caught -DM_NO_BLOB

era 'NO ERA' caught -DMOVES=3 -DM_NO_ERA
era 'ERA WITHOUT AGE' caught -DMOVES=3 -DM_NO_AGE
era 'OLD REBUILD' caught -DMOVES=3 -DM_OLD_REBUILD
era 'NO LOCK' caught -DMOVES=2 -DONE=1 -DOBJECT=FILE -DM_NO_LOCK
era 'NO MARK' caught -DMOVES=2 -DONE=1 -DOBJECT=FILE -DFORGETS=1 -DM_NO_MARK
era 'NOT ASKED' caught -DMOVES=3 -DOBJECT=FILE -DLEASES=0 -DM_NOT_ASKED

# --- what is not promised: spec/README.md, "Limits"

era 'LIMIT it forgets twice' caught -DMOVES=2 -DONE=1 -DOBJECT=FILE -DFORGETS=2
era 'LIMIT two nodes, two servers' caught -DMOVES=3 -DNN=2
era 'LIMIT a master died' caught -DMOVES=3 -DNN=2 -DSETTLED=1 -DRESTARTS=1

[ $bad = 0 ] || say "--- FAILED, see $out"

exit $bad
