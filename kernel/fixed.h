// The plain logistic model at beta = given linear predictor: log-likelihood, score and Hessian in the fixed effects.
// Rows in the lanes for the logistic function, columns in the lanes for the cross products.
#pragma once
#include "leaf.h"

namespace melogit {
namespace MELOGIT_ISA {

constexpr int64_t FIXED_BLOCK = 256;

static int64_t fixed_scratch(const Data& D) {
  const int64_t cp = (D.p + W - 1) / W * W;
  return FIXED_BLOCK * (W + 2) + D.p * cp + 64;
}

// sum: log-likelihood, score (p), Hessian (p, p), rows i0 .. i1-1 added.
static int fixed_effects(const Data& D, const double* eta0, int64_t i0, int64_t i1, double* sum, double* scratch) {
  const int p = D.p, cp = (p + W - 1) / W * W;
  Arena arena(scratch);
  double* w = arena.take(FIXED_BLOCK);
  double* r = arena.take(FIXED_BLOCK);
  double* wq = arena.take(FIXED_BLOCK * W);
  double* H = arena.take(p * cp);
  memset(H, 0, p * cp * sizeof(double));
  double loglik = 0;
  for (int64_t j0 = i0; j0 < i1; j0 += FIXED_BLOCK) {
    const int64_t n = i1 - j0 < FIXED_BLOCK ? i1 - j0 : FIXED_BLOCK;
    vd linear = splat(0), logs = splat(0), prod = splat(1.0);
    vi lane = {};
    for (int k = 0; k < W; ++k) lane[k] = k;
    for (int64_t i = 0; i < n; i += W) {
      const vi live = lane < (int64_t)(n - i);
      const vd eta = select(live, load(eta0 + j0 + i), splat(0));
      const vd wy = select(live, load(D.wy + j0 + i), splat(0)), wt = select(live, load(D.wt + j0 + i), splat(0));
      const vi positive = eta > 0;
      const vd e = vexp(select(positive, -eta, eta)), d = 1.0 + e, inv = 1.0 / d;
      linear += wy * eta - wt * select(positive, eta, splat(0));
      if (D.binary) prod *= select(live, d, splat(1.0));
      else logs += wt * vlog(d);
      store(r + i, wy - wt * select(positive, inv, e * inv));
      store(w + i, wt * (e * inv * inv));
    }
    loglik += hsum(linear - logs - (D.binary ? vlog(prod) : splat(0)));
    const double* Q = D.Q + j0 * D.c;
    for (int j = 0; j < p; j += W) {
      vd s = splat(0);
      for (int64_t i = 0; i < n; ++i) {
        const vd q = load(Q + i * D.c + j);
        s += r[i] * q;
        store(wq + i * W, w[i] * q);
      }
      for (int k = 0; k < W && j + k < p; ++k) sum[1 + j + k] += s[k];
      product(Q, D.c, j + W < p ? j + W : p, wq, W, n, H + j, cp);
    }
  }
  sum[0] += loglik;
  for (int j = 0; j < p; ++j)
    for (int k = j; k < p; ++k) {
      sum[1 + p + j * p + k] -= H[j * cp + k];
      if (k > j) sum[1 + p + k * p + j] -= H[j * cp + k];
    }
  return isfinite(loglik) ? OK : NOT_FINITE;
}

}  // namespace MELOGIT_ISA
}  // namespace melogit
