"""condition `text`: words that the data have of each image, as token numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ablate.api import CLASS_COLUMN, Choice, Condition, ConditionSpec, InputError, InputSpec, Told, Uniform
from ablate_zoo.condition._missing import missing, refuse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

PADDING, MISSING = -1, -2  # in the place of token numbers


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

        values, encode = columns[self.column], self._encoder()
        lacking = missing(values)
        if self.missing == "refuse" or lacking.all():
            refuse(lacking, self.column, columns, "give each one, or say missing: drop in the condition")
        texts, index = np.unique(values[~lacking].astype(str), return_inverse=True)  # many images may share one
        tokens = np.full((len(texts), self.length), PADDING, np.int32)
        for row, text in zip(tokens, texts.tolist(), strict=True):
            ids = encode(text)[: self.length]
            row[: len(ids)] = ids
        stored = np.full((len(values), self.length), MISSING, np.int32)
        stored[~lacking] = tokens[index]
        return stored

    def tell(self, stored: Tensor | None, x0: Tensor, uniform: Uniform) -> Told:
        """The numbers, which texts are there, and which tokens are padding."""
        assert stored is not None
        present = None if self.missing == "refuse" else stored[:, 0] != MISSING
        return Told(stored.long().clamp(min=0), present, stored >= 0)

    def _count(self) -> int:
        return 256 if self.tokenizer is None else self._loaded().get_vocab_size()

    def _encoder(self) -> Any:
        if self.tokenizer is None:
            return lambda text: list(text.encode())
        loaded = self._loaded()
        return lambda text: loaded.encode(text).ids

    def _loaded(self) -> Any:
        assert self.tokenizer is not None
        path = self.located(self.tokenizer)
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise InputError("a tokenizer needs a package that is not installed; run: pip install tokenizers") from None
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - tokenizers raises plain Exception
            raise InputError(f"no tokenizer can be read here ({error})", str(path)) from None
