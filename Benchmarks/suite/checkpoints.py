"""What checkpoints cost with ten million keys in state: none, every 10 s and every second, alternating."""
import re

from . import systems
from .measure import alternate, medians, spread, verdict

INTERVALS = {"none": "1h", "every 10 s": "10s", "every 1 s": "1s"}
# What the debug log says of each complete checkpoint; the longest stop is that of all so far.
COMPLETE = re.compile(r"checkpoint \d+ is complete.*?longest_stop=([\d.e-]+)")


def run(options):
    def once(interval):
        result = systems.dataflow(
            options, "big-state", options.data, options.cpus, "big-state",
            ["--limit", str(options.state_rows), "--set", f"checkpoint.interval={interval}", "--log-level", "debug"])
        stops = COMPLETE.findall(result["errors"])
        return {**result, "checkpoints": len(stops), "stop": float(stops[-1]) if stops else 0.0}

    results = alternate(
        {name: ((lambda interval=interval: once(interval)), options.state_runs) for name, interval in INTERVALS.items()},
        options.state_runs)
    median = medians(results)
    print(f"\ncheckpoints: {options.state_rows / 1e6:.0f} M rows, 10 M keys, updates of 5 %, {options.state_runs} runs")
    none = median["none"]
    for name, m in median.items():
        loss, cpu = 1 - none["wall"] / m["wall"], m["cpu"] / none["cpu"] - 1
        runs = results[name]
        stops = sorted(run["stop"] * 1e3 for run in runs)
        stop = stops[len(stops) // 2]
        line = (f"  {name:<11} {m['wall']:7.2f} s {options.state_rows / m['wall'] / 1e6:6.2f} M rows/s {m['cpu']:7.2f} CPU s"
                f" {m['rss']:6.0f} MB RSS, {min(run['checkpoints'] for run in runs)} checkpoints or more")
        if name != "none":
            line += f"; {loss * 100:.1f} % slower, {cpu * 100:.1f} % more CPU, longest stop {stop:.1f} ms in the middle run, {stops[-1]:.1f} in the worst"
        if name == "every 10 s":
            line += f"; under 10 %: {verdict(loss < 0.1)}; under 20 ms: {verdict(stop < 20)}"
        print(f"{line}   {spread(runs)}", flush=True)
