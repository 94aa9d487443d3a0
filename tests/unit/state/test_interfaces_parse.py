"""Lines, stanzas and includes, against what ifupdown's config.c does."""

from __future__ import annotations

import pytest

from providers.state.interfaces import (
    MAIN,
    InterfacesError,
    SourcePattern,
    decode,
    encode,
    read_tree,
    source_patterns,
)
from providers.state.interfaces.lines import logical_lines
from providers.state.interfaces.parse import Interfaces


def texts(text: str) -> list[str]:
    return [line.text for line in logical_lines("f", text)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "auto lo",
        "auto lo\r\n\r\n",
        "a \\\n b \\\n\tc\n",
        "# c \\\nauto lo\n",
        "\\\n",
        "x \\",
        "x\f\v y \u00a0z\u2028\n",
        "iface a inet dhcp\n\thostname \udcff\n",
    ],
)
def test_no_byte_is_lost(text: str) -> None:
    assert "".join(line.raw for line in logical_lines("f", text)) == text


def test_bytes_that_are_no_utf8_come_back() -> None:
    data = bytes(range(256))
    assert encode(decode(data)) == data


def test_a_backslash_joins_lines_without_a_blank() -> None:
    assert texts("address 192.0.2.\\\n10\n") == ["address 192.0.2.10"]


def test_a_backslash_before_a_carriage_return_joins_nothing() -> None:
    assert texts("address \\\r\n192.0.2.10\r\n") == ["address \\", "192.0.2.10"]


def test_a_comment_is_not_continued() -> None:
    assert texts("# gateway \\\nauto lo\n") == ["", "auto lo"]


def test_a_comment_in_a_continuation_is_part_of_the_value() -> None:
    assert texts("up true \\\n# not a comment\n") == ["up true # not a comment"]


def test_only_blanks_of_the_c_locale_separate_words() -> None:
    (line,) = logical_lines("f", "auto eth0\u00a0eth1\x0beth2\n")
    assert line.words == ("auto", "eth0\u00a0eth1", "eth2")


def test_line_numbers_count_physical_lines() -> None:
    assert [line.number for line in logical_lines("f", "a \\\nb\n\nc\n")] == [1, 3, 4]


def test_bare_class_words_stay_in_the_stanza_and_others_end_it() -> None:
    net = Interfaces(
        {MAIN: "iface eth0 inet manual\n  auto\n  mtu 1500\n  no-auto-down\nauto eth1\n  mtu 9000\n"}
    )
    (stanza,) = net.stanzas
    assert [line.text for line in stanza.options] == ["auto", "mtu 1500", "no-auto-down"]
    assert [(problem.line, problem.text) for problem in net.problems] == [(6, "mtu 9000")]


def test_comments_and_blanks_belong_to_a_stanza_only_before_its_last_option() -> None:
    net = Interfaces({MAIN: "iface eth0 inet static\n# a\n\n address 192.0.2.1/24\n# b\n\n"})
    assert net.stanzas[0].text == "iface eth0 inet static\n# a\n\n address 192.0.2.1/24\n"


def test_stanzas_come_in_reading_order_across_files() -> None:
    tree = {
        MAIN: "iface a inet dhcp\nsource interfaces.d/*\niface d inet dhcp\n",
        "/etc/network/interfaces.d/1": "iface b inet dhcp\n",
        "/etc/network/interfaces.d/2": "iface c inet dhcp\n",
    }
    assert [stanza.name for stanza in Interfaces(tree).stanzas] == ["a", "b", "c", "d"]


def test_a_file_that_nothing_includes_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="not included by any file: /etc/network/other"):
        Interfaces({MAIN: "", "/etc/network/other": ""})


def test_relative_patterns_are_relative_to_the_including_file() -> None:
    assert source_patterns("/etc/network/d/x", "source y/*.conf\nsource-directory /a/b\nsource-dir c\n") == (
        SourcePattern("/etc/network/d/x", 1, "/etc/network/d/y/*.conf", directory=False),
        SourcePattern("/etc/network/d/x", 2, "/a/b", directory=True),
        SourcePattern("/etc/network/d/x", 3, "/etc/network/d/c", directory=True),
    )


@pytest.mark.parametrize(
    "rest", ["", "$HOME/x", "~/x", "'a b'", "$(id)", "x; rm y", "interfaces.d/* # all", "/a b"]
)
def test_patterns_that_are_more_than_globs_are_refused(rest: str) -> None:
    with pytest.raises(InterfacesError, match="/etc/network/interfaces:2"):
        source_patterns(MAIN, f"auto lo\nsource {rest}\n")


@pytest.mark.parametrize(
    ("glob", "directory", "path", "accepted"),
    [
        ("/e/d/*", False, "/e/d/a.conf", True),
        ("/e/d/*", False, "/e/d/.hidden", False),
        ("/e/d/*", False, "/e/d/sub/a", False),
        ("/e/d/[^b]*", False, "/e/d/b", False),
        ("/e/d", True, "/e/d/50-cloud-init", True),
        ("/e/d", True, "/e/d/50-cloud-init.cfg", False),
        ("/e/d", True, "/e/d/eth0~", False),
        ("/e/*.d", True, "/e/x.d/eth0", True),
    ],
)
def test_which_files_a_pattern_takes(glob: str, directory: bool, path: str, accepted: bool) -> None:
    assert SourcePattern(MAIN, 1, glob, directory).accepts(path) is accepted


def test_a_tree_is_read_in_ifupdowns_order_and_each_file_once() -> None:
    files = {
        MAIN: "source /e/*\nsource /e/b\nsource /missing\n",
        "/e/a": "source c\n",
        "/e/b": "source ../etc/network/interfaces\n",
        "/e/c": "",
    }
    tree = read_tree(files.__getitem__, lambda pattern: sorted(filter(pattern.accepts, files)))
    assert list(tree) == [MAIN, "/e/a", "/e/c", "/e/b"]


def test_without_a_main_file_there_is_no_tree() -> None:
    assert read_tree(lambda _: None, lambda _: ()) == {}
