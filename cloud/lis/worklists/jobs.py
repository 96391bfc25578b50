"""Reactions of the worklists to what happens to specimens."""

from __future__ import annotations

from sqlalchemy.orm import Session

from cloud.kit.events import on
from cloud.kit.jobs import job
from cloud.lis.specimens.events import SpecimenCollected, SpecimenReceived, SpecimenRejected, SpecimenTestsChanged
from cloud.lis.worklists import service, unanswered


@on(SpecimenCollected, "lis.worklists.specimen_collected")
def specimen_collected(session: Session, event: SpecimenCollected) -> None:
    """On no worklist yet; a box that asks about it gets its order."""
    unanswered.specimen_changed(session, event.aggregate_id)


@on(SpecimenReceived, "lis.worklists.specimen_received")
def specimen_received(session: Session, event: SpecimenReceived) -> None:
    service.refresh(session, event.aggregate_id)
    unanswered.specimen_changed(session, event.aggregate_id)


@on(SpecimenTestsChanged, "lis.worklists.specimen_tests_changed")
def specimen_tests_changed(session: Session, event: SpecimenTestsChanged) -> None:
    service.refresh(session, event.aggregate_id)
    unanswered.specimen_changed(session, event.aggregate_id)


@on(SpecimenRejected, "lis.worklists.specimen_rejected")
def specimen_rejected(session: Session, event: SpecimenRejected) -> None:
    """Its orders are taken back from the boxes."""
    service.refresh(session, event.aggregate_id)
    unanswered.specimen_changed(session, event.aggregate_id)


@job("lis.worklists.prune", every="17 3 * * *")
def prune(session: Session) -> None:
    service.prune(session)


@job("lis.worklists.look_again", every="*/5 * * * *")
def look_again(session: Session) -> None:
    """Tubes without an order: what no event told of."""
    unanswered.look_again(session)
