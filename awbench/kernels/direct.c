/* The loops of `awbench/kernels/direct.py`, which documents them. For one group of a convolution.

   Images lie channels_last, a pixel's channels side by side. The innermost loops multiply PIXELS rows by one BLOCK of
   channels in registers, and what they made is scaled by the map before it goes to memory. Written in the vector
   extensions of gcc and clang, for whatever processor -march=native names.

   Names: x is the input I; T taps, h*w; m values of the map along C1, each for e = C1/m channels; f the factor, 1 + A
   or A, as [N][m][T][C2], with BLOCK readable numbers after its end. K[c2,c1,t] is at c2*k_step[0] + c1*k_step[1] +
   t*k_step[2]. Scratch memory comes from the caller: REAL numbers, as many as each function says. */

#include <string.h>

typedef REAL real; /* float or double, from the command line */

#if defined(__AVX512F__)
enum { VECTOR = 64, VECTORS = 2, PIXELS = 14 }; /* 28 of 32 registers sum, in VECTORS * PIXELS */
#elif defined(__AVX2__)
enum { VECTOR = 32, VECTORS = 2, PIXELS = 6 }; /* 12 of 16 */
#else
enum { VECTOR = 16, VECTORS = 4, PIXELS = 6 }; /* 24 of 32, on a 64-bit ARM */
#endif
enum { LANES = VECTOR / sizeof(real), BLOCK = VECTORS * LANES, CHUNK = 256 };

typedef real vec __attribute__((vector_size(VECTOR)));
typedef real loose __attribute__((vector_size(VECTOR), aligned(sizeof(real)), may_alias));
typedef __typeof__((vec){0} < (vec){0}) order; /* whole numbers, as many and as wide */
typedef vec sums[PIXELS][VECTORS];

typedef struct {
    long N, H, W, C1, C2, m, h, w, out_h, out_w;
    long stride[2], padding[2], dilation[2];
    long k_step[3];
    long x_row, o_row; /* numbers from one pixel to the next, of I and of O or dO */
    long threads;
} shape;

typedef struct {
    int n, y, x; /* n < 0: there is no such pixel */
} place;

#define PUBLIC __attribute__((visibility("default")))
PUBLIC long block(void) { return BLOCK; }
PUBLIC long pixels(void) { return PIXELS; }
PUBLIC long chunk(void) { return CHUNK; }

static long least(long a, long b) { return a < b ? a : b; }
static long over(long a, long b) { return (a + b - 1) / b; }

/* to[l] += s[l] * by[l] for the first lanes of a block that is not whole; `by` may be 0, for 1 */
static void add_lanes(real *to, const vec s[VECTORS], const real *by, long lanes) {
    for (int v = 0; v < VECTORS; v++)
        for (long l = 0; l < LANES && v * LANES + l < lanes; l++)
            to[v * LANES + l] += s[v][l] * (by ? by[v * LANES + l] : 1);
}

/* to[p][l] += by[p][l] * (sum over channels of rows[p][c] * panel[c][l]) for the first lanes; nothing where to[p] is 0,
   and by[p] may be 0, for 1. The sums stay in registers. */
static inline void product(const real *const rows[PIXELS], const real *panel, long channels, long lanes,
                           real *const to[PIXELS], const real *const by[PIXELS]) {
    sums a;
    for (int p = 0; p < PIXELS; p++)
        for (int v = 0; v < VECTORS; v++)
            a[p][v] = (vec){0};
    for (long c = 0; c < channels; c++) {
        vec k[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            k[v] = *(const loose *)(panel + c * BLOCK + v * LANES);
#pragma GCC unroll 16
        for (int p = 0; p < PIXELS; p++) {
            const real s = rows[p][c];
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++)
                a[p][v] += k[v] * s;
        }
    }
    if (lanes < BLOCK) {
        for (int p = 0; p < PIXELS; p++)
            if (to[p])
                add_lanes(to[p], a[p], by[p], lanes);
        return;
    }
#pragma GCC unroll 16
    for (int p = 0; p < PIXELS; p++)
        if (to[p])
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) {
                loose *o = (loose *)(to[p] + v * LANES);
                *o += by[p] ? a[p][v] * *(const loose *)(by[p] + v * LANES) : a[p][v];
            }
}

#ifndef __clang__ /* which has no shuffle by a computed order, and makes gathers of the loop below */
/* to[i][l] = from[l * step + i] for LANES times LANES numbers: row by row into registers, where in step s bit s of a
   number's row changes places with bit s of its column. */
