// What the kernels of panet share: threads, the choice of vectors, large pages.
//
// The interface of all files is plain C; panet/ops/native.py is its other side. Vectors are the compiler's own types,
// so any processor works. On x86-64 every kernel also exists for AVX2 and AVX-512, and the widest that the processor
// has is taken at run time. No result depends on the number of threads.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#define PANET_ALWAYS_INLINE inline __attribute__((always_inline))
#if defined(_WIN32)
#define PANET_EXPORT extern "C" __declspec(dllexport)
#else
#define PANET_EXPORT extern "C" __attribute__((visibility("default")))
#endif
#if defined(__x86_64__)
#define PANET_AVX2 __attribute__((target("avx2,fma")))
#define PANET_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#endif

namespace panet {

enum class Vectors { baseline, avx2, avx512 };

inline Vectors widest_vectors() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return Vectors::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Vectors::avx2;
#endif
  return Vectors::baseline;
}

// Tell the system that all of a large, new piece of memory will be written: large pages take a fifth of the time.
inline void expect_writes(void* memory, size_t length) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (length < size_t{8} << 20) return;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), start = reinterpret_cast<size_t>(memory);
  const size_t first = (start + page - 1) / page * page, last = (start + length) / page * page;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);  // a hint: where refused, all goes on
#else
  (void)memory, (void)length;
#endif
}

// OpenMP's own entry for a team of threads (GOMP_parallel), as torch has loaded it; null: none is known. Its threads are
// there already, and those that wait for torch's next operation would else compete with ours.
using Team = void (*)(void (*work)(void*), void* argument, unsigned num_threads, unsigned flags);
inline Team openmp_team = nullptr;

// Run work(0) .. work(num_tasks - 1), each once, on up to num_threads threads; false if memory ran out.
template <typename Work>
bool run_tasks(int64_t num_tasks, int64_t num_threads, const Work& work) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> good{true};
  const auto take_tasks = [&] {
    try {
      for (int64_t task; good && (task = next++) < num_tasks;) work(task);
    } catch (...) {
      good = false;
    }
  };
  const int64_t wanted = std::min(num_threads, num_tasks);
  if (openmp_team && wanted > 1) {
    const auto join_team = [](void* argument) { (*static_cast<decltype(take_tasks)*>(argument))(); };
    openmp_team(join_team, const_cast<void*>(static_cast<const void*>(&take_tasks)), static_cast<unsigned>(wanted), 0);
    return good;
  }
  std::vector<std::thread> others;
  try {
    for (int64_t i = 1; i < wanted; ++i) others.emplace_back(take_tasks);
  } catch (const std::exception&) {  // no more threads to be had: those that there are do all
  }
  take_tasks();
  for (auto& thread : others) thread.join();
  return good;
}

}  // namespace panet
