/* The loops of `awbench/kernels/blocked.py`, which documents them. For one group of a convolution.

   Images are copied, a sample at a time, to CB channels side by side, so that the numbers that one instruction after
   the other wants have constant distances; kernels to panels of [channel block][tap][CB channels][lanes].
   The innermost loops sum a row of up to ROW pixels by V vectors of channels in registers, over all taps and channels.

   Names as in direct.c: x is the input I; T taps, h*w; m values of the map along C1, each for e = C1/m channels; f the
   factor, 1 + A or A, as [N][m][T][C2], with BLOCK readable numbers after its end. K[c2,c1,t] is at c2*k_step[0] +
   c1*k_step[1] + t*k_step[2]; images likewise, their steps from sample to sample, channel, row and column. Scratch
   memory comes from the caller, as many REAL numbers as `scratch` says. */

#include <string.h>

typedef REAL real; /* float or double, from the command line */

#if defined(__AVX512F__)
#define ROW 14 /* 2 * ROW of 32 registers sum */
enum { VECTOR = 64, CB = 8 };
#elif defined(__AVX2__)
#define ROW 6 /* of 16 */
enum { VECTOR = 32, CB = 4 };
#else
#define ROW 6
enum { VECTOR = 16, CB = 4 };
#endif
enum { LANES = VECTOR / sizeof(real), BLOCK = 2 * LANES };
enum { NEAR = 1 << 16 };          /* bytes of an image that stay in a core's cache: it is read where it lies */
enum { WORTH_THREADS = 1 << 17 }; /* numbers to copy; for fewer, waiting for threads takes longer than it saves */

typedef real vec __attribute__((vector_size(VECTOR)));
typedef real loose __attribute__((vector_size(VECTOR), aligned(sizeof(real)), may_alias));

typedef struct {
    long N, H, W, C1, C2, m, h, w, out_h, out_w;
    long stride[2], padding[2], dilation[2];
    long k_step[3];
    long x_step[4], o_step[4], dx_step[4];
    long threads, parts;
} shape;

#define PUBLIC __attribute__((visibility("default")))
#define ALWAYS static inline __attribute__((always_inline))

static long least(long a, long b) { return a < b ? a : b; }
static long most(long a, long b) { return a > b ? a : b; }
static long over(long a, long b) { return (a + b - 1) / b; }
static long up(long a, long b) { return over(a, b) * b; }

PUBLIC long block(void) { return BLOCK; }

/* Where a thread's tasks begin, and the last one's end. */
static long share(long tasks, long thread, const shape *z) { return tasks * thread / z->threads; }

/* ---- Copies ---- */

/* to[c/CB][slot][y][i][c%CB] = image[c, y, first[slot] + i*every] where there is such a number; elsewhere `to`,
   which is 0 before the first image comes, stays as it is */
static void pack_image(real *to, const real *image, const long step[4], long channels, const long size[2], long slots,
                       const long *first, long every, long width) {
    for (long c = 0; c < channels; c += CB)
        for (long slot = 0; slot < slots; slot++, to += size[0] * width * CB) {
            const long begin = first[slot] < 0 ? over(-first[slot], every) : 0;
            const long end = least(width, over(size[1] - first[slot], every)), pixel = every * step[3];
            for (long y = 0; y < size[0]; y++) {
                const real *from = image + c * step[1] + y * step[2] + (first[slot] + begin * every) * step[3];
                real *row = to + y * width * CB;
                if (channels - c >= CB && step[1] == 1)
                    for (long i = begin; i < end; i++, from += pixel)
                        memcpy(row + i * CB, from, sizeof(real) * CB);
                else if (channels - c >= CB)
                    for (long i = begin; i < end; i++, from += pixel)
                        for (long l = 0; l < CB; l++)
                            row[i * CB + l] = from[l * step[1]];
                else
                    for (long i = begin; i < end; i++, from += pixel)
                        for (long l = 0; l < channels - c; l++)
                            row[i * CB + l] = from[l * step[1]];
            }
        }
}

