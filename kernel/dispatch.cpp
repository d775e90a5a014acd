// Chooses, among the copies of the kernels compiled for each instruction set, the best that this processor runs.
#include <cstring>
#include <initializer_list>

#include "problem.h"

namespace melogit {
namespace plain { extern const Kernels table; }
#ifdef MELOGIT_X86
namespace v2 { extern const Kernels table; }
namespace v3 { extern const Kernels table; }
namespace v4 { extern const Kernels table; }
#endif

const Kernels* kernels(const char* name) {
#ifdef MELOGIT_X86
  __builtin_cpu_init();
  if (!std::strcmp(name, "v4"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("bmi2")
               ? &v4::table
               : nullptr;
  if (!std::strcmp(name, "v3"))
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")
               ? &v3::table
               : nullptr;
  if (!std::strcmp(name, "v2"))
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt") ? &v2::table : nullptr;
#endif
  return std::strcmp(name, "plain") ? nullptr : &plain::table;
}

const Kernels* best_kernels() {
  for (const char* name : {"v4", "v3", "v2"})
    if (const Kernels* k = kernels(name)) return k;
  return &plain::table;
}

}  // namespace melogit
