"""Running programs and taking their time, processor time and memory; tables of medians."""
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time

MEGABYTE = 1e6
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(HERE)
TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


class Tree(threading.Thread):
    """Processor seconds and peak memory of a process and all below it, looked at every 50 ms: what a virtual machine that
    a driver starts takes is in no account of the driver."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.cpu, self.peak, self.ended = pid, {}, 0, threading.Event()

    def run(self):
        while not self.ended.wait(0.05):
            children, found = {}, {}
            for name in os.listdir("/proc"):
                if not name.isdigit():
                    continue
                try:
                    with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                        text = file.read()
                except OSError:
                    continue
                fields = text[text.rindex(")") + 2:].split()
                found[int(name)] = ((int(fields[11]) + int(fields[12])) / TICKS, int(fields[21]) * PAGE)
                children.setdefault(int(fields[1]), []).append(int(name))
            todo, memory = [self.pid], 0
            while todo:
                pid = todo.pop()
                if pid in found:
                    self.cpu[pid] = found[pid][0]
                    memory += found[pid][1]
                    todo += children.get(pid, [])
            self.peak = max(self.peak, memory)


class Memory(threading.Thread):
    """The resident bytes of one process, looked at every 50 ms, and the most that it had since its program began: what
    wait4 says of that begins with the memory of whoever started it."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path, self.samples, self.peak, self.ended = f"/proc/{pid}/status", [], 0, threading.Event()

    def run(self):
        while True:
            try:
                with open(self.path, encoding="utf-8", errors="replace") as file:
                    fields = dict(line.split(":", 1) for line in file)
                self.samples.append(int(fields["VmRSS"].split()[0]) * 1024)
                self.peak = int(fields["VmHWM"].split()[0]) * 1024
            except (OSError, KeyError, ValueError):
                return
            if self.ended.wait(0.05):
                return

    def growth(self):
        """The most in the last quarter of the time over the most in the second: 1 when memory is flat."""
        quarter = len(self.samples) // 4
        return max(self.samples[3 * quarter:]) / max(self.samples[quarter:2 * quarter]) if quarter else 1.0


def run(command, cpus=None, environment=None, stdout=None, tree=False):
    """Runs a command; answers wall seconds, CPU seconds and peak resident megabytes of the process, with `tree` of all
    processes below it too, else how its memory grew, and what it wrote to the standard error. Ends the suite if the
    command fails."""
    if cpus is not None:
        command = ["taskset", "-c", cpus] + command
    start = time.monotonic()
    process = subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
        stdout=stdout or subprocess.DEVNULL, stderr=subprocess.PIPE)
    watch = Tree(process.pid) if tree else Memory(process.pid)
    watch.start()
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    watch.ended.set()
    watch.join()
    text = errors.decode(errors="replace")
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with {process.returncode}:\n{text[-4000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    if tree:
        cpu = max(cpu, sum(watch.cpu.values()))
    growth = 1.0 if tree else watch.growth()
    return {"wall": wall, "cpu": cpu, "rss": watch.peak / MEGABYTE, "growth": growth, "errors": text}


def alternate(systems, runs):
    """Runs the systems in turn, there and back, so that noise of the machine hits all alike and none always comes behind the
    same other: a run on both cores is slower behind one that left the second core idle.

    - systems: name → (function that runs it once, how many times at most)
    """
    results = {name: [] for name in systems}
    for turn in range(runs):
        for name, (start, most) in list(systems.items())[::-1 if turn % 2 else 1]:
            if turn < most:
                results[name].append(start())
    return results


def medians(results):
    """name → the median of each number over its runs."""
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in ("wall", "cpu", "rss")}
        for name, runs in results.items()}


def spread(runs, key="wall", form="{:.2f}"):
    """`[least-most]`, of one run nothing."""
    values = [run[key] for run in runs]
    return "" if len(values) == 1 else f"[{form.format(min(values))}-{form.format(max(values))}]"


def verdict(holds):
    """How a bound of the table is told: never an error, since the machine may be busy."""
    return "as wanted" if holds else "MISSED"


def empty_folder(*parts):
    """The folder, new and empty."""
    path = os.path.join(*parts)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def warm(paths):
    """Reads the files, so that all systems find them in the page cache."""
    for path in paths:
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass
