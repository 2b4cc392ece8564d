"""The analysis is declared before the results, frozen with the first launch, and every look since is counted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from segments_for_tests import CACHE
from studies_for_tests import study
from toy_study import written

import ablate
from ablate.cli import main
from ablate.errors import InputError
from ablate.io.files import read_json, write_json
from ablate.io.sealed import sealed, unsealed
from ablate.results.verdict import verdict
from ablate.study import lock
from ablate.study.load import load_study


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))


def declared(tmp_path: Path, *options: str) -> dict:
    """The lock's analysis after a launch with these options in one folder."""
    loaded = load_study(written(tmp_path), options)
    lock.check(tmp_path / "out", loaded)
    lock.write(tmp_path / "out", loaded)
    return lock.read(tmp_path / "out")["analysis"]


def results_of(folder: Path, *seeds: int) -> None:
    """As if these seeds had results."""
    for seed in seeds:
        write_json(folder / "trials" / f"{'a' * 12}-s{seed}" / "record.json", {})


def test_it_changes_no_hash(tmp_path: Path) -> None:
    plain = load_study(written(tmp_path))
    other = load_study(written(tmp_path), ["analysis={test: welch, alpha: 0.01, delta: 0.3, scale: log}"])
    assert plain.study.digest() == other.study.digest()
    one, two = (loaded.trial_settings.digest(loaded.candidate(loaded.baseline)) for loaded in (plain, other))
    assert one == two


def test_it_is_free_until_there_are_results_and_frozen_then(tmp_path: Path) -> None:
    assert declared(tmp_path)["test"]["type"] == "two_way"
    assert declared(tmp_path, "analysis.test=welch", "analysis.delta=0.3")["delta"] == 0.3
    results_of(tmp_path / "out", 0)
    again = declared(tmp_path, "analysis.test=welch", "analysis.delta=0.3", "analysis.spread=2")  # that only plans
    assert again["test"]["type"] == "welch" and "after" not in again
    for change, told in (
        ("analysis.test=permutation", "analysis.test: welch -> permutation"),
        ("analysis.delta=0.4", "analysis.delta: 0.3 -> 0.4"),
        ("analysis.alpha=0.1", "analysis.alpha: 0.05 -> 0.1"),
    ):
        with pytest.raises(InputError, match=f"{told}.*who has seen them cannot choose the test"):
            declared(tmp_path, "analysis.test=welch", "analysis.delta=0.3", change)


def test_further_seeds_after_results_are_a_further_look(tmp_path: Path) -> None:
    assert declared(tmp_path, "design.seeds=2")["looks"] == [[0, 1]]
    assert declared(tmp_path, "design.seeds=3")["looks"] == [[0, 1, 2]], "nobody had seen anything"
    results_of(tmp_path / "out", 0, 1, 2)
    assert declared(tmp_path, "design.seeds=3")["looks"] == [[0, 1, 2]], "an interrupted launch goes on"
    assert declared(tmp_path, "design.seeds=5")["looks"] == [[0, 1, 2], [0, 1, 2, 3, 4]]
    results_of(tmp_path / "out", 3, 4)
    looks = declared(tmp_path, "design.seeds=1", "design.first_seed=9")["looks"]
    assert looks[-1] == [0, 1, 2, 3, 4, 9]
    grown = load_study(written(tmp_path), ["design.seeds=12"])
    assert any("after a look at 3 and 5 and 6" in line for line in lock.check(tmp_path / "out", grown))


def test_one_seed_is_no_look(tmp_path: Path) -> None:
    declared(tmp_path, "design.seeds=1")
    results_of(tmp_path / "out", 0)
    assert declared(tmp_path, "design.seeds=3")["looks"] == [[0, 1, 2]]


def test_no_seed_comes_after_the_last_that_was_declared(tmp_path: Path) -> None:
    most = "analysis.most_seeds=3"
    declared(tmp_path, "design.seeds=3", most)
    results_of(tmp_path / "out", 0, 1, 2)
    with pytest.raises(InputError, match=r"3 seeds at the most.*--set design.first_seed=8 --out"):
        declared(tmp_path, "design.first_seed=5", "design.seeds=3", most)
    with pytest.raises(InputError, match=r"less than design.seeds \(4\)"):
        declared(tmp_path, "design.seeds=4", most)


