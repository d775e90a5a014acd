// Crossed factors with the effects of the rest given: the groups of the eliminated factor are then independent, and
// each one's integral is taken by quadrature at its conditional mode and curvature. Nodes in the lanes.
#pragma once
#include "dense.h"

namespace melogit {
namespace MELOGIT_ISA {

// Newton decrement at which a conditional mode is found: a hundredth of a standard deviation off, nodes integrate as well.
constexpr double CLOSE_ENOUGH = 1e-4;

class GivenRest {
 public:
  GivenRest(const CrossedData& D, const GivenArgs& G, double* scratch) : D(D), G(G), q(D.q) {
    Arena arena(scratch);
    int64_t rows = 0;
    for (int64_t g = 0; g < D.groups; ++g) rows = rows < D.first[g + 1] - D.first[g] ? D.first[g + 1] - D.first[g] : rows;
    stride = rows + LANES;
    base = arena.take(stride);
    a0 = arena.take(q * stride);
    u = arena.take(q * G.n_padded);
    f = arena.take(G.n_padded);
    mu = arena.take(rows * G.n_padded);
    used = arena.used();
  }
  int64_t scratch() const { return used; }

  int run(int64_t g0, int64_t g1) {
    for (int64_t g = g0; g < g1; ++g) {
      const int64_t i0 = D.first[g], n = D.first[g + 1] - i0;
      for (int64_t j = 0; j < n; ++j) {
        const double* a = G.A + (i0 + j) * (q + D.r) + q;
        double e = G.eta0[i0 + j];
        for (int k = 0; k < D.r; ++k) e += a[k] * G.u1[D.column[(i0 + j) * D.r + k]];
        base[j] = e;
        for (int k = 0; k < q; ++k) a0[k * stride + j] = loading(i0 + j)[k];
      }
      for (int64_t j = n; j < n + LANES; ++j) {
        base[j] = 0;
        for (int k = 0; k < q; ++k) a0[k * stride + j] = 0;
      }
      double L[MAX_EFFECTS * MAX_EFFECTS];
      if (!mode(i0, n, G.u0 + g * q, L)) return NO_MODE;
      if (!integrate(g, i0, n, L)) return NOT_FINITE;
    }
    return OK;
  }

 private:
  const CrossedData& D;
  const GivenArgs& G;
  const int q;
  int64_t stride;
  double *base, *a0, *u, *f, *mu;  // a0: (q, stride) a group's loadings, column by column
  int64_t used;

  const double* loading(int64_t i) const { return G.A + i * (q + D.r); }

  // Log-likelihood of a group less half the squared length of x, its gradient and minus its curvature.
  double value(int64_t i0, int64_t n, const double* x, double* slope, double* M) const {
    vd total = splat(0), g[MAX_EFFECTS], h[MAX_EFFECTS * (MAX_EFFECTS + 1) / 2];
    for (int k = 0; k < q; ++k) g[k] = splat(0);
    for (int k = 0; k < q * (q + 1) / 2; ++k) h[k] = splat(0);
    vi lane = {};
    for (int k = 0; k < W; ++k) lane[k] = k;
    for (int64_t j = 0; j < n; j += W) {
      const vi live = lane < (int64_t)(n - j);
      vd eta = load(base + j);
      for (int k = 0; k < q; ++k) eta += load(a0 + k * stride + j) * x[k];
      const vd y = select(live, load(D.wy + i0 + j), splat(0)), t = select(live, load(D.wt + i0 + j), splat(0));
      const vi positive = eta > 0;
      const vd z = vexp(select(positive, -eta, eta)), d = 1.0 + z, inv = 1.0 / d;
      total += y * eta - t * (select(positive, eta, splat(0)) + vlog(d));
      const vd r = y - t * select(positive, inv, z * inv), w = t * (z * inv * inv);
      for (int k = 0, at = 0; k < q; ++k) {
        const vd a = load(a0 + k * stride + j), wa = w * a;
        g[k] += r * a;
        for (int l = 0; l <= k; ++l) h[at++] += wa * load(a0 + l * stride + j);
      }
    }
    double out = hsum(total);
    for (int k = 0, at = 0; k < q; ++k) {
      out -= 0.5 * x[k] * x[k];
      slope[k] = hsum(g[k]) - x[k];
      for (int l = 0; l <= k; ++l) M[k * q + l] = hsum(h[at++]) + (k == l);
    }
    return out;
  }

