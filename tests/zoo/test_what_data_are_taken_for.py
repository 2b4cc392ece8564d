"""What data are taken for is told; a set that shares size and times with another is not taken for it."""

from __future__ import annotations

import io
import json
import os
import zipfile

import numpy as np
import pytest
import torch
from pictures_for_tests import noise, png, write_folder, write_zip
from PIL import Image

from ablate.api import InputError, InputSpec
from ablate.kinds.data import Dataset, image_setting
from ablate.pictures import open_pictures
from ablate_zoo.data.folder import FolderData
from ablate_zoo.data.npz import Npz
from ablate_zoo.data.zip import Zip

COUNT = 40


def told(data, cache):
    data.check(cache)
    return "\n".join(data.describe(cache))


def test_classes_pictures_and_what_is_left_out_are_told(tmp_path):
    names = [f"{'ant' if i % 4 else 'cat'}/{i}.png" for i in range(COUNT)]
    path = write_folder(tmp_path / "set", noise(COUNT), names)
    (path / "notes.txt").write_text("")
    (path / ".hidden.png").write_bytes(png(noise()[0]))
    (path / "ant" / "broken.png").write_bytes(b"no picture")
    (path / "cat" / "again.png").write_bytes(png(noise(COUNT)[0]))
    text = told(FolderData(path=str(path), labels="folders", reference=10, skip_corrupt=True), tmp_path / "cache")
    assert "42 pictures of 8×8, colour, 8 bits a channel; 10 of them are held out" in text
    assert "2 classes (ant: 31, cat: 11)" in text
    for left in ("1 .txt, which are no pictures", "1 hidden or linked, such as .hidden.png", "1 that cannot be read"):
        assert f"left out: {left}" in text
    assert "labels: folders does that" in told(
        FolderData(path=str(path), reference=10, skip_corrupt=True), tmp_path / "c"
    )


def test_parts_of_a_data_set_are_no_classes(tmp_path):
    path = write_folder(
        tmp_path / "set", noise(COUNT), [f"{'train' if i % 4 else 'val'}/{i}.png" for i in range(COUNT)]
    )
    with pytest.raises(InputError, match="train and val are parts of a data set, not classes"):
        open_pictures(path, labels="folders")
    assert "parts train, val are taken together" in told(FolderData(path=str(path), reference=10), tmp_path / "cache")
    with pytest.raises(InputError, match="all pictures lie in one folder, 'train'"):
        open_pictures(write_folder(tmp_path / "one", noise(), [f"train/{i}.png" for i in range(12)]), labels="folders")


def test_a_folder_that_was_zipped_with_its_own_name_keeps_its_labels(tmp_path):
    names = [f"set/{i // 5:05d}/img{i:08d}.png" for i in range(COUNT)]
    labels = [i % 3 for i in range(COUNT)]
    table = json.dumps({"labels": [[n.removeprefix("set/"), c] for n, c in zip(names, labels, strict=True)]})
    extra = [("set/dataset.json", table), ("__MACOSX/set/._x.png", b"")]
    file = write_zip(tmp_path / "set.zip", noise(COUNT), names=names, more=extra)
    assert Zip(path=str(file), reference=10).setting() == InputSpec((3, 8, 8), 3)
    folder = write_folder(tmp_path / "above", noise(COUNT), names)
    (folder / "set" / "dataset.json").write_text(table)
    assert FolderData(path=str(folder), reference=10).setting().classes == 3
    assert "1 hidden or linked" in told(Zip(path=str(file), reference=10), tmp_path / "cache")


def test_what_a_viewer_shows_otherwise_is_told_and_no_bits_are_lost_without_a_word(tmp_path):
    path = write_folder(tmp_path / "set", noise(COUNT))
    turned, frames = Image.Exif(), [Image.fromarray(np.full((8, 8), i, np.uint8)) for i in (0, 200)]
    turned[0x0112] = 6
    image = Image.fromarray(noise()[0].transpose(1, 2, 0))
    image.save(path / "turned.png", exif=turned)
    frames[0].convert("RGB").save(path / "moving.webp", save_all=True, append_images=[frames[1].convert("RGB")])
    image.save(path / "profile.png", icc_profile=b"wide gamut")
    text = told(FolderData(path=str(path), reference=10), tmp_path / "cache")
    assert "1 of the pictures carry a note of how the camera was held, which is not applied" in text
    assert "1 of the pictures have several frames, of which the first is read" in text
    assert "1 of the pictures carry a colour profile, which is not applied" in text
    (path / "deep.png").write_bytes(_sixteen_bits())
    with pytest.raises(InputError, match=r"deep\.png \(more than 8 bits a channel \(16\)"):
        FolderData(path=str(path), reference=10).check(tmp_path / "cache")


