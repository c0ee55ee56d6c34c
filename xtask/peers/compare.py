"""Compares two outputs of one job: `compare.py JOB.json OURS THEIRS PEER`.

Prints a JSON object: `rows`, and `problem` (null when rows, order and values are equal) or `note`.
"""

import glob
import json
import os
import sqlite3
import sys
from urllib.parse import unquote

import polars as pl
import pyarrow.parquet as pq

job = json.load(open(sys.argv[1]))
ours, theirs = sys.argv[2], sys.argv[3]
typed = sys.argv[4] == "other build"
# Ours are sums of doubles that are rounded once, the peers' once for each addition.
tolerance = 1e-12 if job["workload"] == "w8" and not typed else None


class Different(Exception):
    pass


def same(name, left, right):
    """Two columns: equal values at equal places. The peer's text is read as our type."""
    if len(left) != len(right):
        raise Different(f"{len(left)} rows, the peer has {len(right)}")
    left, right = comparable(left, right), comparable(right, left)
    different = left.ne_missing(right)
    if tolerance and left.dtype == pl.Float64 and right.dtype == pl.Float64:
        different = different & ((left - right).abs() > tolerance * left.abs()).fill_null(True)
    if different.any():
        at = different.arg_true()[0]
        raise Different(
            f"{different.sum()} values of `{name}` differ, first in row {at + 1}: {left[at]!r}, the peer has {right[at]!r}"
        )


def comparable(column, other):
    """The column in a form that both sides can have."""
    if column.dtype == pl.List:
        return column.list.join("\x1f")
    if column.dtype == other.dtype or column.dtype != pl.String:
        if column.dtype.is_temporal() and column.dtype != pl.Date:
            return column.cast(pl.Datetime("us"))
        if column.dtype.is_numeric() and other.dtype.is_numeric() and column.dtype != other.dtype:
            return column.cast(pl.Float64)
        return column
    if other.dtype == pl.Date:
        return column.str.to_date("%Y-%m-%d")
    if other.dtype.is_temporal():
        return column.str.replace(" ", "T").str.strip_suffix("Z").str.to_datetime(time_unit="us")
    return column.cast(other.dtype)


def flat(frame):
    """Structs become columns `outer_inner`."""
    while nested := [name for name, kind in frame.schema.items() if kind == pl.Struct]:
        for name in nested:
            frame = frame.with_columns(pl.col(name).name.prefix_fields(name + "_")).unnest(name)
    return frame


def same_names(left, right):
    """The same columns; Polars does not keep the order of wide NDJSON."""
    if sorted(left) != sorted(right):
        raise Different(f"{len(left)} columns, the peer has {len(right)}, and other names")


def frames(left, right):
    left, right = flat(left), flat(right)
    same_names(left.columns, right.columns)
    for name in left.columns:
        same(name, left[name], right[name])
    return left.height


def same_in_any_order(left, right):
    """The rows of both, whatever their order."""
    left, right = flat(left), flat(right)
    same_names(left.columns, right.columns)
    if left.height != right.height:
        raise Different(f"{left.height} rows, the peer has {right.height}")
    both = [(comparable(left[name], right[name]), comparable(right[name], left[name])) for name in left.columns]
    left, right = (pl.DataFrame(side).hash_rows().sort() for side in zip(*both))
    if not left.equals(right):
        raise Different("rows that the peer does not have")


def parquet():
    """Column by column, so that large files do not need much memory."""
    left, right = f"{ours}/data.parquet", f"{theirs}/data.parquet"
    names = pq.read_schema(left).names
    same_names(names, pq.read_schema(right).names)
    note = None
    try:
        for name in names:
            frames(pl.read_parquet(left, columns=[name]), pl.read_parquet(right, columns=[name]))
    except Different:
        same_in_any_order(pl.read_parquet(left), pl.read_parquet(right))
        note = "the peer's rows are in another order"
    pq.read_table(left, columns=names[:1])  # the reference reader takes it, too
    return pq.read_metadata(left).num_rows, note


