"""Teachers: objectives that learn from a trained network of the same shape, and where that network comes from."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field

from ablate.kinds.objective import Objective
from ablate.spec.component import Config, Extent


class TeacherTrial(Config):
    """A finished trial of another study, whose averaged weights teach.

    A candidate's identity does not say where it lies, but which network it is: a moved folder with the same network is
    the same teacher, another network in the same folder is another one. With `identity` said, a study whose students
    are trained goes on where that folder is gone.
    """

    study: Annotated[str, Field(min_length=1), Extent()]  # the study's folder, relative to this study's file
    # as its tables name the candidate, `baseline`, or the first digits of its config_hash; None: the only one
    candidate: Annotated[str | None, Field(min_length=1), Extent()] = None
    # same: each student's seed has the teacher of that seed; a number: all have the one of that
    seed: Annotated[int, Field(ge=0)] | Literal["same"] = "same"
    # config_hash, with a number as seed a hash over it and the weights; None: as it is found when the study is read
    identity: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$")] = None


class TaughtObjective(Objective):
    """An objective with a teacher: a frozen network of the candidate's own shape, asked by `model.teacher`.

    The student starts from the teacher's weights. The teacher is another candidate of the same study, equal in all but
    its objective and trained before with the same seed, or a finished trial of another study, `trial`.
    """

    trial: TeacherTrial | None = None  # of another study; None: a candidate of this one

    @abstractmethod
    def teacher(self) -> TaughtObjective | TeacherTrial | None:
        """Return who teaches: the candidate of this study with the objective that is returned, or a trial.

        None: the candidate of this study with the default objective.
        """

    def refuse_teacher(self, objective: Objective) -> str | None:
        """Return why a network that was trained by that objective cannot teach, and what to do; None where it can."""
        return None
