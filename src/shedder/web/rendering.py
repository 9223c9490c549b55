"""A page from a template and what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from shedder.web.http import Request, Response

if TYPE_CHECKING:
    from shedder.web.app import Site, Visitor

ENVIRONMENT = Environment(
    loader=PackageLoader("shedder.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(
    site: Site, request: Request, visitor: Visitor, template: str, *, status: int = 200, **shown: Any
) -> Response:
    """The page that `template` makes of `shown`, with what stands on every page."""
    text = ENVIRONMENT.get_template(template).render(site=site, request=request, visitor=visitor, **shown)
    return Response(status, text.encode(), (("Content-Type", "text/html; charset=utf-8"),))
