"""condition `text`: words that the data have of each image, as token numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ablate.api import CLASS_COLUMN, Choice, Condition, ConditionSpec, InputError, InputSpec, Told, Uniform
from ablate.io.files import stamp
from ablate_zoo.condition._missing import missing, refuse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

PADDING, MISSING = -1, -2  # in the place of token numbers
_INSTALL = 'pip install "ablate[text]"'


class Text(Condition):
    """A column of text, such as captions, or the names of the classes, as the bytes of UTF-8 or by a tokenizer.

    Bytes need no vocabulary (Xue et al. 2022, ByT5). `tokenizer` is a `tokenizer.json` of Hugging Face's `tokenizers`.
    A text longer than `length` is cut; a shorter one is padded, which the network is told.
    """

    name = "text"

    column: str = CLASS_COLUMN
    length: Annotated[int, Field(ge=1, le=4096), Choice(16, 32, 77)] = 32  # tokens
    missing: Literal["refuse", "drop"] = (
        "refuse"  # drop: an image without a text is trained on as if guidance dropped it
    )
    tokenizer: str | None = None  # path of a tokenizer.json, relative to the study's file; None: bytes

    def refuse(self, setting: InputSpec) -> str | None:
        """A tokenizer that is not there."""
        try:
            self._count()
        except InputError as error:
            return error.message
        return None

    def spec_of(self, setting: InputSpec, columns: Mapping[str, type]) -> ConditionSpec:
        """(L,) token numbers. Raises InputError where the data have no such text."""
        if columns.get(self.column) is not str:
            texts = ", ".join(sorted(n for n, kind in columns.items() if kind is str)) or "none"
            raise InputError(f"condition {self.name!r}: the data have no text {self.column!r} (there is: {texts})")
        return ConditionSpec(self.record_name, "text", (self.length,), self._count())

    def store(self, columns: Mapping[str, NDArray[np.generic]]) -> NDArray[Any]:
        """(N, L) int32 token numbers, -1 for padding, -2 all along for a text that is missing."""
        import numpy as np

        values = columns[self.column]
        lacking = missing(values)
        if self.missing == "refuse" or lacking.all():
            refuse(lacking, self.column, columns, "give each one, or say missing: drop in the condition")
        encoded, index = self._encoded(values[~lacking])
        tokens = np.full((len(encoded), self.length), PADDING, np.int32)
        for row, ids in zip(tokens, encoded, strict=True):
            row[: len(ids)] = ids[: self.length]
        stored = np.full((len(values), self.length), MISSING, np.int32)
        stored[~lacking] = tokens[index]
        return stored

    def remarks(self, columns: Mapping[str, NDArray[np.generic]]) -> list[str]:
        """How many texts are cut, and the longest."""
        import numpy as np

        values = columns[self.column]
        encoded, index = self._encoded(values[~missing(values)])
        lengths = np.array([len(ids) for ids in encoded])[index]
        cut = int((lengths > self.length).sum())
        if not cut:
            return []
        return [f"{cut} of {len(values)} texts are cut to {self.length} tokens; the longest has {lengths.max()}"]

    def _encoded(self, values: NDArray[Any]) -> tuple[list[list[int]], NDArray[np.int64]]:
        """Return the token numbers of each text, once, and which of them each image has."""
        import numpy as np

        encode = self._encoder()
        texts, index = np.unique(values, return_inverse=True)  # many images may share one
        return [encode(text) for text in texts.tolist()], index

    def tell(self, stored: Tensor | None, x0: Tensor, uniform: Uniform) -> Told:
        """The numbers, which texts are there, and which tokens are padding."""
        assert stored is not None
        present = None if self.missing == "refuse" else stored[:, 0] != MISSING
        return Told(stored.long().clamp(min=0), present, stored >= 0)

    def _count(self) -> int:
        return 256 if self.tokenizer is None else int(self._loaded().get_vocab_size())

    def _encoder(self) -> Callable[[str], list[int]]:
        if self.tokenizer is None:
            return lambda text: list(text.encode())
        loaded = self._loaded()
        return lambda text: list(loaded.encode(text).ids)

    def _loaded(self) -> Any:
        assert self.tokenizer is not None
        path = self.located(self.tokenizer)
        try:
            return _tokenizer(path, stamp(path))
        except OSError as error:
            raise InputError(f"no tokenizer can be read here ({error.strerror})", str(path)) from None


@lru_cache(maxsize=4)
def _tokenizer(path: Path, state: str) -> Any:
    """Load a tokenizer; it neither pads nor cuts, which is done here. state: changes when the file does."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise InputError(f"a tokenizer needs the package tokenizers; run: {_INSTALL}") from None
    try:
        loaded = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - tokenizers raises plain Exception
        raise InputError(f"no tokenizer can be read here ({error})", str(path)) from None
    loaded.no_padding()
    loaded.no_truncation()
    return loaded
