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

static inline uint64_t rotated(uint64_t word, int by)
{
    return word >> by | word << (64 - by);
}

#define MIX(a, b, c, d, x, y)            \
    do {                                 \
        a += b + (x);                    \
        d = rotated(d ^ a, 32);          \
        c += d;                          \
        b = rotated(b ^ c, 24);          \
        a += b + (y);                    \
        d = rotated(d ^ a, 16);          \
        c += d;                          \
        b = rotated(b ^ c, 63);          \
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
    for (int round = 0; round < 12; round++) {
        const uint8_t *s = SIGMA[round % 10];
        MIX(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);
        MIX(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);
        MIX(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);
        MIX(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);
        MIX(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);
        MIX(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);
        MIX(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);
        MIX(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);
    }
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

/* Write the first 16 bytes of the digest. */
static void blake_end(Blake *b, uint8_t *digest)
{
    b->taken += b->held;
    memset(b->block + b->held, 0, sizeof b->block - b->held);
    blake_block(b, b->block, 1);
    for (int i = 0; i < DIGEST_BYTES; i++)
        digest[i] = (uint8_t)(b->h[i / 8] >> (8 * (i % 8)));
}
