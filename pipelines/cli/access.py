"""Letting others at one object for a while: presign."""

from __future__ import annotations

import click

from pipelines.cli.options import Session, with_session

__all__ = ["presign"]


@click.command()
@click.argument("uri")
@click.option("--expires", type=click.IntRange(1), default=600, show_default=True, help="Seconds until it ends.")
@click.option("--method", type=click.Choice(["GET", "PUT", "POST"]), default="GET", show_default=True)
@with_session
def presign(session: Session, uri: str, *, expires: int, method: str) -> None:
    """Print a URL with which anybody can read or write one object for a short while.

    Whoever has the URL has the access: treat it as a password.
    """
    signed = session.filesystem().presign(uri, expires=expires, method=method)
    document = {"url": signed, "method": method, "expires_seconds": expires}
    session.out.emit(document, str(signed))
