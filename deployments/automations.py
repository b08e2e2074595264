"""The Prefect automations of `automations.yaml`, and the blocks through which they notify.

Each carries a fingerprint of what was shipped as a tag. One that still has the content of its fingerprint was
not edited, and follows the file; any other is its operator's.
"""

import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import PrefectClient
from prefect.events.schemas.automations import AutomationCore
from pydantic import SecretStr

from automation.models import Json
from automation.settings import Settings

FILE = Path(__file__).with_name("automations.yaml")
NOTIFY_BLOCKS = "automation-notify-"
"""Blocks of this prefix are ours; the rest of the name is a digest of the URL."""
_SHIPPED = "automation-shipped:"
_CONTENT = {"description", "trigger", "actions", "actions_on_trigger", "actions_on_resolve"}


async def apply_automations(client: PrefectClient, settings: Settings) -> None:
    """Create the automations that are missing, and update those that nobody edited; safe to repeat."""
    blocks = [await _save_block(url) for url in settings.notify_urls]
    for document in yaml.safe_load(FILE.read_text())["automations"]:
        await _apply(client, wanted(document, blocks))
    await _forget_blocks(client, set(blocks))


def wanted(document: Json, blocks: list[UUID]) -> AutomationCore:
    """An automation of the file, its notifications sent through each of the blocks."""
    actions = [
        action
        for one in document["actions"]
        for action in (
            [{**one, "block_document_id": block} for block in blocks] if one["type"] == "send-notification" else [one]
        )
    ]
    made = AutomationCore.model_validate(document | {"actions": actions or [{"type": "do-nothing"}]})
    made.tags = [_SHIPPED + fingerprint(made)]
    return made


async def _apply(client: PrefectClient, shipped: AutomationCore) -> None:
    existing = await client.read_automations_by_name(shipped.name)
    if not existing:
        await client.create_automation(shipped)
        return
    for one in existing:
        unedited = one.tags == [_SHIPPED + fingerprint(one)]
        if unedited and one.tags != shipped.tags:
            content = shipped.model_dump(exclude={"owner_resource"}) | {"enabled": one.enabled}
            await client.update_automation(one.id, AutomationCore.model_validate(content))


def fingerprint(automation: AutomationCore) -> str:
    """Tells two contents of an automation apart; whether it is enabled does not count."""
    content = json.dumps(_ordered(automation.model_dump(mode="json", include=_CONTENT)), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _ordered(value: Any) -> Any:
    """Lists in one order: those of a trigger are sets."""
    if isinstance(value, dict):
        return {key: _ordered(one) for key, one in value.items()}
    if isinstance(value, list):
        return sorted(map(_ordered, value), key=lambda one: json.dumps(one, sort_keys=True))
    return value


def _block_name(url: str) -> str:
    return NOTIFY_BLOCKS + hashlib.sha256(url.encode()).hexdigest()[:16]


async def _save_block(url: str) -> UUID:
    """Store an Apprise URL in Prefect, encrypted.

    Of the notification blocks that every Prefect server knows, this is the one that takes any Apprise URL.
    """
    id_: UUID = await SlackWebhook(url=SecretStr(url)).asave(_block_name(url), overwrite=True)
    return id_


async def _forget_blocks(client: PrefectClient, kept: set[UUID]) -> None:
    """Delete the URLs that are no longer in the settings; an edited automation notifies through them no more."""
    for block in await client.read_block_documents_by_type(SlackWebhook.get_block_type_slug(), include_secrets=False):
        if (block.name or "").startswith(NOTIFY_BLOCKS) and block.id not in kept:
            await client.delete_block_document(block.id)
