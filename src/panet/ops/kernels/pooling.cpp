// RoIAlign of every level of a pyramid, and its gradient.
//
// Features, grids of RoIs and gradients lie as (N, H, W, C): a pixel's channels are side by side and go through vector
// registers together. A bin of a RoI is a sum of pixels, each with the weight that all samples in the bin give it.
// A linear layer wants grids as (N, C, H, W): each RoI's is turned while it is in the cache.

#include "shared.h"
#include "vectors.h"

#include <cmath>
#include <cstring>

namespace {

struct Tap {
  int64_t place;  // of a pixel: along an axis, or of its first channel in a map
  float weight;
};

// What the bins of a RoI read along one axis: bin b has taps[first[b]] .. taps[first[b + 1] - 1].
struct Axis {
  std::vector<Tap> taps;
  std::vector<int> first;

  void add(int64_t place, float weight) {
    if (weight == 0) return;
    const int begin = first.back(), end = static_cast<int>(taps.size());
    for (int i = end - 1; i >= std::max(begin, end - 2); --i) {
      if (taps[i].place == place) {
        taps[i].weight += weight;  // samples closer than a pixel share pixels
        return;
      }
    }
    taps.push_back({place, weight});
  }
};

// The sampling points of torchvision's roi_align, rounded as there; a coordinate that is no number reads nothing.
void place_samples(float start, float stop, int64_t limit, int64_t size, int64_t samples, bool aligned, Axis& axis) {
  axis.taps.clear();
  axis.first.assign(1, 0);
  const float side = aligned ? stop - start : std::max(stop - start, 1.0f);
  const float bin = side / static_cast<float>(size);
  int64_t count = samples;
  if (samples <= 0) count = bin > 0 ? static_cast<int64_t>(std::min(std::ceil(bin), 1e6f)) : 0;
  const float share = 1.0f / static_cast<float>(std::max<int64_t>(count, 1));
  for (int64_t b = 0; b < size; ++b) {
    for (int64_t i = 0; i < count; ++i) {
      float at = start + static_cast<float>(b) * bin + (static_cast<float>(i) + 0.5f) * bin / static_cast<float>(count);
      if (!(at >= -1.0f && at <= static_cast<float>(limit))) continue;
      at = std::max(at, 0.0f);
      const int64_t lower = std::min<int64_t>(static_cast<int64_t>(at), limit - 1);
      const float upper_share = lower == limit - 1 ? 0.0f : at - static_cast<float>(lower);
      axis.add(lower, (1.0f - upper_share) * share);
      axis.add(lower + 1, upper_share * share);
    }
    axis.first.push_back(static_cast<int>(axis.taps.size()));
  }
}

}  // namespace

// What a call is about; panet.ops.native.Pooling has the same fields. R RoIs of B pictures on L levels.
struct Pooling {
  int64_t num_levels, batch, channels, num_rois, size, samples;
  int64_t aligned, is_bfloat16, is_channels_first, num_threads;
  const int64_t *heights, *widths;  // (L,)
  const float* scales;              // (L,)
  const float* rois;                // (R, 5): picture, x1, y1, x2, y2
  const int64_t* level_of;          // (R,) the one level of each RoI, or null: every level

  int64_t grid_length() const { return channels * size * size; }

  bool reads(int64_t roi, int64_t level) const { return !level_of || level_of[roi] == level; }

  // Whether the RoI's picture exists; its first pixel on a level, and what the RoI reads there.
  bool place(int64_t roi, int64_t level, int64_t& first_pixel, Axis& y, Axis& x) const {
    const float *box = rois + 5 * roi, scale = scales[level], offset = aligned ? 0.5f : 0.0f;
    if (!(box[0] >= 0 && box[0] < static_cast<float>(batch))) return false;
    first_pixel = static_cast<int64_t>(box[0]) * heights[level] * widths[level];
    place_samples(box[2] * scale - offset, box[4] * scale - offset, heights[level], size, samples, aligned, y);
    place_samples(box[1] * scale - offset, box[3] * scale - offset, widths[level], size, samples, aligned, x);
    return true;
  }
};

