"""Text that is not ours, such as a file's name or a message from a file, made safe to print and to show."""

import re
import unicodedata

MOST_SHOWN = 500  # characters


def printable(text: object, most: int = MOST_SHOWN) -> str:
    """The text in one line of at most `most` characters.

    Control characters, escape codes, bidirectional controls and lone surrogates appear as escapes such as `\\x1b`: they
    would move a terminal's cursor, or show letters in another order.
    """
    words = str(text)[: 4 * most].split()
    shown = " ".join(words)
    if not shown.isprintable():  # most is, and this is much faster
        shown = "".join(letter if is_visible(letter) else escaped(letter) for letter in shown)
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def is_visible(letter: str) -> bool:
    """False for the Unicode categories control, format, surrogate, private use and unassigned, and separators."""
    return letter == " " or unicodedata.category(letter)[0] not in "CZ" or letter == "\u00a0"


def escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def markdown_cell(text: str) -> str:
    """Any text, escaped, so that nothing in it is Markdown, a formula, HTML or a link."""
    entities = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|"}
    escaped = "".join(entities.get(letter, letter) for letter in " ".join(text.split()))
    escaped = re.sub(r"[`*\[\]~$]|\\(?!\|)|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", escaped)
    return re.sub(r":(?=//)|(?<=www)\.|@(?=\w)", r"\\\g<0>", escaped, flags=re.IGNORECASE)
