// Vectors of doubles as the compiler's own vector types, with an exp and a log of our own.
// Included once per instruction set, inside a namespace of that set's name: nothing here may be shared between
// translation units, or the linker could give an old processor the code of a new one. For the same reason no
// standard-library templates are used below this line.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "problem.h"

#ifndef MELOGIT_ISA
#define MELOGIT_ISA plain
#endif

namespace melogit {
namespace MELOGIT_ISA {

#if defined(__AVX512F__)
constexpr int W = 8;
#elif defined(__AVX__)
constexpr int W = 4;
#else
constexpr int W = 2;
#endif

typedef double vd __attribute__((vector_size(W * 8)));
typedef int64_t vi __attribute__((vector_size(W * 8)));
typedef double vd_unaligned __attribute__((vector_size(W * 8), aligned(8), may_alias));

static inline vd splat(double x) { return x - (vd){}; }
static inline vd load(const double* p) { return *(const vd_unaligned*)p; }
static inline void store(double* p, vd v) { *(vd_unaligned*)p = v; }
static inline vd select(vi mask, vd a, vd b) { return mask ? a : b; }
static inline vd vmax(vd a, vd b) { return select(a > b, a, b); }
static inline vd vmin(vd a, vd b) { return select(a < b, a, b); }

static inline double hsum(vd v) {
#if defined(__AVX512F__)
  typedef double v4 __attribute__((vector_size(32)));
  typedef double v2 __attribute__((vector_size(16)));
  v4 a = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
  v2 b = __builtin_shufflevector(a, a, 0, 1) + __builtin_shufflevector(a, a, 2, 3);
  return b[0] + b[1];
#else
  double s = 0;
  for (int k = 0; k < W; ++k) s += v[k];
  return s;
#endif
}

static inline double hmax(vd v) {
  double s = v[0];
  for (int k = 1; k < W; ++k) s = v[k] > s ? v[k] : s;
  return s;
}

// exp(x) for x <= 0 (up to about +700 in fact); below -708 the result is exp(-708), about 3e-308.
// Cody & Waite (1980) reduction to |r| <= ln(2)/2, polynomial of degree 11 with error 3e-18.
static inline vd vexp(vd x) {
  const double magic = 0x1.8p52;
  x = vmax(x, splat(-708.0));
  vd t = x * 1.4426950408889634 + magic;
  vd n = t - magic;
  vd r = x - n * 0x1.62e42fefa0000p-1;
  r = r - n * 0x1.cf79abc9e3b3ap-40;
  vd p = splat(0x1.af632a0f7e2cep-26);
  p = p * r + 0x1.28b4101c77212p-22;
  p = p * r + 0x1.71ddf56d8deb5p-19;
  p = p * r + 0x1.a01991a10d9aep-16;
  p = p * r + 0x1.a01a01b1461c5p-13;
  p = p * r + 0x1.6c16c1880029fp-10;
  p = p * r + 0x1.111111110f21ep-7;
  p = p * r + 0x1.555555554f0bap-5;
  p = p * r + 0x1.555555555555ap-3;
  p = p * r + 0x1.0000000000011p-1;
  p = p * r + 1.0;
  p = p * r + 1.0;
  return (vd)((vi)p + ((vi)t << 52));
}

// log(x) for normal positive x: 2 atanh((m-1)/(m+1)) with m in [sqrt(1/2), sqrt(2)), error 2e-18 before rounding.
static inline vd vlog(vd x) {
  vi bits = (vi)x;
  vi e = (bits - 0x3fe6a09e667f3bcdLL) >> 52;
  vd m = (vd)(bits - (e << 52));
  vd n = __builtin_convertvector(e, vd);
  vd f = (m - 1.0) / (m + 1.0);
  vd s = f * f;
  vd p = splat(0.14811282567801729891);
  p = p * s + 0.15312377735825638169;
  p = p * s + 0.18183637299481157742;
  p = p * s + 0.22222196953363009007;
  p = p * s + 0.28571428761609481193;
  p = p * s + 0.39999999999298066994;
  p = p * s + 0.66666666666667652638;
  p = p * s + 2.0;
  return n * 0x1.62e42fefa0000p-1 + (f * p + n * 0x1.cf79abc9e3b3ap-40);
}

// Hands out pieces of one block of memory, each aligned to 64 bytes. Without a block it only counts, so that the same
// code that lays out the pieces says how much is needed.
class Arena {
 public:
  explicit Arena(double* base) : base_(base), used_(0) {}
  double* take(int64_t doubles) {
    double* p = base_ ? base_ + used_ : nullptr;
    used_ += (doubles + 7) / 8 * 8;
    return p;
  }
  int64_t used() const { return used_; }

 private:
  double* base_;
  int64_t used_;
};

// out[a] += sum_i A[i*stride + a] * R[i]: the one matrix product of the kernel. A is rows x (at least) na, R rows of
// W lanes; columns of A are taken eight at a time so that the sums stay in registers.
template <int NA>
static inline void product_block(const double* A, int64_t stride, const double* R, int64_t r_stride, int64_t n,
                                 double* out, int64_t out_stride) {
  vd acc[NA];
  for (int a = 0; a < NA; ++a) acc[a] = load(out + a * out_stride);
  for (int64_t i = 0; i < n; ++i) {
    vd r = load(R + i * r_stride);
    for (int a = 0; a < NA; ++a) acc[a] += A[i * stride + a] * r;
  }
  for (int a = 0; a < NA; ++a) store(out + a * out_stride, acc[a]);
}

static inline void product(const double* A, int64_t stride, int na, const double* R, int64_t r_stride, int64_t n,
                           double* out, int64_t out_stride) {
  int a = 0;
  for (; a + 8 <= na; a += 8) product_block<8>(A + a, stride, R, r_stride, n, out + a * out_stride, out_stride);
  const double* B = A + a;
  double* o = out + a * out_stride;
  switch (na - a) {
    case 1: product_block<1>(B, stride, R, r_stride, n, o, out_stride); break;
    case 2: product_block<2>(B, stride, R, r_stride, n, o, out_stride); break;
    case 3: product_block<3>(B, stride, R, r_stride, n, o, out_stride); break;
    case 4: product_block<4>(B, stride, R, r_stride, n, o, out_stride); break;
    case 5: product_block<5>(B, stride, R, r_stride, n, o, out_stride); break;
    case 6: product_block<6>(B, stride, R, r_stride, n, o, out_stride); break;
    case 7: product_block<7>(B, stride, R, r_stride, n, o, out_stride); break;
    default: break;
  }
}

}  // namespace MELOGIT_ISA
}  // namespace melogit
