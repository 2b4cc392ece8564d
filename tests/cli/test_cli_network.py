"""`ablate plan STUDY --network`: the modules of one candidate."""

import json


def test_plan_shows_the_network_of_a_candidate(place, within):
    told = within("plan", "tiny.yaml", "--network", "--json", cwd=place)
    assert told.returncode == 0, told.stderr
    said = json.loads(told.stdout)
    assert said["layers"][0]["params"] == said["params"]
    assert all(row["line"] > 0 for row in said["layers"])
    wrong = within("plan", "tiny.yaml", "--network", "--candidate", "none of these", cwd=place)
    assert wrong.returncode == 2 and "no candidate is called 'none of these'" in wrong.stderr
    wrong = within("plan", "tiny.yaml", "--candidate", "baseline", cwd=place)
    assert wrong.returncode == 2 and "say --network too" in wrong.stderr
