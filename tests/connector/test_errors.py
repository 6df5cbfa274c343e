"""The error tree: every class is a builtin that fsspec's users expect, and says what happened to whom."""

from __future__ import annotations

import errno
import pickle

import pandas as pd
import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError

from tests.readable import assert_readable
from tierlake.connector import errors
from tierlake.connector.client import error_mapping
from tierlake.connector.client.error_mapping import Target, raise_translated, translated
from tierlake.connector.errors import LakeError, UnsupportedByServer

pytestmark = pytest.mark.each_value

TARGET = Target("put_object", "http://h:1", "minio", bucket="b", key="k")
BUILTINS = {
    errors.ObjectArchived: PermissionError,
    errors.ObjectNotFound: FileNotFoundError,
    errors.TableDamaged: FileNotFoundError,
    errors.BucketNotFound: FileNotFoundError,
    errors.AlreadyExists: FileExistsError,
    errors.AccessDenied: PermissionError,
    errors.BadCredentials: PermissionError,
    errors.TableWriteRefused: PermissionError,
    errors.InvalidName: ValueError,
    errors.InvalidSetting: ValueError,
    errors.InsecureEndpoint: ValueError,
    errors.UnknownOption: TypeError,
    errors.UnsupportedByServer: NotImplementedError,
    errors.EncryptionIgnored: NotImplementedError,
    errors.PreconditionFailed: OSError,
    errors.RequestRefused: OSError,
    errors.Throttled: OSError,
    errors.EndpointUnreachable: ConnectionError,
    errors.DeletionFailed: OSError,
    errors.AppliedInPart: OSError,
    errors.LibraryError: Exception,
    errors.ServerError: OSError,
}


def every_error():
    for kind in BUILTINS:
        if kind is UnsupportedByServer:
            yield kind("minio", "flying", "walking", bucket="b", key="k", request_id="r")
        elif kind in {errors.DeletionFailed, errors.AppliedInPart}:
            yield kind("two left", {"k": "AccessDenied: no"}, bucket="b")
        else:
            yield kind("what happened", hint="Do this", bucket="b", key="k", request_id="r", server_code="C")


def test_the_tree_is_whole():
    exported = {getattr(errors, name) for name in errors.__all__} - {LakeError}
    assert exported == set(BUILTINS)


@pytest.mark.parametrize("kind", BUILTINS, ids=lambda kind: kind.__name__)
def test_each_is_a_builtin_too(kind):
    assert issubclass(kind, LakeError)
    assert issubclass(kind, BUILTINS[kind])


def test_codes_are_unique():
    assert len({kind.code for kind in BUILTINS}) == len(BUILTINS)


@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: type(error).__name__)
def test_errors_travel_between_processes(error):
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own bytes
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.to_dict() == error.to_dict()
    assert copy.args == error.args
    assert getattr(copy, "errno", None) == getattr(error, "errno", None)


def test_the_text_says_who_and_what_to_do():
    error = errors.AccessDenied("No", hint="Ask", bucket="b", key="k", request_id="r1", server_code="AccessDenied")
    assert str(error) == "No (at b/k, server code AccessDenied, request id r1). Ask"


def response(code, status, message="said"):
    return {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "id-1", "HTTPHeaders": {}},
    }


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchKey", 404, errors.ObjectNotFound),
        ("404", 404, errors.ObjectNotFound),
        ("NoSuchBucket", 404, errors.BucketNotFound),
        ("AccessDenied", 403, errors.AccessDenied),
        ("403", 403, errors.AccessDenied),
        ("InvalidAccessKeyId", 403, errors.BadCredentials),
        ("SignatureDoesNotMatch", 403, errors.BadCredentials),
        ("ExpiredToken", 400, errors.BadCredentials),
        ("PreconditionFailed", 412, errors.PreconditionFailed),
        ("SlowDown", 503, errors.Throttled),
        ("429", 429, errors.Throttled),
        ("NotImplemented", 501, errors.UnsupportedByServer),
        ("BucketAlreadyOwnedByYou", 409, errors.AlreadyExists),
        ("InternalError", 500, errors.ServerError),
        ("InvalidArgument", 400, errors.RequestRefused),
        ("InvalidObjectState", 403, errors.ObjectArchived),
        ("ObjectNotInActiveTierError", 403, errors.ObjectArchived),
        ("SomethingNew", 400, errors.RequestRefused),
        ("SomethingWorse", 502, errors.ServerError),
    ],
)
def test_what_servers_say(code, status, kind):
    error = translated(ClientError(response(code, status), "PutObject"), TARGET)
    assert type(error) is kind
    assert (error.server_code, error.request_id, error.bucket, error.key) == (code, "id-1", "b", "k")


