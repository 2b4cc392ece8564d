"""`ablate plan STUDY --network`: the modules of one candidate."""

import json


def test_plan_shows_the_network_of_a_candidate(place, within):
    result = within("plan", "tiny.yaml", "--network", "--json", cwd=place)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["layers"][0]["params"] == document["params"]
    assert all(row["line"] > 0 for row in document["layers"])
    wrong = within("plan", "tiny.yaml", "--network", "--candidate", "none of these", cwd=place)
    assert wrong.returncode == 2 and "no candidate is called 'none of these'" in wrong.stderr
    wrong = within("plan", "tiny.yaml", "--candidate", "baseline", cwd=place)
    assert wrong.returncode == 2 and "say --network too" in wrong.stderr
