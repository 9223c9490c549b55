"""Messages reach channels, also beside channels that do not work."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from shedder.errors import InvalidInput
from shedder.updates.channels import Channels, channel_urls
from tests.waiting import is_quick

if TYPE_CHECKING:
    from tests.heartbeat.sink import Sink


def test_a_message_arrives(sink: Sink) -> None:
    """Title and text are posted to the channel's URL."""
    assert Channels({"main": [sink.url("ops")]}).send("main", "title", "text")
    assert [("ops", "title", "text")] == sink.taken


def test_all_urls_of_a_channel_get_it(sink: Sink) -> None:
    """One of them that fails does not keep the others from it, and is not hidden."""
    sink.mood["bad"] = "error"
    found = Channels({"main": [sink.url("bad"), sink.url("good")]})
    assert not found.send("main", "title", "text")
    assert [("good", "title", "text")] == sink.taken


def test_a_channel_that_hangs_costs_a_bounded_time(sink: Sink) -> None:
    """Whoever sends goes on when a channel has not answered in time."""
    sink.mood["slow"] = "hang"
    with mock.patch("shedder.updates.channels.SEND_SECONDS", 0.2):
        found = Channels({"main": [sink.url("slow"), sink.url("good")]})
        assert not found.send("main", "title", "text")
    assert ["text"] == sink.texts("good")


def test_several_urls_that_hang_cost_no_more_than_one(sink: Sink) -> None:
    """The time to send is for the whole of a channel, not for each of its URLs."""
    sink.mood = dict.fromkeys("abcd", "hang")
    found = Channels({"main": [sink.url(each) for each in "abcd"]})
    with mock.patch("shedder.updates.channels.SEND_SECONDS", 0.5):
        assert is_quick(lambda: found.send("main", "title", "text"), seconds=1.0)
    assert [] == sink.taken


def test_a_url_that_apprise_does_not_know_is_an_error_without_the_url() -> None:
    """Apprise itself says nothing of it; and a URL may hold a password."""
    with pytest.raises(InvalidInput, match=r"channel main.*URL 2 \(nonsense://") as caught:
        Channels({"main": ["json://localhost", "nonsense://user:secret@host"]})
    assert "secret" not in str(caught.value)


def test_a_variable_that_is_not_set_is_named() -> None:
    """`env:NAME` with nothing behind it is an error that says which."""
    with pytest.raises(InvalidInput, match="a variable that is set: NO_SUCH_CHANNEL"):
        Channels({"main": ["env:NO_SUCH_CHANNEL"]})


def test_urls_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable holds one URL or several, and adds to what the policy says."""
    monkeypatch.setenv("SHEDDER_CHANNEL_MAIN", "json://one json://two")
    want = {"main": ("json://zero", "json://one", "json://two")}
    assert want == channel_urls({"main": ["json://zero"]})


def test_secrets_are_in_no_log(sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    """A failure is logged with the private form of the URL."""
    caplog.set_level(logging.DEBUG)
    sink.mood["ops"] = "error"
    url = sink.url("ops").replace("json://", "json://bob:secret@")
    found = Channels({"main": [url]})
    assert not found.send("main", "title", "text")
    assert "did not take a message" in caplog.text
    assert "secret" not in caplog.text + str(found.places("main")) + repr(found)
