"""Prints as JSON what happens to the jobs of a transaction, and what the pages show."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

import django

django.setup()

import django_rq
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from redis.asyncio import Redis
from shop import jobs

if TYPE_CHECKING:
    from rq.job import Job


def waiting() -> list[int]:
    return [len(django_rq.get_queue(name)) for name in ("mail", "mail.low")]


def commit() -> dict[str, Any]:
    """Enqueue in transactions: one ends well, one does not."""
    before, mail = waiting(), django_rq.get_queue("mail")
    with transaction.atomic():
        User.objects.create(username="a")
        mail.enqueue(jobs.note, "in mail")
        mail.low.enqueue(jobs.note, "in mail.low")
        jobs.receipt.delay("4711")
        during = waiting()
    after = waiting()
    with transaction.atomic():
        mail.critical.enqueue(jobs.note, "never")
        transaction.set_rollback(True)
    return {
        "before": before, "during": during, "after": after,
        "rolled_back": [len(mail.critical), len(mail)],
    }  # fmt: skip


def results() -> dict[str, Any]:
    """How long results live, by the settings of each queue."""
    mail, plain = django_rq.get_queue("mail"), django_rq.get_queue("plain")
    queues = (mail, mail.low, plain, plain.low)
    made = [queue.enqueue_call(jobs.note, args=("x",)) for queue in queues]
    made.append(mail.enqueue_call(jobs.note, args=("x",), result_ttl=5))
    made.append(asyncio.run(from_a_coroutine()))
    found = [job.result_ttl for job in made]
    for job in made:
        job.delete()
    return {"result_ttl": found}


async def from_a_coroutine() -> Job:
    """A job of a lane, enqueued with an asyncio client."""
    async with Redis.from_url(os.environ["SHOP_REDIS"]) as client:
        mail = django_rq.get_queue("mail", async_connection=client)
        job: Job = await mail.low.enqueue_async(jobs.note, "x")
        return job


def pages() -> dict[str, Any]:
    """What the pages of the administration answer."""
    user = User.objects.create_superuser("admin", password="of a test")
    client = Client()
    client.force_login(user)
    home = client.get("/rq/")
    client.get("/admin/")
    names = sorted(django_rq.settings.get_queues_list(), key=lambda each: each["name"])
    codes = {}
    for index in range(len(names)):
        for page in ("", "finished/", "failed/", "scheduled/", "started/", "deferred/"):
            url = f"/rq/queues/{index}/{page}"
            codes[url] = client.get(url).status_code
        codes[f"workers {index}"] = client.get(f"/rq/workers/{index}/").status_code
    stats = client.get("/rq/stats.json/").json()
    job = django_rq.get_queue("mail.low").get_jobs()[0]
    index = [each["name"] for each in names].index("mail.low")
    detail = client.get(f"/rq/queues/{index}/{job.id}/")
    deleted = client.post(f"/rq/queues/{index}/{job.id}/delete/", {"post": "yes"})
    return {
        "home": [home.status_code, *sorted(name for name in lanes() if name in home.text)],
        "codes": sorted(set(codes.values())),
        "stats": {queue["name"]: queue["jobs"] for queue in stats["queues"]},
        "detail": [detail.status_code, job.id in detail.text],
        "deleted": [deleted.status_code, waiting()[1]],
    }


def lanes() -> list[str]:
    return ["mail.critical", "mail.high", "mail.low"]


print(json.dumps({**commit(), **results(), **pages()}))
