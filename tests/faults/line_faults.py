"""What befalls a line: half-open connections, bit noise, cuts in mid-frame, two of one name, a flood."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

from tests.bench.edge_bad import KINDS
from tests.faults.instruments import Instrument, frames_of, more, started
from tests.faults.site import Row, site, with_cloud
from tests.support.analyzer import ACK, ENQ, EOT, NAK, Analyzer, over_tcp

_ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 0.5
_FRAME = re.compile(rb"\x02([0-7][^\x02\x03\x17]*[\x03\x17])([0-9A-Fa-f]{2})", re.DOTALL)


def half_open(row: Row, quick: bool, times: int) -> None:
    """An analyzer is gone without a word in mid-message, over and over, and comes back on a new connection."""
    with site(row, quick=quick, uplink=True) as here:
        ports = here.links(3)
        with_cloud(here)
        here.box.start()
        others = started({link: port for link, port in ports.items() if link != "xn0"})
        gone = Instrument("xn0", ports["xn0"], 9, limit=times)
        left: list[Analyzer] = []
        pick = random.Random(row.seed)
        for number in range(times):
            analyzer = over_tcp("127.0.0.1", ports["xn0"])
            left.append(analyzer)  # never closed: no FIN, no RST, and no answer is read any more
            assert analyzer.begin() == ACK
            for raw in frames_of(gone.key(number))[: pick.randrange(0, 4)]:
                assert analyzer.put(raw) == ACK
                gone.acknowledged[raw] += 1
                gone.frames += 1
            again = over_tcp("127.0.0.1", ports["xn0"])
            key = gone.key(number)
            if not gone._one(again, key):
                row.wrong.append("the new connection was refused")
            gone.finished.append(key)
            again.close()
        more(others, 20)
        for each in others:
            each.end()
        here.all_arrived([gone, *others])
        here.judge([gone, *others])
        row.notes["connections_left_open"] = len(left)
        for analyzer in left:
            analyzer.close()


class Noisy(Instrument):
    """Spoils frames on the wire; an ACK to spoiled bytes that say something else is an escape of the checksum."""

    def __init__(self, link: str, port: int, number: int, *, seed: int, limit: int) -> None:
        super().__init__(link, port, number, limit=limit)
        self._pick = random.Random(f"{seed}/{link}")
        self.flipped = self.bursts = self.edited = 0
        self.escaped = self.single_escaped = self.wrongly = 0
        self.spoiled_keys: set[tuple[str, str]] = set()

    def _noise(self, raw: bytes) -> tuple[bytes, bool]:
        """The bytes as they arrive, and whether one bit alone was turned."""
        pick, data = self._pick, bytearray(raw)
        at, kind = pick.randrange(len(data)), pick.random()
        if kind < 0.34:
            self.flipped += 1
            data[at] ^= 1 << pick.randrange(8)
            return bytes(data), True
        if kind < 0.84:  # a burst inside the text: the checksum alone must notice
            self.bursts += 1
            at = pick.randrange(2, len(data) - 8)
            data[at : at + 3] = bytes(pick.randrange(0x20, 0x7F) for _ in range(3))
        elif kind < 0.92:
            self.edited += 1
            del data[at]
        else:
            self.edited += 1
            data.insert(at, pick.randrange(256))
        return bytes(data), False

    def _one(self, analyzer: Analyzer, key: tuple[str, str]) -> bool:
        if analyzer.begin() != ACK:
            return False
        raws, spoiled = frames_of(key), False
        for raw in raws:
            answer = b""
            for _ in range(7):
                sent, single = self._noise(raw) if self._pick.random() < 0.5 else (raw, False)
                self.offered[key] += raw is raws[-1]
                analyzer.send(sent)
                answer = analyzer.byte(_PATIENCE_S)  # Silent: a new connection, the message from its beginning
                if answer == ACK:
                    spoiled |= self._accepted(raw, sent, single)
                    break
                self.refused += answer == NAK
            if answer != ACK:
                analyzer.send(EOT)
                return False
        analyzer.send(EOT)
        if spoiled:
            self.spoiled_keys.add(key)
        return True

    def _accepted(self, raw: bytes, sent: bytes, single: bool) -> bool:
        """Whether something else was taken than was meant; judged by a checksum computed here, not the box's."""
        self.frames += 1
        if _text(sent) == _text(raw):
            return False
        if _text(sent) is None:
            self.wrongly += 1
        elif single:
            self.single_escaped += 1
        else:
            self.escaped += 1
        return True


def _text(sent: bytes) -> bytes | None:
    """What a frame says whose checksum is right; None where no such frame is in the bytes."""
    for found in _FRAME.finditer(sent):
        if sum(found[1]) & 0xFF == int(found[2], 16):
            return found[1]
    return None