def _sixteen_bits() -> bytes:
    """A PNG of 16 bits a channel in colour, which Pillow reads as 8."""
    import struct
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = b"".join(b"\0" + bytes(48) for _ in range(8))
    head = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_class_numbers_without_pictures_are_told(tmp_path):
    labels = np.array([100 * (i % 10) for i in range(COUNT)])
    np.savez(tmp_path / "set.npz", pixels=noise(COUNT), kinds=labels, other=labels[:-1], score=labels)
    data = Npz(path=str(tmp_path / "set.npz"), reference=10, image_array="pixels", label_array="kinds")
    text = told(data, tmp_path / "cache")
    assert "10 classes (0: 4, 100: 4" in text and "891 class numbers have no picture" in text
    assert "left out: array other" in text and "known of each picture: score (number)" in text
    with pytest.raises(InputError, match="only kinds, other, pixels, score; say image_array: NAME"):
        Npz(path=str(tmp_path / "set.npz")).setting()
    with pytest.raises(InputError, match="no array 'none' here, only kinds, other, pixels, score"):
        Npz(path=str(tmp_path / "set.npz"), image_array="pixels", label_array="none").setting()
    assert "image_array" not in Npz(path="x.npz").active()  # a name that is not given changes no identity


@pytest.mark.parametrize("source", ["folder", "zip", "npz"])
def test_a_copy_that_keeps_size_and_times_is_another_set(tmp_path, source):
    """As `cp -p` or an unpacked archive leaves it: the cache must not take it for the set that lay there before."""

    def write(seed: int, path):
        images = noise(COUNT, seed=seed)
        images[:, :, 0, :3] = 7
        if source == "folder":
            for i, image in enumerate(images):
                path.mkdir(exist_ok=True)
                (path / f"{i}.bmp").write_bytes(png(image, "BMP"))  # uncompressed: all of one size
        elif source == "zip":
            with zipfile.ZipFile(path, "w") as held:
                for i, image in enumerate(images):
                    held.writestr(zipfile.ZipInfo(f"{i}.bmp"), png(image, "BMP"))
        else:
            content = io.BytesIO()
            np.savez(content, images=images)
            path.write_bytes(content.getvalue())
        for file in [path, *path.glob("*")]:
            os.utime(file, ns=(10**18, 10**18))

    path = tmp_path / f"set.{source}"
    data = {"folder": FolderData, "zip": Zip, "npz": Npz}[source](path=str(path), reference=10)
    write(0, path)
    first = data.load(tmp_path / "cache").hash
    size = sum(file.stat().st_size for file in [path, *path.glob("*")])
    write(1, path)
    assert sum(file.stat().st_size for file in [path, *path.glob("*")]) == size
    assert data.load(tmp_path / "cache").hash != first


def test_a_cached_array_that_was_changed_is_made_anew(tmp_path):
    data = FolderData(path=str(write_folder(tmp_path / "set", noise(COUNT))), reference=10)
    images = np.array(data.load(tmp_path / "cache").images)
    (file,) = (tmp_path / "cache" / "data").glob("*/images.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 255
    file.write_bytes(content)
    assert np.array_equal(data.load(tmp_path / "cache").images, images)


def test_what_is_no_image_is_one_message():
    points = np.zeros((20, 2), np.uint8)
    with pytest.raises(InputError, match=r"images are of shape \(20, 2\); images are \(N, C, H, W\)"):
        Dataset(points, None, points, None, None, "hash")

    class Points(FolderData):
        name = "points"

        def setting(self):
            return InputSpec((2,), None)

    with pytest.raises(InputError, match=r"data 'points' are of shape \(2,\); a study is of images"):
        image_setting(Points(path="."))


def test_cached_features_of_the_reference_that_were_changed_are_computed_anew(tmp_path):
    from segments_for_tests import CACHE, DATA, KNOWN

    from ablate.evaluation import metric_evaluator

    dataset, features = DATA.load(CACHE), KNOWN.create("features", "pixels")
    asked = (features, {"pooled"}, dataset, tmp_path, torch.device("cpu"))
    metric_evaluator._tables.clear()
    first = np.array(metric_evaluator.reference_features(*asked)["pooled"])
    (file,) = (tmp_path / "features").glob("*.npy")
    for damage in (lambda content: content[:-8], lambda content: content[:-1] + b"\x00"):
        file.write_bytes(damage(file.read_bytes()))
        metric_evaluator._tables.clear()
        assert np.array_equal(metric_evaluator.reference_features(*asked)["pooled"], first)
    metric_evaluator._tables.clear()
