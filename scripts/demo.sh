#!/usr/bin/env bash
# The whole path once: pages from the API, through the pipeline, into PostgreSQL, and a look at the tables.
#
#: LIVE=1                 the real API instead of the stand-in (30 requests a minute)
#: PAGES=                 folder of recorded pages for the stand-in; without it ../shared/data/openfood if it is there,
#:                        else the generator
#: MAX_OFFSET=            how many products to read (default: 4000; 1000 with LIVE=1)
#: BATCH_LENGTH=100       products a page
#: KEEP=1                 leave PostgreSQL running afterwards, to look around
set -euo pipefail
cd "$(dirname "$0")/.."

SWIFT=${SWIFT:-swift}
SCRATCH=${SCRATCH:-.build}
CHECKS=${CHECKS:---explicit-target-dependency-import-check error}
RELEASE=${RELEASE:--c release --static-swift-stdlib -Xswiftc -enforce-exclusivity=unchecked}
postgres=.dataflow/demo-postgres
checkpoints=.dataflow/demo-checkpoints
api_log=.dataflow/demo-api.log
api=

say() {
    printf '\n\033[1m%s\033[0m\n' "$*" >&2
}

finish() {
    if [ -n "$api" ]; then
        kill "$api" 2>/dev/null || true
        wait "$api" 2>/dev/null || true
    fi
    if [ "${KEEP:-0}" = 1 ]; then
        echo "PostgreSQL is left running: psql $(scripts/postgres.sh url "$postgres")" >&2
        echo "End it with: scripts/postgres.sh remove $postgres" >&2
    else
        scripts/postgres.sh remove "$postgres"
    fi
}

scripts/bootstrap.sh
say 'Building'
# shellcheck disable=SC2086 # RELEASE and CHECKS are lists of words
"$SWIFT" build $RELEASE --scratch-path "$SCRATCH" $CHECKS --product dataflow
# shellcheck disable=SC2086
"$SWIFT" build $RELEASE --scratch-path "$SCRATCH" $CHECKS --product openfood-api
bin=$SCRATCH/release

mkdir -p .dataflow
exec 9>.dataflow/demo.lock
if ! flock -n 9; then
    echo "demo: another demo is running in this folder" >&2
    exit 75
fi
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say 'Starting PostgreSQL'
scripts/postgres.sh remove "$postgres" 9>&-
rm -rf "$checkpoints"
PG_URL=$(scripts/postgres.sh start "$postgres" 5433 9>&-)
export PG_URL CHECKPOINT_PATH=$checkpoints
echo "${PG_URL/:ingestpwd@/@}" >&2

settings=()
if [ "${LIVE:-0}" = 1 ]; then
    export MAX_OFFSET=${MAX_OFFSET:-1000}
else
    export MAX_OFFSET=${MAX_OFFSET:-4000}
    pages=${PAGES:-../shared/data/openfood}
    from=(--pages "$pages")
    if ! compgen -G "$pages/pages-*.ndjson.gz" >/dev/null; then
        [ -z "${PAGES:-}" ] || { echo "demo: no pages-*.ndjson.gz in $PAGES" >&2; exit 66; }
        from=()
    fi
    say "Starting the stand-in API (${from[*]:-seeded generator})"
    "$bin/openfood-api" --port 0 --no-gzip "${from[@]}" >"$api_log" 9>&- &
    api=$!
    until OPENFOOD_URL=$(sed -n 's/^listening on //p' "$api_log") && [ -n "$OPENFOOD_URL" ]; do
        kill -0 "$api" 2>/dev/null || { echo "demo: openfood-api ended" >&2; exit 69; }
        sleep 0.1
    done
    echo "$OPENFOOD_URL" >&2
    export OPENFOOD_URL=$OPENFOOD_URL/rows
    # The stand-in has no limit to respect.
    settings+=(--set nodes.pages.rate_limit=1000/s --set checkpoint.interval=2s)
fi

say "Running pipelines/openfood.yaml up to product $MAX_OFFSET"
"$bin/dataflow" run pipelines/openfood.yaml "${settings[@]}" 9>&-

show() {
    say "$1"
    psql "$PG_URL" --quiet --no-psqlrc --pset footer=off --pset null='(null)' --command "$2" 9>&-
}

show 'nutriscore_counts' 'table nutriscore_counts order by nutriscore'
show 'category_counts: the first ten' 'table category_counts order by category_count desc, main_category collate "C" limit 10'
show 'brand_counts: the first ten' 'table brand_counts order by product_count desc, brand collate "C" limit 10'
show 'packaging_distribution: the first ten' \
    'table packaging_distribution order by packaging_count desc, packaging collate "C" limit 10'
show 'nova_group_classification' 'table nova_group_classification order by nova_group nulls last, nova_label collate "C"'
show 'top_additive_products' 'table top_additive_products order by additive_count desc, product_name collate "C"'
show 'top_sugary_products_by_category: the first ten' \
    'table top_sugary_products_by_category order by sugar desc, main_category collate "C" limit 10'
