"""embedder: how a network takes in one condition: a vector, a sequence of tokens, or channels beside the image's."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

from pydantic import Field

from ablate.errors import InputError
from ablate.spec.component import Component
from ablate.spec.inputs import ConditionSpec, Form, InputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


class Embedded(NamedTuple):
    """A condition after its embedding; what is None is not there."""

    # (B, E), added to the embeddings of timestep and class; without tokens it joins their sequence as one, too.
    vector: Tensor | None = None
    tokens: Tensor | None = None  # (B, L, E), which join the tokens of timestep and class
    mask: Tensor | None = None  # (B, L) bool, False where a token is padding; None: all count
    channels: Tensor | None = None  # (B, C', H, W), joined to the image's channels


@dataclass(frozen=True)
class EmbedderSite:
    """Where an embedder stands."""

    embedding: int  # width E of the vectors
    shape: tuple[int, int, int]  # (C, H, W) of the image that the network sees


class Embedder(Component):
    """Builds the module that embeds one condition of a network."""

    kind: ClassVar[str] = "embedder"
    forms: ClassVar[tuple[Form, ...]]  # of the conditions that it can embed

    of: Annotated[str | None, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)] = (
        None  # name of the condition; none: the only one of its form
    )

    def condition(self, setting: InputSpec) -> ConditionSpec:
        """Return the condition that it embeds. Raises InputError where there is none, or several could be meant."""
        found = [spec for form in self.forms for spec in setting.find(form, self.of)]
        if len(found) == 1:
            return found[0]
        forms = " or ".join(self.forms)
        told = {spec.name: spec.form for form in ("class", "text", "scalars", "image") for spec in setting.find(form)}
        there = ", ".join(f"{name} ({form})" for name, form in told.items()) or "none"
        if found:
            raise InputError(
                f"several conditions are {forms}: {', '.join(s.name for s in found)}; say one of them: of: …"
            )
        wanted = f"condition {self.of!r} as {forms}" if self.of else f"condition that is {forms}"
        raise InputError(f"embeds a {wanted}, and there is none (conditions here: {there}); see data.conditions")

    def refuse(self, setting: InputSpec) -> str | None:
        """Nothing to embed, or what does not suit the embedder."""
        try:
            return self.refuse_condition(self.condition(setting), setting)
        except InputError as error:
            return error.message

    def refuse_condition(self, spec: ConditionSpec, setting: InputSpec) -> str | None:
        """Return why it cannot embed such a condition; None if it can."""
        return None

    def channels(self, spec: ConditionSpec) -> int:
        """Return how many channels it joins to the image's."""
        return 0

    @abstractmethod
    def build(self, spec: ConditionSpec, site: EmbedderSite) -> nn.Module:
        """Build a module `forward(told) -> Embedded`.

        told: a `Told` of `spec`. Where `told.present` is False the result must not depend on `told.value`: so a
        network is trained to do without, and guided.
        """
