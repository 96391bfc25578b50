"""A second opinion on HL7: messages put together and read by hl7apy, which validates against the standard's own tables.

hl7apy finds the groups of a message by itself, but joins repeated orders of an OML^O33 into one (as of 1.3.5); the
groups of that message are therefore named here, from HL7 2.5.1 chapter 4, 4.4.8.
"""

from __future__ import annotations

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Group, Message
from hl7apy.parser import parse_segment

STRICT, TOLERANT = VALIDATION_LEVEL.STRICT, VALIDATION_LEVEL.TOLERANT

_SPECIMEN, _ORDER = "OML_O33_SPECIMEN", "OML_O33_ORDER"
_GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "OML_O33": {
        "PID": ("OML_O33_PATIENT",),
        "SPM": (_SPECIMEN,),
        "SAC": (_SPECIMEN,),
        "ORC": (_SPECIMEN, _ORDER),
        "TQ1": (_SPECIMEN, _ORDER, "OML_O33_TIMING"),
        "OBR": (_SPECIMEN, _ORDER, "OML_O33_OBSERVATION_REQUEST"),
        "TCD": (_SPECIMEN, _ORDER, "OML_O33_OBSERVATION_REQUEST"),
    },
    "SRM_S01": {
        "PID": ("SRM_S01_PATIENT",),
        "RGS": ("SRM_S01_RESOURCES",),
        "AIG": ("SRM_S01_RESOURCES", "SRM_S01_GENERAL_RESOURCE"),
    },
    "SQM_S25": {"ARQ": ("SQM_S25_REQUEST",), "RGS": ("SQM_S25_REQUEST", "SQM_S25_RESOURCES")},
    "ORL_O22": {
        "PID": ("ORL_O22_RESPONSE", "ORL_O22_PATIENT"),
        "ORC": ("ORL_O22_RESPONSE", "ORL_O22_PATIENT", "ORL_O22_ORDER"),
    },
}
_OPENS = {"PID", "SPM", "ORC", "TQ1", "OBR", "ARQ", "RGS", "AIG"}


def structure(header: str) -> str:
    """MSH-9.3, else what MSH-9.1 and 9.2 stand for."""
    parts = header.split("|")[8].split("^")
    if len(parts) > 2:
        return parts[2]
    return "ACK" if parts[0] == "ACK" else "_".join(parts[:2])


def assembled(text: str, level: int = STRICT) -> Message:
    """The message as hl7apy's tree. Raises what hl7apy raises where the standard does not allow it."""
    lines = [line for line in text.split("\r") if line]
    version = lines[0].split("|")[11]
    name = structure(lines[0])
    message = Message(name, version=version, validation_level=level)
    message.msh = lines[0]
    standing: list[Group] = []
    for line in lines[1:]:
        path = _GROUPS.get(name, {}).get(line[:3], ())
        standing = _opened(message, standing, path, line[:3] in _OPENS, version, level)
        parent = standing[-1] if standing else message
        parent.add(parse_segment(line, version=version, validation_level=level))
    message.validate()
    return message


def _opened(
    message: Message, standing: list[Group], path: tuple[str, ...], fresh: bool, version: str, level: int
) -> list[Group]:
    """The open groups along `path`; the last is new where the segment begins one."""
    kept = 0
    while kept < min(len(standing), len(path)) and standing[kept].name == path[kept]:
        kept += 1
    if fresh and kept == len(path) and path:
        kept -= 1
    groups = standing[:kept]
    for name in path[kept:]:
        group = Group(name, version=version, validation_level=level)
        (groups[-1] if groups else message).add(group)
        groups.append(group)
    return groups


def plain(text: str) -> list[str]:
    """Segments without the separators at their end, which say nothing."""
    lines = [line for line in text.split("\r") if line]
    return ["|".join(field.rstrip("^~&") for field in line.split("|")).rstrip("|") for line in lines]
