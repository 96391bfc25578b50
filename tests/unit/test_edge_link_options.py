"""A link's options and its folder in the box's configuration: wrong ones are named with their line and their cure."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from edge.config import FileDrop
from edge.config_file import load, missing_files
from edge.errors import ConfigError
from edge.interpreter import Interpreter
from protocols.driver import Driver, discover
from protocols.errors import DriverOptionError

HEAD = """\
[gateway]
id = "gw-1"
campus = "main"
partition = 0
[store]
path = "box.db"
[cloud]
host = "broker.hospital"
"""
DROP = """\
[[links]]
id = "facs"
driver = "{driver}"
port = {{ kind = "file_drop", folder = "{folder}"{more} }}
"""
OPTIONS = (
    "acknowledge", "acknowledges", "bcc", "codes", "columns", "continuous", "date_label", "date_order", "decimal_comma",
    "delimiter", "encoding", "ending", "format", "framing", "header", "idle_s", "model", "no_order", "no_value",
    "qc_values", "results", "row", "sample_id", "skip", "specimen_label", "time_label", "units", "unheard_of",
)  # fmt: skip
FIRST = len(HEAD.splitlines()) + 1


def drop(driver: str = "bd_facscalibur", folder: str = "out", more: str = "") -> str:
    return HEAD + DROP.format(driver=driver, folder=folder, more=more)


def mistakes(folder: Path, text: str) -> list[tuple[int, str, str]]:
    (folder / "box.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load(folder / "box.toml")
    return [(each.line, each.what, each.cure) for each in refused.value.mistakes]


@pytest.mark.req("GW-5")
def test_a_folder_is_taken_from_the_configurations_own_folder_with_defaults_that_are_safe(tmp_path: Path) -> None:
    (tmp_path / "box.toml").write_text(drop(), encoding="utf-8")
    port = load(tmp_path / "box.toml").links[0].port
    assert isinstance(port, FileDrop)
    assert port.folder == tmp_path / "out"
    assert (port.pattern, port.encoding, port.end_mark, port.end_text) == ("*", None, None, None)
    assert port.settle_s > 0


@pytest.mark.req("GW-5")
def test_options_reach_the_link_as_they_stand_in_the_file(tmp_path: Path) -> None:
    more = '[links.options]\ncolumns = { specimen = "No", code = "Test", value = "Result" }\ndecimal_comma = true\n'
    (tmp_path / "box.toml").write_text(drop("generic_file") + more, encoding="utf-8")
    options = load(tmp_path / "box.toml").links[0].options
    assert options == {"columns": {"specimen": "No", "code": "Test", "value": "Result"}, "decimal_comma": True}


@pytest.mark.req("GW-5")
@pytest.mark.parametrize(
    ("driver", "options", "line", "what", "cure"),
    [
        ("generic_file", 'colums = { code = "a" }', FIRST + 5, "`colums`", "columns"),
        ("generic_file", 'columns = { specimen = "a", code = "b" }', FIRST + 5, "value not named", "name the column"),
        ("generic_file", "skip = -1", FIRST + 5, "`skip`: not taken: -1", "how many lines"),
        ("generic_file", 'decimal_comma = "yes"', FIRST + 5, "`decimal_comma`", "true or false"),
        ("generic_file", 'date_order = "american"', FIRST + 5, "`date_order`", '"mdy"'),
        ("bd_facscalibur", 'anything = "x"', FIRST + 5, "`anything`", ""),
    ],
)
def test_an_option_that_the_driver_does_not_take_is_named_with_its_line_and_its_cure(
    tmp_path: Path, driver: str, options: str, line: int, what: str, cure: str
) -> None:
    ((at, said, how),) = mistakes(tmp_path, drop(driver) + "[links.options]\n" + options + "\n")
    assert (at, what in said, cure in how) == (line, True, True), (at, said, how)


@pytest.mark.req("GW-5")
@pytest.mark.parametrize("driver", sorted(discover().values(), key=lambda each: each.id), ids=lambda each: each.id)
@pytest.mark.parametrize("value", [["a"], {"a": 1}, [[{}]], 3, -1.5, True, "", "\x00", date(2026, 1, 2)], ids=repr)
def test_whatever_toml_holds_a_driver_takes_an_option_or_says_what_it_wants(driver: Driver, value: object) -> None:
    for key in OPTIONS:
        said = None
        try:
            driver.configured({key: value}).new_link()
        except DriverOptionError as error:
            said = error
        assert said is None or (said.what and said.cure), key


@pytest.mark.req("GW-5")
def test_options_need_a_driver_that_is_named(tmp_path: Path) -> None:
    link = '[[links]]\nid = "a"\ndriver = "auto"\nport = { kind = "tcp_listen", port = 5001 }\n'
    ((at, said, how),) = mistakes(tmp_path, HEAD + link + '[links.options]\ndelimiter = ";"\n')
    assert at in (FIRST + 4, FIRST + 5)
    assert "options" in said
    assert "name the driver" in how


@pytest.mark.req("GW-5")
@pytest.mark.parametrize(
    ("text", "what", "cure"),
    [
        (drop("sysmex_xn"), "'sysmex_xn' reads a line, not a folder", "another driver"),
        (drop("auto"), 'a folder with driver = "auto"', "generic_file"),
        (drop(more=', encoding = "klingon"'), "`encoding`", ""),
        (drop(more=", settle_s = -1"), "`settle_s`", ""),
        (
            HEAD + '[[links]]\nid = "a"\ndriver = "bd_facscalibur"\nport = { kind = "tcp_listen", port = 5001 }\n',
            "'bd_facscalibur' reads a folder",
            "another driver",
        ),
    ],
)
def test_folders_are_for_drivers_of_files_and_lines_for_the_others(
    tmp_path: Path, text: str, what: str, cure: str
) -> None:
    ((at, said, how),) = mistakes(tmp_path, text)
    assert at in (FIRST + 2, FIRST + 3)
    assert what in said, said
    assert cure in how, how


@pytest.mark.req("GW-5")
def test_two_links_do_not_share_a_folder(tmp_path: Path) -> None:
    second = DROP.format(driver="generic_file", folder="./out", more="").replace('"facs"', '"other"')
    ((at, said, _),) = mistakes(tmp_path, drop() + second)
    assert at == FIRST + 7
    assert "the same port as link 'facs'" in said


@pytest.mark.req("GW-5")
def test_the_check_says_that_a_folder_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "box.toml"
    file.write_text(drop(), encoding="utf-8")
    ((mistake),) = missing_files(load(file), file)
    assert mistake.line == FIRST + 3
    assert "there is no folder" in mistake.what
    (tmp_path / "out").mkdir()
    assert missing_files(load(file), file) == []


@pytest.mark.req("GW-7")
@pytest.mark.parametrize(
    ("driver", "wrong"),
    [
        ("abbott_architect", ""),
        ("sysmex_xn", "cannot tell its instrument an order that it did not ask for"),
        ("auto", 'with driver = "auto"'),
    ],
)
def test_orders_are_pushed_only_to_instruments_whose_driver_has_words_for_it(
    tmp_path: Path, driver: str, wrong: str
) -> None:
    file = tmp_path / "box.toml"
    file.write_text(
        f'{HEAD}[[links]]\nid = "a"\ndriver = "{driver}"\nport = {{ kind = "tcp_listen", port = 5001 }}\n'
        'orders = "download"\nask_cloud_s = 2\n',
        encoding="utf-8",
    )
    if not wrong:
        [link] = load(file).links
        assert (link.orders, link.ask_cloud_s) == ("download", 2)
        return
    with pytest.raises(ConfigError) as refused:
        load(file)
    [mistake] = refused.value.mistakes
    assert mistake.line == FIRST + 4
    assert wrong in mistake.what


@pytest.mark.req("GW-5", "GW-9")
def test_a_link_with_options_reads_each_message_at_once_for_nobody_knows_its_options_later() -> None:
    result = b"H|\\^&|||XN-10^00\rP|1\rO|1||1^1^2601^B|^^^^WBC\rR|1|^^^^WBC^1|6.52|10*3/uL||N||F\rL|1|N\r"
    plain = Interpreter("automation_astm")
    assert plain.hear(result).decoded is None
    configured = Interpreter(
        "automation_astm",
        {"record": "M", "fields": {"event": "M.3", "specimen": "O.3.1"}, "actions": {"IN": "arrived"}},
    )
    assert configured.hear(result).decoded is not None