/* to[c/CB][t][c%CB][l] = K of lane l, channel c, tap t, `width` lanes; 0 for channels and lanes that are not there */
static void pack_kernel(real *to, const real *K, long T, long channels, long lanes, long width, long lane,
                        long channel, long tap) {
    for (long c = 0; c < channels; c += CB)
        for (long t = 0; t < T; t++)
            for (long i = c; i < c + CB; i++, to += width)
                for (long l = 0; l < width; l++)
                    to[l] = i < channels && l < lanes ? K[l * lane + i * channel + t * tap] : 0;
}

/* Of all lanes: a block after the other. */
static void pack_kernels(const shape *z, real *to, const real *K, long channels, long lanes, long lane, long channel) {
    const long T = z->h * z->w, blocks = over(lanes, BLOCK), size = T * up(channels, CB) * BLOCK;
#pragma omp parallel for schedule(static) num_threads(z->threads) if (blocks * size >= WORTH_THREADS)
    for (long b = 0; b < blocks; b++) {
        const long n = least(BLOCK, lanes - b * BLOCK);
        pack_kernel(to + b * size, K + b * BLOCK * lane, T, channels, n, up(n, LANES), lane, channel, z->k_step[2]);
    }
}

/* ---- The product ---- */

/* What the taps of a row of pixels see, and where their kernels lie. */
typedef struct {
    const real **pixels, **panels;
    long taps;
    long plane, panel_plane; /* from one block of channels to the next */
    long channel_blocks;
} work;

/* to[p][l] = bias[l] + sum over taps and channels of pixels[p + tap][c] * panel[tap][c][l], of P pixels from `at` on */
ALWAYS void row_of(const int P, const int V, const work *k, long at, const real *bias, real *to) {
    vec a[ROW][2];
    for (int p = 0; p < P; p++)
        for (int v = 0; v < V; v++)
            a[p][v] = *(const vec *)(bias + v * LANES);
    for (long b = 0; b < k->channel_blocks; b++)
        for (long t = 0; t < k->taps; t++) {
            const real *s = k->pixels[t] + b * k->plane + at * CB;
            const real *panel = k->panels[t] + b * k->panel_plane;
            for (int c = 0; c < CB; c++, panel += V * LANES) {
                vec kernel[2];
#pragma GCC unroll 2
                for (int v = 0; v < V; v++)
                    kernel[v] = *(const vec *)(panel + v * LANES);
#pragma GCC unroll 16
                for (int p = 0; p < P; p++)
#pragma GCC unroll 2
                    for (int v = 0; v < V; v++)
                        a[p][v] += kernel[v] * s[p * CB + c];
            }
        }
#pragma GCC unroll 16
    for (int p = 0; p < P; p++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++)
            *(vec *)(to + (p * V + v) * LANES) = a[p][v];
}

static void row(long P, long V, const work *k, long at, const real *bias, real *to) {
#define CASE(P)                                                                                                        \
    case P:                                                                                                            \
        if (V == 1)                                                                                                    \
            row_of(P, 1, k, at, bias, to);                                                                          \
        else                                                                                                           \
            row_of(P, 2, k, at, bias, to);                                                                          \
        return;
    switch (P) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if ROW > 6
        CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#endif
    }
#undef CASE
}

/* A row of `count` pixels of one block of `lanes` channels, to an image whose pixels are `pixel` apart. */
static void convolve_row(const work *k, long count, long lanes, const real *bias, real *to, long channel, long pixel) {
    const long V = over(lanes, LANES), pieces = over(count, ROW);
    real sums[ROW * BLOCK] __attribute__((aligned(VECTOR)));
    for (long i = 0; i < pieces; i++) {
        const long at = count * i / pieces, P = count * (i + 1) / pieces - at;
        row(P, V, k, at, bias, sums);
        real *o = to + at * pixel;
        if (channel == 1 && lanes == V * LANES) {
            for (long p = 0; p < P; p++)
                for (long v = 0; v < V; v++)
                    *(loose *)(o + p * pixel + v * LANES) = *(const vec *)(sums + (p * V + v) * LANES);
        } else {
            for (long l = 0; l < lanes; l++)
                for (long p = 0; p < P; p++)
                    o[l * channel + p * pixel] = sums[p * V * LANES + l];
        }
    }
}

/* ---- What taps see ---- */

/* How an input is packed: the columns that a tap sees lie side by side, whatever the stride. Taps whose columns have
   the same remainder by the stride share a slot. */
