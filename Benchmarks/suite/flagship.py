"""The pipeline of pipelines/openfood.yaml over recorded pages in local files, into a private PostgreSQL."""
import glob
import gzip
import os
import shutil
import statistics
import subprocess
import sys

from . import measure


def run(options):
    """The seven tables from local files: the source is replaced, all else is the pipeline as it stands."""
    recorded = sorted(glob.glob(os.path.join(options.pages, "pages-*.ndjson.gz")))
    if not recorded:
        sys.exit(f"{options.pages} holds no recorded pages (pages-*.ndjson.gz); name the folder with --pages")
    pages = os.path.join(options.data, "openfood")
    if not os.path.isdir(pages):
        os.makedirs(pages)
        for path in recorded:
            with gzip.open(path) as source, open(os.path.join(pages, os.path.basename(path)[:-3]), "wb") as target:
                shutil.copyfileobj(source, target)
    os.makedirs(options.work, exist_ok=True)
    files = sorted(glob.glob(os.path.join(pages, "*.ndjson")))
    size = sum(os.path.getsize(path) for path in files) / measure.MEGABYTE
    with open(os.path.join(measure.ROOT, "pipelines", "openfood.yaml"), encoding="utf-8") as file:
        text = file.read()
    start, end = text.index("  pages:\n"), text.index("  # One parse for all seven tables.")
    pipeline = os.path.join(options.work, "openfood-files.yaml")
    with open(pipeline, "w", encoding="utf-8") as file:
        source = f"  pages:\n    type: file-source\n    path: {pages}/*.ndjson\n\n"
        file.write(text[:start] + source + text[end:])
    script = os.path.join(measure.ROOT, "scripts", "postgres.sh")
    folder = os.path.join(options.work, "postgres")
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
        resources = os.path.join(measure.ROOT, "Tests", "Resources")
        psql("-c", "create schema expected; create unlogged table expected.pages (page jsonb)")
        for path in files:
            psql("-c", f"\\copy expected.pages from '{path}' csv quote e'\\x01' delimiter e'\\x02'")
        psql("-f", os.path.join(resources, "openfood-expected.sql"))
        checkpoints = os.path.join(options.work, "checkpoints-flagship")
        results = []
        for _ in range(options.runs):
            shutil.rmtree(checkpoints, ignore_errors=True)
            psql("-c", "drop table if exists " + ", ".join(tables + ["dataflow_commits"]))
            results.append(
                measure.run([options.dataflow, "run", pipeline], options.cpus, {"PG_URL": url, "CHECKPOINT_PATH": checkpoints}))
            lines = psql("-f", os.path.join(resources, "openfood-compare.sql")).splitlines()[:7]
            if len(lines) != 7 or any(line.split("|")[3] != "0" for line in lines):
                sys.exit("flagship: the tables are wrong\n" + "\n".join(lines))
    finally:
        subprocess.run([script, "remove", folder], check=True)
    median = {k: statistics.median(r[k] for r in results) for k in ("wall", "cpu", "rss")}
    rows = sum(int(line.split("|")[1]) for line in lines)
    print(f"\nflagship: {size:.0f} MB of recorded pages, {options.runs} runs, {rows} rows in seven tables, all as expected")
    print(
        f"  dataflow       {median['wall']:8.2f} s {size / median['wall']:7.0f} MB/s"
        f" {median['cpu']:7.2f} CPU s {median['rss']:7.0f} MB RSS")
