"""Saturated resources: of each machine that runs a part of us, and of the database."""

from datetime import timedelta

from sqlalchemy import func, select

from automation.alerting.checks.look import Found, Look, percent, seconds
from automation.alerting.incidents import Finding
from automation.alerting.rules import Connections, HostResource
from automation.models import ResourceSample

_LATELY = timedelta(seconds=60)
"""The mean of so long is looked at: several samples, so that a moment does not break what has lasted for minutes."""

_GONE = timedelta(hours=1)
"""A machine that was not heard of for so long is not coming back; until then nobody knows that it is better."""

_COLUMNS = {
    "cpu": ResourceSample.cpu,
    "memory": ResourceSample.memory_share,
    "disk": ResourceSample.disk_share,
}
_NAMES = {"cpu": "the processor", "memory": "the memory", "disk": "the disk of AUTOMATION_HOME"}


async def host(look: Look, rule: HostResource) -> Found:
    """One finding for each machine; ix_resource_samples_at."""
    query = (
        select(ResourceSample.host, func.avg(_COLUMNS[rule.resource]))
        .where(ResourceSample.at > look.now - _LATELY, ResourceSample.role == "host")
        .group_by(ResourceSample.host)
    )
    used = {
        machine[:200]: share for machine, share in (await look.session.execute(query)).tuples() if share is not None
    }
    silent = {one for one, alert in look.known.items() if one not in used and look.now - alert.last_seen_at < _GONE}
    name = _NAMES[rule.resource]
    lasting = f" for {seconds(rule.for_seconds)}" if rule.for_seconds else ""
    return Found(
        [
            Finding(
                f"{machine}: {name} is {percent(share)} used",
                f"{percent(rule.above)}{lasting}",
                machine,
                value=round(share, 4),
                limit=rule.above,
                unit="share",
                more={"host": machine},
            )
            for machine, share in used.items()
            if share > rule.above
        ],
        keeps=silent,
    )


async def connections(look: Look, rule: Connections) -> Found:
    """Of those that our database allows; ix_resource_samples_at."""
    query = (
        select(ResourceSample.connections, ResourceSample.connections_share)
        .where(ResourceSample.at > look.now - _LATELY, ResourceSample.connections_share.is_not(None))
        .order_by(ResourceSample.at.desc())
        .limit(1)
    )
    count, share = (await look.session.execute(query)).tuples().first() or (0, None)
    if share is None:  # nobody has looked lately
        return Found(keeps=look.known)
    if share <= rule.above:
        return Found()
    return Found(
        [
            Finding(
                f"{count} connections to the database, {percent(share)} of those that it allows",
                percent(rule.above),
                value=round(share, 4),
                limit=rule.above,
                unit="share",
                count=count or 1,
            )
        ]
    )
