#!/usr/bin/env python3
"""The benchmarks. Every answer is checked, and a wrong one fails the suite.

    Benchmarks/bench.py [--jobs w1,w2,…] [--systems duckdb,c++] [--runs N] [--data DIR] …

    w1            pages of products → five counts                        beside the peers
    w2            10 s tumbling windows by country                       beside the peers
    w3            60 s windows sliding by 10 s by item                   beside the peers
    flagship      pipelines/openfood.yaml over recorded pages in local files, into PostgreSQL
    startup       an empty bounded pipeline, start to end
    latency       from when a row is due to the reader of the pipe behind `stdout-sink`
    checkpoints   what checkpoints cost with ten million keys in state
    pg-sink       beside a C program that writes the same rows: pg_sink.py
    kafka         kafka-source and json-parse beside librdkafka alone, with the broker of the tests
    http-server   http-server-source: requests a second, each answered when it is on the disk
    spill         50 M keys with a memory budget and without: spill.py
    instructions  instructions a row and allocations a batch of the micro benchmarks, against thresholds.json
    growth        w2 over ten times the events, w3 over a hundred times the keys

Runs of the systems alternate, so that noise of the machine hits all alike; medians and their ratios are printed, beside what
is wanted. `--systems` names the peers to run: duckdb, c++ (a hand-written program), polars, flink and spark, or `all`;
they are installed below the data folder when they are missing. The inputs are generated once (seeded) into the data folder by
the peers' gen.py; the peers' scripts and the recorded pages stand outside this project.

Where others use the machine, compare CPU seconds before wall seconds. docs/performance.md tells more.
"""
import argparse
import os

import pg_sink
import spill
from suite import checkpoints, flagship, growth, instructions, latency, sources, startup, throughput
from suite.measure import ROOT

JOBS = {
    "w1": lambda options: throughput.run(options, "w1"),
    "w2": lambda options: throughput.run(options, "w2"),
    "w3": lambda options: throughput.run(options, "w3"),
    "flagship": flagship.run,
    "startup": startup.run,
    "latency": latency.run,
    "checkpoints": checkpoints.run,
    "growth": growth.run,
    "pg-sink": pg_sink.run,
    "kafka": sources.kafka,
    "http-server": sources.http_server,
    "spill": lambda options: spill.measure(argparse.Namespace(
        dataflow=options.dataflow, rows=100_000_000, memory="512MiB", runs=1, data=os.path.join(options.data, "spill"))),
    "instructions": instructions.run,
}
SYSTEMS = ["duckdb", "c++", "polars", "flink", "spark"]


def names(known):
    def parse(text):
        found = list(known) if text == "all" else text.split(",")
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"`{name}` is none of {', '.join(known)}")
        return found
    return parse


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=names(JOBS), default="w1,w2,w3,flagship,startup,latency,instructions",
                        help="or `all`")
    parser.add_argument("--systems", type=names(SYSTEMS), default="duckdb,c++", help="peers of w1 to w3, or `all`")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer-runs", type=int, default=1, help="runs of polars, flink and spark")
    parser.add_argument("--growth-runs", type=int, default=5)
    parser.add_argument("--state-runs", type=int, default=3)
    parser.add_argument("--state-rows", type=int, default=700_000_000, help="rows of `checkpoints`")
    parser.add_argument("--cpus", help="pin everything to these cores, e.g. 0")
    parser.add_argument("--one-core", action="store_true", help="run dataflow on core 0 alone as well (w1 to w3)")
    parser.add_argument("--data", default=os.environ.get("BENCH_DATA", os.path.join(ROOT, ".dataflow", "bench")))
    parser.add_argument("--peers", default=os.environ.get("BENCH_PEERS", os.path.join(ROOT, "..", "shared", "bench")))
    parser.add_argument("--pages", default=os.path.join(ROOT, "..", "shared", "data", "openfood"))
    parser.add_argument("--dataflow", default=os.path.join(ROOT, ".build", "release", "dataflow"))
    parser.add_argument("--micro", default=os.path.join(ROOT, ".build", "release", "bench-micro"))
    parser.add_argument("--update", action="store_true", help="`instructions`: write thresholds.json anew")
    parser.add_argument("--w1-pages", type=int, default=3600)
    parser.add_argument("--kafka-messages", type=int, default=400_000,
                        help="the broker of the tests answers with all that it has: 100 MB are the most that clients take")
    parser.add_argument("--w2-events", type=int, default=10_000_000)
    options = parser.parse_args()
    options.data = os.path.abspath(options.data)
    options.dataflow, options.micro = os.path.abspath(options.dataflow), os.path.abspath(options.micro)
    options.work = os.path.join(options.data, "out")
    os.makedirs(options.work, exist_ok=True)
    for job in options.jobs:
        JOBS[job](options)


if __name__ == "__main__":
    main()
