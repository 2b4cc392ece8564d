"""Every mistake in a study file is told: at its line, all of them at once, and without torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import bent, load, refusal
from toy_study import PLUGIN, TEXT, line_of, written

from ablate.study.yaml import parse

CASES = [
    # what is written instead of what; the line that it is told at; the path and what is said of it
    (
        "depth: 2",
        "depht: 2",
        "depht",
        "base.backbone.depht: backbone 'toy_tokens' has no field 'depht'; did you mean 'depth'?",
    ),
    ("depth: 2", "depth: two", "depth", "base.backbone.depth: expected a whole number, not 'two'"),
    ("depth: 2", "depth: true", "depth", "base.backbone.depth: expected a number, not True"),
    ("depth: 2", "depth: 99", "depth", "base.backbone.depth: input should be less than or equal to 8, not 99"),
    ("gain: 2.0", "gain: .inf", "gain", "base.backbone.conditioning.gain: expected a finite number, not inf"),
    (
        "type: toy_tokens",
        "type: toy_token",
        "toy_token",
        "base.backbone.type: there is no backbone 'toy_token'; did you mean 'toy_tokens'?",
    ),
    (
        "schedule: linear",
        "schedule: linaer",
        "linaer",
        "base.schedule: there is no schedule 'linaer'; did you mean 'linear'?",
    ),
    ("type: toy\n", "tpye: toy\n", "tpye", "data.tpye: which data? Give its name as 'type', not as 'tpye'"),
    (
        "batch: 16",
        "batch: 16\n  bacth: 3",
        "bacth",
        "base.bacth: candidate has no field 'bacth'; did you mean 'batch'?",
    ),
    (
        "batch: 16",
        "batch: 16\n  conditioning: toy_scale",
        "conditioning: toy_scale",
        "base.conditioning: candidate has no field 'conditioning'; did you mean base.backbone.conditioning?",
    ),
    ("seed: 3", "sede: 3", "sede", "sede: study has no field 'sede'; did you mean 'seed'?"),
    ("seed: 3", "seed: -3", "seed: -3", "seed: input should be greater than or equal to 0, not -3"),
    ("study: toy_conditioning", "study: ../toy", "study", "study: names a folder below results/"),
    ("study: toy_conditioning", "study: 'a b'", "study", "study: names a folder below results/"),
    ("study: toy_conditioning", "study: ..", "study", "study: names a folder below results/"),
    (
        "images: 3_200",
        "images: 3_200, steps: 3",
        "budget",
        "budget: say exactly one of images, steps, train_gflops and minutes",
    ),
    ("images: 3_200", "imgaes: 3_200", "budget", "budget.imgaes: budget has no field 'imgaes'; did you mean 'images'?"),
    ("samples: 200", "samples: many", "samples", "evaluate.samples: expected a whole number, not 'many'"),
    (
        "samples: 200",
        "samples: 200\n  metrics: [kdi]",
        "kdi",
        "evaluate.metrics[0]: there is no metric 'kdi'; did you mean 'kid'?",
    ),
    (
        "[loss, gflops]",
        "[los, gflops]",
        "objectives",
        "objectives[0]: 'los' is neither measured here nor a cost; did you mean 'loss'?",
    ),
    ("[loss, gflops]", "[loss, loss]", "objectives", "objectives[1]: 'loss' stands twice"),
    (
        "toy_shift]",
        "toy_shfit]",
        "vary:\n",
        "vary.backbone.conditioning[1]: there is no conditioning 'toy_shfit'; did you mean 'toy_shift'?",
    ),
    (
        "toy_shift]",
        "toy_map_scale]",
        "vary:\n",
        "vary.backbone.conditioning[1]: conditioning 'toy_map_scale' needs 'feature_maps', which nothing here provides",
    ),
    ("    - 16", "    - 0", "    - 0", "vary.backbone.width[1]: input should be greater than or equal to 1, not 0"),
    (
        "backbone.width:",
        "backbone.widht:",
        "widht",
        "vary.backbone.widht: backbone 'toy_tokens' has no field 'widht'; did you mean 'width'?",
    ),
    (
        "backbone.width:",
        "schedule.width:",
        "schedule.width",
        "vary.schedule.width: schedule 'linear' has no field 'width'",
    ),
    (
        "    - 8\n    - 16",
        "    low: 1\n    hihg: 8",
        "hihg",
        "vary.backbone.width.hihg: a range has no 'hihg'; did you mean 'high'?",
    ),
    (
        "toy_one_factor, seeds: 2",
        "toy_one_factor, sedes: 2",
        "design",
        "design.sedes: design 'toy_one_factor' has no field 'sedes'; did you mean 'seeds'?",
    ),
    (
        "size: 8",
        "size: 8\n  labelled: false",
        "guidance",
        "base.guidance: guidance 'cfg' needs 'conditions', which nothing here provides",
    ),
    (
        "depth: 2",
        "depth: 2\n    patch: 3",
        "backbone:",
        "base.backbone: backbone 'toy_tokens': patch 3 does not divide 8 pixels; choose a divisor",
    ),
    (f"[{PLUGIN}]", "[gates.py]", "plugins", "plugins[0]: there is no plugin file"),
    ("vary:", "vary: 3\nseeed:", "vary", "vary: expected a mapping, not 3"),
]


@pytest.mark.parametrize(("old", "new", "at", "message"), CASES, ids=[new for _, new, _, _ in CASES])
def test_a_mistake_is_told_at_its_line(tmp_path: Path, old: str, new: str, at: str, message: str) -> None:
    text = bent(old, new)
    line = line_of(text, "vary:") + 1 if at == "vary:\n" else line_of(text, at)
    assert any(problem.startswith(f"study.yaml:{line}: {message}") for problem in refusal(tmp_path, text)), refusal(
        tmp_path, text
    )


def test_all_mistakes_come_in_one_message_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = bent("depth: 2", "depht: 2").replace("size: 8", "size: 3").replace("seed: 3", "seeed: 3")
    problems = refusal(tmp_path, text.replace("budget:", "budgte:"))
    assert [re.match(r"study\.yaml:(\d+): ([\w.]+)", line)[2] for line in problems] == [  # type: ignore[index]
        "budget", "data.size", "base.backbone.depht", "budgte", "seeed",
    ]  # fmt: skip
    good_base = bent("seed: 3", "seeed: 3").replace("backbone.width:", "backbone.widht:")
    assert len(refusal(tmp_path, good_base)) == 2  # vary is looked at even where another key is wrong


KEYS = [path for path in parse(TEXT, Path("x")).lines if path and isinstance(path[-1], str) and path[0] != "profiles"]


@settings(deadline=None)
@given(st.sampled_from(KEYS), st.data())
def test_any_misspelt_key_is_named_at_its_line(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[str, ...], data: st.DataObject
) -> None:
    key = path[-1]
    at = data.draw(st.integers(0, len(key) - 1))
    letter = data.draw(st.sampled_from("abcdexyz_"))
    word = data.draw(
        st.sampled_from([key[:at] + letter + key[at:], key[:at] + key[at + 1 :], key[:at] + letter + key[at + 1 :]])
    )
    if not re.fullmatch(r"[a-z][a-z_.]*[a-z_]", word) or word == key or ".." in word:
        return
    lines = TEXT.splitlines()
    number = parse(TEXT, Path("x")).lines[path]
    lines[number - 1] = re.sub(rf"\b{re.escape(key)}:", f"{word}:", lines[number - 1], count=1)
    problems = refusal(tmp_path_factory.mktemp("s"), "\n".join(lines) + "\n")
    assert any(line.startswith(f"study.yaml:{number}: ") and word in line for line in problems), problems


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "base.backbone.depht=3",
            "base.backbone.depht: backbone 'toy_tokens' has no field 'depht'; did you mean 'depth'?",
        ),
        ("base.backbone.depth=deep", "base.backbone.depth: expected a whole number, not 'deep'"),
        ("base.backbone.depth=1e23", "base.backbone.depth: 1e+23 is too large: a whole number has at most 64 bits"),
        (
            "base.backbone.conditioning=toy_scael",
            "base.backbone.conditioning: there is no conditioning 'toy_scael'; did you",
        ),
        ("vary.backbone.width=[8, 0]", "vary.backbone.width[1]: input should be greater than or equal to 1, not 0"),
        ("budgte.images=3", "budgte: study has no field 'budgte'; did you mean 'budget'?"),
        ("seeds=3", "seeds: study has no field 'seeds'; did you mean design.seeds?"),
        ("base.seeds=3", "base.seeds: candidate has no field 'seeds'; did you mean design.seeds?"),
        ("lr=3e-4", "lr: study has no field 'lr'; did you mean base.optimizer.lr?"),
        ("backbone.depth=3", "backbone: study has no field 'backbone'; did you mean base.backbone"),
        ("batch=3", "batch: study has no field 'batch'; did you mean base.batch or evaluate.batch?"),
        ("profiles.big=3", "the profiles of a study are not set, but chosen by --profile"),
        ("base.batch.size=3", "base.batch is 16, which has no 'size'; give it whole"),
        ("budget.images", "expected PATH=VALUE"),
        ("budget.images=[1", "expected ',' or ']'"),
    ],
)
def test_a_mistake_in_set_names_the_option(tmp_path: Path, override: str, message: str) -> None:
    assert refusal(tmp_path, TEXT, overrides=["seed=4", override])[0].startswith(f"--set {override}: {message}")


def test_a_mistake_in_a_profile_is_told_at_its_line(tmp_path: Path) -> None:
    text = bent("base.backbone.width: 16", "base.backbone.widht: 16")
    assert load(tmp_path, text).study  # not chosen, not read
    line = line_of(text, "base.backbone.widht")
    assert refusal(tmp_path, text, profile="big")[0].startswith(f"study.yaml:{line}: base.backbone.widht: ")
    assert refusal(tmp_path, TEXT, profile="bgi") == ["--profile bgi: there is no profile 'bgi'; did you mean 'big'?"]
    no_profiles = TEXT[: TEXT.index("profiles:")]
    assert refusal(tmp_path, no_profiles, profile="big") == [
        "--profile big: there is no profile 'big'; the study has none"
    ]


LIGHT = {
    "syntax": bent("data:", "data: {"),
    "top-level key": bent("seed:", "seeed:"),
    "plugin name": bent("toy_tokens", "toy_tokns"),
    "plugin file": bent(f"{PLUGIN}", "nowhere.py"),
    "component field": bent("depth:", "depht:"),
    "type": bent("depth: 2", "depth: two"),
    "range": bent("depth: 2", "depth: 0"),
    "vary": bent("backbone.width:", "backbone.widht:"),
    "pairing": bent("toy_shift]", "toy_map_scale]"),
}


def test_a_mistake_is_found_without_torch(tmp_path: Path) -> None:
    """One after the other in one process: what the last of them has imported, any of them has."""
    files = [str(written(tmp_path, text, f"{i}.yaml")) for i, text in enumerate(LIGHT.values())]
    code = (
        "import json, sys\nfrom ablate.study.load import load_study\nfrom ablate.errors import InputError\n"
        "told = []\n"
        f"for file in {files!r}:\n"
        "    try: load_study(file)\n"
        "    except InputError as error: told.append(str(error))\n"
        "    else: told.append('no error')\n"
        "    told[-1:] = [[told[-1], sorted({'torch', 'ray', 'optuna', 'pandas'} & set(sys.modules))]]\n"
        "print(json.dumps(told))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for mistake, file, (message, imported) in zip(LIGHT, files, json.loads(done.stdout), strict=True):
        assert file in message, mistake
        assert imported == [], mistake
