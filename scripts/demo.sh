#!/bin/bash
# demo.sh - from nothing to a finished batch of real text
#
# Installs what is missing, builds, starts a private Redis, nginx and an
# inference server, makes a JSONL file from the descriptions of this machine's
# Debian packages, and runs it as a batch with curl.  Exits with 0 only if each
# line came back exactly once.
#
#     UPSTREAM=host:port   a real inference server instead of the mock
#     MODEL=name           its model (default: the first in /v1/models)
#     DEMO_LINES=n         lines of the batch (3000; 100 with UPSTREAM)

set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/stack.sh"

started=$(date +%s)

say "== the programs"

"$ROOT/scripts/deps.sh" build run
"$ROOT/scripts/build.sh"
[ -n "${UPSTREAM:-}" ] || make -s -C "$ROOT" mock

dir=$BUILD/demo
rm -rf "$dir"
mkdir -p "$dir"

trap 'stack_down' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say
say "== the servers"

port=$(free_ports 1)
base=http://127.0.0.1:$port
MOCK_ARGS="-d 20 -j 60"

stack_up "$dir" "$port"

say "Redis      $dir/redis.sock, with an append-only file"

if [ -n "${UPSTREAM:-}" ]; then
    say "inference  $UPSTREAM"
else
    say "inference  a mock that answers after 20 to 80 ms" \
        "(UPSTREAM=host:port uses a real server)"
fi

say "nginx      $base"

model=${MODEL:-}
[ -n "$model" ] || model=$(curl -s -m 10 "$base/v1/models" \
    | perl -0777 -ne 'print $1 if /"id"\s*:\s*"([^"\\]+)"/') || true
model=${model:-default}


# json KEY FILE - the first value of that key: enough for these answers, without
# a parser to install

json() {
    perl -0777 -ne '
        BEGIN { $k = shift @ARGV }
        print $1 // $2 // "" if /"\Q$k\E"\s*:\s*(?:"([^"]*)"|([-0-9]+))/
        ' "$1" "$2"
}


# Each paragraph of each description becomes a line: what is installed first,
# then what apt knows of.

make_input() {
    {
        cat /var/lib/dpkg/status
        echo
        apt-cache dumpavail 2> /dev/null || true
    } | LC_ALL=C awk -v max="$1" -v model="$model" '
        function esc(s) {
            gsub(/[\\"]/, "\\\\&", s)
            gsub(/[\001-\037]/, " ", s)
            return s
        }

        function line(text) {
            if (length(text) < 40 || n >= max || seen[text]++) return
            n++
            printf "{\"custom_id\":\"%s-%d\",\"method\":\"POST\",", pkg, n
            printf "\"url\":\"/v1/chat/completions\",\"body\":{"
            printf "\"model\":\"%s\",\"max_tokens\":32,", esc(model)
            printf "\"messages\":[{\"role\":\"system\",\"content\":"
            printf "\"Sum up in one sentence. Written by %s.\"},", esc(who)
            printf "{\"role\":\"user\",\"content\":\"%s\"}]}}\n", esc(text)
        }

        /^Package: /      { pkg = $2; gsub(/[^-+.a-z0-9]/, "", pkg) }
        /^Maintainer: /   { who = $0; sub(/^[^:]*: /, "", who)
                            sub(/ *<.*/, "", who) }
        /^Description(-en)?: / {
            on = 1
            text = ""
            short = $0
            sub(/^[^:]*:/, pkg " is in Debian:", short)
            next
        }
        on && /^ \.$/     { line(text); text = ""; short = ""; next }
        on && /^ /        { sub(/^ +/, "")
                            text = text (text == "" ? "" : " ") $0
                            next }
        on                { line(text == "" ? short : text); on = 0 }
    '
}

say
say "== the input"

lines=${DEMO_LINES:-}
[ -n "$lines" ] || lines=$([ -n "${UPSTREAM:-}" ] && echo 100 || echo 3000)

make_input "$lines" > "$dir/input.jsonl"

lines=$(wc -l < "$dir/input.jsonl")
[ "$lines" -gt 0 ] || die "this machine has no package descriptions"

say "$lines lines, $(wc -c < "$dir/input.jsonl") bytes, $(LC_ALL=C grep -c \
    '[^ -~]' "$dir/input.jsonl" || true) lines not pure ASCII; the first line:"
head -n 1 "$dir/input.jsonl" | cut -c 1-300

say
say "== the batch"

curl -sS -f -o "$dir/file.json" "$base/v1/files" \
    -F purpose=batch -F "file=@$dir/input.jsonl"

file=$(json id "$dir/file.json")
say "uploaded as $file"

curl -sS -f -o "$dir/batch.json" "$base/v1/batches" \
    -H "Content-Type: application/json" \
    -d "{\"input_file_id\":\"$file\",\"endpoint\":\"/v1/chat/completions\",
         \"completion_window\":\"24h\",\"metadata\":{\"from\":\"demo\"}}"

batch=$(json id "$dir/batch.json")
say "created $batch"

last=
begun=$(date +%s%N)

while :; do
    curl -sS -f -o "$dir/batch.json" "$base/v1/batches/$batch"

    status=$(json status "$dir/batch.json")
    now="$status: $(json completed "$dir/batch.json") answered,"
    now="$now $(json failed "$dir/batch.json") failed"
    now="$now of $(json total "$dir/batch.json")"

    if [ "$now" != "$last" ]; then
        say "  $(date +%T)  $now"
        last=$now
    fi

    case $status in
        completed) break ;;
        failed|expired|cancelled)
            cat "$dir/batch.json" >&2
            die "the batch ended as $status"
            ;;
    esac

    sleep 0.5
