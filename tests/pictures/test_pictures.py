"""Pictures from folders, zips and numpy files: the same pixels from each."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures_for_tests import noise, png, whole, write_folder, write_zip
from PIL import Image

from ablate.errors import InputError
from ablate.pictures import open_pictures
from ablate.pictures.decode import Damaged, decode
from ablate.pictures.resize import recolour, resize

LABELS = [0, 1, 2] * 4


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
    pixels, classes = whole(pictures)
    assert len(pictures) == 12 and pictures.shape() == images.shape[1:]
    assert np.array_equal(pixels, images)
    assert classes is None if labels is None else np.array_equal(classes, labels) and classes.dtype == np.int64
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
        converted = image.convert(mode)
        image_again = decode(_saved(converted))
        assert np.array_equal(image_again[0], np.asarray(converted.convert("RGB"))[..., 0]), mode
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
        resized = resize(np.ascontiguousarray(ramp), size, rule)
        assert resized.shape == (channels, size, size) and resized.dtype == np.uint8
        assert abs(float(resized.mean()) - float(ramp.mean())) < 12 + 160 / size  # about the middle, to half a pixel
        assert (np.diff(resized.astype(int), axis=2) == 0).all()  # what was constant along a row stays so


def test_the_stamp_changes_with_files_and_options(tmp_path):
    folder = write_folder(tmp_path, noise())
    stamps = [open_pictures(folder, **o).stamp() for o in ({}, {"size": 8}, {"colour": "grey"}, {"labels": "none"})]
    assert len(set(stamps)) == 3  # without a table of labels, no labels are the same
    (folder / "00002.png").write_bytes(png(noise(seed=1)[0]) + b" ")
    assert open_pictures(folder).stamp() not in stamps
