"""Throw-away distributions: a folder that holds modules and hand-written metadata, put on the path."""

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
