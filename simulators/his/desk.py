"""What this HIS answers to each message: appointments (SRM, SQM), money (DFT^P03), executed items (ORM^O01), results.

HL7 v2.5.1 chapters 10, 6, 4 and 5 (QBP^Q13), fields put together by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from simulators.his.book import Appointment, Book, Money, Refusal
from simulators.his.messages import accepted, escaped, header
from simulators.ledger import Ledger
from simulators.mllp import field, segment, stamp

Message = list[str]
_PLAIN = (("\\F\\", "|"), ("\\S\\", "^"), ("\\T\\", "&"), ("\\R\\", "~"), ("\\E\\", "\\"))


class Desk:
    """Answers one message after the other from the book."""

    def __init__(self, book: Book, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self.book = book
        self.ledger = ledger
        self.now = now

    def answer(self, received: Message, number: str) -> Message:
        """The answer to any message of the other side; the effect has happened when it is made."""
        kind = "^".join(field(segment(received, "MSH"), 9).split("^")[:2])
        work = {
            "SRM^S01": self._appointment,
            "SRM^S03": self._appointment,
            "SRM^S04": self._appointment,
            "SQM^S25": self._schedule,
            "DFT^P03": self._money,
            "ORM^O01": self._executed,
            "QBP^Q13": self._booked_money,
        }.get(kind)
        if work is None:
            return accepted(received, self.now(), number)
        try:
            return work(received, number)
        except Refusal as refusal:
            self.ledger.write("refused", kind=kind, word=refusal.word)
            return self._refused(received, number, refusal)

    def _appointment(self, received: Message, number: str) -> Message:
        arq = segment(received, "ARQ")
        key = plain(field(arq, 1).split("^")[0])
        event = field(segment(received, "MSH"), 9).split("^")[1]
        if event == "S01":
            aig = segment(received, "AIG")
            wanted = field(aig, 3).split("^")[0]
            seq = int(wanted) if wanted.isdecimal() else None
            patient = plain(field(segment(received, "PID"), 5))
            found = self.book.reserve(key, plain(field(arq, 5).split("^")[0]), seq, patient)
        else:
            found = self.book.make_firm(key) if event == "S03" else self.book.cancel(key)
        self.ledger.write("appointment", act=event, key=key, session=found.session, seq=found.seq, state=found.state)
        head = [self._header(f"SRR^{event}^SRR_S01", number), f"MSA|AA|{field(segment(received, 'MSH'), 10)}"]
        return head + self._scheduled(found)

    def _schedule(self, received: Message, number: str) -> Message:
        qrd, arq = segment(received, "QRD"), segment(received, "ARQ")
        tag = field(qrd, 4)
        lines: Message = []
        if field(qrd, 9).split("^")[0] == "SOP":
            code = plain(field(arq, 5).split("^")[0])
            open_ones = self.book.open_numbers(code)
            session = self.book.sessions[code]
            count = len(open_ones)
            for seq in open_ones:
                lines += _sch("", "", code, "")
                lines += [f"RGS|1||{escaped(code)}", f"AIS|1||{_service(session.doctor)}|{stamp(session.from_at(seq))}"]
                lines += [f"AIG|1||{seq}|NUMBER"]
        else:
            found = self.book.stand(plain(field(arq, 1).split("^")[0]))
            count = int(found is not None)
            lines = self._scheduled(found) if found is not None else []
        return [
            self._header("SQR^S25^SQR_S25", number),
            f"MSA|AA|{field(segment(received, 'MSH'), 10)}",
            f"QAK|{tag}|{'OK' if count else 'NF'}",
            *lines,
        ]

    def _scheduled(self, found: Appointment) -> Message:
        session = self.book.sessions.get(found.session)
        lines = _sch(found.key, found.number, found.session, found.state)
        if session is None:
            return [*lines, "RGS|1"]
        return [
            *lines,
            f"RGS|1||{escaped(found.session)}",
            f"AIS|1||{_service(session.doctor)}|{stamp(session.from_at(found.seq))}",
            f"AIG|1||{found.seq}|NUMBER",
            f"AIL|1||{escaped(session.department)}^^^XLYY^^^^^{escaped(session.place)}",
        ]

    def _money(self, received: Message, number: str) -> Message:
        """Every FT1 of type PY; one refused is the whole message refused, as the book is written once."""
        for each in received:
            ft1 = each.split("|")
            if ft1[0] == "FT1" and field(ft1, 6) == "PY":
                amount = field(ft1, 11).split("^")[0].split("&")[0]
                entry = Money(
                    number=field(ft1, 2),
                    fen=round(float(amount) * 100),
                    channel=field(ft1, 7).split("^")[0],
                    at=field(ft1, 4).split("^")[0],
                    batch=field(ft1, 3),
                )
                booked = self.book.book_money(entry)
                self.ledger.write("money", number=booked.number, fen=booked.fen, times=booked.times)
        return accepted(received, self.now(), number)

    def _executed(self, received: Message, number: str) -> Message:
        for each in received:
            orc = each.split("|")
            if orc[0] == "ORC" and field(orc, 1) == "SC" and field(orc, 5) == "CM":
                self.book.executed[field(orc, 2).split("^")[0]] = field(orc, 9)
                self.ledger.write("executed", item=field(orc, 2).split("^")[0])
        return accepted(received, self.now(), number)

    def _booked_money(self, received: Message, number: str) -> Message:
        """RTB^K13: a row for each movement of the day, in the columns asked for; what follows by DSC."""
        qpd, rcp, dsc = (segment(received, each) for each in ("QPD", "RCP", "DSC"))
        day, most = field(qpd, 3), int(field(rcp, 2).split("^")[0] or 1000)
        with self.book.lock:
            all_of_day = sorted((each for each in self.book.money.values() if each.at[:8] == day), key=_in_order)
        after = field(dsc, 1)
        left = [each for each in all_of_day if each.number > after]
        page = left[:most]
        lines = [
            self._header("RTB^K13^RTB_K13", number),
            f"MSA|AA|{field(segment(received, 'MSH'), 10)}",
            f"QAK|{field(qpd, 2)}|{'OK' if all_of_day else 'NF'}|{field(qpd, 1)}|{len(all_of_day)}",
            "|".join(each for each in ("QPD", *qpd[1:])),
            "RDF|4|number^ST^40~yuan^ST^16~at^ST^14~channel^ST^16",
            *(f"RDT|{each.number}|{each.fen / 100:.2f}|{each.at}|{each.channel}" for each in page),
        ]
        return [*lines, f"DSC|{page[-1].number}"] if len(left) > len(page) else lines

    def _refused(self, received: Message, number: str, refusal: Refusal) -> Message:
        kind = field(segment(received, "MSH"), 9).split("^")
        answer = {"SRM": f"SRR^{kind[1]}^SRR_S01", "SQM": "SQR^S25^SQR_S25"}.get(kind[0], f"ACK^{kind[1]}^ACK")
        lines = [
            self._header(answer, number),
            f"MSA|AE|{field(segment(received, 'MSH'), 10)}|{escaped(refusal.text)}",
            f"ERR|||{refusal.condition}|E|{refusal.word}|||{escaped(refusal.text)}",
        ]
        return [*lines, f"QAK|{field(segment(received, 'QRD'), 4)}|AE"] if kind[0] == "SQM" else lines

    def refused_by_itself(self, received: Message, number: str) -> Message:
        """An internal error of this HIS: nothing was done, later it may be."""
        return self._refused(received, number, Refusal("", "系统内部错误", "207"))

    def _header(self, kind: str, number: str) -> str:
        return header(kind, number, self.now())


def plain(text: str) -> str:
    for code, character in _PLAIN:
        text = text.replace(code, character)
    return text


def _service(doctor: str) -> str:
    return "EXPERT^专家门诊^L" if doctor else "GENERAL^普通门诊^L"


def _sch(key: str, number: str, session: str, state: str) -> Message:
    desk = "GH^挂号处"
    fields = f"SCH|{escaped(key)}|{number}|||{escaped(session)}|ROUTINE{'|' * 10}{desk}||||{desk}|||||{state}"
    return [fields]


def _in_order(each: Money) -> str:
    return each.number
