"""Text from elsewhere cannot move a cursor, turn the reading direction, or fill a screen."""

import pytest

from gan_cli.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ± Δ ↓ é 日本", "plain ± Δ ↓ é 日本"),
        ("two\nlines\r\n\tand  spaces", "two lines and spaces"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("user\u202egnp.exe\u2066", "user\\u202egnp.exe\\u2066"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("lone\ud800", "lone\\ud800"),
        ("a" * 500, "a" * 500),
        ("a" * 501, "a" * 497 + "..."),
        ("\x00" * 400, "\\x00" * 124 + "\\..."),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_huge_text_is_cut_before_it_is_read() -> None:
    assert len(printable("\x1b" * 10**7)) == 500
