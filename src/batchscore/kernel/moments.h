/* The profile of a column of numbers in one pass: counts, bins and exact sums.

   A number's mantissa is a whole number below 2**53; mantissas of one sign and exponent are added up as whole numbers,
   and so are their squares, in 128 bits. So nothing is rounded, and the order does not matter. */

#define PROFILE_MOST (1 << 21) /* squares are below 2**106, so that so many of them stay below 2**128 */
#define SUB_BITS 5

struct shelf { /* numbers of one sign and exponent; kernel/moments.py reads it as whole numbers of 64 bits */
    uint64_t key;                   /* the sign's bit and the exponent's eleven */
    uint64_t sum[2], squares[2];    /* the lower half first */
    uint64_t counts[1 << SUB_BITS]; /* by the first bits of the mantissa */
};

struct profile {
    int64_t nans, negative_infinities, positive_infinities, zeros, shelves;
    double minimum, maximum; /* of the finite ones */
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

/* At most PROFILE_MOST values; `shelves` has room for 4096, or for as many as there are values. Returns -1 when there
   are more values. */
int32_t batchscore_profile(const double *values, int64_t count, struct profile *out, struct shelf *shelves) {
    uint16_t places[4096]; /* of each key one more than its shelf, or 0 */
    double minimum = INFINITY, maximum = -INFINITY;
    int64_t zeros = 0, used = 0;
    memset(places, 0, sizeof places);
    memset(out, 0, sizeof *out);
    if (count > PROFILE_MOST) return -1;
    for (int64_t at = 0; at < count; at++) {
        const double value = values[at] + 0.0; /* no negative zero */
        uint64_t bits, low, high;
        memcpy(&bits, &value, sizeof bits);
        const uint64_t key = bits >> 52;
        uint64_t mantissa = bits & 0xfffffffffffffu;
        if ((key & 0x7ff) == 0x7ff) {
            if (mantissa) out->nans++;
            else if (key >> 11) out->negative_infinities++;
            else out->positive_infinities++;
            continue;
        }
        minimum = value < minimum ? value : minimum;
        maximum = value > maximum ? value : maximum;
        zeros += !bits;
        if (!places[key]) {
            memset(shelves + used, 0, sizeof *shelves);
            shelves[used].key = key;
            places[key] = (uint16_t)++used;
        }
        struct shelf *shelf = shelves + places[key] - 1;
        shelf->counts[mantissa >> (52 - SUB_BITS)]++;
        mantissa |= (uint64_t)((key & 0x7ff) != 0) << 52;
        square(mantissa, &low, &high);
        add128(shelf->sum, mantissa, 0);
        add128(shelf->squares, low, high);
    }
    if (zeros) { /* they lie among the smallest, where they add nothing, and are taken out again */
        struct shelf *smallest = shelves + places[0] - 1;
        smallest->counts[0] -= (uint64_t)zeros;
        if (!smallest->sum[0]) *smallest = shelves[--used];
    }
    out->minimum = minimum;
    out->maximum = maximum;
    out->zeros = zeros;
    out->shelves = used;
    return 0;
}
