"""Rows for people: a table as wide as the terminal, plain tab-separated lines in a pipe."""

import shutil
import sys
from collections.abc import Sequence

from turnstone.cli.screen import CONTROL, console


def show(heads: Sequence[str], rows: Sequence[Sequence[object]], *, none: str) -> None:
    """Print rows under their heads; `none` when there are none. Only the last column is cut to fit."""
    if not rows:
        print(none, file=sys.stderr)
        return
    texts = [[CONTROL.sub("�", str(value)).replace("\n", " ").replace("\t", " ") for value in row] for row in rows]
    if not sys.stdout.isatty():
        for row in texts:
            print("\t".join(row))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", width=None)
    for index, head in enumerate(heads):
        width = max(len(row[index]) for row in [list(heads), *texts])
        is_last = index == len(heads) - 1
        table.add_column(head, no_wrap=True, overflow="ellipsis", min_width=None if is_last else width)
    for row in texts:
        table.add_row(*(Text(value) for value in row))
    wide = console(sys.stdout)
    wide.width = max(shutil.get_terminal_size().columns, 60)
    wide.print(table)
