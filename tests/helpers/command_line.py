"""The command line as a user calls it, and a study that takes a blink."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE = 550.0  # seconds: longer than anything takes on a busy machine, shorter than what ends a test
CACHE = Path(tempfile.gettempdir()) / f"ablate-tests-{os.getuid()}"

LOCAL = ("--executor", "local", "--device", "cpu")
# One process, which starts sooner; no figures, which take longer than such a study.
HERE_ALONE = (*LOCAL, "--no-figures", "--set", "executor={type: local, in_process: true}")

STUDY = """\
study: tiny
question: Does the width matter?
plugins: [tiny.py]
data: digits
base: {backbone: tiny, batch: 32}
vary:
  backbone.width: [4, 8]
design: one_factor
budget: {images: 320}
evaluate: {metrics: [{type: kid, features: pixels}], samples: 32, batch: 32, previews: 4}
objectives: [kid, gflops]
"""


def environment(**more):
    """This process's environment without what changes a terminal, on one thread."""
    changes = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    kept = {name: value for name, value in os.environ.items() if name not in changes}
    return {**kept, "OMP_NUM_THREADS": "1", "TERM": "xterm-256color", "ABLATE_CACHE": str(CACHE), **more}


def words(*given):
    return [sys.executable, "-m", "ablate.cli", *map(str, given)]


def ablate(*given, cwd=None, **more):
    """The command line in a process of its own."""
    return subprocess.run(
        words(*given), cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def lay_out(folder, study=STUDY):
    """Put the study and its plugin into a folder; the study's file."""
    shutil.copy(HERE / "plugins" / "tiny.py", folder)
    file = folder / "tiny.yaml"
    file.write_text(study)
    return file
