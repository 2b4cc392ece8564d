"""Columns of data sets: a caption stays with its picture, whatever holds the two, and conditions are made of it."""

import re

import numpy as np
import pytest
from data_for_tests import SPECS, lay_out, write_hub, write_idx
from pictures_for_tests import noise, write_folder, write_zip

from ablate.api import InputError
from ablate.discovery.catalog import catalog
from ablate.kinds.data import Data, describe_data, image_setting, load_data
from ablate.spec.slots import create

COUNT, HELD = 24, 8
TEXT = {"type": "text", "length": 16}


def made(data_type, path, column="caption", **more):
    conditions = [{**TEXT, "column": column}, {"type": "scalars", "columns": ["number"]}]
    spec = {"type": data_type, "path": str(path), "reference": HELD, "conditions": conditions, **more}
    return create(Data, spec, catalog())


def plain(data):
    return data.model_copy(update={"conditions": ()})


def holders(place):
    """One set of pictures with captions, in each form that data come in."""
    images, numbers = noise(COUNT), np.arange(COUNT) * 1.5
    names, captions = [f"{i}.png" for i in range(COUNT)], [f"picture {i}" for i in range(COUNT)]
    table = "file_name,number\n" + "".join(f"{n},{v}\n" for n, v in zip(names, numbers, strict=True))
    folder = write_folder(place / "folder", images, names)
    (folder / "metadata.csv").write_text(table)
    for name, caption in zip(names, captions, strict=True):
        (folder / name).with_suffix(".txt").write_text(caption)
    more = [("metadata.csv", table), *((n.replace("png", "txt"), c) for n, c in zip(names, captions, strict=True))]
    np.savez(place / "set.npz", images.transpose(0, 2, 3, 1), caption=np.array(captions), number=numbers)
    yield made("folder", folder, labels="none")
    yield made("zip", write_zip(place / "set.zip", images, names=names, more=more))
    yield made("npz", place / "set.npz")
    yield made(
        "hub", write_hub(place / "hub", images, None, columns={"caption": captions, "number": numbers}), label=None
    )


def texts(tokens):
    return [bytes(row[row >= 0].astype(np.uint8)).decode() for row in tokens]


def test_a_caption_stays_with_its_picture_in_both_parts_and_every_form(tmp_path):
    images, seen = noise(COUNT), []
    for data in holders(tmp_path):
        loaded = load_data(data, tmp_path / "cache")
        for pictures, caption, number in (
            (loaded.images, loaded.conditions[0].training, loaded.conditions[1].training),
            (loaded.reference_images, loaded.conditions[0].reference, loaded.conditions[1].reference),
        ):
            for picture, text, value in zip(pictures, texts(caption), number, strict=True):
                i = int(text.removeprefix("picture "))
                assert np.array_equal(picture, images[i]) and value == [np.float32(1.5 * i)]
        assert len(loaded.reference_images) == HELD and len(loaded.images) == COUNT - HELD
        without = plain(data).load(tmp_path / "cache")
        assert (
            without.columns == {} == without.reference_columns
            and load_data(plain(data), tmp_path / "cache").hash == without.hash
        )
        seen.append((without.hash, loaded.hash))
        assert "conditions: text (16 tokens of 256), scalars (1 number)" in describe_data(data, tmp_path / "cache")
    assert len(set(seen)) == 1 and seen[0][0] != seen[0][1]  # one set is one set, with its captions another one


def test_the_hash_of_data_without_conditions_is_that_of_before(tmp_path):
    """It is frozen in the locks of studies: computed here as the version before did."""
    from ablate_zoo.data._store import content_hash

    path = write_folder(tmp_path / "set", noise(COUNT), [f"{'abc'[i % 3]}/{i}.png" for i in range(COUNT)])
    loaded = create(
        Data, {"type": "folder", "path": str(path), "labels": "folders", "reference": HELD}, catalog()
    ).load(tmp_path / "cache")
    parts = (loaded.images, loaded.labels, loaded.reference_images, loaded.reference_labels)
    assert loaded.hash == content_hash(*parts)
    assert (
        create(Data, {"type": "digits"}, catalog()).digest()
        == create(Data, {"type": "digits", "conditions": []}, catalog()).digest()
    )


def test_a_caption_that_changes_is_read_anew_and_no_picture_with_it(tmp_path):
    data = next(holders(tmp_path))
    before = load_data(data, tmp_path / "cache")
    (cached,) = (p for p in (tmp_path / "cache" / "data").iterdir() if p.is_dir())
    (tmp_path / "folder" / "3.txt").write_text("a unicorn")
    after = load_data(data, tmp_path / "cache")
    assert "a unicorn" in texts(after.conditions[0].training) + texts(after.conditions[0].reference)
    assert after.hash != before.hash
    assert [p for p in (tmp_path / "cache" / "data").iterdir() if p.is_dir()] == [cached]


