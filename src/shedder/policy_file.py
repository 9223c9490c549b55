"""Where does a policy stand on disk, and what does it say?"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shedder.errors import InvalidInput, PolicyInvalid, PolicyProblem

if TYPE_CHECKING:
    from shedder.policy import Policy

FILE_NAME = "shedder.toml"
PROJECT_NAME = "pyproject.toml"


def find_policy_file(folder: Path) -> Path:
    """`shedder.toml` in `folder` or above, or a `pyproject.toml` that has `[tool.shedder]`.

    Raises:
        InvalidInput: there is neither.
        PolicyInvalid: a `pyproject.toml` on the way is no TOML.
    """
    found = policy_file_near(folder)
    if found is not None:
        return found
    raise InvalidInput(
        name="policy", value=str(folder),
        accepted=f"a folder with {FILE_NAME}, or with [tool.shedder] in its {PROJECT_NAME}; "
        "`shedder policy init` writes a first one",
    )  # fmt: skip


def policy_file_near(folder: Path) -> Path | None:
    """What `find_policy_file` finds; None when there is neither.

    Raises:
        InvalidInput, PolicyInvalid: a `pyproject.toml` on the way cannot be read, or is no TOML.
    """
    for each in (folder, *folder.parents):
        if (each / FILE_NAME).is_file():
            return each / FILE_NAME
        project = each / PROJECT_NAME
        if project.is_file() and "shedder" in _table(_read(project), "tool"):
            return project
    return None


def read_policy(path: Path) -> Policy:
    """The policy in the file at `path`, checked as a whole.

    Raises:
        PolicyInvalid: it is no TOML, or has problems; the error lists all of them.
        PolicyTooNew: it is of a newer version.
        InvalidInput: the file cannot be read.
    """
    from shedder.policy_form import checked_policy

    document: Mapping[str, Any] = _read(path)
    if path.name == PROJECT_NAME:
        document = _table(_table(document, "tool"), "shedder")
    return checked_policy(document, source=str(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        accepted = f"a file that can be read ({error.strerror})"
        raise InvalidInput(name="policy", value=str(path), accepted=accepted) from error
    except ValueError as error:  # not UTF-8, or not TOML
        problem = PolicyProblem(place="the file", value="", accepted=f"TOML; {error}")
        raise PolicyInvalid(str(path), problems=(problem,)) from error


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name, {})
    return found if isinstance(found, Mapping) else {}
