"""A page from a template and what it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from jinja2.runtime import Context

from shedder.web.http import Response, WebRequest
from shedder.web.words import install

if TYPE_CHECKING:
    from shedder.web.site import Site, Visitor

ENVIRONMENT = Environment(
    loader=PackageLoader("shedder.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
install(ENVIRONMENT)

HTML = (("Content-Type", "text/html; charset=utf-8"),)

BASE = "base.html"

HEAD_ENDS = "</header>"
"""Up to here a page says only where one is; the names in it are escaped, so that none of them says this."""

LIVE = "live_"
"""The names of the blocks that move begin so; a page sends them again when they have changed."""


def render_page(
    site: Site, request: WebRequest, visitor: Visitor, template: str, *, status: int = 200, **shown: Any
) -> Response:
    """The page that `template` makes of `shown`, with what stands on every page."""
    page = ENVIRONMENT.get_template(template)
    context = page.new_context({"site": site, "request": request, "visitor": visitor, **shown})
    parts: dict[str, str] = {}
    if request.is_live:
        _record_live_parts(page, context, parts)
    text = "".join(page.root_render_func(context))
    if request.is_live:
        return Response(status, parts=parts)
    return Response(status, text.encode("utf-8", "replace"), HTML)


def render_head(site: Site, request: WebRequest, visitor: Visitor, template: str, **shown: Any) -> str:
    """The page that `template` makes, up to its head, which needs nothing that is read."""
    page = ENVIRONMENT.get_template(template)
    context = page.new_context({"site": site, "request": request, "visitor": visitor, **shown})
    pieces: list[str] = []
    for piece in page.root_render_func(context):
        pieces.append(piece)
        if HEAD_ENDS in piece:
            break
    return "".join(pieces).partition(HEAD_ENDS)[0] + HEAD_ENDS


Block = Callable[[Context], Iterator[str]]


def _record_live_parts(page: Template, context: Context, parts: dict[str, str]) -> None:
    """Let each block that moves write into `parts` what it renders."""
    for name, block in {**ENVIRONMENT.get_template(BASE).blocks, **page.blocks}.items():
        if name.startswith(LIVE):
            context.blocks[name] = [_recorded(name, block, parts), *context.blocks.get(name, [])[1:]]


def _recorded(name: str, block: Block, parts: dict[str, str]) -> Block:
    def render_and_record(context: Context) -> Iterator[str]:
        text = "".join(block(context))
        parts[name.removeprefix(LIVE)] = text
        yield text

    return render_and_record
