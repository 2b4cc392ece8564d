"""The ledger in PostgreSQL: a real server, two drivers of one study, and databases of others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from postgres_server import Postgres, postgres, why_not
from studies_for_tests import study

from ablate.engine.ledger import Ledger
from ablate.errors import InputError
from ablate.io.database_url import checked
from ablate.study.load import load_study

needs_server = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
DRIVER = """
import sys
from pathlib import Path
from ablate.engine.database import Database
database = Database(sys.argv[1], "s", Path(sys.argv[2]))
print("holds it", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def url(server: Postgres, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PGPASSWORD", server.secret)
    return server.url(f"of_{abs(hash(request.node.name))}")


@pytest.mark.parametrize(
    "text",
    ["postgresql://me:sesame@host/x", "postgresql://host/x?password=sesame", "mysql://sesame/x", "postgresql://sesame"],
)
def test_urls_that_are_none_or_hold_a_password_are_refused_without_it(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        checked(text)
    assert "sesame" not in str(refused.value)
    with pytest.raises(InputError) as told:
        load_study(study(storage=text))
    assert "me:sesame" not in str(told.value) and "=sesame" not in str(told.value)


def test_where_the_ledger_lives_is_no_part_of_a_study() -> None:
    plain, there = load_study(study()), load_study(study(storage="postgresql://host/x"))
    assert plain.study.active() == there.study.active()


@needs_server
def test_a_ledger_there_is_the_ledger_of_a_file(url: str, tmp_path: Path) -> None:
    """Asked and told, cut short and opened again, corrected: the same candidates, in the same order."""
    from ablate.engine.database import Database

    design = {"type": "search", "trials": 8, "algorithm": "tpe"}
    loaded = load_study(study(vary={"backbone.knob": {"low": 0, "high": 1}}, objectives=["loss"], design=design))
    settled = (loaded.space, loaded.study.design, loaded.objectives, 0)

    def asked(ledger: Ledger, count: int) -> list[float]:
        for entry in ledger.replay():
            assert entry.closed
        knobs = []
        while len(knobs) < count and (entry := ledger.ask()) is not None:
            knobs.append(entry.assignment["backbone.knob"])
            ledger.tell(entry, [knobs[-1]])
        return knobs

    def there(**identity: str) -> Ledger:
        store = partial(Database(url, "s", tmp_path).ledger, identity=identity.get("identity", "1"))
        return Ledger(tmp_path / "optuna.db", "s", *settled, store=store)

    wanted: list[float] = []
    for count in (5, 3):
        file = Ledger(tmp_path / "of_file.db", "s", *settled)
        wanted += asked(file, count)
        if count == 5:
            file.close()
    first = there()
    got = asked(first, 5)
    first.close()
    second = there()
    got += asked(second, 3)
    assert got == wanted and second.remaining() == 0
    assert second.correct({3: [0.25]}) == [3] and second.correct({3: [0.25]}) == []
    file.correct({3: [0.25]})
    told = [[trial.values for trial in one._study.get_trials()] for one in (second, file)]
    assert told[0] == told[1] and told[0][3] == [0.25]
    second.close()
    file.close()
    grown = there(identity="2")  # the study has other choices now: its ledger is made anew
    assert list(grown.replay()) == [] and grown.remaining() == 8
    grown.close()
    assert not (tmp_path / "optuna.db").exists()
    assert "sesame" not in (tmp_path / "ledger.json").read_text()


@needs_server
def test_of_two_drivers_one_is_refused_until_the_other_is_gone(url: str, server: Postgres, tmp_path: Path) -> None:
    from ablate.engine.database import Database

    first = subprocess.Popen(
        [sys.executable, "-c", DRIVER, url, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with first:
        assert first.stdout is not None and first.stdout.readline() == "holds it\n"
        for folder in (tmp_path, tmp_path / "elsewhere"):
            with pytest.raises(InputError, match=rf"`ablate run` of 's' is at work .*process {first.pid}") as it:
                Database(url, "s", folder)
            assert server.secret not in str(it.value)
        Database(url, "another", tmp_path).close()
        first.kill()
    second = None
    while second is None:  # its connection ends with it, as soon as the server sees that
        try:
            second = Database(url, "s", tmp_path)
        except InputError as error:
            assert "is at work" in str(error)
    second.close()


@needs_server
def test_a_driver_whose_lock_another_has_writes_no_more(url: str, server: Postgres, tmp_path: Path) -> None:
    """Its connection was cut (a firewall, a server that was started anew), and it does not know."""
    from ablate.engine.database import Database

    loaded = load_study(study())
    settled = (loaded.space, loaded.study.design, loaded.objectives, 0)
    late = Ledger(tmp_path / "db", "s", *settled, store=partial(Database(url, "s", tmp_path).ledger, identity="1"))
    entry = late.ask()
    assert entry is not None
    database = url.rpartition("/")[2]
    server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
    other = Database(url, "s", tmp_path)
    for _ in range(2):
        with pytest.raises(InputError):
            late.tell(entry, [1.0] * len(loaded.objectives))
    with pytest.raises(InputError, match="another `ablate run` of 's' is at work"):
        late.tell(entry, [1.0] * len(loaded.objectives))
    other.close()
    late.close()


@needs_server
def test_databases_of_others_are_refused(url: str, server: Postgres, tmp_path: Path) -> None:
    from ablate.engine.database import Database

    name = url.rpartition("/")[2]
    loaded = load_study(study())

    def opened(folder: Path) -> None:
        database = Database(url, "s", folder)
        database.ledger(loaded.objectives, ["loss"] * len(loaded.objectives), "1")
        database.close()

    for folder in ("mine", "copied"):
        (tmp_path / folder).mkdir()
    opened(tmp_path / "mine")
    opened(tmp_path / "mine")
    with pytest.raises(InputError, match=r"holds the ledger of another study of the name 's', begun in .*mine on host"):
        opened(tmp_path / "copied")
    server.sql("UPDATE alembic_version SET version_num = 'v9.9.9'", name)
    with pytest.raises(InputError, match="has the schema of another version of Optuna"):
        opened(tmp_path / "mine")
    server.sql("DROP TABLE alembic_version", name)
    with pytest.raises(InputError, match="holds tables of another schema"):
        opened(tmp_path / "mine")
    with pytest.raises(InputError, match=r"cannot be used: .*does not exist; put it right"):
        Database(url + "_not", "s", tmp_path)
    with pytest.raises(InputError, match=r"cannot be used: .*refused"):
        Database("postgresql://ablate@127.0.0.1:1/x", "s", tmp_path)
    assert json.loads((tmp_path / "mine" / "ledger.json").read_text())["storage"] == url
