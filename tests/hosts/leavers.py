"""What is there when a team leaves, and what is left of it."""

from __future__ import annotations

from shedder.selection import Selection
from shedder.units import Rate
from tests.features.scene import Scene, numbered

MAIL = Selection.parse(functions=["app.mail.*"])


def everything(scene: Scene) -> dict[str, list[str]]:
    """Jobs in all places where shedder keeps some; where each must be when it has gone."""
    expected = {
        "mail": scene.fill("mail", *numbered("m", 6)),
        "mail.low": scene.fill("mail.low", *numbered("l", 4)),
        "team:web": scene.fill("team:web", *numbered("t", 3)),
        "reports": scene.fill("reports", *numbered("r", 4)),
    }
    for _ in range(3):
        scene.take("mail.normal")  # workers that died with a job in hand
    scene.shedder.divert("mail", reason="divert")
    expected["mail"] += scene.fill("mail", "m-7", "m-8")
    scene.add_stock_worker("team:web")
    scene.shedder.pause("team:web", reason="parked, as a stock worker serves it")
    expected["team:web"] += scene.fill("team:web", "t-4")
    scene.shedder.limit_starts("reports", most=1, reason="limit")
    scene.take("reports")
    some(scene, expected)
    return expected


def some(scene: Scene, expected: dict[str, list[str]]) -> None:
    """A part of a lane in a backlog, that drains, and settings of flags and limits."""
    mixed = []
    for number in range(4):
        mixed += scene.fill("mixed", f"x-{number}")
        mixed += scene.fill("mixed", f"y-{number}", function="app.report.build")
    scene.shedder.divert("mixed", selection=MAIL, reason="part")
    scene.shedder.drain("mixed", rate=Rate(1, 3600.0), reason="slowly")
    expected["mixed"] = mixed
    scene.shedder.degrade_flag("hints", reason="flag", force=True)
    scene.shedder.set_limit("search", Rate(5), reason="limit in code", force=True)


def own_keys(scene: Scene) -> list[str]:
    return sorted(key.decode() for key in scene.redis.scan_iter("*shedder*"))


def listed(scene: Scene, lanes: dict[str, list[str]]) -> dict[str, list[str]]:
    return {lane: scene.listed(lane) for lane in lanes}
