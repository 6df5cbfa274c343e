"""A request without an answer says why in one sentence, the same by either engine, and what to write instead."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientConnectorError
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError, ReadTimeoutError

from tests.readable import assert_readable
from tierlake.connector import LakeFileSystem
from tierlake.connector.client.unreachable import cause_in, unreachable
from tierlake.connector.errors import EndpointUnreachable, LakeError, RequestRefused, ServerError

ENGINES = ("native", "s3fs")
CAUSES = {
    "refused": ("nothing listens there", "`tierlake server` runs one here"),
    "unknown": ("no such host is known", "TIERLAKE_ENDPOINT_URL"),
    "plain": ("it does not speak TLS", "Write http://127.0.0.1:"),
    "untrusted": ("not signed by an authority", "AWS_CA_BUNDLE="),
}


@pytest.fixture
def endpoint(request, server):
    """Of a server that cannot be reached in the way of the test."""
    where = {"refused": "http://127.0.0.1:1", "unknown": "https://nosuch.invalid"}
    if request.param in where:
        return where[request.param]
    if request.param == "plain":
        return server.endpoint_url.replace("http://", "https://")
    return request.getfixturevalue("minio_tls").endpoint_url


@pytest.mark.parametrize(("endpoint", "says"), CAUSES.items(), indirect=["endpoint"], ids=CAUSES)
def test_both_engines_say_why(server, endpoint, says):
    told = set()
    for engine in ENGINES:
        options = {"key": server.key, "secret": server.secret, "profile": server.profile, "engine": engine}
        fs = LakeFileSystem(**options, endpoint_url=endpoint, max_retries=0, skip_instance_cache=True)
        for call in (fs.ls, fs.exists, lambda path, fs=fs: fs.cat_file(f"{path}/x")):
            with pytest.raises(EndpointUnreachable) as raised:
                call("some-bucket")
            assert_readable(raised.value)
            assert urlsplit(endpoint).netloc in raised.value.message
            assert says[1] in raised.value.hint
            told.add(raised.value.message)
    (message,) = told
    assert message.startswith(f"No answer from {endpoint}: ")
    assert says[0] in message


@pytest.mark.parametrize("bundle", ["missing", "folder", "no certificate"])
@pytest.mark.parametrize("engine", ENGINES)
def test_authorities_that_cannot_be_read(tmp_path, monkeypatch, engine, bundle):
    (tmp_path / "folder").mkdir()
    (tmp_path / "no certificate").write_text("PEM")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / bundle))
    where = {"endpoint_url": "https://127.0.0.1:1", "profile": "minio", "engine": engine, "key": "k", "secret": "s"}
    fs = LakeFileSystem(**where, max_retries=0, skip_instance_cache=True)
    for call in (fs.ls, fs.exists, lambda path: fs.cat_file(f"{path}/x")):
        with pytest.raises(EndpointUnreachable, match="the certificates to check it with cannot be read") as raised:
            call("some-bucket")
        assert_readable(raised.value)
        assert "AWS_CA_BUNDLE" in raised.value.hint


def test_a_missing_file_is_no_missing_authority():
    assert cause_in(FileNotFoundError(2, "No such file or directory", "trips.csv")) is None


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_plain_http_to_a_server_that_speaks_tls(minio_tls, engine):
    plain = minio_tls.endpoint_url.replace("https://", "http://")
    where = {"endpoint_url": plain, "profile": "minio", "engine": engine, "key": "k", "secret": "s"}
    with pytest.raises(RequestRefused) as raised:
        LakeFileSystem(**where, skip_instance_cache=True).ls("some-bucket")
    assert_readable(raised.value)
    assert f"write {minio_tls.endpoint_url} as the endpoint" in raised.value.hint


class _WebPage(BaseHTTPRequestHandler):
    """What MinIO's console, or a proxy's page, answers to everything."""

    def do_GET(self) -> None:
        page = b"<!doctype html><html><body>Welcome</body></html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_web_page_is_no_empty_bucket(engine):
    with ThreadingHTTPServer(("127.0.0.1", 0), _WebPage) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        where = {"endpoint_url": f"http://127.0.0.1:{pages.server_port}", "profile": "minio", "engine": engine}
        fs = LakeFileSystem(**where, key="k", secret="s", skip_instance_cache=True)
        for call in (fs.ls, fs.find):
            with pytest.raises(ServerError, match="it is no listing") as raised:
                call("some-bucket")
            assert_readable(raised.value)
            assert "console" in raised.value.hint
        pages.shutdown()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectTimeoutError(endpoint_url="http://h:1/b/k?list-type=2"), "connecting took too long"),
        (ReadTimeoutError(endpoint_url="http://h:1/b/k"), "no answer came in time"),
        (ProxyConnectionError(proxy_url="http://proxy:1", error="refused"), "the proxy on the way"),
        (EndpointConnectionError(endpoint_url="http://h:1/b?x", error=OSError(113, "No route to host")), "no network"),
        (TimeoutError(), "no answer came in time"),
        (ConnectionResetError(104, "Connection reset by peer"), "closed before the answer was whole"),
        (
            EndpointConnectionError(
                endpoint_url="http://h:1/b?list-type=2",
                error=ClientConnectorError(
                    type("Key", (), {"host": "h", "port": 1, "ssl": True, "is_ssl": False})(),
                    OSError(111, "Connect call failed ('127.0.0.1', 1)"),
                ),
            ),
            "nothing listens there",
        ),
        (RuntimeError("a new kind\nof trouble"), "a new kind"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_a_library_error_in_words(error, says):
    told = unreachable(error, "http://h:1", bucket="b", key="k")
    assert_readable(told)
    assert told.message.startswith("No answer from http://h:1: ")
    assert says in told.message
    assert "list-type" not in str(told)


def test_the_cause_within_the_cause_tells():
    wrapper = ValueError("some wrapper")
    wrapper.__cause__ = OSError(111, "Connection refused")
    assert "nothing listens" in unreachable(wrapper, "the endpoint").message


def test_a_text_without_a_cause():
    assert cause_in("it rains") is None
    assert isinstance(unreachable("it rains", "http://h:1"), LakeError)
