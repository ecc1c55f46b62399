"""One run of each system over a job's input, from the start of its process to the end."""
import json
import os
import subprocess
import time

from . import inputs
from .measure import HERE, MEGABYTE, empty_folder, run


def cores(options):
    return str(len(options.cpus.split(",")) if options.cpus else os.cpu_count())


def dataflow(options, job, source, cpus=None, name=None, arguments=()):
    """A pipeline of Benchmarks/pipelines over the files of `source`; its results are left in out/dataflow-NAME."""
    name = name or job
    output = empty_folder(options.work, f"dataflow-{name}")
    environment = {
        "BENCH_INPUT": source, "BENCH_OUTPUT": output,
        "CHECKPOINT_PATH": empty_folder(options.work, f"checkpoints-{name}")}
    command = [options.dataflow, "run", os.path.join(HERE, "pipelines", f"{job}.yaml"), *arguments]
    if cpus is not None:
        command += ["--parallelism", str(len(cpus.split(",")))]
    log = os.path.join(options.work, f"dataflow-{name}.log")
    with open(log, "wb") as stdout:
        result = run(command, cpus, environment, stdout)
    if job == "w1":
        last_rows(log, output)
    return result


def last_rows(path, target):
    """The table that a changelog of upserts leaves: the last row of each key, for the comparison."""
    table = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            key = (row["dim"], row["k"])
            if row.pop("op", "upsert") == "delete":
                table.pop(key, None)
            else:
                table[key] = row["c"]
    with open(os.path.join(target, "result.ndjson"), "w", encoding="utf-8") as out:
        for (dim, k), count in table.items():
            out.write(json.dumps({"dim": dim, "k": k, "c": count}) + "\n")


def script(options, environment, file, job, source, name, tree):
    """A peer's script; what it prints is a result too (Flink's w1)."""
    output = empty_folder(options.work, name)
    command = [inputs.python(options, environment), inputs.peer(options, file), job, source, output, cores(options)]
    printed = os.path.join(output, "printed.csv")
    with open(printed, "wb") as stdout:
        result = run(command, options.cpus, {"PYTHONUNBUFFERED": "1"}, stdout, tree)
    keep_rows(printed)
    return result


def keep_rows(path):
    """Of what a peer printed only the rows of a changelog stay."""
    with open(path, encoding="utf-8", errors="replace") as lines:
        rows = [line for line in lines if line.lstrip("0123456789> ").startswith(("+I[", "+U[", "-U[", "-D["))]
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(rows)


def duckdb(options, job, source, name=None):
    return script(options, "venv", "duckdb_job.py", job, source, f"duckdb-{name or job}", False)


def polars(options, job, source):
    return script(options, "venv", "polars_job.py", job, source, f"polars-{job}", False)


def spark(options, job, source, variant=None):
    return script(options, "venv-spark", "spark_job.py", variant or job, source, f"spark-{variant or job}", True)


def flink(options, job, source):
    return script(options, "venv-flink", "flink_job.py", job, source, f"flink-{job}", True)


def reference(options, job, source):
    """One hand-written C++ process a file, side by side: the whole wall time, reading the files included."""
    program = inputs.reference(options)
    start = time.monotonic()
    prefix = ["taskset", "-c", options.cpus] if options.cpus else []
    running = [
        subprocess.Popen(prefix + [program, job, path], stdout=subprocess.DEVNULL) for path in inputs.files(source)]
    usage = [os.wait4(process.pid, 0)[2] for process in running]
    return {
        "wall": time.monotonic() - start, "cpu": sum(u.ru_utime + u.ru_stime for u in usage),
        "rss": sum(u.ru_maxrss for u in usage) * 1024 / MEGABYTE}
