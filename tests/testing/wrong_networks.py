"""Backbones, conditionings and fusions that are wrong; `fails` says which checks have to tell."""

from typing import ClassVar

import torch
from torch import nn

from ablate.api import (
    Backbone,
    Conditioning,
    Embedder,
    EmbedderSite,
    Fusion,
    InputSpec,
    Modulation,
    absent,
    class_labels,
    slot,
    told_record,
)


class Taking(nn.Module):
    """Takes what it adds out of the list that it is given: the second time there is nothing."""

    def forward(self, x, given):
        return x + torch.tanh(given.pop() if given else 0 * x)


class Network(nn.Module):
    """One convolution and a bias of level and class, or as its flags say."""

    def __init__(self, channels: int, classes: int | None, way: str) -> None:
        super().__init__()
        self.way = way
        self.inward = nn.Conv2d(channels, 8, 3, padding=1)
        self.level = nn.Linear(1, 8)
        self.label = nn.Embedding((classes or 0) + 1, 8)
        self.outward = nn.Conv2d(8, channels * (2 if way == "wide" else 1), 3, padding=1)
        self.spare = nn.Linear(3, 3) if way == "unused" else None
        self.register_buffer("mark", torch.rand(1), persistent=False)
        self.blocks = nn.ModuleList([Taking()] if way == "taking" else [])
        if way == "placed":
            self.place = nn.Parameter(torch.zeros(1, device="cpu"))

    def forward(self, x, noise, labels, second=None):
        condition = self.level(noise[:, None] / 1000)
        if labels is not None:
            condition = condition + self.label(labels)
        if self.way == "deaf":
            condition = condition * 0
        h = torch.nn.functional.silu(self.inward(x) + condition[:, :, None, None])
        if self.way == "mixing":
            h = h - h.mean(0)
        if self.way == "random":
            h = h + 0.1 * torch.randn_like(h)
        if self.way == "infinite":
            h = h / 0
        for block in self.blocks:
            h = block(h, [h])
        y = self.outward(h)
        if self.way == "placed":
            y = y + self.place.to(y.device)
        return y * self.mark if self.way == "forgetful" else y


class Net(Backbone):
    """A backbone without a fault."""

    name = "net"
    way: ClassVar[str] = "right"
    fails: ClassVar = ()

    def provides(self) -> frozenset[str]:
        return frozenset({"null_class", "feature_maps"})

    def build(self, setting: InputSpec) -> nn.Module:
        return Network(setting.shape[0], setting.classes, self.way)


class Tied(Net):
    """Two layers of one weight, which is no fault."""

    name = "tied"

    def build(self, setting: InputSpec) -> nn.Module:
        network = super().build(setting)
        network.inward = nn.Sequential(network.inward, nn.Conv2d(8, 8, 1), nn.SiLU(), nn.Conv2d(8, 8, 1))
        network.inward[3].weight = network.inward[1].weight
        return network


class Bulky(Net):
    """A great many channels."""

    name = "bulky"
    width: int = 1 << 14

    def build(self, setting: InputSpec) -> nn.Module:
        network = super().build(setting)
        channels = setting.shape[0]
        network.outward = nn.Sequential(nn.Conv2d(8, self.width, 3, padding=1), nn.Conv2d(self.width, channels, 1))
        return network


class Baseless(Net):
    """It counts widths from another network, and does not ask for rates that follow them."""

    name = "baseless"
    fails: ClassVar = ("has_the_same_parameters_at_its_base_width",)

    def at_base_width(self):
        return self


class Wrapping(Net):
    """Another one within, whose size is the other's own."""

    name = "wrapping"
    inner: Backbone = slot("bulky")

    def build(self, setting: InputSpec) -> nn.Module:
        return self.inner.build(setting)


class Wide(Net):
    """Twice the channels, without a word."""

    name = way = "wide"
    fails: ClassVar = ("gives_the_shape",)


class Unused(Net):
    """A layer that no forward pass comes by."""

    name = way = "unused"
    fails: ClassVar = ("trains",)


class Forgetful(Net):
    """A state that no state dict holds."""

    name = way = "forgetful"
    fails: ClassVar = ("keeps_its_state",)


class Deaf(Net):
    """Neither level nor class make a difference."""

    name = way = "deaf"
    fails: ClassVar = ("listens_to_its_condition", "knows_no_class")


class HardOfHearing(Net):
    """Says that it takes a second noise label, and does not listen."""

    name = "hard_of_hearing"
    fails: ClassVar = ("hears_its_second_label",)

    def provides(self) -> frozenset[str]:
        return frozenset({"null_class", "feature_maps", "second_label"})


class Told(nn.Module):
    """The network with conditions that are numbers, and one fault."""

    def __init__(self, network, specs, parts, way):
        super().__init__()
        self.network, self.specs, self.parts, self.way = network, specs, nn.ModuleList(parts), way

    def forward(self, x, noise, labels):
        record = told_record(labels)
        for spec, part in zip(self.specs, self.parts, strict=True):
            told = record.get(spec.name, absent(spec, len(x), x))
            if self.way == "peeping" and told.present is not None:
                told = told._replace(value=told.value + 1, present=None)
            added = part(told).vector
            x = x + (0 if self.way == "deaf" else torch.tanh(added.mean(1))[:, None, None, None])
        return self.network(x, noise, class_labels(labels))


