// What the kernels are given: plain structs over memory that belongs to the caller. No behaviour.
//
// Rows are sorted so that every group of the lowest level is a run of rows, and every group of a higher level a run of
// groups of the level below. Level 0 is the top.
#pragma once
#include <stdint.h>

namespace melogit {

constexpr int MAX_LEVELS = 8;
constexpr int MAX_EFFECTS = 24;  // random effects that touch one row, over all levels
constexpr int LANES = 8;         // node lists are padded to a multiple of this

enum Status : int32_t { OK = 0, NOT_FINITE = 1, NO_MODE = 2, NO_MOMENTS = 3, NO_MEMORY = 4 };

struct Level {
  int64_t n_units;
  const int64_t* first;  // (n_units + 1) first child of each unit; rows at the lowest level
  int q;                 // random effects per unit
  int d_above;           // random effects of all levels above
  const int32_t* zcol;   // (q) which entry of Data::zc each effect multiplies; 0 is the constant
  int64_t most_units;    // of this level in any one cluster
};

struct Data {
  int n_levels;
  Level level[MAX_LEVELS];
  int64_t n;             // rows
  int64_t most_rows;     // in any one group of the lowest level
  int c;                 // columns of Q
  const double* Q;       // (n, c) row-major, then 8 readable doubles: the distinct columns of X and of all Z
  const double* wy;      // (n) weight * successes
  const double* wt;      // (n) weight * trials
  bool binary;           // every weight and trial is 1, every y 0 or 1
  int nz;                // distinct columns that carry random effects; entry 0 is the constant, used or not
  const double* zc[MAX_EFFECTS + 1];  // (n) each such column; null for entry 0
  int32_t zq[MAX_EFFECTS + 1];        // its column in Q; -1 for an unused constant
  int p;                 // fixed effects: the first p columns of Q
  int m;                 // free entries of all Lambda
  const int32_t* entry;  // (m, 3) level, row, column
  int d;                 // random effects of all levels
};

struct Rule {               // nodes of one level
  int64_t n_nodes;          // K^q
  int64_t n_padded;         // a multiple of LANES
  const double* z;          // (q, n_padded)
  const double* log_weight; // (n_padded) of z in the integral of exp(-u'u/2) * likelihood; -inf in the padding
};

struct Placement {  // u_own = m + K (u_above - m_above) + C z, per unit
  double* m;        // (n_units, q)
  double* K;        // (n_units, q, d_above)
  double* C;        // (n_units, q, q)
};

struct EvaluateArgs {
  const double* eta0;                // (n) offset + X beta
  const double* Lambda[MAX_LEVELS];  // (q, q) row-major; b = Lambda u
  Rule rule[MAX_LEVELS];
  Placement at[MAX_LEVELS];  // read only here
  bool want_score, want_information, want_moments, want_movement;
  // drop > 0, with one effect per group at the lowest level: the nodes there, from -1 to 1, span the range over which
  // the log integrand is within `drop` of its top, found for every group and every choice of nodes above.
  double drop;
  double* cluster_loglik;    // (clusters)
  double* cluster_score;     // (clusters, p + m) or null
  double* moment_mean[MAX_LEVELS];  // (n_units, q) posterior mean of u
  double* moment_cov[MAX_LEVELS];   // (n_units, q, q) posterior covariance of u
  Placement next[MAX_LEVELS];       // placement from these moments
  Placement bar[MAX_LEVELS];        // derivative of the log-likelihood in the placement
};  // `sum` holds 1 + (p + m) + (p + m)^2: log-likelihood, score, Hessian

struct ModesArgs {
  const double* eta0;
  const double* Lambda[MAX_LEVELS];
  Placement at[MAX_LEVELS];  // m is read as the start; all is written
  double tolerance;          // Newton decrement at which to stop
  int max_iterations;
  // drop > 0: also find that range for every group of the lowest level, given the modes above.
  double drop;
  double* extent;  // (groups, 2)
};

struct MovementArgs {
  const double* eta0;
  const double* Lambda[MAX_LEVELS];
  Placement at[MAX_LEVELS];
  Placement bar[MAX_LEVELS];  // from evaluate
  double* cluster_score;      // (clusters, p + m), added to; or null
};  // `sum` holds p + m

struct Meeting {
  int32_t group, place;  // where in the group's list the effect is
};

// Crossed factors: rows sorted by the group of the eliminated factor; every row also loads on `r` effects of the rest.
struct CrossedData {
  int64_t n;
  const double* wy;  // (n), then 8 readable doubles
  const double* wt;
  bool binary;            // every weight and trial is 1, every y 0 or 1
  int64_t groups;         // of the eliminated factor
  const int64_t* first;   // (groups + 1) first row
  int q;                  // its effects per group
  int r;                  // effects of the rest that a row loads on
  int64_t rest;           // effects of the rest
  const int32_t* column;  // (n, r) which of them
  const int64_t* start;   // (groups + 1) into cols
  const int32_t* cols;    // which effects of the rest each group meets, ascending
  const int32_t* local;   // (n, r) position of `column` in the group's list
  bool complete;          // every group meets every effect of the rest
  const int64_t* met;     // (rest + 1) into meeting: by effect of the rest, the groups that it meets
  const Meeting* meeting;
};

struct CrossedState {
  const double* A;     // (n, q + r) loadings
  const double* eta0;  // (n)
  const double* u0;    // (groups, q)
  const double* u1;    // (rest)
  double *residual, *weight, *bend;  // (n) first, minus second and minus third derivative of a row's log-likelihood
  double* score0;  // (groups, q)
  double* L;       // (groups, q, q)
  double* T;       // (length of cols, q)
  double* schur;   // (rest, rest), lower triangle
};

struct GivenArgs {  // crossed factors with the effects of the rest given (given.h)
  const double* A;     // (n, q + r) loadings
  const double* eta0;  // (n)
  const double* u1;    // (rest)
  double* u0;          // (groups, q): where to start; the conditional modes
  int64_t n_nodes, n_padded;
  const double* z;           // (q, n_padded) nodes at mean 0 and variance 1
  const double* log_weight;  // (n_padded), see Rule
  double* loglik;            // (groups)
  double* moments;           // (n, 1 + q) posterior means of a row's residual and of residual times effect; or null
};

struct Kernels {
  const char* name;
  // Each works on the clusters first..last-1 with scratch memory of the size (in doubles) that its twin states, and
  // adds to `sum`. The size holds for any range of clusters.
  int64_t (*evaluate_scratch)(const Data&, const EvaluateArgs&);
  int (*evaluate)(const Data&, const EvaluateArgs&, int64_t first, int64_t last, double* sum, double* scratch);
  int64_t (*modes_scratch)(const Data&, const ModesArgs&);
  int (*modes)(const Data&, const ModesArgs&, int64_t first, int64_t last, double* scratch);
  int64_t (*movement_scratch)(const Data&, const MovementArgs&);
  int (*movement)(const Data&, const MovementArgs&, int64_t first, int64_t last, double* sum, double* scratch);
  // Rows first..last-1 of the model without random effects; `sum` holds 1 + p + p^2.
  int64_t (*fixed_scratch)(const Data&);
  int (*fixed_effects)(const Data&, const double* eta0, int64_t first, int64_t last, double* sum, double* scratch);
  // Crossed factors (crossed.h), for the groups first..last-1; schur and products: the effects first..last-1 of the
  // rest.
  int (*crossed_rows)(const CrossedData&, const CrossedState&, int64_t first, int64_t last, double* loglik);
  int (*crossed_factor)(const CrossedData&, const CrossedState&, int64_t first, int64_t last, double* logdet);
  void (*crossed_schur)(const CrossedData&, const CrossedState&, int64_t first, int64_t last);
  void (*crossed_rest)(const CrossedData&, const CrossedState&);
  void (*crossed_forward)(const CrossedData&, const CrossedState&, double* x0, double* x1);
  void (*crossed_backward)(const CrossedData&, const CrossedState&, double* x0, const double* x1);
  void (*crossed_products)(const CrossedData&, const CrossedState&, const double* P, int64_t first, int64_t last,
                           double* F);
  void (*crossed_inverse)(const CrossedData&, const CrossedState&, const double* P, double* F, int64_t first,
                          int64_t last, double* h, double* v, double* block);
  int64_t (*given_scratch)(const CrossedData&, const GivenArgs&);
  int (*given)(const CrossedData&, const GivenArgs&, int64_t first, int64_t last, double* scratch);
  bool (*dense_factor)(double* A, int64_t n);
  void (*dense_solve)(const double* L, int64_t n, double* x);
  void (*dense_invert)(const double* L, int64_t n, double* scratch, double* P);
  // Speed and accuracy of the vector functions: writes exp(-|x|) and log(1 + exp(-|x|)).
  void (*logistic)(const double* x, int64_t n, double* e, double* l);
};

const Kernels* kernels(const char* name);  // null where this processor cannot run it
const Kernels* best_kernels();

}  // namespace melogit
