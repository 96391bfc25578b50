"""From checked frames to one message: frame numbers, repeated frames, the end of a message.

Holds what was acknowledged of the message that is being received. Nothing enters before its acknowledgement.
"""

from __future__ import annotations

import msgspec

from protocols.links.astm_frames import ETX, AstmOptions, Checksum, FrameNumbers, checksum

_NUMBERS = b"01234567"
_PASSED_OVER = 3
"""Different frames out of order after which their sender has gone on without what we refused."""
_DIGITS = [b"%02X" % each for each in range(256)]


class HeldFrame(msgspec.Struct, gc=False):
    """A frame that waits for `acknowledge`."""

    frame_id: int
    body: bytes
    """Number, text, ETX or ETB."""
    text: bytes
    ends_message: bool
    since: float
    bare: bool = False
    """A whole message without frames."""
    answered: bool = True
    """Whether its sender looks for an ACK at all."""

    @property
    def is_end_frame(self) -> bool:
        return self.body[-1] == ETX


class Assembly:
    """The message being received in one session."""

    def __init__(self, options: AstmOptions) -> None:
        self.options = options
        self.restart()

    def restart(self) -> None:
        """A session begins: frame numbers count from 1 and nothing is there."""
        self.last_body: bytes | None = None
        self.expected = 1
        self._passed = 0
        self._passed_body = b""
        self.forget_message()

    def forget_message(self) -> None:
        """The message was handed out; the session goes on."""
        self.texts: list[bytes] = []
        self.frame_ids: list[int] = []
        self.size = 0
        self.whole = True
        """The last frame ended with ETX (or there is none)."""
        self.record_head = b""
        """The first bytes of a record that a frame cut; a frame with ETX always ends its record."""

    def fault(self, body: bytes, sent: bytes) -> str | None:
        """Why a frame must be refused, by itself. `sent` are the two bytes behind ETX or ETB."""
        if len(body) - 2 > self.options.received_text_limit:
            return "frame longer than the limit"
        if self.options.checksum is Checksum.REQUIRED:
            wanted = _DIGITS[checksum(body)]
            if sent != wanted and sent.upper() != wanted:
                return "wrong checksum"
        if len(body) < 2 or (body[0] not in _NUMBERS and self.options.frame_numbers is not FrameNumbers.ABSENT):
            return "frame number is no digit 0 to 7"
        return None

    def is_repeated(self, body: bytes) -> bool:
        """6.5.1.1: our ACK was lost and the same frame comes again. Only if it is the same byte by byte."""
        return body == self.last_body and self.options.frame_numbers is not FrameNumbers.IGNORED

    def number_fits(self, body: bytes) -> bool:
        number, rule = body[0] - 0x30, self.options.frame_numbers
        if number == self.expected:
            return self._passed < _PASSED_OVER
        if rule is FrameNumbers.RESTARTING:
            return number == 1 and self.whole
        return rule is not FrameNumbers.CHECKED

    def pass_over(self, body: bytes) -> None:
        """A frame out of order was refused. A sender that goes on all the same comes to the number we wait for again

        eight frames later: what it has passed over is lost, and so is the message.
        """
        if body != self._passed_body:
            self._passed += 1
            self._passed_body = body

    def fits(self, body: bytes) -> bool:
        options = self.options
        return self.size + len(body) <= options.message_limit and len(self.texts) < options.message_frames_limit

    def hold(self, frame_id: int, body: bytes, now: float) -> HeldFrame:
        text = body[0 if self.options.frame_numbers is FrameNumbers.ABSENT else 1 : -1]
        is_end_frame = body[-1] == ETX
        if is_end_frame and not text.endswith((b"\r", b"\n")):
            text += b"\r"  # an end frame ends its record, also where the instrument leaves the CR out
        return HeldFrame(frame_id, body, text, is_end_frame and self._ends_with_terminator(text), now)

    def accept(self, held: HeldFrame) -> None:
        self.last_body, self.expected = held.body, (held.body[0] - 0x30 + 1) % 8
        self._passed = 0
        if held.ends_message:
            self.forget_message()
            return
        self.texts.append(held.text)
        self.frame_ids.append(held.frame_id)
        self.size += len(held.body)
        self.whole = held.is_end_frame
        self.record_head = b"" if held.is_end_frame else self._head_of_last_record(held.text, len(held.text))

    def _ends_with_terminator(self, text: bytes) -> bool:
        end = len(text.rstrip(b"\r\n"))
        head = self._head_of_last_record(text, end)
        return head[:1] in (b"L", b"l") and not head[1:2].isalnum()

    def _head_of_last_record(self, text: bytes, end: int) -> bytes:
        """The first two bytes of the last record in `text` up to `end`."""
        cut = max(text.rfind(b"\r", 0, end), text.rfind(b"\n", 0, end))
        return text[cut + 1 : min(cut + 3, end)] if cut >= 0 else (self.record_head + text[: min(2, end)])[:2]
