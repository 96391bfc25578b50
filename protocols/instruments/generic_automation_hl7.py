"""Assembly lines that tell in HL7 where tubes are: SSU^U03, EAR^U08, and results with their container (OUL with SAC).

The fields are those of chapter 13 (CLSI AUTO03): EQU names the equipment and the time, each SAC one tube (SAC-3 its
barcode, SAC-4 the tube it was taken from, SAC-10 to 14 carrier and tray, SAC-15 place, SAC-22 volume), SAC-8 its status
(table 0370), ECD and ECR a command that was carried out (tables 0368, 0387). SSU^U03 of a line may carry its own word
for what happened: in SAC-8, or in an OBX whose code the link's options name::

    [links.options]
    event = "EVENT"                                   # OBX-3 of the OBX whose value is the word
    actions = { "STORED" = "stored", "OUT" = "retrieved" }

Source: HL7 v2.4 to 2.8 chapter 13 and the tables named; public messages of MagNA Pure 24 and GeneXpert show SSU^U03 in
use. No line was at hand: which of its fields a line fills, its document says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import ClassVar

from protocols.dialects.automation import Words, action_words, microlitres
from protocols.driver import Driver, Match, Status
from protocols.hl7_driver import Context, Hl7Driver
from protocols.messages.column_map import only, text_option
from protocols.messages.hl7 import Hl7Message, Segment
from protocols.messages.times import iso_time
from protocols.model import InstrumentEvent, Item, Order, SpecimenAction, SpecimenEvent, Undecoded, changed

_KINDS = (b"SSU^U03", b"SSR^U04", b"EAR^U08", b"EAC^U07", b"ESU^U01")
_NOTHING = ("", "N/D")
"""GeneXpert fills what it has to send and has not with N/D."""
CONTAINER_STATUS: Mapping[str, tuple[SpecimenAction, str]] = {
    "A": (SpecimenAction.STORED, "archived"),
    "I": (SpecimenAction.ARRIVED, "identified"),
    "L": (SpecimenAction.ROUTED, "left equipment"),
    "M": (SpecimenAction.FAILED, "missing"),
    "O": (SpecimenAction.OTHER, "in process"),
    "P": (SpecimenAction.LOADED, "in position"),
    "R": (SpecimenAction.OTHER, "process completed"),
    "U": (SpecimenAction.OTHER, "unknown"),
    "X": (SpecimenAction.OTHER, "container unavailable"),
}
"""HL7 table 0370. Identified: the equipment received the tube; in position: ready to be sampled."""
COMMANDS: Mapping[str, tuple[SpecimenAction, str]] = {
    "AF": (SpecimenAction.ALIQUOTED, "aliquot from container"),
    "AT": (SpecimenAction.ALIQUOTED, "aliquot to container"),
    "LO": (SpecimenAction.LOADED, "load"),
    "SA": (SpecimenAction.OTHER, "sampling"),
    "TT": (SpecimenAction.ROUTED, "transport to"),
    "UN": (SpecimenAction.OTHER, "unload"),
}
"""HL7 table 0368, the commands that move a tube."""


class GenericAutomationHl7(Hl7Driver):
    id: ClassVar[str] = "generic_automation_hl7"
    vendor: ClassVar[str] = "any"
    models: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = "HL7 v2.4 to 2.8, chapter 13 (CLSI AUTO03); tables 0368, 0370, 0387"
    status: ClassVar[Status] = Status.MANUAL
    words: Words = {}
    event_code: str | None = None

    def configured(self, options: Mapping[str, object]) -> Driver:
        only(options, ("actions", "event"))
        driver = copy(self)
        driver.words = action_words(options)
        driver.event_code = text_option(options, "event")
        return driver

    def fingerprint(self, payload: bytes) -> Match:
        if payload.lstrip(b"\x0b\r\n ")[:3] == b"MSH":
            head = payload[:300].split(b"\r", 1)[0]
            if any(kind in head for kind in _KINDS):
                return Match(0.1, "a message of laboratory automation that no driver claims")
            if b"OUL^R2" in head and b"\rSAC" in payload:
                return Match(0.1, "results with their container that no driver claims")
        return Match(0.0, "no message of laboratory automation")

    def items(self, message: Hl7Message) -> list[Item]:
        kind = message.kind.split("^", 1)[0]
        if kind == "SSU":
            return list(self._containers(message))
        if kind in ("EAR", "EAC"):
            return list(self._commands(message, done=kind == "EAR"))
        if kind == "ESU":
            return [_equipment_status(message)]
        return super().items(message)

    # ------------------------------------------------------------------ tubes

    def _containers(self, message: Hl7Message) -> Iterator[Item]:
        equipment, at = _equipment(message)
        groups = _groups(message, "SAC")
        for container, segments in groups:
            yield self._event(container, segments, equipment, at)
            yield from self._remarks(container, segments)
        if not groups:
            yield Undecoded("a specimen status without a container (SAC)", message.header.line[:2000], 0)

    def _event(
        self, container: Segment, segments: Sequence[Segment], equipment: str | None, at: str | None
    ) -> SpecimenEvent:
        word = self._word(segments) or container.component(8, 1)
        action, meaning = self._action(word)
        specimen = _tube(container, segments)
        parent = _filled(container, 4)
        volume, as_sent = microlitres(container.text(22), container.component(24, 1))
        rack, position = _filled(container, 13), container.text(14) or None
        if rack is None and position is None:
            rack, position = _filled(container, 10), container.text(11) or None
        place = " ".join(filter(None, container.components(15)[:2]))
        notes = [segment.text(3) for segment in segments if segment.name == "NTE"]
        details = (meaning if action in (SpecimenAction.OTHER, SpecimenAction.FAILED) else "", place, as_sent, *notes)
        return SpecimenEvent(
            specimen=specimen,
            action=action,
            occurred_at=at,
            module=equipment,
            rack=rack,
            position=position,
            parent=parent if parent != specimen else None,
            volume_ul=volume,
            detail="; ".join(filter(None, details)) or None,
            record=container.index,
        )

    def _word(self, segments: Sequence[Segment]) -> str:
        if self.event_code is None:
            return ""
        events = (each for each in segments if each.name == "OBX" and each.component(3, 1) == self.event_code)
        return next((each.component(5, 1) for each in events), "")

    def _action(self, word: str) -> tuple[SpecimenAction, str]:
        mapped = self.words.get(word.strip().upper())
        if mapped is not None:
            return mapped, word
        return CONTAINER_STATUS.get(word.upper(), (SpecimenAction.OTHER, word or "no status"))

    def _remarks(self, container: Segment, segments: Sequence[Segment]) -> Iterator[Item]:
        """What else is said of a tube: no results, and not lost."""
        for each in segments:
            if each.name == "OBX" and each.component(3, 1) != self.event_code:
                detail = " ".join(filter(None, (each.text(5), each.component(6, 1))))
                name = each.component(3, 1) or "observation"
                yield InstrumentEvent(name, _tube(container, segments), detail or None, record=each.index)

    # ------------------------------------------------------------------ commands

    def _commands(self, message: Hl7Message, *, done: bool) -> Iterator[Item]:
        """A command that was answered (EAR) is what happened to its tube; one that was only given (EAC) is not yet."""
        equipment, at = _equipment(message)
        for command, segments in _groups(message, "ECD"):
            response = next((each for each in segments if each.name == "ECR"), None)
            code, answer = command.component(2, 1), response.component(1, 1) if response else ""
            action, meaning = COMMANDS.get(code.upper(), (SpecimenAction.OTHER, command.component(2, 2) or code))
            action = self.words.get(code.upper(), action)
            if not done:
                action, meaning = SpecimenAction.OTHER, f"command: {meaning}"
            if answer not in ("", "OK"):
                action, meaning = SpecimenAction.FAILED, f"{meaning}: {answer} {response.text(3) if response else ''}"
            finished = iso_time(response.component(2, 1)) if response else None
            yield from _moved(command, segments, (action, meaning.strip()), equipment, finished or at)

    # ------------------------------------------------------------------ results and answers

    def begin_container(self, segment: Segment, context: Context) -> None:
        """OUL: the container of the results that follow, and where it stands."""
        context.specimen = _tube(segment, ()) or context.specimen
        event = self._event(segment, (), None, iso_time(segment.raw(7)))
        if not segment.component(8, 1):
            event = changed(event, action=SpecimenAction.MEASURED, detail=None)
        context.items.append(event)

    def begin_request(self, segment: Segment, context: Context) -> None:
        """Behind a container OBR-2 and OBR-3 are numbers of the order, not of the tube."""
        super().begin_request(segment, context)
        containers = (each.specimen for each in reversed(context.items) if isinstance(each, SpecimenEvent))
        context.specimen = next(containers, None) or context.specimen

    def reply(self, message: Hl7Message, orders: Mapping[str, Sequence[Order]], now: datetime) -> list[bytes]:
        """SSR^U04 asks where a tube is: the box does not know."""
        if message.kind.startswith("SSR"):
            return self.acknowledge(message, "R", "Unsupported message type", "200", now)
        return super().reply(message, orders, now)


def _moved(
    command: Segment,
    segments: Sequence[Segment],
    what: tuple[SpecimenAction, str],
    equipment: str | None,
    at: str | None,
) -> Iterator[Item]:
    """One event for each tube of a command; a command without a tube is the equipment's own affair."""
    action, meaning = what
    told = meaning if action in (SpecimenAction.OTHER, SpecimenAction.FAILED) else ""
    destination = next((each.component(1, 1) for each in segments if each.name == "DST"), None)
    containers = [each for each in segments if each.name == "SAC"]
    for each in containers:
        specimen, parent = _tube(each, ()), _filled(each, 4)
        volume, as_sent = microlitres(each.text(22), each.component(24, 1))
        yield SpecimenEvent(
            specimen=specimen,
            action=action,
            occurred_at=at,
            module=equipment,
            destination=destination or None,
            rack=_filled(each, 13) or _filled(each, 10),
            position=each.text(14) or each.text(11) or None,
            parent=parent if parent != specimen else None,
            volume_ul=volume,
            detail="; ".join(filter(None, (told, as_sent))) or None,
            record=each.index,
        )
    if not containers:
        yield InstrumentEvent("equipment command", None, meaning or None, at, command.index)


