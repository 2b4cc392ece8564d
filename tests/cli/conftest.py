"""A study before it ran, and one that was run to its end."""

from types import SimpleNamespace

import pytest
from command_line import CACHE, STUDY, ablate, lay_out

from ablate.cli import main


@pytest.fixture
def place(tmp_path):
    """A folder with `tiny.yaml` and its plugin."""
    lay_out(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def ended(tmp_path_factory):
    """A study of which two candidates completed, one failed and one diverged: how the run ended, and its folder."""
    folder = tmp_path_factory.mktemp("ended")
    lay_out(folder, STUDY.replace("design:", "  backbone.mode: [fine, broken, diverging]\ndesign:"))
    ran = ablate("run", "tiny.yaml", "--executor", "local", "--device", "cpu", cwd=folder)
    return ran, folder / "results" / "tiny"


@pytest.fixture
def within(capsys, monkeypatch):
    """The command line in this process, for what needs no process of its own."""

    def call(*words, cwd=None):
        monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
        monkeypatch.setattr("ablate.patient.SECONDS", 1e6)  # a machine may be busy
        if cwd is not None:
            monkeypatch.chdir(cwd)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        told = capsys.readouterr()
        return SimpleNamespace(returncode=ended.value.code, stdout=told.out, stderr=told.err)

    return call
