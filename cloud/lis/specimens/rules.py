"""Pure decisions about specimens: which tests share a tube, and the coded reasons of a rejection."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Need:
    """One ordered test and what it must be drawn into."""

    item_id: uuid.UUID
    tube_id: uuid.UUID
    specimen_type: str
    draw_order: int


@dataclass(frozen=True, slots=True)
class TubePlan:
    """One tube to draw and the items it is for."""

    tube_id: uuid.UUID
    specimen_type: str
    item_ids: tuple[uuid.UUID, ...]


def tubes_for(needs: Iterable[Need]) -> list[TubePlan]:
    """One tube for all tests that share container and specimen type, in the order of draw."""
    groups: dict[tuple[int, uuid.UUID, str], list[uuid.UUID]] = {}
    for need in needs:
        groups.setdefault((need.draw_order, need.tube_id, need.specimen_type), []).append(need.item_id)
    return [
        TubePlan(tube_id, specimen_type, tuple(items))
        for (_, tube_id, specimen_type), items in sorted(groups.items(), key=lambda each: (each[0][0], each[0][2]))
    ]


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
