"""How many hits a limit lets through, and when the caller obeys a change of it."""

from __future__ import annotations

from shedder import Rate
from tests.waiting import wait_until


def admitted(app, name="reports", *, tries=300, key="", want=None):
    """How many of `tries` hits are let through."""
    return sum(app.limits.hit(name, key) for _ in range(tries))


def set_and_seen(app, operator, rate, **options):
    """Set a limit, and return when `app` obeys it."""
    receipt = operator.set_limit("reports", Rate.parse(rate), reason="test", force=True, **options)
    name = f"reports {options['key']}" if options.get("key") else "reports"

    def is_seen():
        app.limits.hit("other")
        setting = app._watch.known.limits.get(name)
        return setting is not None and setting.body["rate"] == rate

    wait_until(is_seen, what=f"{rate} in force")
    return receipt
