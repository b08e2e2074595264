"""Who is talked to: the platform's modules, Studio's callback, the mail server. Each is only knocked at."""

import asyncio
from urllib.parse import urlsplit

import httpx

from automation.doctor.findings import Findings, failed, ok, warning
from automation.doctor.patient import PATIENCE, Patient


async def runtime(patient: Patient) -> Findings:
    """Whether Runtime answers, where one is set."""
    return await _knock(patient, "RUNTIME_URL", patient.settings.runtime_url, "pages are kept in the home")


async def insights(patient: Patient) -> Findings:
    """Whether Insights answers, where one is set."""
    return await _knock(patient, "INSIGHTS_URL", patient.settings.insights_url, "activities are kept in our tables")


async def foundation(patient: Patient) -> Findings:
    """Whether Foundation answers, where one is set."""
    return await _knock(patient, "FOUNDATION_URL", patient.settings.foundation_url, "we tell people ourselves")


async def callback(patient: Patient) -> Findings:
    """Whether Studio's callback answers, asked as the callback asks: the address is the operator's own word, so that it
    may lead into our network."""
    variable = "AUTOMATION_STUDIO_CALLBACK_URL"
    return await _knock(patient, variable, patient.settings.studio_callback_url, "Studio is told nothing")


async def alert_webhook(patient: Patient) -> Findings:
    """Whether whoever is told of alerts by webhooks answers."""
    variable = "AUTOMATION_ALERT_WEBHOOK_URL"
    return await _knock(patient, variable, patient.settings.alert_webhook_url, "only people are told of alerts")


async def mail(patient: Patient) -> Findings:
    """Whether the mail server takes connections, where one is set."""
    url = patient.settings.smtp_url
    if url is None:
        return ok("AUTOMATION_SMTP_URL is not set: no e-mail is sent")
    parts = urlsplit(url.get_secret_value())
    host, port = parts.hostname or "", parts.port or (465 if parts.scheme == "smtps" else 25)
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
    except (OSError, TimeoutError) as error:
        return failed(
            f"{host}:{port} takes no connection: {_reason(error)}",
            "mend AUTOMATION_SMTP_URL, or the way to that server",
        )
    return ok(f"{host}:{port} takes connections")


async def _knock(patient: Patient, variable: str, url: str | None, otherwise: str) -> Findings:
    """Ask for the head of an address: whoever answers anything is there, unless it says that it is broken."""
    if not url:
        return ok(f"{variable} is not set: {otherwise}")
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    try:
        answer = await patient.api.head(url)
    except httpx.HTTPError as error:
        return failed(
            f"{where} does not answer: {_reason(error)}", f"mend {variable}, or the way to it; what it is told waits"
        )
    if answer.status_code >= 500 and answer.status_code != 501:  # it knows no HEAD
        return warning(f"{where} answers {answer.status_code}", "see why it does; what it is told waits meanwhile")
    return ok(f"{where} answers")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return f"nothing within {PATIENCE:g} s"
    return str(error) or type(error).__name__
