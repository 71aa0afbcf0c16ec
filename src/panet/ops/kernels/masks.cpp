// Masks on small grids -> COCO's run-length encoding of the picture's masks, which are never made.

#include "shared.h"

#include <cmath>
#include <cstring>
#include <string>

namespace {

struct Runs {  // of ones, from places[2 r] to places[2 r + 1], column by column
  std::vector<int64_t> places;

  void change(int64_t at) {
    if (!places.empty() && places.back() == at) {
      places.pop_back();  // a run that ends a column, and one that begins the next
    } else {
      places.push_back(at);
    }
  }
};

// One axis of a mask: the pixels whose centres lie in [start, stop), and the two cells each is read from.
struct Reading {
  int64_t first = 0, count = 0;
  std::vector<int64_t> lower, upper;
  std::vector<double> lower_share, upper_share;  // multiples of 2**-24: their products with float32 are exact

  Reading(double start, double stop, int64_t limit, int64_t num_cells) {
    const double from = std::max(0.0, std::ceil(start - 0.5));
    const double to = std::min(static_cast<double>(limit), std::ceil(stop - 0.5));
    if (!(to > from) || !std::isfinite(stop - start)) return;
    first = static_cast<int64_t>(from);
    count = static_cast<int64_t>(to) - first;
    for (int64_t i = first; i < first + count; ++i) {
      const double centre = static_cast<double>(i) + 0.5, cells = static_cast<double>(num_cells);
      const double place = std::min(std::max((centre - start) * cells / (stop - start) - 0.5, 0.0), cells - 1);
      const double at = std::nearbyint(place * 0x1p24) * 0x1p-24;
      const int64_t cell = static_cast<int64_t>(at), next = std::min(cell + 1, num_cells - 1);
      lower.push_back(cell);
      upper.push_back(next);
      upper_share.push_back(next == cell ? 0.0 : at - static_cast<double>(cell));
      lower_share.push_back(1 - upper_share.back());
    }
  }
};

struct Paste {
  const Reading *y, *x;
  const float* grid;  // (M, M)
  int64_t num_cells;
  double threshold;
  int64_t height;  // of the picture
};

// Read a mask column by column; `panet.ops.paste.paste_mask` has the same sums, rounded alike.
PANET_ALWAYS_INLINE void trace_runs(const Paste& paste, Runs& runs) {
  const Reading &y = *paste.y, &x = *paste.x;
  std::vector<double> columns(paste.num_cells * y.count);  // of cells, at the picture's rows
  for (int64_t i = 0; i < y.count; ++i) {
    const float* above = paste.grid + y.lower[i] * paste.num_cells;
    const float* below = paste.grid + y.upper[i] * paste.num_cells;
    for (int64_t m = 0; m < paste.num_cells; ++m) {
      columns[m * y.count + i] = static_cast<float>(y.lower_share[i] * above[m] + y.upper_share[i] * below[m]);
    }
  }
  std::vector<uint8_t> inside(y.count + 16, 0);  // one column, after a zero and before more
  for (int64_t j = 0; j < x.count; ++j) {
    const double *left = columns.data() + x.lower[j] * y.count, *right = columns.data() + x.upper[j] * y.count;
    const double left_share = x.lower_share[j], right_share = x.upper_share[j], threshold = paste.threshold;
    uint8_t* column = inside.data() + 1;
    for (int64_t i = 0; i < y.count; ++i) column[i] = left_share * left[i] + right_share * right[i] >= threshold;
    const int64_t top = (x.first + j) * paste.height + y.first;
    for (int64_t i = 0; i <= y.count; i += 8) {
      if (std::memcmp(column + i, column + i - 1, 8) == 0) continue;  // nothing changes in these eight
      for (int64_t k = i; k < i + 8; ++k) {
        if (column[k] != column[k - 1]) runs.change(top + k);
      }
    }
  }
}

// COCO's compressed counts: five bits a character, from the fourth on the difference to the one before last.
std::string write_counts(const std::vector<int64_t>& places, int64_t num_pixels) {
  std::vector<int64_t> counts;
  int64_t before = 0;
  for (const int64_t place : places) {
    counts.push_back(place - before);
    before = place;
  }
  if (before < num_pixels || counts.empty()) counts.push_back(num_pixels - before);
  std::string characters;
  for (size_t i = 0; i < counts.size(); ++i) {
    int64_t rest = counts[i] - (i > 2 ? counts[i - 2] : 0);
    for (bool more = true; more;) {
      const int64_t bits = rest & 31;
      rest >>= 5;
      more = rest != ((bits & 16) ? -1 : 0);
      characters.push_back(static_cast<char>(48 + bits + (more ? 32 : 0)));
    }
  }
  return characters;
}

void trace_baseline(const Paste& paste, Runs& runs) { trace_runs(paste, runs); }
#if defined(__x86_64__)
PANET_AVX2 void trace_avx2(const Paste& paste, Runs& runs) { trace_runs(paste, runs); }
PANET_AVX512 void trace_avx512(const Paste& paste, Runs& runs) { trace_runs(paste, runs); }
#endif

auto* widest_trace() {
#if defined(__x86_64__)
  if (panet::widest_vectors() == panet::Vectors::avx512) return trace_avx512;
  if (panet::widest_vectors() == panet::Vectors::avx2) return trace_avx2;
#endif
  return trace_baseline;
}

}  // namespace

// Paste D grids (M, M) into pictures of height x width, each where its box (x1, y1, x2, y2) is, and write their runs
// as COCO's compressed counts one after the other; ends: where each one's characters end. Returns the number of all
// characters, or -1 if memory ran out. If it is above `capacity`, there was no room and nothing was written.
PANET_EXPORT int64_t panet_masks_to_rle(const float* grids, int64_t num_masks, int64_t num_cells, const double* boxes,
                                        int64_t height, int64_t width, double threshold, char* characters,
                                        int64_t capacity, int64_t* ends, int64_t num_threads) try {
  std::vector<std::string> counts(num_masks);
  auto* const trace = widest_trace();
  const auto write_mask = [&](int64_t mask) {
    const double* box = boxes + 4 * mask;
    const Reading x(box[0], box[2], width, num_cells), y(box[1], box[3], height, num_cells);
    Runs runs;
    if (x.count && y.count) trace({&y, &x, grids + mask * num_cells * num_cells, num_cells, threshold, height}, runs);
    counts[mask] = write_counts(runs.places, height * width);
  };
  if (!panet::run_tasks(num_masks, num_threads, write_mask)) return -1;
  int64_t length = 0;
  for (int64_t mask = 0; mask < num_masks; ++mask) ends[mask] = length += static_cast<int64_t>(counts[mask].size());
  if (length > capacity) return length;
  for (const auto& each : counts) characters = std::copy(each.begin(), each.end(), characters);
  return length;
} catch (const std::exception&) {
  return -1;
}
