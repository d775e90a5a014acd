// The rows of one lowest-level group at every path of nodes: nodes in the lanes.
#pragma once
#include "dense.h"

namespace melogit {
namespace MELOGIT_ISA {

enum Want { LOGLIK, SCORE, INFORMATION };

struct RowSums {  // buffers for one block of rows and one vector of nodes
  double* r;      // (rows, W) residual wy - wt mu
  double* w;      // (rows, W) weight wt mu (1 - mu)
};

// Adds the log-likelihood of rows i0 .. i0+n-1 at W nodes to *f, and writes residuals and weights. b holds the W
// values of each random-effect column's total coefficient (entry 0: the constant).
//
// log(1 + exp(-|eta|)) is summed as the log of a product, 512 factors (each at most 2) at a time.
template <bool BINARY, Want WANT>
static inline void rows_at_nodes(const Data& D, const double* eta0, int64_t i0, int64_t n, const vd* b, vd* f,
                                 RowSums out) {
  vd linear = splat(0), log_sum = splat(0), prod = splat(1.0);
  for (int64_t i = 0; i < n; ++i) {
    vd eta = eta0[i0 + i] + b[0];
    for (int j = 1; j < D.nz; ++j) eta += D.zc[j][i0 + i] * b[j];
    vi positive = eta > 0;
    vd e = vexp(select(positive, -eta, eta));
    vd d = 1.0 + e;
    double wy = D.wy[i0 + i], wt = D.wt[i0 + i];
    if (BINARY) {
      linear += wy * eta - select(positive, eta, splat(0));
      prod *= d;
      if ((i & 511) == 511) {
        log_sum += vlog(prod);
        prod = splat(1.0);
      }
    } else {
      linear += wy * eta - wt * (select(positive, eta, splat(0)) + vlog(d));
    }
    if (WANT != LOGLIK) {
      vd inv = 1.0 / d;
      vd mu = select(positive, inv, e * inv);
      store(out.r + i * W, BINARY ? wy - mu : wy - wt * mu);
      if (WANT == INFORMATION) store(out.w + i * W, BINARY ? e * inv * inv : wt * (e * inv * inv));
    }
  }
  *f += BINARY ? linear - (log_sum + vlog(prod)) : linear;
}

template <bool BINARY>
static inline void rows_at_nodes(const Data& D, Want want, const double* eta0, int64_t i0, int64_t n, const vd* b,
                                 vd* f, RowSums out) {
  if (want == LOGLIK) rows_at_nodes<BINARY, LOGLIK>(D, eta0, i0, n, b, f, out);
  else if (want == SCORE) rows_at_nodes<BINARY, SCORE>(D, eta0, i0, n, b, f, out);
  else rows_at_nodes<BINARY, INFORMATION>(D, eta0, i0, n, b, f, out);
}

static inline void rows_at_nodes(const Data& D, Want want, const double* eta0, int64_t i0, int64_t n, const vd* b,
                                 vd* f, RowSums out) {
  if (D.binary) rows_at_nodes<true>(D, want, eta0, i0, n, b, f, out);
  else rows_at_nodes<false>(D, want, eta0, i0, n, b, f, out);
}

}  // namespace MELOGIT_ISA
}  // namespace melogit
