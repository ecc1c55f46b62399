#!/usr/bin/env python3
"""pg-sink beside pg_limits.c, a C program that writes the same rows with libpq as fast as it can: same server, same
tables, alternating runs, answers checked.

    Benchmarks/pg_sink.py [--dataflow PROGRAM] [--peers DIR] [--runs N] [--cases copy-one,copy-10k,upsert-10k,upsert-1k,run]

Both write `(ts, country, n, total, av)`: into a table without index by binary COPY, in one transaction and in transactions
of 10,000 rows; by key in transactions of 10,000 and of 1,000, all rows new and then all rows there. pg-sink is driven as the runtime does it,
`delivery: exactly_once`: each transaction also has its epoch log, fsynced, and its row in dataflow_commits, and rows are looked at
for keys that come twice and values that the server would refuse; pg_limits does none of that. Of its ways to write by key (COPY and
merge, `unnest` arrays) the faster one counts. `run` is the whole program, `dataflow run` from generate-source, with the
start, checkpoints and the end in its time, beside the COPY in one transaction.

Printed: medians of rows a second by the wall, CPU microseconds a row of client and server together, and what share of pg_limits'
figures that is; by CPU where others use the machine. The server is a private one of scripts/postgres.sh.
"""
import argparse, os, shutil, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TICK = os.sysconf("SC_CLK_TCK")
SCRIPT = os.path.join(ROOT, "scripts", "postgres.sh")
# As in pg_limits.sh: the write-ahead log and the buffers hold a run, so that no checkpoint falls into it.
SETTINGS = "shared_buffers = 1GB\nmax_wal_size = 16GB\ncheckpoint_timeout = 30min\n"
# Rows, and rows a transaction; the ways of pg_limits; the mode of bench-pg-sink.
CASES = {
    "copy-one": (2_000_000, 2_000_000, ["copybin"], "copy"),
    "copy-10k": (2_000_000, 10_000, ["copybin"], "copy"),
    "upsert-10k": (300_000, 10_000, ["copymerge", "unnest"], "upsert"),
    "upsert-1k": (100_000, 1_000, ["copymerge", "unnest"], "upsert"),
    "run": (2_000_000, 2_000_000, ["copybin"], "run"),
}
PIPELINE = """pipeline: bench-pg-sink
checkpoint: {{ interval: 10s, directory: {folder} }}
nodes:
  rows:
    type: generate-source
    count: {rows}
    columns:
      ts: {{ timestamp: {{ step: 50ms }} }}
      country: {{ choice: [{countries}] }}
      n: {{ integer: {{ min: 0, max: 976 }} }}
      total: {{ number: {{ max: 12000, decimals: 2 }} }}
      av: {{ number: {{ max: 100, decimals: 2 }} }}
  table: {{ type: pg-sink, from: rows, connection: "${{PG_URL}}", table: bench_run, existing_rows: delete }}
"""


