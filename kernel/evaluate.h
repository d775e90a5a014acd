// Log-likelihood, score and information of nested models at given nodes, by one recursion from the lowest level up.
//
// A unit at level l is integrated for every prefix (one choice of nodes at all levels above). It adds to its parent,
// per prefix: its log integral f; the conditional mean g of the complete-data score (Fisher's identity); and
// V = E[complete-data Hessian] + Cov[complete-data score] (Louis 1982), where siblings, being independent given the
// prefix, simply add up. The way down, where wanted, turns conditional into posterior weights.
#pragma once
#include "leaf.h"
#include "rows.h"

namespace melogit {
namespace MELOGIT_ISA {

static inline int64_t round_up(int64_t n, int64_t k) { return (n + k - 1) / k * k; }

constexpr int DEPTH = MAX_LEVELS + 1;

class Evaluator {
 public:
  Evaluator(const Data& data, const EvaluateArgs& args, double* scratch)
      : D(data), A(args), L(data.n_levels), P(data.p + data.m), Ps((int)round_up(P, 8)), Cp((int)round_up(data.c, W)),
        arena(scratch) {
    lay_out();
  }
  int64_t scratch() const { return arena.used(); }
  int run(int64_t first, int64_t last, double* sum);

 private:
  const Data& D;
  const EvaluateArgs& A;
  const int L, P, Ps, Cp;
  Arena arena;

  // Indexed by the level of the units that read (above) or add to (acc) them; one entry per prefix.
  int64_t prefixes[DEPTH];
  double *u_above[DEPTH], *dev_above[DEPTH], *b_above[DEPTH];
  double *acc_f[DEPTH], *acc_g[DEPTH], *acc_V[DEPTH], *acc_zeta[DEPTH], *acc_t[DEPTH];
  double* omega[MAX_LEVELS];     // conditional weights of every unit of the cluster: (units, prefixes, nodes)
  double* pull[MAX_LEVELS];      // movement: per unit and prefix, E[v], E[v_total], E[v_total z']
  int64_t cluster_first[MAX_LEVELS];
  double *pi[MAX_LEVELS];
  double *mean[DEPTH], *cov[DEPTH];  // entry l + 1: posterior moments of all effects down to level l
  // The lowest level.
  int64_t rows_per_block;
  double *u, *f, *b, *r, *w, *S, *SW, *mq, *T0, *T1, *G, *wG, *gbar, *V;
  double* range;  // with A.drop: centre and half width of the nodes, per unit kept and prefix

  Want want() const { return A.want_information ? INFORMATION : (A.want_score || A.want_movement) ? SCORE : LOGLIK; }
  bool store_weights() const { return A.want_moments || A.want_movement; }
  int64_t nodes(int l) const { return l == L - 1 ? A.rule[l].n_padded : A.rule[l].n_nodes; }
  int64_t slot(int l, int64_t unit) const { return store_weights() ? unit - cluster_first[l] : 0; }
  // Spread of the nodes of a unit, (q, q), for one prefix.
  const double* spread(int l, int64_t unit, int64_t prefix) const {
    if (l == L - 1 && A.drop > 0) return range + (slot(l, unit) * prefixes[l] + prefix) * 2 + 1;
    return A.at[l].C + unit * D.level[l].q * D.level[l].q;
  }
  void find_range(int64_t unit);
  int pull_size(int l) const { return D.level[l].q * (2 + D.level[l].q); }

