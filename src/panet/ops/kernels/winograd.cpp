// 3x3 convs of stride 1 with a quarter of the multiplications: Winograd's F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308).
//
// Maps lie as (N, H, W, C). The output is cut into tiles of 4 x 4. Each needs 6 x 6 inputs; both sides are seen as
// polynomials at the points 0, +-a, +-b and infinity along each axis, where the conv is one product a place: 36 matrix
// products (tiles x inputs) (inputs x outputs), and then back. a = 11/16, b = 3/2 round half as much as the usual 1, 2.
// A task takes a block of tiles through all of it, so that what is between input and output stays in the cache.
//
// Products are float32; or, at twice the speed, of inputs and weights rounded to bfloat16 (AVX512-BF16), which costs
// three times the rounding of a plain bfloat16 conv: about 1 % of the result.

#include "winograd.h"

// Products of bfloat16 pairs: compilers know the instruction for as long as they are young enough.
#if defined(__x86_64__) && ((defined(__clang__) && __clang_major__ >= 14) || (!defined(__clang__) && __GNUC__ >= 12))
#define PANET_PAIRS __attribute__((target("avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#include <immintrin.h>
#endif

using namespace panet;

namespace {

constexpr int kRows = 6;    // tiles that a product takes at once
constexpr int64_t kBlock = 48;  // tiles of a task, at most
constexpr int64_t kDepth = 64;  // inputs whose weights stay in the first cache, at 4 panels
constexpr int64_t kGap = 32;    // floats between matrices, lest all begin in the same place of a cache
constexpr int kMostPanels = 4;

}  // namespace

// What a call is about; panet.ops.native_winograd._Convolution has the same fields. C is a multiple of 16, K too.
struct Convolution {
  int64_t batch, height, width, inputs, outputs;
  int64_t is_bfloat16, has_pairs, num_threads;
  float lowest, highest;  // what the result is cut to
  const void* map;        // (N, H, W, C)
  const void* weights;    // transformed: (36, K / 16, C, 16) float32, or pairs (36, K / 16, C / 2, 16, 2) bfloat16
  const float* bias;      // (K,) or null
  const void* addend;     // (N, H, W, K) or null
  void* result;           // (N, H, W, K)

  int64_t rows() const { return (height + kOut - 1) / kOut; }
  int64_t columns() const { return (width + kOut - 1) / kOut; }
  int64_t tiles() const { return batch * rows() * columns(); }
};

namespace {

// A tile of the output: its picture's first pixel, and the place of its first row and column.
struct Tile {
  int64_t picture, top, left;

  Tile(const Convolution& conv, int64_t index)
      : picture(index / (conv.rows() * conv.columns()) * conv.height * conv.width),
        top(index / conv.columns() % conv.rows() * kOut),
        left(index % conv.columns() * kOut) {}
};

// The 6 x 6 inputs of a tile -> `values`, 36 rows of C, `stride` values from one to the next.
template <int W, typename T, typename V>
PANET_ALWAYS_INLINE void enter_tile(const Convolution& conv, const Tile& tile, V* values, int64_t stride) {
  typedef typename panet::Vector<W>::Floats Floats;
  const T* from[kPlaces];
  for (int i = 0; i < kPlaces; ++i) {
    const int64_t y = tile.top + i / kSide - 1, x = tile.left + i % kSide - 1;
    const bool inside = y >= 0 && y < conv.height && x >= 0 && x < conv.width;
    const int64_t pixel = tile.picture + y * conv.width + x;
    from[i] = inside ? static_cast<const T*>(conv.map) + pixel * conv.inputs : nullptr;
  }
  for (int64_t c = 0; c < conv.inputs; c += W) {
    Floats by_column[kSide][kSide], d[kSide], t[kSide];
    for (int x = 0; x < kSide; ++x) {
#pragma GCC unroll 6
      for (int y = 0; y < kSide; ++y) {
        d[y] = Floats{};
        if (from[y * kSide + x]) panet::load<W>(from[y * kSide + x] + c, d[y]);
      }
      enter(d, t);
#pragma GCC unroll 6
      for (int y = 0; y < kSide; ++y) by_column[y][x] = t[y];
    }
    for (int y = 0; y < kSide; ++y) {
      enter(by_column[y], t);
#pragma GCC unroll 6
      for (int x = 0; x < kSide; ++x) panet::store<W>(t[x], values + (y * kSide + x) * stride + c);
    }
  }
}

// Inputs [begin, end) of 6 tiles and P panels of outputs at one place: (6, C) (C, P * 16) -> (6, P * 16), added to
// what the inputs before gave.
template <typename V>
using Multiply = void (*)(const V* values, const V* weights, int64_t inputs, int64_t begin, int64_t end, float* products);

template <int W, int P>
PANET_ALWAYS_INLINE void multiply(const float* values, const float* weights, int64_t inputs, int64_t begin,
                                  int64_t end, float* products) {
  typedef typename panet::Vector<W>::Floats Floats;
  constexpr int V = kPanel / W;
  Floats sum[kRows][P * V] = {}, weight[P * V];
  if (begin) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int p = 0; p < P * V; ++p) panet::load<W>(products + (r * P * V + p) * W, sum[r][p]);
    }
  }
  for (int64_t c = begin; c < end; ++c) {
#pragma GCC unroll 16
    for (int p = 0; p < P * V; ++p) {
      panet::load<W>(weights + (p / V * inputs + c) * kPanel + p % V * W, weight[p]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const float value = values[r * inputs + c];
#pragma GCC unroll 16
      for (int p = 0; p < P * V; ++p) sum[r][p] += value * weight[p];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < P * V; ++p) panet::store<W>(sum[r][p], products + (r * P * V + p) * W);
  }
}

