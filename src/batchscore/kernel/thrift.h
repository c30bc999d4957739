/* Parquet's footers and page headers in one pass: the numbers that ingest/chunks.py and ingest/pages.py take of them.

   Both say the same in Python, which is what counts: whatever is not plainly in order ends the walk here, and is read
   again there, which finds what is wrong with it, or that nothing is. So there are no messages, and every limit is at
   most that of ingest/thrift.py. Nothing is read outside of the bytes, nothing is allocated; an element of any list
   takes a byte at least, so that no walk is longer than its bytes. */

#define DEEPEST 8 /* structs and lists in each other, in what is stepped over */
#define HIGHEST_KEY 32767
#define MOST_BITS 62
#define MOST_VALUES ((int64_t)1 << 48) /* their bits are far below 2**63 */

/* Wire types. */
enum { STOP, YES, NO, BYTE, I16, I32, I64, REAL, BINARY, LIST, SET, RECORD = 12 };
/* Fields of the footer, a schema element, a row group, a column chunk, its metadata, and a page header. */
enum { SCHEMA = 2, ROW_GROUPS = 4, CHILDREN = 5, GROUP_COLUMNS = 1, GROUP_ROWS = 3, FILE_PATH = 1, META = 3 };
enum { TYPE = 1, ENCODINGS, CODEC = 4, VALUES = 5, UNCOMPRESSED = 6, COMPRESSED = 7, DATA_PAGE = 9, DICTIONARY_PAGE = 11 };
enum { KIND = 1, PAGE_UNCOMPRESSED, PAGE_COMPRESSED, CRC, DATA_HEADER, INDEX_HEADER, DICTIONARY_HEADER, DATA_HEADER_2 };
#define FIELDS 12 /* all of these are below */

struct walk {
    const uint8_t *at, *end; /* what is left */
    int bad;                 /* set once and for all; then there is nothing left */
};

struct chunk { /* Chunk of ingest/chunks.py, field by field */
    int64_t start, stop, values, declared_bytes, physical, codec, encodings;
};

struct pages { /* kernel/thrift.py reads it field by field */
    int64_t values, uncompressed, checksums;
    int64_t dictionary, dictionary_length, dictionary_size; /* where its content begins, or -1; its bytes; decompressed */
};

static void give_up(struct walk *walk) {
    walk->bad = 1;
    walk->at = walk->end;
}

/* A byte; 0, which ends a struct and a number, when there is none. */
static uint8_t next(struct walk *walk) {
    if (walk->at < walk->end) return *walk->at++;
    give_up(walk);
    return 0;
}

static void advance(struct walk *walk, uint64_t bytes) {
    if (bytes > (uint64_t)(walk->end - walk->at)) give_up(walk);
    else walk->at += bytes;
}

