#!/bin/bash
# test.sh [STAGE...] - every test from nothing, or only the stages named
#
#     build     the module, and once more with clang and against a source tree
#     unit      t/unit: the pure rooms and the store; t/lua: Redis' scripts
#     fuzz      t/fuzz: each target of the pure rooms for 20 s
#     nginx     t/*.t on the installed nginx
#     asan      t/*.t again, nginx and module with sanitizers
#     e2e       official SDKs of Node and Python, the two quick starts, a large
#               file in parts
#     llama     a real llama-server
#     demo      make demo
#     fault     t/fault: batches while processes are killed, fixed seeds
#     model     spec: small configurations of the models, and all their mutants
#     guard     what a line costs, in instructions and Redis commands
#
#     times     no test: what t/times is made of (scripts/test.sh times > t/times)
#
# Each stage's output is in build/test/STAGE.log.  The last line counts the
# tests of all stages; a stage that fails without naming a test counts as one.
# Whatever a stage leaves running or mounted is a failure, too.
#
#     T=t/01_files.t  only these files in the stages nginx and asan, "T=a b"
#     JOBS=n        files at a time there (4: they wait more than they work)
#     FUZZ=n        seconds for each fuzz target (20)

set -uo pipefail
. "$(dirname "$0")/lib.sh"

passed=0
failed=0
skipped=0
logs=$BUILD/test
begun=$(date +%s)

mkdir -p "$logs"


# tally LOG STATUS - counts the TAP of a log

tally() {
    local p f s

    s=$(grep -aciE '^ok .*# *skip' "$1")
    p=$(($(grep -ac '^ok ' "$1") - s))
    f=$(grep -ac '^not ok ' "$1")

    if [ "$2" != 0 ] && [ "$f" = 0 ]; then
        f=1
    elif [ "$2" = 0 ] && [ $((p + f + s)) = 0 ]; then
        p=1
    fi

    passed=$((passed + p))
    failed=$((failed + f))
    skipped=$((skipped + s))

    if [ "$2" != 0 ] || [ "$f" != 0 ]; then
        say "--- FAILED: $name ($p passed, $f failed, $s skipped)"
    else
        say "--- $name: $p passed, $s skipped, $(($(date +%s) - t0)) s"
    fi

    grep -aiE '^ok .*# *skip' "$1" | sed -E 's/^ok [0-9]* *-? *#? */    SKIPPED: /I'
}


# begin NAME SECONDS COMMAND... - in the background, what stage NAME waits for

declare -A early=()

trap '[ ${#early[@]} = 0 ] || kill "${early[@]}"' EXIT

begin() {
    local name=$1 seconds=$2
    shift 2

    timeout -k 10 "$seconds" "$@" > "$logs/$name.log" 2>&1 < /dev/null &
    early[$name]=$!
}


# stage NAME SECONDS COMMAND...

stage() {
    local name=$1 seconds=$2 log=$logs/$1.log rc=0 t0
    shift 2
    t0=$(date +%s)

    say
    say "=== $name"

    if [ -n "${early[$name]:-}" ]; then
        wait "${early[$name]}" || rc=$?
        unset "early[$name]"
    else
        timeout --foreground -k 10 "$seconds" "$@" > "$log" 2>&1 || rc=$?
    fi

    [ $rc != 124 ] || echo "not ok - $name: no end after $seconds s" >> "$log"

    if [ $rc != 0 ] || grep -aq '^not ok ' "$log"; then
        # the failures and what is said about each, not what went well

        awk '/^ok / { on = 0; next }
             /^not ok |^error:|^#   Failed|^Bail/ { on = 8 }
             on-- > 0 { print substr($0, 1, 300) }' "$log" | head -80
        say "    ... $log:"
        tail -n 15 "$log"
    fi

    tally "$log" $rc
}


# Test::Nginx is in no release of Debian yet: one arch-independent package of
# sid, its signature checked by apt, dependencies from the running release.

test_nginx() {
    "$ROOT/scripts/get_test_nginx.sh"
}


# The files of t/, those first that took longest the last time, or one of them
# runs alone at the end; one that was not run yet comes before them all.  What a
# stage has measured here counts more than t/times.

