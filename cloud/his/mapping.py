"""The HIS's codes as ours: defaults from ``mapping.toml``, a hospital's own rows above them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.his.model import HisCode

SAME_WHEN_UNKNOWN = ("item", "department")
"""Kinds whose codes the hospital agreed on: one that is not mapped is ours as it stands."""


@cache
def defaults() -> Mapping[str, Mapping[str, str]]:
    """The shipped file."""
    with Path(__file__).with_name("mapping.toml").open("rb") as file:
        return tomllib.load(file)


def outgoing() -> Mapping[str, str]:
    """How our own messages name sender, receiver and character set."""
    return defaults()["outgoing"]


class Mapper:
    """One message's look-ups."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ours(self, kind: str, theirs: str) -> str | None:
        """Our code; None where a closed kind does not know theirs."""
        row = self._session.scalar(select(HisCode.ours).where(HisCode.kind == kind, HisCode.theirs == theirs))
        if row is not None:
            return row
        shipped = defaults().get(kind, {}).get(theirs)
        return theirs if shipped is None and kind in SAME_WHEN_UNKNOWN else shipped
