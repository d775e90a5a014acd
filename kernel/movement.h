// What the movement of mode-and-curvature nodes adds to the score: the exact gradient of the approximated
// log-likelihood is the score at fixed nodes plus this. Reverse differentiation of modes.h, one cluster at a time:
// placement (m, K, C) <- eliminated blocks <- row weights and Lambda <- mode (implicit function theorem).
// With one node this is the third-derivative term of the Laplace approximation.
#pragma once
#include "dense.h"

namespace melogit {
namespace MELOGIT_ISA {

class Mover {
 public:
  Mover(const Data& data, const MovementArgs& args, double* scratch)
      : D(data), A(args), L(data.n_levels), arena(scratch) {
    for (int l = 0; l < L; ++l) {
      const int dd = D.level[l].d_above + D.level[l].q;
      Mbar[l] = arena.take(dd * dd);
      blocks[l] = arena.take(dd * dd);
    }
    int64_t effects = 0;
    for (int l = 0; l < L; ++l) effects += D.level[l].most_units * D.level[l].q;
    mhat = arena.take(effects);
    out = arena.take(D.p + D.m);
  }
  int64_t scratch() const { return arena.used(); }
  int run(int64_t first, int64_t last, double* sum);

 private:
  const Data& D;
  const MovementArgs& A;
  const int L;
  Arena arena;
  double *Mbar[MAX_LEVELS], *blocks[MAX_LEVELS];
  double *mhat, *out;
  int64_t first_unit[MAX_LEVELS], offset[MAX_LEVELS];

