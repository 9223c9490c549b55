"""The lanes as they should be, in plain Python: lists of ids, and what each step does to them.

No Redis, no clock. A lane is one list in reading order, and so is each backlog. Where the scripts
decide by the place in which an id stands (the front that was kept, the parked part, the RQ list),
the caller says how long these parts are.
"""

from __future__ import annotations

from collections import Counter

from tests.model.things import NOT_WAITING, Hold, Order, Pace, Parts, Taken, Work, verdict


class Lanes:
    """All lanes, and every id in them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.lanes: dict[str, list[str]] = {name: [] for name in names}
        self.orders: dict[str, list[Order]] = {name: [] for name in names}
        self.pauses: dict[str, Hold] = {}
        self.works: dict[str, Work] = {}
        self.claims: dict[bytes, Taken] = {}
        self.meters: Counter[str] = Counter()
        self.events: list[tuple[str, tuple[str, ...]]] = []
        self.stale: dict[str, list[str]] = {name: [] for name in names}
        self.failed: dict[str, list[str]] = {name: [] for name in names}
        self.sets_aside = False
        self.tick = 0

    # what stands

    def is_held(self, lane: str) -> bool:
        hold = self.pauses.get(lane)
        return hold is not None and not hold.is_over

    def is_parked(self, lane: str) -> bool:
        hold = self.pauses.get(lane)
        return hold is not None and not hold.is_over and hold.is_parked

    def whole(self, lane: str) -> Order | None:
        wholes = (each for each in self.orders[lane] if each.is_whole and not each.is_restoring)
        return next(wholes, None)

    def restoring(self, lane: str) -> Order | None:
        return next((each for each in self.orders[lane] if each.is_restoring), None)

    def find(self, lane: str, order: str) -> Order | None:
        return next((each for each in self.orders[lane] if each.id == order), None)

    def order_for(self, work: Work, lane: str, *, knows_function: bool, knows_meta: bool) -> tuple[Order | None, bool]:
        """The first order that takes a job for sure, and else whether one might."""
        is_open = False
        for order in self.orders[lane]:
            if not order.is_restoring:
                answer = verdict(work, order.selection, knows_function=knows_function, knows_meta=knows_meta)
                if answer == 1:
                    return order, False
                is_open = is_open or answer == -1
        return None, is_open

    # arrivals

    def arrive(self, work: Work, lane: str, *, listed: int, at_front: bool, is_known: bool) -> None:
        """A push by a producer of ours, which decides about diverts; so many are in the RQ list."""
        order = self._order_on_arrival(work, lane, knows_function=is_known, knows_meta=is_known)
        self._push(work, lane, order, listed=listed, at_front=at_front)

    def replay(self, job: str, lane: str, *, listed: int) -> int:
        """A job that was set aside arrives; how many are in the RQ list then."""
        work = self.works[job]
        work.is_old = False
        order = self._order_on_arrival(work, lane, knows_function=work.is_noted, knows_meta=False)
        self._push(work, lane, order, listed=listed, at_front=False)
        if order is None or order.is_scanning:
            return 0 if self.is_parked(lane) else listed + 1
        return 0 if order.is_whole and order.pace is None else listed

    def _order_on_arrival(self, work: Work, lane: str, *, knows_function: bool, knows_meta: bool) -> Order | None:
        fresh = Work(work.id, lane, work.function, work.tenant)
        return self.order_for(fresh, lane, knows_function=knows_function, knows_meta=knows_meta)[0]

    def _push(self, work: Work, lane: str, order: Order | None, *, listed: int, at_front: bool) -> None:
        if order is None or (order.is_scanning and not at_front):
            self.lanes[lane].insert(0 if at_front else len(self.lanes[lane]), work.id)
            return
        if order.is_whole and order.pace is None and not at_front:
            first = len(self.lanes[lane]) - listed
            order.backlog += self.lanes[lane][first:]
            del self.lanes[lane][first:]
        order.backlog.insert(0 if at_front else len(order.backlog), work.id)

    def arrive_unseen(self, job: str, lane: str, parts: Parts, *, at_front: bool) -> None:
        """A plain push onto the RQ list."""
        front = len(parts.kept) + len(parts.parked)
        self.lanes[lane].insert(front if at_front else len(self.lanes[lane]), job)

    # old work

    def is_stale(self, job: str) -> bool:
        return self.sets_aside and self.works[job].is_old

    def set_aside(self, lane: str, order: Order, limit: int) -> tuple[int, bool]:
        """The old jobs at the front of a backlog go: how many, and whether more may follow."""
        looked_at, aside = 0, []
        is_active = self.sets_aside and not order.is_restoring
        while is_active and order.backlog and looked_at < limit:
            job = order.backlog[0]
            is_gone = self.works[job].status == "gone"
            if not is_gone and not self.is_stale(job):
                break
            order.backlog.pop(0)
            looked_at += 1
            aside += [] if is_gone else [job]
        self.tell_aside(lane, aside)
        return len(aside), looked_at >= limit

    def tell_aside(self, lane: str, aside: list[str]) -> None:
        """What a step has set aside, with one event for all."""
        self.stale[lane] += aside
        if aside:
            self.events.append(("set aside", (lane,)))

    # claims

    def give_back(self, token: bytes, parts: Parts) -> Parts:
        """A claim ends, its job is at the front of where it came from; the parts after that."""
        taken = self.claims.pop(token)
        order = self.find(taken.lane, taken.order) or self.whole(taken.lane)
        restoring = self.restoring(taken.lane)
        if order is not None and not order.is_restoring:
            order.backlog.insert(0, taken.job)
        elif restoring is not None and not parts.kept:
            restoring.backlog.insert(0, taken.job)
        else:
            self.lanes[taken.lane].insert(0, taken.job)
            if parts.kept:
                return Parts((taken.job, *parts.kept), parts.parked, parts.listed)
        return parts

    def claim(self, names: tuple[str, ...], kept: dict[str, int]) -> tuple[Taken | None, bool]:
        """What the next claim gives, or else whether a drain waits for a token."""
        is_waiting = False
        for name in names:
            if self.is_held(name):
                continue
            if self.pauses.pop(name, None) is not None:
                self.events.append(("pause expired", (name,)))
            taken, waits = self._take(name, kept[name])
            is_waiting = is_waiting or waits
            if taken is not None:
                return taken, False
        return None, is_waiting

    def _take(self, lane: str, kept: int) -> tuple[Taken | None, bool]:
        whole = self.whole(lane)
        if whole is not None:
            whole.backlog += self.lanes[lane]
            self.lanes[lane].clear()
        is_waiting = False
        for order in list(self.orders[lane]):
            if order.pace is not None:
                if not order.pace.may_start:
                    is_waiting = is_waiting or bool(order.backlog) or not order.pace.stays
                elif taken := self._from_backlog(lane, order, order.pace):
                    return taken, False
        return (None if whole is not None else self._from_lane(lane, kept)), is_waiting

    def _from_backlog(self, lane: str, order: Order, pace: Pace) -> Taken | None:
        aside: list[str] = []
        while order.backlog:
            job = order.backlog.pop(0)
            if self.works[job].obstacle:
                continue
            if not self.is_stale(job):
                pace.tokens -= 1
                self.tell_aside(lane, aside)
                return Taken(lane, job, order.id, False)
            aside.append(job)
        self.tell_aside(lane, aside)
        self.end_if_drained(lane, order)
        return None

    def end_if_drained(self, lane: str, order: Order) -> None:
        """Nothing is left, and nothing that waits in the lane still has to be looked at."""
        is_over = not order.backlog and not order.is_scanning
        if is_over and order.pace is not None and not order.pace.stays:
            self.orders[lane].remove(order)
            self.events.append(("drained", (lane,)))

    def _from_lane(self, lane: str, kept: int) -> Taken | None:
        while True:
            job, kept = self._next_of(lane, kept)
            if job is None:
                return None
            work = self.works[job]
            if work.obstacle:
                self.meters[f"{lane}:dropped:{work.obstacle}"] += 1
                continue
            order, is_open = self.order_for(work, lane, knows_function=work.is_noted, knows_meta=False)
            if order is None:
                return Taken(lane, job, "", is_open)
            order.backlog.append(job)

    def _next_of(self, lane: str, kept: int) -> tuple[str | None, int]:
        """The next id: what was merged already, then what is on the way back, then the rest."""
        if not kept:
            for order in self.orders[lane]:
                if order.is_restoring and order.backlog:
                    return order.backlog.pop(0), kept
        if not self.lanes[lane]:
            return None, kept
        return self.lanes[lane].pop(0), max(kept - 1, 0)

    # the gate

    def gate(self, token: bytes, parts: Parts, *, starts: bool) -> tuple[str, str]:
        """What the gate says to the holder of a claim."""
        taken = self.claims.get(token)
        if taken is None:
            return "lost", ""
        work = self.works[taken.job]
        if work.status in NOT_WAITING or work.status == "gone":
            return self._drop(token, work.status)
        if work.status == "started" and work.executions > 1:
            return self._drop(token, "twin")
        if starts and self.is_held(taken.lane):
            self.give_back(token, parts)
            return "paused", ""
        if not taken.order:
            order, _ = self.order_for(work, taken.lane, knows_function=True, knows_meta=True)
            if order is not None:
                del self.claims[token]
                order.backlog.insert(0 if taken.tick < order.tick else len(order.backlog), taken.job)
                return "diverted", order.id
        if not starts:
            return "kept", ""
        del self.claims[token]
        work.status = "started"
        self.meters[f"{taken.lane}:started"] += 1
        return "started", ""

    def _drop(self, token: bytes, cause: str) -> tuple[str, str]:
        taken = self.claims.pop(token)
        self.meters[f"{taken.lane}:dropped:{cause}"] += 1
        return "dropped", cause