namespace {

// One RoI on one level: channels [begin, end) of its bins and of the map of its picture.
template <typename Map, typename Grid>
struct Work {
  Map* map;
  Grid* grid;
  const Axis *y, *x;
  std::vector<Tap>* pixels;  // room for those of one bin
  int64_t width, channels, begin, end, size;
};

template <typename Map, typename Grid>
PANET_ALWAYS_INLINE int list_pixels(const Work<Map, Grid>& work, int64_t row, int64_t column) {
  const Axis &y = *work.y, &x = *work.x;
  const int num_y = y.first[row + 1] - y.first[row], num_x = x.first[column + 1] - x.first[column];
  if (work.pixels->size() < static_cast<size_t>(num_y) * num_x) work.pixels->resize(num_y * num_x);
  Tap* pixel = work.pixels->data();
  for (int i = y.first[row]; i < y.first[row + 1]; ++i) {
    for (int j = x.first[column]; j < x.first[column + 1]; ++j) {
      const int64_t place = y.taps[i].place * work.width + x.taps[j].place;
      *pixel++ = {place * work.channels, y.taps[i].weight * x.taps[j].weight};
    }
  }
  return num_y * num_x;
}

// A bin is the weighted sum of its pixels; N vectors of W channels at once, from channel c on.
template <int W, int N, typename T>
PANET_ALWAYS_INLINE void gather(const T* map, T* bin, const Tap* pixels, int num_pixels) {
  typename panet::Vector<W>::Floats sum[N] = {}, value;
  for (int i = 0; i < num_pixels; ++i) {
    const T* from = map + pixels[i].place;
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      panet::load<W>(from + n * W, value);
      sum[n] += pixels[i].weight * value;
    }
  }
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) panet::store<W>(sum[n], bin + n * W);
}

// The transpose of `gather`: a bin's gradient goes to its pixels.
template <int W, int N, typename T>
PANET_ALWAYS_INLINE void scatter(float* map, const T* bin, const Tap* pixels, int num_pixels) {
  typename panet::Vector<W>::Floats gradient[N], value;
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) panet::load<W>(bin + n * W, gradient[n]);
  for (int i = 0; i < num_pixels; ++i) {
    float* to = map + pixels[i].place;
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      panet::load<W>(to + n * W, value);
      value += pixels[i].weight * gradient[n];
      panet::store<W>(value, to + n * W);
    }
  }
}

template <int W, int N, typename T>
PANET_ALWAYS_INLINE void transfer(const T* map, T* bin, const Tap* pixels, int num_pixels) {
  gather<W, N>(map, bin, pixels, num_pixels);
}

template <int W, int N, typename T>
PANET_ALWAYS_INLINE void transfer(float* map, const T* bin, const Tap* pixels, int num_pixels) {
  scatter<W, N>(map, bin, pixels, num_pixels);
}

// Every bin of a RoI: forward if the map is constant, backward if the grid is.
template <int W, typename Map, typename Grid>
PANET_ALWAYS_INLINE void transfer_bins(const Work<Map, Grid>& work) {
  for (int64_t bin = 0; bin < work.size * work.size; ++bin) {
    const int count = list_pixels(work, bin / work.size, bin % work.size);
    const Tap* pixels = work.pixels->data();
    Grid* grid = work.grid + bin * work.channels;
    int64_t c = work.begin;
    for (; c + 8 * W <= work.end; c += 8 * W) transfer<W, 8>(work.map + c, grid + c, pixels, count);
    for (; c + W <= work.end; c += W) transfer<W, 1>(work.map + c, grid + c, pixels, count);
    for (; c < work.end; ++c) transfer<1, 1>(work.map + c, grid + c, pixels, count);
  }
}

// What exists once for each width of vectors.
struct Kernels {
  void (*gather_floats)(const Work<const float, float>&);
  void (*gather_halves)(const Work<const panet::BFloat16, panet::BFloat16>&);
  void (*scatter_floats)(const Work<float, const float>&);
  void (*scatter_halves)(const Work<float, const panet::BFloat16>&);

