"""The decorators of the kernels' functions: compiled, and without counting references.

All arrays are made by the caller and outlive the call. Counting who holds them, which numba does whenever one is taken
out of a tuple, took more than half of the time. The flag is numba's own, and `tests/stages/quality/test_heuristics.py`
says should it ever go.
"""

from __future__ import annotations

from numba import njit

compiled = njit(_nrt=False)
inlined = njit(_nrt=False, forceinline=True)
"""For what is done at every character or word: handing an array over, seven numbers, takes longer than that."""
