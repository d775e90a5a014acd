// Joint modes of crossed random effects: one factor (the largest) is eliminated group by group, the rest is dense.
//
// With a_i the loadings of row i on all effects u, M = I + sum_i w_i a_i a_i' splits into the eliminated factor's block,
// which is block-diagonal (one q x q matrix M_g per group), the block of the rest, and what ties them. Cholesky:
// M_g = L_g L_g', T_g = L_g^-1 B_g (B_g the ties of group g), and S = M_rest - sum_g T_g' T_g is left to LAPACK.
//
// What is summed into the dense matrix, or gathered from it, goes column by column of the rest (CrossedData::meeting),
// so that the row at work stays in the processor's nearest cache. Where every group meets every effect of the rest,
// these are plain matrix products.
//
// Sizes Q and R are those of two random intercepts (1, 1), by far the commonest, or with a slope (2, 1); 0: known only
// at run time.
#pragma once
#include "dense.h"

namespace melogit {
namespace MELOGIT_ISA {

constexpr int CROSSED_BLOCK = 256;  // rows; also factors between 1 and 2 of which one logarithm is taken
constexpr int AHEAD = 12;           // meetings: memory asked for before it is needed

template <int Q, int R>
struct Sizes {
  static constexpr int q = Q, r = R;
};

template <typename F>
static inline auto sized(const CrossedData& D, F work) {
  if (D.r != 1) return work(Sizes<0, 0>{});
  return D.q == 1 ? work(Sizes<1, 1>{}) : D.q == 2 ? work(Sizes<2, 1>{}) : work(Sizes<0, 0>{});
}

// out[k] += sum_b x[cols[b]] T[b, k]; four chains of sums, or each addition would wait for the one before.
template <int Q>
static inline void gather_of(const double* x, const int32_t* cols, const double* T, int64_t c, double* out) {
  double t[4 * Q] = {};
  int64_t b = 0;
  for (; b + 4 <= c; b += 4)
    for (int j = 0; j < 4; ++j)
      for (int k = 0; k < Q; ++k) t[j * Q + k] += x[cols[b + j]] * T[(b + j) * Q + k];
  for (; b < c; ++b)
    for (int k = 0; k < Q; ++k) t[k] += x[cols[b]] * T[b * Q + k];
  for (int k = 0; k < Q; ++k) out[k] += (t[k] + t[Q + k]) + (t[2 * Q + k] + t[3 * Q + k]);
}

static inline void gather(const double* x, const int32_t* cols, const double* T, int64_t c, int q, double* out) {
  if (q == 1) return gather_of<1>(x, cols, T, c, out);
  if (q == 2) return gather_of<2>(x, cols, T, c, out);
  for (int64_t b = 0; b < c; ++b)
    for (int k = 0; k < q; ++k) out[k] += x[cols[b]] * T[b * q + k];
}

// row[cols[b]] -= t' T[b] for the first `count` of a group's columns
template <int Q>
static inline void scatter_of(double* row, const int32_t* cols, const double* T, const double* t, int64_t count,
                              int size) {
  const int q = Q ? Q : size;
  for (int64_t b = 0; b < count; ++b) {
    double sum = 0;
    for (int k = 0; k < q; ++k) sum += t[k] * T[b * q + k];
    row[cols[b]] -= sum;
  }
}

static inline void scatter(double* row, const int32_t* cols, const double* T, const double* t, int64_t count, int q) {
  if (q == 1) return scatter_of<1>(row, cols, T, t, count, q);
  if (q == 2) return scatter_of<2>(row, cols, T, t, count, q);
  scatter_of<0>(row, cols, T, t, count, q);
}

// x = L^-T x of one group.
static inline void solve_transposed(const double* L, int q, double* x) {
  for (int k = q - 1; k >= 0; --k) {
    for (int l = k + 1; l < q; ++l) x[k] -= L[l * q + k] * x[l];
    x[k] /= L[k * q + k];
  }
}

// Linear predictor, log-likelihood and its derivatives in it for the rows of some groups; the score in their effects.
template <int Q, int R>
static int rows_of(const CrossedData& D, const CrossedState& S, int64_t g0, int64_t g1, double* loglik) {
  const int q = Q ? Q : D.q, r = R ? R : D.r, s = q + r;
  const int64_t i1 = D.first[g1];
  vi lane = {};
  for (int k = 0; k < W; ++k) lane[k] = k;
  double total = 0;
  int64_t g = g0;
  for (int64_t i0 = D.first[g0]; i0 < i1; i0 += CROSSED_BLOCK) {
    const int64_t n = i1 - i0 < CROSSED_BLOCK ? i1 - i0 : CROSSED_BLOCK;
    double eta[CROSSED_BLOCK + LANES];
    for (int64_t j = 0; j < n; ++j) {
      const int64_t i = i0 + j;
      while (i >= D.first[g + 1]) ++g;
      const double* a = S.A + i * s;
      double e = S.eta0[i];
      for (int k = 0; k < q; ++k) e += a[k] * S.u0[g * q + k];
      for (int k = 0; k < r; ++k) e += a[q + k] * S.u1[D.column[i * r + k]];
      eta[j] = e;
    }
    for (int64_t j = n; j < n + W; ++j) eta[j] = 0;
    vd sum = splat(0), prod = splat(1.0);
    for (int64_t j = 0; j < n; j += W) {
      const vi live = lane < (int64_t)(n - j);
      const vd e = load(eta + j);
      const vd wy = select(live, load(D.wy + i0 + j), splat(0)), wt = select(live, load(D.wt + i0 + j), splat(0));
      const vi positive = e > 0;
      const vd x = vexp(select(positive, -e, e)), d = 1.0 + x, inv = 1.0 / d;
      sum += wy * e - wt * select(positive, e, splat(0));
      if (D.binary) prod *= select(live, d, splat(1.0));
      else sum -= wt * vlog(d);
      const vd mu = select(positive, inv, x * inv), w = wt * (x * inv * inv);
      const vd res = wy - wt * mu, bend = w * (1.0 - 2.0 * mu);
      const int64_t i = i0 + j;
      if (j + W <= n) {
        store(S.residual + i, res), store(S.weight + i, w), store(S.bend + i, bend);
      } else {  // the rows after the end may be another thread's
        for (int k = 0; j + k < n; ++k) S.residual[i + k] = res[k], S.weight[i + k] = w[k], S.bend[i + k] = bend[k];
      }
    }
    total += hsum(sum - vlog(prod));
  }
  for (int64_t c = g0; c < g1; ++c) {
    double* score = S.score0 + c * q;
    for (int k = 0; k < q; ++k) score[k] = -S.u0[c * q + k], total -= 0.5 * S.u0[c * q + k] * S.u0[c * q + k];
    double t[4] = {0, 0, 0, 0};
    int64_t i = D.first[c];
    if (q == 1)
      for (; i + 4 <= D.first[c + 1]; i += 4)
        for (int k = 0; k < 4; ++k) t[k] += S.residual[i + k] * S.A[(i + k) * s];
    score[0] += (t[0] + t[1]) + (t[2] + t[3]);
    for (; i < D.first[c + 1]; ++i)
      for (int k = 0; k < q; ++k) score[k] += S.residual[i] * S.A[i * s + k];
  }
  *loglik += total;
  return isfinite(total) ? OK : NOT_FINITE;
}

static int crossed_rows(const CrossedData& D, const CrossedState& S, int64_t g0, int64_t g1, double* loglik) {
  return sized(D, [&](auto z) { return rows_of<z.q, z.r>(D, S, g0, g1, loglik); });
}

// L_g and T_g of some groups, and the log-determinants of L_g L_g'.
template <int Q, int R>
static int factor_of(const CrossedData& D, const CrossedState& S, int64_t g0, int64_t g1, double* logdet) {
  const int q = Q ? Q : D.q, r = R ? R : D.r, s = q + r;
  double M[MAX_EFFECTS * MAX_EFFECTS], over[MAX_EFFECTS];
  double total = 0;
  for (int64_t g = g0; g < g1; ++g) {
    const int64_t c = D.start[g + 1] - D.start[g];
    double* T = S.T + D.start[g] * q;  // (c, q)
    memset(T, 0, c * q * sizeof(double));
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
    for (int k = 0; k < q; ++k) total += 2 * log(L[k * q + k]), over[k] = 1.0 / L[k * q + k];
    for (int64_t b = 0; b < c; ++b) {
      double* t = T + b * q;
      for (int k = 0; k < q; ++k) {
        for (int l = 0; l < k; ++l) t[k] -= L[k * q + l] * t[l];
        t[k] *= over[k];
      }
    }
  }
  *logdet += total;
  return OK;
}

static int crossed_factor(const CrossedData& D, const CrossedState& S, int64_t g0, int64_t g1, double* logdet) {
  return sized(D, [&](auto z) { return factor_of<z.q, z.r>(D, S, g0, g1, logdet); });
}

// out (rows, W) = sum_g T[g, j + row] T[g, b .. b + W - 1] where every group meets the whole rest.
static void complete_products(const CrossedData& D, const double* T, int64_t j, int rows, int64_t b, double* out) {
  const int64_t N = D.rest, reach = D.groups * N - b - W;  // lanes of later groups would reach beyond the end
  int64_t g = reach < 0 ? 0 : reach / N + 1;
  memset(out, 0, rows * W * sizeof(double));
  product(T + j, N, rows, T + b, N, g, out, W);
  for (; g < D.groups; ++g)
    for (int a = 0; a < rows; ++a)
      for (int k = 0; k < W && b + k < N; ++k) out[a * W + k] += T[g * N + j + a] * T[g * N + b + k];
}

// Memory of a group's list: its first cache lines, which the processor would not foresee.
static inline void ask_for(const CrossedData& D, const CrossedState& S, int64_t g) {
  const double* T = S.T + D.start[g] * D.q;
  const int32_t* cols = D.cols + D.start[g];
  __builtin_prefetch(T), __builtin_prefetch(T + 8), __builtin_prefetch(T + 16);
  __builtin_prefetch(cols), __builtin_prefetch(cols + 16);
}

// Rows j0..j1-1 of the lower triangle of I - sum_g T_g' T_g. Every entry is summed over groups in their order.
static void crossed_schur(const CrossedData& D, const CrossedState& S, int64_t j0, int64_t j1) {
  const int q = D.q;
  const int64_t N = D.rest;
  if (D.complete && q == 1) {
    double out[64 * W];
    for (int64_t j = j0; j < j1; j += 64) {
      const int rows = j1 - j < 64 ? (int)(j1 - j) : 64;
      for (int64_t b = 0; b < j + rows; b += W) {
        complete_products(D, S.T, j, rows, b, out);
        for (int a = 0; a < rows; ++a)
          for (int64_t k = b; k < b + W && k <= j + a; ++k) S.schur[(j + a) * N + k] = (k == j + a) - out[a * W + k - b];
      }
    }
    return;
  }
  for (int64_t j = j0; j < j1; ++j) {
    double* row = S.schur + j * N;
    memset(row, 0, N * sizeof(double));
    row[j] = 1;
    for (int64_t m = D.met[j]; m < D.met[j + 1]; ++m) {
      if (m + AHEAD < D.met[j + 1]) ask_for(D, S, D.meeting[m + AHEAD].group);
      const int64_t begin = D.start[D.meeting[m].group], place = D.meeting[m].place;
      const int32_t* cols = D.cols + begin;
      const double *T = S.T + begin * q, *t = T + place * q;
      scatter(row, cols, T, t, place + 1, q);
    }
  }
}

// Adds the rows' own part of M_rest to S, lower triangle.
static void crossed_rest(const CrossedData& D, const CrossedState& S) {
  const int q = D.q, r = D.r, s = q + r;
  for (int64_t i = 0; i < D.n; ++i) {
    const double* a = S.A + i * s + q;
    const int32_t* at = D.column + i * r;
    for (int k = 0; k < r; ++k) {
      double* row = S.schur + at[k] * D.rest;
      const double wa = S.weight[i] * a[k];
      for (int l = 0; l < r; ++l)
        if (at[l] <= at[k]) row[at[l]] += wa * a[l];
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
    const int64_t begin = D.start[g];
    scatter(x1, D.cols + begin, S.T + begin * q, x, D.start[g + 1] - begin, q);
  }
}

// x0 = L^-T (x0 - T x1).
static void crossed_backward(const CrossedData& D, const CrossedState& S, double* x0, const double* x1) {
  const int q = D.q;
  for (int64_t g = 0; g < D.groups; ++g) {
    const int64_t begin = D.start[g], c = D.start[g + 1] - begin;
    double y[MAX_EFFECTS] = {};
    gather(x1, D.cols + begin, S.T + begin * q, c, q, y);
    for (int k = 0; k < q; ++k) x0[g * q + k] -= y[k];
    solve_transposed(S.L + g * q * q, q, x0 + g * q);
  }
}

// out[g, 0 .. W - 1] = sum_b T[g, b] P[b, 0 .. W - 1] for eight groups; all have N numbers a row.
static inline void eight_by_lanes(const double* T, const double* P, int64_t N, double* out) {
  vd sum[8];
  for (int g = 0; g < 8; ++g) sum[g] = splat(0);
  for (int64_t b = 0; b < N; ++b) {
    const vd p = load(P + b * N);
    for (int g = 0; g < 8; ++g) sum[g] += T[g * N + b] * p;
  }
  for (int g = 0; g < 8; ++g) store(out + g * N, sum[g]);
}

// F = P T' for columns j0..j1-1 of the rest: F has the shape of T. P = S^-1, both triangles.
static void crossed_products(const CrossedData& D, const CrossedState& S, const double* P, int64_t j0, int64_t j1,
                             double* F) {
  const int q = D.q;
  const int64_t N = D.rest;
  int64_t j = j0;
  for (; D.complete && q == 1 && j + W <= j1; j += W) {
    int64_t g = 0;
    for (; g + 8 <= D.groups; g += 8) eight_by_lanes(S.T + g * N, P + j, N, F + g * N + j);
    for (; g < D.groups; ++g) {
      vd sum = splat(0);
      for (int64_t b = 0; b < N; ++b) sum += S.T[g * N + b] * load(P + b * N + j);
      store(F + g * N + j, sum);
    }
  }
  for (; j < j1; ++j) {
    for (int64_t m = D.met[j]; m < D.met[j + 1]; ++m) {
      if (m + AHEAD < D.met[j + 1]) ask_for(D, S, D.meeting[m + AHEAD].group);
      const int64_t begin = D.start[D.meeting[m].group], c = D.start[D.meeting[m].group + 1] - begin;
      double f[MAX_EFFECTS] = {};
      gather(P + j * N, D.cols + begin, S.T + begin * q, c, q, f);
      memcpy(F + (begin + D.meeting[m].place) * q, f, q * sizeof(double));
    }
  }
}

// For every row of some groups: h = M^-1 a on the row's own effects, and v = a' M^-1 a; the blocks of M^-1 of the
// groups. F from crossed_products becomes F L^-1.
template <int Q, int R>
static void inverse_of(const CrossedData& D, const CrossedState& S, const double* P, double* F, int64_t g0, int64_t g1,
                       double* h, double* v, double* block) {
  const int q = Q ? Q : D.q, r = R ? R : D.r, s = q + r;
  const int64_t N = D.rest;
  for (int64_t g = g0; g < g1; ++g) {
    const double* L = S.L + g * q * q;
    double* E = F + D.start[g] * q;  // (c, q): P_g K
    double* inv = block + g * q * q;
    for (int k = 0; k < q; ++k) {
      double x[MAX_EFFECTS];
      for (int l = 0; l < q; ++l) x[l] = l == k;
      solve_lower(L, q, x);
      for (int l = 0; l < q; ++l) inv[l * q + k] = x[l];
    }
    for (int64_t b = 0; b < D.start[g + 1] - D.start[g]; ++b) {
      double K[MAX_EFFECTS];  // T L^-1, so that M_g^-1 B_g = K'
      memcpy(K, S.T + (D.start[g] + b) * q, q * sizeof(double));
      solve_transposed(L, q, K), solve_transposed(L, q, E + b * q);
      for (int k = 0; k < q; ++k)
        for (int l = 0; l < q; ++l) inv[l * q + k] += K[l] * E[b * q + k];
    }
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
        for (int l = 0; l < r; ++l) t += a[q + l] * P[at[k] * N + at[l]];
        for (int l = 0; l < q; ++l) t -= E[in[k] * q + l] * a[l];
        out[q + k] = t;
        total += t * a[q + k];
      }
      v[i] = total;
    }
  }
}

static void crossed_inverse(const CrossedData& D, const CrossedState& S, const double* P, double* F, int64_t g0,
                            int64_t g1, double* h, double* v, double* block) {
  sized(D, [&](auto z) { inverse_of<z.q, z.r>(D, S, P, F, g0, g1, h, v, block); });
}

}  // namespace MELOGIT_ISA
}  // namespace melogit
