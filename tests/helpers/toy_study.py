"""A valid study of toy components, for tests to bend."""

from __future__ import annotations

from pathlib import Path

PLUGIN = Path(__file__).with_name("plugin_for_tests.py")

TEXT = f"""\
# how does a condition enter?
study: toy_conditioning
question: Which?
plugins: [{PLUGIN}]
data:
  type: toy
  size: 8
base:
  backbone:
    type: toy_tokens
    width: 8
    depth: 2
    conditioning:
      type: toy_scale
      gain: 2.0
  schedule: linear
  optimizer:
    type: adamw
    lr: 1e-3
  guidance: {{type: cfg, scale: 1.5, drop: 0.1}}
  batch: 16
vary:
  backbone.conditioning: [toy_scale, toy_shift]
  backbone.width:
    - 8
    - 16
design: {{type: toy_one_factor, seeds: 2}}
budget: {{images: 3_200}}
evaluate:
  samples: 200
  batch: 50
objectives: [loss, gflops]
seed: 3
profiles:
  big:
    budget.images: 64_000
    base.backbone.width: 16
"""


def written(folder: Path, text: str = TEXT, name: str = "study.yaml") -> Path:
    """The text as a file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def line_of(text: str, word: str) -> int:
    """The line, counted from 1, on which a word stands first."""
    return next(i for i, line in enumerate(text.splitlines(), 1) if word in line)
