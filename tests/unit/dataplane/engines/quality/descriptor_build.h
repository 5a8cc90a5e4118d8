/* Writes dependency descriptors (RTP Payload Format For AV1, appendix A.8.2) from tables like those of
 * its examples A.10.2, independently of the parser. */
#ifndef RINGCAST_DESCRIPTOR_BUILD_H
#define RINGCAST_DESCRIPTOR_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bit_writer {
    uint8_t data[512];
    size_t bits;
};

static inline void put(struct bit_writer *w, unsigned count, uint32_t value)
{
    while (count-- > 0) {
        if (value >> count & 1)
            w->data[w->bits / 8] |= (uint8_t)(0x80 >> w->bits % 8);
        w->bits++;
    }
}

/* write_ns(n, v) of the specification. */
static inline void put_below(struct bit_writer *w, uint32_t n, uint32_t value)
{
    unsigned width = 0;
    uint32_t m;

    if (n == 1)
        return;
    for (uint32_t x = n; x != 0; x >>= 1)
        width++;
    m = (1u << width) - n;
    if (value < m)
        put(w, width - 1, value);
    else
        put(w, width, value + m);
}

struct template_row {
    uint8_t spatial, temporal;
    uint8_t differences[4]; /* 0 ends them */
    uint8_t chains[4];
    const char *indications; /* a letter of "-DSR" for each decode target */
};

struct structure_table {
    unsigned offset, template_count, target_count, chain_count, resolutions;
    const char *protected_by; /* a digit for each decode target */
    struct template_row rows[66];
};

static inline void put_indications(struct bit_writer *w, const char *letters)
{
    for (; *letters; letters++)
        put(w, 2, (uint32_t)(strchr("-DSR", *letters) - "-DSR"));
}

static inline void put_structure(struct bit_writer *w, const struct structure_table *t)
{
    put(w, 6, t->offset);
    put(w, 5, t->target_count - 1);
    for (unsigned i = 0; i + 1 < t->template_count; i++)
        put(w, 2,
            t->rows[i + 1].spatial != t->rows[i].spatial     ? 2
            : t->rows[i + 1].temporal != t->rows[i].temporal ? 1
                                                             : 0);
    put(w, 2, 3);
    for (unsigned i = 0; i < t->template_count; i++)
        put_indications(w, t->rows[i].indications);
    for (unsigned i = 0; i < t->template_count; i++) {
        for (unsigned k = 0; k < 4 && t->rows[i].differences[k]; k++) {
            put(w, 1, 1);
            put(w, 4, t->rows[i].differences[k] - 1u);
        }
        put(w, 1, 0);
    }
    put_below(w, t->target_count + 1, t->chain_count);
    for (unsigned i = 0; t->chain_count && i < t->target_count; i++)
        put_below(w, t->chain_count, (uint32_t)(t->protected_by[i] - '0'));
    for (unsigned i = 0; i < t->template_count; i++)
        for (unsigned k = 0; k < t->chain_count; k++)
            put(w, 4, t->rows[i].chains[k]);
    put(w, 1, t->resolutions > 0);
    for (unsigned i = 0; i < t->resolutions; i++) {
        put(w, 16, 320u << i);
        put(w, 16, 180u << i);
    }
}

struct descriptor_fields {
    bool start, end;
    unsigned template_id;
    uint16_t number;
    const struct structure_table *structure; /* NULL: none */
    bool has_active;
    uint32_t active;
    unsigned target_count;   /* for `active`, when there is no structure */
    const char *indications; /* NULL: those of the template */
    uint16_t differences[4]; /* 0 ends them; with has_differences */
    bool has_differences;
    unsigned chain_count; /* of custom chains; 0: none */
};

/* Returns the size in bytes. */
static inline size_t descriptor_build(struct bit_writer *w, const struct descriptor_fields *f)
{
    memset(w, 0, sizeof(*w));
    put(w, 1, f->start);
    put(w, 1, f->end);
    put(w, 6, f->template_id);
    put(w, 16, f->number);
    if (!f->structure && !f->has_active && !f->indications && !f->has_differences &&
        !f->chain_count)
        return 3;
    put(w, 1, f->structure != NULL);
    put(w, 1, f->has_active);
    put(w, 1, f->indications != NULL);
    put(w, 1, f->has_differences);
    put(w, 1, f->chain_count > 0);
    if (f->structure)
        put_structure(w, f->structure);
    if (f->has_active)
        put(w, f->structure ? f->structure->target_count : f->target_count, f->active);
    if (f->indications)
        put_indications(w, f->indications);
    if (f->has_differences) {
        for (unsigned i = 0; i < 4 && f->differences[i]; i++) {
            unsigned nibbles = f->differences[i] > 256 ? 3 : f->differences[i] > 16 ? 2 : 1;

            put(w, 2, nibbles);
            put(w, 4 * nibbles, f->differences[i] - 1u);
        }
        put(w, 2, 0);
    }
    for (unsigned i = 0; i < f->chain_count; i++)
        put(w, 8, 200 + i);
    return (w->bits + 7) / 8;
}

