"""Runs benchmarks, prints their tables, and writes them into docs/benchmarks.md.

    python -m benchmarks                       # all works and scripts
    python -m benchmarks columns --rounds 7    # one work
    python -m benchmarks csv --only tierlake --megabytes 10000
    python -m benchmarks --write               # the page and the picture anew from what was measured before

A work that is run anew replaces its results; the others stay as they were measured. Times are medians of rounds that
contenders ran in turns; only ratios of one run mean anything. Nothing fails by being slow.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import data, plot, report, results, scripts
from benchmarks.harness import Plan, measured
from benchmarks.interpreters import Interpreters
from benchmarks.model import Options
from benchmarks.works import WORKS

FOLDER = Path(__file__).resolve().parent
DOCS = FOLDER.parent / "docs"
PAGE, PICTURE = DOCS / "benchmarks.md", DOCS / "benchmarks.svg"
RESULTS, OUTPUTS = FOLDER / "results" / "works.json", FOLDER / "results" / "scripts.json"


def main() -> None:
    """The command line."""
    requested = parser().parse_args()
    names = requested.names or ([] if requested.write else [*WORKS, *scripts.names()])
    kept = results.load(RESULTS)
    outputs: dict[str, str] = json.loads(OUTPUTS.read_text()) if OUTPUTS.exists() else {}
    with tempfile.TemporaryDirectory(prefix="tierlake-bench-", dir=requested.scratch) as scratch:
        options = Options(
            requested.cache, Path(scratch), requested.scale, requested.days, requested.megabytes, requested.keys
        )
        interpreters = Interpreters(requested.python)
        only, baseline = tuple(requested.only), requested.baseline
        plan = Plan(options, interpreters, requested.rounds, requested.server, only, progress, baseline)
        for name in names:
            if name in WORKS:
                kept[name] = measured(WORKS[name], plan)
                print(report.section(WORKS[name], kept[name]))
                for verdict in results.verdicts(WORKS[name], kept[name]):
                    ratio = report.ratio(WORKS[name], verdict)
                    print(f"{report.figure(verdict.target)}: {ratio} {report.judgement(verdict)}")
            else:
                outputs[name] = scripts.output(name)
                print(outputs[name])
    if requested.keep:
        RESULTS.parent.mkdir(exist_ok=True)
        results.save(RESULTS, kept)
        OUTPUTS.write_text(json.dumps(outputs, indent=1, sort_keys=True) + "\n")
        report.write(PAGE, WORKS, kept, outputs)
        plot.write(PICTURE, WORKS, kept)


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    of = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choices = [*WORKS, *scripts.names()]
    of.add_argument(
        "names", nargs="*", metavar="WORK", help=f"{', '.join(choices)} [default: all]", type=_among(choices)
    )
    of.add_argument(
        "--rounds",
        type=int,
        default=5,
        help="that count, of each start [default: 5]; 0: requests, bytes, memory",
    )
    of.add_argument("--server", choices=["seaweedfs", "minio"], default="seaweedfs")
    of.add_argument("--only", action="append", default=[], metavar="CONTENDER", help="one contender; may be repeated")
    of.add_argument("--python", action="append", default=[], type=Path, help="another interpreter to find peers in")
    of.add_argument("--scale", type=float, default=2, help="of TPC-H's lineitem [default: 2, 476 MB]")
    of.add_argument("--days", type=int, default=365, help="of flights, a partition each [default: 365]")
    of.add_argument("--megabytes", type=int, default=500, help="of CSV [default: 500]")
    of.add_argument("--keys", type=int, default=100_000, help="to be listed [default: 100,000]")
    of.add_argument("--baseline", type=Path, help="a checkout of other code, for what runs that too (observe-*)")
    of.add_argument("--cache", type=Path, default=data.cache_folder(), help="of generated data")
    of.add_argument("--scratch", type=Path, help="where the servers' data go for the time of the run")
    of.add_argument("--write", action="store_true", help="without works: only the page and the picture")
    of.add_argument("--no-keep", dest="keep", action="store_false", help="print, and leave docs/ as it is")
    return of


def _among(choices: list[str]) -> object:
    def name(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return name


def progress(line: str) -> None:
    """On stderr: the tables are the output."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
