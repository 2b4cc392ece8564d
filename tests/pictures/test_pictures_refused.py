"""Pictures in every way in which they can be wrong: damaged, mixed, mislabelled, or made to do harm."""

import json
import os
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures_for_tests import noise, png, whole, write_folder, write_zip

from ablate.errors import InputError
from ablate.pictures import open_pictures
from ablate.pictures.decode import Damaged, decode


def test_damaged_pictures_are_named_with_how_many_are_fine(tmp_path):
    folder = write_folder(tmp_path, noise())
    good = (folder / "00003.png").read_bytes()
    (folder / "00003.png").write_bytes(good[:-40])
    (folder / "00007.png").write_bytes(b"no picture at all")
    with pytest.raises(InputError, match=r"2 pictures cannot be read: 00003\.png .*00007\.png .*other 10 are fine"):
        whole(open_pictures(folder))
    pictures = open_pictures(folder, skip_corrupt=True)
    pixels, _ = whole(pictures)
    assert np.array_equal(pixels, np.delete(noise(), [3, 7], axis=0))
    assert sorted(pictures.skipped) == ["00003.png", "00007.png"]
    for i in range(2, 12):
        (folder / f"{i:05d}.png").write_bytes(b"")
    (folder / "00001.png").unlink()
    for skip in (False, True):
        with pytest.raises(InputError, match="there remain 1"):
            whole(open_pictures(folder, skip_corrupt=skip))


@pytest.mark.parametrize(
    ("other", "options", "message"),
    [
        (noise(channels=1), {}, r"b\.png is grey and a\.png is in colour; say colour"),
        (noise(size=9), {}, r"a\.png is 8×8 and b\.png is 9×9 pixels; give a size"),
        (noise(channels=1), {"colour": "rgb"}, None),
        (noise(channels=1), {"colour": "grey"}, None),
        (noise(size=9), {"size": 8}, None),
    ],
)
def test_mixtures_are_refused_unless_said_what_to_make_of_them(tmp_path, other, options, message):
    write_folder(tmp_path, [noise()[0], other[0]], ["a.png", "b.png"])
    pictures = open_pictures(tmp_path, **options)
    if message:
        with pytest.raises(InputError, match=message):
            whole(pictures)
    else:
        assert whole(pictures)[0].shape[1:] == pictures.shape()


def test_empty_single_missing_and_unknown_sources(tmp_path):
    cases = {
        "nothing": (tmp_path / "empty", "no picture below this folder, and nothing else"),
        "others": (tmp_path / "others", r"only other files \(2 \.txt\)"),
        "single": (write_folder(tmp_path / "single", noise(1)), "one picture alone"),
        "missing": (tmp_path / "singel", "did you mean 'single'"),
        "unknown": (tmp_path / "others" / "a.txt", "folder, a .zip, an .npz or an .npy"),
        "empty zip": (write_zip(tmp_path / "no.zip", []), "no picture in this archive"),
    }
    (tmp_path / "empty").mkdir()
    (tmp_path / "others").mkdir()
    for name in "ab":
        (tmp_path / "others" / f"{name}.txt").write_text("x")
    for path, message in cases.values():
        with pytest.raises(InputError, match=message):
            open_pictures(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"labels": [["00000/img00000000.png", 0]]}', "11 of 12 pictures have no label, such as 00000/img00000001"),
        ("more", "1 labels are of no picture, such as gone.png"),
        ("twice", "1 pictures have two labels"),
        ('{"labels": [["a", [0, 1]]]}', "a path and a class number"),
        ('{"labels": [["a", 1e999]]}', "a path and a class number"),
        ('{"labels": 3}', "a list"),
        ('{"classes": []}', "expected"),
        ("{", "expected"),
        ("[" * 100_000, "expected"),
        ("negative", "from -1 to 0"),
        ("large", "from 0 to 1000000000"),
    ],
)
def test_labels_that_do_not_match(tmp_path, text, message):
    table = [[f"{i // 5:05d}/img{i:08d}.png", 0] for i in range(12)]
    if text == "more":
        table.append(["gone.png", 0])
    elif text == "twice":
        table.append(table[0])
    elif text in ("negative", "large"):
        table[5][1] = -1 if text == "negative" else 10**9
    content = text if text[0] in "{[" else json.dumps({"labels": table})
    file = write_zip(tmp_path / "set.zip", noise(), more=[("dataset.json", content)])
    with pytest.raises(InputError, match=message):
        open_pictures(file)
    assert open_pictures(file, labels="none").labels is None


