"""A reader who goes through a page: saves the files it shows, types its commands, runs its Python."""

from __future__ import annotations

import ast
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from traceback import format_exception
from typing import Any

from tests import ROOT
from tests.docs.not_run import exit_codes, is_compiled_only, reason
from tests.docs.pages import Block
from tierlake.pipelines.cli.app import main

SHELL = re.compile(r"[|<>;&$`*~]|^[A-Z_]+=")
"""What a shell has to see."""
VARYING = re.compile(r"\d+(\.\d+)? (B|KB|MB|GB)\b|<?\$[\d.]+|[─━-]{3,}")
"""Sizes and prices change a little with the version of pyarrow, and rules are as wide as their columns."""
OF_THE_RUN = re.compile(
    r"(?<=^prices: ).*$|(?<=part-)[\w-]+(?=\.zstd)|\b[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\b"
    r"|\b20\d\d-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?([+-]\d{4}|Z)?",
    re.MULTILINE,
)
"""Ids, instants and long notes: written into a page they are an ellipsis, as are days around today."""
DAY = re.compile(r"\b20\d\d-\d\d-\d\d\b")
AROUND_TODAY = timedelta(days=60)


@dataclass(frozen=True)
class Shown:
    """A command of a console block, and the output below it."""

    command: str
    output: str


def shown_in(block: Block) -> list[Shown]:
    """The commands of a console block; a line that ends with a backslash goes on in the next."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    found = []
    for part in parts:
        lines = part.split("\n")
        end = next(number for number, line in enumerate(lines) if not line.endswith("\\"))
        found.append(Shown("\n".join(lines[: end + 1]), "\n".join(lines[end + 1 :]).strip("\n")))
    return found


def plain(text: str) -> str:
    return " ".join(VARYING.sub(" ", text).split())


def agrees(output: str, shown: str) -> bool:
    """Whether an output is what is shown; `...` stands for anything."""
    pattern = ".*".join(re.escape(part.strip()) for part in plain(shown).split("..."))
    return re.fullmatch(re.sub(r"\.\*", r" ?.* ?", pattern), plain(output), re.DOTALL) is not None


def expression(block: Block) -> ast.Expression | None:
    """What a notebook would show: the last expression of the block."""
    last = ast.parse(block.text).body[-1]
    return ast.Expression(last.value) if isinstance(last, ast.Expr) else None


@dataclass
class Session:
    """One page's reader.

    Attributes:
        folder: Where the files are saved and the commands typed.
        faults: What is not as the page says.
        outputs: What was put out, by block and by number of the command in it.
    """

    folder: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    faults: list[str] = field(default_factory=list)
    outputs: dict[tuple[Block, int], str] = field(default_factory=dict)

    def go_through(self, page: list[Block]) -> None:
        for block, following in zip(page, [*page[1:], None], strict=True):
            if block.title:
                (self.folder / block.title).write_text(block.text)
            if block.language == "console":
                self._type(block)
            elif block.language == "python":
                self._run(block, following if following is not None and following.language == "text" else None)

    def _type(self, block: Block) -> None:
        for number, shown in enumerate(shown_in(block)):
            if reason(shown.command) is not None:
                continue
            code, output = self.typed(self.completed(shown.command))
            self.outputs[block, number] = output
            if code not in exit_codes(shown.command):
                self.faults.append(f"{block}: $ {shown.command}\nended with {code}:\n{output}")
            elif shown.output and not agrees(output, shown.output):
                self.faults.append(f"{block}: $ {shown.command}\nput out\n{output}\nnot\n{shown.output}")

    def completed(self, command: str) -> str:
        """A command with words like `lake://a/....parquet` as an earlier output has them: a reader copies."""
        earlier = "\n".join(self.outputs.values())
        for word in re.findall(r"\S*\.\.\.\S+", command):
            found = re.findall(r"\S+".join(map(re.escape, word.split("...", 1))), earlier)
            command = command.replace(word, found[-1] if found else word)
        return command

    def typed(self, command: str) -> tuple[int, str]:
        """What a command put out: in this process where no shell is needed, as a start of Python takes a second."""
        if command.startswith("tierlake ") and not SHELL.search(command.partition(" # ")[0]):
            return called(shlex.split(command, comments=True)[1:])
        paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        environ = {**os.environ, "PATH": paths, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
        done = subprocess.run(
            ["bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self.folder,
            env=environ,
            timeout=120,
        )
        return done.returncode, done.stdout

    def _run(self, block: Block, shown: Block | None) -> None:
        code = compile(block.text, str(block), "exec", dont_inherit=True)
        if is_compiled_only(block):
            return
        out = io.StringIO()
        try:
            with redirect_stdout(out), redirect_stderr(out):
                exec(code, self.names)  # noqa: S102 - the page's own
                if shown is not None and not out.getvalue() and (last := expression(block)) is not None:
                    print(eval(compile(last, str(block), "eval"), self.names))  # noqa: S307, T201 - likewise
        except Exception as error:  # noqa: BLE001 - whatever it raises, it is reported
            self.faults.append(f"{block} raised {''.join(format_exception(error))}")
            return
        if shown is not None:
            self.outputs[shown, 0] = out.getvalue()
            if not agrees(out.getvalue(), shown.text):
                self.faults.append(f"{block} put out\n{out.getvalue()}\nnot\n{shown.text}")


def called(arguments: list[str]) -> tuple[int, str]:
    """Exit code and output of the command line, in this process."""
    out, hook = io.StringIO(), sys.excepthook
    try:
        with redirect_stdout(out), redirect_stderr(out):
            main(arguments)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    finally:
        sys.excepthook = hook
    return 0, out.getvalue()


def without_the_run(output: str) -> str:
    """An output with an ellipsis for what is another at each run."""
    today = datetime.now(UTC).date()

    def day(found: re.Match[str]) -> str:
        return "..." if abs(date.fromisoformat(found[0]) - today) < AROUND_TODAY else found[0]

    return DAY.sub(day, OF_THE_RUN.sub("...", output)).rstrip()


def rewritten(text: str, session: Session) -> str:
    """A page with the outputs of a session in place of those that disagree."""
    for block, replacement in sorted(replacements(session), key=lambda one: -one[0].start):
        text = text[: block.start] + replacement + text[block.start + len(block.text) :]
    return text


def replacements(session: Session) -> Iterator[tuple[Block, str]]:
    for block in dict.fromkeys(block for block, _ in session.outputs):
        if block.language == "text":
            output = session.outputs[block, 0]
            if not agrees(output, block.text):
                yield block, f"{without_the_run(output)}\n"
            continue
        lines = []
        for number, shown in enumerate(shown_in(block)):
            output = session.outputs.get((block, number), shown.output)
            is_kept = not shown.output or agrees(output, shown.output)
            lines += [f"$ {shown.command}", shown.output if is_kept else without_the_run(output)]
        yield block, "\n".join(line.rstrip() for line in lines if line) + "\n"
