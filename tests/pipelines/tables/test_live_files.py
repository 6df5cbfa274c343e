"""Files as Arrow's threads open and drop them."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

READ = """
import sys, threading
import pyarrow.dataset as pads
from fsspec.implementations.local import LocalFileSystem
from tierlake.pipelines.tables import live_files

close = live_files.NamedFile.close

def slowly(file):
    threading.Event().wait(0.3)  # the time in which the process ends
    close(file)

live_files.NamedFile.close = slowly
table = pads.dataset(sys.argv[1], filesystem=live_files.arrow_filesystem(LocalFileSystem())).to_table()
print(table.num_rows)
"""


def test_a_process_ends_while_arrow_drops_its_files(tmp_path):
    for number in range(20):
        pq.write_table(pa.table({"n": [number]}), tmp_path / f"{number}.parquet")
    done = subprocess.run([sys.executable, "-c", READ, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "20\n", "")
