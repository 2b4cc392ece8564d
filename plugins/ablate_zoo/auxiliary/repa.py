"""auxiliary `repa`: representation alignment, activations are led towards those of a frozen network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, Features, Host, InputError, InputSpec, Pictures, SiteAuxiliary, slot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ablate_zoo.auxiliary._alignment import Alignment


class Repa(SiteAuxiliary):
    """Representation alignment, REPA: minus the mean cosine between projected activations and a teacher's features.

    Yu et al. 2024, "Representation Alignment for Generation: Training Diffusion Transformers Is Easier Than You
    Think", eq. 8: every token of the noisy image at a block, through an MLP of three layers (SiLU), is compared with
    what the teacher sees at that place of the clean image. The teacher is a `features` component, frozen. Where it has
    patches (`dinov2`, `classifier`, `efficientnet_lite0`) they are laid over the grid of the block, averaged where
    they are finer and interpolated bilinearly where they are coarser; where it has a pooled vector alone, every place
    is compared with that. Its features of every training image are computed once, and of the mirrored ones where
    images are mirrored, in half precision, and kept in the cache. Where the network sees latents, the teacher sees the
    pictures behind them. `until` ends the term after a share of the training (Wang et al. 2025, "REPA Works Until It
    Doesn't", HASTE).
    """

    name = "repa"

    teacher: Features = slot()
    hidden: Annotated[int | None, Field(ge=8, le=65_536), Choice(256, 2048)] = (
        None  # width of the projector; None: that of the block. The paper has 2048, for widths of 384 to 1152
    )

    def requires(self) -> Mapping[str, str]:
        """An objective with a shared pass; pictures, also behind latents."""
        return {
            "activations": "it aligns the activations of a step's one pass; use objective 'denoise'",
            "pictures": "the teacher sees pictures, and of these data only latents are known; name those that were "
            "encoded in the data's `pictures`, or use data of pictures",
        }

    def excludes(self) -> Mapping[str, str]:
        """Augmentation beyond mirroring."""
        return {
            "altered_pictures": "the teacher's features are computed once for each picture, as it is without "
            "augmentation; use augmentation 'flip' or 'none'",
        }

    def refuse(self, setting: InputSpec) -> str | None:
        """A teacher whose number of features is not known."""
        if self.teacher.patches() is None:
            return f"features {self.teacher.name!r} do not say how many numbers they give (`patches`); choose others"
        return None

    def sites(self, host: Host) -> Sequence[str]:
        """The block, whose tokens or maps have to lie on a grid of the image."""
        from ablate_zoo.auxiliary._alignment import grid_of

        site = self.where(host)
        if grid_of(host.sites[site], host.setting) is None:
            shape = "×".join(map(str, host.sites[site]))
            raise InputError(f"what block {site!r} gives, {shape}, is no grid of tokens or pixels over the image")
        return (site,)

    def build(self, host: Host) -> Alignment:
        """The projector, which is trained."""
        from ablate_zoo.auxiliary._alignment import Alignment, grid_of

        site = self.where(host)
        shape, patches = host.sites[site], self.teacher.patches()
        grid = grid_of(shape, host.setting)
        assert grid is not None and patches is not None, "these were refused"
        return Alignment(site, shape, grid, patches, self.hidden)

    def prepare(self, term: Alignment, pictures: Pictures) -> None:
        """The teacher's features of the training images, as they are or from the cache."""
        from ablate_zoo.auxiliary._alignment import TeacherTable

        seen = replace(pictures, dataset=pictures.dataset.behind())
        teacher = self.teacher.prepare(seen.dataset, seen.cache, seen.device, seen.pause)
        term.attach(TeacherTable(teacher, seen, term.kept))
