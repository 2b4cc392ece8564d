"""A Ray cluster whose head is gone while a study runs: one message, exit code 2, and another executor goes on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from kills_for_tests import (
    LONG,
    assert_same_tables,
    checkpoints,
    command,
    environment,
    errors,
    lay_out,
    marks,
    run,
    until,
)
from ray_clusters import ray_cluster

from ablate.execute.ray import Ray

NATIVE = re.compile(r"^\[[^\]]*\] ?\(|\.cc:\d+|\*\*\* |StackTrace|Traceback", re.MULTILINE)  # Ray's C++ lines


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(3 * LONG)
@pytest.mark.skipif(not Ray.available(), reason="Ray is not installed")
def test_a_head_that_is_lost_is_one_message_and_local_goes_on(tmp_path: Path) -> None:
    file, out = lay_out(tmp_path), tmp_path / "out"
    with ray_cluster() as cluster:
        cluster.start("head")
        own = f"executor={{type: ray, address: '127.0.0.1:{cluster.port}', cpus: 1}}"
        driver = subprocess.Popen(
            command(file, out, "--set", own),
            env={**environment(PROBE_SLEEP="0.5"), "RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until(lambda: checkpoints(out) or driver.poll() is not None, LONG, "no training began")
            assert driver.poll() is None, driver.communicate()
            before = marks(out)
            cluster.kill("head")
            printed, told = driver.communicate(timeout=LONG)
        finally:
            driver.kill()
    assert driver.returncode == 2, (printed, told)
    message = [line for line in errors(told).splitlines() if not line.startswith("warning: ")]
    assert len(message) == 1 and "does not answer any more" in message[0], told
    assert "--executor local" in message[0] and "it goes on from what is there" in message[0]
    assert not NATIVE.search(printed) and not NATIVE.search(told), (printed, told)
    assert run(file, out, "--executor", "local").returncode == 0
    assert {trial: marks(out)[trial] for trial in before} == before
    undisturbed = tmp_path / "undisturbed"
    assert run(file, undisturbed, "--executor", "local").returncode == 0
    assert_same_tables(out, undisturbed)
