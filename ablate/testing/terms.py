"""Checks of what training minimises: objectives, and the auxiliary terms beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor

from ablate.candidates.candidate import Candidate
from ablate.kinds.auxiliary import Auxiliary
from ablate.kinds.objective import Objective
from ablate.kinds.teacher import TaughtObjective
from ablate.runtime.randomness import seed_everything
from ablate.spec.component import InputSpec
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.networks import close
from ablate.testing.trained import BATCH, HORIZON, candidates, learner
from ablate.training.learner import Learner
from ablate.training.terms import Terms, simulated_loss, teacher_like

META = torch.device("meta")


def gives_a_number_an_image(case: Case) -> None:
    """Each term is (B,) fp32 and finite, and the loss reaches the network and all that the term has to train."""
    for part, candidate, setting in _placed(case):
        made = _moved(candidate, setting)
        loss, terms = _losses(made)
        for name, values in {"the loss": loss, **terms}.items():
            assert values.shape == (BATCH,), f"{part!r}: {name} is {tuple(values.shape)} for {BATCH} images"
            assert values.dtype == torch.float32, f"{part!r}: {name} is {values.dtype}, not fp32"
            assert values.isfinite().all(), f"{part!r}: {name} is not finite"
        of_the_part = loss if isinstance(part, Objective) else terms[part.name]
        of_the_part.sum().backward()  # type: ignore[no-untyped-call]
        assert _reached(made.network), f"{part!r}: no gradient of it reaches the network"
        unused = [
            n for n, p in made.terms.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
        ]
        assert not unused, f"{part!r}: no gradient reaches {', '.join(unused[:5])}, which it wants to train"


def is_repeatable(case: Case) -> None:
    """One batch and one seed give one loss; network, images and hooks stay as they are."""
    for part, candidate, setting in _placed(case):
        made = _moved(candidate, setting)
        before = {name: value.clone() for name, value in made.network.state_dict().items()}
        first, second = _losses(made)[0], _losses(made)[0]
        assert torch.equal(first, second), f"{part!r}: two losses of one batch; draw by `model.uniform`"
        moved = [name for name, value in made.network.state_dict().items() if not torch.equal(value, before[name])]
        assert not moved, f"{part!r}: changes the network: {', '.join(moved[:5])}"
        hooked = [name for name, module in made.network.named_modules() if module._forward_hooks]
        assert not hooked, f"{part!r}: leaves hooks on {', '.join(hooked[:5])}"


def couples_images_only_if_it_says_so(case: Case) -> None:
    """Unless `couples()` says so, the loss of an image does not depend on the rest of its batch."""
    for part, candidate, setting in _placed(case):
        if part.couples():
            continue
        made = _moved(candidate, setting)
        whole = _losses(made)[0]
        noised, labels = made.batch()
        made.micro = 1
        seed_everything(0, "check", 0)
        alone = torch.cat([made.loss(*one).detach() for one in made.parts(noised, labels)])
        assert close(alone, whole.detach()), f"{part!r}: an image alone has another loss; say so in `couples`"


def goes_on_from_a_checkpoint(case: Case) -> None:
    """After two steps, a new learner that loads the checkpoint takes the same third one."""
    for part, candidate, setting in _placed(case):
        made = learner(candidate, setting)
        for _ in range(2):
            made.step(HORIZON)
        again = learner(candidate, setting)
        again.load(made.state({}))
        one, other = made.step(HORIZON), again.step(HORIZON)
        assert torch.equal(one.loss, other.loss), f"{part!r}: goes on otherwise than it would have: keep it in buffers"
        assert torch.equal(one.gradient_norm, other.gradient_norm), f"{part!r}: goes on with other gradients"


def does_the_same_until_it_says(case: Case) -> None:
    """Until `same_until` of a training, its loss is that in longer ones, whose `progress` is less."""
    for part, candidate, setting in _placed(case, switched_off=True):
        made, until = _moved(candidate, setting), part.same_until(int(HORIZON))
        for share in (0.0, 0.1, 0.3, 0.6, 0.9):
            made.steps_done = int(share * HORIZON) // BATCH
            if made.images_seen >= until:
                break
            losses = []
            for longer in (HORIZON, 1.5 * HORIZON, 3 * HORIZON):
                made.horizon = longer
                losses.append(_losses(made)[0].detach())
            assert all(torch.equal(loss, losses[0]) for loss in losses), (
                f"{part!r}: says that it does the same until {until:g} of {HORIZON:g} images as in a longer training, "
                f"and after {made.images_seen} its loss is another; say in `same_until` what follows `model.progress`"
            )


def can_be_counted(case: Case) -> None:
    """It is built and computed on the meta device, where its memory and its operations are counted."""
    for part, candidate, setting in _placed(case):
        setting = candidate.inputs(setting)
        with META:
            network = candidate.backbone.build(setting)
            terms = Terms(candidate, setting, lambda _, build: build())
            teacher = teacher_like(candidate, network)
            loss = simulated_loss(candidate, setting, network, terms, BATCH, network, nullcontext, teacher)
        assert loss.is_meta and loss.shape == (), f"{part!r}: gives a loss on {loss.device}"


def learns_from_its_teacher(case: Case) -> None:
    """Teachers of teachers come to an end, and the same student has another loss beside another teacher."""
    for part, candidate, setting in _placed(case):
        if not isinstance(part, TaughtObjective):
            raise NotApplicable("it has no teacher")
        taught_by: object = part
        seen: set[str] = set()
        while isinstance(taught_by, TaughtObjective):
            assert taught_by.digest() not in seen, f"{part!r}: its teachers go round in a circle: {taught_by!r} again"
            seen.add(taught_by.digest())
            taught_by = taught_by.teacher()
        one, other = (learner(candidate, setting, teacher) for teacher in (0, 1))
        other.network.load_state_dict(one.network.state_dict())
        losses = [_losses(made)[0].detach() for made in (one, other)]
        assert not torch.equal(*losses), f"{part!r}: its loss is the same beside another teacher; ask `model.teacher`"


def _placed(case: Case, switched_off: bool = False) -> Iterator[tuple[Objective | Auxiliary, Candidate, InputSpec]]:
    """Yield the part, and with each of its switches turned, in small candidates.

    switched_off: also a term that is dropped when half of the training is done.
    """
    parts = list(case.variants())
    if switched_off:
        parts += [part.model_copy(update={"until": 0.5}) for part in parts[:1] if isinstance(part, Auxiliary)]
    for i, part in enumerate(parts):
        assert isinstance(part, Objective | Auxiliary)
        for candidate, setting in candidates(case, part):
            yield part, candidate, setting
            if i:
                break  # the variants in one network


def _moved(candidate: Candidate, setting: InputSpec) -> Learner:
    """Return a learner whose weights are no longer where they began: a layer that starts at zero hides the others."""
    made = learner(candidate, setting)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in made.network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
    return made


def _losses(made: Learner) -> tuple[Tensor, dict[str, Tensor]]:
    seed_everything(0, "check", 0)
    return made._losses(*made.batch())


def _reached(network: torch.nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())


CHECKS: tuple[Check, ...] = (
    gives_a_number_an_image,
    is_repeatable,
    couples_images_only_if_it_says_so,
    goes_on_from_a_checkpoint,
    does_the_same_until_it_says,
    can_be_counted,
)
