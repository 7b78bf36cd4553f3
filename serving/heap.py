"""Keep Python's collector off what lives: walking it holds every answer up, for 0.1 s after start, for 10 ms later."""

from __future__ import annotations

import gc

YOUNG = 50_000
"""New objects that live at once before the collector looks for cycles among them. A few hundred answers under way are
some ten thousand objects, none of them garbage: at Python's own 700 it walks them several times a second."""


def settle() -> None:
    """Take all that lives now, modules above all, out of the collector's sight, and let it look at the rest seldom.

    Called before the first request.
    """
    gc.collect()
    gc.freeze()
    _, *older = gc.get_threshold()
    gc.set_threshold(YOUNG, *older)
