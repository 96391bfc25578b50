"""`python -m simulators demo`: the hospital on this machine; with `--smoke N` a bounded morning that is counted."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from types import FrameType

from simulators.demo import smoke
from simulators.demo.hospital import PASSWORD, Hospital
from simulators.demo.morning import Morning
from simulators.demo.programs import DidNotStart

VISITOR_ACCOUNTS = (
    "technician", "reviewer", "head", "director", "nurse", "courier", "reception", "infection", "clerk", "engineer",
    "cashier", "outpatient", "finance",
    "executor", "admin",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--smoke", type=int, metavar="N", help="a bounded morning of N tubes, counted; prints one JSON line"
    )
    parser.add_argument("--kill", choices=["cloud", "broker", "edge"], help="kill -9 it in the middle (with --smoke)")
    parser.add_argument("--sabotage", choices=["drop", "double"], help="spoil one observation: must end with 1")
    parser.add_argument("--seed", type=int, default=1, help="another seed is another morning")
    parser.add_argument(
        "--big-hospital",
        type=int,
        metavar="N",
        help="begin with a made-up past of N specimens (without --smoke); 20000 take about two minutes",
    )
    parser.add_argument("--port", type=int, default=8000, help="of the pages (without --smoke; a free one if taken)")
    parser.add_argument(
        "--visits-per-minute", type=float, default=6.0, help="how busy the morning is (without --smoke)"
    )
    parser.add_argument("--release", action="store_true", help="a robot also reviews and releases (without --smoke)")
    parser.add_argument("--wheel-broker", action="store_true", help="the broker from its wheel even where mosquitto is")
    parser.add_argument("--folder", type=Path, help="where everything lies; default: a fresh one")
    parser.add_argument("--keep", action="store_true", help="leave the folder behind")


def run(arguments: argparse.Namespace) -> int:
    if (arguments.kill or arguments.sabotage) and not arguments.smoke:
        print("--kill and --sabotage go with --smoke N", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        if arguments.folder is not None:
            arguments.folder.mkdir(parents=True, exist_ok=True)
            return _play(arguments, arguments.folder)
        folder = Path(tempfile.mkdtemp(prefix="xinglin-"))
        try:
            return _play(arguments, folder)
        finally:
            if not arguments.keep:
                shutil.rmtree(folder, ignore_errors=True)
    except KeyboardInterrupt:
        return 130


def _end(_number: int, _frame: FrameType | None) -> None:
    """The first signal ends the demo in good order; a second one must not disturb that."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _play(arguments: argparse.Namespace, folder: Path) -> int:
    if arguments.smoke:
        spoil = 3 if arguments.sabotage == "drop" else None
        hospital = Hospital(folder, seed=arguments.seed, wheel_broker=arguments.wheel_broker, spoil=spoil)
        return smoke.run(hospital, arguments.smoke, kill=arguments.kill, sabotage=arguments.sabotage)
    hospital = Hospital(
        folder,
        seed=arguments.seed,
        web_port=arguments.port,
        wheel_broker=arguments.wheel_broker,
        past=arguments.big_hospital or 0,
        clinic_days=21,
    )
    morning = Morning(hospital, arguments.visits_per_minute, release=arguments.release)
    try:
        _say("starting: database, broker, cloud, box, analyzers, HIS, WeChat, WeChat Pay, Alipay, SMS ...")
        hospital.start()
        morning.open()
        _welcome(hospital, morning)
        morning.watch()
    except DidNotStart as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        morning.stopping.set()
        _say("ending what was started ...")
        hospital.stop()
    return 0


def _say(text: str) -> None:
    print(f"{datetime.now().astimezone():%H:%M:%S} {text}", flush=True)


def _welcome(hospital: Hospital, morning: Morning) -> None:
    patients = "\n".join(
        f"    {each['name']}  {each['id_number']}  {each['phone']}" for each in morning.first_patients(3)
    )
    accounts = "\n".join(f"    {login:<12} {PASSWORD}" for login in VISITOR_ACCOUNTS)
    print(
        f"""
  检验科工作站  staff pages      {hospital.web_url}/staff
{accounts}

  患者手机      patients' phone  {hospital.web_url}/p
  微信模拟器    WeChat           {hospital.wechat_url}/   (choose whose phone you hold; messages with their links)
  微信支付模拟  WeChat Pay       {hospital.wechat_pay_url}/   (orders and refunds; the pay page leads to its cashier)
  支付宝模拟    Alipay           {hospital.alipay_url}/
  短信模拟器    SMS              {hospital.sms_url}/      (codes arrive here)
  患者          to bind a phone: name, identity number, phone on the hospital's file
{patients}
  手机走一遍    on the phone     open the patients' phone, choose a WeChat person, bind one of these patients (the code
                                 arrives at SMS), book an expert, tap 确认支付 on the cashier's page; cancel: the
                                 refund arrives under 交易记录. As outpatient stop a session: 出诊安排.
  HIS           MLLP             127.0.0.1:{hospital.ports.his_in}; its counters {hospital.his_control_url}/stand
  logs, ledgers                  {hospital.folder}

  A morning plays by itself: orders arrive, tubes are drawn and received, analyzers run. Review and release are yours
  (`--release` lets a robot do it). Ctrl-C ends everything.
""",
        flush=True,
    )
