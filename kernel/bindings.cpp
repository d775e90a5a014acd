// The Python face of the kernels for nested models: arrays in, arrays out.
#include "arrays.h"

using namespace melogit;

namespace {

// The fixed part of a problem: views of arrays that Python keeps alive, and how clusters are shared out.
struct Problem {
  Data data{};
  std::vector<int64_t> chunk;  // clusters at which chunks begin, and the end: depends on the data alone
  std::vector<nb::object> keep;
};

std::vector<Placement> placements(const Data& D, std::vector<std::vector<Doubles>>& arrays, const char* what) {
  require(static_cast<int>(arrays.size()) == D.n_levels, what);
  std::vector<Placement> out(D.n_levels);
  for (int l = 0; l < D.n_levels; ++l) {
    const Level& lv = D.level[l];
    require(arrays[l].size() == 3, what);
    check_size(arrays[l][0], lv.n_units * lv.q, what);
    check_size(arrays[l][1], lv.n_units * lv.q * lv.d_above, what);
    check_size(arrays[l][2], lv.n_units * lv.q * lv.q, what);
    out[l] = {arrays[l][0].data(), arrays[l][1].data(), arrays[l][2].data()};
  }
  return out;
}

void lambdas(const Data& D, const std::vector<ConstDoubles>& in, const double** out) {
  require(static_cast<int>(in.size()) == D.n_levels, "one Lambda per level");
  for (int l = 0; l < D.n_levels; ++l) {
    require(static_cast<int>(in[l].size()) == D.level[l].q * D.level[l].q, "Lambda is q x q");
    out[l] = in[l].data();
  }
}

std::unique_ptr<Problem> make_problem(Doubles Q, int64_t n, Doubles wy, Doubles wt, bool binary, nb::list zc, Ints zq,
                                      nb::list first, nb::list zcol, Ints entry, int p) {
  auto out = std::make_unique<Problem>();
  Data& D = out->data;
  D.n = n;
  D.c = static_cast<int>(zq.size() ? (Q.size() - 8) / n : 0);
  require(static_cast<int64_t>(Q.size()) == n * D.c + 8, "Q is (n, c) followed by 8 numbers");
  require(static_cast<int64_t>(wy.size()) == n + 8 && static_cast<int64_t>(wt.size()) == n + 8,
          "wy and wt are (n,) followed by 8 numbers");
  D.Q = Q.data(), D.wy = wy.data(), D.wt = wt.data(), D.binary = binary, D.p = p;
  D.nz = static_cast<int>(zq.size());
  require(D.nz >= 1 && D.nz <= MAX_EFFECTS + 1 && static_cast<int>(zc.size()) == D.nz, "covariates of random effects");
  for (int j = 0; j < D.nz; ++j) {
    D.zq[j] = zq.data()[j];
    require(D.zq[j] < D.c, "zq");
    if (j == 0) continue;
    auto column = nb::cast<Doubles>(zc[j]);
    check_size(column, n + 8, "each covariate is (n,) followed by 8 numbers");
    D.zc[j] = column.data();
    out->keep.push_back(zc[j]);
  }
  D.n_levels = static_cast<int>(first.size());
  require(D.n_levels >= 1 && D.n_levels <= MAX_LEVELS && zcol.size() == first.size(), "levels");
  for (int l = 0; l < D.n_levels; ++l) {
    auto f = nb::cast<Longs>(first[l]);
    auto z = nb::cast<Ints>(zcol[l]);
    Level& lv = D.level[l];
    lv.n_units = static_cast<int64_t>(f.size()) - 1;
    lv.first = f.data(), lv.q = static_cast<int>(z.size()), lv.zcol = z.data(), lv.d_above = D.d;
    D.d += lv.q;
    for (int a = 0; a < lv.q; ++a) require(z.data()[a] >= 0 && z.data()[a] < D.nz, "zcol");
    out->keep.push_back(first[l]);
    out->keep.push_back(zcol[l]);
  }
  require(D.d <= MAX_EFFECTS, "too many random effects");
  for (int l = 0; l < D.n_levels; ++l) {
    const Level& lv = D.level[l];
    const int64_t end = l + 1 < D.n_levels ? D.level[l + 1].n_units : n;
    require(lv.n_units > 0 && lv.first[0] == 0 && lv.first[lv.n_units] == end, "groups cover their children");
  }
  const Level& leaf = D.level[D.n_levels - 1];
  for (int64_t k = 0; k < leaf.n_units; ++k) D.most_rows = std::max(D.most_rows, leaf.first[k + 1] - leaf.first[k]);
  const int64_t rows_per_chunk = std::max<int64_t>(128, n / 64);
  int64_t rows = 0;
  out->chunk.push_back(0);
  for (int64_t c = 0; c < D.level[0].n_units; ++c) {
    int64_t a = c, z = c + 1;
    for (int l = 0; l < D.n_levels; ++l) {
      D.level[l].most_units = std::max(D.level[l].most_units, z - a);
      a = D.level[l].first[a], z = D.level[l].first[z];
    }
    rows += z - a;
    if (rows >= rows_per_chunk || c + 1 == D.level[0].n_units) out->chunk.push_back(c + 1), rows = 0;
  }
  require(entry.size() % 3 == 0, "entries are (m, 3)");
  D.entry = entry.data(), D.m = static_cast<int>(entry.size() / 3);
  out->keep.insert(out->keep.end(), {nb::cast(Q), nb::cast(wy), nb::cast(wt), nb::cast(entry)});
  return out;
}

// Writes to the arrays given; returns the status. `sum` is 1 + P + P^2 numbers.
int evaluate(Problem& problem, ConstDoubles eta0, std::vector<ConstDoubles> Lambda, nb::list rules,
             std::vector<std::vector<Doubles>> at, Doubles sum, Doubles cluster_loglik, nb::object cluster_score,
             bool score, bool information, double drop, nb::object moments, nb::object bar, int threads,
             const std::string& isa) {
  const Data& D = problem.data;
  const int P = D.p + D.m;
  EvaluateArgs A{};
  require(static_cast<int64_t>(eta0.size()) == D.n + 8, "eta0 is (n,) followed by 8 numbers");
  A.eta0 = eta0.data();
  lambdas(D, Lambda, A.Lambda);
  require(static_cast<int>(rules.size()) == D.n_levels, "one rule per level");
  std::vector<nb::object> keep;
  int64_t paths = 1;
  for (int l = 0; l < D.n_levels; ++l) {
    nb::tuple rule = nb::cast<nb::tuple>(rules[l]);
    auto z = nb::cast<ConstDoubles>(rule[0]);
    auto w = nb::cast<ConstDoubles>(rule[1]);
    const int64_t padded = static_cast<int64_t>(w.size());
    require(padded % LANES == 0 && static_cast<int64_t>(z.size()) == D.level[l].q * padded, "nodes are (q, padded)");
    A.rule[l] = {nb::cast<int64_t>(rule[2]), padded, z.data(), w.data()};
    require(A.rule[l].n_nodes <= padded && A.rule[l].n_nodes > 0, "number of nodes");
    paths *= A.rule[l].n_nodes;
  }
  auto places = placements(D, at, "placement");
  std::copy(places.begin(), places.end(), A.at);
  A.want_score = score, A.want_information = information, A.drop = drop;
  require(drop <= 0 || (D.level[D.n_levels - 1].q == 1 && bar.is_none()), "ranges need one effect at the lowest level");
  check_size(sum, 1 + P + P * P, "sum");
  check_size(cluster_loglik, D.level[0].n_units, "cluster_loglik");
  A.cluster_loglik = cluster_loglik.data();
  if (!cluster_score.is_none()) {
    auto s = nb::cast<Doubles>(cluster_score);
    check_size(s, D.level[0].n_units * P, "cluster_score");
    A.cluster_score = s.data();
  }
  std::vector<std::vector<Doubles>> next, bars, mean_cov;
  if (!moments.is_none()) {
    A.want_moments = true;
    nb::tuple m = nb::cast<nb::tuple>(moments);
    next = nb::cast<std::vector<std::vector<Doubles>>>(m[0]);
    mean_cov = nb::cast<std::vector<std::vector<Doubles>>>(m[1]);
    auto pl = placements(D, next, "next placement");
    std::copy(pl.begin(), pl.end(), A.next);
    require(static_cast<int>(mean_cov.size()) == D.n_levels, "moments");
    for (int l = 0; l < D.n_levels; ++l) {
      check_size(mean_cov[l].at(0), D.level[l].n_units * D.level[l].q, "moments");
      check_size(mean_cov[l].at(1), D.level[l].n_units * D.level[l].q * D.level[l].q, "moments");
      A.moment_mean[l] = mean_cov[l][0].data();
      A.moment_cov[l] = mean_cov[l][1].data();
    }
  }
  if (!bar.is_none()) {
    A.want_movement = true;
    bars = nb::cast<std::vector<std::vector<Doubles>>>(bar);
    auto pl = placements(D, bars, "bar");
    std::copy(pl.begin(), pl.end(), A.bar);
  }
  const Kernels* k = chosen(isa);
  double* out = sum.data();
  const int64_t size = static_cast<int64_t>(sum.size());
  nb::gil_scoped_release release;
  const int64_t chunks = static_cast<int64_t>(problem.chunk.size()) - 1;
  std::vector<double> parts(chunks * size, 0.0);
  if (D.n * paths < 150000) threads = 1;  // starting a thread takes about as long as that much work
  const int status = for_chunks(chunks, threads, k->evaluate_scratch(D, A), [&](int64_t c, double* scratch) {
    return k->evaluate(D, A, problem.chunk[c], problem.chunk[c + 1], &parts[c * size], scratch);
  });
  add_up(parts, size, out);
  return status;
}

int modes(Problem& problem, ConstDoubles eta0, std::vector<ConstDoubles> Lambda, std::vector<std::vector<Doubles>> at,
          double tolerance, int max_iterations, double drop, nb::object extent, int threads, const std::string& isa) {
  const Data& D = problem.data;
  ModesArgs A{};
  require(static_cast<int64_t>(eta0.size()) == D.n + 8, "eta0 is (n,) followed by 8 numbers");
  A.eta0 = eta0.data();
  lambdas(D, Lambda, A.Lambda);
  auto places = placements(D, at, "placement");
  std::copy(places.begin(), places.end(), A.at);
  A.tolerance = tolerance, A.max_iterations = max_iterations, A.drop = drop;
  if (drop > 0) {
    const Level& leaf = D.level[D.n_levels - 1];
    require(leaf.q == 1, "ranges need one effect at the lowest level");
    auto e = nb::cast<Doubles>(extent);
    check_size(e, 2 * leaf.n_units, "extent");
    A.extent = e.data();
  }
  const Kernels* k = chosen(isa);
  nb::gil_scoped_release release;
  const int64_t chunks = static_cast<int64_t>(problem.chunk.size()) - 1;
  if (D.n < 50000) threads = 1;
  return for_chunks(chunks, threads, k->modes_scratch(D, A), [&](int64_t c, double* scratch) {
    return k->modes(D, A, problem.chunk[c], problem.chunk[c + 1], scratch);
  });
}

int movement(Problem& problem, ConstDoubles eta0, std::vector<ConstDoubles> Lambda,
             std::vector<std::vector<Doubles>> at, std::vector<std::vector<Doubles>> bar, Doubles sum,
             nb::object cluster_score, int threads, const std::string& isa) {
  const Data& D = problem.data;
  MovementArgs A{};
  require(static_cast<int64_t>(eta0.size()) == D.n + 8, "eta0 is (n,) followed by 8 numbers");
  A.eta0 = eta0.data();
  lambdas(D, Lambda, A.Lambda);
  auto places = placements(D, at, "placement");
  std::copy(places.begin(), places.end(), A.at);
  auto bars = placements(D, bar, "bar");
  std::copy(bars.begin(), bars.end(), A.bar);
  const int P = D.p + D.m;
  check_size(sum, P, "sum");
  if (!cluster_score.is_none()) {
    auto s = nb::cast<Doubles>(cluster_score);
    check_size(s, D.level[0].n_units * P, "cluster_score");
    A.cluster_score = s.data();
  }
  const Kernels* k = chosen(isa);
  double* out = sum.data();
  nb::gil_scoped_release release;
  const int64_t chunks = static_cast<int64_t>(problem.chunk.size()) - 1;
  std::vector<double> parts(chunks * P, 0.0);
  const int status = for_chunks(chunks, threads, k->movement_scratch(D, A), [&](int64_t c, double* scratch) {
    return k->movement(D, A, problem.chunk[c], problem.chunk[c + 1], &parts[c * P], scratch);
  });
  add_up(parts, P, out);
  return status;
}

int fixed_effects(Problem& problem, ConstDoubles eta0, Doubles sum, int threads, const std::string& isa) {
  const Data& D = problem.data;
  require(static_cast<int64_t>(eta0.size()) == D.n + 8, "eta0 is (n,) followed by 8 numbers");
  const int64_t size = 1 + D.p + D.p * D.p;
  check_size(sum, size, "sum");
  const Kernels* k = chosen(isa);
  double* out = sum.data();
  const double* eta = eta0.data();
  nb::gil_scoped_release release;
  const int64_t rows = std::max<int64_t>(1024, (D.n / 64 + 255) / 256 * 256), chunks = (D.n + rows - 1) / rows;
  std::vector<double> parts(chunks * size, 0.0);
  if (D.n < 50000) threads = 1;
  const int status = for_chunks(chunks, threads, k->fixed_scratch(D), [&](int64_t c, double* scratch) {
    return k->fixed_effects(D, eta, c * rows, std::min(D.n, (c + 1) * rows), &parts[c * size], scratch);
  });
  add_up(parts, size, out);
  return status;
}

void logistic(ConstDoubles x, Doubles e, Doubles l, const std::string& isa) {
  require(x.size() == e.size() && x.size() == l.size(), "sizes differ");
  const Kernels* k = chosen(isa);
  nb::gil_scoped_release release;
  k->logistic(x.data(), static_cast<int64_t>(x.size()), e.data(), l.data());
}

}  // namespace

