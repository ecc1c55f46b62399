"""The benchmark suite behind Benchmarks/bench.py: one module a kind of job, each with `run(options)`."""
