// What the bindings share: array types, checks of shapes, sharing work out among threads, adding up in a fixed order.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "problem.h"

namespace melogit {

namespace nb = nanobind;

using Doubles = nb::ndarray<double, nb::c_contig, nb::device::cpu>;
using ConstDoubles = nb::ndarray<const double, nb::c_contig, nb::device::cpu>;
using Longs = nb::ndarray<const int64_t, nb::c_contig, nb::device::cpu>;
using Ints = nb::ndarray<const int32_t, nb::c_contig, nb::device::cpu>;

inline void require(bool ok, const char* what) {
  if (!ok) throw std::invalid_argument(what);
}

inline const Kernels* chosen(const std::string& isa) {
  const Kernels* k = isa.empty() ? best_kernels() : kernels(isa.c_str());
  require(k != nullptr, "this processor cannot run that instruction set");
  return k;
}

struct Free {
  void operator()(double* p) const { std::free(p); }
};

// Runs work(chunk, scratch) for every chunk, on up to `threads` threads; the first status that is not OK wins.
template <typename Work>
int for_chunks(int64_t chunks, int threads, int64_t scratch, Work work) {
  std::atomic<int64_t> next{0};
  std::atomic<int> status{OK};
  auto loop = [&] {
    const size_t bytes = (static_cast<size_t>(scratch) * 8 + 127) / 64 * 64;
    std::unique_ptr<double, Free> memory(static_cast<double*>(std::aligned_alloc(64, bytes)));
    if (!memory) {
      status = NO_MEMORY;
      return;
    }
    for (int64_t c; status == OK && (c = next++) < chunks;) {
      const int s = work(c, memory.get());
      if (s != OK) status = s;
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads && t < chunks; ++t) others.emplace_back(loop);
  loop();
  for (auto& t : others) t.join();
  return status;
}

// The sums of all chunks, in their order, whichever thread made them.
inline void add_up(const std::vector<double>& parts, int64_t size, double* out) {
  std::fill(out, out + size, 0.0);
  for (size_t c = 0; c < parts.size(); c += size)
    for (int64_t j = 0; j < size; ++j) out[j] += parts[c + j];
}

inline void check_size(const Doubles& a, int64_t n, const char* what) { require(static_cast<int64_t>(a.size()) == n, what); }

void bind_crossed(nb::module_& m);

}  // namespace melogit
