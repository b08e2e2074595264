"""The operations page: what an operator sees in a browser, below `/ops/` of the service.

Rendered here, by Jinja2; the one small script refreshes what moves. Who looks signs in with a key of the API, and sees
and may do what that key may (`automation/api/auth.py`). Every button does what the API does at the same request.
"""

from automation.ops.app import mount

__all__ = ["mount"]
