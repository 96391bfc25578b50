"""One order's whole story as rows: order, tubes with their events, message, values, review, report, audit, facts."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from random import Random

from cloud.gateways.model import InboxMessage
from cloud.history import values, wire
from cloud.history.copying import NULL, Sheet, json_text, moment, text_of
from cloud.history.patients import Previous, Visit
from cloud.history.reporting import Reporting
from cloud.history.story import Row, Signatures, Story, Tube
from cloud.history.trail import Trail
from cloud.history.verdicts import JUDGED_COLUMNS, Judged, Verdicts, decision_text, with_age
from cloud.history.wire import Said
from cloud.history.world import Analyzer, World
from cloud.kit.clock import hospital_zone
from cloud.lis.orders.model import Order, OrderItem
from cloud.lis.orders.numbers import with_check_digit
from cloud.lis.results.model import IngestedMessage, Result, ResultSheet
from cloud.lis.specimens.model import Specimen, SpecimenBarcode, SpecimenEvent

_RESULT = (
    "id order_item_id ordinal raw_value decision held previous_result_id previous_value previous_at delta_percent"
    " test_id unit sensitive channel_code raw_unit"
    f" {JUDGED_COLUMNS} instrument_flags"
    " created_at specimen_id person_id instrument_id inbox_id details run observed_at observed_at_raw received_at state"
    " chosen entered_by reviewed_by reviewed_by_name reviewed_at released_by released_by_name released_at source"
)
"""What a value has alone, what the test and the channel say, what the verdict says, what the tube's values share."""
_NO_PREVIOUS = "\t".join((NULL, NULL, NULL))
DIAGNOSES = ("健康查体", "发热待查", "慢性肾脏病", "高血压", "2型糖尿病", "腹痛待查", "肝功能异常", "贫血待查", "胸痛")


