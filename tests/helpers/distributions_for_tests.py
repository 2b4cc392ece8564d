"""Throw-away distributions: a folder that holds modules and hand-written metadata, put on the path."""

import os
import subprocess
import sys
from pathlib import Path

WEIGHTING = '''
from ablate.api import Weighting


class Twin(Weighting):
    """w = {weight} at every level."""

    name = "{name}"

    def weight(self, level, sigma_data):
        return level.alpha * 0 + {weight}
'''


def distribution(folder: Path, name: str, module: str, source: str, entry: str | None = None, version="1.2.3") -> None:
    """One module under one entry point, as pip would have left them."""
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[ablate]\n{entry or module} = {module}\n")
    (info / "RECORD").write_text("")


def ablate(*given, python=sys.executable, cwd=None, path=()):
    """The command line in a process of its own, with more folders on its path."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, path))}
    words = [str(python), "-m", "ablate.cli", *map(str, given)]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=550, check=False)
