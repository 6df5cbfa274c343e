"""Many readers and writers at once: what comes through, how long each call takes, and what the process holds meanwhile.

`traffic` is the load: threads that call a filesystem's blocking verbs, as notebooks and Dagster's steps do. `worker` is
a process with some of these threads and `crew` is all processes of one library; `samples` looks at them from outside.
`benchmarks/bench_load.py` puts tierlake beside s3fs, and `tests/soak/test_load.py` asserts that nothing grows.
"""