class Chronicle:
    """Writes orders in the order of time into sheets, which the loader empties."""

    def __init__(
        self, world: World, verdicts: Verdicts, random: Random, *, open_after: int, lane: int = 0, lanes: int = 1
    ) -> None:
        self._world = world
        self._verdicts = verdicts
        self.written = {"specimens": 0, "results": 0, "reports": 0, "orders": 0, "critical": 0}
        self._trail = Trail(random)
        self._reporting = Reporting(world, random, self._trail, self.written)
        self._random = random
        self._open_after = open_after
        """Orders placed after this second are still on their way through the laboratory."""
        self._zone = hospital_zone()
        self._lanes = lanes
        self._numbers = self._accessions = lane
        self.epoch = f"history-{lane}"
        self.sequences: dict[str, int] = {}
        self.orders = Sheet(
            Order,
            "id created_at number person_id department_id campus_id source placer_number priority state ordered_at"
            " ordered_by visit_number diagnosis",
        )
        self.items = Sheet(OrderItem, "id position test_id panel_id created_at order_id specimen_id state")
        self._ordered: dict[tuple[str, tuple[str, ...]], str] = {}
        self._channels: dict[tuple[str, str], str] = {}
        self.specimens = Sheet(
            Specimen,
            "id created_at accession barcode order_id person_id campus_id tube_id specimen_type priority state"
            " collected_at collected_by received_at received_by replaces_id",
        )
        self.barcodes = Sheet(SpecimenBarcode, "barcode specimen_id bound_at")
        self.events = Sheet(SpecimenEvent, "id specimen_id type at by place reason_code recorded_at")
        self.inbox = Sheet(
            InboxMessage,
            "id gateway epoch link sequence received_at stored_at driver driver_version raw sha256 items sender"
            " message_id state outcome applied_at applied_by",
        )
        self.ingested = Sheet(IngestedMessage, "inbox_id outcome applied_at")
        self.sheets_ = Sheet(ResultSheet, "specimen_id version")
        self.results = Sheet(Result, _RESULT)

    def sheets(self) -> list[Sheet]:
        """Parents before children."""
        return [
            self.orders, self.specimens, self.barcodes, self.items, self.events, self.inbox, self.ingested,
            self.sheets_, self.results, *self._reporting.sheets(), *self._trail.sheets(),
        ]  # fmt: skip

    def write(self, visit: Visit) -> None:
        """One visit: an order with its tubes, through to the reports."""
        random, world = self._random, self._world
        place = random.choice(world.places[visit.kind])
        stat = visit.kind == "emergency" or (visit.kind == "ward" and random.random() < 0.12)
        at = datetime.fromtimestamp(visit.at, UTC)
        person = visit.patient.retired_id if visit.under_old_file else visit.patient.id
        assert person is not None
        self._numbers += self._lanes
        story = Story(visit, place, person, "S" if stat else "R", at, self._trail.id(at), random.choice(place.doctors))
        number = f"H{with_check_digit(10_000_000 + self._numbers)}"
        story.number = number
        story.diagnosis = random.choice(DIAGNOSES)
        story.visit_number = f"V{self._numbers:09d}"
        self.orders.add(
            story.order_id, moment(at), number, person, place.id, place.campus_id, "his", f"HIST{self._numbers:09d}",
            story.priority, "placed", moment(at), story.doctor, story.visit_number, story.diagnosis,
        )  # fmt: skip
        self._trail.audit("order", story.order_id, [(at, "his", "order.place", None, {"number": number}, None)])
        payload = {"person_id": person, "source": "his", "placer_number": f"HIST{self._numbers:09d}"}
        self._trail.fact("lis.orders.order_placed", at, story.order_id, payload | {"priority": story.priority})
        self.written["orders"] += 1
        position = 1
        for tube in visit.tubes:
            position = self._tube(story, tube, position)

    # ------------------------------------------------------------------ a tube

    def _tube(self, story: Story, tube: str, position: int) -> int:
        random, world = self._random, self._world
        codes, panels = values.TUBES[tube]
        first = world.tests[codes[0]]
        stage = self._stage(story)
        wait = timedelta(seconds=random.randint(120, 2400) // (3 if story.priority == "S" else 1))
        printed = story.at + timedelta(seconds=random.randint(5, 90))
        collected = printed + wait
        received = collected + timedelta(seconds=random.randint(300, 3600) // (3 if story.priority == "S" else 1))
        self._accessions += self._lanes
        accession = with_check_digit(200_000_000 + self._accessions)
        specimen = self._trail.id(printed)
        nurse, bench = random.choice(world.technicians), random.choice(world.technicians)
        steps: list[tuple[str, datetime, str, str]] = [("printed", printed, "his", story.place.name)]
        if stage >= 1:
            steps.append(("collected", collected, nurse.actor, story.place.name))
        if stage >= 2:
            steps.append(("received", received, bench.actor, "检验科标本接收"))
        made = Tube(tube, specimen, accession, collected, received, bench)
        item_state = ("ordered", "collected", "received", "resulted", "resulted", "released")[stage]
        state = ("printed", "collected", "received", "received", "received", "done")[stage]
        shared = "\t".join((moment(printed), story.order_id, specimen, item_state))
        for code, item in zip(codes, self._trail.ids(printed, len(codes)), strict=True):
            made.items[code] = item
            self.items.add(item, str(position), self._ordered_as(code, panels), shared)
            position += 1
        done_at = self._measure(story, made, stage) if stage >= 3 else received
        if stage == 5:
            steps.append(("done", done_at, world.reviewers[0].actor, ""))
        self.specimens.add(
            specimen, moment(printed), accession, accession, story.order_id, story.person, story.place.campus_id,
            first.tube_id, first.specimen_type, story.priority, state,
            text_of(collected if stage >= 1 else None), text_of(nurse.actor if stage >= 1 else None),
            text_of(received if stage >= 2 else None), text_of(bench.actor if stage >= 2 else None), NULL,
        )  # fmt: skip
        self.barcodes.add(accession, specimen, moment(printed))
        for what, when, by, where in steps:
            self.events.add(self._trail.id(when), specimen, what, moment(when), by, where, NULL, moment(when))
        told = {
            "order_id": story.order_id, "person_id": story.person, "accession": accession, "priority": story.priority,
        }  # fmt: skip
        if stage >= 2:
            self._trail.fact("lis.specimens.specimen_received", received, specimen, told)
        self.written["specimens"] += 1
        return position

    def _ordered_as(self, code: str, panels: tuple[str, ...]) -> str:
        """The columns of test and panel."""
        found = self._ordered.get((code, panels))
        if found is None:
            world = self._world
            panel = next((world.panels[each][0] for each in panels if code in world.panels[each][2]), NULL)
            found = self._ordered[code, panels] = f"{world.tests[code].id}\t{panel}"
        return found

    def _measured_as(self, code: str, analyzer: Analyzer | None) -> str:
        """The columns of test and channel."""
        key = (code, analyzer.link if analyzer else "")
        found = self._channels.get(key)
        if found is None:
            test, channel = self._world.tests[code], analyzer.channels[code] if analyzer else None
            named = (NULL, NULL) if channel is None else (channel.code, channel.unit)
            found = self._channels[key] = "\t".join((test.id, test.unit, test.sensitive, *named))
        return found

    def _stage(self, story: Story) -> int:
        """0 printed, 1 collected, 2 received, 3 measured, 4 reviewed, 5 released."""
        if story.visit.at <= self._open_after:
            return 5
        return self._random.choices(range(6), (8, 6, 16, 40, 10, 20))[0]

    # ------------------------------------------------------------------ its values

    def _measure(self, story: Story, tube: Tube, stage: int) -> datetime:
        random, world, patient = self._random, self._world, story.visit.patient
        raw = values.draw(random, patient, tube.kind, acute=story.visit.kind in ("ward", "emergency"))
        quick = 3 if story.priority == "S" else 1
        observed = (tube.received + timedelta(seconds=random.randint(600, 4200) // quick)).replace(microsecond=0)
        arrived = observed + timedelta(milliseconds=random.randint(300, 4000))
        reviewed = arrived + timedelta(seconds=random.randint(60, 2400) // quick)
        released = reviewed + timedelta(seconds=random.randint(20, 1200) // quick)
        analyzers = world.counts if tube.kind == "CBC" else world.chemistry
        analyzer = None if tube.kind == "URINE" else random.choice(analyzers)
        age = (tube.collected.astimezone(self._zone).date() - patient.birth).days
        judged = {
            code: self._verdicts.of(code, text, analyzer.channels[code] if analyzer else None, patient.sex, age)
            for code, text in raw.items()
        }
        inbox = self._message(analyzer, tube, raw, judged, observed, arrived) if analyzer else NULL
        signed = Signatures(
            tube.bench,
            random.choice(world.reviewers),
            reviewed if stage >= 4 else None,
            released if stage == 5 else None,
        )
        rows = self._rows(story, tube, raw, judged, analyzer, inbox, observed, arrived, signed, age)
        self.sheets_.add(tube.specimen, str(1 + (stage >= 4) + (stage == 5)))
        critical = any(each.critical for each in judged.values())
        payload = {
            "order_id": story.order_id, "person_id": story.person, "result_ids": [each.id for each in rows],
            "contains_critical": critical, "after_release": False,
        }  # fmt: skip
        self._trail.fact("results.results_received", arrived, tube.specimen, payload)
        if stage >= 4:
            after = {"results": [each.id for each in rows]}
            self._trail.audit(
                "specimen", tube.specimen, [(reviewed, tube.bench.actor, "result.review", None, after, None)]
            )
        if stage == 5:
            self._reporting.report(story, tube, rows, signed, critical)
            seen = moment(observed)
            for row in rows:
                patient.last[row.code] = Previous(row.id, row.judged.text, row.judged.number, observed, seen)
        return released

    def _message(
        self,
        analyzer: Analyzer,
        tube: Tube,
        raw: dict[str, str],
        judged: dict[str, Judged],
        observed: datetime,
        arrived: datetime,
    ) -> str:
        said = [
            Said(analyzer.channels[code].code, text, analyzer.channels[code].unit, judged[code].letter, code)
            for code, text in raw.items()
        ]
        local = observed.astimezone(self._zone)
        stamp, clock = f"{local:%Y%m%d%H%M%S}", f"{local:%Y-%m-%dT%H:%M:%S}"
        sequence = self.sequences[analyzer.link] = self.sequences.get(analyzer.link, 0) + 1
        if analyzer.driver == "sysmex_xn":
            rack, place = sequence // 10 % 1000 + 1, sequence % 10 + 1
            content, items = wire.sysmex(tube.accession, said, stamp, clock, rack, place)
            sender, message = "XN-1000", None
        else:
            content, items = wire.mindray(tube.accession, said, stamp, clock, sequence)
            sender, message = "Mindray", str(sequence)
        inbox, at = self._trail.id(arrived), moment(arrived)
        outcome = json_text({"matched": len(said)})
        self.inbox.add(
            inbox, self._world.gateway, self.epoch, analyzer.link, str(sequence), at, at, analyzer.driver,
            analyzer.driver_version, r"\\x" + content.hex(), hashlib.sha256(content).hexdigest(), json_text(items),
            sender, text_of(message), "applied", outcome, at, "history",
        )  # fmt: skip
        self.ingested.add(inbox, outcome, at)
        tube.details = {"status": "F", "dilution": "1"} if analyzer.driver == "sysmex_xn" else {"status": "F"}
        tube.stamp = clock
        return inbox

    def _rows(
        self,
        story: Story,
        tube: Tube,
        raw: dict[str, str],
        judged: dict[str, Judged],
        analyzer: Analyzer | None,
        inbox: str,
        observed: datetime,
        arrived: datetime,
        signed: Signatures,
        age: int,
    ) -> list[Row]:
        last = story.visit.patient.last
        extra = self._verdicts.together(judged)
        at, seen = moment(arrived), text_of(observed if analyzer else None)
        state = "released" if signed.released else "reviewed" if signed.reviewed else "received"
        review = (NULL, NULL, NULL) if signed.reviewed is None else (
            str(signed.by.id), signed.by.name, text_of(signed.reviewed)
        )  # fmt: skip
        release = (NULL, NULL, NULL) if signed.released is None else (
            str(signed.releaser.id), signed.releaser.name, text_of(signed.released)
        )  # fmt: skip
        instrument, entered = (analyzer.id, NULL) if analyzer else (NULL, str(tube.bench.id))
        stamp = tube.stamp if analyzer else NULL
        shared = "\t".join((
            at, tube.specimen, story.person, instrument, inbox, json_text(tube.details), "1", seen, stamp, at, state,
            "t", entered, *review, *release, "instrument" if analyzer else "typed",
        ))  # fmt: skip
        rows: list[Row] = []
        for ordinal, ((code, value), id_) in enumerate(
            zip(judged.items(), self._trail.ids(arrived, len(judged)), strict=True)
        ):
            previous = last.get(code)
            percent, verdict = self._verdicts.changed(code, value, previous, observed)
            if code in extra:
                verdict = (verdict or value.verdict).with_reasons(extra[code])
            decision, held = value.decision, value.held
            if verdict is not None:
                decision, held = decision_text(verdict), verdict.held
            before = _NO_PREVIOUS if previous is None else previous.columns
            rows.append(Row(id_, code, value, previous))
            self.results.add(
                id_, tube.items[code], str(ordinal), raw[code] if analyzer else NULL, with_age(decision, age),
                "t" if held else "f", before, percent, self._measured_as(code, analyzer), value.columns,
                f'["{value.letter}"]' if analyzer else "[]", shared,
            )  # fmt: skip
        self.written["results"] += len(rows)
        return rows
