"""w1, w2 and w3 beside the peers."""
import os
import subprocess
import sys

from . import inputs, systems
from .measure import alternate, medians, spread, verdict, warm

CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "check.py")
INPUT = {"w1": "w1", "w2": "w2", "w3": "w2"}
# What dataflow must be at least, as a multiple of the other.
WANTED = {
    "w1": {"flink": 15, "spark, 5 queries": 40, "polars": 5.5, "c++": 0.7},
    "w2": {"flink": 20, "duckdb": 1.4, "c++": 0.7},
    "w3": {"flink": 25, "duckdb": 2.5},
}

def compare(options, job, name=None):
    """dataflow's result against DuckDB's; ends the suite if they differ."""
    results = [os.path.join(options.work, f"{system}-{name or job}") for system in ("dataflow", "duckdb")]
    if job == "w1":
        return checked(job, [sys.executable, inputs.peer(options, "compare.py"), job, *results])
    return check(options, "same", job, *results)


def check(options, *arguments):
    """suite/check.py; ends the suite if the results differ."""
    return checked(arguments[0], [inputs.python(options, "venv"), CHECK, *arguments])


def compare_peer(options, job, name):
    """A peer's result against DuckDB's. Spark never closes the windows behind its last watermark."""
    command = [sys.executable, inputs.peer(options, "compare.py"), job,
               os.path.join(options.work, f"duckdb-{job}"), os.path.join(options.work, name)]
    if name.startswith("spark") and job != "w1":
        command.append("--closed-before=2025-01-01T00:59:50")
    checked(name, command)


def checked(name, command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{name}: the answer is wrong\n{result.stdout}{result.stderr}")
    return result.stdout.strip()


def run(options, job):
    inputs.generate(options)
    source = os.path.join(options.data, INPUT[job])
    size = inputs.megabytes(source)
    warm(inputs.files(source))
    known = {
        "flink": ("flink", lambda: systems.flink(options, job, source)),
        "spark": ("spark", lambda: systems.spark(options, job, source)),
        "spark, 5 queries": ("spark", lambda: systems.spark(options, job, source, "w1q5")),
        "polars": ("polars", lambda: systems.polars(options, job, source)),
        "duckdb": ("duckdb", lambda: systems.duckdb(options, job, source)),
        "c++": ("c++", lambda: systems.reference(options, job, source)),
    }
    slow = ("flink", "spark", "polars")
    chosen = {
        name: (start, options.peer_runs if system in slow else options.runs) for name, (system, start) in known.items()
        if system in options.systems and not (name == "spark, 5 queries" and job != "w1")
        and not (name == "c++" and job == "w3")}
    chosen.setdefault("duckdb", (known["duckdb"][1], 1))  # the answers are compared with its
    if options.one_core:
        chosen["dataflow, core 0"] = (lambda: systems.dataflow(options, job, source, "0", f"{job}-core0"), options.runs)
    chosen["dataflow"] = (lambda: systems.dataflow(options, job, source, options.cpus), options.runs)
    results = alternate(chosen, max(options.runs, options.peer_runs))
    print(f"\n{job}: {size:.0f} MB, {options.runs} runs, {compare(options, job)}")
    for name, folder in {"flink": f"flink-{job}", "spark": f"spark-{job}", "spark, 5 queries": "spark-w1q5",
                         "polars": f"polars-{job}"}.items():
        if name in results:
            compare_peer(options, job, folder)
    show(job, size, results)


def show(job, size, results):
    median = medians(results)
    own = median["dataflow"]
    print(f"  {'system':<17} {'wall s':>8} {'MB/s':>7} {'CPU s':>7} {'RSS MB':>7}   dataflow is … times as fast")
    for name, m in median.items():
        ratio = m["wall"] / own["wall"]
        line = (f"  {name:<17} {m['wall']:8.2f} {size / m['wall']:7.0f} {m['cpu']:7.2f} {m['rss']:7.0f}"
                f"   {ratio:6.2f}, by CPU {m['cpu'] / own['cpu']:6.2f}")
        wanted = WANTED[job].get(name)
        if name == "dataflow, core 0":
            wanted = 1.8
        if name == "c++":  # core for core: its two processes share nothing
            ratio = m["cpu"] / own["cpu"]
        if name == "dataflow":
            line += f"   memory < 157 MB (150 MiB): {verdict(m['rss'] < 157)}"
        elif wanted:
            line += f"   at least {wanted}: {verdict(ratio >= wanted)}"
        print(f"{line}   {spread(results[name])}", flush=True)
