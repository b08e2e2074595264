"""The system REST API, one router a noun."""

from automation.api.app import create_app
from automation.api.services import Services

__all__ = ["Services", "create_app"]
