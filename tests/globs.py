"""Globs for property tests, and names that they often match."""

from __future__ import annotations

from hypothesis import strategies as st

# Few characters, so that globs and names meet; every one that is special to Lua is among them.
CHARACTERS = "ab.%^$()+-_"
STRANGE = "]*[!?\n\0"

_SET_ITEMS = st.sampled_from([*"ab.%^$+*?[", "a-b", "0-9"])
_SETS = st.builds(
    "[{}{}{}{}]".format,
    st.sampled_from(["", "!"]),
    st.sampled_from(["", "]"]),
    st.lists(_SET_ITEMS, min_size=1, max_size=3).map("".join),
    st.sampled_from(["", "-"]),
)


def glob_tokens(characters: str = CHARACTERS) -> st.SearchStrategy[list[str]]:
    """The parts of a glob: characters, stars, question marks and sets."""
    token = st.one_of(st.sampled_from(characters), st.sampled_from(["*", "?"]), _SETS)
    return st.lists(token, min_size=1, max_size=8)


def globs(characters: str = CHARACTERS) -> st.SearchStrategy[str]:
    """Any glob of up to eight parts."""
    return glob_tokens(characters).map("".join)


@st.composite
def globs_and_names(draw: st.DrawFn, characters: str = CHARACTERS) -> tuple[str, str]:
    """A glob, and a name that follows its parts, mostly: about half of them match."""
    any_text = st.text(alphabet=characters + STRANGE, max_size=4)
    tokens = draw(glob_tokens(characters))
    parts = [draw(any_text) if token == "*" else _one(draw, token, characters) for token in tokens]
    if draw(st.integers(0, 3)) == 0:
        parts.insert(draw(st.integers(0, len(parts))), draw(any_text))
    return "".join(tokens), "".join(parts)


def _one(draw: st.DrawFn, token: str, characters: str) -> str:
    if len(token) == 1 and token != "?":
        return token
    return draw(st.sampled_from(characters if token == "?" or token[1] == "!" else token[1:-1]))
