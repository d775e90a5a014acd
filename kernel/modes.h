// The joint posterior mode of all random effects of a cluster, by Newton with block elimination from the lowest level
// up, and the Gaussian chain that its curvature defines: u_own = m + K (u_above - m_above) + C z, C upper triangular
// with C C' the inverse of the eliminated block. Rows in the lanes.
#pragma once
#include "dense.h"
#include "evaluate.h"

namespace melogit {
namespace MELOGIT_ISA {

class ModeFinder {
 public:
  ModeFinder(const Data& data, const ModesArgs& args, double* scratch)
      : D(data), A(args), L(data.n_levels), arena(scratch) {
    for (int l = 0; l < L; ++l) {
      step[l] = arena.take(D.level[l].most_units * D.level[l].q);
      start[l] = arena.take(D.level[l].most_units * D.level[l].q);
      taken[l] = arena.take(D.level[l].most_units * D.level[l].q);
      const int dd = D.level[l].d_above + D.level[l].q;
      M[l] = arena.take(dd * dd);
      g[l] = arena.take(dd);
    }
    load_transform();
  }
  int64_t scratch() const { return arena.used(); }
  int run(int64_t first, int64_t last);

 private:
  const Data& D;
  const ModesArgs& A;
  const int L;
  Arena arena;
  double *step[MAX_LEVELS], *start[MAX_LEVELS], *taken[MAX_LEVELS], *M[MAX_LEVELS], *g[MAX_LEVELS];
  double T[(MAX_EFFECTS + 1) * MAX_EFFECTS];  // (nz, d): b by covariate = T u
  int64_t first_unit[MAX_LEVELS], last_unit[MAX_LEVELS];
  double h, decrement;

