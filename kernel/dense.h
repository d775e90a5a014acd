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

}  // namespace MELOGIT_ISA
}  // namespace melogit
