"""The pages on which one acts, as a browser sends them: form, preview, confirm; tokens, and what is refused."""

from __future__ import annotations

import ast
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import shedder.web
from shedder.store.codec import ms_from_time
from shedder.web import actions
from tests.features.failures import fail
from tests.features.scene import Scene
from tests.web.acting_scene import BOB, Acting, dump, text_of_page, token_in
from tests.web.every_act import EVERY_ACT, jobs

if TYPE_CHECKING:
    from redis import Redis

    from shedder.embedded import EmbeddedServer
    from tests.conftest import ServerFactory

WHY = "database at 99 %"
HOSTILE = (
    "<script>alert(1)</script>",
    "\u202egnp.exe",
    "a" * 300,
    "\"' onfocus=alert(1) x='",
    "\ud83d half",
    "{{ 7 * 7 }}",
)


@pytest.fixture
def acting(redis: Redis) -> Acting:
    return Acting(redis)


@pytest.mark.parametrize("name", EVERY_ACT)
def test_each_act_from_its_link_to_its_receipt(scene: Scene, acting: Acting, name: str) -> None:
    """The form opens filled in, the preview has a token, and the receipt says what the journal says."""
    EVERY_ACT[name].before(scene)
    said = EVERY_ACT[name].fields(scene)
    before = dump(scene.redis)
    form = acting.get(f"/act/{name}", **said)
    assert (200, before) == (form.status, dump(scene.redis))
    preview = acting.post(f"/act/{name}", reason=WHY, **said)
    assert (200, before) == (preview.status, dump(scene.redis)), text_of_page(preview)
    receipt = acting.post(f"/act/{name}/confirm", token=token_in(preview), reason=WHY)
    assert 200 == receipt.status, text_of_page(receipt)
    assert "The journal says" in text_of_page(receipt)
    assert before != dump(scene.redis)


def test_a_double_click_acts_once(scene: Scene, acting: Acting) -> None:
    """Of two threads that send the same form one acts, and the other is told so."""
    jobs(scene)
    token = token_in(acting.post("/act/pause", target="mail"))
    answers = at_once([acting, acting], token)
    assert [200, 409] == sorted(each.status for each in answers)
    assert ["pause"] == scene.verbs()
    assert any("acts once" in text_of_page(each) for each in answers)


def test_two_processes_act_once(server: EmbeddedServer, scene: Scene, acting: Acting) -> None:
    """Two sites, each with a client of its own, agree on the token and on who acts."""
    jobs(scene)
    with server.client() as client:
        other = Acting(client)
        token = token_in(acting.post("/act/pause", target="mail"))
        answers = at_once([acting, other], token)
    assert [200, 409] == sorted(each.status for each in answers)
    assert ["pause"] == scene.verbs()


def at_once(sites: list[Acting], token: str):
    """What each site answers to the same form, sent at the same time."""
    start, answers = threading.Barrier(len(sites)), []

    def send(site: Acting) -> None:
        start.wait()
        answers.append(site.post("/act/pause/confirm", token=token, reason=WHY))

    threads = [threading.Thread(target=send, args=(each,)) for each in sites]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return answers


def test_a_token_of_somebody_else_is_refused(scene: Scene, acting: Acting) -> None:
    """Who has not seen the preview does not confirm it; who has, still may."""
    jobs(scene)
    token = token_in(acting.post("/act/pause", target="mail"))
    refused = acting.post("/act/pause/confirm", user="bob@desk", token=token, reason=WHY)
    assert (409, []) == (refused.status, scene.verbs())
    assert "somebody else has filled it in" in text_of_page(refused)
    assert 200 == acting.post("/act/pause/confirm", token=token, reason=WHY).status


@pytest.mark.parametrize("change", [lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"), lambda text: f"e{text}",
                                    lambda _text: "", lambda _text: "x.y", lambda text: f"{text}\ud83d"])  # fmt: skip
def test_a_token_that_was_changed_is_refused(scene: Scene, acting: Acting, change) -> None:
    """A token says what was previewed, and nothing else."""
    jobs(scene)
    token = token_in(acting.post("/act/pause", target="mail"))
    refused = acting.post("/act/pause/confirm", token=change(token), reason=WHY)
    assert (409, []) == (refused.status, scene.verbs())


