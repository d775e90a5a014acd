// The Python face of the kernels for crossed factors: arrays in, arrays out.
#include "arrays.h"

namespace melogit {
namespace {

using ConstInts = nb::ndarray<const int32_t, nb::c_contig, nb::device::cpu>;

constexpr int64_t MANY_ROWS = 50000;  // below, threads cost more than they save

// Groups, and effects of the rest, are shared out in portions that depend on the data alone, so sums do not depend on the number of threads.
struct Crossed {
  CrossedData data{};
  std::vector<int64_t> chunk;           // groups
  std::vector<int64_t> columns, stripe;  // effects of the rest: equally many, and equal areas of a triangle
  std::vector<int64_t> met;
  std::vector<Meeting> meeting;
  std::vector<nb::object> keep;
};

// By effect of the rest, the groups that it meets, in their order.
void find_meetings(Crossed& problem) {
  CrossedData& D = problem.data;
  problem.met.assign(D.rest + 1, 0), problem.meeting.resize(D.start[D.groups]);
  for (int64_t t = 0; t < D.start[D.groups]; ++t) ++problem.met[D.cols[t] + 1];
  for (int64_t j = 0; j < D.rest; ++j) problem.met[j + 1] += problem.met[j];
  std::vector<int64_t> next(problem.met.begin(), problem.met.end());
  for (int64_t g = 0; g < D.groups; ++g)
    for (int64_t t = D.start[g]; t < D.start[g + 1]; ++t)
      problem.meeting[next[D.cols[t]]++] = {static_cast<int32_t>(g), static_cast<int32_t>(t - D.start[g])};
  D.met = problem.met.data(), D.meeting = problem.meeting.data();
  D.complete = D.start[D.groups] == D.groups * D.rest;
}

std::unique_ptr<Crossed> make_crossed(ConstDoubles wy, ConstDoubles wt, bool binary, Longs first, int q, int r,
                                      int64_t rest, ConstInts column, Longs start, ConstInts cols, ConstInts local) {
  auto out = std::make_unique<Crossed>();
  CrossedData& D = out->data;
  D.groups = static_cast<int64_t>(first.size()) - 1;
  require(D.groups > 0 && q > 0 && r >= 0 && q + r <= MAX_EFFECTS, "groups and effects");
  D.first = first.data(), D.n = D.first[D.groups], D.q = q, D.r = r, D.rest = rest;
  require(static_cast<int64_t>(wy.size()) == D.n + 8 && wt.size() == wy.size(), "wy, wt are (n,) and 8 numbers");
  require(static_cast<int64_t>(column.size()) == D.n * r && local.size() == column.size(), "columns are (n, r)");
  require(static_cast<int64_t>(start.size()) == D.groups + 1, "start");
  D.wy = wy.data(), D.wt = wt.data(), D.binary = binary, D.column = column.data(), D.local = local.data();
  D.start = start.data(), D.cols = cols.data();
  require(static_cast<int64_t>(cols.size()) == D.start[D.groups], "cols");
  require(D.groups <= INT32_MAX, "groups");
  for (int64_t t = 0; t < D.start[D.groups]; ++t) require(D.cols[t] >= 0 && D.cols[t] < rest, "cols");
  find_meetings(*out);
  const int64_t rows = std::max<int64_t>(2048, D.n / 64);
  out->chunk.push_back(0);
  for (int64_t g = 0; g < D.groups; ++g)
    if (D.first[g + 1] - D.first[out->chunk.back()] >= rows || g + 1 == D.groups) out->chunk.push_back(g + 1);
  const int64_t stripes = D.n < MANY_ROWS || rest < 64 ? 1 : 32;
  for (int64_t t = 0; t <= stripes; ++t) {
    out->columns.push_back(rest * t / stripes);
    out->stripe.push_back(std::lround(rest * std::sqrt(static_cast<double>(t) / stripes)));
  }
  for (auto& object : {nb::cast(wy), nb::cast(wt), nb::cast(first), nb::cast(column), nb::cast(start), nb::cast(cols),
                       nb::cast(local)})
    out->keep.push_back(object);
  return out;
}

int threads_for(const CrossedData& D, int threads) { return D.n < MANY_ROWS ? 1 : threads; }

template <typename Work>
int share(const std::vector<int64_t>& edges, int threads, Work work) {
  return for_chunks(static_cast<int64_t>(edges.size()) - 1, threads, 0, [&](int64_t c, double*) {
    work(edges[c], edges[c + 1]);
    return static_cast<int>(OK);
  });
}

// loglik: of the rows, less half the squared length of u. score: (groups * q + rest).
int crossed_rows(Crossed& problem, ConstDoubles A, ConstDoubles eta0, ConstDoubles u0, ConstDoubles u1,
                 Doubles residual, Doubles weight, Doubles bend, Doubles score0, Doubles score1, Doubles loglik,
                 int threads, const std::string& isa) {
  const CrossedData& D = problem.data;
  const int s = D.q + D.r;
  require(static_cast<int64_t>(A.size()) == D.n * s && static_cast<int64_t>(eta0.size()) >= D.n, "A, eta0");
  require(static_cast<int64_t>(u0.size()) == D.groups * D.q && static_cast<int64_t>(u1.size()) == D.rest, "u");
  check_size(residual, D.n, "residual"), check_size(weight, D.n, "weight"), check_size(bend, D.n, "bend");
  check_size(score0, D.groups * D.q, "score0"), check_size(score1, D.rest, "score1"), check_size(loglik, 1, "loglik");
  CrossedState S{};
  S.A = A.data(), S.eta0 = eta0.data(), S.u0 = u0.data(), S.u1 = u1.data();
  S.residual = residual.data(), S.weight = weight.data(), S.bend = bend.data(), S.score0 = score0.data();
  double *g1 = score1.data(), *total = loglik.data();
  const Kernels* k = chosen(isa);
  nb::gil_scoped_release release;
  const int64_t chunks = static_cast<int64_t>(problem.chunk.size()) - 1;
  std::vector<double> parts(chunks, 0.0);
  const int status = for_chunks(chunks, threads_for(D, threads), 0, [&](int64_t c, double*) {
    return k->crossed_rows(D, S, problem.chunk[c], problem.chunk[c + 1], &parts[c]);
  });
  add_up(parts, 1, total);
  for (int64_t j = 0; j < D.rest; ++j) g1[j] = -S.u1[j], *total -= 0.5 * S.u1[j] * S.u1[j];
  if (D.r == 1) {
    for (int64_t i = 0; i < D.n; ++i) g1[D.column[i]] += S.residual[i] * S.A[i * s + D.q];
    return status;
  }
  for (int64_t i = 0; i < D.n; ++i)
    for (int j = 0; j < D.r; ++j) g1[D.column[i * D.r + j]] += S.residual[i] * S.A[i * s + D.q + j];
  return status;
}

CrossedState factored(const CrossedData& D, const ConstDoubles& A, const Doubles& L, const Doubles& T) {
  require(static_cast<int64_t>(A.size()) == D.n * (D.q + D.r), "A");
  check_size(L, D.groups * D.q * D.q, "L"), check_size(T, D.start[D.groups] * D.q, "T");
  CrossedState S{};
  S.A = A.data(), S.L = L.data(), S.T = T.data();
  return S;
}

int crossed_factor(Crossed& problem, ConstDoubles A, Doubles weight, Doubles L, Doubles T, Doubles schur,
                   Doubles logdet, int threads, const std::string& isa) {
  const CrossedData& D = problem.data;
  CrossedState S = factored(D, A, L, T);
  check_size(weight, D.n, "weight"), check_size(schur, D.rest * D.rest, "schur"), check_size(logdet, 1, "logdet");
  S.weight = weight.data(), S.schur = schur.data();
  double* total = logdet.data();
  const Kernels* k = chosen(isa);
  nb::gil_scoped_release release;
  const int64_t chunks = static_cast<int64_t>(problem.chunk.size()) - 1;
  std::vector<double> parts(chunks, 0.0);
  const int status = for_chunks(chunks, threads_for(D, threads), 0, [&](int64_t c, double*) {
    return k->crossed_factor(D, S, problem.chunk[c], problem.chunk[c + 1], &parts[c]);
  });
  add_up(parts, 1, total);
  if (status != OK || D.rest == 0) return status;
  const int made = share(problem.stripe, threads_for(D, threads), [&](int64_t j0, int64_t j1) {
    k->crossed_schur(D, S, j0, j1);
  });
  if (made == OK) k->crossed_rest(D, S);
  return made;
}

void crossed_sweep(Crossed& problem, ConstDoubles A, Doubles L, Doubles T, Doubles x0, Doubles x1, bool forward,
                   const std::string& isa) {
  const CrossedData& D = problem.data;
  const CrossedState S = factored(D, A, L, T);
  check_size(x0, D.groups * D.q, "x0"), check_size(x1, D.rest, "x1");
  const Kernels* k = chosen(isa);
  nb::gil_scoped_release release;
  if (forward) k->crossed_forward(D, S, x0.data(), x1.data());
  else k->crossed_backward(D, S, x0.data(), x1.data());
}

// Copies rows j0..j1-1 of the lower triangle to the upper one, few at a time so that they stay in the cache.
void mirror(double* P, int64_t N, int64_t j0, int64_t j1) {
  for (int64_t end; j0 < j1; j0 = end) {
    end = std::min(j0 + 16, j1);
    for (int64_t l = 0; l < end; ++l)
      for (int64_t j = std::max(j0, l + 1); j < end; ++j) P[l * N + j] = P[j * N + l];
  }
}

int crossed_inverse(Crossed& problem, ConstDoubles A, Doubles L, Doubles T, Doubles P, Doubles h, Doubles v,
                    Doubles block, int threads, const std::string& isa) {
  const CrossedData& D = problem.data;
  const CrossedState S = factored(D, A, L, T);
  const int64_t N = D.rest;
  check_size(P, N * N, "P");
  check_size(h, D.n * (D.q + D.r), "h"), check_size(v, D.n, "v"), check_size(block, D.groups * D.q * D.q, "block");
  const Kernels* k = chosen(isa);
  nb::gil_scoped_release release;
  threads = threads_for(D, threads);
  const std::unique_ptr<double[]> F(new double[std::max<int64_t>(T.size(), 1)]);
  int made = share(problem.stripe, threads, [&](int64_t j0, int64_t j1) { mirror(P.data(), N, j0, j1); });
  if (made == OK) {
    made = share(problem.columns, threads, [&](int64_t j0, int64_t j1) {
      k->crossed_products(D, S, P.data(), j0, j1, F.get());
    });
  }
  if (made != OK) return made;
  return share(problem.chunk, threads, [&](int64_t g0, int64_t g1) {
    k->crossed_inverse(D, S, P.data(), F.get(), g0, g1, h.data(), v.data(), block.data());
  });
}

int crossed_given(Crossed& problem, ConstDoubles A, ConstDoubles eta0, ConstDoubles u1, Doubles u0, ConstDoubles z,
                  ConstDoubles log_weight, int64_t n_nodes, Doubles loglik, nb::object moments, int threads,
                  const std::string& isa) {
  const CrossedData& D = problem.data;
  const auto padded = static_cast<int64_t>(log_weight.size());
  require(static_cast<int64_t>(A.size()) == D.n * (D.q + D.r) && static_cast<int64_t>(eta0.size()) >= D.n, "A, eta0");
  require(static_cast<int64_t>(u1.size()) == D.rest, "u1");
  require(padded % LANES == 0 && n_nodes > 0 && n_nodes <= padded, "log_weight");
  require(static_cast<int64_t>(z.size()) == padded * D.q, "z is (q, padded)");
  check_size(u0, D.groups * D.q, "u0"), check_size(loglik, D.groups, "loglik");
  GivenArgs G{A.data(), eta0.data(), u1.data(), u0.data(), n_nodes, padded, z.data(), log_weight.data(),
              loglik.data(), nullptr};
  if (!moments.is_none()) {
    auto m = nb::cast<Doubles>(moments);
    check_size(m, D.n * (D.q + 1), "moments");
    G.moments = m.data();
  }
  const Kernels* k = chosen(isa);
  nb::gil_scoped_release release;
  const int64_t chunks = static_cast<int64_t>(problem.chunk.size()) - 1;
  if (D.n * n_nodes < 150000) threads = 1;
  return for_chunks(chunks, threads, k->given_scratch(D, G), [&](int64_t c, double* scratch) {
    return k->given(D, G, problem.chunk[c], problem.chunk[c + 1], scratch);
  });
}

int64_t side(const Doubles& A) {
  const auto n = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(A.size()))));
  check_size(A, n * n, "a square matrix");
  return n;
}

