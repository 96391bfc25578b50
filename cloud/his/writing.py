"""Segments that every message of ours to the HIS begins with (HL7 v2.5.1 chapters 2.15.9 and 3.4.2). Pure."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

from cloud.his.port import PatientFacts
from protocols.messages.hl7 import build, escape

_CHARSETS = {"UNICODE UTF-8": "utf-8", "GB 18030-2000": "gb18030"}


def new_control_id() -> str:
    """MSH-10 of a call that is answered on the spot: 20 characters, the most the field takes."""
    return f"XQ{secrets.token_hex(9)}"


def stamp(moment: datetime | None, zone: tzinfo) -> str:
    """On the hospital's wall clock, to the second; empty for none."""
    return moment.astimezone(zone).strftime("%Y%m%d%H%M%S") if moment else ""


def header(kind: str, control_id: str, now: datetime, zone: tzinfo, names: Mapping[str, str]) -> list[str]:
    """MSH without MSH-1, as `build` wants it."""
    return [
        "MSH",
        "^~\\&",
        names["application"],
        names["facility"],
        names["receiving_application"],
        names["receiving_facility"],
        stamp(now, zone),
        "",
        kind,
        control_id,
        "P",
        "2.5.1",
        *[""] * 5,
        names["charset"],
    ]


def pid(patient: PatientFacts, names: Mapping[str, str]) -> list[str]:
    """PID with every number that we know, or with none (a first visit is registered by name and ID number)."""
    theirs = names["receiving_application"]
    numbers = [
        f"{escape(value)}^^^{authority}^{kind}"
        for value, authority, kind in (
            (patient.mrn, theirs, "MR"),
            (patient.card, theirs, "CARD"),
            (patient.id_number, "CHN", "NI"),
        )
        if value
    ]
    born = patient.birth_date.strftime("%Y%m%d") if patient.birth_date else ""
    fields = ["PID", "1", "", "~".join(numbers), "", escape(patient.name), "", born, patient.sex]
    return [*fields, "", "", "", "", escape(patient.phone)] if patient.phone else fields


def written(segments: Sequence[Sequence[str]], names: Mapping[str, str]) -> bytes:
    """The message in the character set that its header declares."""
    return build(segments, _CHARSETS.get(names["charset"], "utf-8"))
