#!/usr/bin/env python3
"""The benchmarks: w1 (pages of products -> five counts), w2 (10 s tumbling windows by country), w3 (60 s windows sliding
by 10 s by item, over the events of w2), flagship (pipelines/openfood.yaml over recorded pages in local files, into
PostgreSQL) and pg-sink (beside a C program that writes the same rows: pg_sink.py).

    Benchmarks/bench.py [--data DIR] [--peers DIR] [--pages DIR] [--runs N] [--jobs w1,w2,w3,flagship,pg-sink] [--cpus 0]
                        [--one-core]

Every answer is checked and a wrong one fails the benchmark: w1 to w3 against DuckDB over the same files, the flagship
against the tables that SQL computes. Runs of the systems alternate, so that noise of the machine hits all alike;
medians and their ratios are printed. `--one-core` also runs dataflow on core 0 alone, for what the other cores add. The
input of w1 to w3 is generated once (seeded) into DIR by the peers' gen.py; the peers' scripts and the recorded pages
stand outside this project.

Where others use the machine, compare CPU seconds before wall seconds.
"""
import argparse, glob, gzip, json, os, shutil, statistics, subprocess, sys, time

import pg_sink

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
MEGABYTE = 1e6
INPUT = {"w1": "w1", "w2": "w2", "w3": "w2"}
# The columns of the results behind window and group, in the order of the peers' files.
MEASURES = {"w2": ["n", "total", "mean", "lowest", "highest"], "w3": ["n", "mean"]}
GROUP = {"w2": "country", "w3": "item"}
# Both results joined; counts are equal, floats within 1e-6, and no window and group comes twice.
COMPARE = """
import duckdb, sys
ours, theirs, group, *measures = sys.argv[1:]
db = duckdb.connect()
db.execute("SET enable_progress_bar = false")
types = {"w": "TIMESTAMP", group: "VARCHAR", **{m: "BIGINT" if m == "n" else "DOUBLE" for m in measures}}
db.execute(f"CREATE VIEW a AS SELECT * FROM read_ndjson('{ours}/*.ndjson', columns={types})")
db.execute(f"CREATE VIEW b AS SELECT * FROM read_csv('{theirs}/*.csv', header=false, columns={types})")
wrong = " OR ".join(
    ["a.w IS NULL", "b.w IS NULL", "a.n <> b.n"]
    + [f"NOT coalesce(abs(a.{m} - b.{m}) <= 1e-6 * greatest(1, abs(b.{m})), false)" for m in measures if m != "n"])
rows, bad = db.execute(
    f"SELECT count(*), count(*) FILTER (WHERE {wrong}) FROM a FULL JOIN b ON a.w = b.w AND a.{group} = b.{group}"
).fetchone()
counts = [db.execute(f"SELECT count(*), coalesce(sum(n), 0) FROM {x}").fetchone() for x in "ab"]
print(f"{counts[0][0]} vs {counts[1][0]} groups, total {counts[0][1]} vs {counts[1][1]}, {bad} differ")
sys.exit(bad > 0 or counts[0] != counts[1] or rows != counts[0][0])
"""


def run(command, cpus=None, environment=None, stdout=None):
    """Runs a command; answers wall seconds, CPU seconds and peak resident megabytes of the process."""
    if cpus is not None:
        command = ["taskset", "-c", cpus] + command
    start = time.monotonic()
    process = subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
        stdout=stdout or subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with {process.returncode}:\n{errors.decode()[-4000:]}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss * 1024 / MEGABYTE}


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
    os.makedirs(target, exist_ok=True)
    with open(os.path.join(target, "result.ndjson"), "w", encoding="utf-8") as out:
        for (dim, k), count in table.items():
            out.write(json.dumps({"dim": dim, "k": k, "c": count}) + "\n")


