"""The pages on which one acts: the form, the preview with its reason, and the receipt with its undo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from shedder.errors import RedisUnreachable, ShedderError
from shedder.updates import posting
from shedder.web import actions
from shedder.web.access import allow
from shedder.web.acts import Act, Field
from shedder.web.http import Refusal, Response, Route, WebRequest
from shedder.web.rendering import render_page
from shedder.web.site import Visitor

if TYPE_CHECKING:
    from shedder.web.site import Site

MOST_SUGGESTED = 200
BLANK_ROWS = 1
"""Empty boxes below the queues that are named, for one more without any script."""


@dataclass(frozen=True, slots=True)
class FormRow:
    """A field as the form shows it.

    Attributes:
        field: What is asked for.
        given: What was typed, as it was typed.
        suggested: What could be typed.
    """

    field: Field
    given: tuple[str, ...] = ()
    suggested: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All that was typed."""
        return "\n".join(self.given)

    @property
    def boxes(self) -> tuple[str, ...]:
        """What was typed and room for more, where each value has a box of its own."""
        return (*self.given, *[""] * BLANK_ROWS) if self.given else ("",)


def desk_of(site: Site) -> actions.Desk:
    """What acts need of a site."""
    return actions.Desk(site.shedder, site.secret, partial(allow, site))


def show_form(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """`GET /act/NAME`: the form, with what the link says filled in."""
    act = _act(request)
    return _form(site, request, visitor, act, request.query, reason=request.asked("reason"))


def show_preview(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """`POST /act/NAME`: what it would do; changes nothing."""
    act, reason = _act(request), request.said("reason")
    try:
        found = actions.preview_act(desk_of(site), act, request.form, visitor, reason=reason)
    except ShedderError as error:
        return _form(site, request, visitor, act, request.form, reason=reason, error=error)
    return render_page(site, request, visitor, "act_preview.html", preview=found, trouble="")


def show_receipt(site: Site, request: WebRequest, visitor: Visitor) -> Response:
    """`POST /act/NAME/confirm`: does it once, and shows the receipt."""
    token, reason = request.said("token"), request.said("reason")
    desk = desk_of(site)
    act, said = _said_in(token, desk)
    if act != _act(request):
        raise Refusal(409, "This form cannot be confirmed: it is of another act.", "Begin again.")
    try:
        done = actions.confirm_act(desk, token, reason=reason, visitor=visitor)
    except actions.Drifted as drift:
        return _preview_again(site, request, visitor, drift.preview, drift)
    except actions.NoReason as error:
        found = actions.preview_act(desk, act, said, visitor, reason=reason)
        return _preview_again(site, request, visitor, found, error)
    except actions.Expired as error:
        return _form(site, request, visitor, act, said, reason=reason, error=error)
    except actions.NotConfirmed as error:
        raise Refusal(_status_of(error), _sentence(error), "The journal says what was done.") from error
    except actions.Unsure as error:
        raise Refusal(503, _sentence(error), "Look at the journal before you do it again.") from error
    except ShedderError as error:
        return _form(site, request, visitor, act, said, reason=reason, error=error)
    return render_page(site, request, visitor, "act_receipt.html", done=done)


def _act(request: WebRequest) -> Act:
    found = actions.act_called(request.asked("act"))
    if found is None:
        raise Refusal(404, "There is no such act.", "Go back to the lanes.")
    return found


def _said_in(token: str, desk: actions.Desk) -> tuple[Act, dict[str, tuple[str, ...]]]:
    try:
        return actions.act_of_token(token, desk.secret)
    except actions.NotConfirmed as error:
        raise Refusal(409, _sentence(error), "Fill in the form again.") from error


def _preview_again(
    site: Site, request: WebRequest, visitor: Visitor, found: actions.Preview, error: ShedderError
) -> Response:
    status, trouble = _status_of(error), _sentence(error)
    return render_page(site, request, visitor, "act_preview.html", status=status, preview=found, trouble=trouble)


def _form(
    site: Site, request: WebRequest, visitor: Visitor, act: Act, given: Mapping[str, Sequence[str]], *,
    reason: str = "", error: ShedderError | None = None,
) -> Response:  # fmt: skip
    rows = [FormRow(each, tuple(given.get(each.name, ())), _suggested(site, act, each)) for each in act.fields]
    return render_page(
        site, request, visitor, "act_form.html", status=200 if error is None else _status_of(error), act=act,
        rows=tuple(map(partial(_with_draft, site, act), rows)), reason=reason,
        trouble="" if error is None else _sentence(error),
    )  # fmt: skip


def _status_of(error: ShedderError) -> int:
    if isinstance(error, RedisUnreachable):
        return 503
    return 422 if error.exit_code == 2 else 409


def _sentence(error: ShedderError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"


def _suggested(site: Site, act: Act, asked: Field) -> tuple[str, ...]:
    """What there is that could be meant; nothing while Redis is away."""
    try:
        found = _known(site, act, asked.name)
    except ShedderError:
        return ()
    return tuple(dict.fromkeys(found))[:MOST_SUGGESTED]


def _known(site: Site, act: Act, name: str) -> Sequence[str]:
    shedder = site.shedder
    if name == "target":
        return shedder.queues()
    if (name, act.name) in (("name", "degrade"), ("name", "restore")):
        return [each.name for each in shedder.flag_states()]
    if name == "group":
        return [each.group for each in shedder.flag_states() if each.group]
    if (name, act.name) in (("name", "limit-set"), ("name", "limit-clear")):
        return [each.name for each in shedder.limit_states()]
    if (name, act.name) == ("name", "mitigate"):
        return list(shedder.policies.applied().policy.mitigations)
    if name in ("person", "commander"):
        return shedder.policies.applied().policy.incident.people
    return ()


def _with_draft(site: Site, act: Act, row: FormRow) -> FormRow:
    """The row of an update's text holds its draft until somebody writes something else."""
    if (act.name, row.field.name) != ("incident-update", "text") or row.given:
        return row
    shedder = site.shedder
    try:
        found = shedder.incidents.read()
        policy = shedder.policies.applied().policy
        draft = posting.draft_update(shedder, policy, found, audience="stakeholders", now=shedder.incidents.now())
    except ShedderError:
        return row
    return FormRow(row.field, (draft.text,))


_NAME = r"(?P<act>[a-z-]{1,40})"

ROUTES = (
    Route("GET", f"/act/{_NAME}", show_form),
    Route("POST", f"/act/{_NAME}", show_preview),
    Route("POST", f"/act/{_NAME}/confirm", show_receipt),
)