in_order() {
    cd "$ROOT/t" && printf '%s\n' [0-9]*.t | awk -v state="$1" '
        BEGIN {
            while ((getline line < "times") > 0) {
                split(line, f)
                took[f[2]] = f[1]
            }

            while ((getline line < state) > 0) {
                if (line ~ /^  [^ ].*\.t:$/) {
                    file = line
                    sub(/.*[\/ ]/, "", file)
                    sub(/:$/, "", file)

                } else if (line ~ /^    elapsed: /) {
                    split(line, f)
                    took[file] = f[2]
                }
            }
        }

        { print ($1 in took) ? took[$1] : 1000000, "t/" $1 }' \
        | sort -k1,1rn -k2,2 | cut -d" " -f2
}


# The seconds of the last run of each file, as t/times has them: to be
# committed when it is far from what is true, it only helps the first run.

run_times() {
    awk '/^  [^ ].*\.t:$/ { sub(/.*[\/ ]/, ""); sub(/:$/, ""); file = $0 }
         /^    elapsed: / { printf "%d %s\n", $2 + 0.5, file }' \
        "$logs/nginx.state" | sort -k1,1rn -k2,2 \
        | while read -r s f; do [ ! -e "$ROOT/t/$f" ] || echo "$s $f"; done
}


prove_all() {
    local double files=(${T:-}) state=$logs/$1.state

    double=$(cd "$ROOT/t" && printf '%s\n' [0-9]*.t | cut -d_ -f1 | uniq -d)
    [ -z "$double" ] || die "two files have the number" $double

    [ ${#files[@]} != 0 ] || files=($(in_order "$state"))

    rm -rf "$BATCH_TEST_DIR"
    mkdir -p "$BATCH_TEST_DIR"

    cd "$ROOT" && prove -v -j"${JOBS:-4}" --state=save --statefile="$state" \
        "${files[@]}"
}


run_nginx() {
    test_nginx || return 1
    export BATCH_TEST_DIR=$BUILD/t/n
    prove_all nginx
}


# What a sanitizer has to say is in files of its own: nginx's error log is
# cleaned from block to block.

run_asan() {
    local rc=0 reports=$BUILD/asan/reports

    test_nginx || return 1
    "$ROOT/scripts/deps.sh" source || return 1
    "$ROOT/scripts/build.sh" --asan || return 1

    rm -rf "$reports"
    mkdir -p "$reports"

    export TEST_NGINX_BINARY=$BUILD/asan/nginx
    export TEST_NGINX_LOAD_MODULES=$BUILD/asan/ngx_http_batch_module.so
    export BATCH_TEST_DIR=$BUILD/t/a
    export TEST_NGINX_TIMEOUT=30

    # one string for both: nginx keeps ASAN_OPTIONS for its workers, and UBSAN
    # in the same library reports where ASAN does

    export ASAN_OPTIONS="detect_odr_violation=0,detect_leaks=0,log_path=$reports/asan"
    export UBSAN_OPTIONS="print_stacktrace=1,log_path=$reports/ubsan"

    prove_all asan || rc=$?

    if [ -n "$(find "$reports" -type f -size +0)" ]; then
        find "$reports" -type f -size +0 | while read -r f; do
            echo "not ok - sanitizer report $f"
            head -n 30 "$f"
        done
        rc=1
    else
        echo "ok - no sanitizer report"
    fi

    return $rc
}


run_unit() {
    local rc=0 san

    # the objects configured for the module belong to gcc's build
    CC=gcc "$ROOT/scripts/build.sh" || return 1

    if "$ROOT/scripts/rooms.sh"; then
        echo "ok - nobody calls a room above, and files that docs name exist"
    else
        echo "not ok - rooms"
        rc=1
    fi

    for san in "" SAN=1; do
        make -C "$ROOT/t/unit" CC=gcc $san || rc=1
        make -C "$ROOT/t/unit" -f store.mk CC=gcc NGX_OBJS="$BUILD/nginx-gcc" \
            $san || rc=1
    done

    (cd "$ROOT" && prove -v t/lua/*.t) || rc=1

    return $rc
}


run_build() {
    "$ROOT/scripts/deps.sh" build run test || return 1
    "$ROOT/scripts/build.sh" || return 1
    echo "ok - module with ${CC:-gcc}"

    make -s -C "$ROOT" mock || return 1
    echo "ok - mock"

    tests_named

    if command -v clang > /dev/null; then
        CC=clang OUT=$BUILD/clang "$ROOT/scripts/build.sh" || return 1
        echo "ok - module with clang"
    else
        echo "ok - # skip module with clang: not installed here"
    fi
}


# each file of t/ is in the table of t/README.md

tests_named() {
    local f missing=

    for f in "$ROOT"/t/[0-9]*.t; do
        grep -qF "\`${f##*/}\`" "$ROOT/t/README.md" \
            || missing="$missing ${f##*/}"
    done

    if [ -z "$missing" ]; then
        echo "ok - t/README.md names each test"
    else
        echo "not ok - t/README.md names each test:$missing"
    fi
}


# The fuzz targets of src/core, three at a time, FUZZ seconds each (20): what is
# new to them since the last run they find in the seeds.  A finding stands in
# build/fuzz/<target>/.

run_fuzz() {
    local seconds=${FUZZ:-20} targets

    "$ROOT/scripts/deps.sh" fuzz || true

    if ! echo 'int LLVMFuzzerTestOneInput(const unsigned char *p, long n)
               { return p && n ? 0 : 0; }' \
            | clang -fsanitize=fuzzer,address -x c -o "$BUILD/fuzzer" - \
                > /dev/null 2>&1
    then
        echo "ok - # skip fuzz: no clang with libFuzzer here"
        return 0
    fi

    rm -f "$BUILD/fuzzer"

    make -s -j2 -C "$ROOT/t/fuzz" BUILD="$BUILD/fuzz" build || return 1
    targets=$(make -s -C "$ROOT/t/fuzz" targets)

    # every target reports for itself: one that fails does not stop the others

    echo "$targets" | tr ' ' '\n' | xargs -P 3 -I{} make -s -C "$ROOT/t/fuzz" \
        BUILD="$BUILD/fuzz" SECONDS="$seconds" TARGETS={} run
}


# the way of docker: an unpacked source and the arguments of nginx -V

run_source() {
    local src

    "$ROOT/scripts/deps.sh" source || return 1
    src=$("$ROOT/scripts/get_nginx_src.sh" "$BUILD/src") || return 1
    OUT=$BUILD/source "$ROOT/scripts/build.sh" --source "$src" || return 1

    printf '%s\n' "load_module $BUILD/source/ngx_http_batch_module.so;" \
        "pid $BUILD/source/pid; events { }" > "$BUILD/source/nginx.conf"
    "$(nginx_binary)" -t -e "$BUILD/source/error.log" \
        -c "$BUILD/source/nginx.conf" || return 1
    echo "ok - module built against a source tree is loaded"
}


# A share of the soak, with seeds that stay the same.  "ok" is a run in which
# every promise was kept.

run_fault() {
    local rc=0 log=$logs/fault.second pid

    "$ROOT/scripts/deps.sh" fault || return 1

    # two lanes: they wait more than they work

    {
        fault_run SEED=12 FAULTS=master,upgrade,quit TIME=12 GAP=0.3
        fault_run SEED=15 FAULTS=stop TIME=4 GAP=0.2
        fault_run SEED=19 NODES=2 FAULTS=node,node_cut,worker TIME=8
        fault_cuts ext4
        fault_cuts xfs
    } > "$log" 2>&1 &
    pid=$!

    fault_run SEED=11 FAULTS=worker TIME=8 GAP=0.3
    fault_run SEED=13 FAULTS=reload TIME=8 GAP=0.1
    fault_run SEED=14 FAULTS=redis,redis_empty,flushall TIME=8
    fault_run SEED=18 TIME=8 \
        FAULTS=redis_rewind,script_flush,client_kill,redis_oom,redis_readonly
    fault_run SEED=16 TIME=20 GAP=0.3

    wait $pid || rc=1
    cat "$log"

    return $rc
}


# fault_run ARGUMENTS... - of t/fault/run

fault_run() {
    if "$ROOT/t/fault/run" "$@"; then
        echo "ok - fault $*"
    else
        echo "not ok - fault $*"
    fi
}


# fault_cuts FILESYSTEM

fault_cuts() {
    local rc=0

    PYTHONDONTWRITEBYTECODE=1 "$ROOT/t/fault/powercut" 8 "$1" 17 || rc=$?

    case $rc in
        0)  echo "ok - 8 power cuts of $1" ;;
        77) echo "ok - # SKIP power cuts of $1 need root, loop devices and" \
                 "mkfs.$1" ;;
        *)  echo "not ok - 8 power cuts of $1" ;;
    esac
}


# valgrind and the bench's upstream, but none of the clients that it is
# compared with

run_guard() {
    "$ROOT/scripts/deps.sh" build run guard || return 1
    "$ROOT/bench/build.sh" || return 1
    PYTHONDONTWRITEBYTECODE=1 BUILD=$BUILD /usr/bin/python3 \
        "$ROOT/bench/guard.py"
}


# What still runs or is mounted below the build directory.  Test::Nginx's
# nginx is a daemon: a test file that was killed leaves it.

leftovers() {
    local p pid link bad=0

    for p in /proc/[0-9]*; do
        pid=${p#/proc/}
        [ "$pid" != $$ ] || continue
        link=$(tr '\0' ' ' < "$p/cmdline" 2> /dev/null) || continue

        case $link in
            *"$BUILD"/t/?/*|*"$BUILD"/demo/*|*"$BUILD"/e2e/*|\
            *"$BUILD"/llama/*|*"$BUILD"/fault/*|*"$BUILD"/bench/*)
                echo "not ok - left running: $pid $link"
                kill -KILL "$pid" 2> /dev/null
                bad=1
                ;;
        esac
    done

    if awk -v d="$BUILD/" 'index($2, d) == 1 { print; f = 1 }
                           END { exit !f }' /proc/mounts
    then
        echo "not ok - mounts left below $BUILD"
        chroot_umount "$BUILD/chroot/sid"
        bad=1
    fi

    [ $bad = 0 ] && echo "ok - nothing left running or mounted"
}


# One test is one configuration.  What takes longer is for make verify.

run_model() {
    TAP=1 nice -n 10 "$ROOT/scripts/verify.sh" quick
}


# a stage is a command of its own, so that it can be timed and ended

if [ "${1:-}" = --run ]; then
    case $2 in
        leftovers) leftovers ;;
        *) run_"$2" ;;
    esac
    exit
fi

if [ "${1:-}" = times ]; then
    run_times
    exit
fi

self=$ROOT/scripts/test.sh

if [ $# = 0 ]; then
    set -- build source unit fuzz nginx asan e2e llama demo fault model guard
fi

for s in "$@"; do
    case $s in
        build)  stage build 300 "$self" --run build ;;
        source) stage source 300 "$self" --run source ;;
        unit)   stage unit 240 "$self" --run unit ;;
        fuzz)
            # an engine is installed and made to run meanwhile
            case " $* " in
                *" fuzz "*" llama "*)
                    begin llama 600 "$ROOT/scripts/llama.sh"
                    ;;
            esac

            stage fuzz 300 "$self" --run fuzz
            ;;
        nginx)  stage nginx 900 "$self" --run nginx ;;
        asan)   stage asan 1200 "$self" --run asan ;;
        e2e)
            for e in seeds node python parts; do
                stage "e2e-$e" 420 "$ROOT/t/e2e/run.sh" "$e"
            done
            ;;
        llama)  stage llama 600 "$ROOT/scripts/llama.sh" ;;
        demo)   stage demo 180 "$ROOT/scripts/demo.sh" ;;
        fault)
            # which waits more than it works; spin is installed before, or two
            # apt would run at once
            case " $* " in
                *" fault "*" model "*)
                    "$ROOT/scripts/deps.sh" verify
                    begin model 600 "$self" --run model
                    ;;
            esac

            stage fault 600 "$self" --run fault
            ;;
        model)  stage model 600 "$self" --run model ;;
        guard)  stage guard 240 "$self" --run guard ;;
        *)      die "no stage \"$s\"" ;;
    esac
done

stage leftovers 60 "$self" --run leftovers

say
say "$(($(date +%s) - begun)) s"
say "$passed passed, $failed failed, $skipped skipped"

[ $failed = 0 ]