typedef struct {
    long slots, width;
    long *slot, *shift; /* of a tap's column */
    long *first;        /* column of the input that a slot begins with */
} columns;

static columns seen_columns(const shape *z, long memory[]) {
    columns k = {0, z->out_w, memory, memory + z->w, memory + 2 * z->w};
    for (long t = 0; t < z->w; t++) {
        const long from = t * z->dilation[1], remainder = from % z->stride[1];
        long s = 0;
        while (s < k.slots && k.first[s] != remainder - z->padding[1])
            s++;
        if (s == k.slots)
            k.first[k.slots++] = remainder - z->padding[1];
        k.slot[t] = s;
        k.shift[t] = from / z->stride[1];
        k.width = most(k.width, z->out_w + k.shift[t]);
    }
    return k;
}

/* Numbers of a packed input. */
static long input_size(const shape *z, const columns *k) { return up(z->C1, CB) * k->slots * z->H * k->width; }

static void pack_input(const shape *z, const columns *k, real *to, const real *x) {
    const long size[2] = {z->H, z->W};
    pack_image(to, x, z->x_step, z->C1, size, k->slots, k->first, z->stride[1], k->width);
}

/* How dO is packed for the gradient of I: `left` columns of zeros before it, and `width` in all. */
static void reached_columns(const shape *z, long *left, long *width) {
    *left = over((z->w - 1) * z->dilation[1], z->stride[1]);
    *width = *left + (z->W - 1 + z->padding[1]) / z->stride[1] + 1;
}

/* Numbers of scratch memory: of all threads together and of each. */
static long shared_scratch(const shape *z, int direction) {
    const long T = z->h * z->w, lanes = direction == 1 ? z->C1 : z->C2, channels = direction == 1 ? z->C2 : z->C1;
    return T * up(channels, CB) * up(lanes, BLOCK) * (direction == 2 ? 1 + z->parts : 1);
}

static long own_scratch(const shape *z, int direction) {
    const long T = z->h * z->w, line = VECTOR / sizeof(real);
    long memory[3 * z->w], left, width;
    const columns k = seen_columns(z, memory);
    const long x = up(input_size(z, &k), line);
    reached_columns(z, &left, &width);
    if (direction == 0)
        return x + T * up(z->C1, CB) * BLOCK + BLOCK;
    if (direction == 1)
        return up(up(z->C2, CB) * z->out_h * width, line) + T * up(z->C2, CB) * BLOCK;
    return x + (z->out_h * z->out_w + z->m * T) * BLOCK;
}

/* direction: 0 forward, 1 the gradient of the input, 2 those of kernel and map */
PUBLIC long scratch(const shape *z, long direction) {
    return shared_scratch(z, direction) + z->threads * own_scratch(z, direction);
}

/* ---- The three directions ---- */

/* panel = K * by, for CB channels */
ALWAYS void multiply(const int V, real *panel, const real *K, const real *by) {
    vec factor[2];
    for (int v = 0; v < V; v++)
        factor[v] = *(const loose *)(by + v * LANES);
#pragma GCC unroll 8
    for (int i = 0; i < CB; i++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++)
            *(vec *)(panel + (i * V + v) * LANES) = *(const vec *)(K + (i * V + v) * LANES) * factor[v];
}

/* AK of one sample and block: panel = K * f, f of the sample, from the block's first lane on */
static void modulate(const shape *z, real *panel, const real *K, const real *f, long width) {
    const long T = z->h * z->w, e = z->C1 / z->m;
    for (long c = 0; c < z->C1; c += CB) {
        const long first = c / e, last = (least(c + CB, z->C1) - 1) / e;
        for (long t = 0; t < T; t++, panel += CB * width, K += CB * width) {
            if (first == last && width == LANES)
                multiply(1, panel, K, f + (first * T + t) * z->C2);
            else if (first == last)
                multiply(2, panel, K, f + (first * T + t) * z->C2);
            else
                for (long i = 0; i < CB; i++) {
                    const real *by = f + (least((c + i) / e, last) * T + t) * z->C2;
                    for (long l = i * width; l < (i + 1) * width; l += LANES, by += LANES)
                        *(vec *)(panel + l) = *(const vec *)(K + l) * *(const loose *)by;
                }
        }
    }
}