static inline void transpose(real *const to[LANES], const real *from, long step) {
    vec rows[LANES];
#pragma GCC unroll 16
    for (int r = 0; r < LANES; r++)
        rows[r] = *(const loose *)(from + r * step);
#pragma GCC unroll 4
    for (int s = 1; s < LANES; s *= 2) {
        order low, high; /* of two rows side by side, which numbers become the first of them, and which the other */
#pragma GCC unroll 16
        for (int c = 0; c < LANES; c++) {
            low[c] = c & s ? LANES + (c ^ s) : c;
            high[c] = c & s ? LANES + c : c | s;
        }
#pragma GCC unroll 16
        for (int r = 0; r < LANES; r++)
            if (!(r & s)) {
                const vec one = rows[r], other = rows[r | s];
                rows[r] = __builtin_shuffle(one, other, low);
                rows[r | s] = __builtin_shuffle(one, other, high);
            }
    }
#pragma GCC unroll 16
    for (int r = 0; r < LANES; r++)
        *(loose *)to[r] = rows[r];
}

/* `pack` for whole blocks where numbers of a lane lie side by side in K: all of them (tap == 1, channel == T), or those
   of a tap (channel == 1). Returns whether they do. */
static int pack_by_transposing(real *panel, const real *K, long T, long channels, long lane, long channel, long tap) {
    const int all = tap == 1 && channel == T;
    if (!all && channel != 1)
        return 0;
    const long count = all ? channels * T : channels;
    for (long run = 0; run < (all ? 1 : T); run++) {
        long row = run * channels, t = 0; /* where number i of the run goes */
        for (long i = 0; i < count;) {
            const long n = least(LANES, count - i);
            real *to[LANES];
            for (long r = 0; r < n; r++) {
                to[r] = panel + row * BLOCK;
                t = all && t + 1 < T ? t + 1 : 0;
                row = !all ? row + 1 : t ? row + channels : row + 1 - (T - 1) * channels;
            }
            const real *from = K + run * tap + i;
            for (int v = 0; v < VECTORS; v++) {
                if (n == LANES)
                    transpose(to, from + v * LANES * lane, lane);
                for (long r = 0; r < n && n < LANES; r++)
                    for (int l = 0; l < LANES; l++)
                        to[r][l] = from[(v * LANES + l) * lane + r];
                for (long r = 0; r < n; r++)
                    to[r] += LANES;
            }
            i += n;
        }
    }
    return 1;
}
#endif

/* panel[t][c][l] = K of lane l, channel c, tap t; 0 for the lanes of a block that are not there */
static void pack(real *panel, const real *K, long T, long channels, long lanes, long lane, long channel, long tap) {
#ifndef __clang__
    if (lanes == BLOCK && pack_by_transposing(panel, K, T, channels, lane, channel, tap))
        return;
#endif
    for (long c = 0; c < channels; c++)
        for (long t = 0; t < T; t++) {
            real *to = panel + (t * channels + c) * BLOCK;
            const real *from = K + c * channel + t * tap;
            if (lanes == BLOCK) { /* a loop of constant length: it becomes a gather */
                for (int l = 0; l < BLOCK; l++)
                    to[l] = from[l * lane];
            } else {
                for (int l = 0; l < BLOCK; l++)
                    to[l] = l < lanes ? from[l * lane] : 0;
            }
        }
}

/* Where a thread's tasks begin, and the last one's end. */
static inline long share(long tasks, long thread, const shape *z) { return tasks * thread / z->threads; }

/* Of which output `y`, an input's place from where a tap begins, is the place; -1 if of none. */
static inline long output(long y, long stride, long size) {
    if (y < 0 || (stride > 1 && y % stride))
        return -1;
    y = stride > 1 ? y / stride : y;
    return y < size ? y : -1;
}

/* The pixels of an image in the order in which they are worked on: those of one phase, that is of the same remainders
   by `steps`, next to each other, since taps reach them alike; each phase fills whole tiles. Returns the tiles. */
static long list_places(place *places, long N, long H, long W, const long steps[2]) {
    long count = 0;
    for (long first_y = 0; first_y < least(steps[0], H); first_y++)
        for (long first_x = 0; first_x < least(steps[1], W); first_x++) {
            for (long n = 0; n < N; n++)
                for (long y = first_y; y < H; y += steps[0])
                    for (long x = first_x; x < W; x += steps[1])
                        places[count++] = (place){n, y, x};
            while (count % PIXELS)
                places[count++] = (place){-1, 0, 0};
        }
    return count / PIXELS;
}

