"""The periodic look at who is silent."""

from __future__ import annotations

from sqlalchemy.orm import Session

from cloud.gateways.watch import silence
from cloud.kit import clock
from cloud.kit.jobs import job


@job("gateways.watch_silence", every="* * * * *")
def watch_silence(session: Session) -> None:
    """Alarms of boxes and instruments that say nothing, begun and ended."""
    silence.look(session, clock.now())