/* O[n,p,c2] = bias[c2] + sum over c1, t of f[n,m of c1,t,c2] * K[c2,c1,t] * I[n,p+t,c1] */
PUBLIC void forward(const shape *z, const real *x, const real *K, const real *f, const real *bias, real *memory,
                    real *out) {
    const long T = z->h * z->w, blocks = over(z->C2, BLOCK), tasks = z->N * blocks, size = T * up(z->C1, CB) * BLOCK;
    real *const kernels = memory, *const own = memory + shared_scratch(z, 0);
    pack_kernels(z, kernels, K, z->C1, z->C2, z->k_step[0], z->k_step[1]);
#pragma omp parallel for schedule(static) num_threads(z->threads)
    for (long thread = 0; thread < z->threads; thread++) {
        long of_columns[3 * z->w], last = -1;
        const columns k = seen_columns(z, of_columns);
        const real *pixels[T], *panels[T];
        real *panel = own + thread * own_scratch(z, 0), *added = panel + size, *image = added + BLOCK;
        const long slot = z->H * k.width * CB;
        memset(image, 0, sizeof(real) * input_size(z, &k));
        work to_do = {pixels, panels, 0, k.slots * slot, 0, over(z->C1, CB)};
        for (long task = share(tasks, thread, z); task < share(tasks, thread + 1, z); task++) {
            const long n = task / blocks, b = task % blocks, lanes = least(BLOCK, z->C2 - b * BLOCK);
            const long width = up(lanes, LANES);
            if (n != last)
                pack_input(z, &k, image, x + n * z->x_step[0]);
            last = n;
            modulate(z, panel, kernels + b * size, f + n * z->m * T * z->C2 + b * BLOCK, width);
            for (long l = 0; l < BLOCK; l++)
                added[l] = bias && l < lanes ? bias[b * BLOCK + l] : 0;
            to_do.panel_plane = T * CB * width;
            for (long y = 0; y < z->out_h; y++) {
                to_do.taps = 0;
                for (long t = 0; t < T; t++) {
                    const long row = y * z->stride[0] + t / z->w * z->dilation[0] - z->padding[0], u = t % z->w;
                    if (row < 0 || row >= z->H)
                        continue;
                    pixels[to_do.taps] = image + k.slot[u] * slot + (row * k.width + k.shift[u]) * CB;
                    panels[to_do.taps++] = panel + t * CB * width;
                }
                convolve_row(&to_do, z->out_w, lanes, added,
                             out + n * z->o_step[0] + b * BLOCK * z->o_step[1] + y * z->o_step[2], z->o_step[1],
                             z->o_step[3]);
            }
        }
    }
}

/* panel[i] = K[i] * by[i], for CB channels; they are `count` */
ALWAYS void multiply_rows(const int V, real *panel, const real *K, const real *by, long count) {
#pragma GCC unroll 8
    for (int i = 0; i < CB; i++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++)
            *(vec *)(panel + (i * V + v) * LANES) = *(const vec *)(K + (i * V + v) * LANES) * by[least(i, count - 1)];
}

/* `modulate` with channels of dO along the rows, and those of I in the lanes from `first` on; f of the sample */
static void modulate_transposed(const shape *z, real *panel, const real *K, const real *f, long first, long width) {
    const long T = z->h * z->w, e = z->C1 / z->m, last = least(first + width, z->C1) - 1;
    for (long c = 0; c < z->C2; c += CB)
        for (long t = 0; t < T; t++, panel += CB * width, K += CB * width) {
            const real *by = f + (first / e * T + t) * z->C2 + c;
            if (first / e == last / e && width == LANES)
                multiply_rows(1, panel, K, by, z->C2 - c);
            else if (first / e == last / e)
                multiply_rows(2, panel, K, by, z->C2 - c);
            else
                for (long i = 0; i < CB; i++)
                    for (long l = 0; l < width; l++)
                        panel[i * width + l] = K[i * width + l] * f[(least(first + l, last) / e * T + t) * z->C2 +
                                                                    least(c + i, z->C2 - 1)];
        }
}

