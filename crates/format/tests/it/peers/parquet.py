"""Reads two Parquet files of the same records with pyarrow, Polars and DuckDB.

Each tool must see the same in both, and must find in the first all that it finds in memory: it
leaves out row groups and pages by their statistics. Prints how often it looked for something;
ends with the name of a tool and a column where something is wrong.
"""

import operator
import sys

import duckdb
import polars
import pyarrow
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet
from polars.testing import assert_frame_equal

ours, theirs = sys.argv[1:]


def check(holds, *what):
    if not holds:
        sys.exit(" ".join(map(str, what)))


def bits(column):
    """Floats by their bits, since NaN is not equal to itself."""
    widths = {pyarrow.float32(): pyarrow.int32(), pyarrow.float64(): pyarrow.int64()}
    column = column.combine_chunks()
    return column.view(widths[column.type]) if column.type in widths else column


def has_nan(column):
    is_float = pyarrow.types.is_floating(column.type)
    return is_float and pyarrow.compute.any(pyarrow.compute.is_nan(column)).as_py()


def same(tool, a, b):
    check(a.schema == b.schema, f"{tool}: {a.schema} is not {b.schema}")
    for name in b.column_names:
        check(bits(a[name]).equals(bits(b[name])), f"{tool}: `{name}` has other values")


table = pyarrow.parquet.read_table(theirs)
same("pyarrow", pyarrow.parquet.read_table(ours), table)

frame = polars.read_parquet(theirs)
assert_frame_equal(polars.read_parquet(ours), frame, check_exact=True)

con = duckdb.connect()
con.execute(f"create table theirs as select * from read_parquet('{theirs}')")
con.execute(f"create view ours as select * from read_parquet('{ours}')")
same("duckdb", *(con.sql(f"from {name}").to_arrow_table() for name in ("ours", "theirs")))

looked = 0
dataset = pyarrow.dataset.dataset(ours)
lazy = polars.scan_parquet(ours)
for name in table.column_names:
    column = table[name]
    if pyarrow.types.is_nested(column.type):
        continue
    for row in {0, len(column) // 3, len(column) - 1}:
        value = column[row] if len(column) else None
        if value is None or not value.is_valid or value.as_py() != value.as_py():
            continue
        plain = value.as_py()
        for sign, compare in (("=", operator.eq), (">=", operator.ge), ("<=", operator.le)):
            if sign != "=" and has_nan(column):
                continue  # Statistics leave NaN out, and each tool orders it in its own way.
            kernel = {"=": "equal", ">=": "greater_equal", "<=": "less_equal"}[sign]
            there = pyarrow.compute.sum(getattr(pyarrow.compute, kernel)(column, value)).as_py()
            found = dataset.count_rows(filter=compare(pyarrow.dataset.field(name), value))
            check(found == there, f"pyarrow: `{name}` {sign} {plain}: {found} of {there}")

            test = compare(polars.col(name), polars.lit(plain, dtype=frame.schema[name]))
            there = frame.filter(test).height
            found = lazy.filter(test).select(polars.len()).collect().item()
            check(found == there, f"polars: `{name}` {sign} {plain}: {found} of {there}")

            query = f'select count(*) from {{}} where "{name}" {sign} ?'
            there, found = (
                con.execute(query.format(of), [plain]).fetchone()[0] for of in ("theirs", "ours")
            )
            check(found == there, f"duckdb: `{name}` {sign} {plain}: {found} of {there}")
            looked += 1
print(looked)
