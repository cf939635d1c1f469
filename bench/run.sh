#!/bin/bash
# run.sh [ARGUMENTS OF bench.py] - the bench from nothing: what it needs is
# installed and built, its table is printed and left in build/bench/

set -euo pipefail
. "$(dirname "$0")/../scripts/lib.sh"

"$ROOT/scripts/deps.sh" build run bench
"$ROOT/bench/build.sh"

export BUILD PYTHONDONTWRITEBYTECODE=1

/usr/bin/python3 "$ROOT/bench/bench.py" -o "$BUILD/bench/bench.json" "$@" \
    | tee "$BUILD/bench/bench.md"
