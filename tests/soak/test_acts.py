"""Long lives of datasets in which all acts meet; see `tests/pipelines/test_acts_model.py`.

Other lives each time, unless `--hypothesis-seed` names some. `TIERLAKE_SOAK_EXAMPLES` says how many in each place.
"""

import os

import pytest

from tests.pipelines.test_acts_model import ARCHIVES, PLACES, archive_bucket, check
from tests.pipelines.world import Place

__all__ = ["archive_bucket"]

pytestmark = [pytest.mark.soak, pytest.mark.timeout(14400)]

STEPS = 40
EXAMPLES = int(os.environ.get("TIERLAKE_SOAK_EXAMPLES", "60"))


@PLACES
def test_nothing_acknowledged_is_lost_for_long(server, make_bucket, table_format, versioned):
    place = Place(server, make_bucket(versioned=versioned), table_format, versioned)
    check(place, examples=EXAMPLES, steps=STEPS, same=False)


@ARCHIVES
def test_nothing_acknowledged_is_lost_with_archived_days_for_long(moto, archive_bucket, table_format):
    place = Place(moto, archive_bucket, table_format, versioned=True, archives=True)
    check(place, examples=EXAMPLES, steps=STEPS, same=False)