  void operator()(const Work<const float, float>& work) const { gather_floats(work); }
  void operator()(const Work<const panet::BFloat16, panet::BFloat16>& work) const { gather_halves(work); }
  void operator()(const Work<float, const float>& work) const { scatter_floats(work); }
  void operator()(const Work<float, const panet::BFloat16>& work) const { scatter_halves(work); }
};

#define PANET_KERNELS(NAME, WIDTH, TARGET)                 \
  template <typename Map, typename Grid>                   \
  TARGET void transfer_##NAME(const Work<Map, Grid>& work) { \
    transfer_bins<WIDTH>(work);                            \
  }                                                        \
  const Kernels NAME = {transfer_##NAME, transfer_##NAME, transfer_##NAME, transfer_##NAME};

PANET_KERNELS(baseline, 4, )
#if defined(__x86_64__)
PANET_KERNELS(avx2, 8, PANET_AVX2)
PANET_KERNELS(avx512, 16, PANET_AVX512)
#endif

const Kernels& kernels() {
#if defined(__x86_64__)
  if (panet::widest_vectors() == panet::Vectors::avx512) return avx512;
  if (panet::widest_vectors() == panet::Vectors::avx2) return avx2;
#endif
  return baseline;
}

// Channels [begin, end) of a RoI's grid: (C, S * S) -> (S * S, C), or back.
template <typename T>
void turn(const T* from, T* to, int64_t channels, int64_t bins, int64_t begin, int64_t end, bool back) {
  const auto move = [&](int64_t bin, int64_t c) {
    const int64_t first = c * bins + bin, last = bin * channels + c;
    if (back) to[first] = from[last];
    else to[last] = from[first];
  };
  const int64_t block = 16;  // channels whose bins stay in the nearest cache
  int64_t start = begin;
  for (; start + block <= end; start += block) {
    for (int64_t bin = 0; bin < bins; ++bin) {
      for (int64_t c = start; c < start + block; ++c) move(bin, c);
    }
  }
  for (int64_t bin = 0; bin < bins; ++bin) {
    for (int64_t c = start; c < end; ++c) move(bin, c);
  }
}

template <typename T>
bool pool(const Pooling& pooling, const void* const* maps, void* const* grids) {
  const int64_t length = pooling.grid_length(), chunk = 8, num_chunks = (pooling.num_rois + chunk - 1) / chunk;
  const int64_t num_grids = pooling.level_of ? 1 : pooling.num_levels;
  for (int64_t i = 0; i < num_grids; ++i) panet::expect_writes(grids[i], pooling.num_rois * length * sizeof(T));
  const Kernels& transfer = kernels();
  const auto pool_chunk = [&](int64_t task) {
    Axis y, x;
    std::vector<Tap> pixels;
    std::vector<T> turned(pooling.is_channels_first ? length : 0);
    const int64_t level = task / num_chunks, begin = task % num_chunks * chunk;
    for (int64_t roi = begin; roi < std::min(begin + chunk, pooling.num_rois); ++roi) {
      if (!pooling.reads(roi, level)) continue;
      T* grid = static_cast<T*>(grids[pooling.level_of ? 0 : level]) + roi * length;
      int64_t first_pixel;
      if (!pooling.place(roi, level, first_pixel, y, x)) {
        std::memset(grid, 0, length * sizeof(T));
        continue;
      }
      const T* map = static_cast<const T*>(maps[level]) + first_pixel * pooling.channels;
      T* bins = pooling.is_channels_first ? turned.data() : grid;
      transfer(Work<const T, T>{map, bins, &y, &x, &pixels, pooling.widths[level], pooling.channels, 0,
                                pooling.channels, pooling.size});
      if (pooling.is_channels_first) {
        turn(bins, grid, pooling.channels, pooling.size * pooling.size, 0, pooling.channels, true);
      }
    }
  };
  return panet::run_tasks(num_chunks * pooling.num_levels, pooling.num_threads, pool_chunk);
}

bool clear(const Pooling& pooling, float* const* maps) {
  const int64_t num_parts = 16;
  const auto length = [&](int64_t level) {
    return pooling.batch * pooling.heights[level] * pooling.widths[level] * pooling.channels;
  };
  for (int64_t i = 0; i < pooling.num_levels; ++i) panet::expect_writes(maps[i], length(i) * sizeof(float));
  const auto clear_part = [&](int64_t task) {
    const int64_t level = task / num_parts, part = task % num_parts;
    float* map = maps[level];
    std::fill(map + length(level) * part / num_parts, map + length(level) * (part + 1) / num_parts, 0.0f);
  };
  return panet::run_tasks(num_parts * pooling.num_levels, pooling.num_threads, clear_part);
}

// Each task has some channels of a level, and takes the RoIs in their order: no two tasks write to one place, and a sum
// is the same whatever the chunk. Wide chunks are faster: a pixel's channels come from memory together.
template <typename T>
bool pool_backward(const Pooling& pooling, const void* const* grids, float* const* maps) {
  const int64_t length = pooling.grid_length(), threads = std::max<int64_t>(pooling.num_threads, 1);
  const int64_t chunk = std::max<int64_t>((pooling.channels / threads + 15) / 16 * 16, 16);
  const int64_t num_chunks = (pooling.channels + chunk - 1) / chunk;
  const Kernels& transfer = kernels();
  const auto add_channels = [&](int64_t task) {
    Axis y, x;
    std::vector<Tap> pixels;
    std::vector<T> turned(pooling.is_channels_first ? length : 0);
    const int64_t level = task / num_chunks, begin = task % num_chunks * chunk;
    const int64_t end = std::min(begin + chunk, pooling.channels);
    for (int64_t roi = 0; roi < pooling.num_rois; ++roi) {
      int64_t first_pixel;
      if (!pooling.reads(roi, level) || !pooling.place(roi, level, first_pixel, y, x)) continue;
      const T* grid = static_cast<const T*>(grids[pooling.level_of ? 0 : level]) + roi * length;
      if (pooling.is_channels_first) {
        turn(grid, turned.data(), pooling.channels, pooling.size * pooling.size, begin, end, false);
        grid = turned.data();
      }
      float* map = maps[level] + first_pixel * pooling.channels;
      transfer(Work<float, const T>{map, grid, &y, &x, &pixels, pooling.widths[level], pooling.channels, begin, end,
                                    pooling.size});
    }
  };
  return clear(pooling, maps) && panet::run_tasks(num_chunks * pooling.num_levels, threads, add_channels);
}

}  // namespace

