"""A box's configuration: every mistake is named with its line and its cure."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.__main__ import app
from edge.config import SerialLine, TcpListen
from edge.config_file import load
from edge.errors import ConfigError
from edge.toml_lines import Lines

GOOD = """\
[gateway]
id = "gw-1"
campus = "main"
partition = 0

[store]
path = "box.db"

[cloud]
host = "broker.hospital"

[[links]]
id = "xn"
driver = "sysmex_xn"
port = { kind = "tcp_listen", port = 5001 }

[[links]]
id = "bs"
driver = "auto"
[links.port]
kind = "serial"
device = "/dev/ttyUSB0"
parity = "even"
"""


def mistakes_in(folder: Path, text: str) -> list[tuple[int, str, str]]:
    file = folder / "box.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load(file, ["sysmex_xn", "mindray_bs"])
    return [(each.line, each.what, each.cure) for each in refused.value.mistakes]


def only_mistake(folder: Path, text: str) -> tuple[int, str, str]:
    found = mistakes_in(folder, text)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.req("GW-1")
def test_a_good_file_is_loaded_with_paths_taken_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "box.toml").write_text(GOOD, encoding="utf-8")
    box = load(tmp_path / "box.toml", ["sysmex_xn"])
    assert box.store.path == tmp_path / "box.db"
    assert isinstance(box.links[0].port, TcpListen)
    assert isinstance(box.links[1].port, SerialLine)
    assert box.links[1].port.parity == "even"


def test_an_unknown_key_is_named_with_what_was_probably_meant(tmp_path: Path) -> None:
    line, what, cure = only_mistake(tmp_path, GOOD.replace('driver = "auto"', 'driver = "auto"\ntimezon = "UTC"'))
    assert (line, what) == (20, "unknown key `timezon`")
    assert "did you mean `timezone`" in cure


def test_an_unknown_key_inside_an_inline_port_is_found_on_its_line(tmp_path: Path) -> None:
    found = mistakes_in(tmp_path, GOOD.replace("port = 5001", "prot = 5001"))
    assert [each[0] for each in found] == [15, 15]
    assert any("unknown key `prot`" in what and "did you mean `port`" in cure for _, what, cure in found)


def test_a_wrong_type_says_what_to_write(tmp_path: Path) -> None:
    line, what, cure = only_mistake(tmp_path, GOOD.replace("partition = 0", 'partition = "0"'))
    assert (line, what, cure) == (4, "`partition` has the wrong type: '0'", "write a whole number without quotes")


def test_an_unknown_driver_is_answered_with_the_drivers_there_are(tmp_path: Path) -> None:
    line, what, cure = only_mistake(tmp_path, GOOD.replace("sysmex_xn", "sysmex_nx"))
    assert (line, what) == (14, "unknown driver 'sysmex_nx'")
    assert "did you mean `sysmex_xn`" in cure
    assert "mindray_bs" in cure


def test_a_link_id_given_twice_names_both_lines(tmp_path: Path) -> None:
    line, what, _ = only_mistake(tmp_path, GOOD.replace('id = "bs"', 'id = "xn"'))
    assert line == 18
    assert "given twice (first in line 13)" in what


@pytest.mark.parametrize(
    ("host", "clashes"), [("127.0.0.1", True), ("0.0.0.0", True)], ids=["one address of all", "all addresses"]
)
def test_two_links_on_one_tcp_port_are_refused(tmp_path: Path, host: str, clashes: bool) -> None:
    more = f'[[links]]\nid = "c"\ndriver = "auto"\nport = {{ kind = "tcp_listen", host = "{host}", port = 5001 }}\n'
    line, what, _ = only_mistake(tmp_path, GOOD + more)
    assert line == 27
    assert "same port as link 'xn'" in what


def test_two_links_may_use_one_port_number_on_two_addresses(tmp_path: Path) -> None:
    links = "".join(
        f'[[links]]\nid = "c{n}"\ndriver = "auto"\nport = {{ kind = "tcp_listen", host = "10.0.0.{n}", port = 6001 }}\n'
        for n in (1, 2)
    )
    (tmp_path / "box.toml").write_text(GOOD + links, encoding="utf-8")
    assert len(load(tmp_path / "box.toml", ["sysmex_xn"]).links) == 4


def test_one_serial_device_under_two_names_is_seen(tmp_path: Path) -> None:
    (tmp_path / "ttyA").symlink_to("/dev/ttyUSB0")
    more = f'[[links]]\nid = "c"\ndriver = "auto"\nport = {{ kind = "serial", device = "{tmp_path}/ttyA" }}\n'
    _, what, _ = only_mistake(tmp_path, GOOD + more)
    assert "same port as link 'bs'" in what


def test_a_missing_section_and_a_missing_key_are_told_apart(tmp_path: Path) -> None:
    found = mistakes_in(tmp_path, GOOD.replace('[store]\npath = "box.db"\n', "").replace('campus = "main"\n', ""))
    assert (1, "the section [store] is missing") in [each[:2] for each in found]
    assert (1, "`campus` is missing") in [each[:2] for each in found]


def test_a_file_without_links_says_so(tmp_path: Path) -> None:
    _, what, cure = only_mistake(tmp_path, GOOD[: GOOD.index("[[links]]")])
    assert what == "the section [[links]] is missing"
    assert "one [[links]] for each instrument" in cure


def test_an_unknown_kind_of_port_lists_the_kinds(tmp_path: Path) -> None:
    line, what, cure = only_mistake(tmp_path, GOOD.replace('kind = "serial"', 'kind = "serail"'))
    assert (line, what) == (21, "`kind`: unknown port 'serail'")
    assert "did you mean `serial`" in cure


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    line, what, _ = only_mistake(tmp_path, GOOD.replace('id = "xn"', "id = xn"))
    assert line == 13
    assert what.startswith("not TOML")


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("partition = 0", "partition = 999").replace("sysmex_xn", "nobody").replace("even", "E")
    assert [each[0] for each in mistakes_in(tmp_path, text)] == [4, 14, 23]


def test_check_prints_each_mistake_with_file_and_line_and_exits_1(tmp_path: Path) -> None:
    file = tmp_path / "box.toml"
    file.write_text(GOOD.replace("campus", "campas"), encoding="utf-8")
    shown = CliRunner().invoke(app, ["check", str(file)])
    assert shown.exit_code == 1
    assert f"{file}:3: unknown key `campas` — did you mean `campus`?" in shown.stdout


def test_check_of_a_good_file_sums_it_up_and_exits_0(tmp_path: Path) -> None:
    file = tmp_path / "box.toml"
    file.write_text(GOOD, encoding="utf-8")
    shown = CliRunner().invoke(app, ["check", str(file)])
    assert shown.exit_code == 0
    assert "xn: driver sysmex_xn, kind tcp_listen, port 5001" in shown.stdout


def test_check_names_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "box.toml"
    file.write_text(GOOD.replace('hospital"', 'hospital"\nca_file = "ca.pem"'), encoding="utf-8")
    shown = CliRunner().invoke(app, ["check", str(file)])
    assert shown.exit_code == 1
    assert f"{file}:11: `ca_file`: there is no file {tmp_path}/ca.pem" in shown.stdout


def test_check_of_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["check", str(tmp_path / "none.toml")])
    assert shown.exit_code == 1
    assert "No such file" in shown.stdout


def test_lines_are_right_behind_multi_line_values_and_comments() -> None:
    text = (
        '# one\na = """\n[b]\nc = 1\n"""  # text\n\n[t."x y"] # here\nlist = [\n  "]", # ]\n  2,\n]\nlast.one = \'#\'\n'
    )
    lines = Lines(text)
    assert lines.of(("a",)) == 2
    assert lines.of(("t", "x y")) == 7
    assert lines.of(("t", "x y", "list", 1)) == 8
    assert lines.of(("t", "x y", "last", "one")) == 12
