"""The rule sets a laboratory begins with: drafts, each rule with its source, deciding in shadow only.

What has no source at hand says so or is left blank and inactive: limits of serum indices come from the reagent's
leaflet, the wrong-tube limit from the own pairs of the laboratory. A set that is there already is left alone.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.lis.autoverify.model import RuleSetVersion
from cloud.lis.autoverify.rulesets import keep_revision

AUTHOR = "杏林起始规则"


def sets() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        files("cloud.lis.autoverify").joinpath("data/starting_rules.json").read_text("utf-8")
    )
    return found


def load(session: Session) -> int:
    """How many sets were added."""
    known = set(session.scalars(select(RuleSetVersion.code)))
    new = [each for each in sets() if each["code"] not in known]
    for each in new:
        made = RuleSetVersion(
            code=each["code"],
            version=1,
            name=each["name"],
            sections=each["sections"],
            rules=each["rules"],
            act=each["act"],
            shadow=True,
            editors=[],
            edited_by_name=AUTHOR,
            edited_at=clock.now(),
            note="起始草案：只在影子模式运行，须经本实验室验证和批准",
        )
        session.add(made)
        session.flush()
        keep_revision(session, made)
    return len(new)


def run() -> int:
    with begin() as session:
        return load(session)
