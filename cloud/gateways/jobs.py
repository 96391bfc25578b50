"""What the boxes' slice does when something happened elsewhere."""

from __future__ import annotations

from sqlalchemy.orm import Session

from cloud.gateways import downlink, reconciliation
from cloud.kit.events import on
from cloud.kit.jobs import Begin, job
from cloud.lis.worklists.events import WorklistChanged


@on(WorklistChanged, "gateways.worklist_changed")
def worklist_changed(session: Session, event: WorklistChanged) -> None:
    """The box is told by a job that runs one at a time for it, so that revisions go out in their order."""
    downlink.request(session, event.gateway)


@job(downlink.SEND, own_transactions=True)
def send_worklist(begin: Begin, gateway: str, again: bool = False) -> None:
    """Publish what the box does not have yet."""
    downlink.send(begin, gateway, again=again)


@job(reconciliation.ASK, own_transactions=True)
def ask_counts(begin: Begin, gateway: str, run: str) -> None:
    """Have a box say what it holds of a link."""
    reconciliation.send_request(begin, gateway, run)
