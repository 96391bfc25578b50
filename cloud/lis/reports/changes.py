"""What an amended version says otherwise than the one before it, in the words of the paper."""

from __future__ import annotations

from cloud.lis.reports.view import Change, ReportContent, ReportItem

_FIELDS = (
    ("patient_name", "姓名"), ("sex", "性别"), ("age_text", "年龄"), ("mrn", "病历号"), ("department", "科室"),
    ("bed", "床号"), ("diagnosis", "诊断"), ("ordered_by", "申请医生"), ("specimen_type", "标本类型"),
    ("collected_at", "采集时间"), ("received_at", "接收时间"),
)  # fmt: skip


def changes(before: ReportContent, after: ReportContent) -> tuple[Change, ...]:
    """Values with their unit, flag and range, tests that came or went, comment, remarks and who the patient is."""
    old = {each.code: each for each in before.items}
    new = {each.code: each for each in after.items}
    found = [_item(item, old.get(code), item) for code, item in new.items()]
    found += [_item(item, item, None) for code, item in old.items() if code not in new]
    found += [
        Change(words, str(was or ""), str(now or ""))
        for name, words in _FIELDS
        for was, now in [(getattr(before, name), getattr(after, name))]
        if was != now
    ]
    if before.comment != after.comment:
        found.append(Change("备注", before.comment or "", after.comment or ""))
    if before.remarks != after.remarks:
        found.append(Change("标本说明", "".join(before.remarks), "".join(after.remarks)))
    return tuple(each for each in found if each is not None)


def _item(item: ReportItem, before: ReportItem | None, after: ReportItem | None) -> Change | None:
    if _read(before) == _read(after):
        return None
    ranges = before is not None and after is not None and before.range_text != after.range_text
    return Change(item.name, _told(before, ranges), _told(after, ranges))


def _told(item: ReportItem | None, ranges: bool) -> str:
    if item is None:
        return ""
    return _value(item) + (f"（参考 {item.range_text}）" if ranges else "")


def _read(item: ReportItem | None) -> str:
    return "" if item is None else f"{_value(item)} {item.range_text} {item.flag}"


def _value(item: ReportItem) -> str:
    arrow = {"H": "↑", "L": "↓", "HH": "↑↑", "LL": "↓↓", "A": "*"}.get(item.flag, "")
    return f"{item.value}{arrow} {item.unit}".strip()
