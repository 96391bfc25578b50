"""A peer's plain parse, timed in a process of its own: ``PYTHON protocols_peer.py PEER``; nothing of ours is imported.

Reads lines ``FILE TIMES`` and answers with the processor's seconds that so many parses of the file took, or
``! reason``. The file holds one message without frames and checksums: those a peer is spared.
"""

import sys
import time


def labmcp_astm_lis():
    from labmcp_astm_lis.driver import parse_message

    def parse(payload):
        records = payload.decode("latin-1").split("\r")[:-1]
        found = parse_message(records, message_id=1, received_at="", source="", complete=True, redacted=False)
        return len(found.results)

    return parse


def astm_2025():
    from astm import codec

    def parse(payload):
        _, records = codec.decode_frame(payload, "latin-1")
        return sum(record[0] == "R" for record in records)

    return parse


def python_hl7():
    import hl7

    def parse(payload):
        message = hl7.parse(payload.decode("utf-8"))
        segments = message.segments("OBX")
        return len([[str(o[number]) for number in (3, 5, 6, 8) if number < len(o)] for o in segments])

    return parse


def hl7apy():
    from hl7apy.parser import parse_message

    def parse(payload):
        message = parse_message(payload.decode("utf-8"), find_groups=False)
        return len([[field.to_er7() for field in (o.obx_3, o.obx_5, o.obx_6, o.obx_8)] for o in message.obx])

    return parse


def hl7lw():
    from hl7lw import Hl7Parser

    parser = Hl7Parser()

    def parse(payload):
        segments = parser.parse_message(payload, "utf-8").get_segments("OBX")
        return len([(o[3], o[5], o[6], o[8]) for o in segments])

    return parse


def medforge():
    from medforge import parse as read

    def parse(payload):
        segments = read(payload.decode("utf-8")).segments_by_name("OBX")
        return len([[o.field(number).value for number in (3, 5, 6, 8) if number <= len(o)] for o in segments])

    return parse


PEERS = {
    "labmcp-astm-lis": labmcp_astm_lis,
    "astm-2025": astm_2025,
    "hl7": python_hl7,
    "hl7apy": hl7apy,
    "hl7lw": hl7lw,
    "medforge": medforge,
}


def main():
    try:
        parse = PEERS[sys.argv[1]]()
    except Exception as error:
        print(f"! {type(error).__name__}: {error}", flush=True)
        return
    print("ready", flush=True)
    for line in sys.stdin:
        file, times = line.rsplit(" ", 1)
        with open(file, "rb") as opened:
            payload = opened.read()
        try:
            if not parse(payload):
                raise ValueError("it found no result")
            started = time.process_time()
            for _ in range(int(times)):
                parse(payload)
            print(time.process_time() - started, flush=True)
        except Exception as error:
            print(f"! {type(error).__name__}: {str(error)[:100]}".replace("\n", " "), flush=True)


main()
