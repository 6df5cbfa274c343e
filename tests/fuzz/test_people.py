"""What people hand in is read as it is meant, or refused in words; no secret is repeated."""

import pytest

from tests.fuzz.case import SOAK_EXAMPLES, Case
from tests.fuzz.cases_of_people import CASES

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each_case
def test_a_value_or_an_error_in_words(case: Case) -> None:
    case.check(25, same=True)


@pytest.mark.soak
@each_case
def test_a_value_or_an_error_for_long(case: Case) -> None:
    case.check(SOAK_EXAMPLES, same=False)