def rejects(in_order):
    """Which fields each rejected record failed in."""

    def written(folder):
        if os.path.getsize(f"{folder}/rejects.ndjson") == 0:
            return pl.Series([], dtype=pl.String)
        fields = pl.col("errors").list.eval(pl.element().struct.field("field"))
        rows = pl.scan_ndjson(f"{folder}/rejects.ndjson").select("record", fields=fields.list.unique().list.sort().list.join(","))
        return rows.sort("record").collect()["fields"]

    mine = written(ours)
    if os.path.exists(f"{theirs}/rejects.ndjson"):
        same("rejects", mine, written(theirs))
        return len(mine)
    frame = pl.read_parquet(f"{theirs}/rejected.parquet")
    fields = [rule["column"] for rule in job["rules"]]
    if "reasons" in frame.columns:
        reasons = frame["reasons"].list.sort().list.join(",")
    else:
        flags = [pl.when(~pl.col("_ok_" + name)).then(pl.lit(name)) for name in sorted(fields)]
        reasons = frame.select(reasons=pl.concat_str(flags, separator=",", ignore_nulls=True))["reasons"]
    if in_order:
        same("rejects", mine, reasons)
    else:
        same("rejects", mine.sort(), reasons.sort())
    return len(mine)


def text():
    kinds = {"string": pl.String, "int": pl.Int64, "double": pl.Float64, "bool": pl.Boolean}
    columns = {c["name"]: kinds.get(c["type"], pl.String) for c in job["columns"]}

    def read(folder):
        if job["to"] == "ndjson":
            return pl.read_ndjson(f"{folder}/data.ndjson", infer_schema_length=None)
        return pl.read_csv(f"{folder}/data.csv", schema_overrides=columns)

    left, right = read(ours), read(theirs)
    times = [c["name"] for c in job["columns"] if c["type"] == "timestamp"]
    read_time = pl.col(times).cast(pl.String).str.replace(" ", "T").str.to_datetime(time_unit="us")
    return frames(left.with_columns(read_time), right.with_columns(read_time))


def partitions():
    """Part by part; the order of a part's rows where the peer keeps it, too."""
    def read(folder):
        found = {}
        for path in sorted(glob.glob(f"{folder}/parts/**/*.parquet", recursive=True)):
            key = tuple(unquote(part) for part in path.split("/") if "=" in part)
            frame = pl.read_parquet(path, hive_partitioning=False).drop(job["partition"], strict=False)
            found[key] = pl.concat([found[key], frame]) if key in found else frame
        return found

    left, right = read(ours), read(theirs)
    if left.keys() != right.keys():
        raise Different(f"the parts are {sorted(left)}, the peer has {sorted(right)}")
    rows, note = 0, None
    for key, frame in left.items():
        try:
            rows += frames(frame, right[key])
        except Different:
            same_in_any_order(frame, right[key])
            rows += frame.height
            note = "the peer's parts are in another order"
    return rows, note


def tables():
    """Ours is typed; what SQLite's shell imports is text, and is cast to our types."""
    db = sqlite3.connect(f"file:{ours}/data.db?mode=ro", uri=True)
    db.execute("attach ? as peer", (f"{theirs}/data.db",))
    (rows,) = db.execute("select count(*) from main.data").fetchone()
    (others,) = db.execute("select count(*) from peer.data").fetchone()
    if rows != others:
        raise Different(f"{rows} rows, the peer has {others}")
    for column in job["columns"]:
        name = '"' + column["name"] + '"'
        value = f"nullif(b.{name}, '')"
        value = f"b.{name}" if typed else {
            "int": f"cast({value} as integer)",
            "double": f"cast({value} as real)",
            "bool": f"({value} = 'true')",
        }.get(column["type"], value)
        mine = f"a.{name}"
        if column["type"] == "timestamp":
            mine, value = f"datetime({mine})", f"datetime({value})"
        differs = f"{mine} is not {value}"
        if column["type"] == "double":  # SQLite reads the last digit of long numbers differently
            differs = f"({differs} and not coalesce(abs({mine} - {value}) <= 1e-15 * abs({mine}), false))"
        query = f"select count(*), min(a.rowid) from main.data a join peer.data b on a.rowid = b.rowid where {differs}"
        count, at = db.execute(query).fetchone()
        if count:
            raise Different(f"{count} values of {name} differ, first in row {at}")
    return rows


answer = {"rows": 0, "problem": None, "note": None}
try:
    if job["workload"] == "w1":
        answer["rows"], answer["note"] = parquet()
        found = f"{rejects(in_order=answer['note'] is None)} rejects"
        answer["note"] = f"{found}; {answer['note']}" if answer["note"] else found
    elif job["workload"] == "w4":
        answer["rows"], answer["note"] = partitions()
    elif job["workload"] == "w6":
        answer["rows"] = tables()
    elif job["to"] == "parquet":
        answer["rows"], answer["note"] = parquet()
    else:
        answer["rows"] = text()
except Different as problem:
    answer["problem"] = str(problem)
print(json.dumps(answer))
