// The way down the levels: posterior weights, moments, and derivatives in the place of the nodes.
#pragma once
#include "evaluate.h"

namespace melogit {
namespace MELOGIT_ISA {

// Posterior mean and covariance of a unit's effects, and the placement that follows from them (Naylor & Smith 1982).
inline bool Evaluator::moments(int l, int64_t unit, const double* weights) {
  const Level& lv = D.level[l];
  const int q = lv.q, d = lv.d_above, dd = d + q;
  const Rule& rule = A.rule[l];
  const int64_t K = rule.n_nodes, Kp = nodes(l);
  double* mu = mean[l + 1];
  double* cv = cov[l + 1];
  for (int a = 0; a < d; ++a) mu[a] = mean[l][a];
  for (int pass = 0; pass < 2; ++pass) {
    if (pass == 0) memset(mu + d, 0, q * sizeof(double));
    else memset(cv, 0, dd * dd * sizeof(double));
    double base[MAX_EFFECTS], x[MAX_EFFECTS];
    for (int64_t s = 0; s < prefixes[l]; ++s) {
      place(l, unit, s, base);
      const double* C = spread(l, unit, s);
      for (int a = 0; a < d; ++a) x[a] = u_above[l][s * d + a] - mu[a];
      for (int64_t k = 0; k < K; ++k) {
        const double wt = weights[s * Kp + k];
        for (int a = 0; a < q; ++a) {
          x[d + a] = base[a];
          for (int e = 0; e < q; ++e) x[d + a] += C[a * q + e] * rule.z[e * rule.n_padded + k];
          if (pass == 0) mu[d + a] += wt * x[d + a];
          else x[d + a] -= mu[d + a];
        }
        if (pass == 1)
          for (int a = d; a < dd; ++a)
            for (int e = 0; e <= a; ++e) cv[a * dd + e] += wt * x[a] * x[e];
      }
    }
  }
  for (int a = 0; a < d; ++a)
    for (int e = 0; e < d; ++e) cv[a * dd + e] = cov[l][a * d + e];
  for (int a = d; a < dd; ++a)
    for (int e = 0; e <= a; ++e) cv[e * dd + a] = cv[a * dd + e];

  double root[MAX_EFFECTS * MAX_EFFECTS], rest[MAX_EFFECTS * MAX_EFFECTS];
  if (d && !cholesky_lower(cv, dd, d, root)) return false;
  for (int a = 0; a < q; ++a) {
    double* k = A.next[l].K + (unit * q + a) * d;
    for (int e = 0; e < d; ++e) k[e] = cv[(d + a) * dd + e];
    if (d) solve_lower(root, d, k);
    for (int e = 0; e < q; ++e) {
      double v = cv[(d + a) * dd + d + e];
      for (int g = 0; g < d; ++g) v -= k[g] * cv[g * dd + d + e];
      rest[a * q + e] = v;
      A.moment_cov[l][(unit * q + a) * q + e] = cv[(d + a) * dd + d + e];
    }
    A.moment_mean[l][unit * q + a] = A.next[l].m[unit * q + a] = mu[d + a];
  }
  // Where all weight sits on one node there is no spread to learn from: the unit keeps the one it has.
  double* C_next = A.next[l].C + unit * q * q;
  if (!cholesky_lower(rest, q, q, C_next)) memcpy(C_next, A.at[l].C + unit * q * q, q * q * sizeof(double));
  return true;
}

inline void Evaluator::movement(int l, int64_t unit, const double* prefix_weights) {
  const int q = D.level[l].q, d = D.level[l].d_above;
  const Placement& out = A.bar[l];
  const double* C = A.at[l].C + unit * q * q;
  double *m = out.m + unit * q, *K = out.K + unit * q * d, *Cb = out.C + unit * q * q;
  memset(m, 0, q * sizeof(double));
  memset(K, 0, q * d * sizeof(double));
  memset(Cb, 0, q * q * sizeof(double));
  for (int64_t s = 0; s < prefixes[l]; ++s) {
    const double* pl = pull[l] + ((unit - cluster_first[l]) * prefixes[l] + s) * pull_size(l);
    const double wt = prefix_weights[s];
    for (int a = 0; a < q; ++a) {
      m[a] += wt * pl[a];
      for (int e = 0; e < d; ++e) K[a * d + e] += wt * pl[q + a] * dev_above[l][s * d + e];
      for (int e = 0; e < q; ++e) Cb[a * q + e] += wt * pl[(2 + a) * q + e];
    }
  }
  for (int a = 0; a < q; ++a) Cb[a * q + a] += 1.0 / C[a * q + a];  // of log|C|, C triangular
}

inline bool Evaluator::down(int l, int64_t unit) {
  const int64_t Kp = nodes(l), K = A.rule[l].n_nodes;
  const double* om = omega[l] + (unit - cluster_first[l]) * prefixes[l] * Kp;
  const double one = 1.0;
  const double* above = l ? pi[l - 1] : &one;
  for (int64_t s = 0; s < prefixes[l]; ++s)
    for (int64_t k = 0; k < K; ++k) pi[l][s * Kp + k] = above[s] * om[s * Kp + k];
  if (A.want_movement) movement(l, unit, above);
  if (A.want_moments && !moments(l, unit, pi[l])) return false;
  if (l == L - 1) return true;
  descend_nodes(l, unit);
  for (int64_t child = D.level[l].first[unit]; child < D.level[l].first[unit + 1]; ++child)
    if (!down(l + 1, child)) return false;
  return true;
}

}  // namespace MELOGIT_ISA
}  // namespace melogit