done

ms=$((($(date +%s%N) - begun) / 1000000))

say
say "== the result"

out=$(json output_file_id "$dir/batch.json")
err=$(json error_file_id "$dir/batch.json")

: > "$dir/output.jsonl"
: > "$dir/errors.jsonl"

[ -z "$out" ] || curl -sS -f -o "$dir/output.jsonl" \
    "$base/v1/files/$out/content"
[ -z "$err" ] || curl -sS -f -o "$dir/errors.jsonl" \
    "$base/v1/files/$err/content"

say "$dir/output.jsonl: $(wc -l < "$dir/output.jsonl") lines"
say "$dir/errors.jsonl: $(wc -l < "$dir/errors.jsonl") lines"
say
say "some of the answers:"

perl -ne '
    next unless $. % ('"$lines"' / 5 | 1) == 1 && $n++ < 5;
    my ($id) = /"custom_id":\s*"([^"]*)"/;
    my ($text) = /"content":\s*"((?:[^"\\]|\\.)*)"/;
    print "  $id\n    ", substr($text // "(no text)", 0, 100), "\n";
    ' "$dir/output.jsonl"

say
say "== the check"


# every custom_id of the input exactly once in what came back

ids() {
    perl -ne 'print "$1\n" if /"custom_id":\s*"([^"]*)"/' "$@" | LC_ALL=C sort
}

ids "$dir/input.jsonl" > "$dir/want"
ids "$dir/output.jsonl" "$dir/errors.jsonl" > "$dir/have"

if ! cmp -s "$dir/want" "$dir/have"; then
    diff "$dir/want" "$dir/have" | head -10 >&2 || true
    die "the custom_ids that came back are not those that were sent"
fi

say "all $lines custom_ids came back exactly once, in $ms ms" \
    "($((lines * 1000 / (ms > 0 ? ms : 1))) lines a second)"

if [ -s "$dir/errors.jsonl" ]; then
    head -n 3 "$dir/errors.jsonl" | cut -c 1-300
    die "$(wc -l < "$dir/errors.jsonl") lines failed"
fi

stack_down
trap - EXIT

if grep -E '\[(alert|emerg)\]' "$dir/logs/error.log" >&2; then
    die "the error log has alerts, see $dir/logs/error.log"
fi

say "all processes stopped; $(($(date +%s) - started)) s in total"