def noise(row: Row, quick: bool, messages: int) -> None:
    """Half of all frames are spoiled: a bit, a burst of three characters, a byte lost, a byte too many."""
    with site(row, quick=quick) as here:
        ports = here.links(3)
        here.box.start()
        instruments = [
            Noisy(link, port, number, seed=row.seed, limit=messages)
            for number, (link, port) in enumerate(ports.items())
        ]
        for each in instruments:
            each.start()
        for each in instruments:
            each.finish(600)
        for each in instruments:  # what was taken under another text is an escape, shown as such and not as a loss
            each.finished = [key for key in each.finished if key not in each.spoiled_keys]
            each.begun = len(each.finished)
        here.judge(instruments, frames=False)
        bursts = sum(each.bursts for each in instruments)
        row.notes |= {
            "bits_flipped": sum(each.flipped for each in instruments),
            "bursts": bursts,
            "bytes_lost_or_added": sum(each.edited for each in instruments),
            "NAKs": sum(each.refused for each in instruments),
            "checksum_escapes": sum(each.escaped for each in instruments),
            "expected_by_theory": round(bursts / 256, 1),
            "escapes_of_one_bit": sum(each.single_escaped for each in instruments),
            "messages_with_an_escape": sum(len(each.spoiled_keys) for each in instruments),
        }
        if single := sum(each.single_escaped for each in instruments):
            row.wrong.append(f"{single} frames with one flipped bit were taken")
        if wrongly := sum(each.wrongly for each in instruments):
            row.wrong.append(f"{wrongly} frames were acknowledged whose checksum is wrong")


def mid_frame(row: Row, quick: bool, step: int) -> None:
    """The connection is cut behind every byte (`step` 1) of a message, ENQ to EOT."""
    with site(row, quick=quick) as here:
        ports = here.links(1)
        here.box.start()
        cut = Instrument("xn0", ports["xn0"], 0)
        parts = [ENQ, *frames_of(cut.key(0))]
        length = sum(map(len, parts))
        places = range(1, length + 1, step)
        for number, place in enumerate(places):
            key = cut.key(2 * number)
            analyzer = over_tcp("127.0.0.1", ports["xn0"])
            _send_until(cut, analyzer, key, place)
            analyzer.close()
            analyzer = over_tcp("127.0.0.1", ports["xn0"])
            key = cut.key(2 * number + 1)  # the next one begins clean
            if not cut._one(analyzer, key):
                row.wrong.append(f"after a cut behind byte {place} the next message was refused")
            cut.finished.append(key)
            analyzer.close()
        cut.begun = 2 * len(places)
        here.judge([cut])
        row.notes |= {"cuts": len(places), "bytes_of_the_message": length}


def _send_until(cut: Instrument, analyzer: Analyzer, key: tuple[str, str], place: int) -> None:
    raws = frames_of(key)
    left = place
    for raw in [ENQ, *raws]:
        whole = left >= len(raw)
        cut.offered[key] += whole and raw is raws[-1]
        analyzer.send(raw[:left])
        left -= len(raw)
        if not whole:
            return
        assert analyzer.byte() == ACK
        if raw != ENQ:
            cut.acknowledged[raw] += 1
            cut.frames += 1
        if raw is raws[-1]:
            cut.finished.append(key)


def same_name(row: Row, quick: bool, messages: int) -> None:
    """Two links whose instruments call themselves the same and report the same specimens with the same values."""
    with site(row, quick=quick, uplink=True) as here:
        ports = here.links(2)
        with_cloud(here)
        here.box.start()
        twins = [Instrument(link, port, 0, limit=messages) for link, port in ports.items()]
        for each in twins:
            each.start()
        for each in twins:
            each.finish()
        here.all_arrived(twins)
        assert here.cloud is not None
        here.judge(twins)
        row.notes["links"] = 2
        if row.inbox != row.stored or row.stored != 2 * messages:
            row.wrong.append(f"{row.stored} stored and {row.inbox} in the cloud of {2 * messages}")


def flood(row: Row, quick: bool, messages: int) -> None:
    """A line that never stops, once of each kind (flood, noise, chatter, begging, dead), beside three good ones."""
    with site(row, quick=quick) as here:
        ports = here.links(3)
        bad = here.box.add_tcp("bad")
        here.box.start()
        instruments = started(ports)
        for kind in KINDS:
            process = subprocess.Popen([sys.executable, "-m", "tests.bench.edge_bad", kind, str(bad)], cwd=_ROOT)
            try:
                more(instruments, messages)
            finally:
                process.kill()
                process.wait()
        for each in instruments:
            each.end()
        here.judge(instruments)
        row.notes |= {"bad_lines": ", ".join(KINDS), "refused_beside_them": sum(each.refused for each in instruments)}
