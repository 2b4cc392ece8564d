import pytest
import torch
from torch import nn

from ablate_zoo.clip.global_norm import GlobalNorm
from ablate_zoo.clip.none import NoClip
from ablate_zoo.ema.constant import ConstantEma
from ablate_zoo.ema.none import NoEma
from ablate_zoo.optimizer.adamw import AdamW
from ablate_zoo.precision.bf16 import Bf16
from ablate_zoo.precision.fp32 import Fp32

CPU = torch.device("cpu")


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 3))


@pytest.mark.parametrize(("precision", "inner"), [(Fp32(), torch.float32), (Bf16(), torch.bfloat16)])
def test_a_training_step_in_each_precision(precision, inner):
    net, reference = network(), network()
    optimizer, scaler = AdamW(lr=1e-2).build(net.parameters()), precision.scaler(CPU)
    x = torch.randn(64, 6)
    with precision.forward(CPU):
        out = net(x)
    assert out.dtype == inner
    assert torch.allclose(out.float(), reference(x), atol=0.05)
    assert torch.equal(out.float(), reference(x)) == (inner == torch.float32)
    scaler.scale(out.float().square().mean()).backward()
    scaler.unscale_(optimizer)
    assert all(p.grad.dtype == p.dtype == torch.float32 and p.grad.isfinite().all() for p in net.parameters())
    scaler.step(optimizer)
    scaler.update()
    assert not torch.equal(net[0].weight, reference[0].weight)


@pytest.mark.parametrize("component", [AdamW, NoClip, GlobalNorm, NoEma, ConstantEma, Fp32, Bf16])
def test_the_spec_gives_the_component_back(component):
    made = component()
    spec = made.spec()
    assert spec.pop("type") == component.name
    assert component(**spec) == made
    assert component.default is (component in (AdamW, NoClip, ConstantEma, Fp32))
