/* BLAKE2b (RFC 7693), without a key, and of its digest the first 16 bytes. */

#include <stdint.h>
#include <string.h>

#define DIGEST_BYTES 16

typedef struct {
    uint64_t h[8];
    uint64_t taken;
    size_t held;
    uint8_t block[128];
} Blake;

static const uint64_t IV[8] = {
    0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
    0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL,
};

static const uint8_t SIGMA[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static inline uint64_t load_le(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
           (uint64_t)p[7] << 56;
}

#define ROTATED(word, by) ((word) >> (by) | (word) << (64 - (by)))

#define MIX(a, b, c, d, x, y)            \
    do {                                 \
        a += b + (x);                    \
        d = ROTATED(d ^ a, 32);          \
        c += d;                          \
        b = ROTATED(b ^ c, 24);          \
        a += b + (y);                    \
        d = ROTATED(d ^ a, 16);          \
        c += d;                          \
        b = ROTATED(b ^ c, 63);          \
    } while (0)

#define MIX_ROUND(v, m, s)                                      \
    do {                                                        \
        MIX(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);         \
        MIX(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);         \
        MIX(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);        \
        MIX(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);        \
        MIX(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);        \
        MIX(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);      \
        MIX(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);       \
        MIX(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);       \
    } while (0)

static void blake_block(Blake *b, const uint8_t *block, int last)
{
    uint64_t m[16], v[16];
    for (int i = 0; i < 16; i++)
        m[i] = load_le(block + 8 * i);
    for (int i = 0; i < 8; i++) {
        v[i] = b->h[i];
        v[i + 8] = IV[i];
    }
    v[12] ^= b->taken;
    if (last)
        v[14] = ~v[14];
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC unroll 12
#endif
    for (int round = 0; round < 12; round++)
        MIX_ROUND(v, m, SIGMA[round % 10]);
    for (int i = 0; i < 8; i++)
        b->h[i] ^= v[i] ^ v[i + 8];
}

static void blake_begin(Blake *b, int digest_bytes)
{
    memcpy(b->h, IV, sizeof IV);
    b->h[0] ^= 0x01010000ULL ^ (uint64_t)digest_bytes;
    b->taken = 0;
    b->held = 0;
}

static void blake_add(Blake *b, const void *data, size_t size)
{
    const uint8_t *p = data;
    while (size > 0) {
        /* The last block waits: only the end knows that it is the last. */
        if (b->held == sizeof b->block) {
            b->taken += sizeof b->block;
            blake_block(b, b->block, 0);
            b->held = 0;
        }
        size_t part = sizeof b->block - b->held;
        if (part > size)
            part = size;
        memcpy(b->block + b->held, p, part);
        b->held += part;
        p += part;
        size -= part;
    }
}

static void blake_fill(Blake *b)
{
    b->taken += b->held;
    memset(b->block + b->held, 0, sizeof b->block - b->held);
}

#define TOGETHER 4

#if defined(__x86_64__) && defined(__GNUC__)
typedef uint64_t Lanes __attribute__((vector_size(8 * TOGETHER)));

#define HAS_LANES __builtin_cpu_supports("avx2")

/* Do what `blake_block` does with the last blocks of four digests, for the words that are read. */
__attribute__((target("avx2"))) static void blake_last_blocks(Blake *b)
{
    Lanes m[16], v[16], h[2];
    for (int i = 0; i < 16; i++)
        m[i] = (Lanes){load_le(b[0].block + 8 * i), load_le(b[1].block + 8 * i),
                       load_le(b[2].block + 8 * i), load_le(b[3].block + 8 * i)};
    for (int i = 0; i < 8; i++) {
        v[i] = (Lanes){b[0].h[i], b[1].h[i], b[2].h[i], b[3].h[i]};
        v[i + 8] = (Lanes){IV[i], IV[i], IV[i], IV[i]};
    }
    v[12] ^= (Lanes){b[0].taken, b[1].taken, b[2].taken, b[3].taken};
    v[14] = ~v[14];
    h[0] = v[0];
    h[1] = v[1];
#if !defined(__clang__)
#pragma GCC unroll 12
#endif
    for (int round = 0; round < 12; round++)
        MIX_ROUND(v, m, SIGMA[round % 10]);
    for (int i = 0; i < 2; i++) {
        h[i] ^= v[i] ^ v[i + 8];
        for (int lane = 0; lane < TOGETHER; lane++)
            b[lane].h[i] = h[i][lane];
    }
}
#else
#define HAS_LANES 0

static void blake_last_blocks(Blake *b)
{
    (void)b;
}
#endif

/* End up to four digests; of each the first two words of `h` are then its first 16 bytes. */
static void blake_end(Blake *b, int count)
{
    for (int i = 0; i < count; i++)
        blake_fill(&b[i]);
    if (count > 1 && HAS_LANES) {
        for (int i = count; i < TOGETHER; i++)
            b[i] = b[0];
        blake_last_blocks(b);
        return;
    }
    for (int i = 0; i < count; i++)
        blake_block(&b[i], b[i].block, 1);
}

static void blake_write(const Blake *b, uint8_t *digest, int bytes)
{
    for (int i = 0; i < bytes; i++)
        digest[i] = (uint8_t)(b->h[i / 8] >> (8 * (i % 8)));
}
