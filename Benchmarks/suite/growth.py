"""What becomes of memory and rate when the stream is ten times as long (w2), or has a hundred times as many keys (w3)."""
import os
import shutil
import statistics

from . import inputs, systems
from .measure import alternate, medians, spread, verdict, warm
from .throughput import check

# Wide events of ten hours, 20 GB, would be read from the disk: these have the four fields that w2 reads, 8.6 GB.
EVENTS = {"w2, 1 h": "w2-narrow", "w2, 10 h": "w2-narrow-10", "w3, 10,000 items": "w2", "w3, 1 M items": "w2-1m-items"}


def run(options):
    inputs.generate(options)
    inputs.derived(options, "w2-narrow", inputs.narrow)
    inputs.derived(options, "w2-narrow-10", inputs.hours)
    inputs.derived(options, "w2-1m-items", inputs.million_items)
    print("\ngrowth")
    longer(options)
    wider(options)


def measure(options, names, runs):
    """The medians of the runs over these inputs, and all runs; results stay in out/dataflow-FOLDER."""
    started = {}
    for name in names:
        source = os.path.join(options.data, EVENTS[name])
        warm(inputs.files(source))

        def start(job=name[:2], source=source):
            return systems.dataflow(options, job, source, options.cpus, os.path.basename(source))

        started[name] = (start, runs)
    results = alternate(started, runs)
    return medians(results), results


def show(name, events, m, runs, more=""):
    print(f"  {name:<17} {m['wall']:8.2f} s {events / m['wall'] / 1e6:6.2f} M events/s {m['cpu']:7.2f} CPU s"
          f" {m['rss']:5.0f} MB RSS   {more}   {spread(runs)}", flush=True)


def longer(options):
    one, ten = "w2, 1 h", "w2, 10 h"
    median, results = measure(options, [one, ten], options.growth_runs)
    source = os.path.join(options.data, EVENTS[one])
    systems.duckdb(options, "w2", source, EVENTS[one])
    out = {name: os.path.join(options.work, f"dataflow-{EVENTS[name]}") for name in (one, ten)}
    print("  1 h: " + check(options, "same", "w2", out[one], os.path.join(options.work, f"duckdb-{EVENTS[one]}")))
    print("  10 h: " + check(options, "hours", out[ten], out[one]))
    a, b = median[one], median[ten]
    rate = inputs.HOURS * a["wall"] / b["wall"]
    # Within the long run: the short one ends before its memory has settled.
    memory = statistics.median(run["growth"] for run in results[ten])
    cpu = inputs.HOURS * a["cpu"] / b["cpu"]
    show(one, options.w2_events, a, results[one])
    show(ten, options.w2_events * inputs.HOURS, b, results[ten],
         f"rate {rate:.2f} times (by CPU {cpu:.2f}), within 10 %: {verdict(rate >= 0.9)};"
         f" memory, last quarter to second: {memory:.2f} times: {verdict(memory <= 1.1)}")


def wider(options):
    few, many = "w3, 10,000 items", "w3, 1 M items"
    median, results = measure(options, [few, many], options.growth_runs)
    events = os.path.join(options.data, EVENTS[many])
    print("  1 M items: " + check(options, "items", os.path.join(options.work, f"dataflow-{EVENTS[many]}"), events))
    for name in (few, many):
        shutil.rmtree(os.path.join(options.work, f"dataflow-{EVENTS[name]}"))
    a, b = median[few], median[many]
    rate = a["wall"] / b["wall"]
    show(few, options.w2_events, a, results[few])
    show(many, options.w2_events, b, results[many],
         f"rate {rate:.2f} times (by CPU {a['cpu'] / b['cpu']:.2f}), at least half: {verdict(rate >= 0.5)}")