def test_a_token_of_another_secret_is_refused(scene: Scene, acting: Acting) -> None:
    """A site signs with its own secret."""
    jobs(scene)
    other = Acting(scene.redis, secret=b"another one of 32 bytes or more..")
    token = token_in(other.post("/act/pause", target="mail"))
    assert 409 == acting.post("/act/pause/confirm", token=token, reason=WHY).status
    assert [] == scene.verbs()


def test_a_token_is_of_its_act(scene: Scene, acting: Acting) -> None:
    """A preview of one act confirms no other."""
    jobs(scene)
    token = token_in(acting.post("/act/pause", target="mail"))
    assert 409 == acting.post("/act/divert/confirm", token=token, reason=WHY).status
    assert [] == scene.verbs()


def test_a_token_grows_old(scene: Scene, acting: Acting) -> None:
    """After a quarter of an hour the form comes back as it was filled in, and nothing is done."""
    jobs(scene)
    old = acting.shedder.incidents.now() - actions.GOOD_FOR - timedelta(seconds=1)
    payload = {
        "id": "x",
        "act": "pause",
        "said": {"target": ["mail"]},
        "by": "ana@desk",
        "state": "",
        "at": ms_from_time(old),
    }
    token = actions.signed(payload, acting.site.secret)
    refused = acting.post("/act/pause/confirm", token=token, reason=WHY)
    assert (409, []) == (refused.status, scene.verbs())
    assert "older than 15m" in text_of_page(refused)
    assert 'value="mail"' in refused.body.decode()


def test_drift_shows_the_new_preview(scene: Scene, acting: Acting) -> None:
    """A confirm after somebody else's change is refused with what it would do now, which can be confirmed."""
    jobs(scene)
    token = token_in(acting.post("/act/pause", target="mail", reason=WHY))
    scene.shedder.pause("mail", reason="nightly export", by="bob@desk")
    refused = acting.post("/act/pause/confirm", token=token, reason=WHY)
    page = text_of_page(refused)
    assert (409, ["pause"]) == (refused.status, scene.verbs())
    assert "things have changed since you looked" in page.lower()
    assert "takes the place of the pause by bob@desk: nightly export" in page
    assert f'value="{WHY}"' in refused.body.decode()
    assert 200 == acting.post("/act/pause/confirm", token=token_in(refused), reason=WHY).status


def test_a_reason_is_needed(scene: Scene, acting: Acting) -> None:
    """Without a reason the preview comes back with a sentence, and a blank is none."""
    jobs(scene)
    token = token_in(acting.post("/act/pause", target="mail"))
    for reason in ("", "  ", "REASON"):
        refused = acting.post("/act/pause/confirm", token=token, reason=reason)
        assert (422, []) == (refused.status, scene.verbs())
        assert "Say why" in text_of_page(refused)
    assert 200 == acting.post("/act/pause/confirm", token=token, reason=WHY).status


