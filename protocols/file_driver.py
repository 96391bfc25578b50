"""What drivers of dropped files share: the announcement in front of a file, its characters, its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.driver import Driver
from protocols.links.contract import Link
from protocols.links.file_drop import FileLink, opened
from protocols.messages.table import file_text
from protocols.model import Decoded, Order


class FileDriver(Driver):
    """One program that writes its results into a folder."""

    protocol: ClassVar[str] = "file"
    charset: ClassVar[str | None] = None
    """What the program writes, where that is known and the box's configuration names nothing else."""

    def new_link(self) -> Link:
        return FileLink()

    def text_of(self, payload: bytes) -> tuple[str, str]:
        """The file's text and its character set; the announcement, if there is one, is not part of it."""
        head, content = opened(payload)
        return file_text(content, (head.encoding if head is not None else None) or self.charset)

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        """A folder asks nothing."""
        return ()

    def split(self, data: bytes) -> Sequence[bytes] | None:
        """A file is one message."""
        return [data] if self.fingerprint(data).score > 0.0 else None
