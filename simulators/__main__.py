"""`python -m simulators COMMAND`: strangers on the wire, each a process of its own, and the demo that starts
everything."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import simulators.analyzers.command as analyzer_command
import simulators.demo.command as demo_command
import simulators.his.command as his_command
import simulators.money.command as money_command
import simulators.payday.command as payday_command
import simulators.rush.command as rush_command
import simulators.sms.service as sms_service
import simulators.wechat.service as wechat_service

Command = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]


def commands() -> dict[str, Command]:
    """Name → (what it is, its arguments, its work)."""
    return {
        "analyzer": ("one analyzer", analyzer_command.add_arguments, analyzer_command.run),
        "his": ("a hospital information system", his_command.add_arguments, his_command.run),
        "wechat": ("WeChat's platform", wechat_service.add_arguments, wechat_service.run),
        "wechat-pay": ("WeChat Pay, v3 and v2", money_command.add_wechat_arguments, money_command.run_wechat),
        "alipay": ("Alipay", money_command.add_alipay_arguments, money_command.run_alipay),
        "sms": ("an SMS gateway", sms_service.add_arguments, sms_service.run),
        "rush": ("a crowd that books the same numbers", rush_command.add_arguments, rush_command.run),
        "money": ("a pay day with accidents, counted", payday_command.add_arguments, payday_command.run),
        "demo": ("the whole hospital on this machine", demo_command.add_arguments, demo_command.run),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="simulators", description=__doc__)
    which = parser.add_subparsers(dest="command", required=True)
    table = commands()
    for name, (help_text, add, _) in table.items():
        add(which.add_parser(name, help=help_text))
    parsed = parser.parse_args(arguments)
    return table[parsed.command][2](parsed)


if __name__ == "__main__":
    sys.exit(main())
