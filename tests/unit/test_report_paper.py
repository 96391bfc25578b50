"""What stands on the paper of a report, for every form: all of it, on every page, and nothing that is not so."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace

import pytest
import zxingcpp
from pypdf import PdfReader

from cloud.lis.reports import bitmaps, samples, typesetting
from cloud.lis.reports.changes import changes
from cloud.lis.reports.forms import Asked, FormSettings, brought_along, choose, fits
from cloud.lis.reports.printing import Marked, Materials, curve_of, rendered
from cloud.lis.reports.view import FormUsed, ReportContent, ReportImage, SignatureUsed
from tests.support.pictures import first_page

pytestmark = pytest.mark.req("LIS-7")
FORMS = tuple(brought_along())
HOSPITAL = "杏林医院"


def pages(pdf: bytes) -> list[str]:
    """The text of each page without blanks and the places where a line may end."""
    found = [page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages]
    return ["".join(text.replace("\u200b", "").split()) for text in found]


def filled(code: str, case: str = "plain", **settings: object) -> tuple[ReportContent, Materials]:
    return samples.filled(replace(brought_along()[code].settings, **settings), HOSPITAL, case)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", FORMS)
def test_a_long_report_is_whole_and_every_page_says_whose_it_is(code: str) -> None:
    content, materials = filled(code, "long")
    said = pages(rendered(content, materials=materials))
    assert len(said) > 1
    for number, page in enumerate(said, 1):
        assert f"第{number}页/共{len(said)}页" in page
        for wanted in (HOSPITAL, "检验报告单", content.patient_name, content.accession, "审核者：审核者", "接收时间"):
            assert wanted in page, f"{wanted} is not on page {number}"
    whole = "".join(said)
    assert whole.count("名称很长的检验项目，用来查看换行和分页") == 7
    assert (content.comment or "").count("。") == 16
    for item in content.items:
        assert "".join(item.value.split()) in whole
        assert item.name.replace(" ", "") in whole


@pytest.mark.parametrize("code", ["general", "hematology", "narrative"])
def test_nothing_stands_outside_the_paper(code: str) -> None:
    content, materials = filled(code, "long", bilingual=True)
    first, *rest = content.items
    content = replace(
        content,
        department="W" * 60,
        comment="x" * 400,
        items=(replace(first, value="文字结果很长，" * 400), replace(first, value="y" * 300), *rest),
    )
    said = "".join(pages(rendered(content, materials=materials)))
    for letter, at_least in (("果", 400), ("x", 400), ("y", 300)):
        assert said.count(letter) >= at_least, letter
    for page in PdfReader(io.BytesIO(rendered(content, materials=materials))).pages:
        places: list[tuple[float, float]] = []

        def note(
            text: str,
            cm: list[float],
            tm: list[float],
            _font: object,
            _size: float,
            places: list[tuple[float, float]] = places,
        ) -> None:
            if text.strip():
                places.append((tm[4] * cm[0] + cm[4], tm[5] * cm[3] + cm[5]))

        page.extract_text(visitor_text=note)
        wide, high = float(page.mediabox.width), float(page.mediabox.height)
        assert places
        assert all(20 < x < wide - 20 and 8 < y < high - 8 for x, y in places)


@pytest.mark.parametrize("code", FORMS)
def test_paper_is_what_the_form_says(code: str) -> None:
    content, materials = filled(code)
    box = PdfReader(io.BytesIO(rendered(content, materials=materials))).pages[0].mediabox
    millimetres = (round(float(box.width) / 72 * 25.4), round(float(box.height) / 72 * 25.4))
    assert millimetres == {"a4": (210, 297), "a5": (210, 148)}[materials.settings.paper]


def test_an_amended_report_says_what_was_changed_when_and_why() -> None:
    content, materials = filled("general", "amended")
    [said] = pages(rendered(content, materials=materials))
    for wanted in (
        "修订报告（第2版）",
        "2026-01-0510:30修订",
        "取代2026-01-0509:05发布的第1版",
        "58.7U/L→62.4U/L",
        "原58.7",
        "吸样不足",
    ):
        assert wanted in said, wanted


@pytest.mark.parametrize("code", ["general", "hematology"])
def test_a_recalled_report_is_void_on_every_page(code: str) -> None:
    content, materials = filled(code, "long")
    said = pages(rendered(content, Marked("本报告已召回"), materials=materials))
    assert all("已作废" in page for page in said)
    assert "本报告已召回" in said[0]


def test_a_bilingual_report_names_tests_flags_and_fields_in_both_languages() -> None:
    content, materials = filled("general")
    [said] = pages(rendered(content, materials=materials, bilingual=True))
    for wanted in (
        "LaboratoryReport",
        "Alanineaminotransferase",
        "高High",
        "危急Critical",
        "Page1of1",
        "Collected",
        "血清Serum",
        "女Female",
    ):
        assert wanted in said, wanted
    [chinese] = pages(rendered(content, materials=materials))
    assert "Alanine" not in chinese
    assert "已作废" not in chinese


def test_flags_are_told_by_arrow_and_word() -> None:
    content, materials = filled("general")
    [said] = pages(rendered(content, materials=materials))
    assert "62.4↑高" in said
    assert "36.8↓低" in said
    assert "6.7↑↑危急" in said


def test_an_accreditation_is_printed_only_where_the_laboratory_wrote_one() -> None:
    content, materials = filled("general")
    assert "认可" not in "".join(pages(rendered(content, materials=materials)))
    content, materials = filled("general", accreditation="医学实验室认可 MT0000", laboratory="门诊楼三层")
    [said] = pages(rendered(content, materials=materials))
    assert "医学实验室认可MT0000" in said
    assert "门诊楼三层" in said


def test_a_referred_test_names_the_laboratory_that_examined_it() -> None:
    content, materials = filled("general", referrals=(("ALB", "示例医学检验所"),))
    [said] = pages(rendered(content, materials=materials))
    assert "白蛋白▲示例医学检验所" in said
    assert "受委托实验室：▲示例医学检验所" in said


def test_three_earlier_values_stand_with_their_days() -> None:
    content, materials = filled("general", previous=3)
    [said] = pages(rendered(content, materials=materials))
    for day in ("25-12-20", "25-11-30", "25-10-28"):
        assert said.count(day) == 1  # in the heading: the column is of one day
    for value in ("58.7", "64.3", "60.5"):
        assert value in said
    later = replace(content.items[0], previous_at="2025-12-24T02:00:00+00:00")
    [said] = pages(rendered(replace(content, items=(later, *content.items[1:])), materials=materials))
    assert said.count("25-12-20") == len(content.items) - 1


@pytest.mark.parametrize("code", FORMS)
def test_the_barcode_is_read_on_every_form(code: str) -> None:
    content, materials = filled(code)
    found = zxingcpp.read_barcodes(first_page(rendered(content, materials=materials), dpi=200))
    assert [(each.text, each.format) for each in found] == [(content.accession, zxingcpp.BarcodeFormat.Code128)]


def test_the_same_stored_report_gives_the_same_bytes() -> None:
    content, materials = filled("hematology")
    signed = replace(materials, signatures={"s": ("image/png", samples.dots(3))})
    content = replace(
        content, signatures=(SignatureUsed("release", "审核者", "s"),), form=FormUsed("hematology", 1, "0" * 64)
    )
    assert ReportContent.from_json(content.to_json()) == content
    first = rendered(content, materials=signed)
    assert rendered(ReportContent.from_json(content.to_json()), materials=signed) == first
    assert rendered(content, materials=materials) != first


def test_a_signature_stands_in_place_of_the_name_only_where_the_form_wants_it() -> None:
    content, materials = filled("general")
    content = replace(content, released_by="钱某人", signatures=(SignatureUsed("release", "钱某人", "s"),))
    signed = replace(materials, signatures={"s": ("image/png", samples.dots(3))})
    drawn = len(PdfReader(io.BytesIO(rendered(content, materials=signed))).pages[0].images)
    assert drawn == 1
    plain = replace(signed, settings=replace(signed.settings, signatures=False))
    assert "审核者：钱某人" in pages(rendered(content, materials=plain))[0]


@pytest.mark.parametrize("data", [b"", b"no picture", samples.dots(1)[:60]])
def test_a_damaged_picture_does_not_keep_a_report_from_being_printed(data: bytes) -> None:
    content, materials = filled("urine")
    content = replace(content, images=(ReportImage("a", "沉渣图", "image/png", ""),))
    [said] = pages(rendered(content, materials=replace(materials, pictures={"a": data})))
    assert "图像无法显示" in said
    assert "尿比重" in said


def bitmap(bits: int, *, upside_down: bool = False) -> bytes:
    """Two by two: red, green over blue, white."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    rows = [colours[:2], colours[2:]]
    palette = b"".join(bytes((b, g, r, 0)) for r, g, b in colours) if bits == 8 else b""
    if not upside_down:
        rows.reverse()
    lines = b""
    for row in rows:
        pixels = (
            bytes(map(colours.index, row))
            if bits == 8
            else b"".join(bytes((b, g, r, 0))[: bits // 8] for r, g, b in row)
        )
        lines += pixels.ljust(4 * ((len(pixels) + 3) // 4), b"\0")
    start = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(lines), 0, 0, start)
    info = struct.pack(
        "<IiiHHIIiiII", 40, 2, -2 if upside_down else 2, 1, bits, 0, len(lines), 0, 0, len(palette) // 4, 0
    )
    return head + info + palette + lines


@pytest.mark.parametrize("bits", [8, 24, 32])
@pytest.mark.parametrize("upside_down", [False, True])
def test_an_analyzers_bitmap_is_set_as_it_is(bits: int, upside_down: bool) -> None:
    made = bitmaps.bmp_as_png(bitmap(bits, upside_down=upside_down))
    assert made is not None
    assert typesetting.shows(made, "a.png")
    at = made.index(b"IDAT")
    size = struct.unpack(">I", made[at - 4 : at])[0]
    assert zlib.decompress(made[at + 4 : at + 4 + size]).hex() == "00ff000000ff00" + "000000ffffffff"


@pytest.mark.parametrize(
    "data",
    [b"", b"BM", bitmap(24)[:-1], b"BM" + b"\xff" * 80, bitmap(24).replace(b"\x18\0\0\0\0\0", b"\x18\0\1\0\0\0")],
)
def test_what_is_no_plain_bitmap_is_none(data: bytes) -> None:
    assert bitmaps.bmp_as_png(data) is None


@pytest.mark.parametrize(
    ("data", "found"), [(b"{}", []), (b"[1]", []), (b"\xff", []), (b'{"values": [1, null, 2.5]}', [1.0, 2.5])]
)
def test_a_curve_is_read_as_drivers_keep_it(data: bytes, found: list[float]) -> None:
    assert curve_of(data) == found


def test_a_long_curve_keeps_its_peaks() -> None:
    values = [0.0] * 5000
    values[4321] = 9.0
    thinned = curve_of(b'{"values": ' + str(values).encode() + b"}")
    assert len(thinned) == 256
    assert max(thinned) == 9.0


def asked(
    *sections: str, specimen: str = "serum", kinds: tuple[str, ...] = ("numeric",), panels: tuple[str, ...] = ()
) -> Asked:
    return Asked(frozenset(sections), specimen, frozenset(kinds), frozenset(panels))


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (asked("hematology", specimen="blood"), "hematology"),
        (asked("hematology", specimen="blood", kinds=("qualitative",)), "qualitative"),  # a blood group
        (asked("hematology", "chemistry", specimen="blood"), "general"),
        (asked("urine", specimen="urine", kinds=("numeric", "qualitative")), "urine"),
        (asked("immunology", kinds=("qualitative", "titre")), "qualitative"),
        (asked("immunology", kinds=("qualitative", "numeric")), "general"),
        (asked("molecular", specimen="swab", kinds=("text",)), "narrative"),
        (asked("chemistry"), "general"),
    ],
)
def test_the_first_form_that_fits_a_report_is_taken(report: Asked, code: str) -> None:
    assert choose(brought_along().values(), report).code == code


def test_a_panels_own_form_comes_first_once_the_laboratory_names_the_panel() -> None:
    forms = brought_along()
    curve = replace(forms["curve"], active=True, settings=replace(forms["curve"].settings, panels=("SPE",)))
    others = [each for code, each in forms.items() if code != "curve"]
    assert choose([*others, curve], asked("chemistry", panels=("SPE", "LIVER"))).code == "curve"
    assert choose([*others, curve], asked("chemistry", panels=("LIVER",))).code == "general"


def test_a_form_without_any_kind_named_fits_every_report() -> None:
    assert fits(FormSettings(), asked("urine", specimen="urine", kinds=("text",)))


def test_what_an_amendment_changed_is_told_in_full() -> None:
    before, _ = filled("general")
    first, second, third, *rest = before.items
    after = replace(
        before,
        items=(replace(first, value="61.0", flag="N"), replace(second, range_text="10-40"), *rest),
        comment=None,
        diagnosis="另一诊断",
    )
    told = [(each.what, each.before, each.after) for each in changes(before, after)]
    assert told == [
        (first.name, "62.4↑ U/L", "61.0 U/L"),
        (second.name, "33.1 U/L（参考 13-35）", "33.1 U/L（参考 10-40）"),
        (third.name, "14.2 μmol/L", ""),
        ("诊断", "示例诊断", "另一诊断"),
        ("备注", "建议结合临床，必要时复查。", ""),
    ]
    assert changes(before, before) == ()
