"""JSON and YAML of others: the value, or one error that says where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.connector.documents import (
    UnreadableDocument,
    json_document,
    json_list,
    json_object,
    yaml_document,
    yaml_text,
)
from tierlake.connector.redact import printable

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


def test_values():
    assert json_document(b'{"a": [1, null]}') == {"a": [1, None]}
    assert yaml_document("a: &d {x: 1}\nb: {<<: *d}\nc: *d") == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{", "line 1, column 2"),
        (b'"\xff"', "UTF-8 at byte 1"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "thousands of digits"),
    ],
    ids=["cut", "latin", "deep", "long"],
)
def test_what_is_no_json(text, says):
    with pytest.raises(UnreadableDocument, match=says):
        json_document(text)


def test_json_of_another_kind():
    with pytest.raises(UnreadableDocument, match="not a JSON object"):
        json_object("[]")
    with pytest.raises(UnreadableDocument, match="not a JSON list"):
        json_list("{}")


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: 2013-99-99",
        'a: !!int ""',
        "a: !!bool x",
        "a: !!timestamp x",
        "a: &a [*a]",
        BOMB,
        "[" * 20_000,
        b"\xff",
    ],
    ids=["cut", "date", "number", "truth", "time", "circle", "bomb", "deep", "latin"],
)
def test_what_is_no_yaml(text):
    with pytest.raises(UnreadableDocument):
        yaml_document(text)


def test_yaml_names_the_place():
    with pytest.raises(UnreadableDocument) as caught:
        yaml_document("a: 1\nb: ]")
    assert caught.value.place == "line 2, column 4"


ODD_TEXT = st.text(
    st.sampled_from("a \u00a0\u3000\u200d\u202e\u2066\u2028\x85\x1b\x7f\t\n'\":#\U0001f680\ufeff"), max_size=8
)


@given(ODD_TEXT | st.text(), ODD_TEXT)
def test_yaml_is_for_terminals_and_says_the_same_there(name, value):
    text = yaml_text({name: value, "list": [{"of": name}]})
    assert printable(text) == text
    assert yaml_document(text) == {name: value, "list": [{"of": name}]}


def test_letters_of_yaml_stay_readable():
    assert yaml_text({"Größe\u00a0EUR": "日本\u3000語"}) == "Größe\u00a0EUR: 日本\u3000語\n"
    assert yaml_text("ü\u202e") == '"\\xFC\\u202E"\n'
