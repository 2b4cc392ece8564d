"""The command line: `ablate run`, `plan`, `status`, `report`, `export`, `evaluate` and their kin.

Importing it costs next to nothing: every command imports what it needs when it is called.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; always ends by SystemExit, with a code that `ablate.cli.outcome` explains."""
    import sys
    import traceback

    from ablate.cli.app import app
    from ablate.cli.outcome import DEFECT, complain
    from ablate.runtime import stdout
    from ablate.runtime.patient import telling

    try:
        with telling(complain):
            app(args=None if argv is None else list(argv), prog_name="ablate")
    except Exception:  # noqa: BLE001 - what gets here is foreseen nowhere, and must not look like exit code 1
        traceback.print_exc()
        print("this is a defect of ablate or of a plugin, not of what you asked for", file=sys.stderr)
        sys.exit(DEFECT)
    finally:
        if argv is None:
            stdout.end()
