"""One workload in Polars: `polars_peer.py JOB.json OUTPUT`.

Prints the seconds and CPU seconds of the work alone, as JSON; the import is not counted.
"""

import json
import os
import resource
import sys
import time

job = json.load(open(sys.argv[1]))
out = sys.argv[2]
os.environ["POLARS_MAX_THREADS"] = str(job["threads"])

import polars as pl  # noqa: E402  the number of threads is read when it is imported

source = job["input"]


def scan():
    """The input with the types that Polars finds by itself."""
    frame = pl.scan_ndjson(source) if source.endswith(".ndjson") else pl.scan_csv(source)
    if job["flatten"]:
        frame = frame.drop(job["drop"])
        for name in job["flatten"]:
            fields = frame.collect_schema()[name].fields
            parts = [pl.col(name).struct.field(f.name).alias(f"{name}_{f.name}") for f in fields]
            frame = frame.with_columns(parts).drop(name)
    return frame


def cleaned(column):
    """A column's text, trimmed, in upper case and cast, as the job says."""
    name, kind = column["name"], column["type"]
    value = pl.col(name)
    if name in job["trim"]:
        value = value.str.strip_chars()
    if name in job["upper"]:
        value = value.str.to_uppercase()
    if kind == "date":
        value = value.str.to_date("%Y-%m-%d", strict=False)
    elif kind == "timestamp":
        value = value.str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False)
    elif kind == "double":
        value = value.cast(pl.Float64, strict=False)
    elif kind == "int":
        value = value.cast(pl.Int64, strict=False)
    elif kind == "bool":
        value = value == "true"
    return value.alias(name)


def passes(rule):
    """Whether a record passes a rule. A null passes all but `required`."""
    value = pl.col(rule["column"])
    tests = []
    if "matches" in rule:
        tests.append(value.str.contains(rule["matches"]))
    if "one_of" in rule:
        tests.append(value.is_in(rule["one_of"]))
    if "min" in rule:
        tests.append(value >= rule["min"])
    if "between" in rule:
        tests.append(value.is_between(*rule["between"]))
    if not tests:
        return value.is_not_null()
    return pl.all_horizontal(tests).fill_null(not rule["required"])


def w1():
    typed = pl.scan_csv(source, infer_schema=False).select(cleaned(c) for c in job["columns"])
    flags = {"_ok_" + rule["column"]: passes(rule) for rule in job["rules"]}
    typed = typed.with_columns(**flags).with_columns(_ok=pl.all_horizontal(list(flags)))
    valid = typed.filter(pl.col("_ok")).drop([*flags, "_ok"])
    rejected = typed.filter(~pl.col("_ok")).drop("_ok")
    pl.collect_all(
        [
            valid.sink_parquet(f"{out}/data.parquet", compression="snappy", lazy=True),
            rejected.sink_parquet(f"{out}/rejected.parquet", compression="snappy", lazy=True),
        ],
        engine="streaming",
    )


def convert():
    frame, to = scan(), job["to"]
    if to == "ndjson":
        frame.sink_ndjson(f"{out}/data.ndjson")
    elif to == "csv":
        frame.sink_csv(f"{out}/data.csv")
    else:
        frame.sink_parquet(f"{out}/data.parquet", compression="snappy")


def dedupe():
    frame = scan().unique(job["keys"], keep="last", maintain_order=True)
    frame.sink_parquet(f"{out}/data.parquet", compression="snappy")


def partition():
    target = pl.PartitionBy(f"{out}/parts", key=job["partition"])
    scan().sink_parquet(target, compression="snappy", mkdir=True)


def lookup_and_sum():
    facts = job["facts"]
    dimension = pl.scan_csv(job["dimension"]).select(facts["key"], facts["take"])
    month = pl.col(facts["date"]).str.to_date("%Y-%m-%d").dt.truncate("1mo")
    sums = [pl.col(name).sum().alias(f"total_{name}") for name in facts["sums"]]
    mean = pl.col(facts["mean"]).mean().alias(f"mean_{facts['mean']}")
    keys = [facts["key"], facts["take"], "month"]
    frame = scan().join(dimension, on=facts["key"]).with_columns(month=month).group_by(keys)
    frame = frame.agg(pl.len().alias("records"), *sums, mean).sort(keys)
    frame.sink_parquet(f"{out}/data.parquet", compression="snappy")


work = {"w1": w1, "w3": dedupe, "w4": partition, "w8": lookup_and_sum}.get(job["workload"], convert)
start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
work()
seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"seconds": seconds, "cpu": cpu}))
