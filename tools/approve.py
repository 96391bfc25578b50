"""Writes what a driver makes of its dialogues: our side's bytes and the items, for a person to read and correct."""

from __future__ import annotations

import json
import sys

from protocols.driver import discover
from tests.support.transcripts import cases_of, read_case, replay


def main(name: str) -> int:
    driver = discover().get(name)
    if driver is None:
        print(f"no driver called {name} was found")
        return 2
    for folder in cases_of(name):
        played = replay(driver, read_case(folder))
        items = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in played.items)
        (folder / "items.jsonl").write_text(items, encoding="utf-8")
        if played.left:
            text = played.left.decode("utf-8").replace("\x0b", "<VT>").replace("\x1c", "<FS>").replace("\r", "<CR>")
            with (folder / "dialogue.txt").open("a", encoding="utf-8") as dialogue:
                dialogue.write(f"host: {text}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
