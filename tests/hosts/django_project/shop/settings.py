"""The settings of a small shop."""

from __future__ import annotations

import os

from shedder.django import with_lanes

SECRET_KEY = "of a test"
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SHOP_DB"]}}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django_rq",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"

RQ_QUEUES = {
    **with_lanes({"mail": {"URL": os.environ["SHOP_REDIS"], "DEFAULT_RESULT_TTL": 77}}),
    "default": {"URL": os.environ["SHOP_REDIS"]},
    "plain": {"URL": os.environ["SHOP_REDIS"], "DEFAULT_RESULT_TTL": 33},
}
RQ = {"WORKER_CLASS": "shedder.rq.SimpleWorker", "QUEUE_CLASS": "shedder.django.queue.Queue"}
if os.environ.get("SHOP_STOCK"):
    RQ = {}