class Bench:
    def __init__(self, options):
        self.o = options
        self.work = os.path.join(options.data, "out")
        self.limits = os.path.join(options.data, "raw_limits")
        self.python = os.path.join(options.data, "venv", "bin", "python")

    def flagship(self):
        """The seven tables from local files: the source is replaced, all else is the pipeline as it stands."""
        recorded = sorted(glob.glob(os.path.join(self.o.pages, "pages-*.ndjson.gz")))
        if not recorded:
            sys.exit(f"{self.o.pages} holds no recorded pages (pages-*.ndjson.gz); name the folder with --pages")
        pages = os.path.join(self.o.data, "openfood")
        if not os.path.isdir(pages):
            os.makedirs(pages)
            for path in recorded:
                with gzip.open(path) as source, open(os.path.join(pages, os.path.basename(path)[:-3]), "wb") as target:
                    shutil.copyfileobj(source, target)
        os.makedirs(self.work, exist_ok=True)
        files = sorted(glob.glob(os.path.join(pages, "*.ndjson")))
        size = sum(os.path.getsize(path) for path in files) / MEGABYTE
        with open(os.path.join(ROOT, "pipelines", "openfood.yaml"), encoding="utf-8") as file:
            text = file.read()
        start, end = text.index("  pages:\n"), text.index("  # One parse for all seven tables.")
        pipeline = os.path.join(self.work, "openfood-files.yaml")
        with open(pipeline, "w", encoding="utf-8") as file:
            source = f"  pages:\n    type: file-source\n    path: {pages}/*.ndjson\n\n"
            file.write(text[:start] + source + text[end:])
        script = os.path.join(ROOT, "scripts", "postgres.sh")
        folder = os.path.join(self.work, "postgres")
        url = subprocess.run([script, "start", folder, "0"], check=True, capture_output=True, text=True).stdout.strip()
        try:
            def psql(*arguments):
                done = subprocess.run(
                    ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url, *arguments], capture_output=True,
                    text=True, env={**os.environ, "PGOPTIONS": "-c client_min_messages=warning"})
                if done.returncode != 0:
                    sys.exit(done.stderr)
                return done.stdout

            tables = [
                "nutriscore_counts", "category_counts", "brand_counts", "packaging_distribution",
                "nova_group_classification", "top_additive_products", "top_sugary_products_by_category"]
            resources = os.path.join(ROOT, "Tests", "Resources")
            psql("-c", "create schema expected; create unlogged table expected.pages (page jsonb)")
            for path in files:
                psql("-c", f"\\copy expected.pages from '{path}' csv quote e'\\x01' delimiter e'\\x02'")
            psql("-f", os.path.join(resources, "openfood-expected.sql"))
            checkpoints = os.path.join(self.work, "checkpoints-flagship")
            results = []
            for _ in range(self.o.runs):
                shutil.rmtree(checkpoints, ignore_errors=True)
                psql("-c", "drop table if exists " + ", ".join(tables + ["dataflow_commits"]))
                results.append(
                    run([self.o.dataflow, "run", pipeline], self.o.cpus, {"PG_URL": url, "CHECKPOINT_PATH": checkpoints}))
                lines = psql("-f", os.path.join(resources, "openfood-compare.sql")).splitlines()[:7]
                if len(lines) != 7 or any(line.split("|")[3] != "0" for line in lines):
                    sys.exit("flagship: the tables are wrong\n" + "\n".join(lines))
        finally:
            subprocess.run([script, "remove", folder], check=True)
        median = {k: statistics.median(r[k] for r in results) for k in results[0]}
        rows = sum(int(line.split("|")[1]) for line in lines)
        print(f"\nflagship: {size:.0f} MB of recorded pages, {self.o.runs} runs, {rows} rows in seven tables, all as expected")
        print(
            f"  dataflow       {median['wall']:8.2f} s {size / median['wall']:7.0f} MB/s"
            f" {median['cpu']:7.2f} CPU s {median['rss']:7.0f} MB RSS")

    def prepare(self):
        o = self.o
        if not os.path.isdir(o.peers):
            sys.exit(f"{o.peers} is missing: it holds the generator and the peers' scripts; name it with --peers")
        os.makedirs(o.data, exist_ok=True)
        if not os.path.exists(os.path.join(o.data, "w1", "pages-0.ndjson")):
            subprocess.run(
                [sys.executable, os.path.join(o.peers, "gen.py"), o.data, "--w1-pages", str(o.w1_pages),
                 "--w2-events", str(o.w2_events)], check=True)
            for extra in ("w1-chunks", "w2-chunks", "w2-1m"):
                shutil.rmtree(os.path.join(o.data, extra), ignore_errors=True)
        if not os.path.exists(self.limits):
            subprocess.run(
                ["g++", "-O3", "-march=native", "-std=c++17", os.path.join(o.peers, "raw_limits.cpp"), "-lsimdjson",
                 "-o", self.limits], check=True)
        if not os.path.exists(self.python):
            subprocess.run([sys.executable, "-m", "venv", os.path.join(o.data, "venv")], check=True)
            subprocess.run([self.python, "-m", "pip", "install", "-q", "duckdb"], check=True)

    def files(self, job):
        folder = os.path.join(self.o.data, INPUT[job])
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".ndjson")]

    def dataflow(self, job, cpus):
        output = os.path.join(self.work, f"dataflow-{job}")
        checkpoints = os.path.join(self.work, f"checkpoints-{job}")
        for folder in (output, checkpoints):
            shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(output)
        environment = {
            "BENCH_INPUT": os.path.join(self.o.data, INPUT[job]), "BENCH_OUTPUT": output, "CHECKPOINT_PATH": checkpoints}
        command = [self.o.dataflow, "run", os.path.join(HERE, "pipelines", f"{job}.yaml")]
        if cpus is not None:
            command += ["--parallelism", str(len(cpus.split(",")))]
        with open(os.path.join(self.work, f"dataflow-{job}.log"), "wb") as log:
            result = run(command, cpus, environment, log)
        if job == "w1":
            last_rows(os.path.join(self.work, f"dataflow-{job}.log"), output)
        return result

    def duckdb(self, job):
        threads = str(len(self.o.cpus.split(",")) if self.o.cpus else os.cpu_count())
        output = os.path.join(self.work, f"duckdb-{job}")
        shutil.rmtree(output, ignore_errors=True)
        return run(
            [self.python, os.path.join(self.o.peers, "duckdb_job.py"), job, os.path.join(self.o.data, INPUT[job]),
             output, threads], self.o.cpus)

    def reference(self, job):
        """One hand-written C++ process a file, side by side: the whole wall time, reading the files included."""
        start = time.monotonic()
        prefix = ["taskset", "-c", self.o.cpus] if self.o.cpus else []
        running = [
            subprocess.Popen(prefix + [self.limits, job, path], stdout=subprocess.DEVNULL) for path in self.files(job)]
        usage = [os.wait4(process.pid, 0)[2] for process in running]
        return {
            "wall": time.monotonic() - start, "cpu": sum(u.ru_utime + u.ru_stime for u in usage),
            "rss": sum(u.ru_maxrss for u in usage) * 1024 / MEGABYTE}

    def compare(self, job):
        results = [os.path.join(self.work, f"{system}-{job}") for system in ("dataflow", "duckdb")]
        if job in MEASURES:
            command = [self.python, "-c", COMPARE, *results, GROUP[job], *MEASURES[job]]
        else:
            command = [sys.executable, os.path.join(self.o.peers, "compare.py"), job, *results]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            sys.exit(f"{job}: the answer is wrong\n{result.stdout}{result.stderr}")
        return result.stdout.strip()

    def bench(self, job):
        os.makedirs(self.work, exist_ok=True)
        size = sum(os.path.getsize(path) for path in self.files(job)) / MEGABYTE
        for path in self.files(job):
            with open(path, "rb") as file:
                while file.read(1 << 24):
                    pass
        systems = {"duckdb": lambda: self.duckdb(job)}
        if job != "w3":
            systems["c++ reference"] = lambda: self.reference(job)
        if self.o.one_core:
            systems["dataflow, core 0"] = lambda: self.dataflow(job, "0")
        systems["dataflow"] = lambda: self.dataflow(job, self.o.cpus)
        results = {name: [] for name in systems}
        for _ in range(self.o.runs):
            for name, start in systems.items():
                results[name].append(start())
        print(f"\n{job}: {size:.0f} MB, {self.o.runs} runs each, {self.compare(job)}")
        median = {name: {k: statistics.median(r[k] for r in runs) for k in runs[0]} for name, runs in results.items()}
        own = median["dataflow"]
        print(f"  {'system':<17} {'wall s':>8} {'MB/s':>7} {'CPU s':>7} {'RSS MB':>7}   dataflow is")
        for name, m in median.items():
            runs = [r["wall"] for r in results[name]]
            print(
                f"  {name:<17} {m['wall']:8.2f} {size / m['wall']:7.0f} {m['cpu']:7.2f} {m['rss']:7.0f}"
                f"   {m['wall'] / own['wall']:.2f} x as fast, by CPU {m['cpu'] / own['cpu']:.2f} x"
                f"   [{min(runs):.2f}-{max(runs):.2f}]", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("BENCH_DATA", os.path.join(ROOT, ".dataflow", "bench")))
    parser.add_argument("--peers", default=os.environ.get("BENCH_PEERS", os.path.join(ROOT, "..", "shared", "bench")))
    parser.add_argument("--pages", default=os.path.join(ROOT, "..", "shared", "data", "openfood"))
    parser.add_argument("--dataflow", default=os.path.join(ROOT, ".build", "release", "dataflow"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--jobs", default="w1,w2,w3,flagship")
    parser.add_argument("--cpus", help="pin everything to these cores, e.g. 0")
    parser.add_argument("--one-core", action="store_true", help="run dataflow on core 0 alone as well")
    parser.add_argument("--w1-pages", type=int, default=3600)
    parser.add_argument("--w2-events", type=int, default=10_000_000)
    bench = Bench(parser.parse_args())
    for job in bench.o.jobs.split(","):
        if job == "flagship":
            bench.flagship()
        elif job == "pg-sink":
            pg_sink.run(bench.o)
        else:
            bench.prepare()
            bench.bench(job)


if __name__ == "__main__":
    main()
