"""Which options of a network its mixer reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ablate.api import Conditioning, Mixer, Positions


def unread_options(
    fields: Mapping[str, Sequence[str]], mixer: Mixer, conditioning: Conditioning, positions: Positions | None = None
) -> dict[str, str]:
    """Return the fields of a network that its parts do not read, {field: why}.

    fields: of each word of `Mixer.reads` the fields that say it. Heads may be the conditioning's too, and positions
    that are added to the tokens are read by every mixer.
    """
    read = set(mixer.reads)
    if conditioning.reads_heads:
        read.add("heads")
    if positions is not None and not positions.rotates_only:
        read.add("rotation")
    unread = {field: word for word, names in fields.items() if word not in read for field in names}
    return {
        field: f"attention {mixer.name!r} does not {'turn queries and keys' if word == 'rotation' else 'read it'}"
        for field, word in unread.items()
    }
