// Joint modes of crossed random effects: one factor (the largest) is eliminated group by group, the rest is dense.
//
// With a_i the loadings of row i on all effects u, M = I + sum_i w_i a_i a_i' splits into the eliminated factor's block,
// which is block-diagonal (one q x q matrix M_g per group), the block of the rest, and what ties them. Cholesky:
// M_g = L_g L_g', T_g = L_g^-1 B_g (B_g the ties of group g), and S = M_rest - sum_g T_g' T_g is left to LAPACK.
#pragma once
#include "dense.h"

namespace melogit {
namespace MELOGIT_ISA {

constexpr int CROSSED_BLOCK = 256;

// Linear predictor, log-likelihood and its derivatives in it for the rows of some groups; the score in their effects.
static int crossed_rows(const CrossedData& D, const CrossedState& S, int64_t g0, int64_t g1, double* loglik) {
  const int q = D.q, r = D.r, s = q + r;
  const int64_t i1 = D.first[g1];
  double total = 0;
  int64_t g = g0;
  for (int64_t i0 = D.first[g0]; i0 < i1; i0 += CROSSED_BLOCK) {
    const int64_t n = i1 - i0 < CROSSED_BLOCK ? i1 - i0 : CROSSED_BLOCK;
    double eta[CROSSED_BLOCK + LANES];
    for (int64_t j = 0; j < n; ++j) {
      const int64_t i = i0 + j;
      while (i >= D.first[g + 1]) ++g;
      const double* a = S.A + i * s;
      if (s == 2 && q == 1) {  // two random intercepts: by far the commonest
        eta[j] = S.eta0[i] + a[0] * S.u0[g] + a[1] * S.u1[D.column[i]];
        continue;
      }
      double e = S.eta0[i];
      for (int k = 0; k < q; ++k) e += a[k] * S.u0[g * q + k];
      for (int k = 0; k < r; ++k) e += a[q + k] * S.u1[D.column[i * r + k]];
      eta[j] = e;
    }
    for (int64_t j = n; j < n + W; ++j) eta[j] = 0;
    vd sum = splat(0);
    vi lane = {};
    for (int k = 0; k < W; ++k) lane[k] = k;
    for (int64_t j = 0; j < n; j += W) {
      const vi live = lane < (int64_t)(n - j);
      const vd e = load(eta + j);
      const vd wy = select(live, load(D.wy + i0 + j), splat(0)), wt = select(live, load(D.wt + i0 + j), splat(0));
      const vi positive = e > 0;
      const vd x = vexp(select(positive, -e, e)), d = 1.0 + x, inv = 1.0 / d;
      sum += wy * e - wt * (select(positive, e, splat(0)) + vlog(d));
      const vd mu = select(positive, inv, x * inv), w = wt * (x * inv * inv);
      const vd res = wy - wt * mu, bend = w * (1.0 - 2.0 * mu);
      const int64_t i = i0 + j;
      if (j + W <= n) {
        store(S.residual + i, res), store(S.weight + i, w), store(S.bend + i, bend);
      } else {  // the rows after the end may be another thread's
        for (int k = 0; j + k < n; ++k) S.residual[i + k] = res[k], S.weight[i + k] = w[k], S.bend[i + k] = bend[k];
      }
    }
    total += hsum(sum);
  }
  for (int64_t c = g0; c < g1; ++c) {
    double* score = S.score0 + c * q;
    for (int k = 0; k < q; ++k) score[k] = -S.u0[c * q + k], total -= 0.5 * S.u0[c * q + k] * S.u0[c * q + k];
    if (q == 1) {
      double t = 0;
      for (int64_t i = D.first[c]; i < D.first[c + 1]; ++i) t += S.residual[i] * S.A[i * s];
      score[0] += t;
      continue;
    }
    for (int64_t i = D.first[c]; i < D.first[c + 1]; ++i)
      for (int k = 0; k < q; ++k) score[k] += S.residual[i] * S.A[i * s + k];
  }
  *loglik += total;
  return isfinite(total) ? OK : NOT_FINITE;
}

// L_g and T_g of some groups, and the log-determinants of L_g L_g'.
static int crossed_factor(const CrossedData& D, const CrossedState& S, int64_t g0, int64_t g1, double* logdet) {
  const int q = D.q, r = D.r, s = q + r;
  double M[MAX_EFFECTS * MAX_EFFECTS];
  double total = 0;
  for (int64_t g = g0; g < g1; ++g) {
    const int64_t c = D.start[g + 1] - D.start[g];
    double* T = S.T + D.start[g] * q;  // (c, q)
    for (int64_t k = 0; k < c * q; ++k) T[k] = 0;
    for (int k = 0; k < q; ++k)
      for (int l = 0; l < q; ++l) M[k * q + l] = k == l;
    for (int64_t i = D.first[g]; i < D.first[g + 1]; ++i) {
      const double* a = S.A + i * s;
      const double w = S.weight[i];
      for (int k = 0; k < q; ++k) {
        const double wa = w * a[k];
        for (int l = 0; l <= k; ++l) M[k * q + l] += wa * a[l];
        for (int l = 0; l < r; ++l) T[D.local[i * r + l] * q + k] += wa * a[q + l];
      }
    }
    double* L = S.L + g * q * q;
    if (!cholesky_lower(M, q, q, L)) return NOT_FINITE;
    for (int k = 0; k < q; ++k) total += 2 * log(L[k * q + k]);
    for (int64_t b = 0; b < c; ++b) {
      double* t = T + b * q;
      for (int k = 0; k < q; ++k) {
        for (int l = 0; l < k; ++l) t[k] -= L[k * q + l] * t[l];
        t[k] /= L[k * q + k];
      }
    }
  }
  *logdet += total;
  return OK;
}

// Rows j0..j1-1 of the lower triangle of S. Every entry is summed over groups in their order.
static void crossed_schur(const CrossedData& D, const CrossedState& S, int64_t j0, int64_t j1) {
  const int q = D.q, r = D.r, s = q + r;
  const int64_t N = D.rest;
  for (int64_t j = j0; j < j1; ++j) {
    memset(S.schur + j * N, 0, N * sizeof(double));
    S.schur[j * N + j] = 1;
  }
  for (int64_t g = 0; g < D.groups; ++g) {
    const int32_t* cols = D.cols + D.start[g];
    const int64_t c = D.start[g + 1] - D.start[g];
    if (c == 0 || cols[c - 1] < j0 || cols[0] >= j1) continue;
    for (int64_t i = D.first[g]; i < D.first[g + 1]; ++i) {
      const double* a = S.A + i * s + q;
      const int32_t* at = D.column + i * r;
      for (int k = 0; k < r; ++k) {
        if (at[k] < j0 || at[k] >= j1) continue;
        double* row = S.schur + at[k] * N;
        const double wa = S.weight[i] * a[k];
        for (int l = 0; l < r; ++l)
          if (at[l] <= at[k]) row[at[l]] += wa * a[l];
      }
    }
    const double* T = S.T + D.start[g] * q;
    const bool together = cols[c - 1] - cols[0] == c - 1;
    for (int64_t a = 0; a < c; ++a) {
      if (cols[a] < j0 || cols[a] >= j1) continue;
      double* row = S.schur + cols[a] * N;
      const double* ta = T + a * q;
      if (q == 1 && together) {
        double* out = row + cols[0];
        for (int64_t b = 0; b <= a; ++b) out[b] -= ta[0] * T[b];
      } else if (q == 1) {
        for (int64_t b = 0; b <= a; ++b) row[cols[b]] -= ta[0] * T[b];
      } else {
        for (int64_t b = 0; b <= a; ++b) {
          double t = 0;
          for (int k = 0; k < q; ++k) t += ta[k] * T[b * q + k];
          row[cols[b]] -= t;
        }
      }
    }
  }
}

// x0 = L^-1 x0, then x1 -= T' x0: what is left to be solved with S.
static void crossed_forward(const CrossedData& D, const CrossedState& S, double* x0, double* x1) {
  const int q = D.q;
  for (int64_t g = 0; g < D.groups; ++g) {
    double* x = x0 + g * q;
    const double* L = S.L + g * q * q;
    for (int k = 0; k < q; ++k) {
      for (int l = 0; l < k; ++l) x[k] -= L[k * q + l] * x[l];
      x[k] /= L[k * q + k];
    }
    for (int64_t b = D.start[g]; b < D.start[g + 1]; ++b) {
      double t = 0;
      for (int k = 0; k < q; ++k) t += S.T[b * q + k] * x[k];
      x1[D.cols[b]] -= t;
    }
  }
}

// x0 = L^-T (x0 - T x1).
static void crossed_backward(const CrossedData& D, const CrossedState& S, double* x0, const double* x1) {
  const int q = D.q;
  for (int64_t g = 0; g < D.groups; ++g) {
    double* x = x0 + g * q;
    const double* L = S.L + g * q * q;
    for (int64_t b = D.start[g]; b < D.start[g + 1]; ++b)
      for (int k = 0; k < q; ++k) x[k] -= S.T[b * q + k] * x1[D.cols[b]];
    for (int k = q - 1; k >= 0; --k) {
      for (int l = k + 1; l < q; ++l) x[k] -= L[l * q + k] * x[l];
      x[k] /= L[k * q + k];
    }
  }
}

static int64_t crossed_inverse_scratch(const CrossedData& D) {
  return (2 * D.q + 1) * (D.most_columns + 8) + 2 * MAX_EFFECTS * MAX_EFFECTS;
}

// For every row of some groups: h = M^-1 a on the row's own effects, and v = a' M^-1 a; the blocks of M^-1 of the
// groups. P = S^-1, lower triangle.
static void crossed_inverse(const CrossedData& D, const CrossedState& S, const double* P, int64_t g0, int64_t g1,
                            double* h, double* v, double* block, double* scratch) {
  const int q = D.q, r = D.r, s = q + r;
  const int64_t N = D.rest;
  Arena arena(scratch);
  double* K = arena.take(q * D.most_columns);  // (c, q): T L^-1, so that M_g^-1 B_g = K'
  double* E = arena.take(q * D.most_columns);  // (c, q): P_g K
  double* inv = arena.take(q * q);             // block of M^-1
  for (int64_t g = g0; g < g1; ++g) {
    const int32_t* cols = D.cols + D.start[g];
    const int64_t c = D.start[g + 1] - D.start[g];
    const double* L = S.L + g * q * q;
    for (int64_t b = 0; b < c; ++b) {
      double* x = K + b * q;
      memcpy(x, S.T + (D.start[g] + b) * q, q * sizeof(double));
      for (int k = q - 1; k >= 0; --k) {
        for (int l = k + 1; l < q; ++l) x[k] -= L[l * q + k] * x[l];
        x[k] /= L[k * q + k];
      }
    }
    memset(E, 0, c * q * sizeof(double));
    for (int64_t a = 0; a < c; ++a) {
      const double* row = P + cols[a] * N;
      if (q == 1) {
        double e = row[cols[a]] * K[a];
        const double ka = K[a];
        for (int64_t b = 0; b < a; ++b) {
          const double p = row[cols[b]];
          e += p * K[b];
          E[b] += p * ka;
        }
        E[a] += e;
        continue;
      }
      for (int64_t b = 0; b <= a; ++b) {
        const double p = row[cols[b]];
        for (int k = 0; k < q; ++k) {
          E[a * q + k] += p * K[b * q + k];
          if (b < a) E[b * q + k] += p * K[a * q + k];
        }
      }
    }
    for (int k = 0; k < q; ++k) {
      for (int l = 0; l < q; ++l) inv[l * q + k] = l == k;
      double x[MAX_EFFECTS];
      for (int l = 0; l < q; ++l) x[l] = l == k;
      solve_lower(L, q, x);
      for (int l = 0; l < q; ++l) {
        double t = x[l];
        for (int64_t b = 0; b < c; ++b) t += K[b * q + l] * E[b * q + k];
        inv[l * q + k] = t;
      }
    }
    memcpy(block + g * q * q, inv, q * q * sizeof(double));
    for (int64_t i = D.first[g]; i < D.first[g + 1]; ++i) {
      const double* a = S.A + i * s;
      const int32_t *at = D.column + i * r, *in = D.local + i * r;
      double* out = h + i * s;
      double total = 0;
      for (int k = 0; k < q; ++k) {
        double t = 0;
        for (int l = 0; l < q; ++l) t += inv[k * q + l] * a[l];
        for (int l = 0; l < r; ++l) t -= E[in[l] * q + k] * a[q + l];
        out[k] = t;
        total += t * a[k];
      }
      for (int k = 0; k < r; ++k) {
        double t = 0;
        for (int l = 0; l < r; ++l) t += a[q + l] * (at[k] >= at[l] ? P[at[k] * N + at[l]] : P[at[l] * N + at[k]]);
        for (int l = 0; l < q; ++l) t -= E[in[k] * q + l] * a[l];
        out[q + k] = t;
        total += t * a[q + k];
      }
      v[i] = total;
    }
  }
}

}  // namespace MELOGIT_ISA
}  // namespace melogit