  void lay_out();
  double place(int l, int64_t unit, int64_t prefix, double* base) const;
  void descend_nodes(int l, int64_t unit);
  bool unit_up(int l, int64_t unit);
  bool leaf_up(int64_t unit);
  void leaf_nodes(int64_t unit);
  void leaf_rows(int64_t i0, int64_t i1);
  void leaf_information(int64_t i0, int64_t i1, int64_t prefix, const double* om);
  void leaf_score_rows(int64_t prefix);
  void leaf_movement(int64_t unit, int64_t prefix, const double* om);
  void combine(int64_t n, const double* om, double* rows, double* mean_out, double* V_out);
  bool down(int l, int64_t unit);
  bool moments(int l, int64_t unit, const double* weights);
  void movement(int l, int64_t unit, const double* prefix_weights);
};

inline void Evaluator::lay_out() {
  const Level& leaf = D.level[L - 1];
  const bool score = want() != LOGLIK, info = want() == INFORMATION;
  prefixes[0] = 1;
  for (int l = 0; l < L; ++l) {
    if (l) prefixes[l] = prefixes[l - 1] * A.rule[l - 1].n_nodes;
    const int64_t np = prefixes[l];
    const int d = D.level[l].d_above, q = D.level[l].q;
    u_above[l] = arena.take(np * d);
    dev_above[l] = arena.take(np * d);
    b_above[l] = arena.take(np * D.nz);
    acc_f[l] = arena.take(np);
    acc_g[l] = score ? arena.take(np * Ps) : nullptr;
    acc_V[l] = info ? arena.take(np * P * Ps) : nullptr;
    acc_zeta[l] = A.want_movement ? arena.take(np * d) : nullptr;
    acc_t[l] = A.want_movement ? arena.take(np * d) : nullptr;
    omega[l] = arena.take((store_weights() ? D.level[l].most_units : 1) * np * nodes(l));
    pull[l] = A.want_movement ? arena.take(D.level[l].most_units * np * pull_size(l)) : nullptr;
    pi[l] = arena.take(np * nodes(l));
    mean[l + 1] = arena.take(d + q);
    cov[l + 1] = arena.take((d + q) * (d + q));
  }
  const int64_t lanes = prefixes[L - 1] * nodes(L - 1);
  rows_per_block = 65536 / lanes;
  rows_per_block = rows_per_block < 8 ? 8 : rows_per_block > D.most_rows ? D.most_rows : rows_per_block;
  const int q = leaf.q;
  u = arena.take(q * lanes);
  f = arena.take(lanes);
  b = arena.take(D.nz * lanes);
  r = arena.take(rows_per_block * W);
  w = arena.take(rows_per_block * (info ? lanes : W));
  S = score ? arena.take(D.c * lanes) : nullptr;
  SW = info ? arena.take(q * D.c * lanes) : nullptr;
  mq = info ? arena.take(rows_per_block * (W + 1)) : nullptr;
  T0 = info ? arena.take(D.c * Cp) : nullptr;
  T1 = info ? arena.take(q * q * D.c) : nullptr;
  range = A.drop > 0 ? arena.take((store_weights() ? leaf.most_units : 1) * prefixes[L - 1] * 2) : nullptr;
  const int64_t most = A.rule[L - 1].n_nodes;
  int64_t most_nodes = most;
  for (int l = 0; l < L; ++l) most_nodes = A.rule[l].n_nodes > most_nodes ? A.rule[l].n_nodes : most_nodes;
  G = score ? arena.take(most * Ps) : nullptr;
  wG = info ? arena.take(most_nodes * Ps) : nullptr;
  gbar = arena.take(Ps);
  V = info ? arena.take(P * Ps) : nullptr;
}

// Where the nodes of a unit are centred for one prefix; returns log|C|.
inline double Evaluator::place(int l, int64_t unit, int64_t prefix, double* base) const {
  if (l == L - 1 && A.drop > 0) {
    const double* at = range + (slot(l, unit) * prefixes[l] + prefix) * 2;
    base[0] = at[0];
    return log(at[1]);
  }
  const int q = D.level[l].q, d = D.level[l].d_above;
  const Placement& at = A.at[l];
  double logdet = 0;
  for (int a = 0; a < q; ++a) {
    base[a] = at.m[unit * q + a];
    logdet += log(fabs(at.C[(unit * q + a) * q + a]));
  }
  add_matvec(at.K + unit * q * d, q, d, dev_above[l] + prefix * d, base);
  return logdet;
}

// The node positions of an upper unit, as seen by everything below it.
inline void Evaluator::descend_nodes(int l, int64_t unit) {
  const Level& lv = D.level[l];
  const int q = lv.q, d = lv.d_above, dd = d + q;
  const Rule& rule = A.rule[l];
  const double* C = A.at[l].C + unit * q * q;
  const double* m = A.at[l].m + unit * q;
  double base[MAX_EFFECTS];
  for (int64_t s = 0; s < prefixes[l]; ++s) {
    place(l, unit, s, base);
    for (int64_t k = 0; k < rule.n_nodes; ++k) {
      const int64_t path = s * rule.n_nodes + k;
      double* uu = u_above[l + 1] + path * dd;
      double* dev = dev_above[l + 1] + path * dd;
      double* bb = b_above[l + 1] + path * D.nz;
      memcpy(uu, u_above[l] + s * d, d * sizeof(double));
      memcpy(dev, dev_above[l] + s * d, d * sizeof(double));
      memcpy(bb, b_above[l] + s * D.nz, D.nz * sizeof(double));
      for (int a = 0; a < q; ++a) {
        double x = base[a];
        for (int e = 0; e < q; ++e) x += C[a * q + e] * rule.z[e * rule.n_padded + k];
        uu[d + a] = x;
        dev[d + a] = x - m[a];
      }
      for (int a = 0; a < q; ++a)
        for (int e = 0; e < q; ++e) bb[lv.zcol[a]] += A.Lambda[l][a * q + e] * uu[d + e];
    }
  }
}

// mean_out = sum om G; V_out += sum om (G - mean)(G - mean)' (upper triangle); rows are centred in place.
inline void Evaluator::combine(int64_t n, const double* om, double* rows, double* mean_out, double* V_out) {
  for (int j = 0; j < Ps; j += W) {
    vd s = splat(0);
    for (int64_t k = 0; k < n; ++k) s += om[k] * load(rows + k * Ps + j);
    store(mean_out + j, s);
  }
  if (!V_out) return;
  for (int j = 0; j < Ps; j += W)
    for (int64_t k = 0; k < n; ++k) {
      vd x = load(rows + k * Ps + j) - load(mean_out + j);
      store(rows + k * Ps + j, x);
      store(wG + k * Ps + j, om[k] * x);
    }
  for (int j = 0; j < P; j += W)
    product(rows, Ps, j + W < P ? j + W : P, wG + j, Ps, n, V_out + j, Ps);
}

// Conditional weights of n values of log integrand; returns the log of their sum of exponentials.
static inline double soft_weights(const double* f, int64_t n, double* om) {
  double top = f[0];
  for (int64_t k = 1; k < n; ++k) top = f[k] > top ? f[k] : top;
  double sum = 0;
  int64_t k = 0;
  for (; k + W <= n; k += W) {
    vd e = vexp(load(f + k) - top);
    // Weights too small to matter become zero: products with them would be denormal numbers, which are very slow.
    e = select(e > 1e-100, e, splat(0));
    store(om + k, e);
    sum += hsum(e);
  }
  for (; k < n; ++k) sum += om[k] = exp(f[k] - top);
  const double inv = 1.0 / sum;
  for (k = 0; k < n; ++k) om[k] *= inv;
  return top + log(sum);
}

inline bool Evaluator::unit_up(int l, int64_t unit) {
  if (l == L - 1) return leaf_up(unit);
  const Level& lv = D.level[l];
  const int q = lv.q, d = lv.d_above, dd = d + q;
  const Rule& rule = A.rule[l];
  const int64_t K = rule.n_nodes, paths = prefixes[l + 1];
  descend_nodes(l, unit);
  memset(acc_f[l + 1], 0, paths * sizeof(double));
  if (acc_g[l]) memset(acc_g[l + 1], 0, paths * Ps * sizeof(double));
  if (acc_V[l]) memset(acc_V[l + 1], 0, paths * P * Ps * sizeof(double));
  if (A.want_movement) {
    memset(acc_zeta[l + 1], 0, paths * dd * sizeof(double));
    memset(acc_t[l + 1], 0, paths * dd * sizeof(double));
  }
  for (int64_t child = lv.first[unit]; child < lv.first[unit + 1]; ++child)
    if (!unit_up(l + 1, child)) return false;
  const int64_t kept = slot(l, unit);
  double base[MAX_EFFECTS];
  for (int64_t s = 0; s < prefixes[l]; ++s) {
    const double logdet = place(l, unit, s, base);
    double* ff = acc_f[l + 1] + s * K;
    for (int64_t k = 0; k < K; ++k) {
      const double* uu = u_above[l + 1] + (s * K + k) * dd + d;
      double ss = 0;
      for (int a = 0; a < q; ++a) ss += uu[a] * uu[a];
      ff[k] += rule.log_weight[k] + logdet - 0.5 * ss;
    }
    double* om = omega[l] + (kept * prefixes[l] + s) * K;
    const double logf = soft_weights(ff, K, om);
    if (!isfinite(logf)) return false;
    acc_f[l][s] += logf;
    if (acc_g[l]) {
      double* out_V = acc_V[l] ? acc_V[l] + s * P * Ps : nullptr;
      if (out_V)
        for (int64_t k = 0; k < K; ++k) {
          const double* in = acc_V[l + 1] + (s * K + k) * P * Ps;
          for (int j = 0; j < P * Ps; j += W) store(out_V + j, load(out_V + j) + om[k] * load(in + j));
        }
      combine(K, om, acc_g[l + 1] + s * K * Ps, gbar, out_V);
      double* out_g = acc_g[l] + s * Ps;
      for (int j = 0; j < Ps; j += W) store(out_g + j, load(out_g + j) + load(gbar + j));
    }
    if (A.want_movement) {
      double* pl = pull[l] + (kept * prefixes[l] + s) * pull_size(l);
      memset(pl, 0, pull_size(l) * sizeof(double));
      for (int64_t k = 0; k < K; ++k) {
        const double* zeta = acc_zeta[l + 1] + (s * K + k) * dd;
        const double* t = acc_t[l + 1] + (s * K + k) * dd;
        const double* uu = u_above[l + 1] + (s * K + k) * dd + d;
        for (int a = 0; a < d; ++a) {
          acc_zeta[l][s * d + a] += om[k] * zeta[a];
          acc_t[l][s * d + a] += om[k] * t[a];
        }
        for (int e = 0; e < q; ++e) {
          double v = -uu[e];
          for (int a = 0; a < q; ++a) v += A.Lambda[l][a * q + e] * zeta[d + a];
          const double total = v + t[d + e];
          pl[e] += om[k] * v;
          pl[q + e] += om[k] * total;
          for (int a = 0; a < q; ++a) pl[(2 + e) * q + a] += om[k] * total * rule.z[a * rule.n_padded + k];
        }
      }
      add_matvec_t(A.at[l].K + unit * q * d, q, d, pl + q, acc_t[l] + s * d);
    }
  }
  return true;
}

inline int Evaluator::run(int64_t first, int64_t last, double* sum) {
  memset(b_above[0], 0, D.nz * sizeof(double));
  if (acc_V[0]) memset(acc_V[0], 0, P * Ps * sizeof(double));
  for (int64_t cluster = first; cluster < last; ++cluster) {
    int64_t a = cluster;
    for (int l = 0; l < L; ++l) {
      cluster_first[l] = a;
      a = D.level[l].first[a];
    }
    acc_f[0][0] = 0;
    if (acc_g[0]) memset(acc_g[0], 0, Ps * sizeof(double));
    if (!unit_up(0, cluster)) return NOT_FINITE;
    if (store_weights() && !down(0, cluster)) return NO_MOMENTS;
    A.cluster_loglik[cluster] = acc_f[0][0];
    sum[0] += acc_f[0][0];
    if (acc_g[0])
      for (int j = 0; j < P; ++j) {
        sum[1 + j] += acc_g[0][j];
        if (A.cluster_score) A.cluster_score[cluster * P + j] = acc_g[0][j];
      }
  }
  if (acc_V[0])
    for (int j = 0; j < P; ++j)
      for (int k = j; k < P; ++k) {
        double* H = sum + 1 + P;
        H[j * P + k] += acc_V[0][j * Ps + k];
        if (k > j) H[k * P + j] += acc_V[0][j * Ps + k];
      }
  return OK;
}

}  // namespace MELOGIT_ISA
}  // namespace melogit
