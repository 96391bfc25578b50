"""What the pages say: written in Chinese where they are said, in English on request, and the box's reasons in Chinese.

The code gives its reasons in English (they stand in logs and go to the cloud); the page says the known ones in Chinese
and shows the others as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

LANGUAGES = ("zh", "en")


@dataclass(frozen=True, slots=True)
class Words:
    """`t("第 {n} 条", n=3)`; `language` is one of LANGUAGES."""

    language: str = "zh"

    def __call__(self, sentence: str, /, **places: object) -> str:
        said = sentence if self.language == "zh" else _english().get(sentence, sentence)
        return said.format(**places) if places else said

    def reason(self, text: Any) -> str:
        """Why something is so, as the code says it in English."""
        said = str(text or "")
        if self.language != "zh":
            return said
        return _chinese(said)


@cache
def _english() -> dict[str, str]:
    from edge.console.english import ENGLISH  # only where somebody reads it

    return ENGLISH


_REASONS: tuple[tuple[str, str], ...] = (
    (r"not yet tried", "还没有试过"),
    (r"no answer", "没有回答"),
    (r"nothing listens at (\S+)", r"\1 上没有服务"),
    (r"Connect call failed .*", "连不上：对方没有在听"),
    (r"Connection refused", "对方拒绝连接"),
    (r"Connection reset by peer", "对方断开了连接"),
    (r"Connection timed out|timed out", "连接超时"),
    (r"No route to host", "到对方没有路由"),
    (r"Network is unreachable", "网络不通"),
    (r"Name or service not known|Temporary failure in name resolution", "找不到这个名字"),
    (r"Address already in use", "端口已被占用"),
    (r"Permission denied", "没有权限"),
    (r"No such file or directory", "没有这个文件或设备"),
    (r"the instrument closed the connection", "仪器关闭了连接"),
    (r"replaced by a new connection", "被新的连接取代"),
    (r"the box begins this line again", "本盒重新开始了这条线"),
    (r"the box could not keep its end", "本盒没能存下它的结尾"),
    (r"the box stops", "本盒正在停止"),
    (r"the line is (?:full|busy).*", "线路忙"),
    (r"on the wire: (.*)", r"线上的问题：\1"),
    (r"the disk is full", "磁盘满了"),
    (r"the store is full", "存储满了"),
    (r"(\S+:\d+) does not answer", r"\1 没有回答"),
    (r"the broker says that the box's certificate has expired", "代理服务器说本盒的证书已过期"),
    (r"the broker says that the box's certificate is revoked", "代理服务器说本盒的证书已吊销"),
    (r"the broker does not know the authority that signed the box's certificate", "代理服务器不认识签发本盒证书的机构"),
    (r"the broker wants a certificate of the box.*", "代理服务器要本盒的证书：设置 certificate_file 和 key_file"),
    (r"the broker does not accept the box's certificate", "代理服务器不接受本盒的证书"),
    (r"what answers there does not speak TLS.*", "对方不说 TLS：端口对吗？"),
    (r"certificate_file and key_file do not belong together", "certificate_file 和 key_file 不是一对"),
    (r"(.*); the box's certificate ran out on (.*)", r"\1；本盒的证书已于 \2 到期"),
    (r"the clock says (\S+), and it was (\S+) before", r"时钟是 \1，而之前已经到过 \2"),
    (r"the clock says (\S+), and what is known last is of (\S+)", r"时钟是 \1，而最后确知的时间是 \2"),
    (r"the connection closed", "连接断了"),
    (r"message longer than the limit", "消息超过长度上限"),
    (r"the driver failed: (.*)", r"驱动出错：\1"),
    (r"the box's stored copy is damaged: decode again from the raw bytes", "盒里的解码副本坏了：请从原始字节重新解码"),
    (r"the box's stored raw bytes are damaged", "盒里的原始字节坏了"),
    (r"read again from the raw bytes: the box's stored copy was damaged", "解码副本坏了，已从原始字节重新解码"),
    (r"added: (.*)", r"新增：\1"),
    (r"changed: (.*)", r"改动：\1"),
    (r"removed: (.*)", r"去掉：\1"),
    (r"not touched: (.*)", r"不动：\1"),
    (r"taken at once: (.*)", r"立即生效：\1"),
    (r"in force only after the box is started again: (.*)", r"重启本盒后才生效：\1"),
    (r"it changes nothing", "什么都不变"),
    (r"configuration (\d+) is in force", r"第 \1 号配置已生效"),
    (r"configuration (\d+) is not kept", r"第 \1 号配置已不在盒里"),
    (r"configuration (\d+) was taken back: (.*)", r"第 \1 号配置已退回：\2"),
    (r"it was changed since it was looked at: look again", "看过之后又改了：请再看一次"),
    (r"the daemon ended before the health window had passed", "试用期没过，程序就停了"),
    (r"forced: (.*)", r"强制：\1"),
    (
        r"(\S+): (\d+) of the last (\d+) messages decode \((\d+) items\), before (\d+) \((\d+) items\)",
        r"\1：最近 \3 条消息能解码 \2 条（\4 项），之前 \5 条（\6 项）",
    ),
    (r"neither ASTM, HL7 nor any other protocol that is known", "不是 ASTM、HL7，也不是其他已知协议"),
)
_PATTERNS = [(re.compile(rf"(?:\[Errno -?\d+\] )?(?:{pattern})"), said) for pattern, said in _REASONS]


def _chinese(reason: str) -> str:
    for pattern, said in _PATTERNS:
        match = pattern.fullmatch(reason)
        if match is not None:
            return match.expand(said)
    return reason
