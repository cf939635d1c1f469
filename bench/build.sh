#!/bin/bash
# build.sh - the module, and the bench's own upstream and client

set -euo pipefail
. "$(dirname "$0")/../scripts/lib.sh"

"$ROOT/scripts/build.sh" > /dev/null

mkdir -p "$BUILD/bench"

for p in upstream client; do
    ${CC:-gcc} -std=gnu99 -O2 -g -Wall -Wextra -Werror \
        -o "$BUILD/bench/$p" "$ROOT/bench/$p.c" -lm
done
