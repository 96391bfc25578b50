"""Reports of a made-up past: frozen versions with their hashes, and the critical values that were told by telephone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import datetime, timedelta
from random import Random
from typing import Any

from cloud.history import values
from cloud.history.copying import Sheet, json_text, moment, text_of
from cloud.history.story import Row, Signatures, Story, Tube
from cloud.history.trail import Trail
from cloud.history.world import World
from cloud.kit.clock import hospital_zone
from cloud.lis.critical.model import CriticalCase, CriticalContact
from cloud.lis.reports.content import age_text
from cloud.lis.reports.model import Report, ReportVersion
from cloud.lis.reports.view import ReportContent


class Reporting:
    """The released tubes' reports."""

    def __init__(self, world: World, random: Random, trail: Trail, written: dict[str, int]) -> None:
        self._world, self._random, self._trail, self.written = world, random, trail, written
        self._zone = hospital_zone()
        self._content = _blank_content().to_json()
        self.reports = Sheet(
            Report,
            "id created_at specimen_id order_id person_id campus_id state version contains_critical sensitive"
            " released_at",
        )
        self.versions = Sheet(
            ReportVersion,
            "id report_id version kind content content_sha256 draft contains_critical sensitive released_at released_by"
            " released_by_name reason",
        )
        self.cases = Sheet(
            CriticalCase,
            "id specimen_id order_id person_id department_id report_version values state detected_at confirmed_at"
            " confirmed_by confirmed_by_name read_back_at",
        )
        self.contacts = Sheet(CriticalContact, "id case_id at by by_name told outcome")

    def sheets(self) -> list[Sheet]:
        return [self.reports, self.versions, self.cases, self.contacts]

    def report(self, story: Story, tube: Tube, rows: Sequence[Row], signed: Signatures, critical: bool) -> None:
        """A final report, now and then an amended one behind it."""
        assert signed.released is not None
        report, released = self._trail.id(signed.released), signed.released
        versions = [self._version(story, tube, rows, signed, 1, released, None)]
        if self._random.random() < 0.004:
            versions.append(
                self._version(story, tube, rows, signed, 2, released + timedelta(hours=2), "临床要求补充说明")
            )
        newest = versions[-1]
        mark, plain = "t" if critical else "f", "f"
        self.reports.add(
            report, moment(released), tube.specimen, story.order_id, story.person, story.place.campus_id, newest.kind,
            str(len(versions)), mark, plain, text_of(newest.at),
        )  # fmt: skip
        acts = []
        for number, each in enumerate(versions, 1):
            self.versions.add(
                self._trail.id(each.at), report, str(number), each.kind, each.content.replace("\\", r"\\"),
                each.digest, "t" if each.draft else "f", mark, plain, text_of(each.at), str(signed.releaser.id),
                signed.releaser.name, text_of(each.reason),
            )  # fmt: skip
            after = {
                "version": number, "state": each.kind, "content_sha256": each.digest, "contains_critical": critical,
                "sensitive": False,
            }  # fmt: skip
            action = "report.release" if number == 1 else "report.amend"
            acts.append((each.at, signed.releaser.actor, action, None, after, each.reason))
            payload = {
                "report_version": number, "kind": each.kind, "person_id": story.person, "order_id": story.order_id,
                "specimen_id": tube.specimen, "contains_critical": critical, "sensitive": False,
            }  # fmt: skip
            self._trail.fact("reports.report_released", each.at, report, payload)
        self._trail.audit("report", report, acts)
        self.written["reports"] += 1
        if critical:
            self._case(story, tube, rows, signed)

    def _version(
        self,
        story: Story,
        tube: Tube,
        rows: Sequence[Row],
        signed: Signatures,
        number: int,
        at: datetime,
        reason: str | None,
    ) -> Version:
        world, patient = self._world, story.visit.patient
        kind = "final" if number == 1 else "amended"
        draft = any(row.judged.draft for row in rows)
        panels = [world.panels[each][1] for each in values.TUBES[tube.kind][1]]
        content = {
            **self._content, "v": 1, "hospital": world.hospital, "campus": world.campus, "title": "、".join(panels),
            "report_number": tube.accession if number == 1 else f"{tube.accession}-{number}",
            "accession": tube.accession, "barcode": tube.accession, "patient_name": patient.name, "sex": patient.sex,
            "age_text": age_text(patient.birth, tube.collected.astimezone(self._zone).date()),
            "birth_date": patient.birth.isoformat(), "mrn": patient.mrn, "department": story.place.name,
            "ordered_by": story.doctor, "visit_number": story.visit_number, "diagnosis": story.diagnosis,
            "order_number": story.number, "placer_number": f"HIST{story.visit_number[1:]}", "priority": story.priority,
            "specimen_type": world.tests[rows[0].code].specimen_type, "ordered_at": story.at.isoformat(),
            "collected_at": tube.collected.isoformat(), "received_at": tube.received.isoformat(),
            "released_at": at.isoformat(), "reviewed_by": signed.by.name, "released_by": signed.releaser.name,
            "kind": kind, "version": number, "comment": None, "reason": reason, "draft": draft,
            "items": [self._line(row) for row in rows],
        }  # fmt: skip
        text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return Version(at, kind, reason, draft, text, hashlib.sha256(text.encode()).hexdigest())

    def _line(self, row: Row) -> dict[str, Any]:
        judged, previous = row.judged, row.previous
        return {
            **self._world.tests[row.code].line, "value": judged.text, "flag": judged.flag,
            "range_text": judged.range_printed, "draft": judged.draft, "critical": judged.critical,
            "previous_value": previous.text if previous else None,
            "previous_at": previous.at.isoformat() if previous else None,
        }  # fmt: skip

    def _case(self, story: Story, tube: Tube, rows: Sequence[Row], signed: Signatures) -> None:
        assert signed.released is not None
        case, told = self._trail.id(signed.released), signed.released + timedelta(seconds=self._random.randint(60, 900))
        found = [
            {
                "code": row.code, "name": self._world.tests[row.code].name, "value": row.judged.text,
                "unit": self._world.tests[row.code].unit, "flag": row.judged.flag,
            }
            for row in rows
            if row.judged.critical
        ]  # fmt: skip
        by = signed.releaser
        self.cases.add(
            case, tube.specimen, story.order_id, story.person, story.place.id, "1", json_text(found), "read_back",
            text_of(signed.reviewed), text_of(signed.released), str(by.id), by.name, text_of(told),
        )  # fmt: skip
        self.contacts.add(self._trail.id(told), case, text_of(told), str(by.id), by.name, "值班护士", "read_back")
        self.written["critical"] += 1


@dataclass(frozen=True, slots=True)
class Version:
    at: datetime
    kind: str
    reason: str | None
    draft: bool
    content: str
    digest: str


def _blank_content() -> ReportContent:
    given = [each.name for each in fields(ReportContent) if each.default is each.default_factory is MISSING]
    return ReportContent(**dict.fromkeys(given, ""))  # type: ignore[arg-type]
