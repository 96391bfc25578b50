"""Pure rules of messages: which templates exist and what they may say, and when a failed try is repeated.

A message carries only the parameters its template declares, and no template declares a finding, a diagnosis, a value
or the name of a test: what a stranger reads on a locked screen tells nothing about the patient's health.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

BACK_OFF_S = (5, 15, 60, 300, 900, 3600)
"""Seconds to the next try after the first, second ... failure; the last repeats until the message expires."""
GIVE_OVER_AFTER = 4
"""Failed tries (about a minute and a half) after which a message goes to the phone instead, where one is known."""
SENDING_TIMEOUT = timedelta(seconds=60)
"""A try that has not ended by then died with its worker; longer than every transport's own time limit."""


@dataclass(frozen=True, slots=True)
class Template:
    """`parameters` are all it may carry. `lifetime`: how long it is worth sending. `link` may lead to our own pages
    only.
    """

    name: str
    parameters: frozenset[str]
    lifetime: timedelta


TEMPLATES = {
    each.name: each
    for each in (
        Template("binding_code", frozenset({"code", "minutes"}), timedelta(minutes=5)),
        Template("consent_code", frozenset({"code", "minutes", "who", "what"}), timedelta(minutes=5)),
        Template("report_ready", frozenset({"hospital", "patient", "released", "link"}), timedelta(days=3)),
        Template("critical_waits", frozenset({"hospital", "department", "minutes"}), timedelta(hours=2)),
        Template("report_recalled", frozenset({"hospital", "patient", "released", "link"}), timedelta(days=3)),
        Template("charge_arose", frozenset({"hospital", "patient", "count", "yuan", "link"}), timedelta(days=1)),
        Template("refund_arrived", frozenset({"hospital", "patient", "yuan", "link"}), timedelta(days=3)),
        Template("late_refund", frozenset({"hospital", "yuan", "link"}), timedelta(days=3)),
        Template("refund_stuck", frozenset({"hospital", "yuan", "link"}), timedelta(days=3)),
        *(
            Template(name, frozenset({"hospital", "patient", "time", "link"}), lifetime)
            for name, lifetime in (
                ("booking_confirmed", timedelta(days=1)),
                ("booking_cancelled", timedelta(days=1)),
                ("booking_changed", timedelta(days=1)),
                ("booking_reminder", timedelta(hours=12)),
                ("session_stopped", timedelta(days=1)),
                ("waiting_offer", timedelta(minutes=20)),
            )
        ),
    )
}


CODES = ("binding_code", "consent_code")
"""Carry a secret that is good for minutes: staff never send one again."""


class TemplateMisused(ValueError):
    """Our own mistake: a message with an unknown template or with parameters it may not carry."""


def checked_parameters(template: str, parameters: dict[str, str]) -> Template:
    """The template; raises `TemplateMisused` for an unknown one, or when `parameters` are not exactly its own."""
    found = TEMPLATES.get(template)
    if found is None:
        raise TemplateMisused(f"no message template {template!r}")
    if set(parameters) != found.parameters:
        raise TemplateMisused(f"{template} carries {sorted(found.parameters)}, not {sorted(parameters)}")
    return found


def gives_over(attempts: int, permanent: bool) -> bool:
    """Whether the channel's try number `attempts` was the last one before the SMS; it is never sent on both at once."""
    return permanent or attempts >= GIVE_OVER_AFTER


def next_wait(attempts: int, retry_after_s: float | None = None) -> timedelta:
    """How long to wait after failure number `attempts` (from 1); the channel's own wish counts when it is longer."""
    ours = BACK_OFF_S[min(attempts, len(BACK_OFF_S)) - 1]
    return timedelta(seconds=max(ours, retry_after_s or 0))
