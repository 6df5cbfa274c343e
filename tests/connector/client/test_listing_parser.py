"""Listings are parsed into what botocore makes of them."""

from __future__ import annotations

import asyncio
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import botocore.session
import pytest
from aiobotocore.parsers import create_parser
from botocore import handlers
from hypothesis import given
from hypothesis import strategies as st

from tierlake.connector.client.listing_parser import LISTINGS, ListingParser

MODEL = botocore.session.get_session().get_service_model("s3")
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def parsed_by(parser, operation: str, body: bytes, status: int = 200):
    """A parsed answer, or the kind of the error."""
    model = MODEL.operation_model(operation)
    response = {"status_code": status, "headers": {"x-amz-request-id": "1"}, "body": body, "context": {}}
    if not isinstance(parser, ListingParser):
        handlers._handle_200_error(model, response)
    try:
        return plain(asyncio.run(parser.parse(response, model.output_shape)))
    except Exception as error:  # noqa: BLE001 -- any, as botocore raises it
        return type(error)


def plain(value):
    """A value with the text of XML's elements, which botocore returns for a field that is there twice."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.text if isinstance(value, ET.Element) else value


def assert_alike(operation: str, body: bytes, status: int = 200, *, fast: bool | None = None) -> None:
    expected = parsed_by(create_parser("rest-xml"), operation, body, status)
    assert parsed_by(ListingParser(), operation, body, status) == expected
    if fast is not None:
        model = MODEL.operation_model(operation)
        page = ListingParser()._page(
            {"status_code": 200, "headers": {}, "body": body, "context": {}}, model.output_shape
        )
        assert (page is not None) is fast


characters = st.characters(codec="utf-8", exclude_characters="".join(map(chr, {*range(32)} - {9, 10})) + "\ufffe\uffff")
texts = st.text(characters, max_size=8) | st.sampled_from(
    ["a%20b", "d=1/x y", "&lt;", "<Key>", "]]>", "", " ", "\r", "é/%"]
)
times = st.sampled_from(
    [
        "2026-01-02T03:04:05.678Z",
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.678901234Z",
        "2026-01-02T03:04:05+02:00",
        "1767323045",
        "Fri, 02 Jan 2026 03:04:05 GMT",
        "2026-01-02T24:00:00Z",
        "yesterday",
        "",
    ]
)
FIELDS = {
    "Key": texts,
    "LastModified": times,
    "ETag": st.sampled_from(['"abc"', "abc", ""]),
    "Size": st.sampled_from(["0", "17", "99999999999", "-1", " 5 ", "x"]),
    "StorageClass": st.sampled_from(["STANDARD", "GLACIER"]),
    "ChecksumAlgorithm": st.sampled_from(["CRC32", "SHA256"]),
    "Owner": texts,
    "RestoreStatus": st.sampled_from(["true", "false"]),
    "IsLatest": st.sampled_from(["true", "false", "True"]),
    "VersionId": texts,
    "Unknown": texts,
}
SPELLINGS = ({}, {'"': "&quot;", "=": "&#x3D;"}, {'"': "&#34;", "d": "&#100;"})


@st.composite
def elements(draw, tag):
    spelling, space = draw(st.sampled_from(SPELLINGS)), draw(st.sampled_from(["", "\n  "]))
    order = draw(st.lists(st.sampled_from(sorted(FIELDS)), unique=draw(st.integers(0, 9)) > 0, max_size=7))
    order = draw(st.sampled_from([["Key", "LastModified", "ETag", "Size", "StorageClass"], order]))
    found = []
    for _ in range(draw(st.integers(0, 4))):
        fields = []
        for name in order:
            text = escape(draw(FIELDS[name]), spelling)
            if name == "Owner":
                text = f"<ID>{text}</ID><DisplayName>n</DisplayName>"
            elif name == "RestoreStatus":
                text = f"<IsRestoreInProgress>{text}</IsRestoreInProgress>"
            fields.append(f"{space}<{name}>{text}</{name}>")
        found.append(f"<{tag}>{''.join(fields)}{space}</{tag}>{space}")
    return "".join(found)


@st.composite
def pages(draw, tags):
    before = draw(
        st.sampled_from(["", "<Name>b</Name><MaxKeys>1000</MaxKeys>", "<EncodingType>url</EncodingType>", "<!-- -->"])
    )
    after = draw(
        st.sampled_from(
            [
                "",
                "<IsTruncated>true</IsTruncated>",
                "<NextContinuationToken>&amp;</NextContinuationToken>",
                "</Odd>",
                "<Odd/>",
                "<Contents/>",
            ]
        )
    )
    inside = "".join(draw(elements(draw(st.sampled_from(tags)))) for _ in range(draw(st.integers(0, 3))))
    root = draw(st.sampled_from(["Result", f"Result {NAMESPACE}", "Error"]))
    return f"<?xml version='1.0'?>\n<{root}>{before}{inside}{after}</{root.split()[0]}>".encode()


@given(st.data())
def test_a_listing_is_what_botocore_makes_of_it(data):
    operation, tags = data.draw(
        st.sampled_from(
            [
                ("ListObjectsV2", ["Contents", "CommonPrefixes"]),
                ("ListObjectVersions", ["Version", "DeleteMarker", "CommonPrefixes"]),
                ("ListParts", ["Part"]),
            ]
        )
    )
    assert_alike(operation, data.draw(pages(tags)))


ENTRY = "<Contents><Key>{}</Key><Size>1</Size></Contents>"


@pytest.mark.parametrize(
    ("inside", "fast"),
    [
        (ENTRY.format("a") + ENTRY.format("&#233;&amp;&lt;é"), True),
        (ENTRY.format("a") + "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>" + ENTRY.format("b"), True),
        (ENTRY.format("a") + "<Contents><Key>b</Key></Contents>" + ENTRY.format("c"), True),
        (ENTRY.format("&#0;"), False),
        (ENTRY.format("&unknown;"), False),
        (ENTRY.format("a & b"), False),
        (ENTRY.format("<![CDATA[a]]>"), False),
        (ENTRY.format("<!-- a -->b"), False),
        (ENTRY.format("\x01"), False),
        (ENTRY.format("]]>"), False),
        (f"<!-- {ENTRY.format('a')} -->", False),
        (f"<Inner>{ENTRY.format('a')}</Inner>", False),
        (ENTRY.format("a") + "<IsTruncated>true</IsTruncated>" + ENTRY.format("b"), False),
        ('<Contents a="1"><Key>b</Key></Contents>', False),
        ("<s:Contents xmlns:s='x'><s:Key>b</s:Key></s:Contents>", False),
        ("<Contents><Key>a</Key><Key>b</Key></Contents>", False),
        ("<Contents><Key>a</Contents>", False),
        ("<Contents><Key>a</Key>text</Contents>", False),
        ("<Contents></Contents>", False),
        (ENTRY.format("a") + "<Contents/>", False),
        ("<Contents />" + ENTRY.format("a"), False),
        (ENTRY.format("a") + "<CommonPrefixes/>" + ENTRY.format("b"), False),
    ],
)
def test_what_is_odd_is_left_to_botocore(inside, fast):
    assert_alike("ListObjectsV2", f"<R {NAMESPACE}>{inside}</R>".encode(), fast=fast)


def test_errors_and_broken_pages_are_botocores():
    page = f"<R {NAMESPACE}>{ENTRY.format('a') * 2}</R>".encode()
    for body in (page[:-3], page[:60], b"", b"<Error><Code>InternalError</Code></Error>", page.replace(b"R", b"Error")):
        assert_alike("ListObjectsV2", body)
    assert_alike("ListObjectsV2", b"\xff" + page)
    assert_alike("ListObjectsV2", b"<Error><Code>NoSuchBucket</Code><Message>m</Message></Error>", 404)


def test_a_page_of_many_structures_is_botocores():
    entries = "".join(f"<Contents><Key>k</Key><F{number}>1</F{number}></Contents>" for number in range(100))
    assert_alike("ListObjectsV2", f"<R>{entries}</R>".encode(), fast=False)


ODD_KEYS = ("a b+c%20.txt", "d=1/é&<>'.txt", "d=1/new\nline", "d=1/tab\t", "~plain", "e/f/g")


@pytest.fixture(params=["seaweedfs", "minio", "moto"])
def rig(request):
    return request.getfixturevalue(request.param)


def test_the_servers_own_answers(rig):
    bucket = rig.make_bucket()
    client, bodies = rig.admin, []
    is_fast = None if rig.name == "moto" else True  # moto has fields that botocore ignores
    names = [key for key in ODD_KEYS if key.isprintable()]
    for key in names:
        client.put_object(Bucket=bucket, Key=key, Body=b"1")
    upload = client.create_multipart_upload(Bucket=bucket, Key="u")["UploadId"]
    client.upload_part(Bucket=bucket, Key="u", UploadId=upload, PartNumber=1, Body=b"1")

    def keep(response_dict, **_):
        bodies.append(response_dict["body"])

    for operation in LISTINGS:
        client.meta.events.register(f"before-parse.s3.{operation}", keep, unique_id=operation)
    try:
        for parameters in ({}, {"Delimiter": "/"}, {"MaxKeys": 2}, {"FetchOwner": True}, {"Prefix": "none"}):
            client.list_objects_v2(Bucket=bucket, **parameters)
            assert_alike("ListObjectsV2", bodies.pop(), fast=None if "Prefix" in parameters else is_fast)
        client.list_object_versions(Bucket=bucket)
        assert_alike("ListObjectVersions", bodies.pop(), fast=is_fast)
        client.list_parts(Bucket=bucket, Key="u", UploadId=upload)
        assert_alike("ListParts", bodies.pop(), fast=is_fast)
    finally:
        for operation in LISTINGS:
            client.meta.events.unregister(f"before-parse.s3.{operation}", unique_id=operation)
        client.abort_multipart_upload(Bucket=bucket, Key="u", UploadId=upload)
        rig.drop_bucket(bucket)


def test_odd_keys_arrive_in_listings(fs, server, bucket):
    names = [key for key in ODD_KEYS if key.isprintable()]
    for key in names:
        server.admin.put_object(Bucket=bucket, Key=key, Body=b"12")
    listed = fs.find(bucket, detail=True)
    assert sorted(listed) == sorted(f"{bucket}/{key}" for key in names)
    assert {info["size"] for info in listed.values()} == {2}
    expected = server.admin.list_objects_v2(Bucket=bucket)["Contents"]
    for item in expected:
        entry = listed[f"{bucket}/{item['Key']}"]
        assert (entry["LastModified"], entry["ETag"]) == (item["LastModified"], item["ETag"])
