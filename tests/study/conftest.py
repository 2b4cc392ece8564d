"""Studies that are run here run in this process: what it takes to start another is not what these tests are about.

tests/execute, tests/engine, tests/cli and tests/test_kill.py run the executor `local` as it is.
"""

from collections.abc import Iterator

import pytest

from ablate.execute.local import InProcessPool, Local
from ablate.kinds.executor import Pool


@pytest.fixture(scope="module", autouse=True)  # not longer: another folder's tests may follow in the same process
def in_this_process() -> Iterator[None]:
    """`local` as with `in_process: true`, though the studies and their hashes do not say so."""

    def start(self: Local, work: str, device: str) -> Pool:
        return InProcessPool(work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Local, "start", start)
        yield
