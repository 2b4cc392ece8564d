"""What couplings by assignment share: the permutation of the noise that makes a sum of costs least."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ablate.api import Coupling, Course

if TYPE_CHECKING:
    from torch import Tensor


class Assigned(Coupling):
    """The noise is permuted so that the sum of the costs of all pairs (image, noise) is least: linear assignment.

    It is solved exactly, on the CPU, in about a millisecond for 128 images and cubic time beyond.
    """

    # Permute within a class alone. Across classes the noise that an image meets depends on its label, which it does not
    # do in sampling: conditional samples are then off.
    within_class: bool = False

    @abstractmethod
    def cost(self, squared: Tensor) -> Tensor:
        """Compute the cost of a pair from its squared distance, fp32."""

    def excludes(self) -> Mapping[str, str]:
        """A captured step: what is on the device cannot wait for the processor."""
        return {"captured_step": "it solves the assignment on the processor in every step"}

    def idle(self, course: Course) -> Iterable[str]:
        """Warn of a batch of one, and of classes that are not there."""
        if course.batch == 1:
            yield "a batch of one image has nothing to permute"
        if self.within_class and course.setting.classes is None:
            yield "within_class: these data have no classes"

    def order(self, x0: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        """The permutation of least cost, of all, or of the images of each class."""
        import torch

        if not self.within_class or labels is None:
            return self._least(x0, noise)
        order = torch.arange(len(x0), device=x0.device)
        for label in labels.unique():
            (members,) = torch.where(labels == label)
            order[members] = members[self._least(x0[members], noise[members])]
        return order

    def _least(self, x0: Tensor, noise: Tensor) -> Tensor:
        import torch
        from scipy.optimize import linear_sum_assignment

        images, noises = x0.flatten(1).float(), noise.flatten(1).float()
        squared = images.square().sum(1)[:, None] + noises.square().sum(1) - 2 * images @ noises.T
        _, columns = linear_sum_assignment(self.cost(squared.clamp(min=0)).cpu().numpy())
        return torch.from_numpy(columns).to(x0.device)
