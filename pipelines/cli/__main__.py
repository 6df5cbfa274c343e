"""`python -m pipelines.cli`: the command line where the script `tierlake` is not on PATH."""

from pipelines.cli import main

main()
