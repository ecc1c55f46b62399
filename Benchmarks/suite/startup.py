"""From the start of `dataflow run` with nothing to do to its end."""
from . import systems
from .measure import alternate, medians, spread, verdict

RUNS = 21


def run(options):
    results = alternate({"empty": (lambda: systems.dataflow(options, "empty", options.data), RUNS)}, RUNS)
    m = medians(results)["empty"]
    runs = spread(results["empty"], form="{:.3f}")
    print(f"\nstartup: an empty bounded pipeline, {RUNS} runs\n  {m['wall'] * 1e3:.1f} ms of wall, {m['cpu'] * 1e3:.1f} ms of"
          f" CPU; under 40 ms: {verdict(m['wall'] < 0.04)}   s {runs}", flush=True)
