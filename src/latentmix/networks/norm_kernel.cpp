// Instance norm, leaky ReLU and 2x2 average pooling in one, forward and backward, channels last, one image a task.
//
// x is (B, H, W, C), float or bfloat16; everything is computed in float. With pool, results and upstream gradients
// are (B, H / 2, W / 2, C). Without norm, the activation of x itself. Sums run over one image in a fixed order, so
// results do not depend on the number of threads.
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
    int pool, norm, threads;
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

    void forward(const T* x, const float* a, const float* b, float* moments[2], T* y) {
        const int64_t C = s.C, places = s.H * s.W;
        if (s.norm) {
            Vector sums[2] = {}, squares[2] = {};
            for (int64_t p = 0; p < places; p++) sums[p & 1] += load(x + p * C, count());
            mean = (sums[0] + sums[1]) / float(places);
            for (int64_t p = 0; p < places; p++) {
                Vector d = load(x + p * C, count()) - mean;
                squares[p & 1] += d * d;
            }
            Vector variance = (squares[0] + squares[1]) / float(places);
            for (int i = 0; i < LANES; i++) scale[i] = 1 / std::sqrt(variance[i] + 1e-5f);
            gain = load(a, count()), bias = load(b, count());
            store(moments[0], mean, count()), store(moments[1], scale, count());
        }
        if (!s.pool)
            for (int64_t p = 0; p < places; p++) store(y + p * C, activated(x + p * C), count());
        else
            for (int64_t h = 0; h < s.H / 2; h++)
                for (int64_t w = 0; w < s.W / 2; w++, y += C) {
                    const T *top = x + (2 * h * s.W + 2 * w) * C, *low = top + s.W * C;
                    Vector sum = activated(top) + activated(top + C) + activated(low) + activated(low + C);
                    store(y, sum * 0.25f, count());
                }
    }

    void gradients(const T* x, const float* a, const float* b, float* moments[2], const T* up, T* on_x,
                  float* on_weights[2]) {
        const int64_t C = s.C;
        if (s.norm) {
            mean = load(moments[0], count()), scale = load(moments[1], count());
            gain = load(a, count()), bias = load(b, count());
        }
        auto places = [&](auto visit) {  // visit(place, normed, gradient behind the norm)
            for (int64_t h = 0; h < s.H; h++)
                for (int64_t w = 0; w < s.W; w++) {
                    const int64_t p = h * s.W + w, q = s.pool ? (h / 2) * (s.W / 2) + w / 2 : p;
                    Vector v = normed(x + p * C), g = {};
                    if (!s.pool || (h / 2 < s.H / 2 && w / 2 < s.W / 2)) {  // pooling drops an odd last row
                        g = load(up + q * C, count()) * (s.pool ? 0.25f : 1.0f);
                        g = v * gain + bias > 0 ? g : g * s.slope;
                    }
                    visit(p, v, g);
                }
        };
        Vector on_gain = {}, on_bias = {};
        if (s.norm) {
            places([&](int64_t, Vector v, Vector g) { on_gain += g * v, on_bias += g; });
            store(on_weights[0], on_gain, count()), store(on_weights[1], on_bias, count());
            on_gain /= float(s.H * s.W), on_bias /= float(s.H * s.W);
        }
        const Vector factor = gain * scale;
        places([&](int64_t p, Vector v, Vector g) {
            store(on_x + p * C, (g - on_bias - v * on_gain) * factor, count());
        });
    }
};

template <typename T>
void run(Shape s, int back, const T* x, const float* gain, const float* bias, float* mean, float* scale, T* y,
         const T* up, float* on_gain, float* on_bias) {
    const int64_t in = s.H * s.W * s.C, out = s.pool ? (s.H / 2) * (s.W / 2) * s.C : in;
#pragma omp parallel for num_threads(s.threads)
    for (int64_t b = 0; b < s.B; b++)
        for (int64_t c = 0; c < s.C; c += LANES) {
            float *moments[2] = {mean + b * s.C + c, scale + b * s.C + c};
            float *on_weights[2] = {on_gain + b * s.C + c, on_bias + b * s.C + c};
            auto go = [&](auto block) {
                if (back)
                    block.gradients(x + b * in + c, gain + c, bias + c, moments, up + b * out + c, y + b * in + c,
                                   on_weights);
                else block.forward(x + b * in + c, gain + c, bias + c, moments, y + b * out + c);
            };
            if (c + LANES <= s.C) go(Block<1, T>{s, LANES});
            else go(Block<0, T>{s, int(s.C - c)});
        }
}

}  // namespace

extern "C" void latentmix_norm(int half, int back, int64_t B, int64_t H, int64_t W, int64_t C, float slope,
                               int pool, int norm, int threads, const void* x, const float* gain,
                               const float* bias, float* mean, float* scale, void* y, const void* up,
                               float* g_gain, float* g_bias) {
    Shape s{B, H, W, C, slope, pool, norm, threads};
    if (half)
        run(s, back, (const BFloat16*)x, gain, bias, mean, scale, (BFloat16*)y, (const BFloat16*)up, g_gain, g_bias);
    else
        run(s, back, (const float*)x, gain, bias, mean, scale, (float*)y, (const float*)up, g_gain, g_bias);
}
