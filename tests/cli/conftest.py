"""A study before it ran, and one that was run to its end."""

import contextlib
import io
from types import SimpleNamespace

import pytest
from command_line import CACHE, HERE_ALONE, STUDY, lay_out

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
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        ran = call(patch, folder, "run", "tiny.yaml", *HERE_ALONE)
    ran.stdout, ran.stderr = out.getvalue(), err.getvalue()
    return ran, folder / "results" / "tiny"


def call(patch, cwd, *words):
    """The command line in this process: its exit code."""
    patch.setenv("ABLATE_CACHE", str(CACHE))
    patch.setattr("ablate.runtime.patient.SECONDS", 1e6)  # a machine may be busy
    if cwd is not None:
        patch.chdir(cwd)
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return SimpleNamespace(returncode=ended.value.code, stdout="", stderr="")


@pytest.fixture
def within(capsys, monkeypatch):
    """The command line in this process, for what needs no process of its own."""

    def within(*words, cwd=None):
        capsys.readouterr()
        ran = call(monkeypatch, cwd, *words)
        ran.stdout, ran.stderr = capsys.readouterr()
        return ran

    return within