NB_MODULE(_kernel, m) {
  nb::class_<Problem>(m, "Problem")
      .def_prop_ro("chunks", [](const Problem& p) { return p.chunk.size() - 1; });
  m.def("problem", &make_problem, nb::arg("Q"), nb::arg("n"), nb::arg("wy"), nb::arg("wt"), nb::arg("binary"),
        nb::arg("zc"), nb::arg("zq"), nb::arg("first"), nb::arg("zcol"), nb::arg("entry"), nb::arg("p"));
  m.def("evaluate", &evaluate, nb::arg("problem"), nb::arg("eta0"), nb::arg("Lambda"), nb::arg("rules"), nb::arg("at"),
        nb::arg("sum"), nb::arg("cluster_loglik"), nb::arg("cluster_score").none(), nb::arg("score"),
        nb::arg("information"), nb::arg("drop"), nb::arg("moments").none(), nb::arg("bar").none(), nb::arg("threads"), nb::arg("isa"));
  m.def("modes", &modes, nb::arg("problem"), nb::arg("eta0"), nb::arg("Lambda"), nb::arg("at"), nb::arg("tolerance"),
        nb::arg("max_iterations"), nb::arg("drop"), nb::arg("extent").none(), nb::arg("threads"), nb::arg("isa"));
  m.def("movement", &movement, nb::arg("problem"), nb::arg("eta0"), nb::arg("Lambda"), nb::arg("at"), nb::arg("bar"),
        nb::arg("sum"), nb::arg("cluster_score").none(), nb::arg("threads"), nb::arg("isa"));
  m.def("fixed_effects", &fixed_effects, nb::arg("problem"), nb::arg("eta0"), nb::arg("sum"), nb::arg("threads"),
        nb::arg("isa"));
  bind_crossed(m);
  m.def("logistic", &logistic);
  m.def("instruction_sets", [] {
    std::vector<std::string> out;
    for (const char* name : {"v4", "v3", "v2", "plain"})
      if (kernels(name)) out.push_back(name);
    return out;
  });
}