  // Damped Newton from x to the mode; L is the Cholesky factor of the curvature there.
  bool mode(int64_t i0, int64_t n, double* x, double* L) const {
    double slope[MAX_EFFECTS], M[MAX_EFFECTS * MAX_EFFECTS], step[MAX_EFFECTS], at[MAX_EFFECTS];
    double top = value(i0, n, x, slope, M);
    for (int it = 0; it < 100; ++it) {
      if (!cholesky_lower(M, q, q, L)) return false;
      memcpy(step, slope, q * sizeof(double));
      solve_lower(L, q, step);
      double decrement = 0;
      for (int k = 0; k < q; ++k) decrement += step[k] * slope[k];
      if (decrement < CLOSE_ENOUGH) return true;
      for (int halvings = 0; halvings < 40; ++halvings) {
        for (int k = 0; k < q; ++k) at[k] = x[k] + step[k];
        const double there = value(i0, n, at, slope, M);
        if (there >= top - 1e-12 * fabs(top)) {
          memcpy(x, at, q * sizeof(double));
          top = there;
          break;
        }
        for (int k = 0; k < q; ++k) step[k] *= 0.5;
      }
    }
    return false;
  }

  bool integrate(int64_t g, int64_t i0, int64_t n, const double* L) {
    const int64_t N = G.n_padded;
    const double* m = G.u0 + g * q;
    double logdet = 0;
    for (int k = 0; k < q; ++k) logdet -= log(L[k * q + k]);
    for (int64_t v = 0; v < N; v += W) {  // u = m + L^-T z
      vd ss = splat(0);
      for (int k = q - 1; k >= 0; --k) {
        vd x = load(G.z + k * N + v);
        for (int l = k + 1; l < q; ++l) x -= L[l * q + k] * (load(u + l * N + v) - m[l]);
        x = m[k] + x / L[k * q + k];
        store(u + k * N + v, x);
        ss += x * x;
      }
      vd sum = load(G.log_weight + v) + (logdet - 0.5 * ss);
      vd prod = splat(1.0);
      for (int64_t j = 0; j < n; ++j) {
        vd eta = splat(base[j]);
        for (int k = 0; k < q; ++k) eta += a0[k * stride + j] * load(u + k * N + v);
        const vi positive = eta > 0;
        const vd x = vexp(select(positive, -eta, eta)), d = 1.0 + x, inv = 1.0 / d;
        const double wy = D.wy[i0 + j], wt = D.wt[i0 + j];
        sum += wy * eta - wt * select(positive, eta, splat(0));
        if (!D.binary) {
          sum -= wt * vlog(d);
        } else {
          prod *= d;  // one logarithm for many factors between 1 and 2
          if (j % 512 == 511) sum -= vlog(prod), prod = splat(1.0);
        }
        if (G.moments) store(mu + j * N + v, select(positive, inv, x * inv));
      }
      store(f + v, sum - vlog(prod));
    }
    double top = f[0], total = 0;
    for (int64_t v = 1; v < G.n_nodes; ++v) top = f[v] > top ? f[v] : top;
    for (int64_t v = 0; v < G.n_nodes; ++v) total += f[v] = exp(f[v] - top);
    for (int64_t v = G.n_nodes; v < N; ++v) f[v] = 0;
    G.loglik[g] = top + log(total);
    if (!isfinite(G.loglik[g])) return false;
    if (!G.moments) return true;
    for (int64_t v = 0; v < N; ++v) f[v] /= total;
    for (int64_t j = 0; j < n; ++j) {
      const double wy = D.wy[i0 + j], wt = D.wt[i0 + j];
      vd r = splat(0), ru[MAX_EFFECTS];
      for (int k = 0; k < q; ++k) ru[k] = splat(0);
      for (int64_t v = 0; v < N; v += W) {
        const vd res = load(f + v) * (wy - wt * load(mu + j * N + v));
        r += res;
        for (int k = 0; k < q; ++k) ru[k] += res * load(u + k * N + v);
      }
      double* out = G.moments + (i0 + j) * (q + 1);
      out[0] = hsum(r);
      for (int k = 0; k < q; ++k) out[1 + k] = hsum(ru[k]);
    }
    return true;
  }
};

}  // namespace MELOGIT_ISA
}  // namespace melogit
