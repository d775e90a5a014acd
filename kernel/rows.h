// The rows of one lowest-level group at one point: rows in the lanes.
#pragma once
#include "vec.h"

namespace melogit {
namespace MELOGIT_ISA {

// Log-likelihood of a run of rows at one value of the random effects, and its first and second derivatives in the total coefficient of each covariate.
static inline double rows_at_point(const Data& D, const double* eta0, int64_t i0, int64_t i1, const double* b,
                                   double* Sr, double* Szz) {
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
    vd eta = load(eta0 + i) + b[0];
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

// The log integrand of a single random effect u of one group, everything else held fixed: concave, with second
// derivative at most -1.
struct Conditional {
  const Data& D;
  const double* eta0;
  int64_t i0, i1;
  const double* b;  // (nz) coefficients without u
  int zcol;
  double lambda;

  double value(double u, double* slope, double* curvature) const {
    double at[MAX_EFFECTS + 1], Sr[MAX_EFFECTS + 1], Szz[(MAX_EFFECTS + 1) * (MAX_EFFECTS + 2) / 2];
    memcpy(at, b, D.nz * sizeof(double));
    at[zcol] += lambda * u;
    const double f = rows_at_point(D, eta0, i0, i1, at, Sr, Szz) - 0.5 * u * u;
    *slope = lambda * Sr[zcol] - u;
    *curvature = -lambda * lambda * Szz[zcol * (zcol + 1) / 2 + zcol] - 1.0;
    return f;
  }

  // Damped Newton from `u` to the mode.
  double mode(double u, double* top) const {
    double slope, curvature, f = value(u, &slope, &curvature);
    for (int it = 0; it < 50; ++it) {
      double step = -slope / curvature;
      if (step * slope < 1e-10) break;
      for (int halvings = 0; halvings < 40; ++halvings) {
        double s, c;
        const double g = value(u + step, &s, &c);
        if (g >= f) {
          u += step, f = g, slope = s, curvature = c;
          break;
        }
        step *= 0.5;
      }
    }
    *top = f;
    return u;
  }

  // Where the log integrand has fallen by `drop` from its mode, on both sides. At a distance of sqrt(2 drop) it has
  // fallen at least that much; from there Newton comes in without overshooting.
  void range(double start, double drop, double* out) const {
    double top;
    const double m = mode(start, &top);
    for (int side = 0; side < 2; ++side) {
      const double sign = side ? 1.0 : -1.0;
      double x = sqrt(2 * drop);
      for (int it = 0; it < 20; ++it) {
        double slope, curvature;
        const double excess = value(m + sign * x, &slope, &curvature) - (top - drop);
        const double change = excess / (sign * slope);
        x -= change;
        if (fabs(change) < 1e-3 * x) break;  // the step after is good to 1e-6
      }
      out[side] = m + sign * x;
    }
  }
};

}  // namespace MELOGIT_ISA
}  // namespace melogit