/* O[n,p,c2] = bias[c2] + sum over m, t of f[n,m,t,c2] * (sum over m's channels of K[c2,c1,t] * I[n,p+t,c1])

   zeros: at least C1 of them. places: of N*out_h*out_w pixels and a tile.
   scratch: T * CHUNK * BLOCK for each thread. */
PUBLIC void forward(const shape *z, const real *x, const real *K, const real *f, const real *bias, const real *zeros,
                    place *places, real *scratch, real *out) {
    const long T = z->h * z->w, e = z->C1 / z->m, blocks = over(z->C2, BLOCK), ones[2] = {1, 1}, *k = z->k_step;
    const long tiles = list_places(places, z->N, z->out_h, z->out_w, ones);
    const long parts = least(tiles, over(4 * z->threads, blocks)), tasks = blocks * parts;
#pragma omp parallel for schedule(static) num_threads(z->threads)
    for (long thread = 0; thread < z->threads; thread++) {
        real *panel = scratch + thread * T * CHUNK * BLOCK;
        for (long task = share(tasks, thread, z); task < share(tasks, thread + 1, z); task++) {
            const long b = task / parts * BLOCK, part = task % parts, lanes = least(BLOCK, z->C2 - b);
            for (long c = 0, n_c; c < z->C1; c += n_c) {
                n_c = least(CHUNK, e - c % e);
                pack(panel, K + b * k[0] + c * k[1], T, n_c, lanes, k[0], k[1], k[2]);
                for (long i = tiles * part / parts; i < tiles * (part + 1) / parts; i++) {
                    const place *at = places + i * PIXELS;
                    long corner[PIXELS], top[PIXELS], left[PIXELS]; /* of what tap 0 sees; it may lie outside */
                    const real *factor[PIXELS];
                    real *to[PIXELS];
                    for (int p = 0; p < PIXELS; p++) {
                        const long n = at[p].n < 0 ? 0 : at[p].n;
                        top[p] = at[p].n < 0 ? z->H : at[p].y * z->stride[0] - z->padding[0];
                        left[p] = at[p].x * z->stride[1] - z->padding[1];
                        corner[p] = ((n * z->H + top[p]) * z->W + left[p]) * z->x_row + c;
                        factor[p] = f + (n * z->m + c / e) * T * z->C2 + b;
                        to[p] = at[p].n < 0 ? 0 : out + (i * PIXELS + p) * z->o_row + b;
                        for (long l = 0; l < lanes && to[p] && c == 0; l++)
                            to[p][l] = bias ? bias[b + l] : 0;
                    }
                    for (long t = 0; t < T; t++) {
                        const long down = t / z->w * z->dilation[0], right = t % z->w * z->dilation[1];
                        const long further = (down * z->W + right) * z->x_row;
                        const real *rows[PIXELS], *by[PIXELS];
                        int reached = 0;
                        for (int p = 0; p < PIXELS; p++) {
                            const long y = top[p] + down, u = left[p] + right;
                            const int inside = y >= 0 && y < z->H && u >= 0 && u < z->W;
                            rows[p] = inside ? x + corner[p] + further : zeros;
                            by[p] = factor[p] + t * z->C2;
                            reached |= inside;
                        }
                        if (reached)
                            product(rows, panel + t * n_c * BLOCK, n_c, lanes, to, by);
                    }
                }
            }
        }
    }
}

/* dI[n,q,c1] = sum over t, c2 of K[c2,c1,t] * (f[n,m of c1,t,c2] * dO[n,q-t,c2])

   zeros: at least C2 of them. places: of N*H*W pixels and least(stride, size) tiles of each axis, multiplied.
   scratch: (T * BLOCK + PIXELS) * CHUNK for each thread. */
