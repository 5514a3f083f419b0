"""Names: maps feature, function and file names to Python names that are valid, unique and deterministic."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterable

# Names that a generated class uses. A field of the same name would shadow them.
RESERVED = frozenset(
    ("features", "of", "self", "cls", "input", "state", "model", "np", "npt", "os", "pippin", "PIL", "Any", "Iterable",
     "Literal", "Mapping", "Path", "Self", "Sequence", "TypeAlias", "annotations", "dataclass", "replace", "read",
     "write")
)  # fmt: skip


def identifier(name: str, otherwise: str = "feature") -> str:
    """Return `name` with invalid characters replaced by "_"; never private, reserved or a keyword."""
    plain = unicodedata.normalize("NFKC", name)
    found = "".join(c if ("_" + c).isidentifier() else "_" for c in plain)
    found = re.sub(r"__+", "_", found).strip("_") or otherwise
    if not found.isidentifier():  # it starts with a digit
        found = f"{otherwise}_{found}"
    taken = keyword.iskeyword(found) or keyword.issoftkeyword(found) or found in RESERVED or hasattr(builtins, found)
    return f"{found}_" if taken else found


def unique(names: Iterable[str], otherwise: str = "feature") -> dict[str, str]:
    """Return {name: Python name} in order. Collisions get a numeric suffix."""
    found: dict[str, str] = {}
    for name in names:
        wanted = made = identifier(name, otherwise)
        number = 2
        while made in found.values():
            made, number = f"{wanted}_{number}", number + 1
        found[name] = made
    return found


def class_name(name: str) -> str:
    """Convert `voice-activity v2` to `VoiceActivityV2`."""
    words = [word for word in re.split(r"[\W_]+", unicodedata.normalize("NFKC", name)) if word]
    made = "".join(word[:1].upper() + word[1:] for word in words) or "Model"
    if not made.isidentifier():
        made = f"Model{made}"
    return f"{made}Model" if keyword.iskeyword(made) or made in RESERVED or hasattr(builtins, made) else made
