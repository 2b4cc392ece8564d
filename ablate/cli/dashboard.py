"""`ablate dashboard`: Optuna's own pages of a study's search, in a browser, also while it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from ablate.cli.options import Folder


def dashboard(
    folder: Folder,
    host: Annotated[str, typer.Option(metavar="NAME", help="The address to listen at.")] = "localhost",
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="The port to listen at.")] = 8080,
) -> None:
    """Show the search in a browser, until Ctrl-C: Optuna's dashboard over the study's ledger, also while it runs.

    A trial there is a candidate here, its values are means over seeds. The ledger is only read: what is changed
    or deleted in the browser fails, and the study keeps all.
    """
    from ablate.errors import InputError

    file = folder / "optuna.db"
    if not file.is_file():
        if (folder / "lock.json").is_file():
            problem = "keeps the results of a study without its optuna.db, which is what the dashboard shows"
            raise InputError(f"{problem}; see `ablate status {folder}`", str(folder))
        raise InputError("there is no study here: it has no optuna.db", str(folder))
    try:
        from optuna_dashboard import run_server
    except ImportError:
        raise InputError("the dashboard is another package: pip install 'ablate[dashboard]'") from None
    from urllib.parse import quote

    from optuna.storages import RDBStorage

    where = f"sqlite:///file:{quote(str(file.resolve()))}?mode=ro&uri=true"
    storage = RDBStorage(where, skip_table_creation=True, skip_compatibility_check=True)
    print(f"http://{host}:{port}/ shows {folder}; Ctrl-C ends it", flush=True)
    try:
        run_server(storage, host=host, port=port)
    except OSError as error:
        raise InputError(f"cannot listen at {host}:{port}: {error.strerror or error}; choose another --port") from None
