"""Conditions and embedders that are wrong; `fails` says which checks have to tell."""

from typing import ClassVar

import numpy as np
import torch
from torch import nn

from ablate.api import Condition, ConditionSpec, Embedded, Embedder, InputError, Told


class RightCondition(Condition):
    """How wide and how tall the original was, and a number drawn; a condition without a fault."""

    name = "right_condition"
    fails: ClassVar = ()

    def spec_of(self, setting, columns):
        if columns.get("width") is not float or columns.get("height") is not float:
            raise InputError("the data do not tell how large the pictures were")
        return ConditionSpec(self.record_name, "scalars", (3,))

    def store(self, columns):
        return np.stack([columns["width"], columns["height"]], axis=1).astype(np.float32) / 1000

    def tell(self, stored, x0, uniform):
        return Told(torch.cat([stored, uniform("how much")[:, None]], dim=1))


class TooMany(RightCondition):
    """One number more than it says."""

    name = "too_many"
    fails: ClassVar = ("tells_what_its_spec_says",)

    def tell(self, stored, x0, uniform):
        return Told(torch.cat([stored, stored], dim=1))


class Scribbling(RightCondition):
    """Changes the images."""

    name = "scribbling"
    fails: ClassVar = ("tells_what_its_spec_says",)

    def tell(self, stored, x0, uniform):
        x0.mul_(0.5)
        return super().tell(stored, x0, uniform)


class Moody(RightCondition):
    """Draws from torch's generator."""

    name = "moody"
    fails: ClassVar = ("tells_each_image_by_itself",)

    def tell(self, stored, x0, uniform):
        return Told(torch.cat([stored, torch.rand(len(stored), 1)], dim=1))


class Ranking(RightCondition):
    """Tells how wide an image is beside the others of its batch."""

    name = "ranking"
    fails: ClassVar = ("tells_each_image_by_itself",)

    def tell(self, stored, x0, uniform):
        return super().tell(stored - stored.mean(0), x0, uniform)


class Standardised(RightCondition):
    """Divides by the deviation of the images it is given: another one for the reference."""

    name = "standardised"
    fails: ClassVar = ("stores_of_each_image_what_its_columns_say",)

    def store(self, columns):
        stored = super().store(columns)
        return stored / (stored.std(0) + 1)


class Peeping(RightCondition):
    """Tells how bright an image is, and does not exclude latents."""

    name = "peeping"
    fails: ClassVar = ("excludes_latents_where_it_reads_the_image",)

    def tell(self, stored, x0, uniform):
        return Told(torch.cat([stored.to(x0.device), x0.mean((1, 2, 3))[:, None]], dim=1))


class Layer(nn.Module):
    """A linear layer, and one fault."""

    def __init__(self, inputs, width, way):
        super().__init__()
        self.way, self.width = way, width
        self.linear = nn.Linear(inputs, width)
        self.null = nn.Parameter(torch.randn(width))
        self.spare = nn.Parameter(torch.zeros(3)) if way == "unused" else None
        self.register_buffer("mark", torch.rand(1), persistent=False)

    def forward(self, told):
        value = told.value - told.value.mean(0) if self.way == "mixing" else told.value
        vector = self.linear(value)
        if self.way == "deaf":
            vector = 0 * vector
        if self.way == "forgetful":
            vector = vector * self.mark
        there = told.there()[:, None]
        if self.way == "stubborn":
            there = there | True
        vector = torch.where(there, vector, self.null)
        if self.way == "leaking":
            vector = vector + 0.1 * told.value.sum(1, keepdim=True)
        return Embedded(vector[:, :3] if self.way == "narrow" else vector)


class RightEmbedder(Embedder):
    """An embedder without a fault."""

    name = "right_embedder"
    forms = ("scalars",)
    way: ClassVar[str] = "right"
    fails: ClassVar = ()

    def build(self, spec, site):
        return Layer(spec.shape[0], site.embedding, self.way)


class Narrow(RightEmbedder):
    """A vector of another width."""

    name = "narrow_embedder"
    way = "narrow"
    fails: ClassVar = ("embeds_what_it_says",)


class Silent(RightEmbedder):
    """Joins channels, it says."""

    name = "silent_embedder"
    fails: ClassVar = ("embeds_what_it_says",)

    def channels(self, spec):
        return 2


class Leaking(RightEmbedder):
    """A dropped value gets through."""

    name = "leaking_embedder"
    way = "leaking"
    fails: ClassVar = ("does_without_a_dropped_condition",)


class Stubborn(RightEmbedder):
    """Nothing is ever dropped."""

    name = "stubborn_embedder"
    way = "stubborn"
    fails: ClassVar = ("does_without_a_dropped_condition", "is_reached_by_gradients")


class Deaf(RightEmbedder):
    """The value is not read."""

    name = "deaf_embedder"
    way = "deaf"
    fails: ClassVar = ("does_without_a_dropped_condition", "is_reached_by_gradients")


class Reading(nn.Module):
    """The mean of a text's tokens, padding and all."""

    def __init__(self, count, width):
        super().__init__()
        self.words = nn.Embedding(count + 1, width)

    def forward(self, told):
        there = told.there()[:, None]
        return Embedded(self.words(torch.where(there, told.value, self.words.num_embeddings - 1)).mean(1))


class ReadingPadding(Embedder):
    """It reads what stands in the place of padding."""

    name = "reading_padding"
    forms = ("text",)
    fails: ClassVar = ("does_without_a_dropped_condition",)

    def refuse_condition(self, spec, setting):
        return None if spec.count else "features have no numbers"

    def build(self, spec, site):
        return Reading(spec.count, site.embedding)


class MixingEmbedder(RightEmbedder):
    """Images in a batch influence each other."""

    name = "mixing_embedder"
    way = "mixing"
    fails: ClassVar = ("embeds_each_image_by_itself",)


class UnusedEmbedder(RightEmbedder):
    """A weight that no gradient reaches."""

    name = "unused_embedder"
    way = "unused"
    fails: ClassVar = ("is_reached_by_gradients",)


class ForgetfulEmbedder(RightEmbedder):
    """A state that no state dict holds."""

    name = "forgetful_embedder"
    way = "forgetful"
    fails: ClassVar = ("keeps_the_state_of_its_module",)
