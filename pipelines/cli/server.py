"""A real S3 server on this machine: server."""

from __future__ import annotations

import select
import shlex
import signal
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from tierlake.connector.errors import EndpointUnreachable
from tierlake.connector.local_server.env_file import env_file
from tierlake.pipelines.cli.choices import Choice
from tierlake.pipelines.cli.log_options import log_options
from tierlake.pipelines.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierlake.connector.local_server.servers import LocalServer

__all__ = ["server"]

_LOOK_EVERY_SECONDS = 2.0
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@log_options
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The folder for all that it keeps; the same folder again brings everything back.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="The port of S3. [default: a free one]")
@click.option("--kind", type=Choice(["seaweedfs", "minio"]), default="seaweedfs", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def server(data: Path, port: int | None, kind: str, *, as_json: bool) -> None:
    """Run a real S3 server on this machine until Ctrl-C.

    Either SeaweedFS or MinIO. It listens on the loopback interface only, with credentials of its own, which `source
    DIR/env.sh` sets.
    """
    from tierlake.connector.local_server.servers import EmbeddedServer, MinioServer

    chosen = MinioServer if kind == "minio" else EmbeddedServer
    # before the start, so that a Ctrl-C at any moment finds somebody who stops the child
    with _stop_requests() as stop, chosen(data, port=port) as running:
        script = env_file(running)
        Output(as_json).emit(
            {"endpoint_url": running.endpoint_url, "profile": running.name, "env_file": str(script)},
            _how_to(running, script),
        )
        _serve_until(stop, running)
    click.echo(f"stopped; the data stays in {data}", err=True)


def _how_to(running: LocalServer, script: Path) -> str:
    return f"""\
{running.name} answers at {running.endpoint_url}; its data is in {running.data}

In another terminal:
  source {shlex.quote(str(script))}      # the endpoint and its credentials
  tierlake bucket apply warehouse --yes

A dataset of a file of yours, with a description that you can look over:
  tierlake init FILE.csv --uri lake://warehouse/data --out data.yaml
  tierlake create data.yaml
  tierlake ingest data.yaml FILE.csv
  tierlake ls data.yaml

In Python, started from that terminal:
  import pandas as pd
  pd.DataFrame({{"x": [1, 2, 3]}}).to_parquet("lake://warehouse/x.parquet")
  pd.read_parquet("lake://warehouse/x.parquet")

Ctrl-C stops it."""


@contextmanager
def _stop_requests() -> Iterator[socket.socket]:
    """Gives a socket that becomes readable once this process is asked to stop, and undoes that afterwards.

    Handlers, not a mask: a mask holds for one thread, and a library may have started others before.
    """
    stop, ask = socket.socketpair()
    ask.settimeout(0)
    with stop, ask:
        wakeup = signal.set_wakeup_fd(ask.fileno())  # before the handlers, which swallow what nobody is told of
        before = {number: signal.signal(number, lambda *_: None) for number in _STOPS}
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)


def _serve_until(stop: socket.socket, running: LocalServer) -> None:
    address = urlsplit(running.endpoint_url)
    while not select.select([stop], [], [], _LOOK_EVERY_SECONDS)[0]:
        try:
            socket.create_connection((address.hostname, address.port), _LOOK_EVERY_SECONDS).close()
        except OSError as error:
            message = f"the server at {running.endpoint_url} ended by itself"
            raise EndpointUnreachable(message, hint=f"its log: {running.log}") from error
