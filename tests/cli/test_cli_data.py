"""`ablate data inspect`, and studies on data of one's own: what is wrong is told before anything is written."""

import json

import numpy as np
import pytest
from command_line import STUDY, lay_out
from data_for_tests import latents, write_edm2
from pictures_for_tests import noise, png, write_folder, write_zip
from PIL import Image

LABELS = [i % 3 for i in range(24)]


@pytest.fixture
def pictures(place):
    """A study's folder with one set of pictures in three forms."""
    images = noise(24)
    write_folder(place / "set", images, [f"{'xyz'[c]}/{i}.png" for i, c in enumerate(LABELS)])
    write_zip(place / "set.zip", images, LABELS)
    np.savez(place / "set.npz", images[::-1].transpose(0, 2, 3, 1), np.array(LABELS[::-1]))
    return place


def study(place, data, more=""):
    lay_out(place, STUDY.replace("data: digits", f"data: {data}").replace("previews: 4}", f"previews: 4{more}}}"))


def test_inspect_tells_one_hash_for_one_set_and_draws_it(pictures, within):
    hashes = {}
    for name, options in (("set", ("--labels", "folders")), ("set.zip", ()), ("set.npz", ())):
        ran = within("data", "inspect", name, "--json", "--sheet", f"{name}.png", *options, cwd=pictures)
        assert ran.returncode == 0 and ran.stderr == ""
        hashes[name] = json.loads(ran.stdout)
        assert hashes[name].pop("path") == name and hashes[name].pop("sheet") == f"{name}.png"
    assert list(hashes["set"].pop("images_per_class").values()) == [8, 8, 8]
    for name in ("set.zip", "set.npz"):
        assert hashes[name].pop("images_per_class") == {"0": 8, "1": 8, "2": 8}
        assert hashes[name] == hashes["set"]
    assert hashes["set"]["count"] == 24 and hashes["set"]["copies"] == 0 and hashes["set"]["skipped"] == {}
    assert {_size(pictures / f"{name}.png") for name in hashes} == {_size(pictures / "set.png")} != {(1, 1)}
    other = json.loads(within("data", "inspect", "set", "--json", "--labels", "none", cwd=pictures).stdout)
    assert other["hash"] != hashes["set"]["hash"] and other["classes"] is None
    assert (pictures / "set.sheet.png").is_file()


def _size(file):
    with Image.open(file) as picture:
        return picture.size


def test_inspect_is_for_people_too(pictures, within):
    write_folder(pictures / "set", noise(1), ["x/again.png"])
    (pictures / "set" / "x" / "bad.png").write_bytes(b"no picture")
    ran = within("data", "inspect", "set", "--labels", "folders", "--skip-corrupt", "--size", 16, cwd=pictures)
    assert ran.returncode == 0
    for line in ("pictures  25", "16×16, colour", "3 (x: 9, y: 8, z: 8)", "copies    1", "1: x/bad.png (no picture"):
        assert line in ran.stdout


def bad(place):
    """{name: (path, what is told)} of sets that nobody can use."""
    good = png(noise()[0])
    write_folder(place / "corrupt", noise(12))
    (place / "corrupt" / "00005.png").write_bytes(good[:60])
    write_folder(place / "sizes", [*noise(11), noise(size=9)[0]])
    write_folder(place / "modes", [*noise(11), noise(channels=1)[0]])
    (place / "empty").mkdir()
    write_folder(place / "out", noise(12))
    (place / "out" / "stray.png").symlink_to("/etc/hostname")
    np.savez(place / "pickled.npz", images=np.array([{}, {}], dtype=object))
    return {
        "empty": (place / "empty", "no picture below this folder"),
        "single": (write_folder(place / "single", noise(1)), "one picture alone"),
        "corrupt": (place / "corrupt", "00005.png"),
        "sizes": (place / "sizes", "mixed"),
        "modes": (place / "modes", "mixed"),
        "labels": (write_zip(place / "labels.zip", noise(12), [0] * 11), "1 of 12 pictures have no label"),
        "escape": (write_zip(place / "escape.zip", noise(12), more=[("../up.png", good)]), "leads out"),
        "link": (place / "out", "leads out"),
        "pickled": (place / "pickled.npz", "pickled objects"),
        "missing": (place / "nowhere.zip", "there is no such"),
    }


def test_bad_sets_are_refused_in_one_message_and_nothing_is_written(place, within):
    for name, (path, message) in bad(place).items():
        before = sorted(place.rglob("*"))
        ran = within("data", "inspect", path, cwd=place)
        assert ran.returncode == 2 and ran.stdout == "", name
        assert message in ran.stderr and "Traceback" not in ran.stderr and ran.stderr.count("\n") == 1, name
        kind = {".zip": "zip", ".npz": "npz"}.get(path.suffix, "folder")
        study(place, f"{{type: {kind}, path: {path.name}, reference: 4}}")
        ran = within("run", "tiny.yaml", "--device", "cpu", cwd=place)
        assert ran.returncode == 2 and message in ran.stderr and "Traceback" not in ran.stderr, name
        assert sorted(place.rglob("*")) == before, name  # no results, no sheet
    ran = within("data", "inspect", "corrupt", "--skip-corrupt", cwd=place)
    assert ran.returncode == 0 and "00005.png" in ran.stdout


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        ("{type: folder}", "", "tiny.yaml:4: data.path"),
        ("{type: zip, path: set.zip, size: 2}", "", "tiny.yaml:4: data.size: "),
        ("{type: zip, path: set.zip, colour: gray}", "", "did you mean 'grey'"),
        ("{type: zip, path: set.zip}", "", "say reference: 4, and 22 at most"),
        ("{type: folder, path: set.zip}", "", "say type: zip"),
        ("{type: latents, path: z.zip, reference: set.npz, stored: mean_std}", "", "needs 'decoder'"),
        ("{type: zip, path: set.zip, reference: 4}", ", autoencoder: {type: vae, path: vae}", "needs 'latents'"),
        (
            "{type: latents, path: z.zip, reference: set.npz}",
            ", autoencoder: {type: vae, path: vae}",
            "it decodes latents of 2 channels, and these have 4",
        ),
        (
            "{type: latents, path: z.zip, reference: set.npz, stored: mean_std, scale: 0}",
            ", autoencoder: {type: vae, path: vae}",
            "data.scale",
        ),
    ],
)
def test_mistakes_in_a_study_are_told_with_their_line(pictures, within, data, more, message):
    write_edm2(pictures / "z.zip", latents(), LABELS)
    (pictures / "vae").mkdir()
    (pictures / "vae" / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL", "latent_channels": 2}))
    study(pictures, data, more)
    ran = within("plan", "tiny.yaml", cwd=pictures)
    assert ran.returncode == 2 and "tiny.yaml:" in ran.stderr and message in ran.stderr


def test_a_study_on_latents_is_read_without_the_weights(pictures, within):
    write_edm2(pictures / "z.zip", latents(), LABELS)
    (pictures / "vae").mkdir()
    (pictures / "vae" / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL", "latent_channels": 2}))
    data = "{type: latents, path: z.zip, reference: set.npz, stored: mean_std, statistics: measured}"
    study(pictures, data, ", autoencoder: {type: vae, path: vae}")
    ran = within("plan", "tiny.yaml", "--json", cwd=pictures)
    assert ran.returncode == 0, ran.stderr
    first, second = json.loads(ran.stdout)["candidates"]
    assert first["params"] == (2 * 4 + 4 * 2) * 9 + 4 + 2 + 8 < second["params"]  # two channels in, two out
