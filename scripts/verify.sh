#!/bin/bash
# verify.sh [quick|full] - checks the models in spec/ with spin: what is true of
# the protocol in every order of events, and that the model notices when one of
# the protocol's protections is removed.  spec/README.md says what it all means.
#
#     quick    only the smallest configurations
#     full     also the large ones (half an hour, 6 GB)
#
# One line a configuration: states, result, seconds.  Not 0 if an invariant
# breaks, if a mutant survives, or if a search does not come to its end.

set -uo pipefail
. "$(dirname "$0")/lib.sh"

how=${1:-usual}
out=$BUILD/verify
limit=${LIMIT:-900}        # seconds for one search
bad=0

"$ROOT/scripts/deps.sh" verify || exit 1

rm -rf "$out"
mkdir -p "$out"

row() { printf '%-44s %12s  %-10s %5s\n' "$@"; }


# run MODEL NAME EXPECTED OPTION... - holds: all states, no error; caught: an
# error is found

run() {
    local model=$1 name=$2 expected=$3 dir rc=0 t0 states result
    shift 3
    dir=$out/${name// /_}
    t0=$(date +%s)

    mkdir -p "$dir"
    (
        cd "$dir" || exit 1
        cp "$ROOT/spec/$model.pml" .
        spin -a "$@" "$model.pml" > spin.log 2>&1 || exit 2
        gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=6000 -o pan pan.c \
            > gcc.log 2>&1 || exit 2

        # the end of a run is checked by the model itself

        timeout "$limit" ./pan -E -m2000000 -w25 > pan.log 2>&1
    ) || rc=$?

    states=$(sed -nE 's/^ *([0-9]+) states, stored.*/\1/p' \
             "$dir/pan.log" 2> /dev/null | head -1)

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

    row "$name" "${states:--}" "$result" "$(($(date +%s) - t0))"
}

holds()  { run batch "$1" holds "${@:2}"; }
mutant() { run batch "$1" caught -DM_"${1// /_}" "${@:2}"; }
del()    { run delete "$1" "$2" "${@:3}"; }

row configuration states result s

# --- what holds

small='-DNL=1 -DNF=1'

holds '2 workers, 1 line, power cut' $small -DCUTS=1
del   'deletion of a result, all faults' holds
del   'deletion of an uploaded file, all faults' holds -DOUTPUT=0

if [ "$how" != quick ]; then
    holds '2 workers, 2 lines, power cut' -DNF=1 -DCUTS=1
    holds '2 workers, 2 lines, power cut, kill' -DNF=1 -DCUTS=1 -DKILLS=1
    holds '2 workers, 2 lines, Redis rewound' -DNF=1 -DREWINDS=1
    holds '1 worker, Redis rewound, power cut' $small -DNW=1 -DREWINDS=1 \
          -DCUTS=1
    holds '1 worker, 2 chunks, Redis rewound' $small -DNW=1 -DNC=2 -DME=3 \
          -DREWINDS=1
    holds '2 workers, Redis rewound, not fenced' $small -DREWINDS=1 \
          -DM_NO_FENCE
    holds '3 workers' $small -DNW=3 -DME=5
    holds '2 workers, 2 chunks, power cut' $small -DNC=2 -DME=3 -DCUTS=1
    holds '2 workers, cancel, power cut' $small -DCANCEL=1 -DCUTS=1
    holds '1 worker, cancel, Redis rewound' $small -DNW=1 -DCANCEL=1 \
          -DREWINDS=1
    holds '2 workers, 2 finalizers, cancel' -DNL=1 -DCANCEL=1
    holds '2 workers, 2 finalizers, 2 lines, power cut' -DCUTS=1
fi

if [ "$how" = full ]; then
    holds '2 workers, 2 finalizers, 2 lines, cancel' -DCANCEL=1
    holds '2 workers, cancel, Redis rewound' $small -DCANCEL=1 -DREWINDS=1
    holds '2 workers, Redis rewound, power cut' $small -DREWINDS=1 -DCUTS=1
fi

# --- what is noticed when it is missing

mutant 'NO SYNC' -DNF=1 -DCUTS=1
mutant 'NO DIR SYNC' -DNF=1 -DCUTS=1
mutant 'NO READ SYNC' -DNF=1 -DCUTS=1
mutant 'NO TMP SYNC' -DNF=1 -DCUTS=1
mutant 'NO SCAN SYNC' -DNF=1 -DCUTS=1
mutant 'SYNC BEFORE SCAN' -DNF=1 -DCUTS=1
mutant 'PICK LATE' -DNF=1 -DCUTS=1
mutant 'OVERWRITE'
mutant 'NO REBUILD' $small -DREWINDS=1
mutant 'NO EXCL' $small -DREWINDS=1
mutant 'NO DECISION' $small -DCANCEL=1
mutant 'NO LOOK' $small -DCANCEL=1 -DCUTS=1

for o in 1 0; do
    del "JSON FIRST, output $o" caught -DOUTPUT=$o -DM_JSON_FIRST
    del "TOMBSTONE NOT SYNCED, output $o" caught -DOUTPUT=$o -DM_NO_DIR_SYNC
    del "NO GHOSTS, output $o" caught -DOUTPUT=$o -DM_NO_GHOSTS
    del "INDEX AS IT IS, output $o" caught -DOUTPUT=$o -DM_NO_REBUILD
done

del 'GHOSTS BY TOMBSTONE' caught -DOUTPUT=0 -DM_GHOSTS_BY_TOMB
del 'TOMBSTONE FIRST' caught -DOUTPUT=0 -DM_TOMB_FIRST

[ $bad = 0 ] || say "--- FAILED, see $out"

exit $bad
