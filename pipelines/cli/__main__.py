"""`python -m tierlake.pipelines.cli`: the command line where the script `tierlake` is not on PATH."""

from tierlake.pipelines.cli import main

main()