def test_a_picture_without_a_caption_is_told_by_name_or_dropped_where_that_is_said(tmp_path):
    data = next(holders(tmp_path))
    (tmp_path / "folder" / "5.txt").unlink()
    (tmp_path / "folder" / "7.txt").write_text(" \n")
    with pytest.raises(
        InputError, match=r"of \d+ images ha(s|ve) no 'caption', such as [57].png; give each one, or say missing: drop"
    ):
        load_data(data, tmp_path / "cache")
    dropping = made("folder", tmp_path / "folder", labels="none")
    text = create(
        Data, {**dropping.spec(), "conditions": [{**TEXT, "column": "caption", "missing": "drop"}]}, catalog()
    )
    loaded = load_data(text, tmp_path / "cache")
    (stored,) = loaded.conditions
    import torch

    lacking = []
    for rows, pictures in ((stored.training, loaded.images), (stored.reference, loaded.reference_images)):
        told = stored.condition.tell(
            torch.from_numpy(rows), torch.from_numpy(pictures.astype(np.float32)), lambda s: None
        )
        lacking += [p.tobytes() for p, there in zip(pictures, told.present.tolist(), strict=True) if not there]
        assert not told.mask[~told.present].any() and told.mask[told.present].any(1).all()
    assert set(lacking) == {noise(COUNT)[i].tobytes() for i in (5, 7)}
    (tmp_path / "folder" / "metadata.csv").write_text("file_name,number\n2.png,1\n")
    for i in (5, 7):
        (tmp_path / "folder" / f"{i}.txt").write_text("here again")
    with pytest.raises(InputError, match=r"1[56] of 16 images have no 'number', such as \d+.png; give each one"):
        load_data(data, tmp_path / "cache")


def test_names_of_classes_are_a_column_of_labelled_data(tmp_path):
    lay_out("data")
    (tmp_path / "saved").mkdir()
    write_idx(tmp_path / "idx", noise(COUNT, channels=1)[:, 0], [i % 3 for i in range(COUNT)])
    numbers, letters = {"0", "1", "2"}, {"class0", "class1", "class2"}
    cases = [
        (SPECS["data/folder"], letters),
        (SPECS["data/zip"], numbers),
        ({"path": str(tmp_path / "idx"), "reference": 8}, numbers),
        (SPECS["data/hub"], numbers),
        ({}, {str(i) for i in range(10)}),
    ]
    for data_type, (spec, names) in zip(("folder", "zip", "idx", "hub", "digits"), cases, strict=True):
        data = create(Data, {"type": data_type, **spec, "conditions": [TEXT]}, catalog())
        loaded = load_data(data, tmp_path / "cache")
        (stored,) = loaded.conditions
        words = data.class_names() or [str(i) for i in range(loaded.classes)]
        assert texts(stored.training) == [words[label] for label in loaded.labels]
        assert texts(stored.reference) == [words[label] for label in loaded.reference_labels]
        assert set(texts(stored.training)) == names


def test_latents_are_told_the_names_of_their_classes_and_made_once(tmp_path):
    lay_out("data")
    spec = {"type": "latents", **SPECS["data/latents"]}
    plain_data = create(Data, spec, catalog())
    told = create(Data, {**spec, "conditions": [TEXT]}, catalog())
    one, other = load_data(plain_data, tmp_path / "cache"), load_data(told, tmp_path / "cache")
    assert np.array_equal(one.images, other.images) and one.hash != other.hash
    assert len([p for p in (tmp_path / "cache" / "data").iterdir() if p.is_dir()]) == 1
    assert image_setting(told).conditions[0].shape == (16,)


def test_a_column_that_went_while_the_data_were_read_is_told(tmp_path, monkeypatch):
    data = next(holders(tmp_path))
    columns = dict(data.columns())
    monkeypatch.setattr(type(data), "columns", lambda self: {**columns, "gone": str})
    with pytest.raises(InputError, match="no values in column 'gone': have they changed"):
        load_data(data, tmp_path / "cache")


def test_a_tokenizer_gives_the_numbers_and_pads_and_cuts_nothing_by_itself(tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"?": 0, "picture": 1, "seven": 2, "of": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_padding(length=9, pad_id=0)
    tokenizer.enable_truncation(1)
    tokenizer.save(str(tmp_path / "words.json"))
    condition = {"type": "text", "column": "caption", "length": 3, "tokenizer": str(tmp_path / "words.json")}
    made_of = create(Data, {**next(holders(tmp_path)).spec(), "conditions": [condition]}, catalog())
    (tmp_path / "folder" / "7.txt").write_text("picture of seven picture")
    assert image_setting(made_of).conditions[0].count == 4
    loaded = load_data(made_of, tmp_path / "cache")
    rows = {tuple(row) for row in np.concatenate([loaded.conditions[0].training, loaded.conditions[0].reference])}
    assert rows == {(1, 0, -1), (1, 3, 2)}  # an unknown word; a text of four, cut to three
    assert any("texts are cut to 3 tokens; the longest has 4" in one for one in loaded.remarks) == (
        [1, 3, 2] in loaded.conditions[0].training.tolist()
    )


def test_texts_that_are_cut_are_told(tmp_path):
    data = next(holders(tmp_path))
    short = data.model_copy(update={"conditions": (data.conditions[0].model_copy(update={"length": 9}),)})
    assert load_data(data, tmp_path / "cache").remarks == ()
    (remark,) = load_data(short, tmp_path / "cache").remarks
    assert re.fullmatch(r"condition 'text': (\d+) of 16 texts are cut to 9 tokens; the longest has 10", remark)