class Server:
    """The private server, with the settings of pg_limits.sh."""

    def __init__(self, folder):
        self.folder = folder
        self.call("start", "0")
        self.call("stop")
        data = os.path.realpath(os.path.join(folder, "data"))
        with open(os.path.join(data, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.write(SETTINGS)
        # pg_limits and bench-pg-sink ask for a checkpoint before they start the clock.
        found = subprocess.run(["sh", "-c", "ls -d /usr/lib/postgresql/*/bin | sort -V"], capture_output=True, text=True)
        binaries = os.environ.get("PG_BINDIR") or (
            "/usr/lib/postgresql/15/bin" if "/usr/lib/postgresql/15/bin" in found.stdout else found.stdout.split()[-1])
        prefix = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        subprocess.run(
            prefix + [os.path.join(binaries, "postgres"), "--single", "-D", data, "postgres"], check=True, cwd="/",
            input=b"grant pg_checkpoint to ingest;\n", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = self.call("start", "0").strip()
        with open(os.path.join(data, "postmaster.pid"), encoding="utf-8") as file:
            self.pid = int(file.readline())

    def call(self, verb, *arguments):
        return subprocess.run(
            [SCRIPT, verb, self.folder, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout

    def cpu(self):
        """CPU seconds of the postmaster and all its processes, those that have ended included."""

        def of(pid, *fields):
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                values = file.read().rpartition(")")[2].split()
            return sum(int(values[field]) for field in fields)

        total = of(self.pid, 11, 12, 13, 14)
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="utf-8") as file:
            for child in file.read().split():
                try:
                    total += of(child, 11, 12)
                except FileNotFoundError:
                    pass
        return total / TICK

    def psql(self, sql):
        done = subprocess.run(
            ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", self.url, "-c", sql], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{sql}: {done.stderr}")
        return done.stdout.strip()

    def settle(self):
        """Waits until no backend of the last run and no vacuum is left, so that its time is not the next one's."""
        while self.psql(
            "select count(*) from pg_stat_activity where backend_type in ('client backend', 'autovacuum worker') "
            "and pid <> pg_backend_pid()") != "0":
            time.sleep(0.02)


class Bench:
    def __init__(self, options, server, work):
        self.o, self.server, self.work = options, server, work
        self.program = os.path.join(os.path.dirname(os.path.abspath(options.dataflow)), "bench-pg-sink")
        self.limits = os.path.join(work, "pg_limits")
        include = subprocess.run(["pg_config", "--includedir"], check=True, capture_output=True, text=True).stdout.strip()
        subprocess.run(
            ["gcc", "-O2", "-w", os.path.join(options.peers, "pg_limits.c"), f"-I{include}", "-lpq", "-o", self.limits],
            check=True)

    def measured(self, command, environment=None):
        """Runs a command; answers its output, wall seconds and the CPU seconds of client and server."""
        self.server.settle()
        before, start = self.server.cpu(), time.monotonic()
        process = subprocess.Popen(
            command, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        output, errors = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)} failed with {process.returncode}:\n{output}{errors[-4000:]}")
        self.server.settle()
        return output, wall, usage.ru_utime + usage.ru_stime, self.server.cpu() - before

    @staticmethod
    def passes(output):
        """Seconds of each pass that a program printed: `… new-keys … sec=1.5 rows/s=…`."""
        found = {}
        for line in output.splitlines():
            words = dict(word.split("=", 1) for word in line.split() if "=" in word)
            for name in ("append", "new-keys", "update"):
                if name in line.split():
                    found[name] = float(words["sec"])
        return found

    def check(self, table, condition):
        if self.server.psql(f"select {condition} from {table}") != "t":
            sys.exit(f"{table} is wrong: expected {condition}")

    def once(self, system, case):
        """One run: seconds of each pass, and CPU seconds of client and server."""
        rows, batch, _, mode = CASES[case]
        if system != "pg-sink":
            output, _, client, server = self.measured([self.limits, self.server.url, system, str(rows), str(batch)])
            return self.passes(output), client, server
        if mode != "run":
            output, _, client, server = self.measured(
                [self.program, mode, str(rows), str(batch)], {"DATAFLOW_TEST_PG_URL": self.server.url})
            last, table = (1, "bench_upsert") if mode == "upsert" else (0, "bench_append")
            self.check(
                table, f"count(*) = {rows} and count(distinct (ts, country)) = {rows} and min(ts) = '2024-12-31Z' "
                f"and min(n) = {last} and max(n) = {976 + last} and sum(n) = {sum(i % 977 + last for i in range(rows))} "
                f"and abs(sum(total) / sum(n) - 12.37) < 1e-9 and min(av) = {12.37 + last} and max(av) = {12.37 + last}")
            return self.passes(output), client, server
        folder = os.path.join(self.work, "checkpoints")
        shutil.rmtree(folder, ignore_errors=True)
        pipeline = os.path.join(self.work, "run.yaml")
        with open(pipeline, "w", encoding="utf-8") as file:
            countries = ", ".join(f'"{chr(65 + k // 26)}{chr(65 + k % 26)}"' for k in range(200))
            file.write(PIPELINE.format(folder=folder, rows=rows, countries=countries))
        self.server.psql(
            "set client_min_messages = error; drop table if exists bench_run; create table bench_run (ts timestamptz, "
            "country text, n bigint, total double precision, av double precision); checkpoint")
        _, wall, client, server = self.measured([self.o.dataflow, "run", pipeline], {"PG_URL": self.server.url})
        self.check(
            "bench_run", f"count(*) = {rows} and count(distinct ts) = {rows} and count(distinct country) = 200 "
            "and min(n) = 0 and max(n) = 976 and count(total + av) = count(*)")
        return {"append": wall}, client, server

    def case(self, case):
        rows, _, ways, _ = CASES[case]
        systems = ways + ["pg-sink"]
        results = {system: [] for system in systems}
        for _ in range(self.o.runs):
            for system in systems:
                results[system].append(self.once(system, case))
        names = list(results["pg-sink"][0][0])
        print(f"\n{case}: {rows:,} rows, {self.o.runs} runs each, all as expected")
        print(f"  {'':<10} " + " ".join(f"{name + ' rows/s':>18}" for name in names) + "   CPU us/row, client + server")
        rate, cost = {}, {}
        for system in systems:
            rate[system] = {n: rows / statistics.median(r[0][n] for r in results[system]) for n in names}
            client = statistics.median(r[1] for r in results[system]) / rows / len(names) * 1e6
            server = statistics.median(r[2] for r in results[system]) / rows / len(names) * 1e6
            cost[system] = statistics.median(r[1] + r[2] for r in results[system]) / rows / len(names) * 1e6
            print(
                f"  {system:<10} " + " ".join(f"{rate[system][n]:18,.0f}" for n in names)
                + f"   {client:.2f} + {server:.2f}")
        shares = ", ".join(
            f"{rate['pg-sink'][n] / max(rate[way][n] for way in ways):.0%} of pg_limits ({n})" for n in names)
        print(f"  pg-sink is {shares}; by CPU {min(cost[way] for way in ways) / cost['pg-sink']:.0%}", flush=True)


def run(options):
    """The job `pg-sink` of `make bench`."""
    work = tempfile.mkdtemp(prefix="dataflow-pg-sink-", dir="/var/tmp")
    try:
        bench = Bench(options, Server(os.path.join(work, "postgres")), work)
        for case in getattr(options, "cases", ",".join(CASES)).split(","):
            bench.case(case)
    finally:
        subprocess.run([SCRIPT, "remove", os.path.join(work, "postgres")], check=True)
        shutil.rmtree(work, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataflow", default=os.path.join(ROOT, ".build", "release", "dataflow"),
                        help="bench-pg-sink stands beside it")
    parser.add_argument("--peers", default=os.environ.get("BENCH_PEERS", os.path.join(ROOT, "..", "shared", "bench")))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES))
    run(parser.parse_args())


if __name__ == "__main__":
    main()
