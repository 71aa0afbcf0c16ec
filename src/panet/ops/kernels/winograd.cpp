// 3x3 convs of stride 1 with a quarter of the multiplications: Winograd's F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308).
//
// Maps lie as (N, H, W, C). The output is cut into tiles of 4 x 4. Each needs 6 x 6 inputs; both sides are seen as
// polynomials at the points 0, +-a, +-b and infinity along each axis, where the conv is one product a place: 36 matrix
// products (tiles x inputs) (inputs x outputs), and then back. a = 3/4, b = 3/2 round half as much as the usual 1 and 2.
// A task takes a block of tiles through all of it, so that what is between input and output stays in the cache.

#include "shared.h"
#include "vectors.h"

namespace {

constexpr int kSide = 6, kOut = 4, kPlaces = kSide * kSide;
constexpr int kPanel = 16;  // outputs side by side in the weights
constexpr int kRows = 6;    // tiles that a product takes at once
constexpr int64_t kBlock = 48, kGap = 16, kDepth = 64;
constexpr float kA = 0.75f, kB = 1.5f, kA2 = kA * kA, kB2 = kB * kB;

}  // namespace

// What a call is about; panet.ops.native.Convolution has the same fields. C is a multiple of 16, K too.
struct Convolution {
  int64_t batch, height, width, inputs, outputs;
  int64_t is_bfloat16, num_threads;
  float lowest, highest;  // what the result is cut to
  const void* map;        // (N, H, W, C)
  const float* weights;   // (36, K / 16, C, 16), transformed
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

// Six values of an axis -> the same at the six points.
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

// The 6 x 6 inputs of a tile -> `values`, 36 rows of C, `stride` floats from one to the next.
template <int W, typename T>
PANET_ALWAYS_INLINE void enter_tile(const Convolution& conv, const Tile& tile, float* values, int64_t stride) {
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

// Panels that a product takes at once: as many as registers hold.
template <int W>
constexpr int64_t panels_at_once() {
  return W == 16 ? 4 : 1;
}

// Tiles [begin, end) from the map to the result. `room` holds values and products.
template <int W, typename T>
PANET_ALWAYS_INLINE void convolve_block(const Convolution& conv, int64_t begin, int64_t end, int64_t block,
                                        float* room) {
  const int64_t stride = block * conv.inputs + kGap, panels = conv.outputs / kPanel;
  float* products = room + kPlaces * stride;
  for (int64_t i = begin; i < end; ++i) {
    enter_tile<W, T>(conv, Tile(conv, i), room + (i - begin) * conv.inputs, stride);
  }
  for (int64_t panel = 0; panel < panels; panel += panels_at_once<W>()) {
    const int64_t taken = std::min(panels_at_once<W>(), panels - panel), width = taken * kPanel;
    const int64_t product_stride = block * width + kGap;
    for (int place = 0; place < kPlaces; ++place) {
      const float* weights = conv.weights + (place * panels + panel) * conv.inputs * kPanel;
      for (int64_t c = 0; c < conv.inputs; c += kDepth) {
        const int64_t stop = std::min(c + kDepth, conv.inputs);
        for (int64_t row = 0; row < end - begin; row += kRows) {
          const float* values = room + place * stride + row * conv.inputs;
          float* to = products + place * product_stride + row * width;
          if (taken == 4) multiply<W, W == 16 ? 4 : 1>(values, weights, conv.inputs, c, stop, to);
          if (taken == 3) multiply<W, W == 16 ? 3 : 1>(values, weights, conv.inputs, c, stop, to);
          if (taken == 2) multiply<W, W == 16 ? 2 : 1>(values, weights, conv.inputs, c, stop, to);
          if (taken == 1) multiply<W, 1>(values, weights, conv.inputs, c, stop, to);
        }
      }
    }
    for (int64_t i = begin; i < end; ++i) {
      leave_tile<W, T>(conv, Tile(conv, i), products + (i - begin) * width, product_stride, panel * kPanel, width);
    }
  }
}

#if defined(__x86_64__)
template <typename T>
PANET_AVX512 void convolve_avx512(const Convolution& conv, int64_t begin, int64_t end, int64_t block, float* room) {
  convolve_block<16, T>(conv, begin, end, block, room);
}
template <typename T>
PANET_AVX2 void convolve_avx2(const Convolution& conv, int64_t begin, int64_t end, int64_t block, float* room) {
  convolve_block<8, T>(conv, begin, end, block, room);
}
#endif

template <typename T>
bool convolve(const Convolution& conv) {
  auto run = convolve_block<4, T>;
#if defined(__x86_64__)
  const auto widest = panet::widest_vectors();
  if (widest == panet::Vectors::avx512) run = convolve_avx512<T>;
  if (widest == panet::Vectors::avx2) run = convolve_avx2<T>;
#endif
  const int64_t tiles = conv.tiles(), threads = std::max<int64_t>(conv.num_threads, 1);
  if (!tiles) return true;
  const int64_t share = (tiles + threads - 1) / threads;
  const int64_t block = std::min(kBlock, (share + kRows - 1) / kRows * kRows);
  const int64_t length = kPlaces * (block * (conv.inputs + std::min<int64_t>(conv.outputs, 4 * kPanel)) + 2 * kGap);
  const auto take_block = [&](int64_t task) {
    thread_local std::vector<float> room;  // rows after the last tile are multiplied too, and not read
    if (room.size() < static_cast<size_t>(length)) room.resize(length);
    run(conv, task * block, std::min((task + 1) * block, tiles), block, room.data());
  };
  return panet::run_tasks((tiles + block - 1) / block, threads, take_block);
}

}  // namespace

// The map, float32 or bfloat16, -> activation(conv + bias + addend) of the same type, padded with zeros; sums are
// float32. Returns whether there was memory enough.
PANET_EXPORT int panet_convolve(const Convolution* conv) try {
  return conv->is_bfloat16 ? convolve<panet::BFloat16>(*conv) : convolve<float>(*conv);
} catch (const std::exception&) {
  return 0;
}
