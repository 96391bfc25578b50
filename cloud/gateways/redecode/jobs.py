"""Reading anew and applying, as jobs; those of one request run one after the other."""

from __future__ import annotations

import uuid

from cloud.gateways.redecode import running, service
from cloud.kit.jobs import Begin, job


@job(service.READ, own_transactions=True)
def redecode_read(begin: Begin, redecode: str) -> None:
    running.dry_run(begin, uuid.UUID(redecode))


@job(service.APPLY, own_transactions=True)
def redecode_apply(begin: Begin, redecode: str) -> None:
    running.apply(begin, uuid.UUID(redecode))
