"""What a study states of the environment of Ray's workers: taken, refused, and brought to them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from waiting_for_tests import run

from ablate.discovery.catalog import catalog
from ablate.errors import InputError, SpecError
from ablate.execute.ray import Ray
from ablate.execute.ray_workers_env import runtime_env_of
from ablate.kinds.executor import Executor
from ablate.spec.slots import create

needs_ray = pytest.mark.skipif(not Ray.available(), reason="Ray is not installed")


def executor(**fields: Any) -> Ray:
    made = create(Executor, {"type": "ray", **fields}, catalog())
    assert isinstance(made, Ray)
    return made


@needs_ray
def test_variables_are_stated_or_taken_from_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_FOR_TEST", "secret")
    ray = executor(env={"HF_HOME": "/data", "OMP_NUM_THREADS": 2, "TOKEN_FOR_TEST": None}, runtime_env={"pip": ["x"]})
    assert "secret" not in str(ray.spec())
    assert create(Executor, ray.spec(), catalog()) == ray and ray.digest() == executor().digest()
    asked = runtime_env_of(ray.env, ray.runtime_env)
    assert asked == {
        "pip": ["x"],
        "env_vars": {"HF_HOME": "/data", "OMP_NUM_THREADS": "2", "TOKEN_FOR_TEST": "secret"},
    }
    assert runtime_env_of(executor().env, executor().runtime_env) is None


@needs_ray
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"env": {"1A": "x"}}, "no name of an environment variable"),
        ({"env": {"A": True}}, "not True"),
        ({"env": 3}, "env: "),
        ({"runtime_env": 3}, "runtime_env: "),
        (
            {"env": {"NOT_SET_FOR_TEST": None}},
            "takes NOT_SET_FOR_TEST from the driver, which has none: export it first",
        ),
        ({"env": {"A": "1"}, "runtime_env": {"env_vars": {"A": "2"}}}, "A stands in `env` too"),
        ({"runtime_env": {"pip": 3}}, "Ray does not take it: .*pip"),
    ],
)
def test_what_cannot_be_brought_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises((SpecError, InputError), match=message) as caught:
        made = executor(**fields)
        runtime_env_of(made.env, made.runtime_env)
    assert "\n" not in str(caught.value)


@needs_ray
@pytest.mark.slow
@pytest.mark.thorough
def test_workers_have_the_variables(tmp_path: Path) -> None:
    with executor(workers=1, cpus=1, env={"BROUGHT_FOR_TEST": "yes"}).start("work_for_tests:work", "cpu") as pool:
        assert run(pool, do="variable", variable="BROUGHT_FOR_TEST")["value"] == "yes"
    assert "BROUGHT_FOR_TEST" not in os.environ