// `products`, 36 rows `stride` floats apart -> the tile's pixels, outputs [first, first + width).
template <int W, typename T>
PANET_ALWAYS_INLINE void leave_tile(const Convolution& conv, const Tile& tile, const float* products, int64_t stride,
                                    int64_t first, int64_t width) {
  typedef typename panet::Vector<W>::Floats Floats;
  const int64_t bottom = std::min<int64_t>(kOut, conv.height - tile.top);
  const int64_t right = std::min<int64_t>(kOut, conv.width - tile.left);
  const Floats lowest = conv.lowest - Floats{}, highest = conv.highest - Floats{};
  for (int64_t k = 0; k < width; k += W) {
    Floats by_column[kOut][kSide], m[kSide], y[kOut], bias = {}, addend;
    if (conv.bias) panet::load<W>(conv.bias + first + k, bias);
    for (int j = 0; j < kSide; ++j) {
#pragma GCC unroll 6
      for (int i = 0; i < kSide; ++i) panet::load<W>(products + (i * kSide + j) * stride + k, m[i]);
      leave(m, y);
#pragma GCC unroll 4
      for (int i = 0; i < kOut; ++i) by_column[i][j] = y[i];
    }
    for (int64_t i = 0; i < bottom; ++i) {
      leave(by_column[i], y);
      const int64_t pixel = tile.picture + (tile.top + i) * conv.width + tile.left;
#pragma GCC unroll 4
      for (int64_t j = 0; j < kOut; ++j) {
        if (j >= right) break;
        const int64_t place = (pixel + j) * conv.outputs + first + k;
        Floats value = y[j] + bias;
        if (conv.addend) {
          panet::load<W>(static_cast<const T*>(conv.addend) + place, addend);
          value += addend;
        }
        value = value < lowest ? lowest : value;  // NaN stays
        value = value > highest ? highest : value;
        panet::store<W>(value, static_cast<T*>(conv.result) + place);
      }
    }
  }
}

// A block of tiles: [begin, end) of at most `size`, and room for its values and products.
struct Block {
  int64_t begin, end, size;
  float* room;
};

// The tiles of a block from the map to the result. `multiply[p - 1]` takes p panels, `most` of them at once.
template <int W, typename T, typename V>
PANET_ALWAYS_INLINE void convolve_block(const Convolution& conv, const Block& block, const Multiply<V>* multiply,
                                        int64_t most) {
  const int64_t stride = block.size * conv.inputs + kGap, panels = conv.outputs / kPanel;
  V* all = reinterpret_cast<V*>(block.room);
  float* products = block.room + kPlaces * stride;
  for (int64_t i = block.begin; i < block.end; ++i) {
    enter_tile<W, T>(conv, Tile(conv, i), all + (i - block.begin) * conv.inputs, stride);
  }
  for (int64_t panel = 0; panel < panels; panel += most) {
    const int64_t taken = std::min(most, panels - panel), width = taken * kPanel;
    const int64_t product_stride = block.size * width + kGap;
    for (int place = 0; place < kPlaces; ++place) {
      const V* weights = static_cast<const V*>(conv.weights) + (place * panels + panel) * conv.inputs * kPanel;
      for (int64_t c = 0; c < conv.inputs; c += kDepth) {
        for (int64_t row = 0; row < block.end - block.begin; row += kRows) {
          multiply[taken - 1](all + place * stride + row * conv.inputs, weights, conv.inputs, c,
                              std::min(c + kDepth, conv.inputs), products + place * product_stride + row * width);
        }
      }
    }
    for (int64_t i = block.begin; i < block.end; ++i) {
      leave_tile<W, T>(conv, Tile(conv, i), products + (i - block.begin) * width, product_stride, panel * kPanel,
                       width);
    }
  }
}

