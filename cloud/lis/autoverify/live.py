"""The live decision: when the last value of a specimen has come, the rules decide once, under the sheet's lock.

A person who was first has the specimen: nothing is decided over what somebody reviewed. A person who comes second finds
the page stale. What the rules pass is reviewed and released by the same commands as by a person, in the name of the
rule set's version; what they hold gets their reasons and waits as it did.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, exists, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import XinglinError
from cloud.kit.live import announce
from cloud.lis.autoverify import rulesets, stopping
from cloud.lis.autoverify.gathering import Rows, live_facts, rows_of
from cloud.lis.autoverify.model import AutoDecision, AutoFacts, RuleSetVersion
from cloud.lis.orders.model import OrderItem
from cloud.lis.reports import service as reports
from cloud.lis.results import review
from cloud.lis.results.attempt import attempt
from cloud.lis.results.guards import two_person_tests
from cloud.lis.results.model import Result, ResultSheet, ResultState
from cloud.lis.results.queue import UNFINISHED
from cloud.lis.specimens.model import SpecimenState
from cloud.lis.verification.checks import Finding
from cloud.lis.verification.deciding import Decision, decide
from cloud.lis.verification.facts import Facts, to_json
from cloud.web.i18n import mark as N_

MARK = N_("自动审核")
RIGHTS = frozenset({"result.review", "result.release"})


@dataclass(frozen=True, slots=True)
class RulesSignatory:
    """Who releases what the rules passed: a version of a rule set, by id and name."""

    id: uuid.UUID
    name: str
    permissions: frozenset[str] = RIGHTS
    automatic: bool = True

    @property
    def actor(self) -> str:
        """As the audit trail names it."""
        return f"rules:{self.id}"


def signatory(rules: RuleSetVersion) -> RulesSignatory:
    return RulesSignatory(rules.id, f"{MARK}·{rules.name} v{rules.version}")


def consider(session: Session, specimen_id: uuid.UUID) -> list[AutoDecision]:
    """Let live and shadow rule sets decide on the specimen as it is now; twice is as once."""
    if session.scalar(_INCOMPLETE, {"specimen": specimen_id}):
        return []
    now = clock.now()
    live, beside = rulesets.live(session, now), rulesets.shadows(session, now)
    if not live and not beside:
        return []
    stops = stopping.deciding(session)
    sheet = session.scalar(select(ResultSheet).where(ResultSheet.specimen_id == specimen_id).with_for_update())
    if sheet is None or sheet.hold_reason is not None:
        return []
    rows = rows_of(session, specimen_id)
    if not _waits(rows):
        return []
    facts = live_facts(session, rows, stops)
    if facts.missing:
        return []
    plain = to_json(facts)
    if _known_already(session, specimen_id, plain):
        return []
    known = AutoFacts(specimen_id=specimen_id, at=now, sheet_version=sheet.version, facts=plain)
    session.add(known)
    session.flush()
    decided = [(each, "live", decide(facts, rulesets.compiled(each))) for each in live]
    decided += [(each, "shadow", decide(facts, rulesets.compiled(each))) for each in beside]
    made = [_decision(known, *each) for each in decided if each[2].tests]
    session.add_all(made)
    session.flush()
    acting = [(row, rules, said) for row, (rules, mode, said) in _paired(made, decided) if mode == "live"]
    if acting:
        _act(session, rows, facts, sheet.version, acting)
    return made


_INCOMPLETE = select(exists().where(OrderItem.specimen_id == bindparam("specimen"), OrderItem.state.in_(UNFINISHED)))
"""The cheap question first: most messages bring one test of many."""
Acting = tuple[AutoDecision, RuleSetVersion, Decision]


def _paired(made: Sequence[AutoDecision], decided: Sequence[tuple[RuleSetVersion, str, Decision]]) -> Any:
    return zip(made, [each for each in decided if each[2].tests], strict=True)


def _waits(rows: Rows) -> bool:
    """Everything is in the laboratory's hands and nobody has begun."""
    chosen = rows.open_results
    return (
        rows.specimen.state in (SpecimenState.RECEIVED, SpecimenState.DONE)
        and bool(chosen)
        and all(each.state == ResultState.RECEIVED for each in chosen)
    )


def _known_already(session: Session, specimen_id: uuid.UUID, plain: dict[str, Any]) -> bool:
    """Whether these very facts were decided on last."""
    last = select(AutoFacts.facts).where(AutoFacts.specimen_id == specimen_id).order_by(AutoFacts.id.desc()).limit(1)
    return session.scalar(last) == plain


