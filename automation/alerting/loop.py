"""The loop that looks, follows incidents and has people told. One process holds it; another takes over when it dies."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from time import monotonic

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.alerting.checks import CHECKS, Found, Look
from automation.alerting.checks.failures import cause_of
from automation.alerting.incidents import Finding, end_without_a_word, follow, sighted
from automation.alerting.rules import Rule, Rules, in_force
from automation.alerting.telling import TOO_LATE, tell_due
from automation.database import Database
from automation.models import Sighting
from automation.models.alert_queries import anything, now_there, open_alerts, take_sightings
from automation.monitoring.now import standing
from automation.settings import Settings
from automation.steps import one_line

log = logging.getLogger(__name__)

_LOCK = 0x414C_5254  # "ALRT"
_PAUSE = 1.0
"""Seconds between two looks at what was noticed on the spot, and at who is to be told."""
_LOOK = 10.0
"""Seconds between two looks at everything."""
_MARGIN = timedelta(seconds=30)
"""How far a look reaches back behind the last one: clocks differ, and commits come late."""
_FIRST = timedelta(days=1)
"""How far back the first look reaches for what failed while nobody looked."""
_AT_ONCE = 1000
"""Sightings that are taken in one transaction."""
_LONGEST = "5s"
"""What a statement may take; the rule that takes longer is given up, and its incidents stand as they are."""

_YIELD = ("failures_in_a_row", "dead_letters")
_OF_CAUSES = ("sightings", *_YIELD)
"""Types whose incidents are causes. Those that yield leave a cause to the rule before them that has it already."""


class Alerting:
    """Evaluates the rules. Any number may run side by side: one of them works.

    Raises:
        SettingError: something in the file of AUTOMATION_ALERTS_FILE is wrong.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.rules: Rules = in_force(settings.alerts_file)
        self._since: datetime | None = None

    async def run(self) -> None:
        """Look and tell until cancelled, while this process holds the lock."""
        connection = await self.database.listen()
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                await asyncio.sleep(_PAUSE)
            # rounds come first: what was noticed while nobody looked belongs to incidents that would be over else, and
            # what else has just been started has its time to catch up
            looked = monotonic()
            while not connection.is_closed():
                if monotonic() - looked >= _LOOK:
                    looked = monotonic()
                    await self.look()
                await self.round()
                await asyncio.sleep(_PAUSE)
        finally:
            connection.terminate()

    async def round(self) -> None:
        """Take in what was noticed on the spot, and tell what is due."""
        async with self.database.transaction() as session:
            now, are_seen, may_tell = await anything(session, TOO_LATE)
            while are_seen and (taken := await take_sightings(session, _AT_ONCE)):
                await self._fold(session, taken, now)
                are_seen, may_tell = len(taken) == _AT_ONCE, True
            if may_tell:
                await tell_due(session, self.rules, self.settings, now)

    async def look(self) -> None:
        """Evaluate every rule once: together, which is cheaper, or each alone when one of them cannot be evaluated."""
        rules = list(self.rules.enabled())
        try:
            self._since = await self._evaluate(rules)
        except Exception as error:
            log.debug("A look at all rules together failed: %r", error)
            for name in rules:
                await self._evaluate_alone(name)

    async def _evaluate_alone(self, name: str) -> None:
        """One that cannot be evaluated keeps no other from it, and leaves its incidents as they are."""
        try:
            await self._evaluate([name])
        except Exception as error:
            log.warning("The rule %s cannot be evaluated: %s", name, one_line(f"{type(error).__name__}: {error}"))

    async def _evaluate(self, names: Collection[str]) -> datetime:
        """Evaluate these rules in one transaction; when it began."""
        async with self.database.transaction() as session:
            await session.execute(text(f"SET LOCAL statement_timeout = '{_LONGEST}'"))
            now = await now_there(session)
            since = self._since - _MARGIN if self._since else now - _FIRST
            stands, open_ = await standing(session), await open_alerts(session)
            causes: set[str] = set()
            for name, rule in self.rules.enabled().items():
                known = open_.pop(name, {})
                still = set(known)
                if name in names:
                    look = Look(session, self.settings, now, since, stands, known)
                    still = await self._follow(look, name, rule, causes if rule.type in _YIELD else ())
                causes |= still if rule.type in _OF_CAUSES else set()
            for alert in (one for of_rule in open_.values() for one in of_rule.values()):
                await end_without_a_word(session, alert, now)  # its rule was switched off, or is gone
        return now

    async def _follow(self, look: Look, name: str, rule: Rule, elsewhere: Collection[str]) -> set[str]:
        """One rule; the fingerprints of its incidents that are not over now."""
        check = CHECKS.get(rule.type)
        found = await check(look, rule) if check else Found()
        return await follow(
            look.session, name, rule, look.known, found.findings, look.now, elsewhere=elsewhere, keeps=found.keeps
        )

    async def _fold(self, session: AsyncSession, taken: Sequence[Sighting], now: datetime) -> None:
        """Make incidents of what was noticed: of one cause one, of a rule that is switched off none."""
        groups = await asyncio.to_thread(_by_cause, taken)
        open_ = await open_alerts(session)
        rules = self.rules.enabled()
        for name in sorted({name for name, _ in groups} & rules.keys()):
            findings = [_finding(cause, several) for (rule, cause), several in groups.items() if rule == name]
            sighted(session, name, rules[name], open_.get(name, {}), findings, now)
        await session.flush()


def _by_cause(taken: Sequence[Sighting]) -> dict[tuple[str, str], list[Sighting]]:
    """By rule and cause; what has no error code is one cause."""
    groups: defaultdict[tuple[str, str], list[Sighting]] = defaultdict(list)
    for one in taken:
        cause = cause_of(one.error_code, one.step, one.body) if one.error_code else ""
        groups[one.rule, cause].append(one)
    return groups


def _finding(cause: str, several: Sequence[Sighting]) -> Finding:
    """Args: several: of one cause, the latest last."""
    last = several[-1]
    projects = {one.project_id for one in several}
    workflows = {one.workflow_id for one in several}
    return Finding(
        f"{last.title}: {last.body}" if last.error_code else last.title,
        "one",
        cause,
        count=len(several),
        project_id=last.project_id if len(projects) == 1 else None,
        workflow_id=last.workflow_id if len(workflows) == 1 else None,
        execution_id=last.execution_id,
        more={"body": last.body, "error_code": last.error_code, "step": last.step},
    )