/* dI[n,q,c1] = sum over t, c2 of f[n,m of c1,t,c2] * K[c2,c1,t] * dO[n,q-t,c2] */
PUBLIC void backward_input(const shape *z, const real *dO, const real *K, const real *f, real *memory, real *dx) {
    const long T = z->h * z->w, blocks = over(z->C1, BLOCK), tasks = z->N * blocks, size = T * up(z->C2, CB) * BLOCK;
    real *const kernels = memory, *const own = memory + shared_scratch(z, 1);
    long left, columns;
    reached_columns(z, &left, &columns);
    pack_kernels(z, kernels, K, z->C2, z->C1, z->k_step[1], z->k_step[0]);
#pragma omp parallel for schedule(static) num_threads(z->threads)
    for (long thread = 0; thread < z->threads; thread++) {
        long last = -1;
        const long first = -left, out[2] = {z->out_h, z->out_w};
        const real *pixels[T], *panels[T];
        const real none[BLOCK] __attribute__((aligned(VECTOR))) = {0};
        real *panel = own + thread * own_scratch(z, 1), *image = panel + size;
        memset(image, 0, sizeof(real) * up(z->C2, CB) * z->out_h * columns);
        work to_do = {pixels, panels, 0, z->out_h * columns * CB, 0, over(z->C2, CB)};
        for (long task = share(tasks, thread, z); task < share(tasks, thread + 1, z); task++) {
            const long n = task / blocks, b = task % blocks, lanes = least(BLOCK, z->C1 - b * BLOCK);
            const long width = up(lanes, LANES);
            if (n != last)
                pack_image(image, dO + n * z->o_step[0], z->o_step, z->C2, out, 1, &first, 1, columns);
            last = n;
            modulate_transposed(z, panel, kernels + b * size, f + n * z->m * T * z->C2, b * BLOCK, width);
            to_do.panel_plane = T * CB * width;
            for (long y = 0; y < z->H; y++)
                for (long phase = 0; phase < least(z->stride[1], z->W); phase++) {
                    to_do.taps = 0;
                    for (long t = 0; t < T; t++) { /* those whose outputs are whole numbers of strides away */
                        const long down = y + z->padding[0] - t / z->w * z->dilation[0], row = down / z->stride[0];
                        const long right = phase + z->padding[1] - t % z->w * z->dilation[1];
                        if (down < 0 || down % z->stride[0] || row >= z->out_h || right % z->stride[1])
                            continue;
                        pixels[to_do.taps] = image + (row * columns + left + right / z->stride[1]) * CB;
                        panels[to_do.taps++] = panel + t * CB * width;
                    }
                    convolve_row(&to_do, over(z->W - phase, z->stride[1]), lanes, none,
                                 dx + n * z->dx_step[0] + b * BLOCK * z->dx_step[1] + y * z->dx_step[2] +
                                     phase * z->dx_step[3],
                                 z->dx_step[1], z->dx_step[3] * z->stride[1]);
                }
        }
    }
}

/* Of one sample, one tap, one or two blocks of channels of the input and one block of outputs. */
typedef struct {
    long rows, columns;
    const real *x, *d; /* of the first pixel that the tap sees */
    long x_row, d_row;     /* from one row to the next that the tap sees */
    long x_pixel, d_pixel; /* and from one column to the next */
    long plane;            /* from one block of channels to the next */
} outer_work;

/* G[c][l] = sum over pixels of x[p][c] * d[p][l], for B blocks of channels */
ALWAYS void outer_of(const int V, const int B, const outer_work *k, vec G[2 * CB][2]) {
    vec a[2 * CB][2];
    for (int c = 0; c < B * CB; c++)
        for (int v = 0; v < V; v++)
            a[c][v] = (vec){0};
    for (long y = 0; y < k->rows; y++) {
        const real *s = k->x + y * k->x_row, *next = s + (B > 1 ? k->plane : 0), *d = k->d + y * k->d_row;
        for (long u = 0; u < k->columns; u++, s += k->x_pixel, next += k->x_pixel, d += k->d_pixel) {
            vec by[2];
#pragma GCC unroll 2
            for (int v = 0; v < V; v++)
                by[v] = *(const loose *)(d + v * LANES);
#pragma GCC unroll 16
            for (int c = 0; c < B * CB; c++)
#pragma GCC unroll 2
                for (int v = 0; v < V; v++)
                    a[c][v] += by[v] * (c < CB ? s[c] : next[c - CB]);
        }
    }
#pragma GCC unroll 16
    for (int c = 0; c < B * CB; c++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++)
            G[c][v] = a[c][v];
}