  void load_transform();
  double rows(int64_t i0, int64_t i1, const double* b, double* Sr, double* Szz) const;
  bool up(int l, int64_t unit, const double* b_above);
  void down(int l, int64_t unit, const double* step_above);
  void move(double fraction);
  int cluster(int64_t index);
  double extent(int64_t unit, double sign) const;
};

inline void ModeFinder::load_transform() {
  memset(T, 0, sizeof(T));
  for (int l = 0; l < L; ++l) {
    const Level& lv = D.level[l];
    for (int a = 0; a < lv.q; ++a)
      for (int e = 0; e < lv.q; ++e) T[lv.zcol[a] * D.d + lv.d_above + e] += A.Lambda[l][a * lv.q + e];
  }
}

// Log-likelihood of a run of rows, and its first and second derivatives in the total coefficient of each covariate.
inline double ModeFinder::rows(int64_t i0, int64_t i1, const double* b, double* Sr, double* Szz) const {
  vd sr[MAX_EFFECTS + 1], szz[(MAX_EFFECTS + 1) * (MAX_EFFECTS + 2) / 2];
  const int nz = D.nz;
  for (int j = 0; j < nz; ++j) sr[j] = splat(0);
  for (int j = 0; j < nz * (nz + 1) / 2; ++j) szz[j] = splat(0);
  vd linear = splat(0), logs = splat(0), prod = splat(1.0);
  vi lane = {};
  for (int k = 0; k < W; ++k) lane[k] = k;
  int since_log = 0;
  for (int64_t i = i0; i < i1; i += W) {
    const vi live = lane < (int64_t)(i1 - i);
    vd eta = load(A.eta0 + i) + b[0];
    for (int j = 1; j < nz; ++j) eta += load(D.zc[j] + i) * b[j];
    eta = select(live, eta, splat(0));
    const vd wy = select(live, load(D.wy + i), splat(0)), wt = select(live, load(D.wt + i), splat(0));
    const vi positive = eta > 0;
    const vd e = vexp(select(positive, -eta, eta)), d = 1.0 + e, inv = 1.0 / d;
    linear += wy * eta - wt * select(positive, eta, splat(0));
    if (D.binary) {
      prod *= select(live, d, splat(1.0));
      if (++since_log == 512) logs += vlog(prod), prod = splat(1.0), since_log = 0;
    } else {
      logs += wt * vlog(d);
    }
    const vd r = wy - wt * select(positive, inv, e * inv), w = wt * (e * inv * inv);
    sr[0] += r;
    szz[0] += w;
    for (int j = 1, at = 1; j < nz; ++j) {
      const vd z = select(live, load(D.zc[j] + i), splat(0));
      sr[j] += z * r;
      const vd zw = z * w;
      szz[at++] += zw;
      for (int k = 1; k <= j; ++k) szz[at++] += zw * select(live, load(D.zc[k] + i), splat(0));
    }
  }
  for (int j = 0; j < nz; ++j) Sr[j] = hsum(sr[j]);
  for (int j = 0; j < nz * (nz + 1) / 2; ++j) Szz[j] = hsum(szz[j]);
  return hsum(linear - logs - (D.binary ? vlog(prod) : splat(0)));
}

// Fills M[l], g[l] for this unit and everything below it, eliminates its own block (K, C), and adds what remains to
// the level above.
inline bool ModeFinder::up(int l, int64_t unit, const double* b_above) {
  const Level& lv = D.level[l];
  const int q = lv.q, d = lv.d_above, dd = d + q, nz = D.nz;
  double *Ml = M[l], *gl = g[l];
  const double* u = A.at[l].m + unit * q;
  double b[MAX_EFFECTS + 1];
  memcpy(b, b_above, nz * sizeof(double));
  for (int a = 0; a < q; ++a) {
    for (int e = 0; e < q; ++e) b[lv.zcol[a]] += A.Lambda[l][a * q + e] * u[e];
    h -= 0.5 * u[a] * u[a];
  }
  if (l == L - 1) {
    double Sr[MAX_EFFECTS + 1], Szz[(MAX_EFFECTS + 1) * (MAX_EFFECTS + 2) / 2], ST[(MAX_EFFECTS + 1) * MAX_EFFECTS];
    h += rows(lv.first[unit], lv.first[unit + 1], b, Sr, Szz);
    for (int j = 0; j < nz; ++j)
      for (int e = 0; e < dd; ++e) {
        double s = 0;
        for (int k = 0; k < nz; ++k) s += Szz[j > k ? j * (j + 1) / 2 + k : k * (k + 1) / 2 + j] * T[k * D.d + e];
        ST[j * dd + e] = s;
      }
    for (int a = 0; a < dd; ++a) {
      gl[a] = 0;
      for (int j = 0; j < nz; ++j) gl[a] += T[j * D.d + a] * Sr[j];
      for (int e = 0; e < dd; ++e) {
        double s = 0;
        for (int j = 0; j < nz; ++j) s += T[j * D.d + a] * ST[j * dd + e];
        Ml[a * dd + e] = s;
      }
    }
  } else {
    memset(Ml, 0, dd * dd * sizeof(double));
    memset(gl, 0, dd * sizeof(double));
    for (int64_t child = lv.first[unit]; child < lv.first[unit + 1]; ++child)
      if (!up(l + 1, child, b)) return false;
  }
  for (int a = 0; a < q; ++a) {
    Ml[(d + a) * dd + d + a] += 1.0;
    gl[d + a] -= u[a];
  }
  double R[MAX_EFFECTS * MAX_EFFECTS];
  double *C = A.at[l].C + unit * q * q, *K = A.at[l].K + unit * q * d;
  if (!cholesky_upper(Ml + d * dd + d, dd, q, R)) return false;
  invert_upper(R, q, C);
  double half[MAX_EFFECTS];  // C' g_own
  double* st = step[l] + (unit - first_unit[l]) * q;
  for (int a = 0; a < q; ++a) half[a] = st[a] = 0;
  add_matvec_t(C, q, q, gl + d, half);
  add_matvec(C, q, q, half, st);
  for (int a = 0; a < q; ++a) decrement += half[a] * half[a];
  for (int col = 0; col < d; ++col) {
    double t[MAX_EFFECTS];
    for (int a = 0; a < q; ++a) {
      t[a] = 0;
      for (int e = 0; e <= a; ++e) t[a] += C[e * q + a] * Ml[(d + e) * dd + col];
    }
    for (int a = 0; a < q; ++a) {
      double s = 0;
      for (int e = a; e < q; ++e) s -= C[a * q + e] * t[e];
      K[a * d + col] = s;
    }
  }
  if (l == 0) return true;
  const int up_dd = d;  // the level above sees exactly its own and higher effects
  for (int a = 0; a < up_dd; ++a) {
    double s = gl[a];
    for (int e = 0; e < q; ++e) s += K[e * d + a] * gl[d + e];
    g[l - 1][a] += s;
    for (int col = 0; col < up_dd; ++col) {
      double v = Ml[a * dd + col];
      for (int e = 0; e < q; ++e) v += Ml[(d + e) * dd + a] * K[e * d + col];
      M[l - 1][a * up_dd + col] += v;
    }
  }
  return true;
}

inline void ModeFinder::down(int l, int64_t unit, const double* step_above) {
  const Level& lv = D.level[l];
  const int q = lv.q, d = lv.d_above;
  double all[MAX_EFFECTS];
  double* st = step[l] + (unit - first_unit[l]) * q;
  add_matvec(A.at[l].K + unit * q * d, q, d, step_above, st);
  if (l == L - 1) return;
  memcpy(all, step_above, d * sizeof(double));
  memcpy(all + d, st, q * sizeof(double));
  for (int64_t child = lv.first[unit]; child < lv.first[unit + 1]; ++child) down(l + 1, child, all);
}

inline void ModeFinder::move(double fraction) {
  for (int l = 0; l < L; ++l) {
    const int64_t n = (last_unit[l] - first_unit[l]) * D.level[l].q;
    double* m = A.at[l].m + first_unit[l] * D.level[l].q;
    for (int64_t k = 0; k < n; ++k) m[k] = start[l][k] + fraction * taken[l][k];
  }
}

// Damped Newton; the joint log density is concave, so it has one mode and halving always ends.
inline int ModeFinder::cluster(int64_t index) {
  int64_t a = index, z = index + 1;
  for (int l = 0; l < L; ++l) {
    first_unit[l] = a, last_unit[l] = z;
    a = D.level[l].first[a], z = D.level[l].first[z];
  }
  const double zero[MAX_EFFECTS + 1] = {0};
  double last_h = -INFINITY, fraction = 1;
  for (int it = 0; it < A.max_iterations; ++it) {
    h = decrement = 0;
    const bool finite = up(0, index, zero) && isfinite(h);
    if (!finite && it == 0) return NOT_FINITE;
    if (!finite || h < last_h - 1e-12 * fabs(last_h) - 1e-12) {  // the step went too far
      fraction *= 0.5;
      if (fraction < 1e-8) return NO_MODE;
      move(fraction);
      continue;
    }
    if (decrement < A.tolerance) return OK;
    down(0, index, zero);
    for (int l = 0; l < L; ++l) {
      const int64_t q = D.level[l].q, n = (last_unit[l] - first_unit[l]) * q;
      memcpy(start[l], A.at[l].m + first_unit[l] * q, n * sizeof(double));
      memcpy(taken[l], step[l], n * sizeof(double));
    }
    last_h = h, fraction = 1;
    move(1);
  }
  return NO_MODE;
}

// One level, one effect: how far from the mode the log integrand has fallen by A.drop. The log integrand is concave
// with second derivative at most -1, so Newton from sqrt(2 drop), where it has fallen at least that much, comes in
// from outside without overshooting.
inline double ModeFinder::extent(int64_t unit, double sign) const {
  const int64_t i0 = D.level[0].first[unit], i1 = D.level[0].first[unit + 1];
  const double m = A.at[0].m[unit];
  double b[MAX_EFFECTS + 1] = {0}, Sr[MAX_EFFECTS + 1], Szz[(MAX_EFFECTS + 1) * (MAX_EFFECTS + 2) / 2];
  const int j = D.level[0].zcol[0];
  const double lambda = A.Lambda[0][0];
  b[j] = lambda * m;
  const double top = rows(i0, i1, b, Sr, Szz) - 0.5 * m * m;
  double x = sqrt(2 * A.drop);
  for (int it = 0; it < 20; ++it) {
    const double u = m + sign * x;
    b[j] = lambda * u;
    const double value = rows(i0, i1, b, Sr, Szz) - 0.5 * u * u - (top - A.drop);
    const double slope = sign * (lambda * Sr[j] - u);
    const double change = value / slope;
    x -= change;
    if (fabs(change) < 0.01 * x) break;
  }
  return m + sign * x;
}

inline int ModeFinder::run(int64_t first, int64_t last) {
  for (int64_t index = first; index < last; ++index) {
    const int status = cluster(index);
    if (status != OK) return status;
    if (A.drop > 0) {
      A.extent[2 * index] = extent(index, -1);
      A.extent[2 * index + 1] = extent(index, +1);
    }
  }
  return OK;
}

}  // namespace MELOGIT_ISA
}  // namespace melogit