// Raised with every change of what these files export.
PANET_EXPORT int panet_interface() { return 4; }

// Take threads from OpenMP: its GOMP_parallel, or null for threads of our own.
PANET_EXPORT void panet_use_team(panet::Team team) { panet::openmp_team = team; }

PANET_EXPORT const char* panet_vectors() {
  const auto widest = panet::widest_vectors();
  return widest == panet::Vectors::avx512 ? "AVX-512" : widest == panet::Vectors::avx2 ? "AVX2" : "baseline";
}

// maps: L pointers to (B, H_l, W_l, C); grids: L pointers to (R, S, S, C), or to (R, C, S, S) if is_channels_first, or
// one if each RoI has its level.
// All are float32, or all bfloat16. Returns whether there was memory enough.
PANET_EXPORT int panet_pool(const Pooling* pooling, const void* const* maps, void* const* grids) try {
  return pooling->is_bfloat16 ? pool<panet::BFloat16>(*pooling, maps, grids) : pool<float>(*pooling, maps, grids);
} catch (const std::exception&) {
  return 0;
}

// The gradient of `panet_pool`: grids of gradients -> maps, which are float32 always and need not be zero.
PANET_EXPORT int panet_pool_backward(const Pooling* pooling, const void* const* grids, float* const* maps) try {
  return pooling->is_bfloat16 ? pool_backward<panet::BFloat16>(*pooling, grids, maps)
                              : pool_backward<float>(*pooling, grids, maps);
} catch (const std::exception&) {
  return 0;
}
