"""Which segments of a message belong together where their order alone says so."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.messages.hl7 import Segment


def specimens_behind(segments: Sequence[Segment]) -> dict[int, Segment | None] | None:
    """For each OBR (by index) the SPM that follows it before the next OBR or PID; None where an SPM comes first.

    One SPM alone is that of every OBR before it, and of none behind it.
    """
    requests: dict[int, Segment | None] = {}
    open_request: int | None = None
    found: list[Segment] = []
    for segment in segments:
        if segment.name == "OBR":
            open_request = segment.index
            requests[open_request] = None
        elif segment.name == "PID":
            open_request = None
        elif segment.name == "SPM":
            if not requests:
                return None
            found.append(segment)
            if open_request is not None and requests[open_request] is None:
                requests[open_request] = segment
    if len(found) == 1:
        return {index: found[0] if index < found[0].index else None for index in requests}
    return requests
