#!/bin/bash
# llama.sh - batches against a real llama-server
#
# Makes a chroot of Debian sid, which has llama.cpp, below build/chroot (and
# keeps it) and a random model of a few hundred KB, starts llama-server on
# loopback, and runs 500 lines each of chat, completions and embeddings through
# nginx.  TAP on standard output; without a chroot the test is reported as
# skipped.  At the end it unmounts what it has mounted.

set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$ROOT/scripts/stack.sh"

root=$BUILD/chroot/sid
dir=$BUILD/llama
n=${LLAMA_LINES:-500}
count=0
bad=0

rm -rf "$dir"
mkdir -p "$dir"

finish() {
    stack_down
    chroot_umount "$root"
}

trap finish EXIT
trap 'exit 1' INT TERM HUP

skip() {
    echo "ok 1 - # skip llama-server: $*"
    echo "1..1"
    exit 0
}

ok() {
    count=$((count + 1))

    if "${@:2}"; then
        echo "ok $count - $1"
    else
        echo "not ok $count - $1"
        bad=$((bad + 1))
    fi
}


if [ "$(id -u)" != 0 ]; then
    skip "making a chroot needs root"
fi

timeout 600 "$ROOT/scripts/chroot.sh" sid "$root" llama.cpp python3-gguf \
    > "$dir/chroot.log" 2>&1 \
    || skip "no chroot with llama.cpp:" "$(tail -n 1 "$dir/chroot.log" \
        | sed -E 's#(https?://)[^/ "]+#\1MIRROR#g')"

mkdir -p "$root/w"

if [ ! -s "$root/w/tiny.gguf" ]; then
    cp "$ROOT/scripts/tiny_gguf.py" "$root/w/"
    chroot "$root" python3 /w/tiny_gguf.py /w/tiny.gguf.new \
        > "$dir/gguf.log" 2>&1 || skip "no model: $(tail -n 1 "$dir/gguf.log")"
    mv "$root/w/tiny.gguf.new" "$root/w/tiny.gguf"
fi

read -r port llama < <(free_ports 2)

# HTTP threads for batch_concurrency keep-alive connections; on two cores one
# computing thread is faster than two.

stack_spawn "$dir/llama.log" chroot "$root" /usr/bin/llama-server \
    -m /w/tiny.gguf --alias tiny --host 127.0.0.1 --port "$llama" \
    --offline --no-ui --no-warmup -fit off -ngl 0 -t 1 -tb 1 --cache-ram 0 \
    -np 8 -c 8192 --threads-http 96 --embeddings --pooling mean \
    --log-verbosity 1
stack_pids+=("$child")

wait_for 30 curl -sf -o /dev/null "http://127.0.0.1:$llama/health" \
    || skip "llama-server does not start: $(tail -n 1 "$dir/llama.log")"

UPSTREAM=127.0.0.1:$llama
STACK_WORKERS=2
stack_up "$dir" "$port"
base=http://127.0.0.1:$port


json() {
    perl -0777 -ne '
        BEGIN { $k = shift @ARGV }
        print $1 // $2 // "" if /"\Q$k\E"\s*:\s*(?:"([^"]*)"|([-0-9]+))/
        ' "$1" "$2"
}


# input NAME URL BODY - n lines; %d in the body is the line's number

input() {
    perl -e '
        my ($n, $url, $body) = @ARGV;
        for my $i (1 .. $n) {
            (my $b = $body) =~ s/%d/$i/g;
            print qq({"custom_id":"line-$i","method":"POST","url":"$url",)
                  . qq("body":$b}\n);
        }' "$n" "$2" "$3" > "$dir/$1.jsonl"
}


# batch NAME URL - runs one file; the batch's last state is in NAME.batch

batch() {
    local name=$1 url=$2 file id i

    file=$(curl -sf "$base/v1/files" -F purpose=batch \
           -F "file=@$dir/$name.jsonl" | tee "$dir/$name.file" > /dev/null;
           json id "$dir/$name.file")

    curl -sf -o "$dir/$name.batch" "$base/v1/batches" \
        -H "Content-Type: application/json" \
        -d "{\"input_file_id\":\"$file\",\"endpoint\":\"$url\",
             \"completion_window\":\"24h\"}" || return 1

    id=$(json id "$dir/$name.batch")

    for i in $(seq 600); do
        curl -sf -o "$dir/$name.batch" "$base/v1/batches/$id" || return 1

        case $(json status "$dir/$name.batch") in
            completed) break ;;
            failed|expired|cancelled) return 1 ;;
        esac

        sleep 0.1
    done

    curl -sf -o "$dir/$name.out" \
        "$base/v1/files/$(json output_file_id "$dir/$name.batch")/content"
}


# every custom_id once, and the tokens of the lines add up to the batch's

whole() {
    perl -e '
        my ($n, $out, $batch) = @ARGV;
        my (%seen, $in, $total);
        open my $f, "<", $out or exit 1;
        while (<$f>) {
            $seen{$1}++ if /"custom_id": *"([^"]*)"/;
            exit 1 unless /"status_code": *200/;
            $in += $1 if /"prompt_tokens": *(\d+)/;
            $total += $1 if /"total_tokens": *(\d+)/;
        }
        for (1 .. $n) {
            die "line-$_: " . ($seen{"line-$_"} // 0) . " times\n"
                unless ($seen{"line-$_"} // 0) == 1;
        }
        open my $b, "<", $batch or exit 1;
        my ($usage) = join("", <$b>) =~ /"usage": *(\{.*)/s;
        my ($bt) = $usage =~ /"total_tokens": *(\d+)/;
        my ($bi) = $usage =~ /"input_tokens": *(\d+)/;
        die "usage $bi/$bt of the batch, $in/$total of its lines\n"
            unless $bt == $total && $bi == $in && $total > 0;
        ' "$n" "$dir/$1.out" "$dir/$1.batch"
}


run() {
    local name=$1 url=$2 body=$3 t0 ms

    input "$name" "$url" "$body"
    t0=$(date +%s%N)
    ok "$name: $n lines completed" batch "$name" "$url"
    ms=$((($(date +%s%N) - t0) / 1000000))
    ok "$name: every custom_id once, usage adds up" whole "$name"
    echo "# $name: $n lines in $ms ms"
}


run chat /v1/chat/completions '{"model":"tiny","max_tokens":16,"messages":[{"role":"user","content":"say %d words about water"}]}'
run completions /v1/completions '{"model":"tiny","prompt":"once upon %d","max_tokens":12}'
run embeddings /v1/embeddings '{"model":"tiny","input":"the other water %d"}'

echo "1..$count"
[ $bad = 0 ]