static void outer(long V, long B, const outer_work *k, vec G[2 * CB][2]) {
    if (V == 2)
        outer_of(2, 1, k, G);
    else if (B == 1)
        outer_of(1, 1, k, G);
    else
        outer_of(1, 2, k, G);
}

/* From G of CB channels: gradient += f * G, and returned in `sum`, K * G summed over the channels. */
ALWAYS void add_products(const int V, const vec G[CB][2], const real *f, const real *kernel, real *gradient,
                         real *sum) {
    vec by[2], d[2];
    for (int v = 0; v < V; v++) {
        by[v] = *(const loose *)(f + v * LANES);
        d[v] = *(const vec *)(sum + v * LANES);
    }
#pragma GCC unroll 8
    for (int c = 0; c < CB; c++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) {
            const long at = (c * V + v) * LANES;
            *(vec *)(gradient + at) += G[c][v] * by[v];
            d[v] += G[c][v] * *(const vec *)(kernel + at);
        }
    for (int v = 0; v < V; v++)
        *(vec *)(sum + v * LANES) = d[v];
}

/* The outputs along one axis whose tap, `shift` from their corner, lies inside: from *begin, so many. */
static long inside(long shift, long stride, long size, long outputs, long *begin) {
    *begin = shift < 0 ? over(-shift, stride) : 0;
    return most(0, (size > shift ? least(outputs, (size - 1 - shift) / stride + 1) : 0) - *begin);
}

/* `add_products` of channels from `c` on, whichever values of the map are theirs; f of the sample and block. */
static void products(const shape *z, long V, const vec G[CB][2], long c, long t, const real *f, const real *kernel,
                     real *gradient, real *sums) {
    const long T = z->h * z->w, e = z->C1 / z->m, first = c / e, last = least(c + CB, z->C1) - 1;
    if (first == last / e) {
        const long row = first * T + t;
        if (V == 1)
            add_products(1, G, f + row * z->C2, kernel, gradient, sums + row * BLOCK);
        else
            add_products(2, G, f + row * z->C2, kernel, gradient, sums + row * BLOCK);
        return;
    }
    for (long i = 0; i < CB; i++) {
        const long row = least(c + i, last) / e * T + t;
        for (long v = 0; v < V; v++, kernel += LANES, gradient += LANES) {
            *(vec *)gradient += G[i][v] * *(const loose *)(f + row * z->C2 + v * LANES);
            *(vec *)(sums + row * BLOCK + v * LANES) += G[i][v] * *(const vec *)kernel;
        }
    }
}

/* With G[n,c2,c1,t] = sum over p of dO[n,p,c2] * I[n,p+t,c1], which is never in memory:
   dK[c2,c1,t] = sum over n of f[n,m,t,c2] * G,  df[n,m,t,c2] = sum over m's channels of K[c2,c1,t] * G

   z->parts: of the batch, whose sums for dK are added in the end. dK lies as K does. */
