"""What a page says of the code is what the code is."""

from __future__ import annotations

import inspect
import re
import runpy
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from shedder import Shedder, errors
from shedder.errors import ShedderError
from shedder.events import VERBS, Event
from tests.docs.pages import DOCS, ROOT, pages
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

_TEST = re.compile(r"^def (test_\w+)", re.MULTILINE)
API = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
CLI = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
EVENTS = (DOCS / "reference" / "events.md").read_text(encoding="utf-8")


RUNBOOKS = ("command-an-incident", "drain-after-an-outage", "operations-in-an-incident", "the-queue-is-clogged")


@pytest.mark.parametrize("name", RUNBOOKS)
def test_each_runbook_has_its_step_for_what_failed(name: str) -> None:
    """Who follows it comes to the page that brings failed jobs back."""
    assert "](bring-failed-jobs-back.md)" in (DOCS / "how-to" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", ["scripts_page", "cli_page", "events_page", "policy_page", "metrics_page", "dashboard"]
)
def test_generated_pages_are_up_to_date(name: str) -> None:
    """What is generated is as `make docs` would make it now."""
    generator = runpy.run_path(str(DOCS / f"generate_{name}.py"))
    assert generator["page"]() == generator["PAGE"].read_text(encoding="utf-8")


def test_each_method_of_the_facade_has_its_row() -> None:
    """The page of the Python API shows every public method with all its parameters."""
    for name, method in inspect.getmembers(Shedder, inspect.isfunction):
        if name.startswith("_"):
            continue
        parameters = [each for each in inspect.signature(method).parameters if each != "self"]
        row = re.search(rf"^\| `{name}\((.*?)\)` \|", API, re.MULTILINE)
        assert row, f"no row for {name}"
        assert parameters == re.findall(r"(\w+)(?:=[^,]+)?(?:, |$)", re.sub(r"[*] ?,? ?", "", row[1]))


def test_each_error_has_its_row_with_its_exit_code() -> None:
    """The page of the Python API names every error, and what the command line exits with."""
    kinds = inspect.getmembers(errors, inspect.isclass)
    expected = {
        (name, kind.exit_code) for name, kind in kinds if issubclass(kind, ShedderError) and kind is not ShedderError
    }
    rows = re.findall(r"^\| `(\w+)` \| .* \| (\d) \|$", API, re.MULTILINE)
    assert expected == {(name, int(code)) for name, code in rows}


def test_the_page_of_events_says_of_what_there_is_a_way_back() -> None:
    """A verb has one on the page when its event says so."""
    rows = re.findall(r"^\| `([\w ]+)` \|.*\| (.+?) \|$", EVENTS, re.MULTILINE)
    ways_back = {verb: way for verb, way in rows if verb in VERBS}
    assert set(VERBS) == set(ways_back)
    for verb, way in ways_back.items():
        event = Event("1-0", datetime.now(UTC), verb, by="", why="", lanes=())
        assert event.can_undo == (not way.startswith("no")), verb


def test_each_environment_variable_of_ours_is_on_the_page() -> None:
    """The page of the command line names every variable that begins with SHEDDER_."""
    private = {"SHEDDER_HELD_CLAIM", "SHEDDER_DEMO_LOG"}
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    used = {name for text in texts for name in re.findall(r'"(SHEDDER_[A-Z_]+)"', text)}
    assert set() == {name for name in used - private if f"`{name}`" not in CLI}


def test_each_promise_of_rq_names_a_test_that_is_there() -> None:
    """Tests that the page names exist, and each test of a documented promise is on the page."""
    page = (DOCS / "reference" / "rq-documentation.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    folders = [ROOT / "tests" / name for name in ("rq", "hosts", "features")]
    files = [file for folder in folders for file in folder.rglob("test_*.py")]
    tests = {file: set(_TEST.findall(file.read_text(encoding="utf-8"))) for file in files}
    assert set() == named.difference(*tests.values())
    documented = [names for file, names in tests.items() if file.parent.name == "documented"]
    assert set() == set().union(*documented) - named


def test_each_bug_that_was_found_names_a_test_that_is_there() -> None:
    """Every bug on the page names at least one test that exists, or a row of the fault matrix."""
    page = (DOCS / "explanation" / "found-by-faults.md").read_text(encoding="utf-8")
    files = [file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py")]
    tests = set().union(*(_TEST.findall(text) for text in files))
    rows = re.findall(r"^\| (?!what|---).* \| (.*) \|$", page, re.MULTILINE)
    assert rows
    for held_by in rows:
        assert "the rows `" in held_by or re.findall(r"`(test_\w+)`", held_by), held_by
    assert set() == set(re.findall(r"`(test_\w+)`", page)) - tests


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link of a page leads to a file, and to a heading of it where it names one."""
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)", text):
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, f"{target}#{anchor}"


def test_the_docs_build_without_a_warning(tmp_path: Path) -> None:
    """What `make docs` does, it does without a warning: pages, links, anchors, navigation."""
    pytest.importorskip("mkdocs")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert 0 == built.returncode, built.stderr


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
