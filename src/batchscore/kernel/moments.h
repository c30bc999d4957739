/* The profile of a column of numbers in one pass: counts, bins and exact sums, batch by batch.

   A number's mantissa is a whole number below 2**53; mantissas of one sign and exponent are added up as whole numbers,
   and so are their squares, in 128 bits. So nothing is rounded, and the order does not matter. */

#define PROFILE_MOST (1 << 21) /* squares are below 2**106, so that so many of them stay below 2**128 */
#define SUB_BITS 5
#define KEYS 4096

struct shelf { /* numbers of one sign and exponent; kernel/moments.py reads it as whole numbers of 64 bits */
    uint64_t key;                   /* the sign's bit and the exponent's eleven */
    uint64_t sum[2], squares[2];    /* the lower half first */
    uint64_t counts[1 << SUB_BITS]; /* by the first bits of the mantissa */
};

struct profile { /* of all batches so far; begun as zeros, with the bounds at infinities of the other side */
    int64_t count, nans, negative_infinities, positive_infinities, zeros, shelves;
    double minimum, maximum; /* of the finite ones */
    uint16_t places[KEYS];   /* of each key one more than its shelf, or 0 */
};

static inline void add128(uint64_t *to, uint64_t low, uint64_t high) {
    const uint64_t sum = to[0] + low;
    to[1] += high + (sum < low);
    to[0] = sum;
}

static inline void square(uint64_t it, uint64_t *low, uint64_t *high) {
#ifdef __SIZEOF_INT128__
    const unsigned __int128 all = (unsigned __int128)it * it;
    *low = (uint64_t)all;
    *high = (uint64_t)(all >> 64);
#else
    const uint64_t a = it & 0xffffffffu, b = it >> 32, middle = 2 * a * b; /* below 2**54, since b is below 2**21 */
    *low = a * a + (middle << 32);
    *high = b * b + (middle >> 32) + (*low < a * a);
#endif
}

/* Adds a batch to `to`. At most PROFILE_MOST values in all: returns -1 and adds nothing when there would be more.
   `shelves` has room for KEYS. Zeros lie on the shelf of the smallest numbers, where they add nothing but to counts[0]. */
int32_t batchscore_profile(const double *values, int64_t count, struct profile *to, struct shelf *shelves) {
    double minimum = to->minimum, maximum = to->maximum;
    int64_t zeros = 0, used = to->shelves;
    if (count > PROFILE_MOST - to->count) return -1;
    for (int64_t at = 0; at < count; at++) {
        const double value = values[at] + 0.0; /* no negative zero */
        uint64_t bits, low, high;
        memcpy(&bits, &value, sizeof bits);
        const uint64_t key = bits >> 52;
        uint64_t mantissa = bits & 0xfffffffffffffu;
        if ((key & 0x7ff) == 0x7ff) {
            if (mantissa) to->nans++;
            else if (key >> 11) to->negative_infinities++;
            else to->positive_infinities++;
            continue;
        }
        minimum = value < minimum ? value : minimum;
        maximum = value > maximum ? value : maximum;
        zeros += !bits;
        if (!to->places[key]) {
            memset(shelves + used, 0, sizeof *shelves);
            shelves[used].key = key;
            to->places[key] = (uint16_t)++used;
        }
        struct shelf *shelf = shelves + to->places[key] - 1;
        shelf->counts[mantissa >> (52 - SUB_BITS)]++;
        mantissa |= (uint64_t)((key & 0x7ff) != 0) << 52;
        square(mantissa, &low, &high);
        add128(shelf->sum, mantissa, 0);
        add128(shelf->squares, low, high);
    }
    to->minimum = minimum;
    to->maximum = maximum;
    to->count += count;
    to->zeros += zeros;
    to->shelves = used;
    return 0;
}
