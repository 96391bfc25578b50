"""What the configuration check asks of formulas: circles, units that do not fit, operands that are gone."""

from __future__ import annotations

from datetime import date

from sqlalchemy.orm import Session

from cloud.lis.calculation import service, unit_checks
from cloud.lis.catalog import checking
from cloud.lis.catalog.rules import Problem


@checking.add
def problems(session: Session, on: date) -> list[Problem]:
    """Every fault of the formulas that hold today, and of units."""
    return unit_checks.problems(session, on) + [
        Problem(code, "formula_cycle" if fault.code == "cycle" else "formula_wrong", f"{fault.cell}: {fault.code}")
        for code, current in sorted(service.current(session).items())
        for fault in service.check(session, current.definition)
    ]