def _decision(known: AutoFacts, rules: RuleSetVersion, mode: str, said: Decision) -> AutoDecision:
    return AutoDecision(
        facts_id=known.id,
        specimen_id=known.specimen_id,
        rule_set_id=rules.id,
        revision=rules.revision,
        mode=mode,
        at=known.at,
        passed=said.passed,
        outcome=said.to_json(),
    )


def _act(session: Session, rows: Rows, facts: Facts, version: int, acting: Sequence[Acting]) -> None:
    """Every test passed by its own rule set: review (and release). Else the reasons go to the values they concern."""
    decided = {test.code: (row, rules, test) for row, rules, said in acting for test in said.tests}
    everything = all(each.code in decided and decided[each.code][2].passed for each in facts.tests)
    if everything:
        _pass(session, rows, version, acting)
        return
    held = {code: test.held_by for code, (_, _, test) in decided.items() if not test.passed}
    _mark_held(session, rows, held, {code: row for code, (row, _, _) in decided.items()})
    # A set that holds its every test may hold the tube as a whole (another person's blood): then nothing passes alone.
    if all(rules.act == "partial" and any(each.passed for each in said.tests) for _, rules, said in acting):
        _pass_some(session, rows, {code for code in decided if code not in held}, acting)


def _pass_some(session: Session, rows: Rows, codes: Collection[str], acting: Sequence[Acting]) -> None:
    """Technical review of the tests that passed, in the name of the rules; the others wait for a person."""
    by, specimen_id = signatory(acting[0][1]), rows.specimen.id
    code_of = {test.id: test.code for _, test in rows.ordered}
    passed = [each for each in rows.open_results if code_of[each.test_id] in codes]
    version = session.get_one(ResultSheet, specimen_id).version

    def verb() -> None:
        review.mark_reviewed(session, specimen_id, by=by, version=version, only={each.id for each in passed})

    _, refusal = attempt(session, verb)
    for row, _, _ in acting:
        row.action, row.refusal = ("partial", None) if refusal is None else ("refused", refusal.code)
    if refusal is None:
        for result in passed:
            _stamp(result, acting)


def _pass(session: Session, rows: Rows, version: int, acting: Sequence[Acting]) -> None:
    by = signatory(acting[0][1])
    two_persons = two_person_tests(session, [test for _, test in rows.ordered])
    only_review = bool(two_persons) or any(rules.act == "review" for _, rules, _ in acting)
    specimen_id = rows.specimen.id

    def verbs() -> None:
        review.mark_reviewed(session, specimen_id, by=by, version=version)
        if not only_review:
            reports.release(session, specimen_id, by=by, version=version + 1)

    _, refusal = attempt(session, verbs)
    for row, _, _ in acting:
        row.action, row.refusal = _came_of(only_review, refusal)
    if refusal is None:
        for result in rows.open_results:
            _stamp(result, acting)


def _came_of(only_review: bool, refusal: XinglinError | None) -> tuple[str, str | None]:
    if refusal is not None:
        return "refused", refusal.code
    return ("reviewed" if only_review else "released"), None


def _stamp(result: Result, acting: Sequence[Acting]) -> None:
    """The value says by which decision it passed."""
    row, rules, _ = acting[0]
    said = {"decision": str(row.id), "rule_set": rules.code, "version": rules.version}
    versions = {**result.decision.get("versions", {}), "auto": said}
    result.decision = {**result.decision, "versions": versions}


def _mark_held(
    session: Session, rows: Rows, held: dict[str, tuple[Finding, ...]], rows_by_code: dict[str, AutoDecision]
) -> None:
    """Reasons of rules beside those of the verdict; the sheet moves on where something changed, so no page is stale."""
    codes = {test.id: test.code for _, test in rows.ordered}
    changed = []
    for result in rows.open_results:
        code = codes[result.test_id]
        own = [each for each in held.get(code, ()) if each.rule]
        kept = [each for each in result.decision.get("reasons", []) if each["code"] != "rule"]
        reasons = [*kept, *({"code": "rule", "holds": True, "fields": each.to_json()} for each in own)]
        if reasons != result.decision.get("reasons", []):
            result.decision = {**result.decision, "reasons": reasons}
            result.held = any(each["holds"] for each in reasons)
            changed.append(code)
    if not changed:
        return
    session.flush()
    sheet = session.get_one(ResultSheet, rows.specimen.id)
    sheet.version += 1
    announce(session, "results", {"specimen": str(rows.specimen.id), "accession": rows.specimen.accession})
    first = rows_by_code[changed[0]]
    record(
        session,
        actor=f"rules:{first.rule_set_id}",
        action="autoverify.held",
        aggregate=("specimen", rows.specimen.id),
        after={"decision": str(first.id), "tests": changed},
    )
