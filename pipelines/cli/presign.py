"""Letting somebody without credentials at one object for a while: presign."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.choices import Choice
from tierlake.pipelines.cli.options import Session, with_session

if TYPE_CHECKING:
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.connector.objects.presign import PresignConditions

__all__ = ["presign"]

_HEADERS = {
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "x-amz-server-side-encryption-aws-kms-key-id": "SSEKMSKeyId",
    "x-amz-server-side-encryption-bucket-key-enabled": "BucketKeyEnabled",
}


@click.command()
@click.argument("uri")
@click.option("--expires", type=click.IntRange(1), default=600, show_default=True, help="Seconds until it ends.")
@click.option("--method", type=Choice(["GET", "PUT", "POST"]), default="GET", show_default=True)
@click.option("--max-size", type=options.SIZE, help="POST: the largest upload, as 10MB.")
@click.option("--content-type", metavar="TYPE", help="POST: what an upload may be, as image/png or image/*.")
@with_session
def presign(
    session: Session, uri: str, *, expires: int, method: str, max_size: int | None, content_type: str | None
) -> None:
    """Print a URL that lets anybody read or write one object. For a while: whoever has it, has the access.

    With PUT, the headers that the write policy asks for must be sent along; with POST, the form's fields.
    """
    if method != "POST" and (max_size, content_type) != (None, None):
        raise click.UsageError("--max-size and --content-type are conditions of POST", click.get_current_context())
    fs = session.filesystem()
    document: dict[str, object] = {"method": method, "expires_seconds": expires}
    if method == "POST":
        conditions: PresignConditions = {}
        if max_size is not None:
            conditions["size"] = (0, max_size)
        if content_type is not None:
            conditions["content_type"] = content_type
        form = fs.presign_post(uri, expires=expires, **conditions)
        fields = " ".join(f"-F {shlex.quote(f'{name}={value}')}" for name, value in form["fields"].items())
        session.out.emit(document | dict(form), f"curl {fields} -F file=@FILE {shlex.quote(form['url'])}")
        return
    url = fs.presign(uri, expires=expires, method=method)
    headers = _headers_to_send(fs, uri, url)
    send = "".join(f" -H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items())
    text = f"curl -T FILE{send} {shlex.quote(url)}" if method == "PUT" else url
    session.out.emit(document | {"url": url, "headers": headers}, text)


def _headers_to_send(fs: LakeFileSystem, uri: str, url: str) -> dict[str, str]:
    """The signed headers with the values that the write policy gives them."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    policy = fs.policy.for_key(bucket, key)
    values = {**policy.encryption.headers(), "StorageClass": policy.storage_class}
    parameters = {**_HEADERS, "x-amz-storage-class": "StorageClass"}
    signed = parse_qs(urlsplit(url).query).get("X-Amz-SignedHeaders", [""])[0].split(";")
    return {name: str(values[parameters[name]]) for name in signed if name in parameters}