UGLY = "\x1b[31mno\x1b[0m\n  \u21b3 way <?xml version='1.0'?><Error><Code>X</Code></Error>"


@pytest.mark.parametrize("operation", ["get_object", "head_bucket", "put_object", "create_bucket"])
@pytest.mark.parametrize("code", [*error_mapping._BY_CODE, *map(str, error_mapping._BY_STATUS), "400", "500", "New"])
def test_whatever_a_server_says_is_one_line_with_a_hint(code, operation):
    status = int(code) if code.isdigit() else 400
    target = Target(operation, "http://h:1", "minio", bucket="My_Bucket", key=None if "bucket" in operation else "a/k")
    error = translated(ClientError(response(code, status, UGLY), operation), target)
    assert_readable(error)
    assert "My_Bucket" in str(error)
    assert "{" not in error.hint


@pytest.mark.parametrize(
    "error",
    [
        NoCredentialsError(),
        EndpointConnectionError(endpoint_url="http://h:1/b?list-type=2"),
        ResponseParserError("Unable to parse response (no element), invalid XML:\nb'<html>'"),
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
        ProfileNotFound(profile="nobody"),
        OSError(32, "Broken pipe"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_library_says_is_one_line_with_a_hint(error):
    assert_readable(translated(error, TARGET))


def test_a_region_that_the_server_names():
    wrong = response("AuthorizationHeaderMalformed", 400, "the region 'us-east-1' is wrong; expecting 'eu-west-1'")
    wrong["Error"]["Region"] = "eu-west-1"
    error = translated(ClientError(wrong, "GetObject"), TARGET)
    assert error.hint == "Set the bucket's region: TIERLAKE_REGION=eu-west-1"


def test_another_s_bucket():
    error = translated(ClientError(response("BucketAlreadyExists", 409), "CreateBucket"), TARGET)
    assert isinstance(error, errors.AlreadyExists)
    assert "another name" in error.hint


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("t/date=2013-01-01/a.parquet", "The partition date=2013-01-01 of lake://b/t is archived in DEEP_ARCHIVE"),
        ("date=2013-01-01/x=%2F/a.parquet", "The partition date=2013-01-01/x=%2F of lake://b is archived in"),
        (
            "t/a=b.parquet",
            "lake://b/t/a=b.parquet is archived in DEEP_ARCHIVE and cannot be read before it is restored",
        ),
    ],
)
def test_an_archived_object_names_its_partition(key, says):
    said = response("InvalidObjectState", 403)
    said["Error"]["StorageClass"] = "DEEP_ARCHIVE"
    error = translated(ClientError(said, "GetObject"), Target("get_object", "http://h:1", "aws", bucket="b", key=key))
    assert str(error).startswith(says)
    assert "tierlake restore" in error.hint
    copied = translated(
        ClientError(said, "CopyObject"), Target("copy_object", "http://h:1", "aws", bucket="b", key=key)
    )
    assert "is read or copied is archived" in copied.hint, "the key of the request is where it would go"


def test_a_condition_that_it_must_not_exist():
    target = Target("put_object", "http://h:1", "minio", bucket="b", key="k", must_not_exist=True)
    error = translated(ClientError(response("PreconditionFailed", 412), "PutObject"), target)
    assert isinstance(error, FileExistsError)
    assert error.errno == errno.EEXIST


def test_a_missing_bucket_by_its_status():
    target = Target("head_bucket", "http://h:1", "minio", bucket="b")
    error = translated(ClientError(response("404", 404), "HeadBucket"), target)
    assert isinstance(error, errors.BucketNotFound)
    assert "'b'" in error.message


def test_no_connection_names_the_endpoint():
    error = translated(EndpointConnectionError(endpoint_url="http://h:1/b"), TARGET)
    assert isinstance(error, errors.EndpointUnreachable)
    assert "http://h:1" in error.message


def test_no_credentials():
    assert isinstance(translated(NoCredentialsError(), TARGET), errors.BadCredentials)


def test_a_wrong_parameter_shows_no_key():
    wrong = ParamValidationError(report="Invalid: {'SSECustomerKey': 'super-secret-key'}")
    with pytest.raises(errors.RequestRefused) as caught:
        raise_translated(wrong, TARGET)
    assert "super-secret-key" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_other_errors_stay_themselves():
    error = KeyError("x")
    assert translated(error, TARGET) is error


def test_a_missing_bucket_is_told_in_s3s_words(fs, bucket):
    """pandas' own test of `read_csv` looks for them, and so may others."""
    with pytest.raises(OSError, match="The specified bucket does not exist") as raised:
        pd.read_csv(f"lake://{bucket}-missing/x.csv", storage_options=fs.storage_options)
    assert isinstance(raised.value, FileNotFoundError)
