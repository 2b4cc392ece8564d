"""A study whose data have conditions: what does not fit is told when it is read, what fits is planned and measured."""

from __future__ import annotations

import re

import pytest
from data_for_tests import SPECS, lay_out
from pictures_for_tests import noise, write_folder

import ablate
from ablate.candidates.candidate import compose
from ablate.discovery.catalog import catalog
from ablate.errors import InputError
from ablate.spec.inputs import ConditionSpec
from ablate.study.load import load_study
from ablate.study.request import _untrained

DIT = {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2}


def study(data, guidance="none", embedders=("tokens",), **evaluate):
    return {
        "study": "told",
        "data": data,
        "base": {
            "backbone": {**DIT, "embedders": list(embedders)},
            "guidance": guidance,
            "batch": 16,
            "solver": {"steps": 2},
        },
        "vary": {"backbone.conditioning": ["adaln_zero", "cross_attention"]},
        "budget": {"images": 32},
        "evaluate": {"samples": 8, "previews": 4, **evaluate},
        "objectives": ["loss"],
        "executor": {"type": "local", "in_process": True},
    }


def digits(*conditions):
    return {"type": "digits", "conditions": list(conditions)}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (study(digits("text"), embedders=()), "'dit' does not read the condition 'text'"),
        (study(digits()), "embeds a condition that is text, and there is none"),
        (study(digits("text", "text")), "data: two conditions are called 'text'; give one of them another name"),
        (study(digits({"type": "text", "called": "class"})), "two conditions are called 'class'"),
        (study(digits({"type": "text", "column": "caption"})), "the data have no text 'caption' (there is: class)"),
        (
            study(digits({"type": "scalars", "columns": ["width"]})),
            "the data have no numbers 'width' (there are: none)",
        ),
        (study(digits({"type": "text", "tokenizer": "x.json"})), "x.json: no tokenizer can be read here"),
        (study(digits("text"), {"type": "cfg", "of": ["txt"]}), "no condition 'txt' to guide by; there is class, text"),
        (study(digits("text"), labels="random"), "evaluate.labels: samples are drawn for the conditions of pictures"),
        (study(digits({"type": "low_resolution", "factor": 3}), embedders=["channels"]), "3 does not divide 8×8"),
    ],
)
def test_what_does_not_fit_is_told_when_the_study_is_read(document, told):
    with pytest.raises(InputError) as caught:
        load_study(document)
    assert told in caught.value.at_command_line() and "\n" not in caught.value.at_command_line().strip()


def test_latents_have_no_pixels_to_make_a_condition_of():
    lay_out("data")
    lay_out("autoencoder")
    data = {"type": "latents", **SPECS["data/latents"], "conditions": ["inpainting"]}
    vae = {"type": "vae", **SPECS["autoencoder/vae"]}
    with pytest.raises(InputError, match="'inpainting' does not go with 'latents': it is made of pixels"):
        load_study(study(data, embedders=["channels"], autoencoder=vae))


def test_captions_are_planned_and_trained_and_their_samples_measured_beside_the_reference(tmp_path):
    folder = write_folder(tmp_path / "set", noise(40, channels=1), [f"{i}.png" for i in range(40)])
    for i in range(40):
        (folder / f"{i}.txt").write_text(f"number {i}")
    data = {
        "type": "folder",
        "path": str(folder),
        "reference": 16,
        "conditions": [{"type": "text", "column": "caption"}],
    }
    document = study(data, {"type": "cfg", "drop": 0.1}, metrics=["kid"])
    frame = ablate.plan(document)
    assert "conditions: text (32 tokens of 256)" in frame.attrs["data"]
    results = ablate.run(document, out=tmp_path / "out", figures=False)
    assert results.states == {"complete": 2}
    assert set(results.metrics["labels"]) == {"reference"}
    (told, other) = ((tmp_path / "out" / "trials" / t / "samples.json").read_text() for t in results.trials["trial"])
    assert told == other and len(re.findall(r'"caption": "number \d+"', told)) == 4
    (folder / "3.txt").write_text("another caption")
    with pytest.raises(InputError, match="the data are others than complete trials were trained on"):
        ablate.run(document, out=tmp_path / "out", figures=False)


def test_a_network_is_sampled_only_without_what_it_was_trained_to_do_without():
    setting = load_study(study(digits("text"))).trial_settings.setting
    assert ConditionSpec("text", "text", (32,), 256) in setting.conditions

    def guidance(**fields):
        return compose({"backbone": DIT, "guidance": {"type": "cfg", **fields}}, catalog()).drops()

    together, each = guidance(drop=0.1), guidance(drop=0.1, drop_each=0.1)
    assert _untrained(guidance(drop=0.1, scale=4.0), together, setting) is None
    assert _untrained(guidance(drop=0.1, of=["text", "class"]), together, setting) is None
    assert "to do without text alone" in _untrained(guidance(drop=0.1, of=["text"]), together, setting)
    assert _untrained(guidance(drop=0.1, drop_each=0.1, of=["text"]), each, setting) is None
    assert "cannot be changed" in _untrained(each, together, setting)
    only = guidance(drop=0.1, of=["text"])
    assert "to do without class, text alone" in _untrained(together, only, setting)
