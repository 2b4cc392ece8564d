"""A small VAE, trained here, between a network and what is measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from data_for_tests import LATENT, save_vae, small_vae, write_edm2
from segments_for_tests import CACHE, DATA, PLUGIN, candidate

from ablate.api import InputError, InputSpec
from ablate.candidates.evaluation import Evaluation
from ablate.candidates.trial import Budget, TrialSettings
from ablate.discovery.catalog import catalog
from ablate.evaluation.decoding import decoder
from ablate.evaluation.measure import measure
from ablate.evaluation.sampling import QUANTISATION
from ablate.training.images import Images
from ablate.training.learner import Learner
from ablate.worker import trial_run
from ablate_zoo.autoencoder.none import NoAutoencoder
from ablate_zoo.autoencoder.vae import Vae
from ablate_zoo.data.latents import Latents

CPU = torch.device("cpu")
KNOWN = catalog((PLUGIN,))
STEPS = 100


@pytest.fixture(scope="module")
def pixels():
    """Digits in colour, (N, 3, 8, 8) uint8, and their labels."""
    made = DATA.load(CACHE)
    return made.images[:400].repeat(3, axis=1), made.labels[:400], made.reference_images.repeat(3, axis=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, pixels):
    """The folder of a VAE that was trained on them for some seconds, and its error on others."""
    vae = small_vae().train()
    optimizer = torch.optim.Adam(vae.parameters(), 3e-3)
    images = torch.from_numpy(pixels[0]).float() / 127.5 - 1
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        batch = images[torch.randint(len(images), (32,), generator=generator)]
        posterior = vae.encode(batch).latent_dist
        loss = (vae.decode(posterior.sample(generator)).sample - batch).square().mean() + 1e-4 * posterior.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("trained") / "vae"
    vae.eval().save_pretrained(folder)
    return folder, vae


@pytest.fixture(scope="module")
def data(tmp_path_factory, trained, pixels):
    """Its latents as EDM2 stores them, and pixels that it has not seen."""
    folder = tmp_path_factory.mktemp("latents")
    with torch.no_grad():
        posterior = trained[1].encode(torch.from_numpy(pixels[0]).float() / 127.5 - 1).latent_dist
    write_edm2(folder / "z.zip", posterior.mean.numpy(), pixels[1].tolist(), float(posterior.std.mean()))
    np.savez(folder / "held_out.npz", images=pixels[2])
    return Latents(
        path=str(folder / "z.zip"),
        reference=str(folder / "held_out.npz"),
        stored="mean_std",
        statistics="measured",
        scale=0.5,
    )


def test_training_taught_it_to_give_images_back(trained, pixels):
    folder, vae = trained
    images = torch.from_numpy(pixels[2]).float() / 127.5 - 1
    with torch.no_grad():
        z = vae.encode(images).latent_dist.mean
        own = vae.decode(z).sample
    read = Vae(path=str(folder), batch=7).build(CPU)(z)
    assert torch.allclose(read, own, atol=1e-5)
    assert float((read - images).square().mean()) < 0.4 * float((images - images.mean(0)).square().mean())


def test_a_trained_latent_is_decoded_as_it_was_encoded(trained, data, tmp_path):
    """Shift and scale are undone exactly: what the network sees decodes to what the VAE gives of the raw latents."""
    made = data.load(tmp_path)
    x = Images(made, CPU).take(torch.arange(20))
    assert float(x.std()) == pytest.approx(0.5, rel=0.2)
    images = decoder(Vae(path=str(trained[0])), made.encoding, CPU)(x.to(torch.float64))
    with torch.no_grad():
        wanted = trained[1].decode(torch.tensor(made.images[:20, : LATENT[0]])).sample
    assert torch.allclose(images, wanted, atol=1e-4)


def evaluation(autoencoder):
    metric = KNOWN.create("metric", {"type": "kid", "features": "pixels"})
    return Evaluation(metrics=(metric,), samples=16, previews=4, batch=8, autoencoder=autoencoder)


def test_a_trial_trains_on_latents_and_is_measured_in_pixels(trained, data, tmp_path):
    vae = Vae(path=str(trained[0]))
    settings = TrialSettings(data, data.setting(), Budget(steps=3), evaluation(vae))
    made = candidate()
    (job,) = settings.jobs(made, 1, {}, (PLUGIN,), tmp_path, settings.cost(made))
    report = trial_run.run({**job, "device": "cpu", "cache": str(tmp_path / "cache"), "threads": 1}, lambda: False)
    assert report["status"] == "done"
    (row,) = report["record"]["metrics"]
    assert np.isfinite(row["value"]) and row["quantisation"] == f"vae {vae.identity()[:12]}, {QUANTISATION}"
    samples = np.load(Path(job["folder"]) / "samples.npy")
    assert samples.shape == (4, 3, 8, 8) and samples.dtype == np.uint8


def test_another_decoder_measures_the_same_training(trained, data, tmp_path):
    """Same weights, same latents: only what the decoder makes of them differs, and the rows say so."""
    other = Vae(path=str(save_vae(tmp_path / "other", seed=1)))
    made, setting, dataset = candidate(), data.setting(), data.load(tmp_path)
    learner = Learner(made, setting, Images(dataset, CPU), 0, CPU, None)
    weights = {"0": {name: p.detach().clone() for name, p in learner.network.named_parameters()}}

    def shown(autoencoder):
        return measure(
            made,
            learner.process,
            setting,
            learner.network,
            weights,
            dataset,
            evaluation(autoencoder),
            0,
            0,
            tmp_path,
            CPU,
        )

    rows, images = shown(Vae(path=str(trained[0])))
    again, same = shown(Vae(path=str(trained[0]), batch=3))
    others, different = shown(other)
    assert rows == again and np.array_equal(images, same)
    assert not np.array_equal(images, different)
    differs = {key for key in rows[0] if rows[0][key] != others[0][key]}
    assert differs <= {"value", "error", "quantisation"} and "quantisation" in differs


def test_it_is_part_of_what_is_measured_and_not_of_what_is_trained(trained):
    plain, none, vae = (evaluation(one) for one in (None, NoAutoencoder(), Vae(path=str(trained[0]))))
    assert plain.digest() == none.digest() != vae.digest()
    assert vae.digest() == evaluation(Vae(path=str(trained[0]), batch=1)).digest()
    assert NoAutoencoder().describe(QUANTISATION) == QUANTISATION


def test_what_cannot_be_decoded_is_told(trained, tmp_path):
    folder, _ = trained
    vae = Vae(path=str(folder))
    assert vae.refuse(InputSpec((2, 4, 4), None)) is None
    assert vae.refuse(InputSpec((4, 4, 4), None)) == "it decodes latents of 2 channels, and these have 4"
    assert vae.pixels(InputSpec((2, 4, 6), 5)) == InputSpec((3, 8, 12), 5)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    assert "not the config.json of an AutoencoderKL" in Vae(path=str(tmp_path)).refuse(InputSpec((2, 4, 4), None))
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    for call in (Vae(path=str(tmp_path)).identity, lambda: Vae(path=str(tmp_path)).build(CPU)):
        with pytest.raises(InputError, match=r"no weights diffusion_pytorch_model.safetensors"):
            call()
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"a pickle, which is never read")
    with pytest.raises(InputError, match="no weights"):
        Vae(path=str(tmp_path)).build(CPU)
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match="no AutoencoderKL could be read"):
        Vae(path=str(tmp_path)).build(CPU)


def test_missing_diffusers_is_told(trained, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(InputError, match=r'needs diffusers .*pip install "ablate\[latents\]"'):
        Vae(path=str(trained[0])).build(CPU)


def test_a_repository_that_the_hub_does_not_give_is_told(monkeypatch):
    import huggingface_hub

    def refuse(*args, **options):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    told = Vae(path="nobody/no-vae").refuse(InputSpec((4, 4, 4), None))
    assert told == "there is no folder nobody/no-vae, and the hub does not give it (no connection)"