  double* mbar(int l, int64_t unit) const { return mhat + offset[l] + (unit - first_unit[l]) * D.level[l].q; }
  // mu (1 - mu), its derivative in eta, and the residual of one row, times weights.
  void row(int64_t i, const double* b, double* r, double* w, double* dw) const;
  void coefficients(int l, int64_t unit, const double* above, double* b) const;
  void curvature_up(int l, int64_t unit, const double* b_above, double* M_above);
  void curvature_down(int l, int64_t unit, const double* b_above, const double* u_above, double* m_above);
  void effects_of_row(int64_t i, double* d) const;
  void mode_up(int l, int64_t unit, double* m_above);
  void mode_down(int l, int64_t unit, const double* b_above, const double* u_above, const double* lambda_above);
};

inline void Mover::row(int64_t i, const double* b, double* r, double* w, double* dw) const {
  double eta = A.eta0[i] + b[0];
  for (int j = 1; j < D.nz; ++j) eta += D.zc[j][i] * b[j];
  const double e = exp(-fabs(eta)), inv = 1.0 / (1.0 + e);
  const double mu = eta > 0 ? inv : e * inv, var = e * inv * inv;
  *r = D.wy[i] - D.wt[i] * mu;
  *w = D.wt[i] * var;
  *dw = D.wt[i] * var * (1.0 - 2.0 * mu);
}

inline void Mover::coefficients(int l, int64_t unit, const double* above, double* b) const {
  const Level& lv = D.level[l];
  memcpy(b, above, D.nz * sizeof(double));
  for (int a = 0; a < lv.q; ++a)
    for (int e = 0; e < lv.q; ++e) b[lv.zcol[a]] += A.Lambda[l][a * lv.q + e] * A.at[l].m[unit * lv.q + e];
}

// d eta / d u of one row, all levels.
inline void Mover::effects_of_row(int64_t i, double* d) const {
  for (int l = 0; l < L; ++l) {
    const Level& lv = D.level[l];
    for (int e = 0; e < lv.q; ++e) {
      double s = 0;
      for (int a = 0; a < lv.q; ++a)
        s += A.Lambda[l][a * lv.q + e] * (lv.zcol[a] ? D.zc[lv.zcol[a]][i] : 1.0);
      d[lv.d_above + e] = s;
    }
  }
}

// From the derivative in (K, C) of this unit and in the block passed on to the level above (Mbar[l-1]), that in this
// unit's own M; then on to its children, and at the lowest level to the rows. m_above collects what the change of the
// row weights means for the modes above.
inline void Mover::curvature_down(int l, int64_t unit, const double* b_above, const double* u_above, double* m_above) {
  const Level& lv = D.level[l];
  const int q = lv.q, d = lv.d_above, dd = d + q;
  double* Mb = Mbar[l];
  const double *K = A.at[l].K + unit * q * d, *C = A.at[l].C + unit * q * q;
  const double *Kb = A.bar[l].K + unit * q * d, *Cb = A.bar[l].C + unit * q * q;
  double KS[MAX_EFFECTS * MAX_EFFECTS], AiKb[MAX_EFFECTS * MAX_EFFECTS], P[MAX_EFFECTS * MAX_EFFECTS];
  const double* Sb = l ? Mbar[l - 1] : nullptr;  // (d, d)
  for (int a = 0; a < q; ++a)
    for (int c = 0; c < d; ++c) {
      double s = 0, t = 0;
      for (int k = 0; k < d; ++k) s += K[a * d + k] * Sb[k * d + c];
      for (int k = 0; k < q; ++k)
        for (int j = 0; j < q; ++j) t += C[a * q + j] * C[k * q + j] * Kb[k * d + c];
      KS[a * d + c] = s;
      AiKb[a * d + c] = t;
    }
  // of C = R^-1: dC = -C Phi(C' dA C), Phi the upper triangle with half the diagonal
  for (int a = 0; a < q; ++a)
    for (int c = 0; c < q; ++c) {
      double s = 0;
      if (a <= c)
        for (int k = 0; k < q; ++k) s += C[k * q + a] * Cb[k * q + c];
      P[a * q + c] = a == c ? 0.5 * s : s;
    }
  for (int a = 0; a < d; ++a)
    for (int c = 0; c < d; ++c) Mb[a * dd + c] = Sb[a * d + c];
  for (int a = 0; a < q; ++a) {
    for (int c = 0; c < d; ++c) {
      const double v = KS[a * d + c] - 0.5 * AiKb[a * d + c];
      Mb[(d + a) * dd + c] = Mb[c * dd + d + a] = v;
    }
    for (int c = 0; c < q; ++c) {
      double s = 0;
      for (int k = 0; k < d; ++k)
        s += KS[a * d + k] * K[c * d + k] - 0.5 * (AiKb[a * d + k] * K[c * d + k] + AiKb[c * d + k] * K[a * d + k]);
      for (int i = 0; i < q; ++i)
        for (int j = 0; j < q; ++j) s -= 0.5 * C[a * q + i] * (P[i * q + j] + P[j * q + i]) * C[c * q + j];
      Mb[(d + a) * dd + d + c] = s;
    }
  }
  double b[MAX_EFFECTS + 1], u[MAX_EFFECTS], m_all[MAX_EFFECTS] = {0};
  coefficients(l, unit, b_above, b);
  memcpy(u, u_above, d * sizeof(double));
  memcpy(u + d, A.at[l].m + unit * q, q * sizeof(double));
  if (l < L - 1) {
    for (int64_t child = lv.first[unit]; child < lv.first[unit + 1]; ++child) curvature_down(l + 1, child, b, u, m_all);
  } else {
    for (int64_t i = lv.first[unit]; i < lv.first[unit + 1]; ++i) {
      double r, w, dw, x[MAX_EFFECTS], Mx[MAX_EFFECTS] = {0}, v = 0;
      row(i, b, &r, &w, &dw);
      effects_of_row(i, x);
      add_matvec(Mb, dd, dd, x, Mx);
      for (int a = 0; a < dd; ++a) v += x[a] * Mx[a];
      const double eta_bar = dw * v;
      for (int a = 0; a < dd; ++a) m_all[a] += eta_bar * x[a];
      const double* Q = D.Q + i * D.c;
      for (int j = 0; j < D.p; ++j) out[j] += eta_bar * Q[j];
      for (int e = 0; e < D.m; ++e) {
        const Level& le = D.level[D.entry[3 * e]];
        const int a = D.entry[3 * e + 1], c = le.d_above + D.entry[3 * e + 2];
        const double z = le.zcol[a] ? D.zc[le.zcol[a]][i] : 1.0;
        out[D.p + e] += z * (eta_bar * u[c] + 2.0 * w * Mx[c]);
      }
    }
  }
  double* own = mbar(l, unit);
  for (int a = 0; a < q; ++a) own[a] = m_all[d + a] + A.bar[l].m[unit * q + a];
  for (int a = 0; a < d; ++a) m_above[a] += m_all[a];
}

// lambda = H^-1 mbar: up with K', then down with K.
inline void Mover::mode_up(int l, int64_t unit, double* m_above) {
  const Level& lv = D.level[l];
  const int q = lv.q, d = lv.d_above;
  double all[MAX_EFFECTS] = {0};
  if (l < L - 1)
    for (int64_t child = lv.first[unit]; child < lv.first[unit + 1]; ++child) mode_up(l + 1, child, all);
  double* own = mbar(l, unit);
  for (int a = 0; a < q; ++a) own[a] += all[d + a];
  for (int a = 0; a < d; ++a) m_above[a] += all[a];
  add_matvec_t(A.at[l].K + unit * q * d, q, d, own, m_above);
}

inline void Mover::mode_down(int l, int64_t unit, const double* b_above, const double* u_above,
                             const double* lambda_above) {
  const Level& lv = D.level[l];
  const int q = lv.q, d = lv.d_above, dd = d + q;
  const double* C = A.at[l].C + unit * q * q;
  const double* own = mbar(l, unit);
  double b[MAX_EFFECTS + 1], u[MAX_EFFECTS], lambda[MAX_EFFECTS] = {0}, half[MAX_EFFECTS] = {0};
  coefficients(l, unit, b_above, b);
  memcpy(u, u_above, d * sizeof(double));
  memcpy(u + d, A.at[l].m + unit * q, q * sizeof(double));
  memcpy(lambda, lambda_above, d * sizeof(double));
  add_matvec_t(C, q, q, own, half);
  add_matvec(C, q, q, half, lambda + d);
  add_matvec(A.at[l].K + unit * q * d, q, d, lambda_above, lambda + d);
  if (l < L - 1) {
    for (int64_t child = lv.first[unit]; child < lv.first[unit + 1]; ++child) mode_down(l + 1, child, b, u, lambda);
    return;
  }
  for (int64_t i = lv.first[unit]; i < lv.first[unit + 1]; ++i) {
    double r, w, dw, x[MAX_EFFECTS], s = 0;
    row(i, b, &r, &w, &dw);
    effects_of_row(i, x);
    for (int a = 0; a < dd; ++a) s += lambda[a] * x[a];
    const double eta_bar = -w * s;
    const double* Q = D.Q + i * D.c;
    for (int j = 0; j < D.p; ++j) out[j] += eta_bar * Q[j];
    for (int e = 0; e < D.m; ++e) {
      const Level& le = D.level[D.entry[3 * e]];
      const int a = D.entry[3 * e + 1], c = le.d_above + D.entry[3 * e + 2];
      const double z = le.zcol[a] ? D.zc[le.zcol[a]][i] : 1.0;
      out[D.p + e] += z * (eta_bar * u[c] + r * lambda[c]);
    }
  }
}

inline int Mover::run(int64_t first, int64_t last, double* sum) {
  const double zero[MAX_EFFECTS + 1] = {0};
  const int P = D.p + D.m;
  for (int64_t cluster = first; cluster < last; ++cluster) {
    int64_t a = cluster, z = cluster + 1, at = 0;
    for (int l = 0; l < L; ++l) {
      first_unit[l] = a;
      offset[l] = at;
      at += (z - a) * D.level[l].q;
      a = D.level[l].first[a], z = D.level[l].first[z];
    }
    memset(out, 0, P * sizeof(double));
    double none[MAX_EFFECTS];
    curvature_down(0, cluster, zero, zero, none);
    mode_up(0, cluster, none);
    mode_down(0, cluster, zero, zero, zero);
    for (int j = 0; j < P; ++j) {
      sum[j] += out[j];
      if (A.cluster_score) A.cluster_score[cluster * P + j] += out[j];
    }
  }
  return OK;
}

}  // namespace MELOGIT_ISA
}  // namespace melogit
