"""The worker as Prefect sees it: `prefect worker start --pool automation`, for pools of type `warm`.

It claims runs as soon as Prefect's events tell of them, has its children run those that are ours, and lets
Prefect's own process worker, which it extends, run any other. It sets the states that a child cannot set.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.states import Cancelled, Crashed, Pending, Scheduled
from prefect.utilities.engine import propose_state
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from automation.database import Database
from automation.models import utc_now
from automation.models.flow_run import FlowRun as OurRun
from automation.settings import get_settings
from automation.worker import adapter, ours
from automation.worker.pace import next_pause
