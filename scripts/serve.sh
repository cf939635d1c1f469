#!/bin/bash
# serve.sh - nginx with the module, Redis and an inference server, in the
# foreground until Ctrl-C
#
#     PORT=8080            on 127.0.0.1
#     UPSTREAM=host:port   a real inference server instead of the mock
#
# Files, batches and results stay in build/serve between runs.

set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/stack.sh"

"$ROOT/scripts/deps.sh" build run
"$ROOT/scripts/build.sh"
[ -n "${UPSTREAM:-}" ] || make -s -C "$ROOT" mock

dir=$BUILD/serve
port=${PORT:-8080}
base=http://127.0.0.1:$port

mkdir -p "$dir"
exec 8> "$dir/lock"
flock -n 8 || die "\"make serve\" is already running"

if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
    die "port $port is in use; choose another with PORT="
fi

rm -f "$dir"/*.sock

trap 'stack_down; echo; say "stopped"' EXIT
trap 'exit 0' INT TERM HUP

MOCK_ARGS="-d 20 -j 60"
stack_up "$dir" "$port"

if [ -n "${UPSTREAM:-}" ]; then
    say "inference: $UPSTREAM"
else
    say "inference: a mock (UPSTREAM=host:port uses a real server)"
fi

cat << END
listening: $base, state and logs: $dir

Try, in another terminal:

  echo '{"custom_id":"a","method":"POST","url":"/v1/chat/completions",\\
"body":{"model":"m","messages":[{"role":"user","content":"Hello!"}]}}' > in.jsonl

  curl $base/v1/files -F purpose=batch -F file=@in.jsonl

  curl $base/v1/batches -H 'Content-Type: application/json' -d '{
    "input_file_id": "file-...", "endpoint": "/v1/chat/completions",
    "completion_window": "24h"}'

  curl $base/v1/batches/batch_...
  curl $base/v1/files/file-.../content
  curl $base/batch-status

Ctrl-C stops all of it.
END

# wait returns early when a signal comes; the loop ends when nginx does

while kill -0 "$stack_nginx_pid" 2> /dev/null; do
    wait "$stack_nginx_pid" || true
done

die "nginx has exited, see $dir/logs"
