// Small dense matrices, row-major, dimensions known only at run time (up to MAX_EFFECTS).
#pragma once
#include "vec.h"

namespace melogit {
namespace MELOGIT_ISA {

// A = R'R with R upper triangular; false where A is not positive definite.
static inline bool cholesky_upper(const double* A, int lda, int n, double* R) {
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i <= j; ++i) {
      double s = A[i * lda + j];
      for (int k = 0; k < i; ++k) s -= R[k * n + i] * R[k * n + j];
      if (i < j) {
        R[i * n + j] = s / R[i * n + i];
      } else {
        if (!(s > 0)) return false;
        R[j * n + j] = sqrt(s);
      }
    }
    for (int i = j + 1; i < n; ++i) R[i * n + j] = 0;
  }
  return true;
}

// C = R^-1, upper triangular.
static inline void invert_upper(const double* R, int n, double* C) {
  for (int j = 0; j < n; ++j) {
    for (int i = n - 1; i > j; --i) C[i * n + j] = 0;
    C[j * n + j] = 1.0 / R[j * n + j];
    for (int i = j - 1; i >= 0; --i) {
      double s = 0;
      for (int k = i + 1; k <= j; ++k) s -= R[i * n + k] * C[k * n + j];
      C[i * n + j] = s / R[i * n + i];
    }
  }
}

// A = L L' with L lower triangular.
static inline bool cholesky_lower(const double* A, int lda, int n, double* L) {
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      double s = A[i * lda + j];
      for (int k = 0; k < j; ++k) s -= L[i * n + k] * L[j * n + k];
      if (i > j) {
        L[i * n + j] = s / L[j * n + j];
      } else {
        if (!(s > 0)) return false;
        L[i * n + i] = sqrt(s);
      }
    }
    for (int j = i + 1; j < n; ++j) L[i * n + j] = 0;
  }
  return true;
}

// x = (L L')^-1 x
static inline void solve_lower(const double* L, int n, double* x) {
  for (int i = 0; i < n; ++i) {
    for (int k = 0; k < i; ++k) x[i] -= L[i * n + k] * x[k];
    x[i] /= L[i * n + i];
  }
  for (int i = n - 1; i >= 0; --i) {
    for (int k = i + 1; k < n; ++k) x[i] -= L[k * n + i] * x[k];
    x[i] /= L[i * n + i];
  }
}

// y += A x, A is n x k
static inline void add_matvec(const double* A, int n, int k, const double* x, double* y) {
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < k; ++j) y[i] += A[i * k + j] * x[j];
}

// y += A' x, A is n x k
static inline void add_matvec_t(const double* A, int n, int k, const double* x, double* y) {
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < k; ++j) y[j] += A[i * k + j] * x[i];
}

// For matrices of some hundred rows, where threads of a linear algebra library cost more than they save. Lower
// triangles, row-major; every inner loop is a dot product of two rows.
static inline double dot(const double* a, const double* b, int64_t n) {
  vd s0 = splat(0), s1 = splat(0);
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) s0 += load(a + i) * load(b + i), s1 += load(a + i + W) * load(b + i + W);
  double s = hsum(s0 + s1);
  for (; i < n; ++i) s += a[i] * b[i];
  return s;
}

// A = L L' in place; false where A is not positive definite.
static inline bool dense_factor(double* A, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    double* row = A + i * n;
    for (int64_t j = 0; j < i; ++j) row[j] = (row[j] - dot(row, A + j * n, j)) / A[j * n + j];
    const double s = row[i] - dot(row, row, i);
    if (!(s > 0)) return false;
    row[i] = sqrt(s);
  }
  return true;
}

// x = (L L')^-1 x
static inline void dense_solve(const double* L, int64_t n, double* x) {
  for (int64_t i = 0; i < n; ++i) x[i] = (x[i] - dot(L + i * n, x, i)) / L[i * n + i];
  for (int64_t i = n - 1; i >= 0; --i) {
    x[i] /= L[i * n + i];
    for (int64_t k = 0; k < i; ++k) x[k] -= L[i * n + k] * x[i];
  }
}

// P = (L L')^-1, lower triangle; Y (n, n) is scratch and ends as the transpose of L^-1.
static inline void dense_invert(const double* L, int64_t n, double* Y, double* P) {
  for (int64_t i = 0; i < n; ++i) {
    double* y = Y + i * n;
    y[i] = 1.0 / L[i * n + i];
    for (int64_t k = i + 1; k < n; ++k) y[k] = -dot(L + k * n + i, y + i, k - i) / L[k * n + k];
  }
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j <= i; ++j) P[i * n + j] = dot(Y + i * n + i, Y + j * n + i, n - i);
}

}  // namespace MELOGIT_ISA
}  // namespace melogit
