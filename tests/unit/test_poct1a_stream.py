"""Documents back to back on TCP: where one ends and the next begins, whatever the sender puts in and between them."""

from __future__ import annotations

import pytest

from protocols.links.xml_stream import Ending, Piece, XmlStream
from protocols.messages.poct1a import ROOT_NAME

pytestmark = pytest.mark.req("GW-4")
ACK = b"<ACK.R01><ACK><ACK.type_cd V='AA'/></ACK></ACK.R01>"


def read(*chunks: bytes, limit: int = 100_000) -> list[Piece]:
    stream = XmlStream(ROOT_NAME, limit)
    found = [piece for chunk in chunks for piece in stream.feed(chunk)]
    return [*found, *(piece for piece in stream.clear() if piece is not None)]


def whole(*chunks: bytes) -> list[bytes]:
    return [piece.raw for piece in read(*chunks) if piece.ending is Ending.WHOLE]


@pytest.mark.parametrize(
    "document",
    [
        b"<ACK.R01/>",
        b"<ACK.R01  />",
        b"<OBS.R01><A V='a>b/OBS.R01>'/></OBS.R01 >",
        b'<OBS.R01><A V="a>b/OBS.R01>"/></OBS.R01\n>',
        b"<OBS.R01><!-- </OBS.R01> -- > --></OBS.R01>",
        b"<OBS.R01><![CDATA[</OBS.R01>]] ]]></OBS.R01>",
        b"<OBS.R01><?target </OBS.R01> ?></OBS.R01>",
        b'<?xml version="1.0"?>\r\n<!-- first --><OBS.R01></OBS.R01>',
        b'<!DOCTYPE OBS.R01 SYSTEM "OBS.dtd"><OBS.R01/>',
        b'<!DOCTYPE OBS.R01 [<!ENTITY a "]>"><!ELEMENT b ANY>]><OBS.R01>&a;</OBS.R01>',
        b'<OBS.R01><OBS.value V="<3.0" U="mg"/>x < y</OBS.R01>',
        b"<OBS.R01><OBS><OBS></OBS></OBS></OBS.R01>",
        b"\xef\xbb\xbf<OBS.R01></OBS.R01>",
        "<OBS.R01 V='红细胞<'/>".encode("gb18030"),
        '<?xml version="1.0" encoding="UTF-16"?><OBS.R01 V="é㰼"><a/></OBS.R01>'.encode("utf-16"),
        b"\xfe\xff" + '<OBS.R01 V="㸾"></OBS.R01>'.encode("utf-16-be"),
        '<?xml version="1.0"?><OBS.R01></OBS.R01>'.encode("utf-16-be"),
        '<?xml version="1.0"?><OBS.R01></OBS.R01>'.encode("utf-16-le"),
        b"<NOVA.STATSTRIP.SETUP><x/></NOVA.STATSTRIP.SETUP>",
    ],
)
def test_document_ends_with_the_close_tag_of_its_root(document: bytes) -> None:
    assert whole(document) == [document]
    assert whole(*(bytes([each]) for each in document)) == [document], "byte by byte"
    assert whole(document + document) == [document, document], "back to back"


def test_white_space_and_the_framing_of_others_between_documents_are_passed_over() -> None:
    pieces = read(b"\r\n\x00 " + ACK + b"\x1c\r\x0b" + ACK + b"\x1c\r\n")
    assert [(piece.ending, piece.raw, piece.framed) for piece in pieces] == [
        (Ending.WHOLE, ACK, False),
        (Ending.WHOLE, ACK, True),
    ]


def test_garbage_between_documents_is_told_and_does_not_cost_a_document() -> None:
    pieces = read(b"\x05H|\\^& 3 < 4 </OBS.R01>" + ACK + b"?" + ACK)
    assert [piece.ending for piece in pieces] == [Ending.NOISE, Ending.WHOLE, Ending.NOISE, Ending.WHOLE]
    assert pieces[0].raw == b"\x05H|\\^& 3 < 4 </OBS.R01>"


def test_cut_document_ends_where_the_next_begins() -> None:
    """A terminal server that lost its line goes on in the middle of a document."""
    for following in (b'<?xml version="1.0"?>' + ACK, ACK):
        pieces = read(b"<OBS.R01><SVC><PT V='1" + b"'><OBS>" + following)
        assert [piece.ending for piece in pieces] == [Ending.BROKEN_OFF, Ending.WHOLE]
        assert pieces[1].raw == following


def test_document_whose_elements_are_not_closed_still_ends_with_its_root() -> None:
    document = b"<OBS.R01><SVC><PT></WRONG><OBS V='1></OBS></OBS.R01>"
    assert whole(document + ACK) == [document, ACK]


def test_document_longer_than_the_limit_is_told_skipped_and_costs_no_memory() -> None:
    stream = XmlStream(ROOT_NAME, 2000)
    found = stream.feed(b"<OBS.R01><HDR.control_id V='7'/>")
    for _ in range(5000):
        found += stream.feed(b"<OBS V='12345678901234567890'></OBS>")
        assert len(stream._raw) < 3000
    found += stream.feed(b"</OBS.R01>" + ACK)
    assert [piece.ending for piece in found] == [Ending.TOO_LONG, Ending.WHOLE]
    assert found[0].raw.startswith(b"<OBS.R01><HDR.control_id V='7'/>"), "its beginning says which it was"


@pytest.mark.parametrize("endless", [b"<!--", b"<OBS.R01 V='", b"<!DOCTYPE a [", b"<OBS.R01><![CDATA[", b"\x01"])
def test_what_never_ends_is_bounded(endless: bytes) -> None:
    stream = XmlStream(ROOT_NAME, 2000)
    found = stream.feed(endless)
    for _ in range(3000):
        found += stream.feed(b"aaaaaaaaaaaaaaaaaaaaaaaaa")
    assert len(stream._raw) <= 3000
    assert len(stream._noise) <= 64 * 1024
    found += stream.feed(b"-->]]>'>" + ACK)
    assert found, "and what follows is heard again"


def test_long_value_full_of_tag_ends_may_come_byte_by_byte() -> None:
    """Each byte is looked at once: looking at the whole tag again for each would take minutes here."""
    document = b"<OBS.R01><x V='" + b"> " * 50_000 + b"'/><!--" + b"- " * 50_000 + b"--></OBS.R01>"
    stream = XmlStream(ROOT_NAME, 1_000_000)
    found = [piece for at in range(len(document)) for piece in stream.feed(document[at : at + 1])]
    assert [piece.raw for piece in found] == [document]


def test_names_of_the_standards_messages_are_no_objects_of_it() -> None:
    assert ROOT_NAME.fullmatch(b"OBS.R01")
    assert not any(ROOT_NAME.fullmatch(each) for each in (b"OBS", b"OBS.value", b"SVC.role_cd", b"NTE.text"))
