"""What every error is to a person: one line, and what to do."""

from tierlake.connector.errors import LakeError

_FOREIGN = ("\n", "\r", "\x1b", "\\n", "\\x1b", "↳", "<?xml", "<Error", "<html", "</", "Debug source", "Some(", "{ ")


def assert_readable(error: BaseException) -> None:
    """One line without colours, markup and dumps of a library, and a hint."""
    assert isinstance(error, LakeError), repr(error)
    for text in (error.message, error.hint or "", str(error)):
        assert not [part for part in _FOREIGN if part in text], text
        assert text == text.strip()
        assert "  " not in text
    assert error.message
    assert error.hint, error.message
    assert not error.hint.endswith((".", ":", ",")), error.hint
    assert not error.message.endswith((":", ",", ";", "(")), error.message
