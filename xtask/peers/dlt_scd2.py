"""One load of a dimension by dlt: `dlt_scd2.py URL INPUT.csv STATE`, into `dlt.members`.

Rows go as Arrow, dlt's fastest way, with a hash of each row as its version. Prints the seconds and
CPU seconds of the work alone, as JSON; the import is not counted.
"""

import json
import os
import resource
import sys
import time

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt  # noqa: E402  its settings are read when it is imported
import pyarrow.csv as csv  # noqa: E402
from dlt.sources.helpers.transform import add_row_hash_to_table  # noqa: E402

url, path, state = sys.argv[1:]
begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)

scd2 = {"disposition": "merge", "strategy": "scd2", "row_version_column_name": "row_hash"}


@dlt.resource(name="members", write_disposition=scd2)
def members():
    yield csv.read_csv(path)


pipeline = dlt.pipeline(
    "bench",
    # It wants a password, also where the server does not.
    destination=dlt.destinations.postgres(
        url.replace("postgres://", "postgresql://", 1).replace("@", ":none@", 1)
    ),
    dataset_name="dlt",
    pipelines_dir=state,
)
pipeline.run(members().add_map(add_row_hash_to_table("row_hash")))

seconds, used = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"seconds": seconds, "cpu": cpu}))