static uint64_t varint(struct walk *walk) {
    uint64_t value = 0;
    for (int shift = 0; shift < 63; shift += 7) { /* nine bytes: no count, size or place needs more */
        const uint8_t byte = next(walk);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
    give_up(walk);
    return 0;
}

static int64_t signed_number(struct walk *walk) {
    const uint64_t value = varint(walk);
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* The wire type of a struct's next field, 0 at its end; fields must ascend, as all writers have them, so that none
   comes twice. */
static int field(struct walk *walk, int64_t *key) {
    const uint8_t byte = next(walk);
    const int64_t before = *key;
    if (!(byte & 0x0f)) return STOP;
    *key = byte >> 4 ? before + (byte >> 4) : signed_number(walk);
    if (*key > before && *key <= HIGHEST_KEY) return byte & 0x0f;
    give_up(walk);
    return STOP;
}

static uint64_t list(struct walk *walk, int *kind) {
    const uint8_t byte = next(walk);
    const uint64_t count = byte >> 4 == 0x0f ? varint(walk) : byte >> 4;
    *kind = byte & 0x0f;
    if (count <= (uint64_t)(walk->end - walk->at)) return count;
    give_up(walk);
    return 0;
}

static uint64_t list_of_structs(struct walk *walk, int kind) {
    int inner = STOP;
    const uint64_t count = kind == LIST ? list(walk, &inner) : 0;
    if (inner != RECORD) give_up(walk);
    return count;
}

static void skip(struct walk *walk, int kind, int deeper) {
    if (!deeper) {
        give_up(walk);
    } else if (kind >= I16 && kind <= I64) {
        varint(walk);
    } else if (kind == BINARY) {
        advance(walk, varint(walk));
    } else if (kind == RECORD) {
        for (uint8_t byte; (byte = next(walk)) & 0x0f;) {
            if (byte <= 0x0f) varint(walk);
            skip(walk, byte & 0x0f, deeper - 1);
        }
    } else if (kind == LIST || kind == SET) {
        const uint64_t count = list(walk, &kind);
        if (kind == YES || kind == NO) advance(walk, count); /* as a field they take no byte, here they do */
        else for (uint64_t at = 0; at < count && !walk->bad; at++) skip(walk, kind, deeper - 1);
    } else if (kind == BYTE || kind == REAL) {
        advance(walk, kind == BYTE ? 1 : 8);
    } else if (kind != YES && kind != NO) {
        give_up(walk);
    }
}

static int64_t whole_number(struct walk *walk, int kind) {
    if (kind >= I16 && kind <= I64) return signed_number(walk);
    give_up(walk);
    return 0;
}

/* The numbers in a list, as bits. */
static int64_t bits_in(struct walk *walk, int kind) {
    int inner = STOP;
    const uint64_t count = kind == LIST ? list(walk, &inner) : 0;
    uint64_t bits = 0;
    if (inner < I16 || inner > I64) give_up(walk);
    for (uint64_t at = 0; at < count && !walk->bad; at++) {
        const int64_t each = signed_number(walk);
        if (each < 0 || each >= MOST_BITS) give_up(walk);
        else bits |= (uint64_t)1 << each;
    }
    return (int64_t)bits;
}

/* The numbers of a struct whose keys are bits of `wanted`, each at its key, and those in a list at the key `bits`;
   returns the keys that were there. */
static uint32_t numbers_of(struct walk *walk, uint32_t wanted, int64_t bits, int64_t out[FIELDS]) {
    uint32_t seen = 0;
    int64_t key = 0;
    for (int kind; (kind = field(walk, &key));) {
        if (key < FIELDS && wanted >> key & 1) {
            out[key] = key == bits ? bits_in(walk, kind) : whole_number(walk, kind);
            seen |= 1u << key;
        } else {
            skip(walk, kind, DEEPEST);
        }
    }
    return seen;
}

static int64_t larger(int64_t one, int64_t other) { return one > other ? one : other; }

static int64_t bits_of(int64_t physical) {
    switch (physical) {
    case 0: return 1;
    case 2: case 5: return 64;
    case 3: return 96;
    default: return 32; /* the offsets of text, at the least */
    }
}

static void read_meta(struct walk *walk, int64_t data_end, struct chunk *out) {
    const uint32_t needed = 1u << TYPE | 1u << CODEC | 1u << VALUES | 1u << UNCOMPRESSED | 1u << COMPRESSED | 1u << DATA_PAGE;
    int64_t of[FIELDS] = {0};
    if ((numbers_of(walk, needed | 1u << ENCODINGS | 1u << DICTIONARY_PAGE, ENCODINGS, of) & needed) != needed) give_up(walk);
    const int64_t dictionary = of[DICTIONARY_PAGE], length = of[COMPRESSED], values = of[VALUES];
    const int64_t start = dictionary && dictionary < of[DATA_PAGE] ? dictionary : of[DATA_PAGE];
    if (values < 0 || values > MOST_VALUES) give_up(walk);
    else if (values && (start <= 0 || start > data_end || length < 0 || length > data_end - start)) give_up(walk);
    if (walk->bad) return;
    out->start = values ? start : data_end;
    out->stop = values ? start + length : data_end;
    out->values = values;
    out->declared_bytes = larger(larger(values * bits_of(of[TYPE]) / 8, of[UNCOMPRESSED]), length);
    out->physical = of[TYPE];
    out->codec = of[CODEC];
    out->encodings = of[ENCODINGS];
}

static void read_chunk(struct walk *walk, int64_t data_end, struct chunk *out) {
    int64_t key = 0;
    int found = 0;
    for (int kind; (kind = field(walk, &key));) {
        if (key == FILE_PATH || (key == META && kind != RECORD)) {
            give_up(walk);
        } else if (key == META) {
            read_meta(walk, data_end, out);
            found = 1;
        } else {
            skip(walk, kind, DEEPEST);
        }
    }
    if (!found) give_up(walk);
}

static int64_t read_group(struct walk *walk, int64_t data_end, int64_t leaves, struct chunk *out) {
    int64_t key = 0, rows = -1, found = -1;
    for (int kind; (kind = field(walk, &key));) {
        if (key == GROUP_COLUMNS) {
            found = (int64_t)list_of_structs(walk, kind);
            if (found != leaves) give_up(walk);
            for (int64_t at = 0; at < leaves && !walk->bad; at++) read_chunk(walk, data_end, out + at);
        } else if (key == GROUP_ROWS) {
            rows = whole_number(walk, kind);
        } else {
            skip(walk, kind, DEEPEST);
        }
    }
    if (rows < 0 || found < 0) give_up(walk);
    return rows;
}

static int64_t count_leaves(struct walk *walk, int kind, int64_t most_columns) {
    const uint64_t count = list_of_structs(walk, kind);
    int64_t leaves = 0;
    if (count > (uint64_t)most_columns) give_up(walk);
    for (uint64_t at = 0; at < count && !walk->bad; at++) {
        int64_t of[FIELDS] = {0};
        numbers_of(walk, 1u << CHILDREN, 0, of);
        leaves += !of[CHILDREN];
    }
    return leaves;
}

/* Read a footer's row groups: the rows of each, and its chunks, one for each leaf column. There is room for `room`
   chunks, and for as many groups. Returns the number of groups and sets that of the leaf columns; or -1. */
int64_t batchscore_footer(const uint8_t *data, int64_t length, int64_t data_end, int64_t most_columns, int64_t room,
                          int64_t *rows, struct chunk *chunks, int64_t *leaves) {
    struct walk walk = {data, data + length, 0};
    int64_t key = 0, groups = -1;
    *leaves = 0;
    for (int kind; (kind = field(&walk, &key));) {
        if (key == SCHEMA) {
            *leaves = count_leaves(&walk, kind, most_columns);
        } else if (key == ROW_GROUPS) {
            groups = (int64_t)list_of_structs(&walk, kind);
            if (!*leaves || groups > room / *leaves) give_up(&walk);
            for (int64_t at = 0; at < groups && !walk.bad; at++)
                rows[at] = read_group(&walk, data_end, *leaves, chunks + at * *leaves);
        } else {
            skip(&walk, kind, DEEPEST);
        }
    }
    return walk.bad ? -1 : groups;
}

/* Which field of a page header tells the values of a kind of page; 0 for kinds that are not read. */
static int64_t header_of(int64_t kind) {
    switch (kind) {
    case 0: return DATA_HEADER;
    case 2: return DICTIONARY_HEADER;
    case 3: return DATA_HEADER_2;
    default: return 0;
    }
}

/* Read one page header into numbers at their keys, that of its values at the key of the struct that tells them. */
static uint32_t read_page_header(struct walk *walk, int64_t of[FIELDS]) {
    uint32_t seen = 0;
    int64_t key = 0;
    for (int kind; (kind = field(walk, &key));) {
        if (key >= KIND && key <= CRC) {
            of[key] = whole_number(walk, kind);
            seen |= 1u << key;
        } else if (kind == RECORD && (key == DATA_HEADER || key == DICTIONARY_HEADER || key == DATA_HEADER_2)) {
            int64_t inner[FIELDS] = {0};
            if (!numbers_of(walk, 1u << 1, 0, inner)) give_up(walk);
            of[key] = inner[1];
            seen |= 1u << key;
        } else {
            skip(walk, kind, DEEPEST);
        }
    }
    return seen;
}

/* Walk over the pages of one column chunk and add them up. Returns 0; or -1. */
int32_t batchscore_pages(const uint8_t *data, int64_t length, struct pages *out) {
    struct walk walk = {data, data + length, 0};
    const struct pages none = {0, 0, 1, -1, 0, 0};
    *out = none;
    while (walk.at < walk.end) {
        int64_t of[FIELDS] = {0};
        const uint32_t seen = read_page_header(&walk, of);
        const int64_t header = header_of(of[KIND]), size = of[PAGE_UNCOMPRESSED], bytes = of[PAGE_COMPRESSED];
        const uint32_t needed = 1u << KIND | 1u << PAGE_UNCOMPRESSED | 1u << PAGE_COMPRESSED | 1u << header;
        if (!header || (seen & needed) != needed || size < 0 || size > INT32_MAX || bytes < 0) give_up(&walk);
        else if (of[header] < 0 || of[header] > INT32_MAX) give_up(&walk);
        else if (header == DICTIONARY_HEADER && out->dictionary >= 0) give_up(&walk);
        if (walk.bad) return -1;
        if (header == DICTIONARY_HEADER) {
            out->dictionary = walk.at - data;
            out->dictionary_length = bytes;
            out->dictionary_size = size;
        } else {
            out->values += of[header];
        }
        out->uncompressed += size;
        out->checksums &= (int64_t)(seen >> CRC & 1);
        advance(&walk, (uint64_t)bytes);
    }
    return walk.bad ? -1 : 0;
}
