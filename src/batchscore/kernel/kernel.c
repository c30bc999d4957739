/* What is too slow in numpy, bit for bit as scikit-learn and scipy do it: the sigmoid, ensembles of trees, the columns
   of a matrix, the profile of a column, and hashes of ids. And what is too slow in Python: parquet's footers and page
   headers.

   Compiled without contraction and without fast-math, so that each sum is rounded where the source says so. The layout
   of an ensemble is made by kernel/packing.py; no pointer is kept, nothing is global, every thread may call. */

#include <math.h> /* fabs and INFINITY; nothing is linked */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

#ifndef SOURCE
#define SOURCE "unknown"
#endif
#define ROWS 256      /* rows at a time: their codes stay in the first cache */
#define TOGETHER 16   /* rows that walk down a large tree side by side */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define UNROLL _Pragma("GCC unroll 32")
#else
#define UNROLL
#endif

/* Kinds of columns of codes. */
enum { NUMBER = 0, CATEGORY = 1, ONE_HOT = 2 };
#define MISSING_CATEGORY 255

struct node {
    uint16_t column;
    uint16_t code;                  /* a larger one goes right; or the number of a set, whose categories go left */
    uint32_t child;                 /* the left one; the right one is behind it; the highest bit stands for a set */
};

struct ensemble {
    int32_t n_features, n_columns, n_trees, n_outputs, width;
    int32_t narrow;                 /* values are rounded to float32 first */
    int32_t small;                  /* every tree has at most 64 leaves */
    int32_t limit;                  /* the largest code of a number: 255 or 65535 */
    const int64_t *threshold_start; /* of each feature, and the end */
    const double *thresholds;       /* of each feature, ascending and distinct */
    const int32_t *column_start;    /* of each feature, and the end */
    const int32_t *column_base;     /* the first threshold that the column knows; the byte of ONE_HOT */
    const uint8_t *column_kind;
    const uint8_t *column_missing;  /* whether NaN goes right, as the largest code does; else left, as 0 does */
    const uint8_t *known;           /* of each feature 256 bits: the categories that are known */
    const int32_t *trees;           /* 16 numbers a tree */
    const uint32_t *singles;        /* small trees: column * ROWS, code, struck bits, of nodes that strike in one byte */
    const uint32_t *multis;         /* column * ROWS, code, struck bits in 8 bytes */
    const uint32_t *categories;     /* number of terms, struck bits in 8 bytes; terms of column * ROWS and bits */
    const struct node *nodes;       /* large trees */
    const uint32_t *slots;          /* the place of each leaf's values */
    const uint8_t *sets;            /* of 256 categories; NULL when there are none */
    const double *values;           /* `width` for each leaf */
    const double *base;             /* what each output starts from */
};

static uint32_t goes_right(const struct ensemble *e, const struct node *node, uint32_t code) {
    if (!(node->child >> 31)) return node->code < code;
    return !((e->sets[32 * (uint32_t)node->code + (code >> 3)] >> (code & 7)) & 1);
}

const char *batchscore_source(void) { return SOURCE; }

/* `power` is the C library's exp of the process: a compiler may bring another one along, with other last bits. */
void batchscore_sigmoid(const double *values, double *out, int64_t count, double (*power)(double)) {
    for (int64_t at = 0; at < count; at++) out[at] = 1.0 / (1.0 + power(-values[at]));
}

#include "ids.h"
#include "moments.h"

#define W 16
#define V(name) name##_plain
#define TARGET
#include "variant.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define W 32
#define V(name) name##_avx2
#define TARGET __attribute__((target("avx2,bmi,bmi2")))
#include "variant.h"

#define W 64
#define V(name) name##_avx512
#define TARGET __attribute__((target("avx2,bmi,bmi2,avx512f,avx512bw,avx512vl,avx512dq")))
#include "variant.h"
#endif

struct variant {
    void (*rank)(const double *, int64_t, const double *, uint32_t *);
    void (*code)(const struct ensemble *, int32_t, const double *, int32_t, const uint32_t *, void *);
    void (*small)(const struct ensemble *, const int8_t *, double *);
    void (*large)(const struct ensemble *, const uint16_t *, double *);
};

/* The widest variant that processor and system can run: 0 plain, 1 AVX2, 2 AVX-512. Asked of the processor itself, since
   not every compiler's __builtin_cpu_supports is linked with what fills it. */
