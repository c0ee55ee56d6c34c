"""One workload in DuckDB: `duckdb_peer.py JOB.json OUTPUT`.

Prints the seconds and CPU seconds of the work alone, as JSON; the import is not counted.
"""

import json
import resource
import sys
import time

import duckdb

job = json.load(open(sys.argv[1]))
out = sys.argv[2]
db = duckdb.connect()
db.execute(f"set threads={job['threads']}")
db.execute("set enable_progress_bar=false")


def text(value):
    return "'" + str(value).replace("'", "''") + "'"


def name(column):
    return '"' + column.replace('"', '""') + '"'


def scan():
    """The input with the types that DuckDB finds by itself."""
    source = text(job["input"])
    if not job["input"].endswith(".ndjson"):
        return f"select * from read_csv({source}, header=true)"
    rows = f"read_json({source}, format='newline_delimited')"
    if not job["flatten"]:
        return f"select * from {rows}"
    fields = []
    for column, kind, *_ in db.execute(f"describe select * from {rows}").fetchall():
        if column in job["drop"]:
            continue
        if column not in job["flatten"]:
            fields.append(name(column))
            continue
        nested = f"select unnest({name(column)}) from {rows}"
        for field, *_ in db.execute(f"describe {nested}").fetchall():
            fields.append(f"{name(column)}.{name(field)} as {name(column + '_' + field)}")
    return f"select {', '.join(fields)} from {rows}"


def cleaned(column):
    """A column's text, trimmed, in upper case and cast, as the job says."""
    kind = {"int": "bigint", "bool": "boolean"}.get(column["type"], column["type"])
    value = name(column["name"])
    if column["name"] in job["trim"]:
        value = f"trim({value})"
    if column["name"] in job["upper"]:
        value = f"upper({value})"
    if kind != "string":
        value = f"try_cast({value} as {kind})"
    return value


def passes(rule, values):
    """Whether a record passes a rule. A null passes all but `required`."""
    value, tests = values[rule["column"]], []
    if "matches" in rule:
        # A full match is what DuckDB does fastest; all our patterns are anchored.
        pattern = rule["matches"].removeprefix("^").removesuffix("$")
        tests.append(f"regexp_full_match({value}, {text(pattern)})")
    if "one_of" in rule:
        tests.append(f"{value} in ({', '.join(map(text, rule['one_of']))})")
    if "min" in rule:
        tests.append(f"{value} >= {rule['min']}")
    if "between" in rule:
        tests.append(f"{value} between {rule['between'][0]} and {rule['between'][1]}")
    if not tests:
        return f"{value} is not null"
    return f"coalesce({' and '.join(tests)}, {'false' if rule['required'] else 'true'})"


def w1():
    source = f"read_csv({text(job['input'])}, all_varchar=true, header=true)"
    values = {column["name"]: cleaned(column) for column in job["columns"]}
    columns = ", ".join(f"{value} as {name(column)}" for column, value in values.items())
    reasons = ", ".join(
        f"case when not {passes(rule, values)} then {text(rule['column'])} end" for rule in job["rules"]
    )
    # Materialised: faster than reading the view twice, and takes more memory.
    db.execute(
        f"create temp table t as select {columns}, "
        f"list_filter([{reasons}], lambda x: x is not null) as reasons from {source}"
    )
    parquet = "(format parquet, compression snappy)"
    db.execute(f"copy (select * exclude reasons from t where len(reasons)=0) to '{out}/data.parquet' {parquet}")
    db.execute(f"copy (select * from t where len(reasons)>0) to '{out}/rejected.parquet' {parquet}")


def convert():
    to = job["to"]
    form = {"ndjson": "(format json)", "csv": "(format csv, header)"}.get(to, "(format parquet, compression snappy)")
    db.execute(f"copy ({scan()}) to '{out}/data.{to}' {form}")


def dedupe():
    keys = ", ".join(map(name, job["keys"]))
    numbered = f"select *, row_number() over () as _row from ({scan()})"
    ranked = f"select *, row_number() over (partition by {keys} order by _row desc) as _rank from ({numbered})"
    db.execute(
        f"copy (select * exclude (_row, _rank) from ({ranked}) where _rank=1 order by _row) "
        f"to '{out}/data.parquet' (format parquet, compression snappy)"
    )


def partition():
    keys = ", ".join(map(name, job["partition"]))
    db.execute(
        f"copy ({scan()}) to '{out}/parts' (format parquet, compression snappy, partition_by ({keys}))"
    )


def lookup_and_sum():
    facts = job["facts"]
    key, take, date, mean = (name(facts[part]) for part in ("key", "take", "date", "mean"))
    month = f"cast(date_trunc('month', {date}) as date)"
    sums = ", ".join(f"sum({name(column)}) as {name('total_' + column)}" for column in facts["sums"])
    dimension = f"(select {key}, {take} from read_csv({text(job['dimension'])}, header=true))"
    db.execute(
        f"copy (select {key}, {take}, {month} as month, count(*) as records, {sums}, "
        f"avg({mean}) as {name('mean_' + facts['mean'])} from ({scan()}) join {dimension} using ({key}) "
        f"group by all order by all) to '{out}/data.parquet' (format parquet, compression snappy)"
    )


work = {"w1": w1, "w3": dedupe, "w4": partition, "w8": lookup_and_sum}.get(job["workload"], convert)
start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
work()
seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"seconds": seconds, "cpu": cpu}))
