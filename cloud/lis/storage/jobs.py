"""What an assembly line did with tubes reaches the same racks as what people do."""

from __future__ import annotations

from sqlalchemy.orm import Session

from cloud.kit.events import on
from cloud.lis.specimens.events import TubeMovedByLine
from cloud.lis.storage import line


@on(TubeMovedByLine, "lis.storage.tube_moved_by_line")
def tube_moved_by_line(session: Session, event: TubeMovedByLine) -> None:
    line.moved(session, event)
