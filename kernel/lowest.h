// The lowest level of the recursion: one group's rows at every path of nodes.
#pragma once
#include "evaluate.h"

namespace melogit {
namespace MELOGIT_ISA {

// The range of the nodes of a lowest-level group, for every prefix on its own: a shoulder of the integrand does not
// move with the levels above as its mode does.
inline void Evaluator::find_range(int64_t unit) {
  const int l = L - 1;
  const Level& lv = D.level[l];
  for (int64_t s = 0; s < prefixes[l]; ++s) {
    double start = A.at[l].m[unit], ends[2];
    add_matvec(A.at[l].K + unit * lv.d_above, 1, lv.d_above, dev_above[l] + s * lv.d_above, &start);
    Conditional at{D, A.eta0, lv.first[unit], lv.first[unit + 1], b_above[l] + s * D.nz, lv.zcol[0], A.Lambda[l][0]};
    at.range(start, A.drop, ends);
    double* out = range + (slot(l, unit) * prefixes[l] + s) * 2;
    out[0] = 0.5 * (ends[0] + ends[1]);
    out[1] = 0.5 * (ends[1] - ends[0]);
  }
}

inline void Evaluator::leaf_nodes(int64_t unit) {
  const int l = L - 1;
  const Level& lv = D.level[l];
  const int q = lv.q;
  const Rule& rule = A.rule[l];
  const int64_t Kp = rule.n_padded, lanes = prefixes[l] * Kp;
  double base[MAX_EFFECTS];
  if (A.drop > 0) find_range(unit);
  for (int64_t s = 0; s < prefixes[l]; ++s) {
    const double logdet = place(l, unit, s, base);
    const double* C = spread(l, unit, s);
    for (int64_t k = 0; k < Kp; k += W) {
      const int64_t lane = s * Kp + k;
      vd x[MAX_EFFECTS], ss = splat(0);
      for (int a = 0; a < q; ++a) {
        x[a] = splat(base[a]);
        for (int e = 0; e < q; ++e) x[a] += C[a * q + e] * load(rule.z + e * Kp + k);
        ss += x[a] * x[a];
        store(u + a * lanes + lane, x[a]);
      }
      store(f + lane, load(rule.log_weight + k) + (logdet - 0.5 * ss));
      for (int j = 0; j < D.nz; ++j) {
        vd v = splat(b_above[l][s * D.nz + j]);
        for (int a = 0; a < q; ++a)
          if (lv.zcol[a] == j)
            for (int e = 0; e < q; ++e) v += A.Lambda[l][a * q + e] * x[e];
        store(b + (lane / W * D.nz + j) * W, v);
      }
    }
  }
}

// All rows at all paths: f, and the column sums of residuals (S) and, per effect, of weights times that effect's
// covariate (SW).
inline void Evaluator::leaf_rows(int64_t i0, int64_t i1) {
  const Level& lv = D.level[L - 1];
  const int64_t lanes = prefixes[L - 1] * nodes(L - 1);
  const Want want_ = want();
  if (want_ != LOGLIK) memset(S, 0, D.c * lanes * sizeof(double));
  if (want_ == INFORMATION) memset(SW, 0, lv.q * D.c * lanes * sizeof(double));
  for (int64_t j0 = i0; j0 < i1; j0 += rows_per_block) {
    const int64_t n = i1 - j0 < rows_per_block ? i1 - j0 : rows_per_block;
    for (int64_t ch = 0; ch < lanes / W; ++ch) {
      vd ff = load(f + ch * W);
      double* wch = want_ == INFORMATION ? w + ch * rows_per_block * W : w;
      rows_at_nodes(D, want_, A.eta0, j0, n, (const vd*)(b + ch * D.nz * W), &ff, RowSums{r, wch});
      store(f + ch * W, ff);
      if (want_ == LOGLIK) continue;
      product(D.Q + j0 * D.c, D.c, D.c, r, W, n, S + ch * D.c * W, W);
      if (want_ != INFORMATION) continue;
      for (int a = 0; a < lv.q; ++a) {
        const double* weights = wch;
        if (lv.zcol[a] != 0) {
          const double* z = D.zc[lv.zcol[a]] + j0;
          for (int64_t i = 0; i < n; ++i) store(r + i * W, z[i] * load(wch + i * W));
          weights = r;
        }
        product(D.Q + j0 * D.c, D.c, D.c, weights, W, n, SW + (a * lanes / W + ch) * D.c * W, W);
      }
    }
  }
}

// V -= E[complete-data information | prefix].
inline void Evaluator::leaf_information(int64_t i0, int64_t i1, int64_t prefix, const double* om) {
  const int l = L - 1, c = D.c, p = D.p;
  const Level& lv = D.level[l];
  const int q = lv.q;
  const int64_t Kp = nodes(l), lanes = prefixes[l] * Kp, chunks = Kp / W, ch0 = prefix * chunks;
  memset(T0, 0, c * Cp * sizeof(double));
  const bool again = i1 - i0 > rows_per_block;  // the weights kept are those of the last block only
  for (int64_t j0 = i0; j0 < i1; j0 += rows_per_block) {
    const int64_t n = i1 - j0 < rows_per_block ? i1 - j0 : rows_per_block;
    if (again)
      for (int64_t ch = 0; ch < chunks; ++ch) {
        vd unused = splat(0);
        rows_at_nodes(D, INFORMATION, A.eta0, j0, n, (const vd*)(b + (ch0 + ch) * D.nz * W), &unused,
                      RowSums{r, w + (ch0 + ch) * rows_per_block * W});
      }
    double* mean_w = mq + rows_per_block * W;
    for (int64_t i = 0; i < n; ++i) {
      vd s = splat(0);
      for (int64_t ch = 0; ch < chunks; ++ch)
        s += load(om + ch * W) * load(w + ((ch0 + ch) * rows_per_block + i) * W);
      mean_w[i] = hsum(s);
    }
    const double* Q = D.Q + j0 * c;
    for (int j = 0; j < c; j += W) {
      for (int64_t i = 0; i < n; ++i) store(mq + i * W, mean_w[i] * load(Q + i * c + j));
      product(Q, c, j + W < c ? j + W : c, mq, W, n, T0 + j, Cp);
    }
  }
  // T1[a][e][col] = sum over rows of col * z_a * E[w u_e]
  for (int a = 0; a < q; ++a)
    for (int e = 0; e < q; ++e)
      for (int col = 0; col < c; ++col) {
        vd s = splat(0);
        for (int64_t ch = 0; ch < chunks; ++ch)
          s += load(om + ch * W) * load(u + e * lanes + (ch0 + ch) * W) *
               load(SW + ((a * lanes / W + ch0 + ch) * c + col) * W);
        T1[(a * q + e) * c + col] = hsum(s);
      }
  const double* ua = u_above[l] + prefix * lv.d_above;
  for (int j = 0; j < p; ++j)
    for (int k = j; k < p; ++k) V[j * Ps + k] -= T0[j * Cp + k];
  for (int g = 0; g < D.m; ++g) {
    const int32_t lg = D.entry[3 * g], ag = D.entry[3 * g + 1], eg = D.entry[3 * g + 2];
    const bool own_g = lg == l;
    const int cg = D.zq[D.level[lg].zcol[ag]];
    const double ug = own_g ? 0 : ua[D.level[lg].d_above + eg];
    for (int j = 0; j < p; ++j)
      V[j * Ps + p + g] -= own_g ? T1[(ag * q + eg) * c + j] : ug * (j < cg ? T0[j * Cp + cg] : T0[cg * Cp + j]);
    for (int h = g; h < D.m; ++h) {
      const int32_t lh = D.entry[3 * h], ah = D.entry[3 * h + 1], eh = D.entry[3 * h + 2];
      const bool own_h = lh == l;
      const int chh = D.zq[D.level[lh].zcol[ah]];
      double v;
      if (own_g && own_h) {
        vd s = splat(0);
        for (int64_t ch = 0; ch < chunks; ++ch)
          s += load(om + ch * W) * load(u + eg * lanes + (ch0 + ch) * W) * load(u + eh * lanes + (ch0 + ch) * W) *
               load(SW + ((ag * lanes / W + ch0 + ch) * c + chh) * W);
        v = hsum(s);
      } else if (own_h) {
        v = ug * T1[(ah * q + eh) * c + cg];
      } else if (own_g) {
        v = ua[D.level[lh].d_above + eh] * T1[(ag * q + eg) * c + chh];
      } else {
        v = ug * ua[D.level[lh].d_above + eh] * (cg < chh ? T0[cg * Cp + chh] : T0[chh * Cp + cg]);
      }
      V[(p + g) * Ps + p + h] -= v;
    }
  }
}

// The complete-data score at each node, one row per node.
inline void Evaluator::leaf_score_rows(int64_t prefix) {
  const int l = L - 1;
  const Level& lv = D.level[l];
  const int64_t Kp = nodes(l), K = A.rule[l].n_nodes, lanes = prefixes[l] * Kp;
  const double* ua = u_above[l] + prefix * lv.d_above;
  for (int64_t k = 0; k < K; ++k) {
    const int64_t lane = prefix * Kp + k;
    const double* s = S + lane / W * D.c * W + lane % W;
    double* g = G + k * Ps;
    for (int j = 0; j < D.p; ++j) g[j] = s[j * W];
    for (int e = 0; e < D.m; ++e) {
      const int32_t le = D.entry[3 * e], a = D.entry[3 * e + 1], col = D.entry[3 * e + 2];
      const double x = le == l ? u[col * lanes + lane] : ua[D.level[le].d_above + col];
      g[D.p + e] = s[D.zq[D.level[le].zcol[a]] * W] * x;
    }
    for (int j = P; j < Ps; ++j) g[j] = 0;
  }
}

// How the log integral changes with the place of the nodes, for one prefix.
inline void Evaluator::leaf_movement(int64_t unit, int64_t prefix, const double* om) {
  const int l = L - 1;
  const Level& lv = D.level[l];
  const int q = lv.q, d = lv.d_above;
  const Rule& rule = A.rule[l];
  const int64_t Kp = rule.n_padded, lanes = prefixes[l] * Kp;
  double* pl = pull[l] + ((unit - cluster_first[l]) * prefixes[l] + prefix) * pull_size(l);
  memset(pl, 0, pull_size(l) * sizeof(double));
  for (int64_t k = 0; k < rule.n_nodes; ++k) {
    const int64_t lane = prefix * Kp + k;
    const double* s = S + lane / W * D.c * W + lane % W;
    for (int ll = 0; ll < l; ++ll)
      for (int a = 0; a < D.level[ll].q; ++a)
        acc_zeta[l][prefix * d + D.level[ll].d_above + a] += om[k] * s[D.zq[D.level[ll].zcol[a]] * W];
    for (int e = 0; e < q; ++e) {
      double v = -u[e * lanes + lane];
      for (int a = 0; a < q; ++a) v += A.Lambda[l][a * q + e] * s[D.zq[lv.zcol[a]] * W];
      pl[e] += om[k] * v;
      for (int a = 0; a < q; ++a) pl[(2 + e) * q + a] += om[k] * v * rule.z[a * Kp + k];
    }
  }
  memcpy(pl + q, pl, q * sizeof(double));
  add_matvec_t(A.at[l].K + unit * q * d, q, d, pl + q, acc_t[l] + prefix * d);
}

inline bool Evaluator::leaf_up(int64_t unit) {
  const int l = L - 1;
  const int64_t i0 = D.level[l].first[unit], i1 = D.level[l].first[unit + 1];
  const int64_t Kp = nodes(l), K = A.rule[l].n_nodes;
  leaf_nodes(unit);
  leaf_rows(i0, i1);
  const int64_t kept = slot(l, unit);
  for (int64_t s = 0; s < prefixes[l]; ++s) {
    double* om = omega[l] + (kept * prefixes[l] + s) * Kp;
    const double logf = soft_weights(f + s * Kp, Kp, om);
    if (!isfinite(logf)) return false;
    acc_f[l][s] += logf;
    if (want() == LOGLIK) continue;
    leaf_score_rows(s);
    if (A.want_information) memset(V, 0, P * Ps * sizeof(double));
    combine(K, om, G, gbar, A.want_information ? V : nullptr);
    double* out_g = acc_g[l] + s * Ps;
    for (int j = 0; j < Ps; j += W) store(out_g + j, load(out_g + j) + load(gbar + j));
    if (A.want_information) {
      leaf_information(i0, i1, s, om);
      double* out_V = acc_V[l] + s * P * Ps;
      for (int j = 0; j < P * Ps; j += W) store(out_V + j, load(out_V + j) + load(V + j));
    }
    if (A.want_movement) leaf_movement(unit, s, om);
  }
  return true;
}

}  // namespace MELOGIT_ISA
}  // namespace melogit
