"""Studio's own models, and two that are quite different."""

import uuid
from typing import Any

from django.conf import settings
from django.db import models


class Project(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=200)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    updated_at = models.DateTimeField(auto_now=True)


class Page(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE)
    name = models.CharField(max_length=200)
    route = models.CharField(max_length=200)
    config = models.JSONField(default=dict)
    version = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(auto_now=True)


class Space(models.Model):
    slug = models.SlugField(primary_key=True)
    title = models.CharField(max_length=200)


class Screen(models.Model):
    space = models.ForeignKey(Space, on_delete=models.CASCADE)
    slug = models.SlugField()
    document = models.JSONField(default=dict)


def space_data(space: Space) -> dict[str, Any]:
    return {"project_id": space.slug, "project": {"id": space.slug, "name": space.title}}


def screen_data(screen: Screen) -> dict[str, Any]:
    page = {"id": screen.slug, "config": screen.document}
    return {"project_id": screen.space_id, "page": page, "user_id": "somebody"}
