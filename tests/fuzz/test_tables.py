"""What stands beside a table's files is read as it is, or refused by its name."""

import pytest

from tests.fuzz.case import SOAK_EXAMPLES, Case
from tests.fuzz.cases_of_tables import CASES

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each_case
def test_a_value_or_an_error_that_names_the_object(case: Case) -> None:
    case.check(25, same=True)


@pytest.mark.soak
@each_case
def test_a_value_or_an_error_for_long(case: Case) -> None:
    case.check(SOAK_EXAMPLES, same=False)
