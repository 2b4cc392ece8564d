"""`ablate dashboard`: Optuna's pages over a study's ledger, which is only read."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from command_line import PATIENCE

from ablate.cli import main


def fetch(url, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=PATIENCE) as answer:
        return json.load(answer)


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def test_the_candidates_are_shown_and_nothing_can_be_changed(ended, port):
    pytest.importorskip("optuna_dashboard")
    folder, url = ended[1], f"http://localhost:{port}/api/studies"
    before = (folder / "optuna.db").read_bytes()
    words = [sys.executable, "-m", "ablate.cli", "dashboard", str(folder), "--port", str(port)]
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as server:
        try:
            assert server.stdout.readline() == f"http://localhost:{port}/ shows {folder}; Ctrl-C ends it\n"
            while True:
                try:
                    summaries = fetch(url)["study_summaries"]
                    break
                except urllib.error.URLError:
                    assert server.poll() is None
                    time.sleep(0.1)
            assert [study["study_name"] for study in summaries] == ["tiny"]
            trials = fetch(f"{url}/{summaries[0]['study_id']}?after=0")["trials"]
            assert {trial["state"] for trial in trials} >= {"Complete", "Fail"}
            with pytest.raises(urllib.error.HTTPError, match="500"):
                fetch(f"{url}/{summaries[0]['study_id']}", "DELETE")
            while True:  # wsgiref swallows what interrupts an answer that is still on its way
                server.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    assert server.wait(5) == 0
                    break
        finally:
            server.kill()
    assert (folder / "optuna.db").read_bytes() == before


def test_what_cannot_be_shown(ended, port, tmp_path, within, monkeypatch):
    assert "there is no study here" in within("dashboard", tmp_path).stderr
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "optuna_dashboard", None)
        assert "pip install 'ablate[dashboard]'" in within("dashboard", ended[1]).stderr
    pytest.importorskip("optuna_dashboard")
    with socket.socket() as busy:
        busy.bind(("localhost", port))
        busy.listen()
        ran = within("dashboard", ended[1], "--port", port)
    assert ran.returncode == 2 and "choose another --port" in ran.stderr


def test_a_study_that_was_kept_without_its_ledger_is_told(tmp_path, capsys):
    (tmp_path / "lock.json").write_text("{}")
    with pytest.raises(SystemExit) as stopped:
        main(["dashboard", str(tmp_path)])
    message = capsys.readouterr().err
    assert stopped.value.code == 2 and "keeps the results of a study without its optuna.db" in message
    assert f"see `ablate status {tmp_path}`" in message
