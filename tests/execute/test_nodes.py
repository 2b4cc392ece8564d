"""A Ray cluster of several nodes: one lacks the study's folder, one has other versions, one comes later and goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributions_for_tests import WEIGHTING, distribution
from kills_for_tests import LONG, STUDY, assert_same_tables, command, environment, lay_out, run
from ray_clusters import Cluster, ray_cluster
from waiting_for_tests import PATIENCE, until

from ablate.execute import nodes
from ablate.execute.ray import Ray
from ablate.execute.share import Share

DRIVER = """
import json, sys
from pathlib import Path
from ablate.execute.ray import Ray
study = Path(sys.argv[2])
with Ray(address=sys.argv[1]).in_folder(study).start("work_for_tests:work", "cpu") as pool:
    number = 0
    for line in sys.stdin:
        seen, jobs, done = set(), int(line), 0
        running = 0
        while done < jobs:
            while running < pool.slots and number < 10**6 and running + done < jobs:
                number += 1
                running += 1
                folder = str(study / "trials" / str(number))
                pool.submit({"job": str(number), "do": "node", "seconds": 0.2, "folder": folder})
            for report in pool.wait(0.25):
                running -= 1
                assert report["status"] in ("done", "lost"), report
                if report["status"] == "done":
                    done += 1
                    seen |= {key for key in report["node"] if key.startswith("name_")}
        print(json.dumps({"slots": pool.slots, "nodes": sorted(seen), "news": pool.news()}), flush=True)
"""


class SilentRay:
    """Ray, whose head answers once, and then is away: it is waited for in native code."""

    def __init__(self) -> None:
        self.asked = 0
        self.back = threading.Event()

    def nodes(self) -> list[dict[str, object]]:
        self.asked += 1
        if self.asked > 1:
            self.back.wait()
        facts = {"Resources": {"CPU": self.asked}, "NodeManagerHostname": "one", "NodeManagerAddress": "127.0.0.1"}
        return [{"NodeID": str(self.asked), "Alive": True, **facts}]


def test_a_head_that_is_away_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = SilentRay()
    monkeypatch.setattr(nodes, "_ray", lambda: ray)
    monkeypatch.setattr(nodes, "LOOK", 0.0)
    there = nodes.Nodes(Share(1, 1, 0), None, None)
    assert there.slots == 1
    for _ in range(3):
        there.look()
    assert there.slots == 1 and ray.asked == 2  # one question at a time
    ray.back.set()
    until(lambda: there.look() or there.slots > 1, PATIENCE, "the answer is not taken")


class ListingRay:
    """Ray, whose list of nodes still has one that is gone."""

    def nodes(self) -> list[dict[str, object]]:
        facts = {"Alive": True, "Resources": {"CPU": 2}, "NodeManagerHostname": "h", "NodeManagerAddress": "127.0.0.1"}
        return [{"NodeID": name, **facts} for name in ("gone", "there")]


def test_a_node_that_is_gone_gets_no_trial_though_the_list_still_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_ray", ListingRay)
    monkeypatch.setattr(nodes, "LOOK", 0.0)
    there = nodes.Nodes(Share(1, 1, 0), None, None)
    assert {there.place(), there.place()} == {"gone", "there"}
    there.release("gone")
    there.leave("gone")
    until(lambda: there.look() or there.slots == 2, PATIENCE, "it still has room")
    assert [there.place() for _ in range(2)] == ["there", "there"]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with ray_cluster() as made:
        yield made


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.skipif(not Ray.available(), reason="Ray is not installed")
def test_slots_follow_the_nodes_and_those_that_do_not_fit_are_passed_over(cluster: Cluster, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine has no mount namespaces for us")
    other = tmp_path / "other" / "torch-1.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0\n")
    (tmp_path / "place" / "study" / "trials").mkdir(parents=True)
    cluster.start("head")
    cluster.start("blind", f"mount -t tmpfs none {tmp_path / 'place'}")
    cluster.start("old", PYTHONPATH=os.pathsep.join((str(other.parent), cluster.environment["PYTHONPATH"])))
    command = [sys.executable, "-c", DRIVER, f"127.0.0.1:{cluster.port}", str(tmp_path / "place" / "study")]
    driver = subprocess.Popen(command, env=cluster.environment, stdin=-1, stdout=-1, stderr=-1, text=True)
    assert driver.stdin is not None and driver.stdout is not None

    def ask(jobs: int) -> dict[str, object]:
        print(jobs, file=driver.stdin, flush=True)
        line = driver.stdout.readline()
        assert line, driver.communicate()
        answer: dict[str, object] = json.loads(line)
        return answer

    first = ask(6)
    assert first["nodes"] == ["name_head"] and first["slots"] == 1, first
    news = "\n".join(map(str, first["news"]))
    assert "it does not see the study's folder" in news
    assert "other versions than the driver: torch" in news and news.count("is passed over") == 2
    cluster.start("later")
    until(lambda: ask(2)["slots"] == 2, PATIENCE, "a node that joined is not used")
    assert ask(8)["nodes"] == ["name_head", "name_later"]
    cluster.kill("later")
    until(lambda: ask(1)["slots"] == 1, PATIENCE, "a node that is gone is waited for")
    assert ask(3)["nodes"] == ["name_head"]
    assert driver.communicate(timeout=PATIENCE) == ("", "")  # not a word of Ray's own
    assert driver.returncode == 0 and not list((tmp_path / "place" / "study").glob(".ray-*"))


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(3 * LONG)
@pytest.mark.skipif(not Ray.available(), reason="Ray is not installed")
def test_a_node_without_a_plugin_is_named_and_the_study_is_that_of_the_others(cluster: Cluster, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine has no mount namespaces for us")
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    distribution(plugins, "extra-weighting", "extra_weighting", WEIGHTING.format(name="extra", weight=2))
    path = os.pathsep.join((str(plugins), cluster.environment["PYTHONPATH"]))
    own = {"PYTHONPATH": path, "RAY_AUTH_MODE": "disabled"}
    cluster.start("head", PYTHONPATH=path)
    cluster.start("bare", f"mount -t tmpfs none {plugins}", PYTHONPATH=path)
    file = lay_out(tmp_path / "study", STUDY.replace("  batch: 16", "  weighting: extra\n  batch: 16"))
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    ray = f"executor={{type: ray, address: '127.0.0.1:{cluster.port}', cpus: 1}}"
    done = subprocess.run(
        command(file, out, "--set", ray), env=environment(**own), capture_output=True, text=True, timeout=LONG
    )
    told = [line for line in done.stdout.splitlines() if "is passed over" in line]
    assert done.returncode == 0 and len(told) == 1, (done.stdout, done.stderr)
    assert "it has other source than the driver: weighting/extra" in told[0]
    assert run(file, undisturbed, "--executor", "local", **own).returncode == 0
    assert_same_tables(out, undisturbed)
