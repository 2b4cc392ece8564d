"""What the command line imports before it is asked for anything, and its help."""

import json
import subprocess
import sys

import pytest
from command_line import PATIENCE, ablate, environment, words

HEAVY = ("torch", "pandas", "optuna", "ray", "pydantic", "numpy", "rich", "sqlalchemy", "ruamel.yaml")
COMMANDS = ("run", "worker", "plan", "status", "show", "report", "export", "data", "plugins", "doctor", "schema")


def imported(code):
    """Which of the heavy modules a program has imported at its end."""
    program = f"import sys, json\n{code}\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return json.loads(ran.stdout.splitlines()[-1])


def test_importing_the_command_line_imports_nothing_heavy():
    assert imported("import ablate.cli, ablate.cli.app") == []


def test_help_imports_nothing_heavy():
    assert imported(asking([["--help"]])) == []
    commands = [[command, "--help"] for command in COMMANDS]
    assert set(imported(asking(commands))) <= {"pydantic"}  # typer reads the parameters of a command with it


def asking(calls):
    """A program that calls the command line with each of these words."""
    one = "    try: main(asked)\n    except SystemExit: pass"
    return f"from ablate.cli import main\nfor asked in {calls!r}:\n{one}"


def test_a_mistake_in_a_study_is_told_without_torch_and_ray(place):
    (place / "tiny.yaml").write_text((place / "tiny.yaml").read_text().replace("batch: 32", "bach: 32"))
    words = ["plan", str(place / "tiny.yaml")]
    modules = imported(f"from ablate.cli import main\ntry: main({words!r})\nexcept SystemExit as e: assert e.code == 2")
    assert not {"torch", "ray", "optuna", "pandas"} & set(modules)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_and_is_listed(within, command):
    ran = within(command, "--help")
    assert ran.returncode == 0 and ran.stderr == ""
    assert ran.stdout.startswith(f"Usage: ablate {command}")
    assert f"\n  {command} " in within("--help").stdout


def test_run_and_plan_offer_what_the_contract_names(within):
    output = within("run", "--help").stdout
    for option in ("--out", "--set", "--plugin", "--profile", "--executor", "--workers", "--device"):
        assert f"  {option} " in output
    assert "--json" in within("plan", "--help").stdout


def test_version():
    import ablate as package

    assert ablate("--version").stdout.strip() == f"ablate {package.__version__}"


@pytest.mark.parametrize(
    "arguments", [["rum"], ["run"], ["run", "a.yaml", "--wrokers", "2"], ["run", "a", "--workers", "x"]]
)
def test_wrong_usage_is_two_and_one_message_on_stderr(within, arguments):
    ran = within(*arguments)
    assert ran.returncode == 2 and ran.stdout == ""
    assert "Error: " in ran.stderr and "Traceback" not in ran.stderr


def test_the_script_runs_what_the_module_runs():
    script = subprocess.run(
        [sys.executable, "-c", "from ablate.cli import main; main()", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert script.stdout == subprocess.run(words("--version"), capture_output=True, text=True, check=True).stdout
