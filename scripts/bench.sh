#!/usr/bin/env bash
# Builds the release program and runs the benchmarks; every answer is checked.
#
#: BENCH_DATA=            where the inputs are generated and kept (default: .dataflow/bench, 8 GB)
#: BENCH_PEERS=           the peers' scripts and the generator (default: ../shared/bench)
#: BENCH_ARGUMENTS=       more for Benchmarks/bench.py, e.g. '--jobs w2 --runs 5 --cpus 0'
set -euo pipefail
cd "$(dirname "$0")/.."

SWIFT=${SWIFT:-swift}
SCRATCH=${SCRATCH:-.build}
RELEASE=${RELEASE:--c release --static-swift-stdlib -Xswiftc -enforce-exclusivity=unchecked}

scripts/bootstrap.sh
# shellcheck disable=SC2086 # a list of words
"$SWIFT" build $RELEASE --scratch-path "$SCRATCH" --product dataflow
if [[ ${BENCH_ARGUMENTS:-} == *pg-sink* ]]; then
    # shellcheck disable=SC2086 # a list of words
    "$SWIFT" build $RELEASE --scratch-path "$SCRATCH" --product bench-pg-sink
fi
# shellcheck disable=SC2086 # a list of words
exec Benchmarks/bench.py --dataflow "$SCRATCH/release/dataflow" ${BENCH_ARGUMENTS:-}
