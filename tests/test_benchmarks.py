"""The page of results on a GPU."""

import json

import pytest

from benchmarks.gpu import NETS, PAGE, UNMEASURED, busy_share, page


def test_the_page_is_what_its_json_says() -> None:
    found = json.loads(PAGE.with_suffix(".json").read_text())
    assert PAGE.read_text() == page(found)


def test_what_is_missing_is_said_to_be_not_measured() -> None:
    net = next(iter(NETS))
    cell = {"images_per_second": 12345.6, "busy": 0.917, "peak_memory_bytes": 3 * 2**20, "seconds": 0.1}
    shown = page({"steps": {net: {"captured float32": cell, "eager tf32": {"unmeasured": "no time left"}}}})
    assert f"| {net} | captured float32 | 12,346 | 92% | 3 |  |" in shown
    assert f"| {net} | eager tf32 | not measured (no time left) |  |  |  |" in shown
    assert f"| {net} | eager float32 | not measured |  |  |  |" in shown
    assert "It has not run on a GPU yet." in shown
    assert f"| status | {UNMEASURED} |" in shown


def test_the_busy_share_counts_what_overlaps_once() -> None:
    assert busy_share([(0, 10), (5, 20), (30, 40), (31, 32)], 60) == pytest.approx(0.5)
    assert busy_share([(0, 100)], 50) == 1
    assert busy_share([], 50) == 0
