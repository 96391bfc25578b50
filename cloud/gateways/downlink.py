"""Orders on their way to the boxes: what changed after the last publish, or again what a box says it does not have.

The durable truth is the pair of revisions: the newest of the worklist and the one the box says it stores. A publish
that is lost (broker away, box away) costs nothing: the box describes itself at every connect and every half minute, and
what it misses goes out again.
"""

from __future__ import annotations

import structlog
from sqlalchemy import func, update
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.gateways import rules
from cloud.gateways.broker import Publisher
from cloud.gateways.model import Gateway, GatewayStatus
from cloud.kit import clock
from cloud.kit.errors import Unavailable
from cloud.kit.jobs import Begin, enqueue
from cloud.lis.worklists import service as worklists
from protocols.uplink.envelope import Worklist, down_topic

log = structlog.get_logger(__name__)

SEND = "gateways.send_worklist"
ENTRIES_PER_PUBLISH = 200


def request(session: Session, gateway: str, *, again: bool = False) -> None:
    """Have the box told in a job of its own; one at a time for each box, in order."""
    enqueue(session, SEND, lock=f"{SEND}:{gateway}", gateway=gateway, again=again)


def consider(session: Session, gateway: Gateway) -> None:
    """The box has just said where it stands: have it told (again) what it misses."""
    newest = worklists.newest_revision(session, gateway.id)
    reported = gateway.worklist_revision_acked
    if reported > newest:
        # Only a database from a backup is behind its boxes: they would take its next revisions for old ones.
        log.error("box_ahead_of_worklist", gateway=gateway.id, reported=reported, newest=newest)
        if worklists.overtake(session, gateway.id, reported):
            request(session, gateway.id, again=True)
    elif rules.worklist_to_send(
        reported, gateway.worklist_revision_sent, newest, gateway.worklist_sent_at, clock.now()
    ):
        request(session, gateway.id, again=True)


def send(begin: Begin, gateway_id: str, *, again: bool) -> int:
    """Publish the changes after what was sent, or `again` after what the box has; gives how many entries went out.

    A broker that is away is no failure of the job: the box's next description asks again.
    """
    with begin() as session:
        gateway = session.get(Gateway, gateway_id)
        if gateway is None or gateway.state != GatewayStatus.ACTIVE:
            log.warning("worklist_without_box", gateway=gateway_id)
            return 0
        acked, sent = gateway.worklist_revision_acked, gateway.worklist_revision_sent
        after = acked if again else max(acked, sent)
        publishes = _publishes(session, gateway_id, after)
    if not publishes:
        return 0
    topic = down_topic(gateway.partition, gateway_id, "worklist")
    try:
        with Publisher(settings()) as publisher:
            publisher.publish((topic, each.to_bytes()) for each in publishes)
    except Unavailable as error:
        log.warning("worklist_not_sent", gateway=gateway_id, reason=error.fields.get("reason"))
        return 0
    last = publishes[-1].entries[-1].revision
    with begin() as session:
        session.execute(
            update(Gateway)
            .where(Gateway.id == gateway_id)
            .values(
                worklist_revision_sent=func.greatest(Gateway.worklist_revision_sent, last),
                worklist_sent_at=clock.now(),
            )
        )
    return sum(len(each.entries) for each in publishes)


def _publishes(session: Session, gateway_id: str, after: int) -> list[Worklist]:
    """Everything after `after`, in publishes that each say behind which revision they start."""
    found: list[Worklist] = []
    while entries := worklists.entries_after(session, gateway_id, after, limit=ENTRIES_PER_PUBLISH):
        found.append(Worklist(gateway_id, tuple(entries), after=after))
        after = entries[-1].revision
    return found
