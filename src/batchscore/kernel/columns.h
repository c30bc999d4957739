
/* Columns of a matrix from Arrow's buffers: a tile of rows stays in the first cache, whatever is done to it, and
   goes from there to its place. Every step is rounded by itself, as numpy does it; kernel/columns.py names
   the kinds. */

#define TILE 128 /* rows at a time: those of a matrix of 32 columns fill two thirds of the first cache */

/* Types of numbers; and codes of a table's rows. */
enum { DOUBLE = 0, FLOAT = 1, LONG = 2, INT = 3, CODES = 4 };
/* Kinds of steps. */
enum { REFUSE_INFINITE, REFUSE_MISSING, FILL, SUBTRACT, DIVIDE, MULTIPLY, ADD, CLIP, MISSING, BIN, IS };

struct step {
    int64_t kind;
    double value, upper;
    const double *edges; /* ascending */
    int64_t n_edges;
};

struct column {
    const void *values;       /* of the first row */
    const uint8_t *valid;     /* a bit a row, the lowest first; NULL where no row is null */
    int64_t first;            /* the bit of the first row */
    int64_t type;
    const struct step *steps; /* of a number */
    int64_t n_steps;
    const int64_t *ranks;     /* of each code the row of the table, that of a null the last */
    int64_t null;             /* the code of a null */
    const double *table;      /* of shape (n, width) */
    int64_t width;            /* how many columns of the matrix it makes */
};

static int is_valid(const uint8_t *valid, int64_t bit) { return valid[bit >> 3] >> (bit & 7) & 1; }

static inline __attribute__((always_inline)) double clip(double value, double low, double high) {
    const double above = value < low || low != low ? low : value;
    return above > high || high != high ? high : above;
}

/* How many edges are not above a value; NaN is above all numbers, as in numpy's order. */
static double bin(const struct step *step, double value) {
    int64_t low = 0, high = step->n_edges;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const double edge = step->edges[middle];
        if (value < edge || (edge != edge && value == value)) high = middle;
        else low = middle + 1;
    }
    return (double)low;
}

#define V(name) name##_plain
#define TARGET
#include "tile.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define V(name) name##_avx2
#define TARGET __attribute__((target("avx2")))
#include "tile.h"

#define V(name) name##_avx512
#define TARGET __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw")))
#include "tile.h"
#endif

typedef int numbers(const struct column *, int64_t, int, double *, int64_t);

static numbers *widest_numbers(int32_t most) {
    const int32_t found = widest(), it = most < found ? most : found;
#if defined(__x86_64__) && defined(__GNUC__)
    if (it == 2) return number_avx512;
    if (it == 1) return number_avx2;
#endif
    (void)it;
    return number_plain;
}

static void gather(const struct column *column, int64_t start, int count, double *out, int64_t rows, int64_t columns) {
    const int32_t *codes = (const int32_t *)column->values + start;
    for (int row = 0; row < count; row++, out += rows) {
        const int null = column->valid && !is_valid(column->valid, column->first + start + row);
        const double *from = column->table + column->width * column->ranks[null ? column->null : codes[row]];
        for (int64_t at = 0; at < column->width; at++) out[at * columns] = from[at];
    }
}

/* Fill a matrix, whose strides in doubles are `rows` and `columns`, with `n_rows` rows of the columns from `first` on.
   Returns 1 when a step refuses a value, and then what is in the matrix means nothing. */
int32_t batchscore_columns(const struct column *all, int64_t n, int64_t first, int64_t n_rows, double *out, int64_t rows,
                           int64_t columns, int32_t most) {
    numbers *const number = widest_numbers(most);
    for (int64_t start = 0; start < n_rows; start += TILE) {
        const int count = n_rows - start < TILE ? (int)(n_rows - start) : TILE;
        double *to = out + start * rows;
        for (const struct column *column = all; column < all + n; to += column->width * columns, column++) {
            if (column->type == CODES) gather(column, first + start, count, to, rows, columns);
            else if (number(column, first + start, count, to, rows)) return 1;
        }
    }
    return 0;
}

/* Mark which codes are in use, a byte a code, the last one for null. */
void batchscore_used(const int32_t *codes, const uint8_t *valid, int64_t first, int64_t n_rows, int64_t null, uint8_t *used) {
    for (int64_t row = 0; row < n_rows; row++)
        used[valid && !is_valid(valid, first + row) ? null : codes[row]] = 1;
}
