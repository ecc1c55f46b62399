"""kafka-source beside librdkafka alone, and http-server-source under load: programs of their own that check what came out."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from .measure import ROOT, verdict

SCRIPT = os.path.join(ROOT, "scripts", "kafka.sh")
# What kafka-source with json-parse must be at least, as a share of librdkafka's own rate.
WANTED = 70


def program(options, name, *arguments):
    """Runs a program that stands beside dataflow; its output. Ends the suite where the answer was wrong."""
    command = [os.path.join(os.path.dirname(options.dataflow), name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{name} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def kafka(options):
    """Every message of a topic: read with librdkafka's fastest interface, by kafka-source, and parsed as well, by turns."""
    work = tempfile.mkdtemp(prefix="dataflow-kafka-", dir="/var/tmp")
    try:
        brokers = subprocess.run(
            [SCRIPT, "start", work, "0"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        rounds = max(5, options.runs)
        output = program(options, "bench-kafka-source", brokers, options.kafka_messages, rounds)
    finally:
        subprocess.run([SCRIPT, "remove", work], check=True)
        shutil.rmtree(work, ignore_errors=True)
    print(f"\nkafka: {options.kafka_messages:,} events of 200 bytes, {rounds} runs, all messages seen")
    medians = re.findall(r"^median (.+): (\S+) s, (\S+) s CPU", output, re.MULTILINE)
    raw = next((float(wall), float(cpu)) for name, wall, cpu in medians if name == "librdkafka")
    for name, wall, cpu in medians:
        rate, share = options.kafka_messages / float(wall) / 1e6, 100 * raw[0] / float(wall)
        line = f"  {name:<28} {rate:5.2f} M messages/s, {float(cpu):.3f} s CPU   {share:4.0f} % of librdkafka's rate"
        line += f", by CPU {100 * raw[1] / float(cpu):.0f} %"
        if name.endswith("json-parse"):
            line += f"; at least {WANTED} %: {verdict(share >= WANTED)}"
        print(line, flush=True)


def http_server(options):
    """Clients that post, each answer behind a write to the disk of the data folder."""
    print("\nhttp-server: every acknowledged row came out once")
    for clients, rows in [(1, 1), (64, 1), (64, 100)]:
        folder = tempfile.mkdtemp(prefix="http-server-", dir=options.work)
        try:
            print("  " + program(options, "bench-http-server-source", folder, clients, 5, rows).strip(), flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
