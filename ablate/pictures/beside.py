"""Read what is known of pictures beside their pixels: a caption in NAME.txt, and rows of metadata.csv or .jsonl."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

CAPTION = "caption"
KEY = "file_name"
TABLES = ("metadata.csv", "metadata.jsonl")
MOST_BYTES = 2**20  # of one caption
TEXT, NUMBERS = ("string", "empty"), ("integer", "floating", "boolean", "mixed-integer-float")  # as pandas calls them


class Beside:
    """The columns of the pictures of a folder or an archive.

    A caption is the text of NAME.txt beside NAME.png. A table `metadata.csv` or `metadata.jsonl`, as Hugging Face's
    imagefolder has it, names a picture in its column `file_name`, relative to the table's own folder; its other columns
    of text or of numbers are taken. Text that is blank counts as missing.

    files: names of all files; read: gives the bytes of one.
    """

    def __init__(
        self, path: Path, files: Collection[str], pictures: Sequence[str], read: Callable[[str], bytes]
    ) -> None:
        self._path = path
        self._pictures = pictures
        self._read = read
        texts = {name for name in files if name.endswith(".txt")}
        beside = (f"{name.rpartition('.')[0]}.txt" for name in pictures) if texts else ()
        self._captions = [name if name in texts else None for name in beside]  # of each picture; [] where there is none
        self._tables = sorted(name for name in files if name.rpartition("/")[2] in TABLES)

    @property
    def files(self) -> set[str]:
        """The names of the files that it reads."""
        return {*(name for name in self._captions if name), *self._tables}

    def kinds(self) -> dict[str, type]:
        """Return what is known, {name: str or float}. Raises InputError for a table that cannot be read so."""
        own = {CAPTION: str} if any(self._captions) else {}
        kinds = {} if self._table is None else _kinds(self._table)
        twice = own.keys() & kinds.keys()
        if twice:
            table = self._where(self._tables[0])
            raise InputError(f"it has a column {CAPTION!r}, and there are captions in .txt files: keep one", table)
        return {**own, **kinds}

    def values(self) -> dict[str, NDArray[Any]]:
        """Read the columns, (N,) each: text as objects, None where it is missing; numbers as float64, or NaN."""
        kinds = self.kinds()
        values = {}
        if CAPTION in kinds and any(self._captions):
            captions = {name: self._caption(name) for name in self._captions if name}
            values[CAPTION] = texts([captions.get(name or "") for name in self._captions])
        if self._table is not None:
            rows = self._table.reindex(list(self._pictures))
            for name, kind in kinds.items():
                if name not in values:
                    values[name] = (
                        texts(rows[name]) if kind is str else rows[name].to_numpy(np.float64, na_value=np.nan)
                    )
        return values

    @cached_property
    def _table(self) -> pd.DataFrame | None:
        """All tables as one, by the names of the pictures."""
        if not self._tables:
            return None
        import pandas as pd

        table = pd.concat([self._parsed(name) for name in self._tables])
        twice = table.index[table.index.duplicated()]
        if len(twice):
            where = self._where(self._tables[-1])
            raise InputError(f"{len(twice)} rows are of a picture that has one already, such as {twice[0]}", where)
        if table.index.isin(self._pictures).sum() == 0:
            where, first = self._where(self._tables[0]), str(table.index[0]) if len(table) else "there is none"
            raise InputError(f"no row is of a picture here ({KEY} of the first: {first})", where)
        return table

    def _parsed(self, name: str) -> pd.DataFrame:
        import pandas as pd

        where, content = self._where(name), self._read(name)
        try:
            if name.endswith(".csv"):
                options: Mapping[str, Any] = {"keep_default_na": False, "na_values": [""], "encoding": "utf-8-sig"}
                table: pd.DataFrame = pd.read_csv(io.BytesIO(content), dtype={KEY: str}, **options)
            else:
                lines = content.decode("utf-8-sig").split("\n")
                table = pd.DataFrame([_row(line) for line in lines if line.strip()])
        except (ValueError, OverflowError, RecursionError) as error:  # pandas' and json's own are ValueErrors
            reason = str(error).strip().partition("\n")[0]
            raise InputError(f"no table can be read here ({reason})", where) from None
        if KEY not in table:
            columns = ", ".join(map(str, table.columns)) or "none"
            raise InputError(f"there is no column {KEY!r}, which names the picture of a row, only {columns}", where)
        folder = PurePosixPath(name).parent
        table.index = pd.Index([(folder / str(one).replace("\\", "/")).as_posix() for one in table.pop(KEY)])
        return table.rename(columns=str)

    def _caption(self, name: str) -> str:
        content = self._read(name)
        if len(content) > MOST_BYTES:
            raise InputError(f"a caption of {len(content) >> 10} KiB", self._where(name))
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"a caption that is no UTF-8 ({error.reason})", self._where(name)) from None

    def _where(self, name: str) -> str:
        return str(self._path / name) if self._path.is_dir() else f"{self._path}:{name}"


def texts(values: Collection[Any]) -> NDArray[Any]:
    """Return texts as objects, (N,): stripped, and None where one is blank or missing."""
    array = np.full(len(values), None, dtype=object)
    for i, value in enumerate(values):
        if isinstance(value, str) and value.strip():
            array[i] = value.strip()
    return array


def _row(line: str) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f"a line is no object: {line[:40]}")
    return row


def _kinds(table: pd.DataFrame) -> dict[str, type]:
    """Return {name: str or float} of a table's columns of text or numbers; others are left out, and what is empty."""
    import pandas as pd

    kinds: dict[str, type] = {}
    for name in table.columns:
        found = pd.api.types.infer_dtype(table[name], skipna=True)
        if found in NUMBERS and table[name].notna().any():
            kinds[name] = float
        elif found in TEXT and table[name].notna().any():
            kinds[name] = str
    return kinds