def test_an_older_folder_declares_after_its_results_and_says_so(tmp_path: Path) -> None:
    declared(tmp_path, "design.seeds=2")
    file = tmp_path / "out" / "lock.json"
    locked = unsealed(read_json(file))
    del locked["analysis"]
    write_json(file, sealed(locked))
    results_of(tmp_path / "out", 0, 1)
    later = declared(tmp_path, "design.seeds=4")
    assert later["after"] == 2 and later["looks"] == [[0, 1], [0, 1, 2, 3]]
    assert declared(tmp_path, "design.seeds=4")["after"] == 2, "it is not forgotten"


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("analysis=welch", "analysis: expected a mapping, not 'welch'"),
        ("analysis.test=welsh", "there is no analysis 'welsh'; did you mean 'welch'"),
        ("analysis.tset=welch", "analysis has no field 'tset'; did you mean 'test'"),
        ("analysis.alpha=1", "analysis.alpha: input should be less than 1"),
        ("analysis.most_seeds=2", "is less than design.seeds (3)"),
        ("seeding={type: racing}\nanalysis.test=welch", "seeding 'racing' adds seeds while it looks"),
        ("seeding={type: racing}\nanalysis.scale=log", "on the plain scale: leave the scale out"),
    ],
)
def test_what_cannot_be_declared_is_told(tmp_path: Path, option: str, told: str) -> None:
    with pytest.raises(InputError) as raised:
        load_study(written(tmp_path), ["design.seeds=3", *option.split("\n")])
    assert told in str(raised.value)


HERE = {"type": "local", "in_process": True}


def test_a_run_that_grows_counts_its_looks_and_the_verdict_tells_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = study(vary={"backbone.width": [2, 4, 8]}, design={"type": "grid", "seeds": 2}, executor=HERE)
    folder = tmp_path / "results" / spec["study"]
    first = ablate.run(spec, out=folder, device="cpu", figures=False)
    assert first.declared.is_own and first.declared.looks == ((0, 1),)
    assert "declared beforehand." in verdict(first) and "ahead of time" not in verdict(first)
    alone = first.effects()
    assert alone["p_holm"].max() == pytest.approx(min(1.0, alone["p"].max() / 0.8)), "a fifth is kept for more seeds"
    grown = ablate.run(spec, out=folder, device="cpu", figures=False, **{"design.seeds": 3})
    assert grown.declared.looks == ((0, 1), (0, 1, 2)) and grown.declared.shares == pytest.approx([0.8, 0.16])
    effects = grown.effects()
    assert effects.attrs["looks"] == [2, 3] and "one looked at 2 and 3 seeds" in effects.attrs["assumptions"][-1]
    assert "One looked at 2 and 3 seeds, which p-values allow for." in verdict(grown)
    assert (effects["n"] == 3).all() and (effects["p_holm"] >= effects["p"]).all()
    other = grown.effects(test="permutation")
    assert not other.attrs["declared"] and other.attrs["test"] == "paired permutation test"

    file = tmp_path / "again.yaml"
    file.write_text(json.dumps(spec))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(file), "--effect", "0.5", "--device", "cpu"])
    assert ended.value.code in (0, None)
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "what the t-test in the two-way model (candidate + seed) finds at 0.05 over 2 comparisons, with a chance of 0.8"
        in told
    )
    assert f"(results/{spec['study']})" in told and re.search(r"difference \(\w+\) seeds trials work", told)


def test_an_effect_without_a_spread_is_refused_with_what_to_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "new.yaml"
    file.write_text(json.dumps(study(vary={"backbone.width": [2, 4]}, design={"type": "grid", "seeds": 3})))
    monkeypatch.chdir(tmp_path)

    def plan(*options: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["plan", str(file), "--device", "cpu", *options])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), " ".join((out + err).split())

    code, told = plan("--effect", "0.5")
    assert code == 2 and "say analysis.spread" in told
    code, told = plan()
    assert code == 0 and "difference (deviations) seeds trials work" in told
    code, told = plan("--effect", "0.5", "--set", "analysis.spread=0.1", "--set", "design.seeds=1")
    assert (
        code == 0 and "tells no difference from chance, however large" in told and re.search(r" work 0\.5 [234] ", told)
    )
    for asked in (("--effect", "-1"), ("--power", "1")):
        code, told = plan(*asked)
        assert code == 2 and f"error: {asked[0]}: " in told
