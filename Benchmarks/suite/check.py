#!/usr/bin/env python3
"""Compares results, with DuckDB; run by the Python of the data folder, which has it. Exit code 1: they differ.

    check.py same w2|w3 OURS THEIRS     two results, window by window and group by group
    check.py hours TEN ONE              of w2 over ten hours of the same events each hour, and over one hour
    check.py items OURS EVENTS          of w3 by a million items: a twentieth of the items, and all counts together
"""
import sys

import duckdb

GROUP = {"w2": "country", "w3": "item"}
MEASURES = {"w2": ["n", "total", "mean", "lowest", "highest"], "w3": ["n", "mean"]}


def columns(job):
    types = {m: "BIGINT" if m == "n" else "DOUBLE" for m in MEASURES[job]}
    return {"w": "TIMESTAMP", GROUP[job]: "VARCHAR", **types}


def results(job, folder):
    """The rows that dataflow has written."""
    return f"read_ndjson('{folder}/*.ndjson', columns={columns(job)})"


def compare(db, job, left, right):
    """Both joined: counts are equal, floats within 1e-6, and no window and group comes twice."""
    floats = [m for m in MEASURES[job] if m != "n"]
    wrong = " OR ".join(
        ["a.w IS NULL", "b.w IS NULL", "a.n <> b.n"]
        + [f"NOT coalesce(abs(a.{m} - b.{m}) <= 1e-6 * greatest(1, abs(b.{m})), false)" for m in floats])
    rows, bad = db.execute(
        f"SELECT count(*), count(*) FILTER (WHERE {wrong}) FROM ({left}) a FULL JOIN ({right}) b"
        f" ON a.w = b.w AND a.{GROUP[job]} = b.{GROUP[job]}").fetchone()
    counts = [db.execute(f"SELECT count(*), coalesce(sum(n), 0) FROM ({x})").fetchone() for x in (left, right)]
    print(f"{counts[0][0]} groups of {counts[0][1]} rows, {counts[1][0]} of {counts[1][1]} expected, {bad} differ")
    return bad == 0 and counts[0] == counts[1] and rows == counts[0][0] and rows > 0


def same(db, job, ours, theirs):
    expected = f"SELECT * FROM read_csv('{theirs}/result.csv', header=false, columns={columns(job)})"
    return compare(db, job, f"SELECT * FROM {results(job, ours)}", expected)


def hours(db, ten, one):
    measures = ", ".join(MEASURES["w2"])
    expected = (f"SELECT w + INTERVAL 1 HOUR * h AS w, country, {measures}"
                f" FROM {results('w2', one)}, range(10) r(h)")
    return compare(db, "w2", f"SELECT * FROM {results('w2', ten)}", expected)


def items(db, ours, events):
    some = "item LIKE '%07' OR item LIKE '%27' OR item LIKE '%47' OR item LIKE '%67' OR item LIKE '%87'"
    found = f"SELECT * FROM {results('w3', ours)} WHERE {some}"
    fields = "columns={'event_time': 'TIMESTAMP', 'item': 'VARCHAR', 'price': 'DOUBLE'}"
    expected = (
        "SELECT w - INTERVAL 10 SECOND * k AS w, item, sum(c)::BIGINT AS n, sum(s) / sum(c) AS mean FROM ("
        " SELECT time_bucket(INTERVAL 10 SECOND, event_time) AS w, item, count(*) c, sum(price) s"
        f" FROM read_ndjson('{events}/*.ndjson', {fields}, timestampformat='%Y-%m-%dT%H:%M:%S.%gZ') WHERE {some}"
        " GROUP BY 1, 2), range(6) r(k) GROUP BY 1, 2")
    counted, = db.execute(f"SELECT sum(n) FROM {results('w3', ours)}").fetchone()
    read, = db.execute(f"SELECT count(*) FROM read_ndjson('{events}/*.ndjson', {fields},"
                       " timestampformat='%Y-%m-%dT%H:%M:%S.%gZ')").fetchone()
    print(f"{counted} rows in all windows, {6 * read} expected; of a twentieth of the items: ", end="")
    return compare(db, "w3", found, expected) and counted == 6 * read


def main():
    db = duckdb.connect()
    db.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
    kind, *arguments = sys.argv[1:]
    sys.exit(not {"same": same, "hours": hours, "items": items}[kind](db, *arguments))


if __name__ == "__main__":
    main()
