"""A rule set tried on history from the command line: prints what the page shows, and stores nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.lis.autoverify import backtesting, reading, rulesets
from cloud.lis.autoverify.model import RuleSetVersion
from cloud.lis.verification import soundness
from cloud.lis.verification.fault_words import fault_sentence
from cloud.lis.verification.ruleset import rule_from_json
from cloud.lis.verification.sentences import rule_sentence

Say = Callable[[str], None]


class NoRuleSet(Exception):
    """Nothing is called so; the message says what there is."""


def newest(session: Session, code: str, version: int | None) -> RuleSetVersion:
    """That version, or the newest one of the code."""
    known = rulesets.versions(session)
    found = next((each for each in known if each.code == code and version in (None, each.version)), None)
    if found is None:
        there = ", ".join(f"{each.code} {each.version}" for each in known) or "none: seed-rules adds the starting sets"
        raise NoRuleSet(f"no rule set {code} {version or ''}; there are: {there}")
    return found


def backtest(session: Session, code: str, *, version: int | None, days: int, most: int, say: Say) -> dict[str, Any]:
    """Try it on the specimens received in the last `days` days."""
    rules = newest(session, code, version)
    tried = rulesets.compiled(rules)
    until = clock.today()
    tally = backtesting.try_out(session, tried, since=until - timedelta(days=days - 1), until=until, most=most)
    rules = newest(session, code, version)
    found = soundness.problems(tried, rulesets.known_words(session))
    outcome = tally.to_json(found)
    table = outcome["confusion"]
    say(f"{rules.name} version {rules.version} ({rules.state}): {tally.specimens} specimens, positive is held")
    say(f"another {tally.by_rules} were released by rules and have no person's judgement")
    say("TP {tp}  TN {tn}  FP {fp}  FN {fn}".format_map(table))
    for name in ("pass_rate", "sensitivity", "specificity", "ppv", "npv"):
        say(f"  {name:12} {'-' if table[name] is None else f'{table[name]:.2f} %'}")
    names = reading.short_names(session)
    for stored in rules.rules:
        hits = outcome["rules"].get(stored["id"])
        if hits is not None:
            said = rule_sentence(rule_from_json(stored), names)
            counts = f"{hits['hits']:6} held {hits['alone']:6} alone {hits['unknown']:6} unknown"
            never = "  never held" if stored["id"] in outcome["never"] else ""
            say(f"{stored['id']:>4} {counts}{never}  {said}")
    for each in found:
        say(f"problem {each.rule or '-'}: {fault_sentence(each, names)}")
    for each in outcome["missed"]:
        say(f"passed, though a person acted: {each['accession']}")
    return outcome
