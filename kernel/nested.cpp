// The kernels; compiled once per instruction set (MELOGIT_ISA names it).
#include "crossed.h"
#include "evaluate.h"
#include "fixed.h"
#include "given.h"
#include "lowest.h"
#include "modes.h"
#include "movement.h"
#include "posterior.h"

namespace melogit {
namespace MELOGIT_ISA {

static int64_t evaluate_scratch(const Data& D, const EvaluateArgs& A) { return Evaluator(D, A, nullptr).scratch(); }
static int evaluate(const Data& D, const EvaluateArgs& A, int64_t first, int64_t last, double* sum, double* scratch) {
  return Evaluator(D, A, scratch).run(first, last, sum);
}
static int64_t modes_scratch(const Data& D, const ModesArgs& A) { return ModeFinder(D, A, nullptr).scratch(); }
static int modes(const Data& D, const ModesArgs& A, int64_t first, int64_t last, double* scratch) {
  return ModeFinder(D, A, scratch).run(first, last);
}
static int64_t movement_scratch(const Data& D, const MovementArgs& A) { return Mover(D, A, nullptr).scratch(); }
static int movement(const Data& D, const MovementArgs& A, int64_t first, int64_t last, double* sum, double* scratch) {
  return Mover(D, A, scratch).run(first, last, sum);
}

static int64_t given_scratch(const CrossedData& D, const GivenArgs& G) { return GivenRest(D, G, nullptr).scratch(); }
static int given(const CrossedData& D, const GivenArgs& G, int64_t first, int64_t last, double* scratch) {
  return GivenRest(D, G, scratch).run(first, last);
}

static void logistic(const double* x, int64_t n, double* e, double* l) {
  for (int64_t i = 0; i < n; i += W) {
    double in[W], out_e[W], out_l[W];
    for (int k = 0; k < W; ++k) in[k] = i + k < n ? x[i + k] : 0;
    const vd v = load(in);
    const vd ev = vexp(select(v > 0, -v, v));
    store(out_e, ev);
    store(out_l, vlog(1.0 + ev));
    for (int k = 0; k < W && i + k < n; ++k) e[i + k] = out_e[k], l[i + k] = out_l[k];
  }
}

extern const Kernels table;
#define MELOGIT_TEXT(x) #x
#define MELOGIT_NAME(x) MELOGIT_TEXT(x)
const Kernels table = {MELOGIT_NAME(MELOGIT_ISA), evaluate_scratch, evaluate,
                       modes_scratch,             modes,            movement_scratch,
                       movement,                  fixed_scratch,    fixed_effects,
                       crossed_rows,              crossed_factor,   crossed_schur,
                       crossed_rest,              crossed_forward,  crossed_backward,
                       crossed_products,          crossed_inverse,  given_scratch,
                       given,                     dense_factor,     dense_solve,
                       dense_invert,              logistic};

}  // namespace MELOGIT_ISA
}  // namespace melogit
