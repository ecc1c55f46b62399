"""How long a row takes from when it is due at its source to the reader of the pipe behind the sink."""
import datetime
import fcntl
import os
import re
import subprocess
import sys
import time

from .measure import HERE, empty_folder, verdict

RATE, SECONDS, WARM_UP = 100_000, 25, 2
# As Benchmarks/pipelines/latency.yaml keeps them.
KEPT = RATE * SECONDS * 9 // 10
ROW = re.compile(rb'\{"id":(\d+),"due":"([^"]+)"\}')


def run(options):
    command = [options.dataflow, "run", os.path.join(HERE, "pipelines", "latency.yaml")]
    environment = {"CHECKPOINT_PATH": empty_folder(options.work, "checkpoints-latency"), "BENCH_COUNT": str(RATE * SECONDS)}
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    descriptor = process.stdout.fileno()
    fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 1 << 20)
    pieces = []
    # Nothing but reading and the time: what is read is looked at afterwards.
    while piece := os.read(descriptor, 1 << 20):
        pieces.append((time.time_ns(), piece))
    errors = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"latency: {' '.join(command)} failed with {process.returncode}:\n{errors[-4000:]}")
    latencies, ids = arrived(pieces)
    expected = [number for number in range(RATE * SECONDS) if number % 10]
    if sorted(ids) != expected:
        sys.exit(f"latency: the answer is wrong: {len(ids)} rows of {len(expected)}, {len(set(ids))} of them different")
    latencies.sort()
    p50, p99, p999 = (latencies[int(len(latencies) * share)] / 1e3 for share in (0.5, 0.99, 0.999))
    print(f"\nlatency: {RATE} rows a second for {SECONDS} s, the first {WARM_UP} s left out, all {len(ids)} rows as expected\n"
          f"  p50 {p50:.2f} ms, under 5: {verdict(p50 < 5)}; p99 {p99:.2f} ms, under 15: {verdict(p99 < 15)};"
          f" p99.9 {p999:.2f} ms, most {latencies[-1] / 1e3:.2f} ms; {usage.ru_utime + usage.ru_stime:.2f} CPU s,"
          f" {len(pieces)} reads", flush=True)


def arrived(pieces):
    """Microseconds from due to arrival of all rows but those of the first seconds, and the numbers of all rows.
    A row has arrived when its last byte has."""
    latencies, ids, rest, seconds = [], [], b"", {}
    for at, piece in pieces:
        end = piece.rfind(b"\n") + 1
        text, rest = rest + piece[:end], piece[end:] if end else rest + piece
        if not end:
            continue
        for number, due in ROW.findall(text):
            ids.append(int(number))
            if ids[-1] < RATE * WARM_UP:
                continue
            second = seconds.get(due[:19])
            if second is None:
                moment = datetime.datetime.fromisoformat(due[:19].decode()).replace(tzinfo=datetime.timezone.utc)
                second = seconds[due[:19]] = int(moment.timestamp()) * 1_000_000
            fraction = due[20:].rstrip(b"Z")
            latencies.append(at // 1000 - second - int(fraction.ljust(6, b"0") or 0))
    return latencies, ids
