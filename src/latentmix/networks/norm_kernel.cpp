// Instance norm, leaky ReLU and 2x2 average pooling in one, forward and backward, channels last, one image a task.
//
// x is (B, H, W, C), float or bfloat16, in phases (B, H / 2 + 1, W / 2 + 1, 2, 2, C); everything is computed in float.
// With pool, results and upstream gradients are (B, H / 2, W / 2, C). Without norm, the activation of x itself. Sums
// run over one image in a fixed order, so results do not depend on the number of threads.
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr int LANES = 16;  // channels side by side: one register of AVX-512, two of AVX2
typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
struct BFloat16 { uint16_t bits; };

// The first n lanes; n is a constant where all are there.
inline Vector load(const float* p, int n) {
    Vector v = {};
    std::memcpy(&v, p, n * sizeof *p);
    return v;
}
inline Vector load(const BFloat16* p, int n) {
    Halves h = {};
    std::memcpy(&h, p, n * sizeof *p);
    return (Vector)(__builtin_convertvector(h, Bits) << 16);
}
inline void store(float* p, Vector v, int n) { std::memcpy(p, &v, n * sizeof *p); }
inline void store(BFloat16* p, Vector v, int n) {  // to nearest, ties to even; a NaN stays one
    Bits b = (Bits)v;
    b = v == v ? (b + 0x7fff + ((b >> 16) & 1)) >> 16 : (b >> 16) | 0x40;
    Halves h = __builtin_convertvector(b, Halves);
    std::memcpy(p, &h, n * sizeof *p);
}

struct Shape {
    int64_t B, H, W, C;
    float slope;
    int pool, phases, norm, threads;
};

// One image and up to LANES of its channels: moments, weights, and where they lie.
template <int FULL, typename T>
struct Block {
    const Shape s;
    const int n;
    Vector mean = {}, scale = Vector{} + 1, gain = Vector{} + 1, bias = {};

    int count() const { return FULL ? LANES : n; }
    Vector normed(const T* x) const { return (load(x, count()) - mean) * scale; }
    Vector activated(const T* x) const {
        Vector z = normed(x) * gain + bias;
        return z > 0 ? z : z * s.slope;
    }

    // Where a place lies in x; in phases, even and odd rows and columns are maps of their own, as phases.py says.
    int64_t at(int64_t h, int64_t w) const {
        if (!s.phases) return (h * s.W + w) * s.C;
        return (((h + 1) / 2 * (s.W / 2 + 1) + (w + 1) / 2) * 4 + h % 2 * 2 + w % 2) * s.C;
    }

    void forward(const T* x, const float* a, const float* b, float* moments, T* y) {
        const int64_t step = s.pool ? 2 : 1;
        if (s.norm) {
            Vector sums[2] = {}, squares[2] = {};
            auto each = [&](auto visit) {
                for (int64_t h = 0; h < s.H; h++)
                    for (int64_t w = 0; w < s.W; w++) visit((h * s.W + w) & 1, load(x + at(h, w), count()));
            };
            const Vector first = load(x + at(0, 0), count());  // so that flat maps have their mean to the digit
            each([&](int64_t i, Vector v) { sums[i] += v - first; });
            mean = first + (sums[0] + sums[1]) / float(s.H * s.W);
            each([&](int64_t i, Vector v) { squares[i] += (v - mean) * (v - mean); });
            Vector variance = (squares[0] + squares[1]) / float(s.H * s.W);
            for (int i = 0; i < LANES; i++) scale[i] = 1 / std::sqrt(variance[i] + 1e-5f);
            gain = load(a, count()), bias = load(b, count());
            store(moments, mean, count()), store(moments + s.B * s.C, scale, count());
        }
        for (int64_t h = 0; h + step <= s.H; h += step)
            for (int64_t w = 0; w + step <= s.W; w += step, y += s.C) {
                Vector v = activated(x + at(h, w));
                if (s.pool)
                    v = (v + activated(x + at(h, w + 1)) + activated(x + at(h + 1, w)) +
                         activated(x + at(h + 1, w + 1))) * 0.25f;
                store(y, v, count());
            }
    }

    void gradients(const T* x, const float* a, const float* b, const float* moments, const T* up, T* on_x,
                   float* on_weights) {
        if (s.norm) {
            mean = load(moments, count()), scale = load(moments + s.B * s.C, count());
            gain = load(a, count()), bias = load(b, count());
        }
        auto places = [&](auto visit) {  // visit(place, normed, gradient behind the norm)
            for (int64_t h = 0; h < s.H; h++)
                for (int64_t w = 0; w < s.W; w++) {
                    const int64_t q = s.pool ? (h / 2) * (s.W / 2) + w / 2 : h * s.W + w;
                    Vector v = normed(x + at(h, w)), g = {};
                    if (!s.pool || (h / 2 < s.H / 2 && w / 2 < s.W / 2)) {  // pooling drops an odd last row
                        g = load(up + q * s.C, count()) * (s.pool ? 0.25f : 1.0f);
                        g = v * gain + bias > 0 ? g : g * s.slope;
                    }
                    visit(at(h, w), v, g);
                }
        };
        Vector on_gain = {}, on_bias = {};
        if (s.norm) {
            places([&](int64_t, Vector v, Vector g) { on_gain += g * v, on_bias += g; });
            store(on_weights, on_gain, count()), store(on_weights + s.B * s.C, on_bias, count());
            on_gain /= float(s.H * s.W), on_bias /= float(s.H * s.W);
        }
        places([&](int64_t p, Vector v, Vector g) {
            store(on_x + p, s.norm ? (g - on_bias - v * on_gain) * (gain * scale) : g, count());
        });
    }
};

template <typename T>
void run(Shape s, int back, const T* x, const float* gain, const float* bias, float* moments, T* y, const T* up,
         float* on_weights) {
    const int64_t in = (s.phases ? (s.H / 2 + 1) * (s.W / 2 + 1) * 4 : s.H * s.W) * s.C;
    const int64_t out = (s.pool ? (s.H / 2) * (s.W / 2) : s.H * s.W) * s.C;
#pragma omp parallel for num_threads(s.threads)
    for (int64_t b = 0; b < s.B; b++) {
        if (back && s.phases) std::memset(y + b * in, 0, in * sizeof *y);
        for (int64_t c = 0, i = b * s.C; c < s.C; c += LANES) {
            auto go = [&](auto block) {
                if (back)
                    block.gradients(x + b * in + c, gain + c, bias + c, moments + i + c, up + b * out + c,
                                    y + b * in + c, on_weights + i + c);
                else block.forward(x + b * in + c, gain + c, bias + c, moments + i + c, y + b * out + c);
            };
            c + LANES <= s.C ? go(Block<1, T>{s, LANES}) : go(Block<0, T>{s, int(s.C - c)});
        }
    }
}

}  // namespace

extern "C" void latentmix_norm(int half, int back, int64_t B, int64_t H, int64_t W, int64_t C, float slope, int pool,
                               int phases, int norm, int threads, const void* x, const float* gain,
                               const float* bias, float* moments, void* y, const void* up, float* on_weights) {
    Shape s{B, H, W, C, slope, pool, phases, norm, threads};
    if (half) run(s, back, (const BFloat16*)x, gain, bias, moments, (BFloat16*)y, (const BFloat16*)up, on_weights);
    else run(s, back, (const float*)x, gain, bias, moments, (float*)y, (const float*)up, on_weights);
}
