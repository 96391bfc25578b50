"""An unknown line: which rate, parity, framing, protocol, vendor and driver it has, from samples of it (GW-13).

`hear` judges one sample, `propose` weighs all of them, `next_setting` says at which setting to listen next. Every part
of a proposal has a score from 0 to 1 and the reason for it. Nothing here listens or writes: `edge.identify` does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from protocols.identify_bytes import Evidence, judge
from protocols.identify_samples import RATES, LineSetting, Sample, View, views

SURE = 0.9
"""A sample heard this well ends the search."""
PLAUSIBLE = 0.4
_ACK = 0x06
_BEFORE_A_FRAME = frozenset(b"\x04\x05")
_GENERIC = 0.1


@dataclass(frozen=True, slots=True)
class Finding:
    """One property of the line: what it is, how sure, and why. `value` None: not known."""

    value: str | int | None
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Hearing:
    """One sample in its best reading."""

    sample: Sample
    view: View
    evidence: Evidence

    @property
    def score(self) -> float:
        """How well the bytes are explained; broken characters take away from it."""
        return self.evidence.score * self.view.whole_share

    @property
    def reason(self) -> str:
        if not self.sample.data:
            return "nothing was heard"
        broken = 1 - self.view.whole_share
        return self.evidence.reason + (f"; {broken:.0%} of the characters are broken" if broken else "")


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a line is taken for."""

    baud_rate: Finding
    parity: Finding
    framing: Finding
    protocol: Finding
    vendor: Finding
    driver: Finding
    score: float
    setting: LineSetting

    def findings(self) -> dict[str, Finding]:
        return {
            "baud rate": self.baud_rate,
            "parity": self.parity,
            "framing": self.framing,
            "protocol": self.protocol,
            "vendor": self.vendor,
            "driver": self.driver,
        }


def hear(sample: Sample) -> Hearing:
    """The reading that explains the sample best; among equals the one that its bits bear out."""
    read = [Hearing(sample, view, judge(view.data)) for view in views(sample)]
    return max(read, key=lambda each: (round(each.score, 2), each.view.score))


def propose(hearings: Sequence[Hearing]) -> list[Proposal]:
    """One proposal for each rate at which something was heard, the best first."""
    best_of: dict[int | None, Hearing] = {}
    for hearing in hearings:
        rate = hearing.sample.setting.baud_rate
        if hearing.sample.data and (rate not in best_of or hearing.score > best_of[rate].score):
            best_of[rate] = hearing
    ranked = sorted(best_of.values(), key=lambda each: -each.score)
    return [_proposal(each, [other for other in ranked if other is not each]) for each in ranked]


def next_setting(hearings: Sequence[Hearing], tried: Collection[LineSetting]) -> LineSetting | None:
    """Where to listen next; None when the line is known or nothing is left to try.

    First every rate at 8N1, which also shows seven bits with parity; then eight bits with parity, which 8N1 breaks,
    beginning with the rates that sounded best.
    """
    if any(each.score >= SURE for each in hearings):
        return None
    sound = {each.sample.setting.baud_rate: each.score * (1 - 1 / (len(each.sample.data) + 1)) for each in hearings}
    by_sound = sorted(RATES, key=lambda rate: (-sound.get(rate, 0.0), RATES.index(rate)))
    order = [LineSetting(rate) for rate in RATES]
    order += [LineSetting(rate, 8, parity) for rate in by_sound for parity in ("even", "odd")]
    return next((each for each in order if each not in tried), None)


def acknowledgement(hearing: Hearing) -> bytes:
    """ACK for a lone ENQ, as the line's parity wants it at the setting that it was heard at; b"" for anything else.

    It makes the instrument send its first frame. That frame is never acknowledged, so nothing counts as sent.
    """
    heard = hearing.view.data
    if heard[-1:] != b"\x05" or not _BEFORE_A_FRAME.issuperset(heard):
        return b""
    listened, real = hearing.sample.setting, hearing.view.setting
    in_bit_7 = listened.data_bits == 8 and listened.parity == "none" and real.data_bits == 7
    return bytes([_ACK | 0x80 if in_bit_7 and real.parity in ("odd", "mark") else _ACK])


def _proposal(best: Hearing, others: Sequence[Hearing]) -> Proposal:
    evidence, setting = best.evidence, best.view.setting
    found = evidence.score
    return Proposal(
        baud_rate=_baud_rate(best, others),
        parity=Finding(str(LineSetting(None, setting.data_bits, setting.parity)), best.view.score, best.view.reason),
        framing=Finding(evidence.framing, found, evidence.reason),
        protocol=Finding(evidence.protocol, found if evidence.protocol else 0.0, evidence.reason),
        vendor=_vendor(evidence),
        driver=_driver(evidence),
        score=best.score,
        setting=setting,
    )


def _baud_rate(best: Hearing, others: Sequence[Hearing]) -> Finding:
    rate = best.sample.setting.baud_rate
    if rate is None:
        return Finding(None, 0.0, "not a serial line, or the rate was not told")
    rivals = [each for each in others if each.sample.setting.baud_rate is not None]
    if not rivals:
        return Finding(rate, best.score, f"the only rate at which anything was heard: {best.reason}")
    rival = max(rivals, key=lambda each: each.score)
    both = best.score + rival.score
    score = best.score * (best.score / both if both else 0.0)
    reason = f"{best.reason}; next best {rival.sample.setting.baud_rate} with {rival.score:.2f}"
    return Finding(rate, score, reason)


def _vendor(evidence: Evidence) -> Finding:
    driver, match = evidence.driver, evidence.match
    if driver is None or match.score <= _GENERIC:
        return Finding(None, 0.0, "no message names its maker")
    return Finding(driver.vendor, match.score, match.reason)


def _driver(evidence: Evidence) -> Finding:
    driver, match = evidence.driver, evidence.match
    if driver is None:
        return Finding(None, 0.0, match.reason)
    if match.score <= _GENERIC:
        return Finding(driver.id, match.score, f"no driver claims it, the generic one carries it: {match.reason}")
    return Finding(driver.id, match.score, match.reason)
