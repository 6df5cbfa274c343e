"""The works, a file each: data, a function for each contender, and the figures to reach.

To add a contender, write a function from a place to an act, and name it in the work's list with the modules it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.works import columns, csv_file, files, ingest, listing, observe, table, upload, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.model import Work

WORKS: Mapping[str, Work] = {
    work.name: work
    for work in (
        columns.WORK,
        whole.CAT,
        whole.GET,
        files.WORK,
        table.WORK,
        upload.WORK,
        ingest.WORK,
        csv_file.WORK,
        listing.WORK,
        observe.COLUMNS,
        observe.FILES,
    )
}
