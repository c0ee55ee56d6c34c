"""A table of PostgreSQL as a Parquet file, by Polars.

`read_postgres.py read ENGINE URL OUTPUT` reads `ours`, and prints the seconds and CPU seconds of the
work alone, as JSON; the import is not counted. `read_postgres.py compare OURS THEIRS` fails where
two such files differ: rows, order, values.
"""

import json
import resource
import sys
import time

import polars as pl
import polars.testing

if sys.argv[1] == "compare":
    ours, theirs = (pl.read_parquet(path) for path in sys.argv[2:])
    polars.testing.assert_frame_equal(ours, theirs.cast(ours.schema), check_exact=True)
    sys.exit()

engine, url, output = sys.argv[2:]
if engine == "adbc":
    import adbc_driver_postgresql.dbapi  # noqa: F401  Polars imports it when it reads
else:
    import connectorx  # noqa: F401

begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
url = url.replace("postgres://", "postgresql://", 1)
frame = pl.read_database_uri("select * from ours", url, engine=engine)
frame.write_parquet(output, compression="snappy")
seconds, used = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"seconds": seconds, "cpu": cpu}))
