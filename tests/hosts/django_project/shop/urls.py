"""The pages of the shop: those of the administration, with django-rq's."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("rq/", include("django_rq.urls"))]
