"""Trackers that are wrong, each in a way of its own; `fails` says which checks have to tell."""

from typing import ClassVar

from ablate.api import Log, Tracker


class Lines(Log):
    def __init__(self, folder):
        self.folder, self.trials = folder, set()

    def begin(self, trial, handle):
        self.trials.add(trial.trial)
        return trial.trial

    def log(self, trial, images, values, seconds):
        with (self.folder / f"{trial}.txt").open("a") as file:
            file.write(f"{images} {values}\n")

    def picture(self, trial, images, picture):
        assert picture.shape[2] == 3

    def end(self, trial, state, values, message):
        self.trials.remove(trial)

    def close(self):
        pass


class SoundTracker(Tracker):
    """Writes lines."""

    name = "sound_tracker"
    fails: ClassVar = ()
    log: ClassVar = Lines

    def open(self, study):
        return self.log(study.folder)


class OneAtATime(Lines):
    def begin(self, trial, handle):
        assert not self.trials, "one trial is open"
        return super().begin(trial, handle)


class Lonely(SoundTracker):
    """Knows one trial at a time."""

    name = "lonely"
    fails: ClassVar = ("logs_trials_side_by_side",)
    log: ClassVar = OneAtATime


class Anew(Lines):
    count = 0

    def begin(self, trial, handle):
        Anew.count += 1
        return str(Anew.count)


class Forgetful(SoundTracker):
    """Begins a new run each time."""

    name = "forgetful"
    fails: ClassVar = ("goes_on_with_a_run",)
    log: ClassVar = Anew

    def open(self, study):
        return Anew(study.folder)


class ByName(Lines):
    def begin(self, trial, handle):
        if ".." in trial.candidate:
            (self.folder / ".." / "x").write_text("")
        return super().begin(trial, handle)


class Trusting(SoundTracker):
    """Takes a candidate's name for the name of a file."""

    name = "trusting"
    fails: ClassVar = ("takes_names_as_text",)
    log: ClassVar = ByName


class Unended(Lines):
    def close(self):
        assert not self.trials, "a trial is open"


class Strict(SoundTracker):
    """Closes only where every trial has ended."""

    name = "strict"
    fails: ClassVar = ("closes_with_trials_open", "goes_on_with_a_run")
    log: ClassVar = Unended