bool dense_factor(Doubles A, const std::string& isa) {
  nb::gil_scoped_release release;
  return chosen(isa)->dense_factor(A.data(), side(A));
}

void dense_solve(Doubles L, Doubles x, const std::string& isa) {
  check_size(x, side(L), "x");
  chosen(isa)->dense_solve(L.data(), side(L), x.data());
}

void dense_invert(Doubles L, Doubles scratch, Doubles P, const std::string& isa) {
  check_size(scratch, side(L) * side(L), "scratch"), check_size(P, side(L) * side(L), "P");
  nb::gil_scoped_release release;
  chosen(isa)->dense_invert(L.data(), side(L), scratch.data(), P.data());
}

}  // namespace

void bind_crossed(nb::module_& m) {
  nb::class_<Crossed>(m, "Crossed");
  m.def("crossed", &make_crossed, nb::arg("wy"), nb::arg("wt"), nb::arg("binary"), nb::arg("first"), nb::arg("q"), nb::arg("r"),
        nb::arg("rest"), nb::arg("column"), nb::arg("start"), nb::arg("cols"), nb::arg("local"));
  m.def("crossed_rows", &crossed_rows, nb::arg("problem"), nb::arg("A"), nb::arg("eta0"), nb::arg("u0"), nb::arg("u1"),
        nb::arg("residual"), nb::arg("weight"), nb::arg("bend"), nb::arg("score0"), nb::arg("score1"),
        nb::arg("loglik"), nb::arg("threads"), nb::arg("isa"));
  m.def("crossed_factor", &crossed_factor, nb::arg("problem"), nb::arg("A"), nb::arg("weight"), nb::arg("L"),
        nb::arg("T"), nb::arg("schur"), nb::arg("logdet"), nb::arg("threads"), nb::arg("isa"));
  m.def("crossed_sweep", &crossed_sweep, nb::arg("problem"), nb::arg("A"), nb::arg("L"), nb::arg("T"), nb::arg("x0"),
        nb::arg("x1"), nb::arg("forward"), nb::arg("isa"));
  m.def("crossed_inverse", &crossed_inverse, nb::arg("problem"), nb::arg("A"), nb::arg("L"), nb::arg("T"),
        nb::arg("P"), nb::arg("h"), nb::arg("v"), nb::arg("block"), nb::arg("threads"), nb::arg("isa"));
  m.def("crossed_given", &crossed_given, nb::arg("problem"), nb::arg("A"), nb::arg("eta0"), nb::arg("u1"),
        nb::arg("u0"), nb::arg("z"), nb::arg("log_weight"), nb::arg("n_nodes"), nb::arg("loglik"),
        nb::arg("moments").none(), nb::arg("threads"), nb::arg("isa"));
  m.def("dense_factor", &dense_factor, nb::arg("A"), nb::arg("isa"));
  m.def("dense_solve", &dense_solve, nb::arg("L"), nb::arg("x"), nb::arg("isa"));
  m.def("dense_invert", &dense_invert, nb::arg("L"), nb::arg("scratch"), nb::arg("P"), nb::arg("isa"));
}

}  // namespace melogit