def _equipment(message: Hl7Message) -> tuple[str | None, str | None]:
    """EQU-1 and EQU-2; the message's own time where the event's is missing."""
    found = message.first("EQU")
    at = iso_time(message.header.component(7, 1))
    return (None, at) if found is None else (_filled(found, 1), iso_time(found.component(2, 1)) or at)


def _equipment_status(message: Hl7Message) -> Item:
    equipment, at = _equipment(message)
    found = message.first("EQU")
    if found is None:
        return Undecoded("an equipment status without EQU", message.header.line[:2000], 0)
    state = " ".join(filter(None, (equipment, *found.components(3)[:2], found.component(5, 1))))
    return InstrumentEvent("equipment status", None, state or None, at, found.index)


def _groups(message: Hl7Message, name: str) -> list[tuple[Segment, list[Segment]]]:
    """Each segment of that name with those that follow it, up to the next."""
    groups: list[tuple[Segment, list[Segment]]] = []
    for segment in message.segments[1:]:
        if segment.name == name:
            groups.append((segment, []))
        elif groups:
            groups[-1][1].append(segment)
    return groups


def _tube(container: Segment, segments: Sequence[Segment]) -> str | None:
    """The tube's barcode: its container, its accession, whichever is filled; else the specimen's (SPM-2)."""
    found = next(filter(None, (_filled(container, number) for number in (3, 2, 1))), None)
    specimens = (each for each in segments if each.name == "SPM")
    return found or next(filter(None, (_filled(each, 2) for each in specimens)), None)


def _filled(segment: Segment, number: int) -> str | None:
    """The first component that says something."""
    parts = (part for each in segment.components(number) for part in each.split(segment.delimiters.sub))
    return next((part for part in parts if part not in _NOTHING), None)