PUBLIC void backward_input(const shape *z, const real *dO, const real *K, const real *f, const real *zeros,
                           place *places, real *scratch, real *dx) {
    const long T = z->h * z->w, e = z->C1 / z->m, blocks = z->m * over(e, BLOCK), *k = z->k_step;
    const long tiles = list_places(places, z->N, z->H, z->W, z->stride);
    const long parts = least(tiles, over(4 * z->threads, blocks)), tasks = blocks * parts;
    const real *const unscaled[PIXELS] = {0};
#pragma omp parallel for schedule(static) num_threads(z->threads)
    for (long thread = 0; thread < z->threads; thread++) {
        real *panel = scratch + thread * (T * BLOCK + PIXELS) * CHUNK, *scaled = panel + T * BLOCK * CHUNK;
        for (long task = share(tasks, thread, z); task < share(tasks, thread + 1, z); task++) {
            const long part = task % parts, m = task / parts / over(e, BLOCK);
            const long b = m * e + task / parts % over(e, BLOCK) * BLOCK, lanes = least(BLOCK, (m + 1) * e - b);
            for (long c = 0, n_c; c < z->C2; c += n_c) {
                n_c = least(CHUNK, z->C2 - c);
                pack(panel, K + c * k[0] + b * k[1], T, n_c, lanes, k[1], k[0], k[2]);
                for (long i = tiles * part / parts; i < tiles * (part + 1) / parts; i++) {
                    const place *at = places + i * PIXELS;
                    real *to[PIXELS];
                    for (int p = 0; p < PIXELS; p++) {
                        to[p] = at[p].n < 0 ? 0 : dx + ((at[p].n * z->H + at[p].y) * z->W + at[p].x) * z->C1 + b;
                        for (long l = 0; l < lanes && to[p] && c == 0; l++)
                            to[p][l] = 0;
                    }
                    for (long t = 0; t < T; t++) {
                        const real *rows[PIXELS];
                        int reached = 0;
                        for (int p = 0; p < PIXELS; p++) {
                            const long y = at[p].y + z->padding[0] - t / z->w * z->dilation[0];
                            const long u = at[p].x + z->padding[1] - t % z->w * z->dilation[1];
                            const long oy = output(y, z->stride[0], z->out_h), ox = output(u, z->stride[1], z->out_w);
                            rows[p] = zeros;
                            if (!to[p] || oy < 0 || ox < 0)
                                continue;
                            const real *from = dO + ((at[p].n * z->out_h + oy) * z->out_w + ox) * z->o_row + c;
                            const real *by = f + ((at[p].n * z->m + m) * T + t) * z->C2 + c;
                            for (long l = 0; l < n_c; l++)
                                scaled[p * CHUNK + l] = from[l] * by[l];
                            rows[p] = scaled + p * CHUNK;
                            reached = 1;
                        }
                        if (reached)
                            product(rows, panel + t * n_c * BLOCK, n_c, lanes, to, unscaled);
                    }
                }
            }
        }
    }
}

/* G = sum over the pixels of one sample of dO[p] x I[p+t], of one tap, PIXELS input channels and one block of C2. */
static inline void outer(const shape *z, long t, const real *panel, const real *strip, sums acc) {
    const long shift[2] = {t / z->w * z->dilation[0] - z->padding[0], t % z->w * z->dilation[1] - z->padding[1]};
    const long size[2] = {z->H, z->W}, out[2] = {z->out_h, z->out_w};
    long first[2], end[2];
    for (int k = 0; k < 2; k++) { /* the outputs whose tap lies inside */
        first[k] = shift[k] < 0 ? over(-shift[k], z->stride[k]) : 0;
        end[k] = size[k] > shift[k] ? least(out[k], (size[k] - 1 - shift[k]) / z->stride[k] + 1) : 0;
    }
    sums a;
    for (int p = 0; p < PIXELS; p++)
        for (int v = 0; v < VECTORS; v++)
            a[p][v] = (vec){0};
    const long step = z->stride[1] * PIXELS;
    for (long y = first[0]; y < end[0]; y++) {
        const real *d = panel + (y * z->out_w + first[1]) * BLOCK;
        const real *s = strip + ((y * z->stride[0] + shift[0]) * z->W + first[1] * z->stride[1] + shift[1]) * PIXELS;
        for (long x = first[1]; x < end[1]; x++, d += BLOCK, s += step) {
            vec k[VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++)
                k[v] = *(const loose *)(d + v * LANES);
#pragma GCC unroll 16
            for (int p = 0; p < PIXELS; p++)
#pragma GCC unroll 4
                for (int v = 0; v < VECTORS; v++)
                    a[p][v] += k[v] * s[p];
        }
    }
    memcpy(acc, a, sizeof(sums));
}