def test_zips_that_lead_out_or_unfold_without_bound_are_not_read(tmp_path):
    def zipped(name, *entries, kind=zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / name, "w", kind) as archive:
            for entry in entries:
                archive.writestr(*entry)
        return tmp_path / name

    good = png(noise()[0])
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    bomb = zipped("bomb.zip", ("a.png", good), ("b.bmp", bytes(2**25)))
    many = zipped("many.zip", *[(f"{i}.bmp", bytes(2**22)) for i in range(8)])
    shared = _overlapping(zipped("shared.zip", ("a.png", good), ("b.png", good), kind=zipfile.ZIP_STORED))
    cases = {
        zipped("up.zip", ("a.png", good), ("../../etc/b.png", good)): "'../../etc/b.png' in this archive leads out",
        zipped("root.zip", ("a.png", good), ("/tmp/b.png", good)): "leads out",
        zipped("back.zip", ("a.png", good), ("..\\b.png", good)): "leads out",
        zipped("link.zip", ("a.png", good), (link, "/etc/passwd")): "is a link",
        bomb: "b.bmp' in this archive is a decompression bomb",
        many: "a decompression bomb: [0-9]+ bytes would unfold into 33554432",
        shared: "a decompression bomb",
    }
    for file, message in cases.items():
        with pytest.raises(InputError, match=message):
            open_pictures(file)
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match="no zip archive"):
        open_pictures(tmp_path / "no.zip")


def _overlapping(file):
    """Both entries of the archive's directory point to the first, and claim more than the file holds."""
    with zipfile.ZipFile(file, "a") as archive:
        for entry in archive.infolist():
            entry.header_offset, entry.compress_size = 0, file.stat().st_size
            entry.file_size = entry.compress_size
        archive._didModify = True
    return file


def test_a_damaged_entry_of_a_zip_is_told_by_its_checksum(tmp_path):
    file = write_zip(tmp_path / "set.zip", noise())
    content = bytearray(file.read_bytes())
    content[content.index(b"IDAT") + 6] ^= 255
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"1 picture cannot be read: 00000/img00000000.png .*other 11"):
        whole(open_pictures(file))


def test_a_picture_that_unfolds_without_bound_is_not_unpacked(tmp_path):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    for side in (9_000, 60_000):  # the second is beyond what Pillow itself would open
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        with pytest.raises(Damaged), warnings.catch_warnings():
            warnings.simplefilter("error")
            decode(b"\x89PNG\r\n\x1a\n" + head + body)


@settings(max_examples=60)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]), st.data())
def test_damage_anywhere_is_a_picture_or_damaged_and_nothing_else(kind, data):
    content = bytearray(png(noise()[0], kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn of odd metadata
        try:
            pixels = decode(bytes(content[: data.draw(st.integers(0, len(content)))]))
        except Damaged as reason:
            assert str(reason)
        else:
            assert pixels.dtype == np.uint8 and pixels.ndim == 3


class Trap:
    """Unpickling it leaves a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_pickled_objects_are_not_loaded(tmp_path, save):
    mark = tmp_path / "sprung"
    objects = np.array([Trap(mark), 0], dtype=object)
    save(tmp_path / "a.npz", arr_0=objects)
    save(tmp_path / "b.npz", images=noise(), labels=objects)
    np.save(tmp_path / "c.npy", objects)
    for name in ("a.npz", "b.npz", "c.npy"):
        with pytest.raises(InputError, match="pickled objects, which could run code"):
            open_pictures(tmp_path / name)
    assert not mark.exists()
    np.load(tmp_path / "c.npy", allow_pickle=True)
    assert mark.exists()  # the trap would have sprung


def test_arrays_that_are_no_pictures_are_told(tmp_path):
    cases = {
        "statistics": ({"mu": np.zeros(3), "sigma": np.zeros((3, 3))}, "only mu, sigma"),
        "floats": ({"images": np.zeros((4, 8, 8, 3))}, "float64 .*quantise"),
        "channels": ({"images": np.zeros((4, 8, 8, 5), np.uint8)}, "C = 1 or 3"),
        "vector": ({"arr_0": np.zeros(4, np.uint8)}, "C = 1 or 3"),
        "labels": ({"images": noise(4), "labels": np.arange(5)}, r"4 pictures, and labels of shape \(5,\)"),
        "one-hot": ({"images": noise(4), "labels": np.eye(4)}, r"labels of shape \(4, 4\)"),
        "fractions": ({"images": noise(4), "labels": np.zeros(4)}, "labels are float64"),
        "one": ({"images": noise(1)}, "one picture alone"),
        "none": ({"images": noise(0)}, "one picture alone|no picture"),
    }
    for name, (arrays, message) in cases.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(InputError, match=message):
            open_pictures(tmp_path / f"{name}.npz")
    for name in ("a.npz", "a.npy"):
        (tmp_path / name).write_bytes(b"PK no numpy file")
        with pytest.raises(InputError, match="damaged"):
            open_pictures(tmp_path / name)
    np.save(tmp_path / "cut.npy", noise())
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        open_pictures(tmp_path / "cut.npy")


def test_links_that_lead_out_are_refused_and_others_counted_once(tmp_path):
    folder = write_folder(tmp_path / "set", noise())
    (folder / "again.png").symlink_to(folder / "00000.png")
    (folder / "round").symlink_to(folder)
    (tmp_path / "short").symlink_to(folder)
    assert len(open_pictures(folder)) == len(open_pictures(tmp_path / "short")) == 12
    for name, target in (("secret.png", "/etc/hostname"), ("elsewhere", tmp_path), ("gone.png", folder / "no.png")):
        (folder / name).symlink_to(target)
        with pytest.raises(InputError, match="leads out"):
            open_pictures(folder)
        (folder / name).unlink()
