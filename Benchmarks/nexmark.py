#!/usr/bin/env python3
"""Every NEXMark query of pipelines/nexmark, one after the other: events a second and peak memory.

    Benchmarks/nexmark.py [--dataflow PROGRAM] [--events 5000000] [--parallelism N] [--queries q0,q5] [--runs 1]

Results that are added to are counted and dropped (a select that lets nothing pass in front of the sink); updating ones,
which are few rows, are printed to /dev/null. That the answers are right is what PipelineTests.NexmarkTests shows. Where all of a
source's events count, a query that reads several kinds makes its events once for each kind.
"""
import argparse, glob, os, re, shutil, statistics, sys, tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from suite.measure import ROOT, run  # noqa: E402

UPDATING = {"q4", "q15", "q16", "q17", "q18", "q19"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataflow", default=os.path.join(ROOT, ".build", "release", "dataflow"))
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--interval", default="100us", help="event time from one event to the next")
    parser.add_argument("--parallelism", type=int, default=os.cpu_count())
    parser.add_argument("--queries", help="default: all")
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    files = glob.glob(os.path.join(ROOT, "pipelines", "nexmark", "q*.yaml"))
    names = sorted((os.path.basename(f)[:-5] for f in files), key=lambda name: int(name[1:]))
    if options.queries:
        names = options.queries.split(",")
    print(f"{options.events:,} events, {options.interval} apart, parallelism {options.parallelism}")
    print(f"{'query':>6} {'seconds':>8} {'events/s':>12} {'CPU s':>7} {'peak MB':>8}")
    folder = tempfile.mkdtemp(prefix="dataflow-nexmark-")
    try:
        for name in names:
            results = [once(name, options, folder) for _ in range(options.runs)]
            median = {key: statistics.median(result[key] for result in results) for key in results[0]}
            print(
                f"{name:>6} {median['wall']:8.2f} {options.events / median['wall']:12,.0f} {median['cpu']:7.2f}"
                f" {median['rss']:8.0f}", flush=True)
    finally:
        shutil.rmtree(folder)


def once(name, options, folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    path = os.path.join(ROOT, "pipelines", "nexmark", f"{name}.yaml")
    settings = [
        f"checkpoint.directory={folder}", f"defaults.generate-source.count={options.events}",
        f"defaults.generate-source.event_interval={options.interval}",
    ]
    if name not in UPDATING:
        settings += [
            f"nodes.nothing={{type: select, from: {name}, where: 'false'}}", "nodes.out.from=nothing",
        ]
    command = [options.dataflow, "run", path, "--parallelism", str(options.parallelism)]
    for setting in settings:
        command += ["--set", setting]
    return run(command)


if __name__ == "__main__":
    main()
