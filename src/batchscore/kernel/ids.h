/* Hashes of ids, 128 bits each, in two halves: what ids/hashing.py does in numpy, text by text.

   Words of eight bytes are read as little-endian numbers; of the last one only the bytes that belong to the text count. */

#define SEED_TEXT 0x9E3779B97F4A7C15u
#define SEED_NUMBER 0xD1B54A32D192ED03u

struct halves {
    uint64_t high, low;
};

static inline uint64_t scrambled(uint64_t it, uint64_t first, uint64_t second) {
    it += SEED_TEXT;
    it = (it ^ (it >> 30)) * first;
    it = (it ^ (it >> 27)) * second;
    return it ^ (it >> 31);
}

static inline struct halves taken_in(struct halves it, uint64_t word) {
    it.low = scrambled(it.low ^ word, 0xBF58476D1CE4E5B9u, 0x94D049BB133111EBu);
    it.high = scrambled(it.high ^ word, 0xFF51AFD7ED558CCDu, 0xC4CEB9FE1A85EC53u);
    return it;
}

static inline uint64_t word_of(const uint8_t *bytes) {
    uint64_t word = 0;
    for (int at = 0; at < 8; at++) word |= (uint64_t)bytes[at] << 8 * at;
    return word;
}

static inline struct halves hashed_text(const uint8_t *text, int64_t length, int64_t readable) {
    struct halves it = taken_in((struct halves){(uint64_t)length, (uint64_t)length}, SEED_TEXT);
    int64_t at = 0;
    for (; at + 8 <= length; at += 8) it = taken_in(it, word_of(text + at));
    if (at == length) return it;
    uint64_t word = 0;
    if (at + 8 <= readable) word = word_of(text + at) & ((1ull << 8 * (length - at)) - 1);
    else
        for (int64_t byte = at; byte < length; byte++) word |= (uint64_t)text[byte] << 8 * (byte - at);
    return taken_in(it, word);
}

/* `offsets` are those of Arrow: `count` + 1 of them, of 64 bits when `wide`, else of 32; `size` is that of the text.
   Returns -1 when an offset lies outside of it, or before the last one. */
int32_t batchscore_hash_texts(const void *offsets, int32_t wide, const uint8_t *text, int64_t size, int64_t count,
                              uint64_t *high, uint64_t *low) {
    const int64_t *longs = offsets;
    const int32_t *shorts = offsets;
    for (int64_t row = 0; row < count; row++) {
        const int64_t start = wide ? longs[row] : shorts[row], stop = wide ? longs[row + 1] : shorts[row + 1];
        if (start < 0 || stop < start || stop > size) return -1;
        const struct halves it = hashed_text(text + start, stop - start, size - start);
        high[row] = it.high;
        low[row] = it.low;
    }
    return 0;
}

void batchscore_hash_numbers(const uint64_t *numbers, int64_t count, uint64_t *high, uint64_t *low) {
    for (int64_t row = 0; row < count; row++) {
        const struct halves it = taken_in((struct halves){SEED_NUMBER, SEED_NUMBER}, numbers[row]);
        high[row] = it.high;
        low[row] = it.low;
    }
}
