/* The loops over trees, compiled once per instruction set. Before each inclusion kernel.c defines
   TARGET (the function attribute), V(name) (the variant's name of a function) and W (bytes of a vector). */

typedef int8_t V(bytes) __attribute__((vector_size(W)));
typedef uint32_t V(words) __attribute__((vector_size(W)));

TARGET static inline __attribute__((always_inline)) V(bytes) V(load)(const void *from) {
    V(bytes) it;
    memcpy(&it, from, W);
    return it;
}

TARGET static inline __attribute__((always_inline)) V(bytes) V(spread)(uint32_t word) {
    return (V(bytes))((V(words)){0} + word);
}

/* How many thresholds are below each value: as many halvings for each row, side by side and without a branch. */
TARGET static void V(rank)(const double *thresholds, int64_t count, const double *values, uint32_t *out) {
    for (int start = 0; start < ROWS; start += TOGETHER) {
        uint32_t now[TOGETHER] = {0};
        const double *mine = values + start;
        int64_t left = count;
        for (; left > 1; left -= left / 2) {
            const uint32_t half = (uint32_t)(left / 2);
            const double *middle = thresholds + half - 1;
            for (int each = 0; each < TOGETHER; each++) now[each] += half & -(uint32_t)(middle[now[each]] < mine[each]);
        }
        for (int each = 0; each < TOGETHER && left; each++) now[each] += thresholds[now[each]] < mine[each];
        memcpy(out + start, now, sizeof now);
    }
}

/* The codes of a column of numbers: ranks from the column's first threshold on. */
TARGET static void V(code)(const struct ensemble *e, int32_t column, const double *values, int32_t nan, const uint32_t *ranks, void *codes) {
    const int32_t base = e->column_base[column], limit = e->limit, missing = e->column_missing[column] ? limit : 0;
    int32_t own[ROWS];
    for (int row = 0; row < ROWS; row++) {
        const int32_t above = (int32_t)ranks[row] - base;
        own[row] = above < 0 ? 0 : above > limit ? limit : above;
    }
    for (int row = 0; nan && row < ROWS; row++) own[row] = values[row] != values[row] ? missing : own[row];
    if (e->small) {
        int8_t *to = (int8_t *)codes + (int64_t)column * ROWS;
        for (int row = 0; row < ROWS; row++) to[row] = (int8_t)(own[row] - 128);
    } else {
        uint16_t *to = (uint16_t *)codes + column;
        for (int row = 0; row < ROWS; row++, to += e->n_columns) *to = (uint16_t)own[row];
    }
}

/* The leaf of W rows in a tree of at most 8 * planes leaves: each node whose comparison fails strikes its left leaves
   out, whatever the order of the nodes; the first leaf that is left is the one (QuickScorer, Lucchese et al. 2015). */
TARGET static inline __attribute__((always_inline)) void V(strike)(
    const struct ensemble *e, const int32_t *tree, const int8_t *codes, const int planes, int8_t *leaves) {
    V(bytes) left[8];
    for (int plane = 0; plane < planes; plane++) {
        left[plane] = ~(V(bytes)){0};
        const uint32_t *node = e->singles + 3 * (int64_t)tree[plane];
        const uint32_t *end = e->singles + 3 * (int64_t)tree[plane + 1];
        for (; node < end; node += 3)
            left[plane] &= ~(V(spread)(node[2]) & (V(load)(codes + node[0]) > V(spread)(node[1])));
    }
    for (const uint32_t *node = e->multis + 10 * (int64_t)tree[9]; node < e->multis + 10 * (int64_t)tree[10]; node += 10) {
        const V(bytes) right = V(load)(codes + node[0]) > V(spread)(node[1]);
        for (int plane = 0; plane < planes; plane++) left[plane] &= ~(V(spread)(node[2 + plane]) & right);
    }
    const uint32_t *node = e->categories + tree[11];
    for (int32_t at = 0; at < tree[12]; at++) {
        V(bytes) in = {0};
        const uint32_t *term = node + 9, *end = term + 2 * node[0];
        for (; term < end; term += 2) in |= V(load)(codes + term[0]) & V(spread)(term[1]);
        const V(bytes) right = in == 0;
        for (int plane = 0; plane < planes; plane++) left[plane] &= ~(V(spread)(node[1 + plane]) & right);
        node = end;
    }
    V(bytes) bits = left[0], leaf = {0};
    for (int plane = 1; plane < planes; plane++) {
        const V(bytes) none = bits == 0;
        bits |= none & left[plane];
        leaf += none & 8;
    }
    bits &= -bits;
    leaf += (((bits & (int8_t)0xF0) != 0) & 4) + (((bits & (int8_t)0xCC) != 0) & 2) + (((bits & (int8_t)0xAA) != 0) & 1);
    memcpy(leaves, &leaf, W);
}