template <int P>
void multiply_baseline(const float* values, const float* weights, int64_t inputs, int64_t begin, int64_t end,
                       float* products) {
  multiply<4, P>(values, weights, inputs, begin, end, products);
}
template <typename T>
void convolve_baseline(const Convolution& conv, const Block& block) {
  const Multiply<float> by_panels[] = {multiply_baseline<1>};
  convolve_block<4, T>(conv, block, by_panels, 1);
}

#if defined(__x86_64__)
PANET_AVX2 void multiply_avx2(const float* values, const float* weights, int64_t inputs, int64_t begin, int64_t end,
                              float* products) {
  multiply<8, 1>(values, weights, inputs, begin, end, products);
}
template <typename T>
PANET_AVX2 void convolve_avx2(const Convolution& conv, const Block& block) {
  const Multiply<float> by_panels[] = {multiply_avx2};
  convolve_block<8, T>(conv, block, by_panels, 1);
}

template <int P>
PANET_AVX512 void multiply_avx512(const float* values, const float* weights, int64_t inputs, int64_t begin,
                                  int64_t end, float* products) {
  multiply<16, P>(values, weights, inputs, begin, end, products);
}
template <typename T>
PANET_AVX512 void convolve_avx512(const Convolution& conv, const Block& block) {
  const Multiply<float> by_panels[] = {multiply_avx512<1>, multiply_avx512<2>, multiply_avx512<3>, multiply_avx512<4>};
  convolve_block<16, T>(conv, block, by_panels, kMostPanels);
}
#endif

#if defined(PANET_PAIRS)
template <int P>
PANET_PAIRS void multiply_pairs(const panet::BFloat16* values, const panet::BFloat16* weights, int64_t inputs,
                                int64_t begin, int64_t end, float* products) {
  __m512 sum[kRows][P];
  __m512i weight[P];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      sum[r][p] = begin ? _mm512_loadu_ps(products + (r * P + p) * kPanel) : _mm512_setzero_ps();
    }
  }
  for (int64_t c = begin; c < end; c += 2) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) weight[p] = _mm512_loadu_si512(weights + (p * inputs + c) * kPanel);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      int32_t pair;
      std::memcpy(&pair, values + r * inputs + c, sizeof(pair));
      const __m512i value = _mm512_set1_epi32(pair);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) sum[r][p] = _mm512_dpbf16_ps(sum[r][p], (__m512bh)value, (__m512bh)weight[p]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) _mm512_storeu_ps(products + (r * P + p) * kPanel, sum[r][p]);
  }
}
template <typename T>
PANET_AVX512 void convolve_pairs(const Convolution& conv, const Block& block) {
  const Multiply<panet::BFloat16> by_panels[] = {multiply_pairs<1>, multiply_pairs<2>, multiply_pairs<3>,
                                                 multiply_pairs<4>};
  convolve_block<16, T>(conv, block, by_panels, kMostPanels);
}
#endif

template <typename T>
bool convolve(const Convolution& conv) {
  auto run = convolve_baseline<T>;
#if defined(__x86_64__)
  const auto widest = panet::widest_vectors();
  if (widest == panet::Vectors::avx512) run = convolve_avx512<T>;
  if (widest == panet::Vectors::avx2) run = convolve_avx2<T>;
#endif
#if defined(PANET_PAIRS)
  if (conv.has_pairs) run = convolve_pairs<T>;
#endif
  const int64_t tiles = conv.tiles(), threads = std::max<int64_t>(conv.num_threads, 1);
  if (!tiles) return true;
  const int64_t share = (tiles + threads - 1) / threads, size = std::min(kBlock, (share + kRows - 1) / kRows * kRows);
  const int64_t length = kPlaces * (size * (conv.inputs + std::min(conv.outputs, kMostPanels * int64_t{kPanel})) + 2 * kGap);
  const auto take_block = [&](int64_t task) {
    thread_local std::vector<float> room;  // rows after the last tile are multiplied too, and not read
    if (room.size() < static_cast<size_t>(length)) room.resize(length);
    run(conv, {task * size, std::min((task + 1) * size, tiles), size, room.data()});
  };
  return panet::run_tasks((tiles + size - 1) / size, threads, take_block);
}

}  // namespace

// Whether this processor, and the compiler that made this, multiply pairs of bfloat16.
PANET_EXPORT int panet_has_pairs() {
#if defined(PANET_PAIRS)
  return panet::widest_vectors() == panet::Vectors::avx512 && __builtin_cpu_supports("avx512bf16");
#else
  return 0;
#endif
}

// The map, float32 or bfloat16, -> activation(conv + bias + addend) of the same type, padded with zeros; sums are
// float32. Pairs only where `panet_has_pairs`. Returns whether there was memory enough.
PANET_EXPORT int panet_convolve(const Convolution* conv) try {
  return conv->is_bfloat16 ? convolve<panet::BFloat16>(*conv) : convolve<float>(*conv);
} catch (const std::exception&) {
  return 0;
}
