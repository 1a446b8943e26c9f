"""Each fault injected a few times; `make test-faults` does it many times, and prints a table."""

from pathlib import Path

import pytest

from .faults import Fault, Injection
from .faults.cases import CASES
from .pairwise import every_third_quick


@pytest.mark.parametrize("fault", every_third_quick(CASES, of_one_value=True, thirds=2), ids=lambda fault: fault.name)
@pytest.mark.filterwarnings("ignore")
def test_the_short_form(fault: Fault, tmp_path: Path) -> None:
    for number in range(fault.quick):
        (tmp_path / str(number)).mkdir()
        fault.run(tmp_path / str(number), Injection(fault.name, number))


def test_no_two_faults_have_one_name() -> None:
    assert len({fault.name for fault in CASES}) == len(CASES)
