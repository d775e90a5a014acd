// The joint posterior mode of all random effects of a cluster, by Newton with block elimination from the lowest level
// up, and the Gaussian chain that its curvature defines: u_own = m + K (u_above - m_above) + C z, C upper triangular
// with C C' the inverse of the eliminated block. Rows in the lanes.
#pragma once
#include "dense.h"
#include "rows.h"

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
  bool up(int l, int64_t unit, const double* b_above);
  void down(int l, int64_t unit, const double* step_above);
  void move(double fraction);
  int cluster(int64_t index);
  void extents(int l, int64_t unit, const double* b_above) const;
};

inline void ModeFinder::load_transform() {
  memset(T, 0, sizeof(T));
  for (int l = 0; l < L; ++l) {
    const Level& lv = D.level[l];
    for (int a = 0; a < lv.q; ++a)
      for (int e = 0; e < lv.q; ++e) T[lv.zcol[a] * D.d + lv.d_above + e] += A.Lambda[l][a * lv.q + e];
  }
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
    h += rows_at_point(D, A.eta0, lv.first[unit], lv.first[unit + 1], b, Sr, Szz);
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

// With one effect per group at the lowest level: from where to where the log integrand matters, given the modes above.
inline void ModeFinder::extents(int l, int64_t unit, const double* b_above) const {
  const Level& lv = D.level[l];
  double b[MAX_EFFECTS + 1];
  memcpy(b, b_above, D.nz * sizeof(double));
  if (l == L - 1) {
    Conditional at{D, A.eta0, lv.first[unit], lv.first[unit + 1], b, lv.zcol[0], A.Lambda[l][0]};
    at.range(A.at[l].m[unit], A.drop, A.extent + 2 * unit);
    return;
  }
  for (int a = 0; a < lv.q; ++a)
    for (int e = 0; e < lv.q; ++e) b[lv.zcol[a]] += A.Lambda[l][a * lv.q + e] * A.at[l].m[unit * lv.q + e];
  for (int64_t child = lv.first[unit]; child < lv.first[unit + 1]; ++child) extents(l + 1, child, b);
}

inline int ModeFinder::run(int64_t first, int64_t last) {
  for (int64_t index = first; index < last; ++index) {
    const int status = cluster(index);
    if (status != OK) return status;
    const double zero[MAX_EFFECTS + 1] = {0};
    if (A.drop > 0) extents(0, index, zero);
  }
  return OK;
}

}  // namespace MELOGIT_ISA
}  // namespace melogit
