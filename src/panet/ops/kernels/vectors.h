// W float32 channels in registers, from and to memory that holds float32 or bfloat16.

#pragma once

#include "shared.h"

#include <cstring>

namespace panet {

struct BFloat16 {
  uint16_t bits;
};

template <int W>
struct Vector {  // W channels
  typedef float Floats __attribute__((vector_size(W * 4)));
  typedef uint32_t Words __attribute__((vector_size(W * 4)));
  typedef uint16_t Halves __attribute__((vector_size(W * 2)));
};

template <int W>
PANET_ALWAYS_INLINE void load(const float* from, typename Vector<W>::Floats& to) {
  std::memcpy(&to, from, sizeof(to));
}

template <int W>
PANET_ALWAYS_INLINE void load(const BFloat16* from, typename Vector<W>::Floats& to) {
  typename Vector<W>::Halves halves;
  std::memcpy(&halves, from, sizeof(halves));
  const typename Vector<W>::Words words = __builtin_convertvector(halves, typename Vector<W>::Words) << 16;
  std::memcpy(&to, &words, sizeof(to));
}

template <int W>
PANET_ALWAYS_INLINE void store(const typename Vector<W>::Floats& from, float* to) {
  std::memcpy(to, &from, sizeof(from));
}

// The bits of each as bfloat16, to nearest, ties to even; NaN stays NaN.
template <int W>
PANET_ALWAYS_INLINE void round_bits(const typename Vector<W>::Floats& from, typename Vector<W>::Words& to) {
  typename Vector<W>::Words words;
  std::memcpy(&words, &from, sizeof(words));
  const auto is_number = (typename Vector<W>::Words)(from == from);
  const auto rounded = (words + 0x7fff + ((words >> 16) & 1)) >> 16;
  to = (rounded & is_number) | (0x7fc0u & ~is_number);
}

template <int W>
PANET_ALWAYS_INLINE void store(const typename Vector<W>::Floats& from, BFloat16* to) {
  typename Vector<W>::Words bits;
  round_bits<W>(from, bits);
  const auto halves = __builtin_convertvector(bits, typename Vector<W>::Halves);
  std::memcpy(to, &halves, sizeof(halves));
}

}  // namespace panet
