"""Names: those of a model as names of Python: valid, unique, and always the same ones."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterable

# What a generated class uses by itself. A field of such a name would hide it.
RESERVED = frozenset(
    ("features", "of", "self", "cls", "input", "state", "model", "np", "npt", "os", "pippin", "PIL", "Any", "Iterable",
     "Literal", "Mapping", "Path", "Self", "Sequence", "TypeAlias", "annotations", "dataclass", "replace", "read",
     "write")
)  # fmt: skip


def identifier(name: str, otherwise: str = "feature") -> str:
    """`name` with everything that Python does not allow in a name made "_"; never hidden, reserved or a keyword."""
    plain = unicodedata.normalize("NFKC", name)
    found = "".join(c if ("_" + c).isidentifier() else "_" for c in plain)
    found = re.sub(r"__+", "_", found).strip("_") or otherwise
    if not found.isidentifier():  # it begins with a digit
        found = f"{otherwise}_{found}"
    taken = keyword.iskeyword(found) or keyword.issoftkeyword(found) or found in RESERVED or hasattr(builtins, found)
    return f"{found}_" if taken else found


def unique(names: Iterable[str], otherwise: str = "feature") -> dict[str, str]:
    """{name: Python name}, in order; what would be the same gets a number."""
    found: dict[str, str] = {}
    for name in names:
        wanted = made = identifier(name, otherwise)
        number = 2
        while made in found.values():
            made, number = f"{wanted}_{number}", number + 1
        found[name] = made
    return found


def class_name(name: str) -> str:
    """`voice-activity v2` as `VoiceActivityV2`."""
    words = [word for word in re.split(r"[\W_]+", unicodedata.normalize("NFKC", name)) if word]
    made = "".join(word[:1].upper() + word[1:] for word in words) or "Model"
    if not made.isidentifier():
        made = f"Model{made}"
    return f"{made}Model" if keyword.iskeyword(made) or made in RESERVED or hasattr(builtins, made) else made
