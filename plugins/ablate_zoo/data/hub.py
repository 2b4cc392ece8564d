"""data `hub`: a data set of the Hugging Face hub, or one that `datasets` has saved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.api import InputError
from ablate.io.weights import sha256_of
from ablate.pictures import Pictures, Source
from ablate.pictures.beside import texts
from ablate.pictures.decode import Damaged, decode
from ablate.pictures.labels import checked
from ablate_zoo.data._pictures import PictureData

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INSTALL = 'pip install "ablate[hub]"'
_SAVED = ("state.json", "dataset_dict.json")  # what Dataset.save_to_disk leaves


class Hub(PictureData):
    """Images of a repository on the hub, such as ylecun/mnist, or of a folder that `save_to_disk` wrote.

    Read with the package `datasets` (optional), which keeps its own copy of what it downloads; scripts
    in a repository are not run. Reading a study that names a repository downloads it. The table's other columns of
    text, numbers or classes may be conditions.
    """

    name = "hub"

    path: str  # a repository, or a folder: saved by `datasets`, or of parquet files
    subset: str | None = None  # the configuration, where a repository has several
    split: str = "train"  # also a slice, as in train[:10%]
    revision: str | None = None  # of the repository
    image: str = "image"  # the column of pictures
    label: str | None = "label"  # the column of classes; null: without labels

    def pictures(self) -> Pictures:
        """The rows' pictures."""
        source = _HubRows(self)
        options = self.options()
        arguments = (options["size"], options["rule"], options["colour"], options["limit"], options["skip_corrupt"])
        return Pictures(source, *arguments)


class _HubRows(Source):
    """The rows of a table with one column of encoded pictures."""

    def __init__(self, data: Hub) -> None:
        super().__init__()
        folder = data.located(data.path)
        content = _content(folder)
        table = _load(str(folder) if content else data.path, data.subset, data.split, data.revision, content)
        from datasets import ClassLabel, Image

        self.path = Path(data.path)
        for column in (data.image, data.label):
            if column is not None and column not in table.features:
                message = f"there is no column {column!r}, only {', '.join(table.features)}"
                raise InputError(f"{message}; say image: and label: (null where there is none)", data.path)
        if not isinstance(table.features[data.image], Image):
            raise InputError(f"column {data.image!r} holds no images", data.path)
        self._rows = table.cast_column(data.image, Image(decode=False)).select_columns([data.image])
        self._columns = _columns(table, (data.image, data.label))
        self._column = data.image
        self._fingerprint = f"{table._fingerprint} {content} {data.image} {data.label}"
        self.names = [f"row {i}" for i in range(len(table))]
        if data.label is not None:
            feature = table.features[data.label]
            self.labels = checked(np.asarray(table[data.label]), len(table), f"{data.path}:{data.label}")
            if isinstance(feature, ClassLabel):
                self.classes = tuple(feature.names)

    def pixels(self, i: int) -> NDArray[np.uint8]:
        """(C, H, W) of one row."""
        cell = self._rows[i][self._column]
        if not cell or (cell["bytes"] is None and cell["path"] is None):
            raise Damaged("there is none")
        content = Path(cell["path"]).read_bytes() if cell["bytes"] is None else cell["bytes"]
        return decode(content, self.remarks.append)

    def stamp(self) -> str:
        """What `datasets` tells tables apart by, and the content of files that lie here."""
        return hashlib.sha256(self._fingerprint.encode()).hexdigest()

    def columns(self) -> Mapping[str, type]:
        """The table's other columns of text or numbers; of a class, the name."""
        return {name: kind for name, (kind, _) in self._columns.items()}

    def values(self) -> Mapping[str, NDArray[Any]]:
        """Read them."""
        values: dict[str, NDArray[Any]] = {}
        for name, (kind, column) in self._columns.items():
            read = column()
            values[name] = texts(read) if kind is str else np.array([np.nan if v is None else v for v in read], float)
        return values


def _columns(table: Any, taken: Collection[str | None]) -> dict[str, tuple[type, Callable[[], list[Any]]]]:
    """Return {name: (str or float, what reads it)} of the columns that are one text or number a row."""
    from datasets import ClassLabel, Value

    columns: dict[str, tuple[type, Callable[[], list[Any]]]] = {}
    for name, feature in table.features.items():
        if name in taken:
            continue
        if isinstance(feature, ClassLabel):
            columns[name] = str, partial(_named, table, name, feature.names)
        elif isinstance(feature, Value) and feature.dtype in ("string", "large_string"):
            columns[name] = str, partial(_listed, table, name)
        elif isinstance(feature, Value) and feature.dtype.startswith(("int", "uint", "float", "bool")):
            columns[name] = float, partial(_listed, table, name)
    return columns


def _listed(table: Any, name: str) -> list[Any]:
    return list(table[name])


def _named(table: Any, name: str, names: Sequence[str]) -> list[Any]:
    return [None if i is None or i < 0 else names[i] for i in table[name]]  # -1 stands for no class


def _content(folder: Path) -> str:
    """Compute the SHA-256 of a folder's files: `datasets` itself trusts their times and a note in the folder."""
    if not folder.is_dir():
        return ""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".")]
    lines = [f"{p.relative_to(folder)} {sha256_of(p)}" for p in files]
    return hashlib.sha256("\n".join(lines).encode(errors="backslashreplace")).hexdigest()


@lru_cache(maxsize=2)
def _load(path: str, subset: str | None, split: str, revision: str | None, content: str) -> Any:
    """Load the table. Raises InputError where `datasets` is not installed, or does not find it."""
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"data 'hub' needs the package datasets ({error}); run: {_INSTALL}") from None
    folder = Path(path).expanduser()
    try:
        if any((folder / name).is_file() for name in _SAVED):
            table = datasets.load_from_disk(str(folder))
            return table[split] if isinstance(table, datasets.DatasetDict) else table
        if folder.is_dir():  # a cache of its own for each content
            own = Path(datasets.config.HF_DATASETS_CACHE) / "ablate" / content[:32]
            return datasets.load_dataset(str(folder), subset, split=split, revision=revision, cache_dir=str(own))
        return datasets.load_dataset(path, subset, split=split, revision=revision)
    except Exception as error:  # noqa: BLE001 - the package raises its own, its readers' and its client's
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"`datasets` does not give split {split!r}: {reason}", path) from None
