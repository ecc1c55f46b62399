"""The inputs: made once (seeded), kept in the data folder; and the programs of the peers."""
import glob
import os
import re
import shutil
import subprocess
import sys

from .measure import MEGABYTE

PACKAGES = {"venv": ["duckdb", "polars"], "venv-spark": ["pyspark==3.5.5"], "venv-flink": ["apache-flink==1.20.*"]}
HOURS = 10


def files(folder):
    return sorted(glob.glob(os.path.join(folder, "*.ndjson")))


def megabytes(folder):
    return sum(os.path.getsize(path) for path in files(folder)) / MEGABYTE


def python(options, environment):
    """The Python of an environment below the data folder, with its packages; made when it is missing."""
    folder = os.path.join(options.data, environment)
    mark = os.path.join(folder, "complete")
    wanted = "\n".join(PACKAGES[environment])
    if not os.path.exists(mark) or open(mark, encoding="utf-8").read() != wanted:
        print(f"installing {' '.join(PACKAGES[environment])} into {folder}", file=sys.stderr)
        if environment != "venv" and shutil.which("java") is None:
            sys.exit("Spark and Flink need Java: apt-get install openjdk-17-jre-headless")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([os.path.join(folder, "bin", "python"), "-m", "pip", "install", "-q", *PACKAGES[environment]],
                       check=True)
        with open(mark, "w", encoding="utf-8") as file:
            file.write(wanted)
    return os.path.join(folder, "bin", "python")


def peer(options, script):
    if not os.path.isdir(options.peers):
        sys.exit(f"{options.peers} is missing: it holds the generator and the peers' scripts; name it with --peers")
    return os.path.join(options.peers, script)


def generate(options):
    """The pages of w1 and the events of w2 and w3."""
    os.makedirs(options.data, exist_ok=True)
    if not os.path.exists(os.path.join(options.data, "w1", "pages-0.ndjson")):
        subprocess.run(
            [sys.executable, peer(options, "gen.py"), options.data, "--w1-pages", str(options.w1_pages), "--w2-events",
             str(options.w2_events)], check=True)
        for extra in ("w1-chunks", "w2-chunks", "w2-1m"):
            shutil.rmtree(os.path.join(options.data, extra), ignore_errors=True)


def reference(options):
    """The hand-written C++ program, compiled when it is missing."""
    program = os.path.join(options.data, "raw_limits")
    if not os.path.exists(program):
        subprocess.run(
            ["g++", "-O3", "-march=native", "-std=c++17", peer(options, "raw_limits.cpp"), "-lsimdjson", "-o", program],
            check=True)
    return program


def derived(options, name, make):
    """A folder made of the events of w2: two files, each by `make(source, target)`. Whole or not at all."""
    folder = os.path.join(options.data, name)
    if not os.path.isdir(folder):
        print(f"making {folder}", file=sys.stderr)
        part = folder + ".part"
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(part)
        for path in files(os.path.join(options.data, "w2")):
            make(path, os.path.join(part, os.path.basename(path)))
        os.rename(part, folder)
    return folder


USED = re.compile(rb'"event_time":"([^"]*)".*?"country":"([^"]*)","price":([^,]*),"status":"([^"]*)"')


def narrow(source, target):
    """The events with the four fields that w2 reads."""
    with open(source, "rb") as lines, open(target, "wb") as out:
        while block := lines.readlines(1 << 24):
            out.write(b"".join(
                b'{"event_time":"%b","country":"%b","price":%b,"status":"%b"}\n' % found
                for found in USED.findall(b"".join(block))))


def hours(source, target):
    """The same narrow events again and again, each time an hour later."""
    first = target + ".hour"
    narrow(source, first)
    with open(target, "wb") as out:
        for hour in range(HOURS):
            with open(first, "rb") as lines:
                while block := lines.readlines(1 << 24):
                    out.write(b"".join(block).replace(
                        b'"event_time":"2025-01-01T00:', b'"event_time":"2025-01-01T%02d:' % hour))
    os.remove(first)


ITEM = re.compile(rb'("event_id":"e)(\d+)(".*?"item":"item-\d{5})')


def million_items(source, target):
    """The events with a hundred items for each: as skewed, a hundred times as many."""
    def spread(found):
        event = int(found[2])
        number = (event * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) * 100 >> 64
        return b"%b%b%b%02d" % (found[1], found[2], found[3], number)

    with open(source, "rb") as lines, open(target, "wb") as out:
        while block := lines.readlines(1 << 24):
            out.write(ITEM.sub(spread, b"".join(block)))
