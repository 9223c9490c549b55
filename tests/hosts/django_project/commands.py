"""Several commands of django-rq in one process; the last one prints."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

import django

django.setup()

from django.core.management import call_command

for text, queue in (("mail 0", "mail"), ("mail 1", "mail"), ("low", "mail.low")):
    call_command("rqenqueue", "shop.jobs.note", text, queue=queue, verbosity=0)
call_command("rqsuspend", verbosity=0)
call_command("rqresume", verbosity=0)
call_command("rqstats", json=True)
