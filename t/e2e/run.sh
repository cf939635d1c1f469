#!/bin/bash
# run.sh node|python|seeds|parts - one of the end-to-end tests, on servers of its
# own.  TAP on standard output; what cannot be had here (a registry that does
# not answer) is said aloud and counts as skipped.

set -euo pipefail
. "$(dirname "$0")/../../scripts/lib.sh"
. "$ROOT/scripts/stack.sh"

what=$1
dir=$BUILD/e2e/$what
rm -rf "$dir"
mkdir -p "$dir/files"

skip() {
    echo "ok 1 - # skip $what: $*"
    echo "1..1"
    exit 0
}


# the virtual environment is kept: its packages are pinned

python_env() {
    local venv=$BUILD/venv

    if [ ! -e "$venv/.ready" ] \
       || ! cmp -s "$ROOT/t/e2e/requirements.txt" "$venv/.ready"
    then
        rm -rf "$venv"
        python3 -m venv "$venv" > "$dir/venv.log" 2>&1 || return 1
        timeout 180 "$venv/bin/pip" install -q --disable-pip-version-check \
            -r "$ROOT/t/e2e/requirements.txt" >> "$dir/venv.log" 2>&1 \
            || return 1
        cp "$ROOT/t/e2e/requirements.txt" "$venv/.ready"
    fi

    python=$venv/bin/python
}


node_env() {
    local modules=$BUILD/e2e/node_modules

    command -v npm > /dev/null || return 1

    if ! cmp -s "$ROOT/t/e2e/package-lock.json" "$modules/.ready"; then
        cp "$ROOT"/t/e2e/package*.json "$BUILD/e2e/"
        (
            cd "$BUILD/e2e"
            timeout 180 npm ci --no-audit --no-fund --ignore-scripts
        ) > "$dir/npm.log" 2>&1 || return 1
        cp "$ROOT/t/e2e/package-lock.json" "$modules/.ready"
    fi

    # an import looks for modules beside the file that imports
    cp "$ROOT/t/e2e/sdk.mjs" "$BUILD/e2e/"
}


python=

case $what in
    node)   node_env || skip "no openai package for node here" ;;
    python) python_env || skip "no openai package for Python here" ;;
    seeds)  python_env || true ;;
    parts)  command -v python3 > /dev/null || skip "no python3 here" ;;
    *)      die "usage: run.sh node|python|seeds|parts" ;;
esac

trap 'stack_down' EXIT
trap 'exit 1' INT TERM HUP

read -r port hook <<< "$(free_ports 2)"
base=http://127.0.0.1:$port
STACK_WORKERS=2

# the SDKs listen there for webhooks, and check them; in the other tests nobody
# does

secret=whsec_$(head -c 24 /dev/urandom | base64)
STACK_API="batch_webhook /batch-webhook secret=$secret;"
STACK_SERVER="location = /batch-webhook { internal; proxy_pass http://127.0.0.1:$hook; }"
MOCK_ARGS="-d 5"
stack_up "$dir" "$port"
rc=0

# what goes wrong must not hang the suite

case $what in
    node)
        timeout 120 node "$BUILD/e2e/sdk.mjs" "$base/v1" "$dir/files" "$hook" \
            "$secret" || rc=$?
        ;;
    python)
        timeout 120 "$python" "$ROOT/t/e2e/sdk.py" "$base/v1" "$dir/files" \
            "$hook" "$secret" || rc=$?
        ;;
    seeds)
        timeout 120 "$ROOT/t/e2e/seeds.sh" "$base" "$dir/files" "$python" \
            || rc=$?
        ;;
    parts)
        # MEGABYTES=8192 is the largest that there may be, and needs twice
        # that on disk

        timeout $((120 + ${MEGABYTES:-300} / 8)) python3 "$ROOT/t/e2e/parts.py" \
            "$base/v1" "${MEGABYTES:-300}" $(pgrep -P "$stack_nginx_pid") \
            || rc=$?
        ;;
esac

stack_down
trap - EXIT

if grep -E '\[(alert|crit|emerg)\]|exited on signal' "$dir/logs/error.log"; then
    echo "not ok - $what: the error log has the lines above"
    rc=1
fi

exit $rc
