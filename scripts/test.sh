#!/usr/bin/env bash
# Builds and runs the tests against a private PostgreSQL and a private Kafka broker that are gone afterwards.
#
#: FILTER=                only tests whose name matches (make test, make soak)
#: DATAFLOW_TEST_PAGES=   folder of recorded pages for the end-to-end tests (pages-*.ndjson.gz); without it
#:                        ../shared/data/openfood if it is there, else the generator
set -euo pipefail
cd "$(dirname "$0")/.."

SWIFT=${SWIFT:-swift}
SCRATCH=${SCRATCH:-.build}
CHECKS=${CHECKS:---explicit-target-dependency-import-check error}
mode=${1:-test}
postgres=.dataflow/test-postgres
kafka=.dataflow/test-kafka

scripts/bootstrap.sh

# The tests of another invocation in this folder would share the build folder and the server.
mkdir -p .dataflow
exec 9>.dataflow/test.lock
flock 9

stop() {
    scripts/postgres.sh remove "$postgres" 9>&-
    scripts/kafka.sh remove "$kafka" 9>&-
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

stop
DATAFLOW_TEST_PG_URL=$(scripts/postgres.sh start "$postgres" 0 9>&-)
export DATAFLOW_TEST_PG_URL
# Without Python and its index there is no broker; the tests that need one say so.
if DATAFLOW_TEST_KAFKA=$(scripts/kafka.sh start "$kafka" 0 9>&-); then
    export DATAFLOW_TEST_KAFKA
else
    echo "test: no Kafka broker: its tests are skipped" >&2
fi

filter=()
[ -z "${FILTER:-}" ] || filter=(--filter "$FILTER")

if [ "$mode" = soak ]; then
    export DATAFLOW_SOAK=1
    # The engine under the thread sanitizer first: a race found early is cheaper than a strange result found late.
    "$SWIFT" test --scratch-path .build-tsan --sanitize thread --disable-xctest \
        --filter "${FILTER:-^(DataflowRuntimeTests|DataflowCheckpointTests)\.}" 9>&-
fi

# shellcheck disable=SC2086 # CHECKS is a list of words
"$SWIFT" build --build-tests --scratch-path "$SCRATCH" $CHECKS 9>&-

# What failed stands at the end once more: thousands of lines lie between a failure and the last one.
run() {
    local log=.dataflow/test.log
    "$SWIFT" test --skip-build --scratch-path "$SCRATCH" --disable-xctest "$@" 9>&- 2>&1 | tee "$log" && return
    echo "test: failed, the whole output is in $log:"
    grep -A 20 -E '(✘|↳) |recorded an issue|[Ff]atal error|Sanitizer' "$log" | grep -vE '^(◇|✔)|^--$' | head -200
    return 1
}
if [ ${#filter[@]} -gt 0 ]; then
    run "${filter[@]}"
else
    # The end-to-end tests wait for programs, each in its thread: side by side with the others they would starve them.
    run --skip '^PipelineTests\.'
    run --filter '^PipelineTests\.' --no-parallel
fi
