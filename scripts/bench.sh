#!/usr/bin/env bash
# Builds the release programs and runs the benchmarks; every answer is checked.
#
#: BENCH_DATA=            where the inputs are generated and kept (default: .dataflow/bench, 20 GB with `growth`)
#: BENCH_PEERS=           the peers' scripts and the generator (default: ../shared/bench)
#: BENCH_ARGUMENTS=       more for Benchmarks/bench.py, e.g. '--jobs w2 --runs 5 --cpus 0' or '--systems all'
set -euo pipefail
cd "$(dirname "$0")/.."

SWIFT=${SWIFT:-swift}
SCRATCH=${SCRATCH:-.build}
RELEASE=${RELEASE:--c release --static-swift-stdlib -Xswiftc -enforce-exclusivity=unchecked}

scripts/bootstrap.sh valgrind
products=(dataflow)
case ${BENCH_ARGUMENTS:-} in *--jobs*) ;; *) products+=(bench-micro) ;; esac
case ${BENCH_ARGUMENTS:-} in *instructions* | *'--jobs all'*) products+=(bench-micro) ;; esac
[[ ! "${BENCH_ARGUMENTS:-}" =~ --jobs\ instructions(\ |$) ]] || products=(bench-micro)
case ${BENCH_ARGUMENTS:-} in *pg-sink* | *'--jobs all'*) products+=(bench-pg-sink) ;; esac
case ${BENCH_ARGUMENTS:-} in *kafka* | *'--jobs all'*) products+=(bench-kafka-source) ;; esac
case ${BENCH_ARGUMENTS:-} in *http-server* | *'--jobs all'*) products+=(bench-http-server-source) ;; esac
for product in "${products[@]}"; do
    # shellcheck disable=SC2086 # a list of words
    "$SWIFT" build $RELEASE --scratch-path "$SCRATCH" --product "$product"
done
# shellcheck disable=SC2086 # a list of words
exec Benchmarks/bench.py --dataflow "$SCRATCH/release/dataflow" --micro "$SCRATCH/release/bench-micro" ${BENCH_ARGUMENTS:-}