/* A.10.2.1: one spatial layer, three temporal ones. */
static const struct structure_table structure_l1t3 = {
    .offset = 60, /* the ids of the templates wrap */
    .template_count = 5,
    .target_count = 3,
    .chain_count = 1,
    .resolutions = 1,
    .protected_by = "000",
    .rows = {{0, 0, {0}, {0}, "SSS"},
             {0, 0, {4}, {4}, "SSS"},
             {0, 1, {2}, {2}, "SD-"},
             {0, 2, {1}, {1}, "D--"},
             {0, 2, {1}, {3}, "D--"}},
};

/* A.10.2.2: each spatial layer is predicted from the one below. */
static const struct structure_table structure_l3t3 = {
    .offset = 7,
    .template_count = 15,
    .target_count = 9,
    .chain_count = 3,
    .resolutions = 3,
    .protected_by = "222111000",
    .rows = {{0, 0, {0}, {0, 0, 0}, "SSSSSSSSS"},
             {0, 0, {12}, {12, 11, 10}, "RRRRRRSSS"},
             {0, 1, {6}, {6, 5, 4}, "RR-RR-SD-"},
             {0, 2, {3}, {3, 2, 1}, "R--R--D--"},
             {0, 2, {3}, {9, 8, 7}, "R--R--D--"},
             {1, 0, {1}, {1, 1, 1}, "SSSSSS---"},
             {1, 0, {12, 1}, {1, 1, 1}, "RRRSSS---"},
             {1, 1, {6, 1}, {7, 6, 5}, "RR-SD----"},
             {1, 2, {3, 1}, {4, 3, 2}, "R--D-----"},
             {1, 2, {3, 1}, {10, 9, 8}, "R--D-----"},
             {2, 0, {1}, {2, 1, 1}, "SSS------"},
             {2, 0, {12, 1}, {2, 1, 1}, "SSS------"},
             {2, 1, {6, 1}, {8, 7, 6}, "SD-------"},
             {2, 2, {3, 1}, {5, 4, 3}, "D--------"},
             {2, 2, {3, 1}, {11, 10, 9}, "D--------"}},
};

/* Spatial layers are predicted from the one below only in key pictures. The frames are those of
 * A.10.2.2; the indications are those of A.10.2.3 (K-SVC), without its temporal shift. */
static const struct structure_table structure_l3t3_key = {
    .offset = 0,
    .template_count = 15,
    .target_count = 9,
    .chain_count = 3,
    .protected_by = "222111000",
    .rows = {{0, 0, {0}, {0, 0, 0}, "SSSSSSSSS"},
             {0, 0, {12}, {12, 11, 10}, "------SSS"},
             {0, 1, {6}, {6, 5, 4}, "------SD-"},
             {0, 2, {3}, {3, 2, 1}, "------D--"},
             {0, 2, {3}, {9, 8, 7}, "------D--"},
             {1, 0, {1}, {1, 1, 1}, "SSSSSS---"},
             {1, 0, {12}, {1, 12, 11}, "---SSS---"},
             {1, 1, {6}, {7, 6, 5}, "---SD----"},
             {1, 2, {3}, {4, 3, 2}, "---D-----"},
             {1, 2, {3}, {10, 9, 8}, "---D-----"},
             {2, 0, {1}, {2, 1, 1}, "SSS------"},
             {2, 0, {12}, {2, 1, 12}, "SSS------"},
             {2, 1, {6}, {8, 7, 6}, "SD-------"},
             {2, 2, {3}, {5, 4, 3}, "D--------"},
             {2, 2, {3}, {11, 10, 9}, "D--------"}},
};

/* Two encodings of different size in one stream, as simulcast. */
static const struct structure_table structure_s2t1 = {
    .offset = 20,
    .template_count = 4,
    .target_count = 2,
    .chain_count = 2,
    .resolutions = 2,
    .protected_by = "01",
    .rows = {{0, 0, {0}, {0, 0}, "S-"},
             {0, 0, {2}, {2, 1}, "S-"},
             {1, 0, {0}, {1, 0}, "-S"},
             {1, 0, {2}, {1, 2}, "-S"}},
};

#endif
