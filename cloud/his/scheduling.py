"""Numbers that the HIS owns: requests and answers of HL7 v2.5.1 chapter 10, written and read. Pure.

SRM^S01 asks for a tentative appointment (ARQ-8, table 0277: Tentative), answered SRR^S01 with status Pending (SCH-25,
table 0278); SRM^S03 makes it Normal: Booked; SRM^S04 cancels. ARQ-1 and SCH-1 (placer appointment id) carry our key.
SQM^S25 asks for what there is of a key (QRD-9 SAL, table 0048) or what is open in a session (SOP), answered SQR^S25.
The number within the session is a general resource: AIG-3, with AIG-4 NUMBER.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo

from cloud.his.line import PASSING
from cloud.his.port import NumberLock, NumberStand, NumberStanding, OpenNumber, PaidWith, Refused, Unknown
from cloud.his.reading import read_time
from cloud.his.writing import header, pid, stamp, written
from cloud.kit.money import yuan
from protocols.messages.hl7 import Hl7Message, Segment, escape

NUMBER = "NUMBER"
"""AIG-4 of the number within a session."""
_STANDINGS = {
    "PENDING": NumberStanding.LOCKED,
    "BOOKED": NumberStanding.CONFIRMED,
    "OVERBOOK": NumberStanding.CONFIRMED,
    "STARTED": NumberStanding.USED,
    "COMPLETE": NumberStanding.USED,
    "CANCELLED": NumberStanding.RELEASED,
    "DELETED": NumberStanding.RELEASED,
    "NOSHOW": NumberStanding.NO_SHOW,
    "DC": NumberStanding.STOPPED,
    "BLOCKED": NumberStanding.STOPPED,
}
"""HL7 table 0278 as ours. Waitlist has no meaning here: nobody asks for it."""
UNKNOWN_KEY = "hl7_204"
"""Table 0357: unknown key identifier. So a HIS answers to a key that never reached it."""

Names = Mapping[str, str]


def lock_request(lock: NumberLock, control_id: str, now: datetime, zone: tzinfo, names: Names) -> bytes:
    """SRM^S01, tentative."""
    arq = _arq(lock.key, names, session_code=lock.session_code, kind="Tentative")
    arq[11] = f"{stamp(lock.from_at, zone)}^{stamp(lock.to_at, zone)}"
    return written(
        [
            header("SRM^S01^SRM_S01", control_id, now, zone, names),
            arq,
            ["NTE", "1", "P", f"{stamp(lock.hold_until, zone)}", "HOLD_UNTIL"],
            ["NTE", "2", "P", yuan(lock.fee_fen), "FEE"],
            pid(lock.patient, names),
            ["RGS", "1", "A"],
            ["AIG", "1", "A", str(lock.seq) if lock.seq is not None else "", NUMBER],
        ],
        names,
    )


def confirm_request(
    key: str, paid: PaidWith | None, control_id: str, now: datetime, zone: tzinfo, names: Names
) -> bytes:
    """SRM^S03: from tentative to normal, with what paid for it."""
    notes = [] if paid is None else [["NTE", "1", "P", f"{escape(paid.payment_number)} {yuan(paid.fen)}", "PAYMENT"]]
    return written(
        [
            header("SRM^S03^SRM_S01", control_id, now, zone, names),
            _arq(key, names, kind="Normal"),
            *notes,
            ["RGS", "1", "U"],
        ],
        names,
    )


def release_request(key: str, reason: str, control_id: str, now: datetime, zone: tzinfo, names: Names) -> bytes:
    """SRM^S04."""
    arq = _arq(key, names)
    arq[6] = f"CANCEL^{escape(reason)}^L"
    return written(
        [header("SRM^S04^SRM_S01", control_id, now, zone, names), arq, ["RGS", "1", "D"]],
        names,
    )


def stand_query(key: str, control_id: str, now: datetime, zone: tzinfo, names: Names) -> bytes:
    """SQM^S25 for everything under our key."""
    return written(
        [
            header("SQM^S25^SQM_S25", control_id, now, zone, names),
            _qrd(key, "SAL", control_id, now, zone),
            _arq(key, names),
            ["RGS", "1"],
        ],
        names,
    )


def open_query(session_code: str, control_id: str, now: datetime, zone: tzinfo, names: Names) -> bytes:
    """SQM^S25 for the numbers of a session that are open."""
    return written(
        [
            header("SQM^S25^SQM_S25", control_id, now, zone, names),
            _qrd(session_code, "SOP", control_id, now, zone),
            _arq(control_id, names, session_code=session_code),
            ["RGS", "1"],
        ],
        names,
    )


def read_stand(answer: Hl7Message, key: str, zone: tzinfo) -> NumberStand:
    """SRR or SQR: how the number of `key` stands. Raises `Refused`, `Unknown`."""
    _accepted(answer)
    groups = _appointments(answer)
    own = [group for group in groups if group[0].component(1, 1) == key]
    if not own:
        if groups or answer.first("QAK") is None:
            raise Unknown("answer_to_another_key")
        return NumberStand(NumberStanding.ABSENT, key)
    return _stand(own[-1], key, zone)


def read_open(answer: Hl7Message, zone: tzinfo) -> tuple[OpenNumber, ...]:
    """SQR with one SCH for each open number."""
    _accepted(answer)
    found = []
    for group in _appointments(answer):
        seq = _seq(group)
        if seq is not None:
            found.append(OpenNumber(seq, _starts(group, zone)))
    return tuple(sorted(found, key=lambda each: each.seq))


def _accepted(answer: Hl7Message) -> None:
    msa = answer.first("MSA")
    if msa is None:
        raise Unknown("no_acknowledgement")
    code = msa.text(1).upper()
    if code in ("AA", "CA"):
        return
    if code not in ("AE", "AR", "CE", "CR"):
        raise Unknown("unreadable_acknowledgement")
    err = answer.first("ERR")
    condition = err.component(3, 1) if err is not None else ""
    word = err.component(5, 1).lower() if err is not None else ""
    text = msa.text(3) or (err.text(8) if err is not None else "")
    raise Refused(word or f"hl7_{condition or code.lower()}", permanent=condition not in PASSING, text=text)


def _appointments(answer: Hl7Message) -> list[list[Segment]]:
    """Each SCH with the segments behind it."""
    groups: list[list[Segment]] = []
    for segment in answer.segments:
        if segment.name == "SCH":
            groups.append([segment])
        elif groups:
            groups[-1].append(segment)
    return groups


def _stand(group: list[Segment], key: str, zone: tzinfo) -> NumberStand:
    sch = group[0]
    standing = _STANDINGS.get(sch.component(25, 1).upper())
    if standing is None:
        raise Unknown("unreadable_status")
    place = next((each for each in group if each.name == "AIL"), None)
    return NumberStand(
        standing,
        key,
        his_number=sch.component(2, 1),
        seq=_seq(group),
        at=_starts(group, zone),
        place=(place.component(3, 9) or place.component(3, 1)) if place is not None else "",
    )


def _seq(group: list[Segment]) -> int | None:
    for each in group:
        if each.name == "AIG" and each.component(4, 1) == NUMBER and each.component(3, 1).isdecimal():
            return int(each.component(3, 1))
    return None


def _starts(group: list[Segment], zone: tzinfo) -> datetime | None:
    said = next((each.component(4, 1) for each in group if each.name == "AIS"), "")
    return read_time(said or group[0].component(11, 4), zone)


def _arq(key: str, names: Names, *, session_code: str = "", kind: str = "") -> list[str]:
    """ARQ; who asks (15) and who entered it (19) is our own system: it must have them."""
    us = f"{names['application']}^{names['application']}"
    fields = ["ARQ", f"{escape(key)}^{names['application']}", *[""] * 18]
    fields[5] = escape(session_code)
    fields[8] = kind
    fields[15] = fields[19] = us
    return fields


def _qrd(who: str, what: str, query_id: str, now: datetime, zone: tzinfo) -> list[str]:
    return ["QRD", stamp(now, zone), "R", "I", query_id, "", "", "500^RD", escape(who), what, "SCHEDULE"]