TARGET static void V(small)(const struct ensemble *e, const int8_t *codes, double *sums) {
    int8_t leaves[ROWS];
    for (int32_t at = 0; at < e->n_trees; at++) {
        const int32_t *tree = e->trees + 16 * (int64_t)at;
        for (int row = 0; row < ROWS; row += W) {
            switch (tree[13]) {
            case 1: V(strike)(e, tree, codes + row, 1, leaves + row); break;
            case 2: V(strike)(e, tree, codes + row, 2, leaves + row); break;
            case 4: V(strike)(e, tree, codes + row, 4, leaves + row); break;
            default: V(strike)(e, tree, codes + row, 8, leaves + row);
            }
        }
        const double *values = e->values + e->width * (int64_t)tree[15];
        for (int32_t output = 0; output < e->width; output++) {
            double *sum = sums + (tree[14] + output) * ROWS;
            for (int row = 0; row < ROWS; row++) sum[row] += values[leaves[row] * e->width + output];
        }
    }
}

/* The leaf of each row in a tree of any size, TOGETHER rows step by step side by side. A leaf leads to itself. */
TARGET static inline __attribute__((always_inline)) void V(walk)(
    const struct ensemble *e, const int32_t *tree, const uint16_t *codes, const int categories, uint32_t *leaves) {
    const struct node *nodes = e->nodes + tree[0];
    const int64_t stride = e->n_columns;
    for (int row = 0; row < ROWS; row += TOGETHER) {
        uint32_t now[TOGETHER] = {0};
        const uint16_t *mine = codes + (int64_t)row * stride;
        for (int32_t depth = 0; depth < tree[1]; depth += 4) {
            uint32_t before[TOGETHER], moved = 0;
            memcpy(before, now, sizeof now);
            for (int step = 0; step < 4; step++) {
                UNROLL for (int each = 0; each < TOGETHER; each++) {
                    const struct node *node = nodes + now[each];
                    const uint32_t code = mine[each * stride + node->column];
                    if (!categories) now[each] = node->child + (node->code < code);
                    else now[each] = (node->child & 0x7FFFFFFF) + goes_right(e, node, code);
                }
            }
            for (int each = 0; each < TOGETHER; each++) moved |= before[each] ^ now[each];
            if (!moved) break;
        }
        memcpy(leaves + row, now, sizeof now);
    }
}

TARGET static void V(large)(const struct ensemble *e, const uint16_t *codes, double *sums) {
    uint32_t leaves[ROWS];
    for (int32_t at = 0; at < e->n_trees; at++) {
        const int32_t *tree = e->trees + 16 * (int64_t)at;
        if (e->sets) V(walk)(e, tree, codes, 1, leaves);
        else V(walk)(e, tree, codes, 0, leaves);
        const uint32_t *slots = e->slots + tree[0];
        const double *values = e->values + e->width * (int64_t)tree[15];
        for (int row = 0; row < ROWS; row++) leaves[row] = slots[leaves[row]];
        for (int32_t output = 0; output < e->width; output++) {
            double *sum = sums + (tree[14] + output) * ROWS;
            for (int row = 0; row < ROWS; row++) sum[row] += values[(int64_t)leaves[row] * e->width + output];
        }
    }
}

#undef TARGET
#undef V
#undef W