WRONG = {
    "pause": {"target": "mail", "for": "30"},
    "divert": {"target": "mail", "meta": "tenant"},
    "drain": {"target": "mail", "rate": "fast"},
    "retry": {"target": "mail", "rate": "5/second", "attempts_below": "many"},
    "limit-set": {"name": "reports", "rate": "100/minute"},
    "undo": {"event": "1-1"},
    "incident-open": {"title": "late", "severity": "9"},
    "incident-take": {"role": "operations"},
    "mitigate": {"name": "rollback"},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_comes_back_as_it_was_typed(scene: Scene, acting: Acting, name: str) -> None:
    """The form has one sentence, and everything that was typed."""
    jobs(scene)
    before = dump(scene.redis)
    refused = acting.post(f"/act/{name}", reason="half a reason", **WRONG[name])
    page = refused.body.decode()
    assert refused.status in (409, 422)
    assert 1 == page.count('role="alert"')
    for typed in (*WRONG[name].values(), "half a reason"):
        assert typed in page or typed == "9"
    assert before == dump(scene.redis)


def test_a_viewer_is_told_what_is_missing(scene: Scene, redis: Redis) -> None:
    """403 says who may not do what, and whom to ask; a site that only shows says how it would act."""
    jobs(scene)
    limited = Acting(redis, may=lambda user, verb, lane: (user, verb, lane) != ("bob@desk", "pause", "mail.low"))
    token = token_in(limited.post("/act/pause", target="mail"))
    refused = limited.post("/act/pause", user=BOB.name, target="mail")
    assert 403 == refused.status
    assert "bob@desk may not do this: pause mail.low" in text_of_page(refused)
    assert 200 == limited.post("/act/pause", user=BOB.name, target="mail.normal").status
    nobody = limited.post("/act/pause/confirm", user="", token=token, reason=WHY)
    assert nobody.status in (303, 401, 403, 409)
    assert [] == scene.verbs()


def test_who_lost_the_permission_meanwhile_does_not_act(scene: Scene, redis: Redis) -> None:
    """The one function that acts asks again."""
    jobs(scene)
    allowed = [True]
    acting = Acting(redis, may=lambda _user, _verb, _lane: allowed[0])
    token = token_in(acting.post("/act/pause", target="mail"))
    allowed[0] = False
    assert 403 == acting.post("/act/pause/confirm", token=token, reason=WHY).status
    assert [] == scene.verbs()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_are_data(scene: Scene, acting: Acting, text: str) -> None:
    """Names and reasons of others stand on the page as text, in each of the three pages."""
    jobs(scene)
    fail(scene, "mail", "f1", line=f"app.errors.Down: {text.encode('utf-8', 'replace').decode()}")
    scene.shedder.pause("mail", reason=text, by="bob@desk")
    for page in (
        acting.get("/act/pause", target=text, reason=text),
        acting.post("/act/pause", target=text, reason=text),
        preview := acting.post("/act/pause", target="mail", reason=text),
        acting.post("/act/pause/confirm", token=token_in(preview), reason=text),
    ):
        body = page.body.decode()
        assert "<script>alert" not in body
        assert "onfocus=alert(1) x='\"" not in body
        assert " 49 " not in text_of_page(page)


def test_a_megabyte_is_refused(scene: Scene, acting: Acting) -> None:
    """A field that is too long is refused with a sentence."""
    jobs(scene)
    refused = acting.post("/act/note", text="x" * 1_000_000)
    assert refused.status == 422
    assert "too long" in text_of_page(refused)


def test_it_works_when_redis_is_full(scene: Scene, acting: Acting) -> None:
    """A pause can be previewed and confirmed at the limit of memory."""
    jobs(scene)
    token = token_in(acting.post("/act/pause", target="mail"))
    scene.redis.config_set("maxmemory", 1)
    try:
        answer = acting.post("/act/pause/confirm", token=token, reason=WHY)
    finally:
        scene.redis.config_set("maxmemory", 0)
    assert 200 == answer.status, text_of_page(answer)
    assert ["pause"] == scene.verbs()


def test_without_redis_everything_typed_is_kept(server_factory: ServerFactory) -> None:
    """While Redis is away a form comes back with one sentence, before a preview and before a confirm."""
    own = server_factory()
    acting = Acting(own.client())
    token = token_in(acting.post("/act/pause", target="mail"))
    own.stop()
    for page in (
        acting.post("/act/pause", target="mail", reason=WHY),
        acting.post("/act/pause/confirm", token=token, reason=WHY),
    ):
        assert 503 == page.status
        assert 'value="mail"' in page.body.decode()
        assert f'value="{WHY}"' in page.body.decode()
        assert 1 == page.body.decode().count('role="alert"')


def test_changes_of_another_lane_are_not_shown(scene: Scene, acting: Acting) -> None:
    """Of the lanes that are meant, and no others."""
    jobs(scene)
    scene.shedder.pause("mail.low", reason="nightly export", by="bob@desk")
    assert () == acting.preview("pause", target="mail.normal").others
    assert acting.preview("pause", target="mail.low").others


def test_an_unknown_act_is_no_page(acting: Acting) -> None:
    """What is no act is not found, whatever is sent."""
    assert [404, 404] == [acting.get("/act/format").status, acting.post("/act/format").status]


WRITES = frozenset({
    "set", "setex", "setnx", "hset", "hdel", "delete", "unlink", "lpush", "rpush", "lpop", "rpop", "zadd", "zrem",
    "xadd", "sadd", "srem", "incr", "expire", "rename", "eval", "evalsha", "execute_command", "publish", "flushdb",
})  # fmt: skip
KNOWN = {("actions.py", "use_token"), ("site.py", "set")}
"""The mark of a token that was used, and the secret that signs tokens."""


def test_the_pages_have_no_second_way_to_change_anything() -> None:
    """The package calls no script and no writing command, but for the mark of a token and the site's secret."""
    found = set()
    for file in Path(shedder.web.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == "Command":
                found.add((file.name, ast.literal_eval(node.args[0])))
            if isinstance(node.func, ast.Attribute) and name in WRITES:
                found.add((file.name, name))
    assert KNOWN == found
