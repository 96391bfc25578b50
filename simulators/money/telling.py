"""Notices on their way: sent from a thread of their own, lost, doubled or late as the book's chaos says, and repeated
until they are answered as the channel wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import urllib3

from simulators.ledger import Ledger
from simulators.money.book import Book

Made = Callable[[], tuple[bytes, dict[str, str]]]
"""Body and headers, made anew for each try (a signature has its time in it)."""
TRIES = 4
PAUSE_S = 2.0


class Teller:
    """Sends notices. `accepted(status, body)` says whether the channel is content with the answer."""

    def __init__(self, book: Book, ledger: Ledger, accepted: Callable[[int, bytes], bool]) -> None:
        self.book, self.ledger, self._accepted = book, ledger, accepted
        self._http = urllib3.PoolManager(maxsize=16, timeout=5.0, retries=False)
        self._crew = ThreadPoolExecutor(16, "notices")

    def tell(self, url: str, what: str, make: Made) -> None:
        """As the chaos has it; nothing is raised here."""
        chaos = self.book.chaos
        if not url.startswith("http"):
            return
        if self.book.happens(chaos.notice_lost):
            self.ledger.write("notice lost", what=what)
            return
        copies = 2 if self.book.happens(chaos.notice_doubled) else 1
        late = chaos.late_s if self.book.happens(chaos.notice_late) else 0.0
        for _ in range(copies):
            if late:
                timer = threading.Timer(late, lambda: self._crew.submit(self._send, url, what, make))
                timer.daemon = True
                timer.start()
            else:
                self._crew.submit(self._send, url, what, make)

    def _send(self, url: str, what: str, make: Made) -> None:
        for number in range(1, TRIES + 1):
            body, headers = make()
            try:
                answer = self._http.request("POST", url, body=body, headers=headers)
                status, said = answer.status, answer.data
            except urllib3.exceptions.HTTPError as error:
                status, said = 0, type(error).__name__.encode()
            self.ledger.write("notice told", what=what, status=status, attempt=number)
            if self._accepted(status, said):
                return
            time.sleep(PAUSE_S)
