"""Instructions a row and allocations a batch of the micro benchmarks, counted by callgrind and held against the thresholds in
Benchmarks/thresholds.json. They are nearly the same on a busy machine and in every run; a compiler of another version
changes them."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys

from .measure import HERE, empty_folder

THRESHOLDS = os.path.join(HERE, "thresholds.json")
# Of a threshold: what two builds of the same source may differ by.
TOLERANCE = 0.03
ALLOCATE = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"}
# simdjson chooses by the processor, and callgrind's has no AVX-512; Swift seeds hashes by chance.
ENVIRONMENT = {"SIMDJSON_FORCE_IMPLEMENTATION": "haswell", "SWIFT_DETERMINISTIC_HASHING": "1"}


def run(options):
    found = count(options)
    print("\ninstructions: micro benchmarks under callgrind, against Benchmarks/thresholds.json")
    if options.update:
        write(options, found)
        print(f"  {len(found)} thresholds written")
        return
    check(options, found)


def count(options):
    """name → unit, instructions a unit, allocations a batch."""
    if shutil.which("valgrind") is None:
        sys.exit("instructions: valgrind is missing: apt-get install valgrind")
    if not os.path.exists(options.micro):
        sys.exit(f"instructions: {options.micro} is missing: `make bench` builds it, or name another with --micro")
    folder = empty_folder(options.work, "callgrind")
    # Debian 12's valgrind gives up over the compiler's debugging information; the names of functions stay.
    program = os.path.join(folder, "bench-micro")
    subprocess.run(["strip", "--strip-debug", "-o", program, options.micro], check=True)
    # The optimiser gives the function a name of its own; callgrind takes two options for it only by two kinds of name.
    symbols = subprocess.run(["nm", program], check=True, capture_output=True, text=True).stdout
    region = next(line.split()[2] for line in symbols.splitlines() if "countedRegion" in line)
    result = subprocess.run(
        ["valgrind", "--tool=callgrind", "--toggle-collect=*countedRegion*", f"--dump-after={region}",
         "--dump-instr=yes", "--compress-pos=no",
         f"--callgrind-out-file={os.path.join(folder, 'counts')}", program, "--counted"],
        env={**os.environ, **ENVIRONMENT}, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"instructions: {options.micro} failed with {result.returncode}:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    cases = [line.split("\t") for line in result.stdout.splitlines()]
    dumps = sorted(glob.glob(os.path.join(folder, "counts.*")), key=lambda path: int(path.rsplit(".", 1)[1]))
    if len(dumps) < len(cases) or not cases:
        sys.exit(f"instructions: {len(dumps)} counts of {len(cases)} cases; valgrind said:\n{result.stderr[-2000:]}")
    found = {}
    for (name, unit, units, calls), path in zip(cases, dumps):
        instructions, allocations = read(path)
        found[name] = {"unit": unit, "instructions": round(instructions / int(units), 2),
                       "allocations": round(allocations / int(calls), 1)}
    return found


NAME = re.compile(r"\((\d+)\)(?: (.*))?$")


def read(path):
    """The instructions in a file of callgrind's, and how often memory was asked for: how often the first instruction of
    each function that gives it was executed. Calls that callgrind counts include those outside the region."""
    names, function, instructions, first, follows_call = {}, "", 0, {}, False
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            key, _, rest = line.rstrip().partition("=")
            if key in ("fn", "cfn"):
                found = NAME.match(rest)
                if found[2]:
                    names[found[1]] = found[2].split("'")[0]
                if key == "fn":
                    function = names[found[1]]
            elif key == "calls":
                follows_call = True
            elif line.startswith("0x"):
                if function in ALLOCATE and not follows_call:
                    address, _, cost = line.split()
                    first[function] = min(first.get(function, (1 << 64, 0)), (int(address, 16), int(cost)))
                follows_call = False
            elif line.startswith(("summary: ", "totals: ")):
                instructions = max(instructions, int(line.split()[1]))
    return instructions, sum(count for _, count in first.values())


def toolchain(options):
    swift = os.environ.get("SWIFT", "swift")
    said = subprocess.run([swift, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"Swift version (\S+)", said)
    return f"Swift {found[1] if found else 'unknown'}, {os.uname().machine}"


def write(options, found):
    kept = {"toolchain": toolchain(options), "cases": found}
    with open(THRESHOLDS, "w", encoding="utf-8") as file:
        json.dump(kept, file, indent=2, ensure_ascii=False)
        file.write("\n")


def check(options, found):
    with open(THRESHOLDS, encoding="utf-8") as file:
        kept = json.load(file)
    expected = kept["cases"]
    print(f"  {'instructions':>12} {'expected':>9}          {'allocations':>11} {'at most':>8}")
    wrong, better = [], []
    for name, case in found.items():
        limit = expected.get(name)
        if limit is None:
            wrong.append(f"{name}: has no threshold yet")
            continue
        ratio = case["instructions"] / limit["instructions"]
        print(f"  {case['instructions']:12.2f} {limit['instructions']:9.2f} {(ratio - 1) * 100:+7.1f} %"
              f" {case['allocations']:11.1f} {limit['allocations']:8.1f}  {name} (instructions a {case['unit']})")
        if ratio > 1 + TOLERANCE:
            wrong.append(f"{name}: {case['instructions']} instructions a {case['unit']}, {(ratio - 1) * 100:.1f} % more than"
                         f" {limit['instructions']}; {TOLERANCE * 100:.0f} % more are allowed")
        elif ratio < 1 - TOLERANCE:
            better.append(name)
        if case["allocations"] > limit["allocations"] + 0.5:
            wrong.append(f"{name}: {case['allocations']} allocations a batch, at most {limit['allocations']} expected")
    wrong += [f"{name}: has a threshold but is no benchmark any more" for name in expected if name not in found]
    how = "if this is meant, keep the new counts: make bench BENCH_ARGUMENTS='--jobs instructions --update'"
    if wrong:
        if toolchain(options) != kept["toolchain"]:
            how += f"\n  (the thresholds are of {kept['toolchain']}, this is {toolchain(options)})"
        sys.exit("\ninstructions: a regression\n  " + "\n  ".join(wrong) + f"\n  {how}")
    if better:
        print(f"  fewer than expected: {', '.join(better)}; {how}")
