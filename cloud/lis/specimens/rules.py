"""Pure decisions about specimens: coded reasons of a defect, barcodes, and what a history of events amounts to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from cloud.web.i18n import mark as N_


class RejectionReason(StrEnum):
    """Why a specimen is refused. The first five are the classes that the national indicators 1 to 5 count
    (临床检验专业医疗质量控制指标, 国卫办医函〔2015〕252号)."""

    TYPE_WRONG = "type_wrong"
    CONTAINER_WRONG = "container_wrong"
    VOLUME_WRONG = "volume_wrong"
    CULTURE_CONTAMINATED = "culture_contaminated"
    CLOTTED = "clotted"
    HAEMOLYSED = "haemolysed"
    LIPAEMIC = "lipaemic"
    LABEL_WRONG = "label_wrong"
    DELAYED = "delayed"
    DAMAGED = "damaged"
    LOST = "lost"
    OTHER = "other"


REASON_NAMES: dict[RejectionReason, str] = {
    RejectionReason.TYPE_WRONG: N_("标本类型错误"),
    RejectionReason.CONTAINER_WRONG: N_("标本容器错误"),
    RejectionReason.VOLUME_WRONG: N_("标本采集量错误"),
    RejectionReason.CULTURE_CONTAMINATED: N_("血培养污染"),
    RejectionReason.CLOTTED: N_("抗凝标本凝集"),
    RejectionReason.HAEMOLYSED: N_("标本溶血"),
    RejectionReason.LIPAEMIC: N_("标本脂血"),
    RejectionReason.LABEL_WRONG: N_("标识错误或缺失"),
    RejectionReason.DELAYED: N_("送检超时"),
    RejectionReason.DAMAGED: N_("标本破损或渗漏"),
    RejectionReason.LOST: N_("标本丢失"),
    RejectionReason.OTHER: N_("其他"),
}

NATIONAL_INDICATOR: dict[RejectionReason, int] = {
    RejectionReason.TYPE_WRONG: 1,
    RejectionReason.CONTAINER_WRONG: 2,
    RejectionReason.VOLUME_WRONG: 3,
    RejectionReason.CULTURE_CONTAMINATED: 4,
    RejectionReason.CLOTTED: 5,
}

_BARCODE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._/-]{2,31}$")


def clean_barcode(scanned: str) -> str:
    """What a scanner typed, without padding and control characters around it (analyzers pad, scanners send CR).

    One inside is damage: it is shown as U+FFFD, which no barcode holds, so that what is left never reads as another
    tube's number.
    """
    first, last = 0, len(scanned)
    while first < last and _is_padding(scanned[first]):
        first += 1
    while last > first and _is_padding(scanned[last - 1]):
        last -= 1
    return "".join(each if each.isprintable() else "\ufffd" for each in scanned[first:last])


def _is_padding(character: str) -> bool:
    return character.isspace() or not character.isprintable()


def can_be_preprinted(barcode: str) -> bool:
    """3 to 32 of letters, digits, ``. _ / -``: what our label namespace and the analyzers' barcode readers take."""
    return _BARCODE.match(barcode) is not None


BECOMES = {
    "printed": "printed",
    "aliquot_made": "received",
    "collected": "collected",
    "sent": "in_transit",
    "received": "received",
    "rejected": "rejected",
    "cancelled": "cancelled",
    "merged_away": "cancelled",
    "done": "done",
    "reopened": "received",
}
"""The state that an event says the specimen is in from then on; other events say nothing of it."""
GOES_BACK = ("collection_undone", "sending_undone", "reception_undone", "rejection_undone")
"""Events that name the state they lead back to (`detail.back_to`)."""
GOES_TO = {
    "stored": "stored",
    "retrieved": "retrieved",
    "found": "retrieved",
    "discarded": "discarded",
    "lost": "lost",
}
"""What an event says became of the tube itself."""


def replay(events: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[str | None, str]:
    """State and whereabouts that a history (types and details in the order they were written) amounts to.

    What stands in the specimen's row must be exactly this: the row is a reading of its history.
    """
    state: str | None = None
    whereabouts = "at_hand"
    for type_, detail in events:
        state = detail["back_to"] if type_ in GOES_BACK else BECOMES.get(type_, state)
        whereabouts = GOES_TO.get(type_, whereabouts)
    return state, whereabouts


ANTICOAGULANTS = ("EDTA", "枸橼酸", "肝素", "草酸")
"""Words of additives that keep blood from clotting."""


def is_anticoagulated(additive: str, said: bool | None = None) -> bool:
    """Whether a tube counts in the denominator of indicator 5 (需抗凝的标本): as said, else by its additive."""
    return said if said is not None else any(word in additive for word in ANTICOAGULANTS)
