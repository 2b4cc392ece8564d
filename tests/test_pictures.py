"""Pictures from folders, zips and numpy files: the same pixels from each, and every way in which they can be wrong."""

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
from pictures_for_tests import noise, png, write_folder, write_zip
from PIL import Image

from ablate.errors import InputError
from ablate.pictures import open_pictures
from ablate.pictures.decode import Damaged, decode
from ablate.pictures.resize import recolour, resize

LABELS = [0, 1, 2] * 4


def whole(pictures):
    parts = list(pictures.batches(5))
    labels = [part[1] for part in parts]
    return np.concatenate([part[0] for part in parts]), None if labels[0] is None else np.concatenate(labels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", ["folder", "zip", "adm", "packed", "channels_first", "flat", "npy"])
def test_every_form_gives_the_same_pixels_and_labels(tmp_path, form, channels):
    images, labels, file = noise(channels=channels), np.array(LABELS), tmp_path / "set.npz"
    if form == "folder":
        file = write_folder(tmp_path / "set", images)
        table = [[f"{i:05d}.png", c] for i, c in enumerate(LABELS)]
        (file / "dataset.json").write_text(json.dumps({"labels": table}))
        (file / ".hidden.png").write_bytes(b"left by a file manager")
    elif form == "zip":
        file = write_zip(tmp_path / "set.zip", images, LABELS, more=[("__MACOSX/._a.png", b"")])
    elif form == "adm":
        np.savez(file, images.transpose(0, 2, 3, 1), labels)
    elif form == "packed":
        np.savez_compressed(file, images=images.transpose(0, 2, 3, 1), labels=labels[:, None])
    elif form == "channels_first":
        np.savez(file, images=np.asfortranarray(images), labels=labels.astype(np.uint8))
    elif form == "flat":
        np.savez(file, images=images[:, 0], labels=labels)
        images = images[:, :1]
    else:
        file, labels = tmp_path / "set.npy", None
        np.save(file, images)
    pictures = open_pictures(file)
    found, told = whole(pictures)
    assert len(pictures) == 12 and pictures.shape() == images.shape[1:]
    assert np.array_equal(found, images)
    assert told is None if labels is None else np.array_equal(told, labels) and told.dtype == np.int64
    assert pictures.classes == (None if labels is None else 3)


def test_sub_folders_are_classes_only_when_asked(tmp_path):
    names = [f"all/{'cat' if i % 3 else 'ant'}/deep/{i}.png" for i in range(12)]
    folder = write_folder(tmp_path, noise(), names)
    assert open_pictures(folder).labels is None
    pictures = open_pictures(folder, labels="folders")
    assert pictures.source.classes == ("ant", "cat") and pictures.classes == 2
    assert [pictures.source.names[i].split("/")[1] == "cat" for i in range(12)] == pictures.labels.astype(bool).tolist()
    (folder / "all" / "stray.png").write_bytes(png(noise()[0]))
    with pytest.raises(InputError, match=r"stray\.png lies in none"):
        open_pictures(folder, labels="folders")


def test_a_limit_takes_the_same_pictures_and_a_larger_one_takes_more(tmp_path):
    folder = write_folder(tmp_path, noise(30))
    small, large = (set(open_pictures(folder, limit=n).chosen.tolist()) for n in (5, 20))
    assert len(small) == 5 and small < large and small != set(range(5))
    assert len({open_pictures(folder, limit=n).stamp() for n in (5, 20, 20)}) == 2


def test_colour_and_depth(tmp_path):
    rgb = noise(channels=3)[0]
    image = Image.fromarray(rgb.transpose(1, 2, 0))
    grey = np.asarray(image.convert("L"))
    assert np.abs(recolour(rgb, "grey")[0].astype(int) - grey).max() <= 1  # Pillow's luma is in integers
    assert np.array_equal(recolour(grey[None], "rgb"), np.stack([grey] * 3))
    for mode in ("RGBA", "P", "LA", "1"):
        made = image.convert(mode)
        image_again = decode(_saved(made))
        assert np.array_equal(image_again[0], np.asarray(made.convert("RGB"))[..., 0]), mode
        assert len(image_again) == (1 if mode in ("LA", "1") else 3)
    clear = image.convert("RGBA")
    clear.putpixel((3, 3), (0, 0, 0, 254))
    deep = Image.fromarray(np.full((8, 8), 60_000, dtype=np.uint16))
    for bad, why in ((clear, "transparent"), (deep, "8 bits")):
        with pytest.raises(Damaged, match=why):
            decode(_saved(bad))


def _saved(image):
    import io

    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_centre_crop_cuts_the_middle_and_averages_blocks(factor):
    small = noise(size=8)[0]
    wide = np.concatenate([np.zeros((3, 8, 3), np.uint8), small, np.zeros((3, 8, 3), np.uint8)], axis=2)
    large = wide.repeat(factor, axis=1).repeat(factor, axis=2)
    assert np.array_equal(resize(large, 8, "centre_crop"), small)
    assert resize(large, 8, "stretch").shape == (3, 8, 8)
    assert not np.array_equal(resize(large, 8, "stretch"), small)


@settings(max_examples=25)
@given(st.integers(4, 70), st.integers(4, 70), st.integers(4, 16), st.sampled_from([1, 3]))
def test_any_picture_becomes_a_square_of_the_same_mean(height, width, size, channels):
    ramp = np.broadcast_to(np.linspace(40, 200, height).astype(np.uint8)[None, :, None], (channels, height, width))
    for rule in ("centre_crop", "stretch"):
        made = resize(np.ascontiguousarray(ramp), size, rule)
        assert made.shape == (channels, size, size) and made.dtype == np.uint8
        assert abs(float(made.mean()) - float(ramp.mean())) < 12 + 160 / size  # about the middle, to half a pixel
        assert (np.diff(made.astype(int), axis=2) == 0).all()  # what was constant along a row stays so


# --- what is wrong -------------------------------------------------------------------------------


def test_damaged_pictures_are_named_with_how_many_are_fine(tmp_path):
    folder = write_folder(tmp_path, noise())
    good = (folder / "00003.png").read_bytes()
    (folder / "00003.png").write_bytes(good[:-40])
    (folder / "00007.png").write_bytes(b"no picture at all")
    with pytest.raises(InputError, match=r"2 pictures cannot be read: 00003\.png .*00007\.png .*other 10 are fine"):
        whole(open_pictures(folder))
    pictures = open_pictures(folder, skip_corrupt=True)
    found, _ = whole(pictures)
    assert np.array_equal(found, np.delete(noise(), [3, 7], axis=0))
    assert sorted(pictures.skipped) == ["00003.png", "00007.png"]
    for i in range(2, 12):
        (folder / f"{i:05d}.png").write_bytes(b"")
    (folder / "00001.png").unlink()
    for skip in (False, True):
        with pytest.raises(InputError, match="there remain 1"):
            whole(open_pictures(folder, skip_corrupt=skip))


@pytest.mark.parametrize(
    ("other", "options", "told"),
    [
        (noise(channels=1), {}, r"b\.png is grey and a\.png is in colour; say colour"),
        (noise(size=9), {}, r"a\.png is 8×8 and b\.png is 9×9 pixels; give a size"),
        (noise(channels=1), {"colour": "rgb"}, None),
        (noise(channels=1), {"colour": "grey"}, None),
        (noise(size=9), {"size": 8}, None),
    ],
)
def test_mixtures_are_refused_unless_said_what_to_make_of_them(tmp_path, other, options, told):
    write_folder(tmp_path, [noise()[0], other[0]], ["a.png", "b.png"])
    pictures = open_pictures(tmp_path, **options)
    if told:
        with pytest.raises(InputError, match=told):
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
    for path, told in cases.values():
        with pytest.raises(InputError, match=told):
            open_pictures(path)


@pytest.mark.parametrize(
    ("text", "told"),
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
def test_labels_that_do_not_match(tmp_path, text, told):
    table = [[f"{i // 5:05d}/img{i:08d}.png", 0] for i in range(12)]
    if text == "more":
        table.append(["gone.png", 0])
    elif text == "twice":
        table.append(table[0])
    elif text in ("negative", "large"):
        table[5][1] = -1 if text == "negative" else 10**9
    content = text if text[0] in "{[" else json.dumps({"labels": table})
    file = write_zip(tmp_path / "set.zip", noise(), more=[("dataset.json", content)])
    with pytest.raises(InputError, match=told):
        open_pictures(file)
    assert open_pictures(file, labels="none").labels is None


def test_zips_that_lead_out_or_unfold_without_bound_are_not_read(tmp_path):
    def zipped(name, *entries, kind=zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / name, "w", kind) as held:
            for entry in entries:
                held.writestr(*entry)
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
    for file, told in cases.items():
        with pytest.raises(InputError, match=told):
            open_pictures(file)
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match="no zip archive"):
        open_pictures(tmp_path / "no.zip")


def _overlapping(file):
    """Both entries of the archive's directory point to the first, and claim more than the file holds."""
    with zipfile.ZipFile(file, "a") as held:
        for entry in held.infolist():
            entry.header_offset, entry.compress_size = 0, file.stat().st_size
            entry.file_size = entry.compress_size
        held._didModify = True
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
            made = decode(bytes(content[: data.draw(st.integers(0, len(content)))]))
        except Damaged as reason:
            assert str(reason)
        else:
            assert made.dtype == np.uint8 and made.ndim == 3


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
    for name, (arrays, told) in cases.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(InputError, match=told):
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


def test_the_stamp_changes_with_files_and_options(tmp_path):
    folder = write_folder(tmp_path, noise())
    stamps = [open_pictures(folder, **o).stamp() for o in ({}, {"size": 8}, {"colour": "grey"}, {"labels": "none"})]
    assert len(set(stamps)) == 3  # without a table of labels, no labels are the same
    (folder / "00002.png").write_bytes(png(noise(seed=1)[0]) + b" ")
    assert open_pictures(folder).stamp() not in stamps
