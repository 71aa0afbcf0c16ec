// The points of Winograd's F(4x4, 3x3), and an axis of a tile, of a result and of a kernel at them.

#pragma once

#include "shared.h"
#include "vectors.h"

namespace panet {

constexpr int kSide = 6, kOut = 4, kTaps = 3, kPlaces = kSide * kSide;
constexpr int kPanel = 16;  // outputs side by side in the weights
constexpr float kA = 0.6875f, kB = 1.5f, kA2 = kA * kA, kB2 = kB * kB;

// Six values of an axis -> the same at 0, a, -a, b, -b and infinity.
template <typename Floats>
PANET_ALWAYS_INLINE void enter(const Floats* d, Floats* t) {
  t[0] = kA2 * kB2 * d[0] - (kA2 + kB2) * d[2] + d[4];
  const Floats even_a = d[4] - kB2 * d[2], odd_a = kA * (d[3] - kB2 * d[1]);
  t[1] = even_a + odd_a;
  t[2] = even_a - odd_a;
  const Floats even_b = d[4] - kA2 * d[2], odd_b = kB * (d[3] - kA2 * d[1]);
  t[3] = even_b + odd_b;
  t[4] = even_b - odd_b;
  t[5] = kA2 * kB2 * d[1] - (kA2 + kB2) * d[3] + d[5];
}

// Products at the six points -> four results of an axis.
template <typename Floats>
PANET_ALWAYS_INLINE void leave(const Floats* m, Floats* y) {
  const Floats sum_a = m[1] + m[2], odd_a = m[1] - m[2], sum_b = m[3] + m[4], odd_b = m[3] - m[4];
  y[0] = m[0] + sum_a + sum_b;
  y[1] = kA * odd_a + kB * odd_b;
  y[2] = kA2 * sum_a + kB2 * sum_b;
  y[3] = kA2 * kA * odd_a + kB2 * kB * odd_b + m[5];
}

// Three taps of an axis of a kernel -> the kernel at the six points, over the distances of each to the others.
template <typename Floats>
PANET_ALWAYS_INLINE void spread(const Floats* w, Floats* t) {
  const Floats even_a = w[0] + kA2 * w[2], odd_a = kA * w[1], even_b = w[0] + kB2 * w[2], odd_b = kB * w[1];
  constexpr float of_zero = 1 / (kA2 * kB2), of_a = 1 / (2 * kA2 * (kA2 - kB2)), of_b = 1 / (2 * kB2 * (kB2 - kA2));
  t[0] = of_zero * w[0];
  t[1] = of_a * (even_a + odd_a);
  t[2] = of_a * (even_a - odd_a);
  t[3] = of_b * (even_b + odd_b);
  t[4] = of_b * (even_b - odd_b);
  t[5] = w[2];
}

}  // namespace panet
