"""Import time: `import tierlake`, its packages and the filesystem itself, beside `import s3fs`.

    python benchmarks/bench_import.py [--rounds 15]

Each import runs in an interpreter of its own, in turns within one run, without what merely starting Python takes. Times
are medians; each ratio is to s3fs's. `import tierlake.connector` may take 1.5 times as long.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

IMPORTS = {
    "import s3fs": "import s3fs",
    "import tierlake": "import tierlake",
    "import tierlake.connector": "import tierlake.connector",
    "from tierlake import LakeFileSystem": "from tierlake import LakeFileSystem",
}
MOST = 1.5


def seconds(statement: str) -> float:
    """How long a fresh interpreter takes for it."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure, print, and fail where the bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for number in range(rounds + 1):
        nothing = seconds("pass")
        for name, statement in IMPORTS.items():
            spent = seconds(statement) - nothing
            if number:  # the first round reads the files from the disk
                taken[name].append(spent)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    print(f"{'':38} {'median':>8} {'min':>8} {'max':>8}   / s3fs")
    for name, times in taken.items():
        ratio = medians[name] / medians["import s3fs"]
        print(f"{name:38} {medians[name]:7.3f}s {min(times):7.3f}s {max(times):7.3f}s   {ratio:6.2f}")
    assert medians["import tierlake.connector"] <= MOST * medians["import s3fs"], (
        "import tierlake.connector takes too long"
    )


if __name__ == "__main__":
    main()
