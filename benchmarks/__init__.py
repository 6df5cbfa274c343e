"""Benchmarks of tierlake beside what else people use: `python -m benchmarks --help`.

`works/` has a file for each work: its data, a function for each contender, and the figures it has to reach. `harness`
runs the contenders in turns, each in a process of its own (`worker`), past a `relay` that adds latency or counts;
`report` and `plot` write docs/benchmarks.md from the results.
"""
