"""Symmetric positive definite matrices: lower triangles, row-major. Small ones by the kernel, large ones by LAPACK.

LAPACK's threads cost more than they save on a few hundred rows, the more so when several fits run side by side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs

from melogit.kernel import _kernel

FloatArray = NDArray[np.float64]
# From so many rows on, LAPACK is quicker on an idle machine; where other programs run, waking its threads can take a
# quarter of a second, whatever the size.
LARGE = 640
_potrf, _potrs, _potri = get_lapack_funcs(("potrf", "potrs", "potri"), dtype=np.float64)


def factor_dense(A: FloatArray, isa: str = "") -> bool:
    """A = L L', in place; False where A is not positive definite."""
    if len(A) < LARGE:
        return _kernel.dense_factor(A, isa)
    # The lower triangle in C order is the upper one in Fortran order; LAPACK works in place.
    return _potrf(A.T, lower=0, clean=0, overwrite_a=1)[1] == 0


def solve_dense(L: FloatArray, b: FloatArray, isa: str = "") -> FloatArray:
    """(L L')^-1 b for ``b`` (N,)."""
    if len(L) >= LARGE:
        return _potrs(L.T, b, lower=0)[0]
    x = b.copy()
    _kernel.dense_solve(L, x, isa)
    return x


def invert_dense(L: FloatArray, isa: str = "") -> FloatArray:
    """(L L')^-1, lower triangle."""
    if len(L) >= LARGE:
        return _potri(L.T.copy(order="F"), lower=0, overwrite_c=1)[0].T
    P = np.empty_like(L)
    _kernel.dense_invert(L, np.empty_like(L), P, isa)
    return P
