"""Where do the Lua scripts come from?

One file in `lua/` is one atomic command; what several share stands in `lua/lib/` and is put in
where a file says `-- include lib/name.lua`. Functions that nobody calls are left out: the server
makes each function anew at every call.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_INCLUDE = re.compile(r"^-- include (lib/[a-z_]+\.lua)$", re.MULTILINE)
_REMARK = re.compile(r"^\s*--.*\n", re.MULTILINE)
_FUNCTION = re.compile(r"^local function (\w+)\(.*\n(?:(?: .*)?\n)*end\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script as it is sent.

    Attributes:
        name: The file's name without its ending.
        text: The whole source.
        sha: SHA-1 of the source, under which the server keeps it.
    """

    name: str
    text: str
    sha: str


@cache
def load_script(name: str) -> Script:
    """The script in `lua/<name>.lua`, with what it includes and without its remarks."""
    source = _read(f"{name}.lua")
    flags, _, body = source.partition("\n")
    whole = _INCLUDE.sub(lambda found: _read(found.group(1)), body)
    text = f"{flags}\n{_without_idle_functions(_REMARK.sub('', whole))}"
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def script_names() -> tuple[str, ...]:
    """The names of all scripts, sorted."""
    folder = files("shedder").joinpath("lua")
    return tuple(
        sorted(e.name[: -len(".lua")] for e in folder.iterdir() if e.name.endswith(".lua"))
    )


def _without_idle_functions(text: str) -> str:
    """`text` without the functions at its outermost level that are named nowhere else."""
    words = Counter(re.findall(r"\w+", text))
    kept = _FUNCTION.sub(lambda found: found[0] if words[found[1]] > 1 else "", text)
    return kept if kept == text else _without_idle_functions(kept)


def _read(path: str) -> str:
    return files("shedder").joinpath("lua").joinpath(path).read_text(encoding="utf-8")
