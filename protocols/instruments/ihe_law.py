"""Any analyzer that speaks IHE LAW and has no driver of its own: its channels are mapped in data.

Source: IHE PaLM TF-2b, transactions LAB-27, LAB-28 and LAB-29, as `protocols.law_driver` says. It claims what names
such a transaction in MSH-21, with a middling score, so that a driver that knows the vendor comes first.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Match, Status
from protocols.law_driver import LawDriver, law_profile


class IheLaw(LawDriver):
    id: ClassVar[str] = "ihe_law"
    vendor: ClassVar[str] = "any"
    models: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = "IHE PaLM TF-2b (LAW: LAB-27, LAB-28, LAB-29)"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True

    def fingerprint(self, payload: bytes) -> Match:
        profile = law_profile(payload)
        if profile is None:
            return Match(0.0, "MSH-21 names no transaction of IHE LAW")
        return Match(0.5, f"MSH-21 names {profile} of IHE LAW")