PUBLIC void backward_kernel(const shape *z, const real *dO, const real *x, const real *K, const real *f, real *memory,
                            real *dK, real *df) {
    const long T = z->h * z->w, blocks = over(z->C2, BLOCK), tasks = z->parts * blocks;
    const long size = T * up(z->C1, CB) * BLOCK, outs = z->out_h * z->out_w;
    real *const kernels = memory, *const gradients = kernels + blocks * size;
    real *const own = memory + shared_scratch(z, 2);
    pack_kernels(z, kernels, K, z->C1, z->C2, z->k_step[0], z->k_step[1]);
#pragma omp parallel for schedule(static) num_threads(z->threads)
    for (long thread = 0; thread < z->threads; thread++) {
        long of_columns[3 * z->w];
        const columns k = seen_columns(z, of_columns);
        const int x_lies = z->x_step[1] == 1 && z->C1 % CB == 0 && z->H * z->W * z->C1 * (long)sizeof(real) <= NEAR;
        const long plane = x_lies ? CB : k.slots * z->H * k.width * CB;
        const long x_row = z->stride[0] * (x_lies ? z->x_step[2] : k.width * CB);
        const long x_pixel = x_lies ? z->stride[1] * z->x_step[3] : CB;
        real *panel = own + thread * own_scratch(z, 2), *sums = panel + outs * BLOCK, *image = sums + z->m * T * BLOCK;
        memset(image, 0, sizeof(real) * input_size(z, &k));
        for (long task = share(tasks, thread, z); task < share(tasks, thread + 1, z); task++) {
            const long part = task / blocks, b = task % blocks, lanes = least(BLOCK, z->C2 - b * BLOCK);
            const long V = over(lanes, LANES), width = V * LANES;
            const int d_lies = z->o_step[1] == 1 && lanes == width;
            const long d_row = d_lies ? z->o_step[2] : z->out_w * width, d_pixel = d_lies ? z->o_step[3] : width;
            real *const gradient = gradients + task * size;
            memset(gradient, 0, sizeof(real) * size);
            for (long n = z->N * part / z->parts; n < z->N * (part + 1) / z->parts; n++) {
                const real *const of_x = x + n * z->x_step[0];
                const real *const of_d = dO + n * z->o_step[0] + b * BLOCK * z->o_step[1];
                if (!x_lies)
                    pack_input(z, &k, image, of_x);
                for (long y = 0; y < (d_lies ? 0 : z->out_h); y++)
                    for (long u = 0; u < z->out_w; u++)
                        for (long l = 0; l < width; l++)
                            panel[(y * z->out_w + u) * width + l] =
                                l < lanes ? of_d[y * z->o_step[2] + u * z->o_step[3] + l * z->o_step[1]] : 0;
                memset(sums, 0, sizeof(real) * z->m * T * BLOCK);
                const real *by = f + n * z->m * T * z->C2 + b * BLOCK, *kernel = kernels + b * size;
                for (long c = 0, B; c < z->C1; c += B * CB) {
                    B = V == 1 && c + CB < z->C1 ? 2 : 1;
                    for (long t = 0; t < T; t++) {
                        const long down = t / z->w * z->dilation[0] - z->padding[0], u = t % z->w;
                        const long right = u * z->dilation[1] - z->padding[1];
                        long top, left;
                        const long rows = inside(down, z->stride[0], z->H, z->out_h, &top);
                        const long columns = inside(right, z->stride[1], z->W, z->out_w, &left);
                        const long y = top * z->stride[0] + down, at = left * z->stride[1] + right;
                        const outer_work to_do = {
                            rows, columns,
                            x_lies ? of_x + y * z->x_step[2] + at * z->x_step[3] + c
                                   : image + c / CB * plane + ((k.slot[u] * z->H + y) * k.width + left + k.shift[u]) * CB,
                            (d_lies ? of_d : panel) + top * d_row + left * d_pixel,
                            x_row, d_row, x_pixel, d_pixel, plane};
                        vec G[2 * CB][2];
                        outer(V, B, &to_do, G);
                        for (long i = 0; i < B; i++) {
                            const long at = ((c / CB + i) * T + t) * CB * width;
                            products(z, V, (const vec(*)[2])G + i * CB, c + i * CB, t, by, kernel + at, gradient + at,
                                     sums);
                        }
                    }
                }
                for (long row = 0; row < z->m * T; row++)
                    for (long l = 0; l < lanes; l++)
                        df[(n * z->m * T + row) * z->C2 + b * BLOCK + l] = sums[row * BLOCK + l];
            }
        }
    }
#pragma omp parallel for schedule(static) num_threads(z->threads) if (blocks * size >= WORTH_THREADS)
    for (long b = 0; b < blocks; b++) {
        const long lanes = least(BLOCK, z->C2 - b * BLOCK), width = up(lanes, LANES);
        for (long c = 0; c < z->C1; c++)
            for (long t = 0; t < T; t++)
                for (long l = 0; l < lanes; l++) {
                    const long at = b * size + ((c / CB * T + t) * CB + c % CB) * width + l;
                    real sum = 0;
                    for (long part = 0; part < z->parts; part++)
                        sum += gradients[part * blocks * size + at];
                    dK[(b * BLOCK + l) * z->k_step[0] + c * z->k_step[1] + t * z->k_step[2]] = sum;
                }
    }
}
