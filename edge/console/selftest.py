"""What an engineer asks of a box before leaving it: each check with its finding and, where it is not good, its cure.

Nothing here reaches an instrument or the cloud's tables. The write test is a row of the box's own in the real store,
committed like a frame and read back; the loopback is a virtual instrument through link, interpreter and driver.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from edge.config import SerialLine
from edge.console.box import Box
from edge.errors import StoreError
from edge.interpreter import interpreter_of
from edge.store.ledger import Ledger
from protocols.links.contract import FrameReceived, LinkEvent, MessageReceived
from protocols.model import Observation
from protocols.uplink.envelope import MessageState

_BROKER_S = 5.0
_WRITES = 5
_SLOW_SYNC_MS = 50.0
_LOW_BYTES = 512 * 1024 * 1024
_CERTIFICATE_DAYS = 30


class Outcome(StrEnum):
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """`finding` and `cure` are sentences of `edge.console.texts`, `facts` what stands in their places."""

    name: str
    outcome: Outcome
    finding: str
    cure: str = ""
    link: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


async def checks(box: Box) -> list[Check]:
    """All of them, also when one fails for a fault of ours."""
    found: list[Check] = []
    for name, each in _CHECKS:
        try:
            found += await each(box)
        except Exception as fault:  # outer loop around checks: one that fails is a finding
            found.append(Check(name, Outcome.BAD, "检查本身出错：{fault}", facts={"fault": type(fault).__name__}))
    return found


async def _store(box: Box) -> list[Check]:
    """Time from asking until the commit is on the disk, and the row read back."""
    loop = asyncio.get_running_loop()
    mark, times_ms = secrets.token_hex(8), []
    for _ in range(_WRITES):
        began = loop.time()
        try:
            await _written(box, mark)
        except StoreError as error:
            cure = "腾出磁盘空间，或更换磁盘；仪器此时得到的是“忙”，结果留在仪器里"
            return [Check("写入存储", Outcome.BAD, "写不进去：{reason}", cure, facts={"reason": str(error)})]
        times_ms.append((loop.time() - began) * 1000)
    read = await box.read(lambda reader: reader.value("self_test"))
    if read != mark:
        return [Check("写入存储", Outcome.BAD, "读回的和写入的不一样", "更换磁盘，并联系维护人员")]
    middle = sorted(times_ms)[_WRITES // 2]
    facts = {"ms": f"{middle:.1f}", "most": f"{max(times_ms):.1f}"}
    slow = middle > _SLOW_SYNC_MS
    return [
        Check("写入存储", Outcome.GOOD, "已写入、提交并读回"),
        Check(
            "磁盘落盘时间",
            Outcome.WARN if slow else Outcome.GOOD,
            "中位 {ms} 毫秒，最长 {most} 毫秒",
            "磁盘慢：换成工业级固态盘，别用存储卡" if slow else "",
            facts=facts,
        ),
    ]


async def _written(box: Box, mark: str) -> None:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[None] = loop.create_future()

    def work(ledger: Ledger) -> None:
        ledger.connection.execute("INSERT OR REPLACE INTO box VALUES ('self_test', ?)", [mark])

    def done(_value: object, error: StoreError | None) -> None:
        if waiting.done():
            return
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)

    box.store.submit(work, done)
    async with asyncio.timeout(30):
        await waiting


async def _room(box: Box) -> list[Check]:
    free = box.store.bytes_free()
    facts = {"megabytes": free // (1024 * 1024)}
    if free < _LOW_BYTES:
        return [
            Check("磁盘空间", Outcome.WARN, "剩余 {megabytes} MB", "清理磁盘，或加大 store.max_megabytes", facts=facts)
        ]
    return [Check("磁盘空间", Outcome.GOOD, "剩余 {megabytes} MB", facts=facts)]


_ASTM = (
    b"H|\\^&|||SELFTEST||||||||E1394-97\rP|1\rO|1|SELFTEST||^^^WBC\rR|1|^^^WBC|6.52|10*9/L||N||F\rL|1|N\r",
    "generic_astm",
)
_HL7 = (
    b"MSH|^~\\&|SELFTEST|BOX|||20261123080000||ORU^R01|1|P|2.3.1\rPID|1\rOBR|1|SELFTEST|1|X\r"
    b"OBX|1|NM|WBC||6.52|10*9/L|||||F\r",
    "generic_hl7",
)


async def _loopback(box: Box) -> list[Check]:
    """Result of a virtual instrument, frame by frame through a real link, acknowledged, decoded."""
    return [_looped("ASTM", *_ASTM), _looped("HL7", *_HL7)]


def _looped(family: str, text: bytes, driver: str) -> Check:
    name = "回环解码"
    interpreter = interpreter_of(driver)
    link = interpreter.new_link()
    payloads: list[bytes] = []
    said = b""
    for chunk in _wire(family, text):
        waiting: list[LinkEvent] = link.receive(chunk, 0.0)
        while waiting:
            event = waiting.pop(0)
            if isinstance(event, FrameReceived):
                waiting += link.acknowledge(event.frame_id, 0.0)
            elif isinstance(event, MessageReceived):
                payloads.append(event.payload)
        said += link.bytes_to_send()
    decoded = interpreter.read(payloads[0]).decoded if payloads else None
    values = [each.value for each in decoded.items if isinstance(each, Observation)] if decoded else []
    if values == ["6.52"] and (family != "ASTM" or said.count(b"\x06") == 2):
        return Check(name, Outcome.GOOD, "{family}：虚拟仪器的结果已收到、应答、解码", facts={"family": family})
    return Check(name, Outcome.BAD, "{family}：虚拟仪器的结果没有解出来", "重新安装本软件", facts={"family": family})


def _wire(family: str, text: bytes) -> list[bytes]:
    if family == "HL7":
        return [b"\x0b" + text + b"\x1c\r"]
    body = b"1" + text + b"\x03"
    return [b"\x05", b"\x02%b%02X\r\n" % (body, sum(body) & 0xFF), b"\x04"]


async def _links(box: Box) -> list[Check]:
    found = []
    for section in box.config().links:
        served = box.served.get(section.id)
        if served is None:
            continue
        state, reason = str(served.port.state), served.port.reason
        facts = {"state": state, "reason": reason}
        if state == "open":
            found.append(Check("链路", Outcome.GOOD, "已连接", link=section.id))
        elif state == "listening":
            cure = "在仪器上填写本盒的地址和端口，然后启动联机"
            found.append(Check("链路", Outcome.WARN, "等待仪器连接", cure, section.id))
        elif isinstance(section.port, SerialLine) and (problem := _serial_problem(section.port.device)):
            found.append(Check("链路", Outcome.BAD, *problem, section.id, facts | {"device": str(section.port.device)}))
        else:
            cure = "检查网线、仪器电源、地址和端口；串口服务器：允许两个连接"
            outcome = Outcome.WARN if state == "connecting" else Outcome.BAD
            found.append(Check("链路", outcome, "未连接：{reason}", cure, section.id, facts))
        found += await _newest(box, section.id)
    return found


def _serial_problem(device: Path) -> tuple[str, str] | None:
    if not device.exists():
        return "没有设备 {device}", "插好串口线；用 udev 的固定名称 /dev/xinglin/…，换口也不变"
    if not os.access(device, os.R_OK | os.W_OK):
        return "没有权限打开 {device}", "把运行用户加入 dialout 组"
    return None


async def _newest(box: Box, link: str) -> list[Check]:
    """The newest message, read again from its bytes: does it still say what it said?"""
    message = (await box.newest([link])).get(link)
    if message is None:
        return []
    facts = {"sequence": message.sequence, "reason": message.reason or ""}
    if message.state is MessageState.UNDECODED:
        cure = "抓取这条线，换一个驱动重放；没有合适的驱动就把抓取文件发给维护人员"
        return [Check("最近一条消息", Outcome.WARN, "第 {sequence} 条没有解出来：{reason}", cure, link, facts)]
    if message.state is MessageState.INCOMPLETE:
        return [Check("最近一条消息", Outcome.WARN, "第 {sequence} 条不完整：{reason}", "让仪器重发", link, facts)]
    return [Check("最近一条消息", Outcome.GOOD, "第 {sequence} 条可以解码", link=link, facts=facts)]


async def _broker(box: Box) -> list[Check]:
    cloud = box.config().cloud
    facts: dict[str, Any] = {"place": f"{cloud.host}:{cloud.port}"}
    if box.snapshot().get("cloud", {}).get("connected"):
        return [Check("云端", Outcome.GOOD, "已连接 {place}", facts=facts)]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_BROKER_S):
            await loop.getaddrinfo(cloud.host, cloud.port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        cure = "检查网线和 DNS；仪器照常工作，结果存在盒里"
        return [Check("云端", Outcome.BAD, "找不到 {place} 这个名字", cure, facts=facts)]
    try:
        async with asyncio.timeout(_BROKER_S):
            _, writer = await asyncio.open_connection(cloud.host, cloud.port)
    except (OSError, TimeoutError):
        cure = "让医院信息科放行到这个地址和端口；仪器照常工作，结果存在盒里"
        return [Check("云端", Outcome.BAD, "连不上 {place}", cure, facts=facts)]
    writer.close()
    facts["reason"] = box.snapshot().get("cloud", {}).get("reason", "")
    return [Check("云端", Outcome.WARN, "{place} 可达，但还没有登录：{reason}", "检查证书和网关登记", facts=facts)]


async def _clock(box: Box) -> list[Check]:
    now = box.clock.now()
    if now.sure:
        return [Check("时钟", Outcome.GOOD, "可信")]
    cure = "接通医院的 NTP；结果照收，时间标为不确定，连上云端后自动更正"
    return [Check("时钟", Outcome.WARN, "不可信：{reason}", cure, facts={"reason": box.clock.doubt})]


async def _certificate(box: Box) -> list[Check]:
    days = box.certificate_days()
    if days is None:
        return [Check("证书", Outcome.WARN, "没有证书", "配置 cloud.certificate_file 和 key_file")]
    facts = {"days": days}
    if days < 0:
        return [Check("证书", Outcome.BAD, "已过期 {days} 天", "重新登记本盒", facts={"days": -days})]
    if days < _CERTIFICATE_DAYS:
        return [Check("证书", Outcome.WARN, "还有 {days} 天", "尽快续期", facts=facts)]
    return [Check("证书", Outcome.GOOD, "还有 {days} 天", facts=facts)]


_CHECKS: tuple[tuple[str, Callable[[Box], Awaitable[list[Check]]]], ...] = (
    ("写入存储", _store),
    ("磁盘空间", _room),
    ("回环解码", _loopback),
    ("链路", _links),
    ("云端", _broker),
    ("时钟", _clock),
    ("证书", _certificate),
)
