"""Names that cannot be told apart."""

from tierlake.pipelines.model.column_names import clash


def test_the_first_clash_is_named_with_what_it_clashes_with() -> None:
    assert clash(["a", "b", "A", "B"]) == ("a", "A")
    assert clash(["a", "b", "b"]) == ("b", "b")
    assert clash(iter(["a", "b"])) is None


def test_known_names_may_come_again_though_in_no_other_case() -> None:
    assert clash(["a", "c"], like=["a", "b"]) is None
    assert clash(["c", "B"], like=["a", "b"]) == ("b", "B")
