"""What is known of pictures beside their pixels: captions, tables, arrays, and their size before resizing."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures_for_tests import noise, png, write_folder, write_zip

from ablate.errors import InputError
from ablate.pictures import open_pictures
from ablate.pictures.resize import crop_offsets, resize

NAMES = [f"{'ab'[i % 2]}/{i}.png" for i in range(6)]
CAPTIONS = [f"number {i}, naïve" for i in range(6)]
ROWS = [{"file_name": f"{i}.png", "text": CAPTIONS[i], "score": i / 2, "seen": i % 3 == 0} for i in range(6)]


def read(pictures):
    """The columns' values, by the names of the pictures."""
    parts = list(pictures.read(4))
    values = pictures.values(np.concatenate([p.rows for p in parts]), np.concatenate([p.sizes for p in parts]))
    assert {n: str if v.dtype == object else float for n, v in values.items()} == pictures.columns()
    return {name: dict(zip(values["file"], column, strict=True)) for name, column in values.items()}


def tables(folder):
    """A csv in one sub-folder, a jsonl in the other, as imagefolder has them: names relative to each."""
    (folder / "a" / "metadata.csv").write_text(
        "file_name,text,score,seen\n"
        + "".join(f'{r["file_name"]},"{r["text"]}",{r["score"]},{r["seen"]}\n' for r in ROWS[::2])
    )
    lines = [json.dumps({**row, "boxes": [[1, 2]]}) for row in reversed(ROWS[1::2])]
    (folder / "b" / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def test_captions_and_tables_belong_to_their_pictures_in_a_folder_and_in_a_zip(tmp_path):
    folder = tables(write_folder(tmp_path / "set", noise(6), NAMES))
    for name, caption in zip(NAMES, CAPTIONS, strict=True):
        (folder / name).with_suffix(".txt").write_text(f"  {caption}\n")
    more = [(str(p.relative_to(folder)), p.read_bytes()) for p in folder.rglob("*.*") if p.suffix != ".png"]
    for path in (folder, write_zip(tmp_path / "set.zip", noise(6), names=NAMES, more=more)):
        pictures = open_pictures(path)
        assert not any("left out" in note for note in pictures.source.notes)
        values = read(pictures)
        assert values["caption"] == values["text"] == dict(zip(NAMES, CAPTIONS, strict=True))
        assert values["score"] == {name: i / 2 for i, name in enumerate(NAMES)}
        assert values["seen"] == {name: float(i % 3 == 0) for i, name in enumerate(NAMES)}
        assert "boxes" not in values  # neither text nor number


def test_what_is_missing_or_blank_is_none_and_no_number(tmp_path):
    folder = write_folder(tmp_path / "set", noise(4), ["0.png", "1.png", "2.png", "3.png"])
    (folder / "metadata.csv").write_text("file_name,text,score\n0.png,NA,1\n1.png,,2\n2.png,  ,\n")
    (folder / "0.txt").write_text("null")
    (folder / "1.txt").write_text(" \n")
    values = read(open_pictures(folder))
    assert list(values["text"].values()) == ["NA", None, None, None]  # a word that pandas takes for nothing
    assert list(values["caption"].values()) == ["null", None, None, None]
    assert np.array_equal(list(values["score"].values()), [1, 2, np.nan, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("name,text\n0.png,x\n", "no column 'file_name'.*only name, text"),
        ("file_name,text\n0.png,x\n0.png,y\n", "1 rows are of a picture that has one already, such as 0.png"),
        ("file_name,text\nimages/0.png,x\n", "no row is of a picture here .file_name of the first: images/0.png"),
        ("", "no table can be read here"),
        ("file_name,caption\n0.png,x\n", "a column 'caption', and there are captions in .txt files"),
    ],
)
def test_a_table_that_is_none_is_told_when_it_is_asked_for(tmp_path, table, told):
    folder = write_folder(tmp_path / "set", noise(4), ["0.png", "1.png", "2.png", "3.png"])
    (folder / "metadata.csv").write_text(table)
    (folder / "0.txt").write_text("a caption")
    assert len(open_pictures(folder)) == 4  # who wants pictures alone is not bothered
    with pytest.raises(InputError, match=told):
        open_pictures(folder).columns()


def test_a_caption_that_is_no_text_is_told(tmp_path):
    folder = write_folder(tmp_path / "set", noise(2), ["0.png", "1.png"])
    for content, told in ((b"\xff\xfe\x00", "no UTF-8"), (b"x" * (2**20 + 1), "a caption of 1024 KiB")):
        (folder / "0.txt").write_bytes(content)
        with pytest.raises(InputError, match=f"{told}.*" if "KiB" in told else told):
            read(open_pictures(folder))


def test_arrays_of_numbers_and_strings_are_columns(tmp_path):
    more = {"text": np.array(["ä", "", "c"] * 2), "score": np.arange(6), "raw": np.array([b"x"] * 6), "two": noise(6)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "set.npz", noise(6).transpose(0, 2, 3, 1), np.arange(6) % 2, **more)
        pictures = open_pictures(tmp_path / "set.npz")
        assert pictures.source.notes == ["left out: array two"]
        values = read(pictures)
        assert list(values["text"].values()) == ["ä", None, "c"] * 2 and set(values["raw"].values()) == {"x"}
        assert list(values["score"].values()) == [0, 1, 2, 3, 4, 5]
    np.savez(tmp_path / "bad.npz", noise(2).transpose(0, 2, 3, 1), name=np.array([b"\xff", b"x"]))
    with pytest.raises(InputError, match="'name' holds text that is no UTF-8"):
        read(open_pictures(tmp_path / "bad.npz"))


@given(st.integers(4, 70), st.integers(4, 70), st.integers(4, 24))
def test_the_square_is_cut_out_where_it_is_told(height, width, size):
    """Of a picture whose brightness is its column, or its row, the cut shows where it begins."""
    top, left = crop_offsets(height, width, size)
    for side, begin, shape in ((height, top, (-1, 1)), (width, left, (1, -1))):
        scaled = side * size / min(height, width)  # after scaling; a little less where halving rounds down
        pixels = np.broadcast_to(np.linspace(0, 255, side).reshape(shape), (height, width)).astype(np.uint8)
        cut = resize(pixels[None], size, "centre_crop")[0].astype(float)
        found = cut.mean() / 255 * scaled - size / 2  # the middle of the cut, less half its side
        assert abs(found - begin) <= 2.5, (height, width, size, found, begin)


def test_sizes_before_resizing_are_told(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for name, (height, width) in {"tall.png": (40, 20), "wide.png": (16, 64), "square.png": (8, 8)}.items():
        (folder / name).write_bytes(png(noise(1, size=max(height, width))[0][:, :height, :width]))
    (folder / "broken.png").write_bytes(b"no picture")
    values = read(open_pictures(folder, size=8, skip_corrupt=True))
    assert values["width"] == {"tall.png": 20, "wide.png": 64, "square.png": 8}
    assert values["height"] == {"tall.png": 40, "wide.png": 16, "square.png": 8}
    assert values["crop_top"] == {"tall.png": 4, "wide.png": 0, "square.png": 0}
    assert values["crop_left"] == {"tall.png": 0, "wide.png": 12, "square.png": 0}
    assert "crop_top" not in open_pictures(folder, size=8, rule="stretch", skip_corrupt=True).columns()
    (folder / "metadata.csv").write_text("file_name,width\ntall.png,2000\nwide.png,6400\nsquare.png,800\n")
    larger = read(open_pictures(folder, size=8, skip_corrupt=True))
    assert larger["width"]["wide.png"] == 6400  # of an original that was larger: the table's own comes first