static int32_t widest(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    const uint32_t avx2 = 1u << 3 | 1u << 5 | 1u << 8, avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    uint32_t a, b, c, d, saved, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27)) return 0;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if ((saved & 0x06) != 0x06 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & avx2) != avx2) return 0;
    return (saved & 0xE6) == 0xE6 && (b & avx512) == avx512 ? 2 : 1;
#else
    return 0;
#endif
}

#include "columns.h"
#include "thrift.h"

static struct variant choose(int32_t most) {
    const int32_t found = widest(), it = most < found ? most : found;
#if defined(__x86_64__) && defined(__GNUC__)
    if (it == 2) return (struct variant){rank_avx512, code_avx512, small_avx512, large_avx512};
    if (it == 1) return (struct variant){rank_avx2, code_avx2, small_avx2, large_avx2};
#endif
    (void)it;
    return (struct variant){rank_plain, code_plain, small_plain, large_plain};
}

static void write_code(const struct ensemble *e, void *codes, int32_t column, int row, int32_t code) {
    if (e->small) ((int8_t *)codes)[(int64_t)column * ROWS + row] = (int8_t)code;
    else ((uint16_t *)codes)[(int64_t)row * e->n_columns + column] = (uint16_t)code;
}

static int32_t category(const uint8_t *known, double value) {
    if (!(value >= 0.0 && value < 255.0)) return MISSING_CATEGORY;
    const int32_t it = (int32_t)value;
    return (known[it >> 3] >> (it & 7)) & 1 ? it : MISSING_CATEGORY;
}

static void code_categories(const struct ensemble *e, int32_t feature, int32_t column, const double *values, void *codes) {
    for (int row = 0; row < ROWS; row++) {
        const int32_t it = category(e->known + 32 * (int64_t)feature, values[row]);
        const int32_t bit = it >> 3 == e->column_base[column] ? 1 << (it & 7) : 0;
        write_code(e, codes, column, row, e->column_kind[column] == ONE_HOT ? bit : it);
    }
}

/* Add the trees up. `rows` and `columns` are the matrix's strides in doubles; `out` is of shape (n_outputs, n_rows).
   Returns 1 when there is a NaN, 2 when there is an infinity (after rounding to float32, if that is done), 3 when both;
   -1 when there is no memory. */
int32_t batchscore_trees(const struct ensemble *e, const double *matrix, int64_t n_rows, int64_t rows, int64_t columns,
                         double *out, int32_t most) {
    const struct variant variant = choose(most);
    const size_t size = (size_t)ROWS * (size_t)(e->n_columns + 1) * (e->small ? 1 : 2);
    void *codes = calloc(size, 1);
    double *sums = malloc(sizeof(double) * ROWS * (size_t)e->n_outputs);
    int32_t seen = codes && sums ? 0 : -1;
    for (int64_t start = 0; start < n_rows && seen >= 0; start += ROWS) {
        const int64_t count = n_rows - start < ROWS ? n_rows - start : ROWS;
        for (int32_t feature = 0; feature < e->n_features; feature++) {
            double values[ROWS];
            uint32_t ranks[ROWS];
            const double *from = matrix + start * rows + feature * columns;
            for (int64_t row = 0; row < count; row++) values[row] = from[row * rows];
            for (int64_t row = count; row < ROWS; row++) values[row] = values[0];
            if (e->narrow)
                for (int row = 0; row < ROWS; row++) values[row] = (double)(float)values[row];
            int32_t nan = 0, infinite = 0;
            for (int row = 0; row < ROWS; row++) {
                nan |= values[row] != values[row];
                infinite |= fabs(values[row]) == INFINITY;
            }
            seen |= nan | infinite << 1;
            const int64_t *first = e->threshold_start + feature;
            if (first[1] > first[0]) variant.rank(e->thresholds + first[0], first[1] - first[0], values, ranks);
            for (int32_t column = e->column_start[feature]; column < e->column_start[feature + 1]; column++) {
                if (e->column_kind[column] == NUMBER) variant.code(e, column, values, nan, ranks, codes);
                else code_categories(e, feature, column, values, codes);
            }
        }
        for (int32_t output = 0; output < e->n_outputs; output++)
            for (int row = 0; row < ROWS; row++) sums[output * ROWS + row] = e->base[output];
        if (e->small) variant.small(e, codes, sums);
        else variant.large(e, codes, sums);
        for (int32_t output = 0; output < e->n_outputs; output++)
            memcpy(out + output * n_rows + start, sums + output * ROWS, sizeof(double) * (size_t)count);
    }
    free(codes);
    free(sums);
    return seen;
}
