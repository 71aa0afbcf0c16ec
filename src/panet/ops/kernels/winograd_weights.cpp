// The kernels of 3x3 convs as winograd.cpp reads them. A step of training does this twice a conv, so it is compiled too.

#include "winograd.h"

using namespace panet;

// What a call is about; panet.ops.native_winograd._Weights has the same fields. Both sides are multiples of 16.
struct Weights {
  int64_t outputs, inputs;
  int64_t by_output, by_input, by_row, by_column;  // floats from one to the next; negative: the taps are turned round
  int64_t has_pairs, num_threads;
  const float* kernels;  // the first tap of the first
  void* result;          // (36, K / 16, C, 16) float32, or pairs (36, K / 16, C / 2, 16, 2) bfloat16
};

namespace {

// Rows of kernels, and places of results, lie powers of two apart and would drive each other out of the cache: both go
// through a buffer of a panel's outputs and 16 inputs.
constexpr int kChunk = 16;

struct Buffer {
  float taps[kTaps * kTaps][kChunk][kPanel];
  float places[kPlaces][kChunk * kPanel];
};

void read_taps(const Weights& call, const float* first, Buffer& buffer) {
  for (int tap = 0; tap < kTaps * kTaps; ++tap) {
    const float* from = first + tap / kTaps * call.by_row + tap % kTaps * call.by_column;
    for (int lane = 0; lane < kPanel; ++lane) {
      for (int c = 0; c < kChunk; ++c) buffer.taps[tap][c][lane] = from[lane * call.by_output + c * call.by_input];
    }
  }
}

// W outputs of one input: nine taps -> 36 places.
template <int W>
PANET_ALWAYS_INLINE void spread_taps(const Buffer& buffer, int c, int lane, typename Vector<W>::Floats* places) {
  typedef typename Vector<W>::Floats Floats;
  Floats taps[kTaps], by_row[kTaps][kSide], t[kSide];
#pragma GCC unroll 3
  for (int y = 0; y < kTaps; ++y) {
#pragma GCC unroll 3
    for (int x = 0; x < kTaps; ++x) load<W>(&buffer.taps[y * kTaps + x][c][lane], taps[x]);
    spread(taps, by_row[y]);
  }
#pragma GCC unroll 6
  for (int x = 0; x < kSide; ++x) {
#pragma GCC unroll 3
    for (int y = 0; y < kTaps; ++y) taps[y] = by_row[y][x];
    spread(taps, t);
#pragma GCC unroll 6
    for (int y = 0; y < kSide; ++y) places[y * kSide + x] = t[y];
  }
}

template <int W>
PANET_ALWAYS_INLINE void spread_chunk(bool has_pairs, Buffer& buffer) {
  typedef typename Vector<W>::Words Words;
  typename Vector<W>::Floats places[2][kPlaces];
  for (int c = 0; c < kChunk; c += 2) {
    for (int lane = 0; lane < kPanel; lane += W) {
      for (int i = 0; i < 2; ++i) spread_taps<W>(buffer, c + i, lane, places[i]);
      for (int place = 0; place < kPlaces; ++place) {
        if (has_pairs) {
          Words one, other;
          round_bits<W>(places[0][place], one);
          round_bits<W>(places[1][place], other);
          const Words pairs = one | other << 16;
          std::memcpy(&buffer.places[place][c / 2 * kPanel + lane], &pairs, sizeof(pairs));
        } else {
          for (int i = 0; i < 2; ++i) store<W>(places[i][place], &buffer.places[place][(c + i) * kPanel + lane]);
        }
      }
    }
  }
}

// A panel of 16 outputs.
template <int W>
PANET_ALWAYS_INLINE void spread_panel(const Weights& call, int64_t panel) {
  thread_local Buffer buffer;
  const int64_t value = call.has_pairs ? sizeof(BFloat16) : sizeof(float), length = kChunk * kPanel * value;
  for (int64_t c = 0; c < call.inputs; c += kChunk) {
    read_taps(call, call.kernels + panel * kPanel * call.by_output + c * call.by_input, buffer);
    spread_chunk<W>(call.has_pairs, buffer);
    char* first = static_cast<char*>(call.result) + (panel * call.inputs + c) * kPanel * value;
    for (int64_t place = 0; place < kPlaces; ++place) {
      std::memcpy(first + place * call.outputs * call.inputs * value, buffer.places[place], length);
    }
  }
}

void spread_baseline(const Weights& call, int64_t panel) { spread_panel<4>(call, panel); }
#if defined(__x86_64__)
PANET_AVX2 void spread_avx2(const Weights& call, int64_t panel) { spread_panel<8>(call, panel); }
PANET_AVX512 void spread_avx512(const Weights& call, int64_t panel) { spread_panel<16>(call, panel); }
#endif

}  // namespace

// Kernels (K, C, 3, 3), of any strides -> G w G^T of each, float32, or rounded to bfloat16. Returns whether all is well.
PANET_EXPORT int panet_transform_weights(const Weights* call) try {
  auto run = spread_baseline;
#if defined(__x86_64__)
  const auto widest = widest_vectors();
  if (widest == Vectors::avx512) run = spread_avx512;
  if (widest == Vectors::avx2) run = spread_avx2;
#endif
  return run_tasks(call->outputs / kPanel, call->num_threads, [&](int64_t panel) { run(*call, panel); });
} catch (const std::exception&) {
  return 0;
}
