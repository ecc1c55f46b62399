#!/usr/bin/env python3
"""State larger than memory: 50 M keys, each seen twice, aggregated for ever, without a budget and with `memory: 512MiB`.

    Benchmarks/spill.py [--dataflow PATH] [--rows N] [--memory SIZE] [--runs N] [--data DIR]

Every answer is checked: the pipeline itself compares each result with what it must be (Benchmarks/pipelines/spill.yaml), and the
numbers of rows and results are compared. Runs alternate; wall and CPU seconds, peak resident memory and the ratio of
the rates are printed. Needs about 12 GB of disk in DIR, and without a budget about 6 GB of memory.
"""
import argparse, os, shutil, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)


def run(program, rows, memory, data):
    """One run in a fresh folder. The pipeline compares each result with what it must be and prints those that are not."""
    shutil.rmtree(data, ignore_errors=True)
    os.makedirs(data)
    command = [program, "run", os.path.join(HERE, "pipelines", "spill.yaml")]
    if memory:
        command += ["--set", f"memory={memory}"]
    environment = {"CHECKPOINT_PATH": os.path.join(data, "state"), "ROWS": str(rows), "KEYS": str(rows // 2)}
    start = time.monotonic()
    with tempfile.TemporaryFile() as wrong, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=wrong, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - start
        wrong.seek(0)
        log.seek(0)
        lines = log.read().decode().splitlines()
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n" + "\n".join(lines[-40:]))
        if first := wrong.readline():
            sys.exit(f"a group is not what it must be: {first.decode()}")
    check(lines, rows)
    spilled = [line.strip() for line in lines if "of state to disk" in line]
    shutil.rmtree(data, ignore_errors=True)
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss / 1024, "spilled": spilled}


def check(lines, rows):
    """All rows came in, and enough results left: with a budget each group once, since nothing is told before the end but
    what was in the first batches."""
    counts = {}
    for line in lines:
        words = line.split()
        if len(words) == 6 and words[1].replace(",", "").isdigit():
            counts[words[0]] = [int(word.replace(",", "")) for word in words[1:]]
    _, told, _, _, _ = counts["sums"]
    received = counts["keyed"][0]
    if received != rows or told < rows // 2:
        sys.exit(f"{received} of {rows} rows came in, {told} results of {rows // 2} groups left")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataflow", default=os.path.join(ROOT, ".build", "release", "dataflow"))
    parser.add_argument("--rows", type=int, default=100_000_000, help="twice the keys; these are to be no multiple of 31415927 or 27182819")
    parser.add_argument("--memory", default="512MiB")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--data", default=os.path.join(ROOT, ".dataflow", "bench", "spill"), help="is emptied")
    measure(parser.parse_args())


def measure(arguments):
    """Alternating runs without a budget and with it, and their ratio; also the job `spill` of bench.py."""
    results = {"without": [], arguments.memory: []}
    for _ in range(arguments.runs):
        for name, memory in (("without", None), (arguments.memory, arguments.memory)):
            result = run(arguments.dataflow, arguments.rows, memory, arguments.data)
            results[name].append(result)
            print(
                f"{name:>8}: {result['wall']:6.1f} s wall, {result['cpu']:6.1f} s CPU, {result['rss']:5.0f} MiB resident, "
                f"{arguments.rows / result['wall'] / 1e6:.2f} M rows/s {' '.join(result['spilled'])}", flush=True)
    wall, cpu = (
        statistics.median(r[what] for r in results["without"]) / statistics.median(r[what] for r in results[arguments.memory])
        for what in ("wall", "cpu"))
    print(f"rate with the budget: {wall:.2f} of that without by wall, {cpu:.2f} by CPU seconds")


if __name__ == "__main__":
    main()
