"""Decoded items in words and in rows, with the bytes they came from beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge.console.layout import badge, table
from edge.console.line_bytes import hexed, named_lines
from edge.console.markup import Html, Part, el, join
from edge.console.replay import Difference, Line
from edge.console.texts import Words
from protocols.uplink.envelope import Message, MessageState
from protocols.uplink.items import item_to_json

_KINDS = {
    "observation": "结果",
    "qc": "质控",
    "host_query": "查询",
    "event": "事件",
    "specimen_event": "样本事件",
    "reading": "环境读数",
    "unanswered": "缺医嘱",
    "undecoded": "未解出",
}
_STATES = {
    MessageState.DECODED: ("已解码", "good"),
    MessageState.UNDECODED: ("未解出", "bad"),
    MessageState.INCOMPLETE: ("不完整", "warn"),
}
_FIELDS = {
    "observed_at": "测量时间",
    "reference_range": "参考范围",
    "status": "状态",
    "name": "名称",
    "run": "重测号",
    "dilution": "稀释",
    "operator": "操作者",
    "module": "模块",
    "reagent_lot": "试剂批号",
    "calibrator_lot": "校准批号",
    "rack": "架",
    "position": "架位",
    "comments": "备注",
    "qc": "质控",
    "everything": "查询全部",
    "query_id": "查询号",
    "detail": "说明",
    "occurred_at": "发生时间",
    "action": "动作",
    "destination": "去向",
    "parent": "原管",
    "volume_ul": "体积 µL",
    "reason": "原因",
    "text": "原文",
    "specimens": "样本",
    "specimen": "样本",
    "code": "项目",
    "value": "值",
    "unit": "单位",
    "flags": "标志",
    "kind": "种类",
    "point": "测点",
    "read_at": "读取时间",
    "record": "记录号",
    "attachments": "附件",
}
_LEFT_OUT = ("kind", "record", "attachments", "context")
_SHOWN_APART = ("specimen", "code", "value", "unit", "flags")
_MOST_ROWS = 60
_MOST_BYTES = 16 * 1024


def kind(t: Words, item: Mapping[str, Any]) -> str:
    return t(_KINDS.get(str(item.get("kind")), str(item.get("kind"))))


def field_name(t: Words, key: str) -> str:
    """English has the fields by their own names."""
    return _FIELDS.get(key, key) if t.language == "zh" else key


def state_of(t: Words, message: Message) -> Html:
    text, tone = _STATES.get(message.state, (str(message.state), "warn"))
    return badge(t(text), tone)


def brief(t: Words, message: Message) -> str:
    """One line: the first items of a message."""
    if not message.items:
        return t.reason(message.reason or "")
    told = [_told(t, item_to_json(each)) for each in message.items[:3]]
    more = len(message.items) - len(told)
    return "; ".join(told) + (" " + t("…共 {n} 项", n=len(message.items)) if more else "")


def _told(t: Words, item: Mapping[str, Any]) -> str:
    specimens = " ".join(str(each) for each in item.get("specimens", ()))
    parts = [item.get("specimen") or specimens, item.get("code") or item.get("name") or item.get("point")]
    parts += [item.get("value"), item.get("unit"), item.get("action"), item.get("reason")]
    return " ".join([kind(t, item), *(str(each) for each in parts if each)])


def as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return " ".join(f"{key}={as_text(each)}" for key, each in value.items())
    return " ".join(as_text(each) for each in value) if isinstance(value, list | tuple) else str(value)


def message_rows(t: Words, message: Message) -> Html:
    """The items of a stored message."""
    items = [item_to_json(each) for each in message.items]
    return _rows(t, [(each, None, None) for each in items])


def line_rows(t: Words, lines: Sequence[Line]) -> Html:
    """The items of a replay, each with its driver and its own bytes."""
    return _rows(t, [(each.item, each.driver, each.source) for each in lines])


def _rows(t: Words, items: Sequence[tuple[Mapping[str, Any], str | None, bytes | None]]) -> Html:
    heads = [t("种类"), t("样本"), t("项目"), t("值"), t("其他")]
    rows: list[list[Part]] = []
    for item, driver, source in items[:_MOST_ROWS]:
        also = [
            f"{field_name(t, key)}: {as_text(each)}"
            for key, each in item.items()
            if key not in (*_LEFT_OUT, *_SHOWN_APART)
            if each
        ]
        code = as_text(item.get("code") or item.get("name") or item.get("point"))
        specimen = as_text(item.get("specimen") or item.get("specimens"))
        value = " ".join(filter(None, (as_text(item.get(key)) for key in ("value", "unit", "flags"))))
        shown = el("code", named_lines(source[:1000]), class_="bytes") if source else None
        rows.append([kind(t, item), specimen, code, value, join(driver, " " if driver else "", "; ".join(also), shown)])
    more = len(items) - _MOST_ROWS
    rest = el("p", t("还有 {n} 项，请用命令行查看全部", n=more)) if more > 0 else None
    return join(table(heads, rows, class_="items") if rows else el("p", t("没有解出任何内容")), rest)


def raw_block(t: Words, raw: bytes) -> Html:
    """Bytes with control characters named; the hexadecimal form beside it is shown by the page's toggle."""
    cut = raw[:_MOST_BYTES]
    note = el("p", t("只显示前 {n} 字节", n=_MOST_BYTES)) if len(raw) > len(cut) else None
    return join(el("pre", named_lines(cut), class_="bytes as-text"), el("pre", hexed(cut), class_="bytes as-hex"), note)


def difference_rows(t: Words, found: Sequence[Difference]) -> Html:
    rows: list[list[Part]] = []
    for each in found:
        item = each.now or each.before or {}
        about = " ".join(filter(None, (kind(t, item), as_text(item.get("specimen")), as_text(item.get("code")))))
        if each.fields:
            rows += [
                [about, field_name(t, key), as_text(before), as_text(now)] for key, (before, now) in each.fields.items()
            ]
        else:
            rows.append([about, "", _brief(t, each.before), _brief(t, each.now)])
    return table([t("项"), t("字段"), t("原来"), t("现在")], rows, class_="items")


def _brief(t: Words, item: Mapping[str, Any] | None) -> str:
    if item is None:
        return "—"
    return " ".join(
        f"{field_name(t, key)}={as_text(each)}" for key, each in item.items() if each and key not in _LEFT_OUT
    )
