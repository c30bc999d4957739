
/* What is done to a tile of one column, compiled once per instruction set: columns.h defines TARGET (the
   function attribute) and V(name) (the variant's name of a function) before each inclusion. All loops go over TILE
   rows, the last one repeated where there are fewer. */

#define EACH(expression) \
    for (int row = 0; row < TILE; row++) { \
        const double x = values[row]; \
        values[row] = (expression); \
    } \
    break
/* A flag as wide as a double, so that flags of several rows are made at once. */
#define ANY(condition) \
    for (int row = 0; row < TILE; row++) { \
        const double x = values[row]; \
        refused |= -(uint64_t)(condition); \
    } \
    break

/* Do a step; return whether it refuses a value. */
TARGET static int V(take_step)(const struct step *step, double *values) {
    const double value = step->value, upper = step->upper;
    uint64_t refused = 0;
    switch (step->kind) {
    case REFUSE_INFINITE: ANY(fabs(x) == INFINITY);
    case REFUSE_MISSING: ANY(x != x);
    case FILL: EACH(x != x ? value : x);
    case SUBTRACT: EACH(x - value);
    case DIVIDE: EACH(x / value);
    case MULTIPLY: EACH(x * value);
    case ADD: EACH(x + value);
    /* One bound after the other: NaN stays NaN, -0.0 between the bounds stays -0.0; where a bound is NaN, all is. */
    case CLIP: EACH(clip(x, value, upper));
    case MISSING: EACH(x != x ? 1.0 : 0.0);
    case BIN: EACH(bin(step, x));
    default: EACH(x == value ? 1.0 : 0.0);
    }
    return refused != 0;
}

#define READ(kind) \
    { \
        const kind *from = (const kind *)column->values + start; \
        for (int row = 0; row < count; row++) out[row] = (double)from[row]; \
    } \
    break

TARGET static void V(read_numbers)(const struct column *column, int64_t start, int count, double *out) {
    switch (column->type) {
    case DOUBLE: READ(double);
    case FLOAT: READ(float);
    case LONG: READ(int64_t);
    default: READ(int32_t);
    }
    for (int row = 0; column->valid && row < count; row++)
        out[row] = is_valid(column->valid, column->first + start + row) ? out[row] : (double)NAN;
    for (int row = count; row < TILE; row++) out[row] = out[count - 1];
}

/* Do a tile of a column of numbers; return whether a step refuses a value. */
TARGET static int V(number)(const struct column *column, int64_t start, int count, double *to, int64_t rows) {
    double values[TILE];
    V(read_numbers)(column, start, count, values);
    for (int64_t at = 0; at < column->n_steps; at++)
        if (V(take_step)(column->steps + at, values)) return 1;
    for (int row = 0; row < count; row++) to[row * rows] = values[row];
    return 0;
}

#undef EACH
#undef ANY
#undef READ
#undef V
#undef TARGET
