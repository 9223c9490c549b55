"""The screen on which one acts in `shedder top`: what is asked for, what it would do, what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Input, Static

from shedder.cli import output
from shedder.cli import top_views as views
from shedder.errors import ShedderError
from shedder.web import actions

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from shedder.web.acts import Act, Field
    from shedder.web.site import Visitor

REASON = "reason"

YES = ("y", "yes", "on", "1", "x")

FORM, PREVIEW, RECEIPT = "form", "preview", "receipt"

_TITLES = {FORM: "", PREVIEW: ": what it would do", RECEIPT: ": done"}

_KEYS = {
    FORM: "Enter shows what it would do  Tab, Up, Down next field  Escape goes back",
    PREVIEW: "y DO IT  Escape change it  c copy the command line",
    RECEIPT: "Escape closes  u undo it  c copy the command line",
}


@dataclass(frozen=True, slots=True)
class Clerk:
    """How this person acts.

    Attributes:
        desk: What acts need.
        visitor: Who acts.
        server: What a command line must say of the server; empty for nothing.
    """

    desk: actions.Desk
    visitor: Visitor
    server: str = ""

    def preview(self, act: Act, said: Mapping[str, Sequence[str]], reason: str) -> actions.Preview:
        """What it would do."""
        return actions.preview_act(self.desk, act, said, self.visitor, reason=reason)

    def confirm(self, token: str, reason: str) -> actions.Done:
        """Do it, once."""
        return actions.confirm_act(self.desk, token, reason=reason, visitor=self.visitor)

    def command(self, text: str) -> str:
        """The command line, for the server that is meant."""
        return text.replace("shedder ", f"shedder {self.server} ", 1) if self.server else text


class ActScreen(Screen[str]):
    """One act: asked for, looked at, done. It is left with the event to undo, or without.

    Args:
        clerk: How this person acts.
        act: Which act.
        given: What is filled in already, by field.
        place: What is run here and on which server, for the first line.
        focus: The field to begin with; the reason, or the first one that is needed, if empty.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back"),
        Binding("down", "app.focus_next"),
        Binding("up", "app.focus_previous"),
        Binding("y", "confirm"),
        Binding("u", "undo"),
        Binding("c", "copy"),
        Binding("enter", "close"),
    ]
    CSS = """
    Horizontal { height: 1; }
    .label { width: 30; padding: 0 1 0 0; height: 1; text-overflow: ellipsis; text-wrap: nowrap; }
    Input { width: 1fr; }
    Input:focus { text-style: underline; }
    #help { margin: 0 0 1 0; }
    #trouble { text-style: bold; margin: 1 0 0 0; }
    #form, #seen { height: 1fr; }
    """

    def __init__(
        self, clerk: Clerk, act: Act, given: Mapping[str, Sequence[str]], *, place: Text, focus: str = ""
    ) -> None:
        super().__init__()
        self.clerk, self.act, self.given, self.place, self.start = clerk, act, given, place, focus
        self.fields = tuple(each for each in act.fields if each.name != "all")
        self.stage, self.is_busy = FORM, False
        self.seen: actions.Preview | None = None
        self.done: actions.Done | None = None

    def compose(self) -> ComposeResult:
        """What is asked for; what it would do comes in its place."""
        yield Static(self.place, markup=False)
        yield Static(self.act.title, id="title", classes="title", markup=False)
        with VerticalScroll(id="form", can_focus=False):
            yield Static(self.act.help, id="help", markup=False)
            for each in self.fields:
                yield self._row(each.name, each.label, _hint(each), _value(each, self.given.get(each.name, ())))
            if self.act.has_reason:
                hint = "why; the journal keeps it" if self.act.needs_reason else self.act.reason or "why, if you like"
                yield self._row(REASON, "Reason", hint, "")
        with VerticalScroll(id="seen"):
            yield Static(id="told", markup=False)
        yield Static(id="trouble", markup=False)
        yield Static(id="stage", classes="keys", markup=False)

    def _row(self, name: str, label: str, hint: str, value: str) -> Horizontal:
        box = Input(value, placeholder=hint, id=f"field-{name}", compact=True, select_on_focus=False)
        return Horizontal(Static(label, classes="label", markup=False), box)

    def on_mount(self) -> None:
        """Begin with the field that is most likely to be missing."""
        self._set_stage(FORM)
        wanted = [self.start, *(each.name for each in self.fields if each.is_needed and not self._text(each.name)),
                  "target", REASON, *(each.name for each in self.fields)]  # fmt: skip
        for name in wanted:
            is_open = name == self.start or not self._text(name) if name else False
            if is_open and self.query(f"#field-{name}"):
                self._box(name).focus()
                return

    def _box(self, name: str) -> Input:
        return self.query_one(f"#field-{name}", Input)

    def _text(self, name: str) -> str:
        found = self.query(f"#field-{name}").results(Input)
        return next((each.value.strip() for each in found), "")

    def _set_stage(self, stage: str, trouble: str = "") -> None:
        self.stage = stage
        done = _TITLES[stage] if stage != RECEIPT or self.done else ": perhaps done"
        self.query_one("#title", Static).update(f"{self.act.title}{done}")
        self.query_one("#form").display = stage == FORM
        self.query_one("#seen").display = stage != FORM
        keys = _KEYS[stage]
        if stage == RECEIPT and (self.done is None or not self.done.undo):
            keys = keys.replace("  u undo it", "")
        self.query_one("#stage", Static).update(keys)
        self._say(trouble)
        if stage != FORM:
            self.query_one("#seen").focus()

    def _say(self, trouble: str) -> None:
        found = self.query_one("#trouble", Static)
        found.display = bool(trouble)
        found.update(Text(f"! {output.one_line(trouble)}", views.BAD) if trouble else "")

    # what a person does

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in a field: to the reason where there is none yet, else look."""
        if self.is_busy:
            return
        if self.act.needs_reason and not self._text(REASON) and event.input.id != f"field-{REASON}":
            self._box(REASON).focus()
            return
        try:
            reason = actions.checked_reason(self.act, self._text(REASON))
        except actions.NoReason as error:
            self._say(str(error))
            return
        self._begin("Asking Redis what it would do ...")
        self.run_worker(self._look(reason), exclusive=True)

    def action_back(self) -> None:
        """From the preview to what was filled in, else to where one came from."""
        if self.stage == PREVIEW and not self.is_busy:
            self._to_form()
        elif self.stage != PREVIEW:  # while it is done one waits: a receipt must be seen
            self._leave(None)

    def action_close(self) -> None:
        """Enter on a receipt."""
        if self.stage == RECEIPT:
            self._leave(None)

    def action_confirm(self) -> None:
        """Do what the preview shows."""
        if self.stage == PREVIEW and self.seen is not None and not self.is_busy:
            self._begin("Doing it ...")
            self.run_worker(self._do(self.seen), exclusive=True)

    def action_undo(self) -> None:
        """From the receipt to the preview of its undo."""
        if self.stage == RECEIPT and self.done is not None and self.done.undo:
            self._leave(self.done.event)

    def _leave(self, undo: str | None) -> None:
        if self.is_current:  # a key that was pressed twice closes one screen
            self.dismiss(undo)

    def action_copy(self) -> None:
        """Give the command line to the terminal's clipboard."""
        command = self.done.command if self.done else self.seen.command if self.seen else ""
        if self.stage != FORM and command:
            self.app.copy_to_clipboard(self.clerk.command(command))
            self.query_one("#stage", Static).update("The command line was given to the terminal's clipboard.")

    # what comes of it

    def _begin(self, words: str) -> None:
        self.is_busy = True
        self._say("")
        self.query_one("#stage", Static).update(words)

    def _to_form(self, trouble: str = "") -> None:
        self.seen = None
        self._set_stage(FORM, trouble)
        name = REASON if self.act.has_reason else self.fields[0].name
        self._box(name).focus()

    async def _look(self, reason: str) -> None:
        said = {each.name: _values(each, self._text(each.name)) for each in self.fields}
        try:
            seen = await asyncio.to_thread(self.clerk.preview, self.act, said, self._text(REASON))
        except ShedderError as error:
            self._to_form(str(error))
        else:
            self._show(seen, reason)
        finally:
            self.is_busy = False

    def _show(self, seen: actions.Preview, reason: str, trouble: str = "") -> None:
        self.seen = seen
        told = views.preview_text(seen, reason=reason, command=self.clerk.command(seen.command))
        self._set_stage(PREVIEW, trouble)
        self._tell(told)

    def _tell(self, text: Text) -> None:
        self.query_one("#told", Static).update(text)
        self.query_one("#seen", VerticalScroll).scroll_home(animate=False)

    async def _do(self, seen: actions.Preview) -> None:
        reason = self._text(REASON)
        try:
            done = await asyncio.to_thread(self.clerk.confirm, seen.token, reason)
        except actions.Drifted as error:
            self._show(error.preview, reason, str(error))
        except actions.Unsure as error:
            self._tell(Text("Look at the journal (Escape, then 3) before you do it again."))
            self._set_stage(RECEIPT, str(error))
        except ShedderError as error:  # the token is spent
            self._to_form(str(error))
        else:
            self.done = done
            self._set_stage(RECEIPT)
            self._tell(views.receipt_text(done, command=self.clerk.command(done.command)))
        finally:
            self.is_busy = False


def _hint(field: Field) -> str:
    if field.kind == "check":
        return "y to say so"
    if field.choices:
        return ", ".join(value for value, _ in field.choices)
    return field.hint.replace("one a line", "commas between")


def _value(field: Field, given: Sequence[str]) -> str:
    return ", ".join(given) if field.kind in ("lines", "choices") else next(iter(given), "")


def _values(field: Field, text: str) -> tuple[Any, ...]:
    if field.kind == "check":
        return ("on",) if text.lower() in YES else ()
    if field.kind in ("lines", "choices"):
        return tuple(each.strip() for each in text.split(",") if each.strip())
    return (text,) if text else ()