class Telling(Net):
    """A backbone that takes conditions, without a fault."""

    name = "telling"
    told: ClassVar[str] = "right"
    embedders: tuple[Embedder, ...] = ()

    def refuse(self, setting):
        other = [part.name for part in self.embedders if "scalars" not in part.forms]
        return f"takes no {other[0]!r}: it adds one vector" if other else None

    def build(self, setting: InputSpec) -> nn.Module:
        specs, site = [part.condition(setting) for part in self.embedders], EmbedderSite(8, setting.shape)
        parts = [part.build(spec, site) for part, spec in zip(self.embedders, specs, strict=True)]
        return Told(super().build(setting), specs, parts, self.told)


class HardOfReading(Telling):
    """It embeds its conditions, and goes on without them."""

    name = "hard_of_reading"
    told = "deaf"
    fails: ClassVar = ("reads_its_conditions",)


class Peeping(Telling):
    """It reads what is dropped."""

    name = "peeping"
    told = "peeping"
    fails: ClassVar = ("reads_its_conditions",)


class Mixing(Net):
    """Images in a batch influence each other."""

    name = way = "mixing"
    fails: ClassVar = ("keeps_images_apart",)


class Takes(Net):
    """Its block changes the list that it is given, so that a second pass is another."""

    name = "taking"
    way = "taking"
    fails: ClassVar = ("can_be_computed_again",)


class Random(Net):
    """Noise in eval()."""

    name = way = "random"
    fails: ClassVar = ("is_deterministic",)


class Infinite(Net):
    """A division by zero."""

    name = way = "infinite"
    fails: ClassVar = ("gives_the_shape", "trains", "runs_in_bf16")


class Placed(Net):
    """A parameter that is always on the CPU."""

    name = way = "placed"
    fails: ClassVar = ("builds_on_the_meta_device",)


class Scale(nn.Module):
    """One number."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.rand(1))

    def forward(self, x, noise, labels):
        return x * self.factor


class Elementwise(Net):
    """No matrix work at all."""

    name = "elementwise"
    fails: ClassVar = ("has_a_cost",)

    def build(self, setting):
        return Scale()


class Gate(nn.Module):
    """Shift alone, or with a gate of one."""

    def __init__(self, site, gated: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(site.embedding, site.width)
        self.branches = site.branches
        self.gated = gated

    def forward(self, context):
        shift = self.linear(context.embedding)
        one = Modulation(shift=shift, gate=torch.ones_like(shift) if self.gated else None)
        return tuple(one for _ in range(self.branches))


class Boastful(Conditioning):
    """Says that its blocks are the identity, and gates with one."""

    name = "boastful"
    fails: ClassVar = ("is_the_identity_where_it_says_so",)

    def provides(self):
        return frozenset({"identity_at_start"})

    def requires(self):
        return {"tokens": "it is made for tokens"}

    def modulation(self, site):
        return Gate(site, gated=True)


class Shapeless(Conditioning):
    """One modulation for any number of branches, and nothing of the right width."""

    name = "shapeless"
    fails: ClassVar = ("gives_the_shapes",)

    def requires(self):
        return {"tokens": "it is made for tokens"}

    def attention(self, site):
        class Wide(nn.Module):
            def forward(self, x, context):
                return x.repeat(1, 1, 2)

        return Wide()


class Attending(Conditioning):
    """As many heads as its site has, which it does not say."""

    name = "attending"
    fails: ClassVar = ("reads_heads_only_where_it_says_so",)

    def requires(self):
        return {"tokens": "it is made for tokens"}

    def modulation(self, site):
        class ByHead(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(site.embedding, site.width // site.heads)

            def forward(self, context):
                shift = self.linear(context.embedding).repeat(1, site.heads)
                return (Modulation(shift=shift),) * site.branches

        return ByHead()


class Nowhere(Conditioning):
    """Offers no place; so what it conditions does not listen."""

    name = "nowhere"
    fails: ClassVar = ("offers_a_place", "listens_to_its_condition")

    def requires(self):
        return {"tokens": "it is made for tokens"}


class Sum(nn.Module):
    """d + W·s, or as the flag says."""

    def __init__(self, channels, skip, way):
        super().__init__()
        self.way = way
        self.project = nn.Conv2d(skip, channels, 1)
        self.register_buffer("mark", torch.rand(1), persistent=False)

    def forward(self, d, s, context):
        s = self.project(s)
        if self.way == "forgetful":
            s = s * self.mark
        if self.way == "mixing":
            s = s - s.mean(0)
        return torch.cat([d, s], 1) if self.way == "concat" else s if self.way == "alone" else d + s


class Add(Fusion):
    """A fusion without a fault."""

    name = "add"
    way: ClassVar[str] = "right"
    fails: ClassVar = ()

    def build(self, channels, skip_channels, embedding):
        return Sum(channels, skip_channels, self.way)


class Wider(Add):
    """Twice the channels of the decoder."""

    name = "wider"
    way = "concat"
    fails: ClassVar = ("gives_the_shape_of_the_decoder",)


class Alone(Add):
    """The decoder plays no part."""

    name = "alone"
    way = "alone"
    fails: ClassVar = ("uses_both",)


class Blend(Add):
    """Images in a batch influence each other."""

    name = "blend"
    way = "mixing"
    fails: ClassVar = ("fuses_each_image_alone",)


class Marked(Add):
    """A state that no state dict holds."""

    name = "marked"
    way = "forgetful"
    fails: ClassVar = ("keeps_the_state_of_its_module",)
