#!/bin/bash
# seeds.sh BASE DIRECTORY [PYTHON] - the two quick starts that the API has to
# serve, command by command as their documents have them (t/e2e/seeds): only
# the host, the key and the ids of the step before are put in, and waits cut
# short.  TAP on standard output.

set -uo pipefail

base=$1
dir=$2
python=${3:-}
seeds=$(cd "$(dirname "$0")/seeds" && pwd)
n=0
bad=0

cd "$dir" || exit 1


ok() {
    local rc=$?

    n=$((n + 1))

    if [ $rc = 0 ]; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        [ ! -s last.json ] || sed 's/^/# /' last.json | head -n 5
        bad=$((bad + 1))
    fi
}


json() {
    perl -0777 -ne '
        BEGIN { $k = shift @ARGV }
        print $1 // $2 // "" if /"\Q$k\E"\s*:\s*(?:"([^"]*)"|([-0-9]+))/
        ' "$1" "$2"
}


# run FILE [OLD NEW]... - a code block with its placeholders replaced

run() {
    local file=$1 s=
    shift

    while [ $# -gt 0 ]; do
        s="$s;s|$1|$2|g"
        shift 2
    done

    sed "${s#;}" "$seeds/$file" > step.sh
    bash step.sh 2> step.err
}


# poll FILE PLACEHOLDER - the document's own command until the batch has ended

poll() {
    local i

    for i in $(seq 200); do
        run "$1" "$2" "$batch" "${host[@]}" > last.json || return 1

        case $(json status last.json) in
            completed) return 0 ;;
            failed|expired|cancelled) return 1 ;;
        esac

        sleep 0.1
    done

    return 1
}


# Impala: BASE_URL is a variable of the shell there

export BASE_URL=$base
host=()
cp "$seeds/impala-input.jsonl" input.jsonl

run impala-2-upload.sh > last.json && [ "$(json purpose last.json)" = batch ]
ok "impala: upload"
file=$(json id last.json)

run impala-3-create.sh file-abc123 "$file" > last.json \
    && [ "$(json job_id last.json)" = job-xxxxxxxx ] \
    && [ "$(json completion_window last.json)" = unlimited ]
ok "impala: create, with the job's id and an unlimited window"
batch=$(json id last.json)

poll impala-4-poll.sh batch-xyz789
ok "impala: completed"

out=$(json output_file_id last.json)
run impala-5-download.sh '<output_file_id>' "$out" \
    && [ "$(wc -l < output.jsonl)" = 2 ] \
    && grep -q '"custom_id": *"req-1"' output.jsonl \
    && grep -q '"custom_id": *"req-2"' output.jsonl
ok "impala: results"

if [ -n "$python" ]; then
    rm -f output.jsonl last.json
    sed -e "s|<BASE_URL>|$base|" \
        -e '/^# 3. Poll/i import time; time.sleep(3)' \
        "$seeds/impala-sdk.py" > step.py
    "$python" step.py > last.json 2>&1 && [ "$(wc -l < output.jsonl)" = 2 ]
    ok "impala: the sample of the Python SDK"
else
    n=$((n + 1))
    echo "ok $n - # skip impala: the Python sample, without its SDK"
fi


# TensorZero

host=(https://api.tensorzero.com "$base" YOUR_API_KEY key-e2e)
cp "$seeds/tensorzero-requests.jsonl" requests.jsonl

run tensorzero-2-upload.sh "${host[@]}" > last.json \
    && [ "$(json filename last.json)" = requests.jsonl ]
ok "tensorzero: upload, the file before its purpose"
file=$(json id last.json)

run tensorzero-3-create.sh file-abc123 "$file" "${host[@]}" > last.json \
    && [ "$(json object last.json)" = batch ]
ok "tensorzero: create"
batch=$(json id last.json)

poll tensorzero-4-status.sh batch_xyz789 \
    && [ "$(json completed last.json)" = 3 ]
ok "tensorzero: completed, three of three"

out=$(json output_file_id last.json)
run tensorzero-5-download.sh file-output123 "$out" "${host[@]}" > /dev/null \
    && [ "$(grep -c '"custom_id": *"req-[123]"' results.jsonl)" = 3 ]
ok "tensorzero: results"

if [ -n "$python" ]; then
    sed -e "s|https://api.tensorzero.com|$base|; s|YOUR_API_KEY|key-e2e|" \
        -e 's|time.sleep(30)|time.sleep(0.2)|' \
        "$seeds/tensorzero-example.py" > step.py
    "$python" step.py > last.json 2>&1 \
        && [ "$(grep -c '^req-[123]: ' last.json)" = 3 ]
    ok "tensorzero: the Python example"
else
    n=$((n + 1))
    echo "ok $n - # skip tensorzero: the Python example, without requests"
fi

echo "1..$n"
[ $bad = 0 ]
