#!/usr/bin/env bash
# The flagship over pages from local files, so that no API is the limit: time, throughput and peak memory, three times.
#
#: PAGES=                 (bench) folder of recorded pages; without it ../shared/data/openfood if it is there, else
#:                        generated ones are written to .dataflow first
#: PARALLELISM=           (bench) default: one subtask a core
set -euo pipefail
cd "$(dirname "$0")/.."

SWIFT=${SWIFT:-swift}
SCRATCH=${SCRATCH:-.build}
CHECKS=${CHECKS:---explicit-target-dependency-import-check error}
folder=.dataflow/bench
postgres=.dataflow/bench-postgres
api=

finish() {
    [ -z "$api" ] || kill "$api" 2>/dev/null || true
    scripts/postgres.sh remove "$postgres"
}

scripts/bootstrap.sh
for product in dataflow openfood-api; do
    # shellcheck disable=SC2086 # CHECKS is a list of words
    "$SWIFT" build -c release --scratch-path "$SCRATCH" $CHECKS --product "$product" >&2
done
bin=$SCRATCH/release
rm -rf "$folder"
mkdir -p "$folder"
trap finish EXIT

pages=${PAGES:-../shared/data/openfood}
if ! compgen -G "$pages/pages-*.ndjson.gz" >/dev/null; then
    echo 'Writing 200 generated pages' >&2
    "$bin/openfood-api" --port 0 --no-gzip >"$folder/api.log" &
    api=$!
    until url=$(sed -n 's/^listening on //p' "$folder/api.log") && [ -n "$url" ]; do
        kill -0 "$api"
        sleep 0.1
    done
    for offset in $(seq 0 100 19900); do
        curl -fsS "$url/rows?dataset=openfoodfacts/product-database&config=default&split=food&offset=$offset"
        echo
    done >"$folder/pages.ndjson"
    kill "$api"
    api=
else
    gzip -cd "$pages"/pages-*.ndjson.gz >"$folder/pages.ndjson"
fi
bytes=$(stat -c %s "$folder/pages.ndjson")

# The same pipeline with its first node replaced.
awk -v path="$PWD/$folder/pages.ndjson" '
    /^  pages:$/ { print; print "    type: file-source"; print "    path: " path; print "    format: ndjson"; skip = 1; next }
    skip && /^ *$/ { skip = 0 }
    !skip { print }' pipelines/openfood.yaml >"$folder/openfood.yaml"

PG_URL=$(scripts/postgres.sh start "$postgres" 0)
export PG_URL CHECKPOINT_PATH=$folder/checkpoints

for round in 1 2 3; do
    rm -rf "$CHECKPOINT_PATH"
    psql -X -q "$PG_URL" -c 'drop owned by current_user' -c 'create schema if not exists public' 2>/dev/null
    begin=$(date +%s%N)
    "$bin/dataflow" run "$folder/openfood.yaml" ${PARALLELISM:+--parallelism "$PARALLELISM"} 2>"$folder/run-$round.log" &
    run=$!
    peak=0
    while line=$(grep VmHWM "/proc/$run/status" 2>/dev/null); do
        read -r _ peak _ <<<"$line"
        sleep 0.02
    done
    wait "$run" || { tail -20 "$folder/run-$round.log" >&2; exit 1; }
    end=$(date +%s%N)
    awk -v ns=$((end - begin)) -v bytes="$bytes" -v peak="$peak" -v round="$round" 'BEGIN {
        printf "run %d: %.2f s, %.0f MB, %.0f MB/s, peak resident %.0f MiB\n",
            round, ns / 1e9, bytes / 1e6, bytes / 1e6 / (ns / 1e9), peak / 1024 }'
done
