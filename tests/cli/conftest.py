"""A study before it ran, and one that was run to its end."""

import pytest
from command_line import STUDY, ablate, lay_out


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