/* rows of `count` numbers, `step` apart, to rows of `width`, with zeros behind */
static void copy_columns(real *to, const real *from, long rows, long count, long width, long step) {
    for (long r = 0; r < rows; r++)
        for (long i = 0; i < width; i++)
            to[r * width + i] = i < count ? from[r * step + i] : 0;
}

/* The first channel of strip i, of up to PIXELS channels that share a value of the map, and how many they are. */
static inline long strip_start(long i, long strips, long e) { return i / strips * e + i % strips * PIXELS; }
static inline long strip_width(long i, long strips, long e) { return least(PIXELS, e - i % strips * PIXELS); }

/* With G[n,c2,c1,t] = sum over p of dO[n,p,c2] * I[n,p+t,c1], which is never in memory:
   dK[c2,c1,t] = sum over n of f[n,m,t,c2] * G,  df[n,m,t,c2] = sum over m's channels of K[c2,c1,t] * G

   parts: of the input channels, worked on apart. df: one for each part, zeroed. dK lies as K does.
   scratch: 2*T*(C1 + m*PIXELS)*BLOCK + out_h*out_w*BLOCK + H*W*PIXELS for each thread. */
PUBLIC void backward_kernel(const shape *z, const real *dO, const real *x, const real *K, const real *f, long parts,
                            real *scratch, real *dK, real *df) {
    const long T = z->h * z->w, e = z->C1 / z->m, strips = over(e, PIXELS), blocks = over(z->C2, BLOCK);
    const long packed = T * PIXELS * BLOCK, all = z->m * strips, outs = z->out_h * z->out_w;
    const long tasks = blocks * parts, need = 2 * packed * all + outs * BLOCK + z->H * z->W * PIXELS;
#pragma omp parallel for schedule(static) num_threads(z->threads)
    for (long thread = 0; thread < z->threads; thread++) {
        real *kernels = scratch + thread * need, *gradients = kernels + packed * all;
        real *panel = gradients + packed * all, *strip = panel + outs * BLOCK;
        for (long task = share(tasks, thread, z); task < share(tasks, thread + 1, z); task++) {
            const long b = task / parts * BLOCK, part = task % parts, lanes = least(BLOCK, z->C2 - b);
            const long begin = all * part / parts, end = all * (part + 1) / parts;
            memset(gradients, 0, sizeof(real) * packed * (end - begin));
            for (long i = begin; i < end; i++) {
                const long c = strip_start(i, strips, e), width = strip_width(i, strips, e);
                pack(kernels + (i - begin) * packed, K + b * z->k_step[0] + c * z->k_step[1], T, width, lanes,
                     z->k_step[0], z->k_step[1], z->k_step[2]);
            }
            for (long n = 0; n < z->N; n++) {
                copy_columns(panel, dO + n * outs * z->o_row + b, outs, lanes, BLOCK, z->o_row);
                for (long i = begin; i < end; i++) {
                    const long m = i / strips, c = strip_start(i, strips, e), width = strip_width(i, strips, e);
                    copy_columns(strip, x + n * z->H * z->W * z->x_row + c, z->H * z->W, width, PIXELS, z->x_row);
                    for (long t = 0; t < T; t++) {
                        const long row = ((n * z->m + m) * T + t) * z->C2 + b;
                        real *dk = gradients + (i - begin) * packed + t * width * BLOCK;
                        const real *k = kernels + (i - begin) * packed + t * width * BLOCK;
                        sums G;
                        vec d[VECTORS] = {{0}};
                        outer(z, t, panel, strip, G);
                        for (int p = 0; p < width; p++)
                            for (int v = 0; v < VECTORS; v++) {
                                const long at = p * BLOCK + v * LANES;
                                *(loose *)(dk + at) += G[p][v] * *(const loose *)(f + row + v * LANES);
                                d[v] += G[p][v] * *(const loose *)(k + at);
                            }
                        add_lanes(df + part * z->N * z->m * T * z->C2 + row, d, 0, lanes);
                    }
                }
            }
            for (long i = begin; i < end; i++) {
                const long c = strip_start(i, strips, e), width = strip_width(i, strips, e);
                for (long l = 0; l < lanes; l++)
                    for (long p = 0; p < width; p++)
                        for (long t = 0; t < T; t++)
                            dK[(b + l) * z->k_step[0] + (c + p) * z->k_step[1] + t * z->k_step[2]] =
                                gradients[(i - begin) * packed + (t * width + p) * BLOCK + l];
            }
        }
    }
}
