"""What somebody who mistyped a name may have meant."""

from tierlake.connector.nearest import alternatives, did_you_mean, nearest

CLASSES = ["STANDARD", "STANDARD_IA", "GLACIER"]


def test_the_nearest_name_is_spelled_as_it_is_known() -> None:
    assert nearest("standard_ai", CLASSES) == "STANDARD_IA"
    assert did_you_mean("glacer", CLASSES) == "Did you mean 'GLACIER'?"


def test_a_name_like_no_other_has_no_hint() -> None:
    assert nearest("x", CLASSES) is None
    assert did_you_mean("tape", CLASSES) is None


def test_the_alternatives_are_the_nearest_name_or_all() -> None:
    assert alternatives("orign", ["origin", "dest"]) == "Did you mean 'origin'?"
    assert alternatives("xyz", ["origin", "dest"]) == "There are origin, dest"
    assert alternatives("xyz", ["origin"]) == "There is origin"
    assert alternatives("xyz", ["origin"], lists=False) is None
    assert alternatives("xyz", []) is None
    assert alternatives("q", map(str, range(100))).endswith("18, 19 and 80 more")


def test_where_there_are_few_names_less_likeness_will_do() -> None:
    assert nearest("ice", CLASSES, likeness=0.4) == "GLACIER"
    assert nearest("ice", CLASSES) is None
