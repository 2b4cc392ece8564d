"""A driver to be killed: two busy jobs on an executor until a signal. `driver_for_tests.py EXECUTOR FOLDER WHAT`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from ablate.execute.local import Local
from ablate.execute.ray import Ray


def main(executor: str, folder: str, do: str) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as `ablate run` does
    chosen = Ray(workers=2) if executor == "ray" else Local()
    with chosen.start("work_for_tests:work", "cpu") as pool:
        try:
            for i in range(pool.slots):
                Path(folder, str(i)).mkdir()
                pool.submit(
                    {"job": str(i), "do": do, "seconds": 1e6, "file": f"{folder}/{i}.pid", "folder": f"{folder}/{i}"}
                )
            while True:
                for report in pool.wait(0.25):
                    print(report, flush=True)
        except KeyboardInterrupt:
            Path(folder, "interrupted").touch()
            return 130


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
