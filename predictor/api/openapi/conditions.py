"""What of the settings changes how calls answer."""

from __future__ import annotations

from typing import NamedTuple


class Conditions(NamedTuple):
    """Those of one server."""

    token: bool = False
    """Whether calls that predict want a token."""
    feedback_token: bool = False
    control_token: bool = False
    """Without one the calls that load and unload are refused."""
    checks_hosts: bool = False
    """Whether a request for another server's name is refused."""
    logs: bool = True
    outbox_refuses: bool = True
    """Whether what cannot be logged is refused."""
    limits_rows: bool = False
    """Whether there is a bound of rows a second."""
    shared_port: bool = False
    """Whether a call reaches one of several processes."""
    page: bool = False
    """Whether the page is shown."""
