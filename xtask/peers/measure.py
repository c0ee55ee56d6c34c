"""Runs a command and says what it took: `measure.py COMMAND…`.

Prints one JSON object: status, seconds, cpu (user + system), peak (bytes), and what the command
printed. The kernel counts; nothing is sampled.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

start = time.perf_counter()
errors = tempfile.TemporaryFile()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=errors)
printed = child.stdout.read()
_, status, used = os.wait4(child.pid, 0)
seconds = time.perf_counter() - start
child.returncode = os.waitstatus_to_exitcode(status)
errors.seek(0)
unit = 1 if sys.platform == "darwin" else 1024
print(
    json.dumps(
        {
            "status": child.returncode,
            "seconds": seconds,
            "cpu": used.ru_utime + used.ru_stime,
            "peak": used.ru_maxrss * unit,
            "printed": printed.decode(errors="replace"),
            "errors": errors.read().decode(errors="replace"),
        }
    )
)
