"""The link of Hitachi 7xxx analyzers (902, 7060, 7180 and their kin): the analyzer speaks, the host answers each text.

A text is STX, a frame character, data and one of five endings (`HITACHI_ENDINGS`). Frame characters: ``>`` is ANY from
the analyzer ("have you anything?") and MOR from the host ("go on"), ``?`` REP (send it again), ``@`` SUS (not now),
``1`` to ``9`` data that goes on, ``:`` data that ends, ``;`` a request for the tests of a sample, which the host
answers with a text of its own. Silence alarms the analyzer: every text is answered, data only when it is durable. After
SUS the analyzer sends the same text again, which is how a full disk is told.

Source: Hitachi 902 service manual, p. 16-2 and 16-12 (endings, SUS and REC); the frame characters and the sums as open
drivers for 7060, 7170, 7180 and 747 write them (vactorwu/xhn-tianjian-pacs, a Korean interface in Visual Basic).
"""

from __future__ import annotations

from dataclasses import replace

from protocols.links.contract import LinkEvent
from protocols.links.text import TextLink, TextOptions

ANY = MOR = b">"
REP, SUS, INQUIRY, END = b"?", b"@", b";", b":"
DATA = b"123456789"


def goes_on(body: bytes) -> bool:
    """Data with a digit as its frame character is followed by more of the same sample."""
    return bool(body) and body[0] in DATA


def is_result(body: bytes) -> bool:
    return body[:1] == END or goes_on(body)


class PollingLink(TextLink):
    """See the module. `options` give framing and limits; the answers are this family's own."""

    def __init__(self, options: TextOptions, *, answers: bool = True) -> None:
        """`answers`: a request for tests is answered by the driver; else it hears MOR as any text does."""
        wrap = options.framing.wrap
        self._answers = answers
        super().__init__(
            replace(options, accept=wrap(MOR), refuse=wrap(REP), continues=goes_on, repeats=is_result, handshake=False)
        )

    def _answer_to(self, body: bytes) -> bytes:
        """MOR; a question is answered by the text that follows, and by nothing before it."""
        return b"" if self._answers and body[:1] == INQUIRY else self.options.accept

    def _busy(self) -> bytes:
        return self.options.framing.wrap(SUS)

    def _control(self, body: bytes, now: float, events: list[LinkEvent]) -> bool:
        """ANY, and REP or SUS of the analyzer about our last text. Any other text says that it has ours."""
        if body == REP and self._sender.busy:
            events += self._sender.refused(now)
            return True
        if self._sender.busy and body != SUS:
            events += self._sender.accepted(now)
        if body in (ANY, REP, SUS):
            self._abandon_parts("the analyzer began again", events)
            self._output += self.options.accept
            return True
        return False
