// Serves one environment to Lockstep's judge over `lockstep/1`, so that an adapter in C holds the rules and nothing else.
//
// An adapter is one file. It includes this header first, then defines `struct lane` and the functions `environment_*`
// declared below; `main` is here. The functions of the hot loop are inlined into it, which is why there are no function
// pointers: a bare step of Pong takes 30 ns, and serving it has to stay a fraction of that.
//
// A lane is plain memory of `lane_bytes` bytes. The header owns it, and a snapshot is a copy of it: a lane that keeps
// pointers clears them in `environment_pack` and sets them again in `environment_unpack`.
//
// Needs gcc or clang, C11 and a little-endian POSIX system. Protocol: docs/protocol.md.
#ifndef LOCKSTEP_H
#define LOCKSTEP_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "records are copied from memory as they are: lockstep.h needs a little-endian machine"
#endif

#define LOCKSTEP_COLD static __attribute__((unused))
#define LOCKSTEP_HOT static inline __attribute__((always_inline, unused))

#define LOCKSTEP_AGENTS_MAX 16u          // the head of a record has 16 bits for them
#define LOCKSTEP_WIDTH_MAX 64u
#define LOCKSTEP_LANES_MAX (1u << 20)
#define LOCKSTEP_ACTIONS_MAX 4096u       // only where there is a mask
#define LOCKSTEP_BODY_BYTES_MAX (256u << 20)
#define LOCKSTEP_NONE UINT32_MAX

// ---------------------------------------------------------------------------------------------------------------------
// What the adapter fills in
// ---------------------------------------------------------------------------------------------------------------------

// The adapter's own: all that a lane remembers.
struct lane;

// One named value. `dtype` as in the protocol; `shape` ends at the first zero, so that leaving it out means one value.
struct lockstep_field {
    const char *name;
    const char *dtype;
    uint32_t shape[4];
};

struct lockstep_grain {
    const char *name;
    const struct lockstep_field *row;
    uint32_t row_count;
};

// What the environment is in the configuration at hand. `hello` is compared with it, and refused where it differs.
struct lockstep_setup {
    const char *environment;
    const char *name;                      // of the adapter, for the report
    const char *version;
    size_t lane_bytes;
    uint32_t agents;
    uint32_t width;                        // tokens per agent
    bool continuous;
    uint32_t action_count;                 // these three only for discrete actions
    uint32_t action_extra;
    bool mask;
    bool resets_itself;                    // `resets = "reference"`
    const struct lockstep_field *canonical;
    uint32_t canonical_count;
    const struct lockstep_field *observation;
    uint32_t observation_count;
    const char *reward;
    const char *const *sites;              // the adapter's numbers of sites are places in this list
    uint32_t site_count;
    const struct lockstep_grain *grains;   // and so are its numbers of grains
    uint32_t grain_count;
};

struct __attribute__((packed)) lockstep_draw {
    uint32_t site;
    uint64_t bound;
    uint64_t value;
};

// A lane's place: where it started, how far it is, and where its next draw comes from.
struct lockstep_header {
    uint64_t seed;
    uint64_t stream;
    uint32_t episode;
    uint32_t elapsed;                      // within `environment_step` it counts that step
    uint32_t draw_index;                   // of the next draw in this episode
    uint32_t source;                       // 0 seeded, 1 listed
    uint32_t place;                        // in the list; also counts draws past its end
    uint32_t block;                        // the Threefry block in `words`, plus one; 0 for none
    uint32_t words[4];
    uint64_t chain;
    uint32_t ready;                        // 0 before the first reset, and after an error in the middle of a step
    uint32_t list_count;
    uint32_t list_capacity;
    uint32_t log_count;
    uint32_t log_capacity;
    uint32_t *list;
    struct lockstep_draw *log;             // of the last reset, inject or step_many
};

union lockstep_action {
    uint32_t index;                        // discrete: below action_count, or action_count + n for the n-th extra one
    float value;                           // continuous
};

struct lockstep_outcome {
    bool terminated;
    bool truncated;
};

struct lockstep_writer {
    uint8_t *at;
    bool raw;                              // the state form: regions in full
};

struct lockstep_reader {
    const uint8_t *at;
    size_t left;
};

// Reads the options (below) and describes the environment. Called once.
static void environment_configure(struct lockstep_setup *setup);
// Starts an episode. The memory holds anything: write all of it, the observations of all agents included.
static void environment_reset(struct lane *lane, struct lockstep_header *header);
// One step. `actions` has agents x width entries. Observations and rewards stay in the lane.
LOCKSTEP_HOT void environment_step(struct lane *lane, struct lockstep_header *header,
                                   const union lockstep_action *actions, struct lockstep_outcome *outcome);
// The agents who decide next, as a bit set.
LOCKSTEP_HOT uint32_t environment_deciders(const struct lane *lane);
// Sets a bit for each legal action of a deciding agent; `mask` comes zeroed. Called only where `mask` is set up.
LOCKSTEP_HOT void environment_legal(const struct lane *lane, uint32_t agent, uint32_t *mask);
// Write the canonical fields in their order, the last observations, and the rewards of the last step.
LOCKSTEP_HOT void environment_canonical(const struct lane *lane, struct lockstep_writer *writer);
LOCKSTEP_HOT void environment_observations(const struct lane *lane, struct lockstep_writer *writer);
LOCKSTEP_HOT void environment_rewards(const struct lane *lane, struct lockstep_writer *writer);
// Takes over a state from elsewhere, exactly, or fails with "refused". Both readers hold just the right number of bytes.
static void environment_inject(struct lane *lane, struct lockstep_header *header, struct lockstep_reader *state,
                               struct lockstep_reader *observations);
// Pointers in a lane: clear them in the copy that becomes a snapshot, set them after a restore.
static void environment_pack(struct lane *lane);
static void environment_unpack(struct lane *lane);

// ---------------------------------------------------------------------------------------------------------------------
// The server's own memory
// ---------------------------------------------------------------------------------------------------------------------

struct lockstep_buffer {
    uint8_t *at;
    size_t count;
    size_t capacity;
};

struct lockstep_value {
    enum { LOCKSTEP_NULL, LOCKSTEP_BOOL, LOCKSTEP_NUMBER, LOCKSTEP_STRING, LOCKSTEP_LIST, LOCKSTEP_OBJECT } type;
    bool used;                             // an option that nobody asked for is an error
    double number;                         // and 0 or 1 for a bool
    const char *string;
    const char *key;                       // in an object
    uint32_t child;                        // 0 for none: place 0 is the root
    uint32_t next;
};

static struct {
    struct lockstep_setup setup;
    bool greeted;
    uint32_t lane_count;
    size_t stride;
    struct lockstep_header *headers;
    uint8_t *memory;
    uint32_t episode_steps_max;            // 0 for none
    uint64_t configuration;                // digest of its hash: snapshots belong to one configuration
    uint32_t site_numbers[256];            // the adapter's site to hello's
    uint32_t grain_numbers[64];            // hello's grain to the adapter's
    uint32_t grain_count;
    uint32_t row_bytes[64];                // by the adapter's number
    uint32_t grain;                        // the adapter's number of the grain being asked for
    size_t canonical_bytes;
    size_t state_bytes;
    size_t observation_bytes;              // these three per agent
    size_t mask_bytes;
    size_t reward_bytes;
    size_t record_bytes;                   // without draws
    size_t raw_bytes;                      // the same in state form
    struct lockstep_buffer in, out, window, rows;
    uint32_t row_count;
    struct lockstep_value *values;
    uint32_t value_count, value_capacity;
    uint32_t options;                      // their place in values, 0 for none
    jmp_buf trap;
    bool trapped;                          // false in bare mode: there is nobody to answer
    const char *kind;
    char error[512];
    const char *file, *function;
    int line;
} lockstep;

// Fails the request at hand: `kind` is "bad_request", "refused" or "exception". Adapters call it as well.
#define lockstep_fail(kind, ...) lockstep_fail_at(__FILE__, __LINE__, __func__, kind, __VA_ARGS__)

LOCKSTEP_COLD _Noreturn void lockstep_die(const char *text) {
    fprintf(stderr, "lockstep: %s\n", text);
    exit(1);
}

LOCKSTEP_COLD _Noreturn __attribute__((noinline, cold, format(printf, 5, 6))) void
lockstep_fail_at(const char *file, int line, const char *function, const char *kind, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(lockstep.error, sizeof lockstep.error, format, list);
    va_end(list);
    lockstep.kind = kind, lockstep.file = file, lockstep.line = line, lockstep.function = function;
    if (!lockstep.trapped) {
        fprintf(stderr, "error: %s\n", lockstep.error);
        exit(2);
    }
    longjmp(lockstep.trap, 1);
}

LOCKSTEP_COLD void *lockstep_resize(void *memory, size_t bytes) {
    void *moved = realloc(memory, bytes ? bytes : 1);
    if (!moved) lockstep_die("out of memory");
    return moved;
}

static __attribute__((noinline, cold, unused)) void lockstep_grow(struct lockstep_buffer *buffer, size_t more) {
    size_t capacity = buffer->capacity + buffer->capacity / 2;
    if (capacity < buffer->count + more) capacity = buffer->count + more + 4096;
    buffer->at = lockstep_resize(buffer->at, capacity);
    buffer->capacity = capacity;
}

// Room for `more` bytes at the end of a buffer; the caller adds to `count` what it used.
LOCKSTEP_HOT uint8_t *lockstep_room(struct lockstep_buffer *buffer, size_t more) {
    if (buffer->capacity - buffer->count < more) lockstep_grow(buffer, more);
    return buffer->at + buffer->count;
}

// Room in the reply, which has a largest size.
LOCKSTEP_HOT uint8_t *lockstep_reply(size_t bytes) {
    if (lockstep.out.count + bytes > LOCKSTEP_BODY_BYTES_MAX + 16u)
        lockstep_fail("refused", "the reply would be larger than 256 MiB: ask for fewer steps or lanes in one frame");
    uint8_t *at = lockstep_room(&lockstep.out, bytes);
    lockstep.out.count += bytes;
    return at;
}

LOCKSTEP_HOT void lockstep_reply_u32(uint32_t value) { memcpy(lockstep_reply(4), &value, 4); }
LOCKSTEP_HOT void lockstep_reply_u64(uint64_t value) { memcpy(lockstep_reply(8), &value, 8); }

LOCKSTEP_COLD const uint8_t *lockstep_take(struct lockstep_reader *reader, size_t bytes) {
    if (reader->left < bytes)
        lockstep_fail("bad_request", "the frame ends early: %zu bytes are missing", bytes - reader->left);
    const uint8_t *at = reader->at;
    reader->at += bytes;
    reader->left -= bytes;
    return at;
}

LOCKSTEP_COLD uint32_t lockstep_take_u32(struct lockstep_reader *reader) {
    uint32_t value;
    memcpy(&value, lockstep_take(reader, 4), 4);
    return value;
}

LOCKSTEP_COLD uint64_t lockstep_take_u64(struct lockstep_reader *reader) {
    uint64_t value;
    memcpy(&value, lockstep_take(reader, 8), 8);
    return value;
}

LOCKSTEP_COLD void lockstep_take_end(const struct lockstep_reader *reader) {
    if (reader->left) lockstep_fail("bad_request", "the frame has %zu bytes too many", reader->left);
}

// For `environment_inject`: the next bytes of the state or the observations.
LOCKSTEP_COLD void lockstep_read(struct lockstep_reader *reader, void *bytes, size_t size) {
    memcpy(bytes, lockstep_take(reader, size), size);
}

// ---------------------------------------------------------------------------------------------------------------------
// XXH64, from its specification
// ---------------------------------------------------------------------------------------------------------------------

#define LOCKSTEP_PRIME_1 0x9E3779B185EBCA87ull
#define LOCKSTEP_PRIME_2 0xC2B2AE3D27D4EB4Full
#define LOCKSTEP_PRIME_3 0x165667B19E3779F9ull
#define LOCKSTEP_PRIME_4 0x85EBCA77C2B2AE63ull
#define LOCKSTEP_PRIME_5 0x27D4EB2F165667C5ull

LOCKSTEP_HOT uint64_t lockstep_rotate(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

LOCKSTEP_HOT uint64_t lockstep_load(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

LOCKSTEP_HOT uint64_t lockstep_round(uint64_t sum, uint64_t input) {
    return lockstep_rotate(sum + input * LOCKSTEP_PRIME_2, 31) * LOCKSTEP_PRIME_1;
}

LOCKSTEP_HOT uint64_t lockstep_merge(uint64_t hash, uint64_t sum) {
    return (hash ^ lockstep_round(0, sum)) * LOCKSTEP_PRIME_1 + LOCKSTEP_PRIME_4;
}

struct lockstep_hash {
    uint64_t seed;
    uint64_t sum[4];
    uint64_t size;                         // bytes so far, the tail included
    uint8_t tail[32];                      // what does not fill a stripe yet
};

LOCKSTEP_HOT void lockstep_hash_begin(struct lockstep_hash *hash, uint64_t seed) {
    hash->seed = seed;
    hash->sum[0] = seed + LOCKSTEP_PRIME_1 + LOCKSTEP_PRIME_2;
    hash->sum[1] = seed + LOCKSTEP_PRIME_2;
    hash->sum[2] = seed;
    hash->sum[3] = seed - LOCKSTEP_PRIME_1;
    hash->size = 0;
}

// All whole stripes of 32 bytes; gives the bytes consumed.
LOCKSTEP_HOT size_t lockstep_hash_stripes(uint64_t sums[4], const uint8_t *at, size_t bytes) {
    uint64_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    size_t done = 0;
    for (; bytes - done >= 32; done += 32) {
        a = lockstep_round(a, lockstep_load(at + done));
        b = lockstep_round(b, lockstep_load(at + done + 8));
        c = lockstep_round(c, lockstep_load(at + done + 16));
        d = lockstep_round(d, lockstep_load(at + done + 24));
    }
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
    return done;
}

LOCKSTEP_HOT uint64_t lockstep_hash_finish(const uint64_t sum[4], uint64_t seed, uint64_t size, const uint8_t *tail) {
    uint64_t hash = seed + LOCKSTEP_PRIME_5;
    if (size >= 32) {
        hash = lockstep_rotate(sum[0], 1) + lockstep_rotate(sum[1], 7) + lockstep_rotate(sum[2], 12) +
               lockstep_rotate(sum[3], 18);
        for (int i = 0; i < 4; i++) hash = lockstep_merge(hash, sum[i]);
    }
    hash += size;
    size_t left = size & 31;
    for (; left >= 8; left -= 8, tail += 8)
        hash = lockstep_rotate(hash ^ lockstep_round(0, lockstep_load(tail)), 27) * LOCKSTEP_PRIME_1 + LOCKSTEP_PRIME_4;
    if (left >= 4) {
        uint32_t word;
        memcpy(&word, tail, 4);
        hash = lockstep_rotate(hash ^ word * LOCKSTEP_PRIME_1, 23) * LOCKSTEP_PRIME_2 + LOCKSTEP_PRIME_3;
        left -= 4, tail += 4;
    }
    for (; left; left--, tail++) hash = lockstep_rotate(hash ^ *tail * LOCKSTEP_PRIME_5, 11) * LOCKSTEP_PRIME_1;
    hash = (hash ^ hash >> 33) * LOCKSTEP_PRIME_2;
    hash = (hash ^ hash >> 29) * LOCKSTEP_PRIME_3;
    return hash ^ hash >> 32;
}

// The digest of bytes that lie in one piece.
LOCKSTEP_HOT uint64_t lockstep_digest(const void *bytes, size_t size, uint64_t seed) {
    struct lockstep_hash hash;
    lockstep_hash_begin(&hash, seed);
    size_t done = lockstep_hash_stripes(hash.sum, bytes, size);
    return lockstep_hash_finish(hash.sum, seed, size, (const uint8_t *)bytes + done);
}

// The digest of bytes that come piece by piece: begin, add as often as needed, end.
LOCKSTEP_COLD void lockstep_hash_add(struct lockstep_hash *hash, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    size_t held = hash->size & 31;
    hash->size += size;
    if (held) {
        size_t more = 32 - held < size ? 32 - held : size;
        memcpy(hash->tail + held, at, more);
        at += more, size -= more;
        if (held + more < 32) return;
        lockstep_hash_stripes(hash->sum, hash->tail, 32);
    }
    size_t done = lockstep_hash_stripes(hash->sum, at, size);
    memcpy(hash->tail, at + done, size - done);
}

LOCKSTEP_COLD uint64_t lockstep_hash_end(const struct lockstep_hash *hash) {
    return lockstep_hash_finish(hash->sum, hash->seed, hash->size, hash->tail);
}

// ---------------------------------------------------------------------------------------------------------------------
// Draws
// ---------------------------------------------------------------------------------------------------------------------

// Threefry-4x32 with 20 rounds.
LOCKSTEP_COLD void lockstep_threefry(const uint32_t key[4], const uint32_t counter[4], uint32_t out[4]) {
    static const uint8_t rotations[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5}, {6, 20}, {17, 11}, {25, 10}, {18, 20}};
    uint32_t keys[5] = {key[0], key[1], key[2], key[3], 0x1BD11BDAu ^ key[0] ^ key[1] ^ key[2] ^ key[3]};
    uint32_t x[4];
    for (int i = 0; i < 4; i++) x[i] = counter[i] + keys[i];
    for (uint32_t round = 0; round < 20; round++) {
        int left = rotations[round & 7][0], right = rotations[round & 7][1];
        int first = round & 1 ? 3 : 1, second = round & 1 ? 1 : 3;
        x[0] += x[first];
        x[first] = (x[first] << left | x[first] >> (32 - left)) ^ x[0];
        x[2] += x[second];
        x[second] = (x[second] << right | x[second] >> (32 - right)) ^ x[2];
        if ((round & 3) == 3) {
            uint32_t turn = round / 4 + 1;
            for (uint32_t i = 0; i < 4; i++) x[i] += keys[(turn + i) % 5];
            x[3] += turn;
        }
    }
    memcpy(out, x, sizeof x);
}

LOCKSTEP_COLD void lockstep_log(struct lockstep_header *header, uint32_t site, uint64_t bound, uint64_t value) {
    if (site != LOCKSTEP_NONE) site = site < lockstep.setup.site_count ? lockstep.site_numbers[site] : LOCKSTEP_NONE;
    if (header->log_count == header->log_capacity) {
        if (header->log_capacity > UINT32_MAX / 3) lockstep_die("a log of draws is full");
        header->log_capacity = header->log_capacity * 2 + 16;
        header->log = lockstep_resize(header->log, (size_t)header->log_capacity * sizeof *header->log);
    }
    header->log[header->log_count++] = (struct lockstep_draw){site, bound, value};
}

LOCKSTEP_COLD uint32_t lockstep_next(struct lockstep_header *header) {
    uint32_t index = header->draw_index++;
    if (header->source) {
        uint32_t place = header->place;
        if (place < UINT32_MAX) header->place++;
        return place < header->list_count ? header->list[place] : 0;
    }
    if (header->block != (index >> 2) + 1) {
        uint32_t key[4] = {(uint32_t)header->seed, (uint32_t)(header->seed >> 32), (uint32_t)header->stream,
                           (uint32_t)(header->stream >> 32)};
        uint32_t counter[4] = {index >> 2, header->episode, 0, 0};
        lockstep_threefry(key, counter, header->words);
        header->block = (index >> 2) + 1;
    }
    return header->words[index & 3];
}

// A number below `bound` from the harness. `bound` is at least 1.
LOCKSTEP_COLD uint32_t lockstep_below(struct lockstep_header *header, uint32_t bound, uint32_t site) {
    if (!bound) lockstep_fail("exception", "a draw below 0");
    uint32_t word = lockstep_next(header);
    uint32_t value = header->source ? word % bound : (uint32_t)((uint64_t)word * bound >> 32);
    lockstep_log(header, site, bound, value);
    return value;
}

// A whole u32 from the harness.
LOCKSTEP_COLD uint32_t lockstep_word(struct lockstep_header *header, uint32_t site) {
    uint32_t word = lockstep_next(header);
    lockstep_log(header, site, 1ull << 32, word);
    return word;
}

// A draw from the environment's own generator: only noted.
LOCKSTEP_COLD void lockstep_noted(struct lockstep_header *header, uint32_t site, uint64_t bound, uint64_t value) {
    header->draw_index++;
    lockstep_log(header, site, bound, value);
}

// ---------------------------------------------------------------------------------------------------------------------
// What the adapter's functions call
// ---------------------------------------------------------------------------------------------------------------------

LOCKSTEP_HOT void lockstep_write(struct lockstep_writer *writer, const void *bytes, size_t size) {
    memcpy(writer->at, bytes, size);
    writer->at += size;
}

LOCKSTEP_HOT void lockstep_write_u32(struct lockstep_writer *writer, uint32_t value) {
    lockstep_write(writer, &value, 4);
}

LOCKSTEP_HOT void lockstep_write_i32(struct lockstep_writer *writer, int32_t value) {
    lockstep_write(writer, &value, 4);
}

LOCKSTEP_HOT void lockstep_write_f32(struct lockstep_writer *writer, float value) { lockstep_write(writer, &value, 4); }

// A canonical field of dtype `region`.
LOCKSTEP_HOT void lockstep_write_region(struct lockstep_writer *writer, const void *bytes, size_t size) {
    if (writer->raw) {
        lockstep_write(writer, bytes, size);
        return;
    }
    uint64_t digest = lockstep_digest(bytes, size, 0);
    lockstep_write(writer, &digest, 8);
}

// Whether rows of this grain are asked for: rows cost time, so make them only then.
LOCKSTEP_HOT bool lockstep_wants(uint32_t grain) { return __builtin_expect(lockstep.grain == grain, 0); }

// One row of the grain that is asked for, packed.
LOCKSTEP_COLD void lockstep_row(const void *row, size_t bytes) {
    if (bytes != lockstep.row_bytes[lockstep.grain])
        lockstep_fail("exception", "a row of %zu bytes where %u were declared", bytes, lockstep.row_bytes[lockstep.grain]);
    if (lockstep.rows.count + bytes > LOCKSTEP_BODY_BYTES_MAX)
        lockstep_fail("exception", "the rows of one step are larger than 256 MiB");
    memcpy(lockstep_room(&lockstep.rows, bytes), row, bytes);
    lockstep.rows.count += bytes;
    lockstep.row_count++;
}

// Whether the episode has reached `episode_steps_max` with this step.
LOCKSTEP_HOT bool lockstep_reached_the_end(const struct lockstep_header *header) {
    return lockstep.episode_steps_max && header->elapsed >= lockstep.episode_steps_max;
}

// ---------------------------------------------------------------------------------------------------------------------
// JSON, as much as `hello` needs
// ---------------------------------------------------------------------------------------------------------------------

struct lockstep_text {
    char *at;                              // ends with a NUL; strings are unescaped in place
    char *end;
};

LOCKSTEP_COLD void lockstep_space(struct lockstep_text *text) {
    while (*text->at == ' ' || *text->at == '\n' || *text->at == '\r' || *text->at == '\t') text->at++;
}

LOCKSTEP_COLD uint32_t lockstep_hex(struct lockstep_text *text) {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = *text->at;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16u;
        if (digit == 16) lockstep_fail("bad_request", "JSON: a \\u needs four hex digits");
        value = value * 16 + digit;
        text->at++;
    }
    return value;
}

LOCKSTEP_COLD char *lockstep_utf8(char *out, uint32_t code) {
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xC0 | code >> 6);
        *out++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *out++ = (char)(0xE0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    } else {
        *out++ = (char)(0xF0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 63));
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    }
    return out;
}

LOCKSTEP_COLD const char *lockstep_string(struct lockstep_text *text) {
    if (*text->at != '"') lockstep_fail("bad_request", "JSON: a string was expected");
    char *start = ++text->at, *out = start;
    while (*text->at != '"') {
        if ((unsigned char)*text->at < 0x20) lockstep_fail("bad_request", "JSON: a string does not end");
        if (*text->at != '\\') {
            *out++ = *text->at++;
            continue;
        }
        char escape = text->at[1];
        if (!escape) lockstep_fail("bad_request", "JSON: a string does not end");
        text->at += 2;
        const char *from = "\"\\/bfnrt", *to = "\"\\/\b\f\n\r\t", *found = strchr(from, escape);
        if (found) {
            *out++ = to[found - from];
        } else if (escape == 'u') {
            uint32_t code = lockstep_hex(text);
            if (code >= 0xD800 && code < 0xDC00 && text->at[0] == '\\' && text->at[1] == 'u') {
                text->at += 2;
                code = 0x10000 + ((code - 0xD800) << 10) + ((lockstep_hex(text) - 0xDC00) & 0x3FF);
            }
            if (!code) lockstep_fail("bad_request", "JSON: a string holds a NUL");
            out = lockstep_utf8(out, code);
        } else {
            lockstep_fail("bad_request", "JSON: an unknown escape in a string");
        }
    }
    text->at++;
    *out = 0;
    return start;
}

LOCKSTEP_COLD uint32_t lockstep_parse(struct lockstep_text *text, int depth) {
    if (depth > 32) lockstep_fail("bad_request", "JSON: nested too deep");
    if (lockstep.value_count == lockstep.value_capacity) {
        lockstep.value_capacity = lockstep.value_capacity * 2 + 256;
        lockstep.values = lockstep_resize(lockstep.values, lockstep.value_capacity * sizeof *lockstep.values);
    }
    uint32_t place = lockstep.value_count++;
    struct lockstep_value value = {LOCKSTEP_NULL, false, 0, NULL, NULL, 0, 0};
    lockstep_space(text);
    char c = *text->at;
    if (c == '{' || c == '[') {
        value.type = c == '{' ? LOCKSTEP_OBJECT : LOCKSTEP_LIST;
        char close = c == '{' ? '}' : ']';
        uint32_t last = 0;
        text->at++;
        lockstep_space(text);
        while (*text->at != close) {
            const char *key = NULL;
            if (last) {
                if (*text->at != ',') lockstep_fail("bad_request", "JSON: a comma was expected");
                text->at++;
                lockstep_space(text);
            }
            if (close == '}') {
                key = lockstep_string(text);
                lockstep_space(text);
                if (*text->at != ':') lockstep_fail("bad_request", "JSON: a colon was expected after `%.64s`", key);
                text->at++;
            }
            uint32_t child = lockstep_parse(text, depth + 1);
            lockstep.values[child].key = key;
            if (last) lockstep.values[last].next = child;
            else value.child = child;
            last = child;
            lockstep_space(text);
        }
        text->at++;
    } else if (c == '"') {
        value.type = LOCKSTEP_STRING;
        value.string = lockstep_string(text);
    } else if (!strncmp(text->at, "true", 4) || !strncmp(text->at, "false", 5)) {
        value.type = LOCKSTEP_BOOL;
        value.number = c == 't';
        text->at += c == 't' ? 4 : 5;
    } else if (!strncmp(text->at, "null", 4)) {
        text->at += 4;
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        char *end;
        value.type = LOCKSTEP_NUMBER;
        value.number = strtod(text->at, &end);
        if (end == text->at || !isfinite(value.number)) lockstep_fail("bad_request", "JSON: an odd number");
        text->at = end;
    } else {
        lockstep_fail("bad_request", "JSON: a value was expected");
    }
    lockstep.values[place] = value;
    return place;
}

// Reads a whole document; it becomes value 0. `bytes` is changed and has to stay.
LOCKSTEP_COLD void lockstep_parse_all(char *bytes, size_t size) {
    if (memchr(bytes, 0, size)) lockstep_fail("bad_request", "JSON: a NUL");
    bytes[size] = 0;
    struct lockstep_text text = {bytes, bytes + size};
    lockstep.value_count = 0;
    lockstep_parse(&text, 0);
    lockstep_space(&text);
    if (text.at != text.end) lockstep_fail("bad_request", "JSON: text after the end");
    if (lockstep.values[0].type != LOCKSTEP_OBJECT) lockstep_fail("bad_request", "JSON: an object was expected");
}

// The member of an object, or 0.
LOCKSTEP_COLD uint32_t lockstep_find(uint32_t object, const char *key) {
    if (lockstep.values[object].type != LOCKSTEP_OBJECT) return 0;
    uint32_t place = lockstep.values[object].child;
    while (place && strcmp(lockstep.values[place].key, key)) place = lockstep.values[place].next;
    return place;
}

LOCKSTEP_COLD const char *lockstep_string_in(uint32_t object, const char *key) {
    uint32_t place = lockstep_find(object, key);
    if (!place || lockstep.values[place].type != LOCKSTEP_STRING)
        lockstep_fail("bad_request", "hello: `%s` is missing or no string", key);
    return lockstep.values[place].string;
}

LOCKSTEP_COLD uint32_t lockstep_count_in(uint32_t object, const char *key, uint32_t most) {
    uint32_t place = lockstep_find(object, key);
    if (!place || lockstep.values[place].type != LOCKSTEP_NUMBER)
        lockstep_fail("bad_request", "hello: `%s` is missing or no number", key);
    double number = lockstep.values[place].number;
    if (!(number >= 0 && number <= most && number == floor(number)))
        lockstep_fail("bad_request", "hello: `%s` is %.17g and has to be a whole number from 0 to %u", key, number, most);
    return (uint32_t)number;
}

LOCKSTEP_COLD uint32_t lockstep_list_in(uint32_t object, const char *key) {
    uint32_t place = lockstep_find(object, key);
    if (!place || lockstep.values[place].type != LOCKSTEP_LIST)
        lockstep_fail("bad_request", "hello: `%s` is missing or no list", key);
    return place;
}

// ---------------------------------------------------------------------------------------------------------------------
// Options: each call names one that exists; the others are refused
// ---------------------------------------------------------------------------------------------------------------------

LOCKSTEP_COLD struct lockstep_value *lockstep_option(const char *name, int type, const char *what) {
    uint32_t place = lockstep.options ? lockstep_find(lockstep.options, name) : 0;
    if (!place) return NULL;
    struct lockstep_value *value = lockstep.values + place;
    if ((int)value->type != type) lockstep_fail("bad_request", "option `%s` has to be %s", name, what);
    value->used = true;
    return value;
}

LOCKSTEP_COLD float lockstep_option_f32(const char *name, double otherwise) {
    struct lockstep_value *value = lockstep_option(name, LOCKSTEP_NUMBER, "a number");
    float number = (float)(value ? value->number : otherwise);
    if (!isfinite(number)) lockstep_fail("bad_request", "option `%s` does not fit into an f32", name);
    return number;
}

LOCKSTEP_COLD int64_t lockstep_option_integer(const char *name, int64_t otherwise, int64_t least, int64_t most) {
    struct lockstep_value *value = lockstep_option(name, LOCKSTEP_NUMBER, "a whole number");
    if (!value) return otherwise;
    if (!(value->number >= (double)least && value->number <= (double)most && value->number == floor(value->number)))
        lockstep_fail("bad_request", "option `%s` is %.17g and has to be a whole number from %lld to %lld", name,
                      value->number, (long long)least, (long long)most);
    return (int64_t)value->number;
}

LOCKSTEP_COLD bool lockstep_option_bool(const char *name, bool otherwise) {
    struct lockstep_value *value = lockstep_option(name, LOCKSTEP_BOOL, "true or false");
    return value ? value->number != 0 : otherwise;
}

LOCKSTEP_COLD const char *lockstep_option_string(const char *name, const char *otherwise) {
    struct lockstep_value *value = lockstep_option(name, LOCKSTEP_STRING, "a string");
    return value ? value->string : otherwise;
}

// ---------------------------------------------------------------------------------------------------------------------
// hello
// ---------------------------------------------------------------------------------------------------------------------

LOCKSTEP_COLD size_t lockstep_dtype_bytes(const char *dtype) {
    static const struct { const char *name; size_t bytes; } known[] = {
        {"u8", 1}, {"i8", 1}, {"u16", 2}, {"i16", 2}, {"u32", 4}, {"i32", 4},
        {"u64", 8}, {"i64", 8}, {"f32", 4}, {"f64", 8}, {"region", 1}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, dtype)) return known[i].bytes;
    lockstep_fail("exception", "the adapter declares an unknown dtype `%s`", dtype);
}

// The bytes of a list of fields; in a record a region is a digest.
LOCKSTEP_COLD size_t lockstep_fields_bytes(const struct lockstep_field *fields, uint32_t count, bool raw) {
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t bytes = lockstep_dtype_bytes(fields[i].dtype);
        for (int d = 0; d < 4 && fields[i].shape[d]; d++) bytes *= fields[i].shape[d];
        total += !raw && !strcmp(fields[i].dtype, "region") ? 8 : bytes;
    }
    return total;
}

LOCKSTEP_COLD bool lockstep_shape_equal(uint32_t list, const uint32_t shape[4]) {
    int d = 0;
    for (uint32_t place = lockstep.values[list].child; place; place = lockstep.values[place].next, d++)
        if (d == 4 || !shape[d] || lockstep.values[place].type != LOCKSTEP_NUMBER ||
            lockstep.values[place].number != shape[d])
            return false;
    return d == 4 || !shape[d];
}

// Refuses, by name, the first field on which hello and the adapter disagree.
LOCKSTEP_COLD void lockstep_compare(uint32_t list, const struct lockstep_field *fields, uint32_t count, const char *what) {
    uint32_t place = lockstep.values[list].child, i = 0;
    for (; place; place = lockstep.values[place].next, i++) {
        const char *name = lockstep_string_in(place, "name"), *dtype = lockstep_string_in(place, "dtype");
        if (i >= count) lockstep_fail("bad_request", "%s: the field `%.64s` does not exist in this adapter", what, name);
        if (strcmp(name, fields[i].name))
            lockstep_fail("bad_request", "%s: field %u is `%.64s` in hello and `%s` in this adapter", what, i, name,
                          fields[i].name);
        if (strcmp(dtype, fields[i].dtype))
            lockstep_fail("bad_request", "%s: the field `%s` is %.16s in hello and %s in this adapter", what, name, dtype,
                          fields[i].dtype);
        uint32_t shape = lockstep_find(place, "shape");
        if (!shape ? fields[i].shape[0] != 0
                   : lockstep.values[shape].type != LOCKSTEP_LIST || !lockstep_shape_equal(shape, fields[i].shape))
            lockstep_fail("bad_request", "%s: the field `%s` has another shape in this adapter", what, name);
    }
    if (i < count) lockstep_fail("bad_request", "%s: hello lacks the field `%s` of this adapter", what, fields[i].name);
}

LOCKSTEP_COLD void lockstep_refuse_unknown_options(void) {
    uint32_t place = lockstep.options ? lockstep.values[lockstep.options].child : 0;
    for (; place; place = lockstep.values[place].next)
        if (!lockstep.values[place].used)
            lockstep_fail("bad_request", "option `%.64s` is unknown to this adapter", lockstep.values[place].key);
}

// Runs `environment_configure` and lays out the lanes.
LOCKSTEP_COLD void lockstep_configure(void) {
    struct lockstep_setup *setup = &lockstep.setup;
    memset(setup, 0, sizeof *setup);
    setup->agents = setup->width = 1;
    setup->reward = "f32";
    environment_configure(setup);
    lockstep_refuse_unknown_options();
    if (setup->agents < 1 || setup->agents > LOCKSTEP_AGENTS_MAX || setup->width < 1 || setup->width > LOCKSTEP_WIDTH_MAX ||
        (!setup->continuous && !setup->action_count) || (setup->mask && setup->action_count > LOCKSTEP_ACTIONS_MAX) ||
        setup->site_count > 256 || setup->grain_count > 64)
        lockstep_fail("exception", "the adapter's setup is out of bounds");
    lockstep.canonical_bytes = lockstep_fields_bytes(setup->canonical, setup->canonical_count, false);
    lockstep.state_bytes = lockstep_fields_bytes(setup->canonical, setup->canonical_count, true);
    lockstep.observation_bytes = lockstep_fields_bytes(setup->observation, setup->observation_count, true);
    lockstep.mask_bytes = setup->mask ? (size_t)(setup->action_count + 31) / 32 * 4 : 0;
    lockstep.reward_bytes = lockstep_dtype_bytes(setup->reward);
    size_t rest = 20 + setup->agents * (lockstep.mask_bytes + lockstep.observation_bytes + lockstep.reward_bytes);
    lockstep.record_bytes = rest + lockstep.canonical_bytes;
    lockstep.raw_bytes = rest + lockstep.state_bytes;
    for (uint32_t i = 0; i < setup->grain_count; i++)
        lockstep.row_bytes[i] = (uint32_t)lockstep_fields_bytes(setup->grains[i].row, setup->grains[i].row_count, true);
    lockstep.grain = LOCKSTEP_NONE;
    lockstep.stride = (setup->lane_bytes + 63) & ~(size_t)63;
}

LOCKSTEP_COLD void lockstep_make_lanes(uint32_t count) {
    free(lockstep.headers);
    free(lockstep.memory);
    lockstep.memory = NULL;
    lockstep.headers = calloc(count, sizeof *lockstep.headers);
    if (lockstep.headers && count <= SIZE_MAX / (lockstep.stride + 1)) {
        // Lanes start on a cache line of their own, and a lane that was never reset is all zero.
        lockstep.memory = aligned_alloc(64, lockstep.stride * count + 64);
        if (lockstep.memory) memset(lockstep.memory, 0, lockstep.stride * count);
    }
    if (!lockstep.memory) lockstep_fail("refused", "no memory for %u lanes of %zu bytes", count, lockstep.setup.lane_bytes);
    lockstep.lane_count = count;
}

LOCKSTEP_HOT struct lane *lockstep_lane(uint32_t lane) {
    return (struct lane *)(void *)(lockstep.memory + lane * lockstep.stride);
}

__attribute__((format(printf, 1, 2))) LOCKSTEP_COLD void lockstep_print(const char *format, ...) {
    char text[1024];
    va_list list;
    va_start(list, format);
    int size = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    size_t bytes = size < (int)sizeof text ? (size_t)size : sizeof text - 1;
    memcpy(lockstep_reply(bytes), text, bytes);
}

// A JSON string in ASCII: an error may quote half a character of what came in.
LOCKSTEP_COLD void lockstep_print_string(const char *text) {
    lockstep_print("\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') lockstep_print("\\%c", *text);
        else if ((unsigned char)*text < 0x20) lockstep_print("\\u%04x", (unsigned char)*text);
        else *lockstep_reply(1) = (unsigned char)*text < 0x7F ? (uint8_t)*text : '?';
    }
    lockstep_print("\"");
}

LOCKSTEP_COLD void lockstep_compare_actions(uint32_t action) {
    const struct lockstep_setup *setup = &lockstep.setup;
    const char *kind = lockstep_string_in(action, "kind");
    if (strcmp(kind, setup->continuous ? "continuous" : "discrete"))
        lockstep_fail("bad_request", "action: `%.32s` in hello and %s in this configuration", kind,
                      setup->continuous ? "continuous" : "discrete");
    if (setup->continuous) return;
    uint32_t count = lockstep_count_in(action, "count", UINT32_MAX), extra = lockstep_count_in(action, "extra", UINT32_MAX);
    uint32_t mask = lockstep_find(action, "mask");
    if (!mask || lockstep.values[mask].type != LOCKSTEP_BOOL)
        lockstep_fail("bad_request", "hello: `mask` is missing or no bool");
    if (count != setup->action_count || extra > setup->action_extra || (lockstep.values[mask].number != 0) != setup->mask)
        lockstep_fail("bad_request", "action: count %u, extra %u, mask %d in hello; count %u, extra %u, mask %d here", count,
                      extra, lockstep.values[mask].number != 0, setup->action_count, setup->action_extra, setup->mask);
    lockstep.setup.action_extra = extra;
}

LOCKSTEP_COLD void lockstep_map_sites(uint32_t draws) {
    uint32_t list = lockstep_list_in(draws, "sites"), named = lockstep_find(draws, "named");
    bool anonymous = named && lockstep.values[named].type == LOCKSTEP_BOOL && lockstep.values[named].number == 0;
    for (uint32_t i = 0; i < lockstep.setup.site_count; i++) {
        uint32_t place = lockstep.values[list].child, number = 0;
        for (; place; place = lockstep.values[place].next, number++)
            if (lockstep.values[place].type == LOCKSTEP_STRING &&
                !strcmp(lockstep.values[place].string, lockstep.setup.sites[i]))
                break;
        if (!place && !anonymous)
            lockstep_fail("bad_request", "draws: hello lacks the site `%s` of this adapter", lockstep.setup.sites[i]);
        lockstep.site_numbers[i] = anonymous ? LOCKSTEP_NONE : number;
    }
}

LOCKSTEP_COLD void lockstep_map_grains(uint32_t list) {
    uint32_t place = lockstep.values[list].child;
    lockstep.grain_count = 0;
    for (; place; place = lockstep.values[place].next) {
        const char *name = lockstep_string_in(place, "name");
        uint32_t number = 0;
        while (number < lockstep.setup.grain_count && strcmp(lockstep.setup.grains[number].name, name)) number++;
        if (number == lockstep.setup.grain_count || lockstep.grain_count == 64)
            lockstep_fail("bad_request", "grains: `%.64s` does not exist in this adapter", name);
        char what[96];
        snprintf(what, sizeof what, "grain `%.64s`", name);
        lockstep_compare(lockstep_list_in(place, "row"), lockstep.setup.grains[number].row,
                         lockstep.setup.grains[number].row_count, what);
        lockstep.grain_numbers[lockstep.grain_count++] = number;
    }
}

LOCKSTEP_COLD void lockstep_hello(char *body, size_t size) {
    if (lockstep.greeted) lockstep_fail("bad_request", "hello was said already");
    lockstep_parse_all(body, size);
    const char *protocol = lockstep_string_in(0, "protocol");
    if (strcmp(protocol, "lockstep/1")) lockstep_fail("bad_request", "protocol `%.64s`: this side speaks lockstep/1", protocol);
    uint32_t configuration = lockstep_find(0, "configuration");
    if (!configuration) lockstep_fail("bad_request", "hello: `configuration` is missing");
    lockstep.options = lockstep_find(configuration, "options");
    const char *hash = lockstep_string_in(configuration, "hash");
    lockstep_configure();
    const struct lockstep_setup *setup = &lockstep.setup;
    const char *environment = lockstep_string_in(0, "environment");
    if (strcmp(environment, setup->environment))
        lockstep_fail("bad_request", "environment `%.64s`: this adapter is for `%s`", environment, setup->environment);
    uint32_t agents = lockstep_count_in(0, "agents", UINT32_MAX), width = lockstep_count_in(0, "width", UINT32_MAX);
    if (agents != setup->agents || width != setup->width)
        lockstep_fail("bad_request", "agents %u, width %u in hello; agents %u, width %u in this configuration", agents, width,
                      setup->agents, setup->width);
    const char *resets = lockstep_string_in(0, "resets");
    if (strcmp(resets, setup->resets_itself ? "reference" : "harness"))
        lockstep_fail("bad_request", "resets: `%.32s` in hello and `%s` here", resets,
                      setup->resets_itself ? "reference" : "harness");
    const char *reward = lockstep_string_in(0, "reward");
    if (strcmp(reward, setup->reward)) lockstep_fail("bad_request", "reward: %.16s in hello and %s here", reward, setup->reward);
    lockstep_compare(lockstep_list_in(0, "canonical"), setup->canonical, setup->canonical_count, "canonical");
    lockstep_compare(lockstep_list_in(0, "observation"), setup->observation, setup->observation_count, "observation");
    lockstep_compare_actions(lockstep_find(0, "action"));
    lockstep_map_sites(lockstep_find(0, "draws"));
    lockstep_map_grains(lockstep_list_in(0, "grains"));
    uint32_t steps_max = lockstep_find(0, "episode_steps_max");
    bool endless = !steps_max || lockstep.values[steps_max].type == LOCKSTEP_NULL;
    lockstep.episode_steps_max = endless ? 0 : lockstep_count_in(0, "episode_steps_max", UINT32_MAX);
    uint32_t offer = lockstep.values[lockstep_list_in(0, "digests")].child;
    while (offer && (lockstep.values[offer].type != LOCKSTEP_STRING || strcmp(lockstep.values[offer].string, "xxh64")))
        offer = lockstep.values[offer].next;
    if (!offer) lockstep_fail("bad_request", "digests: this side has only xxh64");
    uint32_t lanes = lockstep_count_in(0, "lanes", LOCKSTEP_LANES_MAX);
    if (!lanes) lockstep_fail("bad_request", "lanes: at least one is needed");
    lockstep_make_lanes(lanes);
    lockstep.configuration = lockstep_digest(hash, strlen(hash), 0);
    lockstep.greeted = true;

    lockstep_print("{\"protocol\":\"lockstep/1\",\"environment\":");
    lockstep_print_string(setup->environment);
    lockstep_print(",\"name\":");
    lockstep_print_string(setup->name);
    lockstep_print(",\"version\":");
    lockstep_print_string(setup->version);
    lockstep_print(",\"configuration_hash\":");
    lockstep_print_string(hash);
    lockstep_print(",\"digest\":\"xxh64\",\"canonical_bytes\":%zu,\"state_bytes\":%zu,\"observation_bytes\":%zu,"
                   "\"mask_bytes\":%zu,\"reward_bytes\":%zu,\"row_bytes\":[",
                   lockstep.canonical_bytes, lockstep.state_bytes, lockstep.observation_bytes, lockstep.mask_bytes,
                   lockstep.reward_bytes);
    for (uint32_t i = 0; i < lockstep.grain_count; i++)
        lockstep_print("%s%u", i ? "," : "", lockstep.row_bytes[lockstep.grain_numbers[i]]);
    lockstep_print("],\"capabilities\":{\"snapshot\":true,\"inject\":\"full\",\"probe\":[],\"explain\":false,"
                   "\"draw_sites\":true}}");
}

// ---------------------------------------------------------------------------------------------------------------------
// Steps and records
// ---------------------------------------------------------------------------------------------------------------------

// The n-th legal action, counted from 0, where n = token % legal.
LOCKSTEP_HOT uint32_t lockstep_pick(const struct lane *lane, uint32_t agent, uint32_t token) {
    uint32_t mask[LOCKSTEP_ACTIONS_MAX / 32];
    size_t words = lockstep.mask_bytes / 4;
    uint32_t legal = 0;
    memset(mask, 0, lockstep.mask_bytes);
    environment_legal(lane, agent, mask);
    for (size_t i = 0; i < words; i++) legal += (uint32_t)__builtin_popcount(mask[i]);
    if (!legal) return 0;
    uint32_t rank = token % legal;
    for (size_t i = 0; i < words; i++) {
        uint32_t here = (uint32_t)__builtin_popcount(mask[i]);
        if (rank >= here) {
            rank -= here;
            continue;
        }
        uint32_t word = mask[i];
        while (rank--) word &= word - 1;
        return (uint32_t)i * 32 + (uint32_t)__builtin_ctz(word);
    }
    return 0;
}

LOCKSTEP_HOT void lockstep_decode(const struct lane *lane, const uint8_t *tokens, union lockstep_action *actions) {
    const struct lockstep_setup *setup = &lockstep.setup;
    uint32_t deciders = environment_deciders(lane), width = setup->width;
    for (uint32_t agent = 0; agent < setup->agents; agent++) {
        for (uint32_t i = 0; i < width; i++, tokens += 4, actions++) {
            uint32_t token;
            memcpy(&token, tokens, 4);
            if (!(deciders >> agent & 1)) actions->index = 0;
            else if (setup->continuous) actions->index = token >> 1 | token << 31;
            else if (setup->action_extra && token >> 31)
                actions->index = setup->action_count + (token & 0x7FFFFFFFu) % setup->action_extra;
            else if (setup->mask) actions->index = lockstep_pick(lane, agent, token);
            else actions->index = token % setup->action_count;
        }
    }
}

enum { LOCKSTEP_STEP, LOCKSTEP_RESET, LOCKSTEP_INJECT };

// Writes one record at `at`, where there is room for it, and gives its end.
LOCKSTEP_HOT uint8_t *lockstep_record(uint8_t *at, const struct lockstep_header *header, const struct lane *lane, uint32_t kind,
                                      struct lockstep_outcome outcome, uint32_t log_start, bool grain, bool raw) {
    const struct lockstep_setup *setup = &lockstep.setup;
    struct lockstep_writer writer = {at, raw};
    uint32_t deciders = environment_deciders(lane), draws = header->log_count - log_start;
    lockstep_write_u32(&writer, kind | (uint32_t)outcome.terminated << 8 | (uint32_t)outcome.truncated << 9 | deciders << 16);
    lockstep_write_u32(&writer, draws);
    if (__builtin_expect(draws != 0, 0))
        lockstep_write(&writer, header->log + log_start, (size_t)draws * sizeof *header->log);
    if (grain && kind == LOCKSTEP_STEP) {
        uint64_t digest = lockstep_digest(lockstep.rows.at, lockstep.rows.count, 0);
        lockstep_write_u32(&writer, lockstep.row_count);
        lockstep_write(&writer, &digest, 8);
    }
    environment_canonical(lane, &writer);
    if (setup->mask) {
        for (uint32_t agent = 0; agent < setup->agents; agent++) {
            memset(writer.at, 0, lockstep.mask_bytes);
            if (deciders >> agent & 1) {
                uint32_t mask[LOCKSTEP_ACTIONS_MAX / 32];
                memset(mask, 0, lockstep.mask_bytes);
                environment_legal(lane, agent, mask);
                memcpy(writer.at, mask, lockstep.mask_bytes);
            }
            writer.at += lockstep.mask_bytes;
        }
    }
    environment_observations(lane, &writer);
    if (kind == LOCKSTEP_STEP) {
        environment_rewards(lane, &writer);
    } else {
        memset(writer.at, 0, setup->agents * lockstep.reward_bytes);
        writer.at += setup->agents * lockstep.reward_bytes;
    }
    return writer.at;
}

LOCKSTEP_HOT size_t lockstep_record_room(const struct lockstep_header *header, uint32_t log_start, bool raw) {
    return (raw ? lockstep.raw_bytes : lockstep.record_bytes) +
           (size_t)(header->log_count - log_start) * sizeof *header->log;
}

// Appends a record to the window that will be digested, and in modes 1 and 2 to the reply.
LOCKSTEP_HOT void lockstep_emit(const struct lockstep_header *header, const struct lane *lane, uint32_t kind,
                                struct lockstep_outcome outcome, uint32_t log_start, bool grain, uint32_t mode) {
    uint8_t *start = lockstep_room(&lockstep.window, lockstep_record_room(header, log_start, false));
    uint8_t *end = lockstep_record(start, header, lane, kind, outcome, log_start, grain, false);
    lockstep.window.count += (size_t)(end - start);
    if (mode == 0) return;
    size_t place = lockstep.out.count, size = (size_t)(end - start);
    if (mode == 1) {
        uint8_t *at = lockstep_reply(4 + size);
        memcpy(at + 4, start, size);
    } else {
        size_t room = lockstep_record_room(header, log_start, true);
        uint8_t *at = lockstep_reply(4 + room) + 4;
        size = (size_t)(lockstep_record(at, header, lane, kind, outcome, log_start, grain, true) - at);
        lockstep.out.count -= room - size;
    }
    uint32_t prefix = (uint32_t)size;
    memcpy(lockstep.out.at + place, &prefix, 4);
    if (grain) {
        // Only steps have rows; a reset record is followed by an empty list of them.
        size_t bytes = kind == LOCKSTEP_STEP ? lockstep.rows.count : 0;
        lockstep_reply_u32((uint32_t)bytes);
        if (bytes) memcpy(lockstep_reply(bytes), lockstep.rows.at, bytes);
    }
}

LOCKSTEP_COLD void lockstep_restart(struct lockstep_header *header) {
    header->episode++;
    header->elapsed = 0;
    header->draw_index = 0;
    header->block = 0;
}

// Plays one lane's tokens; the caller has checked that they are all there. Gives the number of records, and the number
// of episodes that ended in `ended`. In mode 0 `chains` gets the chain after each window.
LOCKSTEP_HOT uint32_t lockstep_play(struct lockstep_header *header, struct lane *lane, const uint8_t *tokens,
                                    uint32_t step_count, uint32_t window, bool grain, uint32_t mode, uint8_t *chains,
                                    uint32_t *ended) {
    union lockstep_action actions[LOCKSTEP_AGENTS_MAX * LOCKSTEP_WIDTH_MAX];
    size_t stride = (size_t)lockstep.setup.agents * lockstep.setup.width * 4;
    uint32_t records = 0, episodes = 0;
    for (uint32_t step = 0; step < step_count;) {
        uint32_t stop = step_count - step < window ? step_count : step + window;
        lockstep.window.count = 0;
        for (; step < stop; step++, tokens += stride) {
            struct lockstep_outcome outcome = {false, false};
            uint32_t log_start = header->log_count;
            lockstep_decode(lane, tokens, actions);
            if (grain) lockstep.rows.count = 0, lockstep.row_count = 0;
            header->elapsed++;
            environment_step(lane, header, actions, &outcome);
            lockstep_emit(header, lane, LOCKSTEP_STEP, outcome, log_start, grain, mode);
            records++;
            if (__builtin_expect(outcome.terminated || outcome.truncated, 0)) {
                episodes++;
                lockstep_restart(header);
                if (!lockstep.setup.resets_itself) {
                    log_start = header->log_count;
                    environment_reset(lane, header);
                    lockstep_emit(header, lane, LOCKSTEP_RESET, (struct lockstep_outcome){false, false}, log_start, grain, mode);
                    records++;
                }
            }
        }
        header->chain = lockstep_digest(lockstep.window.at, lockstep.window.count, header->chain);
        if (mode == 0) memcpy(chains, &header->chain, 8), chains += 8;
    }
    *ended = episodes;
    return records;
}

// Each kind of loop is its own function, so that what it doesn't do costs nothing.
static __attribute__((noinline, unused)) uint32_t lockstep_play_digests(struct lockstep_header *header, struct lane *lane,
                                                                        const uint8_t *tokens, uint32_t step_count,
                                                                        uint32_t window, uint8_t *chains) {
    uint32_t ended;
    lockstep_play(header, lane, tokens, step_count, window, false, 0, chains, &ended);
    return ended;
}

static __attribute__((noinline, unused)) uint32_t lockstep_play_records(struct lockstep_header *header, struct lane *lane,
                                                                        const uint8_t *tokens, uint32_t step_count,
                                                                        uint32_t window, uint32_t mode, uint8_t *chains,
                                                                        uint32_t *ended) {
    return lockstep_play(header, lane, tokens, step_count, window, lockstep.grain != LOCKSTEP_NONE, mode, chains, ended);
}

// ---------------------------------------------------------------------------------------------------------------------
// The other verbs
// ---------------------------------------------------------------------------------------------------------------------

LOCKSTEP_COLD uint32_t lockstep_take_mode(struct lockstep_reader *reader) {
    uint32_t mode = lockstep_take_u32(reader);
    if (mode > 2) lockstep_fail("bad_request", "mode %u: there are 0, 1 and 2", mode);
    return mode;
}

LOCKSTEP_COLD uint32_t lockstep_take_lane(struct lockstep_reader *reader) {
    uint32_t lane = lockstep_take_u32(reader);
    if (lane >= lockstep.lane_count) lockstep_fail("bad_request", "lane %u: there are %u", lane, lockstep.lane_count);
    return lane;
}

LOCKSTEP_COLD void lockstep_need(uint32_t lane) {
    if (!lockstep.headers[lane].ready) lockstep_fail("bad_request", "lane %u has to be reset, restored or injected first", lane);
}

LOCKSTEP_COLD void lockstep_append(struct lockstep_header *header, const uint8_t *words, uint32_t count) {
    uint64_t total = (uint64_t)header->list_count + count;
    if (total > LOCKSTEP_BODY_BYTES_MAX) lockstep_fail("refused", "the list of draws would have %llu entries", (unsigned long long)total);
    if (total > header->list_capacity) {
        header->list = lockstep_resize(header->list, (size_t)total * 4);
        header->list_capacity = (uint32_t)total;
    }
    if (count) memcpy(header->list + header->list_count, words, (size_t)count * 4);
    header->list_count = (uint32_t)total;
}

// `u32 source, u32 n, n x u32`.
LOCKSTEP_COLD void lockstep_take_source(struct lockstep_reader *reader, struct lockstep_header *header) {
    uint32_t source = lockstep_take_u32(reader), count = lockstep_take_u32(reader);
    if (source > 1) lockstep_fail("bad_request", "source %u: there are 0 (seeded) and 1 (listed)", source);
    if (!source && count) lockstep_fail("bad_request", "a seeded source has no list");
    const uint8_t *words = lockstep_take(reader, (size_t)count * 4);
    header->source = source;
    header->list_count = 0;
    lockstep_append(header, words, count);
}

// The record of a reset or an injection, the start of a chain.
LOCKSTEP_COLD void lockstep_begin_chain(struct lockstep_header *header, const struct lane *lane, uint32_t kind, uint32_t mode) {
    lockstep.window.count = 0;
    lockstep_emit(header, lane, kind, (struct lockstep_outcome){false, false}, 0, false, mode);
    size_t expected = lockstep_record_room(header, 0, false) - 12;
    if (lockstep.window.count != expected)
        lockstep_fail("exception", "the adapter wrote a record of %zu bytes instead of %zu: its fields and what it writes differ",
                      lockstep.window.count, expected);
    header->chain = lockstep_digest(lockstep.window.at, lockstep.window.count, 0);
    if (mode == 0) lockstep_reply_u64(header->chain);
    header->ready = 1;
}

LOCKSTEP_COLD void lockstep_reset(struct lockstep_reader *body) {
    uint32_t mode = lockstep_take_mode(body), count = lockstep_take_u32(body);
    for (; count; count--) {
        uint32_t number = lockstep_take_lane(body);
        struct lockstep_header *header = lockstep.headers + number;
        struct lane *lane = lockstep_lane(number);
        header->ready = 0;
        header->episode = lockstep_take_u32(body);
        header->seed = lockstep_take_u64(body);
        header->stream = lockstep_take_u64(body);
        lockstep_take_source(body, header);
        header->elapsed = header->draw_index = header->place = header->block = header->log_count = 0;
        environment_reset(lane, header);
        lockstep_begin_chain(header, lane, LOCKSTEP_RESET, mode);
    }
    lockstep_take_end(body);
}

LOCKSTEP_COLD void lockstep_inject(struct lockstep_reader *body) {
    uint32_t mode = lockstep_take_mode(body), count = lockstep_take_u32(body);
    for (; count; count--) {
        uint32_t number = lockstep_take_lane(body);
        struct lockstep_header *header = lockstep.headers + number;
        struct lane *lane = lockstep_lane(number);
        header->ready = 0;
        header->episode = lockstep_take_u32(body);
        header->elapsed = lockstep_take_u32(body);
        header->draw_index = lockstep_take_u32(body);
        header->seed = lockstep_take_u64(body);
        header->stream = lockstep_take_u64(body);
        lockstep_take_source(body, header);
        header->block = header->log_count = header->place = 0;
        if (header->source) header->place = header->draw_index;
        struct lockstep_reader state, observations;
        state.left = lockstep_take_u32(body);
        state.at = lockstep_take(body, state.left);
        observations.left = lockstep_take_u32(body);
        observations.at = lockstep_take(body, observations.left);
        size_t expected = lockstep.setup.agents * lockstep.observation_bytes;
        if (state.left != lockstep.state_bytes || observations.left != expected)
            lockstep_fail("bad_request", "a state of %zu bytes and observations of %zu instead of %zu and %zu", state.left,
                          observations.left, lockstep.state_bytes, expected);
        environment_inject(lane, header, &state, &observations);
        if (environment_deciders(lane) >> lockstep.setup.agents)
            lockstep_fail("refused", "a decider that does not exist in this configuration");
        lockstep_begin_chain(header, lane, LOCKSTEP_INJECT, mode);
    }
    lockstep_take_end(body);
}

LOCKSTEP_COLD void lockstep_step_many(struct lockstep_reader *body) {
    uint32_t mode = lockstep_take_mode(body), grain = lockstep_take_u32(body), window = lockstep_take_u32(body);
    uint32_t first = lockstep_take_u32(body), lanes = lockstep_take_u32(body), steps = lockstep_take_u32(body);
    if (grain != LOCKSTEP_NONE && grain >= lockstep.grain_count)
        lockstep_fail("bad_request", "grain %u: there are %u", grain, lockstep.grain_count);
    if (window < 1 || window > 64) lockstep_fail("bad_request", "window %u: it is 1 to 64", window);
    if (first > lockstep.lane_count || lanes > lockstep.lane_count - first)
        lockstep_fail("bad_request", "lanes %u and %u more: there are %u", first, lanes, lockstep.lane_count);
    // No overflow: steps < 2^32, agents x width <= 2^10, lanes <= 2^20.
    uint64_t lane_bytes = (uint64_t)steps * lockstep.setup.agents * lockstep.setup.width * 4;
    if (lanes && (lane_bytes > body->left || lane_bytes * lanes != body->left))
        lockstep_fail("bad_request", "%u lanes of %u steps need another number of tokens than %zu bytes hold", lanes, steps,
                      body->left);
    if (!lanes) lockstep_take_end(body);
    for (uint32_t i = 0; i < lanes; i++) lockstep_need(first + i);
    lockstep.grain = grain == LOCKSTEP_NONE ? LOCKSTEP_NONE : lockstep.grain_numbers[grain];
    uint32_t windows = steps / window + (steps % window != 0);
    for (uint32_t i = 0; i < lanes; i++) {
        struct lockstep_header *header = lockstep.headers + first + i;
        const uint8_t *tokens = lockstep_take(body, (size_t)lane_bytes);
        size_t place = lockstep.out.count;
        uint32_t ended = 0, records = 0;
        header->ready = 0;
        header->log_count = 0;
        if (mode == 0) {
            uint8_t *at = lockstep_reply(4 + (size_t)windows * 8);
            if (lockstep.grain == LOCKSTEP_NONE)
                ended = lockstep_play_digests(header, lockstep_lane(first + i), tokens, steps, window, at + 4);
            else
                lockstep_play_records(header, lockstep_lane(first + i), tokens, steps, window, 0, at + 4, &ended);
        } else {
            lockstep_reply(8);
            records = lockstep_play_records(header, lockstep_lane(first + i), tokens, steps, window, mode, NULL, &ended);
            memcpy(lockstep.out.at + place + 4, &records, 4);
        }
        memcpy(lockstep.out.at + place, &ended, 4);
        header->ready = 1;
    }
    lockstep.grain = LOCKSTEP_NONE;
}

// A snapshot: this, the list of draws, the lane's memory. It is never compared, so its form is this header's affair.
struct lockstep_blob {
    uint64_t digest;                       // of all that follows: a damaged snapshot has to be refused, not played
    uint64_t configuration;
    uint64_t seed, stream, chain;
    uint32_t episode, elapsed, draw_index, source, place, list_count;
};

LOCKSTEP_COLD void lockstep_snapshot(struct lockstep_reader *body) {
    uint32_t count = lockstep_take_u32(body);
    for (; count; count--) {
        uint32_t number = lockstep_take_lane(body);
        lockstep_need(number);
        const struct lockstep_header *header = lockstep.headers + number;
        struct lockstep_blob blob;
        memset(&blob, 0, sizeof blob);
        blob.configuration = lockstep.configuration;
        blob.seed = header->seed, blob.stream = header->stream, blob.chain = header->chain;
        blob.episode = header->episode, blob.elapsed = header->elapsed, blob.draw_index = header->draw_index;
        blob.source = header->source, blob.place = header->place, blob.list_count = header->list_count;
        size_t list = (size_t)blob.list_count * 4, lane = lockstep.setup.lane_bytes;
        size_t size = sizeof blob + list + lane;
        uint8_t *at = lockstep_reply(4 + size) + 4;
        uint32_t prefix = (uint32_t)size;
        memcpy(at - 4, &prefix, 4);
        if (list) memcpy(at + sizeof blob, header->list, list);
        // Packed in a lane of its own, for alignment.
        uint8_t *copy = lockstep_resize(NULL, lane);
        memcpy(copy, lockstep_lane(number), lane);
        environment_pack((struct lane *)(void *)copy);
        memcpy(at + sizeof blob + list, copy, lane);
        free(copy);
        memcpy(at, &blob, sizeof blob);
        blob.digest = lockstep_digest(at + 8, size - 8, 0);
        memcpy(at, &blob.digest, 8);
    }
    lockstep_take_end(body);
}

LOCKSTEP_COLD void lockstep_restore(struct lockstep_reader *body) {
    uint32_t count = lockstep_take_u32(body);
    for (; count; count--) {
        uint32_t number = lockstep_take_lane(body), size = lockstep_take_u32(body);
        const uint8_t *at = lockstep_take(body, size);
        struct lockstep_header *header = lockstep.headers + number;
        struct lockstep_blob blob;
        if (size < sizeof blob) lockstep_fail("bad_request", "lane %u: this is no snapshot", number);
        memcpy(&blob, at, sizeof blob);
        uint64_t expected = sizeof blob + (uint64_t)blob.list_count * 4 + lockstep.setup.lane_bytes;
        if (blob.configuration != lockstep.configuration || size != expected)
            lockstep_fail("bad_request", "lane %u: this is no snapshot of this configuration", number);
        if (blob.digest != lockstep_digest(at + 8, size - 8, 0))
            lockstep_fail("bad_request", "lane %u: the snapshot is damaged", number);
        header->ready = 0;
        header->seed = blob.seed, header->stream = blob.stream, header->chain = blob.chain;
        header->episode = blob.episode, header->elapsed = blob.elapsed, header->draw_index = blob.draw_index;
        header->source = blob.source, header->place = blob.place;
        header->block = header->log_count = header->list_count = 0;
        lockstep_append(header, at + sizeof blob, blob.list_count);
        memcpy(lockstep_lane(number), at + sizeof blob + (size_t)blob.list_count * 4, lockstep.setup.lane_bytes);
        environment_unpack(lockstep_lane(number));
        header->ready = 1;
    }
    lockstep_take_end(body);
}

LOCKSTEP_COLD void lockstep_draws(struct lockstep_reader *body) {
    struct lockstep_header *header = lockstep.headers + lockstep_take_lane(body);
    uint32_t operation = lockstep_take_u32(body);
    if (operation == 0) {
        lockstep_take_end(body);
        size_t bytes = (size_t)header->log_count * sizeof *header->log;
        lockstep_reply_u32(header->log_count);
        if (bytes) memcpy(lockstep_reply(bytes), header->log, bytes);
    } else if (operation == 1) {
        uint32_t count = lockstep_take_u32(body);
        const uint8_t *words = lockstep_take(body, (size_t)count * 4);
        lockstep_take_end(body);
        if (!header->source) header->source = 1, header->place = 0, header->list_count = 0;
        lockstep_append(header, words, count);
    } else {
        lockstep_fail("bad_request", "draws: operation %u: there are 0 and 1", operation);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The channel
// ---------------------------------------------------------------------------------------------------------------------

enum { LOCKSTEP_READ_FD = 3, LOCKSTEP_WRITE_FD = 4 };

// Reads until the buffer holds `target` bytes, and no further: the next frame is not ours yet. False at the end of the stream.
LOCKSTEP_COLD bool lockstep_fill(size_t target) {
    // One byte more than asked for: JSON gets its NUL there.
    if (lockstep.in.capacity < target + 1) {
        lockstep.in.at = lockstep_resize(lockstep.in.at, target + 1);
        lockstep.in.capacity = target + 1;
    }
    while (lockstep.in.count < target) {
        ssize_t got = read(LOCKSTEP_READ_FD, lockstep.in.at + lockstep.in.count, target - lockstep.in.count);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) lockstep_die("reading from descriptor 3 failed");
        if (got == 0) return false;
        lockstep.in.count += (size_t)got;
    }
    return true;
}

LOCKSTEP_COLD void lockstep_send(uint32_t sequence, uint8_t verb, uint8_t status) {
    uint32_t size = (uint32_t)(lockstep.out.count - 16);
    uint8_t *at = lockstep.out.at, *end = at + lockstep.out.count;
    memcpy(at, "LKS1", 4);
    memcpy(at + 4, &size, 4);
    memcpy(at + 8, &sequence, 4);
    at[12] = verb, at[13] = status, at[14] = at[15] = 0;
    while (at < end) {
        ssize_t put = write(LOCKSTEP_WRITE_FD, at, (size_t)(end - at));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) lockstep_die("writing to descriptor 4 failed");
        at += put;
    }
}

LOCKSTEP_COLD __attribute__((noinline)) void lockstep_serve(uint8_t verb, int rest, uint8_t *at, size_t size) {
    struct lockstep_reader body = {at, size};
    if (rest) lockstep_fail("bad_request", "the last three bytes of a request's header are 0");
    if (!lockstep.greeted && verb != 1 && verb != 10) lockstep_fail("bad_request", "hello comes first");
    switch (verb) {
    case 1: lockstep_hello((char *)at, size); break;
    case 2: lockstep_reset(&body); break;
    case 3: lockstep_step_many(&body); break;
    case 4: lockstep_snapshot(&body); break;
    case 5: lockstep_restore(&body); break;
    case 6: lockstep_inject(&body); break;
    case 7: lockstep_draws(&body); break;
    case 8: lockstep_fail("refused", "this adapter has no functions to probe");
    case 9: lockstep_fail("refused", "this adapter can't explain its steps");
    case 10: lockstep_take_end(&body); break;
    default: lockstep_fail("bad_request", "verb %u is unknown", verb);
    }
}

LOCKSTEP_COLD void lockstep_answer_error(void) {
    char error[sizeof lockstep.error];
    memcpy(error, lockstep.error, sizeof error);
    lockstep.out.count = 16;
    lockstep.grain = LOCKSTEP_NONE;
    lockstep_print("{\"kind\":\"%s\",\"error\":", lockstep.kind);
    lockstep_print_string(error);
    lockstep_print(",\"where\":[{\"file\":");
    lockstep_print_string(lockstep.file);
    lockstep_print(",\"line\":%d,\"function\":", lockstep.line);
    lockstep_print_string(lockstep.function);
    lockstep_print(",\"text\":\"\"}]}");
}

// Serves the frame in `in` and leaves the reply in `out`; gives its status. A failure jumps back to here.
LOCKSTEP_COLD __attribute__((noinline)) uint8_t lockstep_answer(size_t size) {
    const uint8_t *frame = lockstep.in.at;
    lockstep.out.count = 0;
    lockstep_reply(16);
    if (setjmp(lockstep.trap) == 0) {
        lockstep_serve(frame[12], frame[13] | frame[14] | frame[15], lockstep.in.at + 16, size);
        return 0;
    }
    lockstep_answer_error();
    return 1;
}

LOCKSTEP_COLD int lockstep_main(void) {
    uint32_t size, sequence;
    // A judge that is gone is an error of writing, with a message.
    signal(SIGPIPE, SIG_IGN);
    lockstep.trapped = true;
    for (;;) {
        lockstep.in.count = 0;
        if (!lockstep_fill(16)) {
            if (lockstep.in.count) lockstep_die("the stream ended in the middle of a header");
            return 0;
        }
        memcpy(&size, lockstep.in.at + 4, 4);
        memcpy(&sequence, lockstep.in.at + 8, 4);
        if (memcmp(lockstep.in.at, "LKS1", 4)) lockstep_die("this is no frame: its first four bytes are not LKS1");
        if (size > LOCKSTEP_BODY_BYTES_MAX) lockstep_die("a frame is larger than 256 MiB");
        if (!lockstep_fill(16 + (size_t)size)) lockstep_die("the stream ended in the middle of a frame");
        uint8_t verb = lockstep.in.at[12], status = lockstep_answer(size);
        lockstep_send(sequence, verb, status);
        if (verb == 10 && status == 0) return 0;
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Bare mode: the same steps without protocol, records or digests, to compare speeds with
// ---------------------------------------------------------------------------------------------------------------------

static __attribute__((noinline, unused)) void lockstep_play_bare(struct lockstep_header *header, struct lane *lane,
                                                                 const uint8_t *tokens, uint32_t step_count) {
    union lockstep_action actions[LOCKSTEP_AGENTS_MAX * LOCKSTEP_WIDTH_MAX];
    size_t stride = (size_t)lockstep.setup.agents * lockstep.setup.width * 4;
    header->log_count = 0;
    for (uint32_t step = 0; step < step_count; step++, tokens += stride) {
        struct lockstep_outcome outcome = {false, false};
        lockstep_decode(lane, tokens, actions);
        header->elapsed++;
        environment_step(lane, header, actions, &outcome);
        if (__builtin_expect(outcome.terminated || outcome.truncated, 0)) {
            lockstep_restart(header);
            if (!lockstep.setup.resets_itself) environment_reset(lane, header);
        }
    }
}

LOCKSTEP_COLD double lockstep_cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

LOCKSTEP_COLD uint64_t lockstep_parse_count(const char *text, const char *what, uint64_t most) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value < 1 || value > most)
        lockstep_fail("bad_request", "%s has to be a whole number from 1 to %llu", what, (unsigned long long)most);
    return value;
}

LOCKSTEP_COLD void lockstep_prepare_bare(uint32_t lanes, const char *options) {
    size_t size = strlen(options);
    char *text = lockstep_resize(NULL, size + 32);
    size = (size_t)snprintf(text, size + 32, "{\"options\":%s}", options);
    lockstep_parse_all(text, size);
    lockstep.options = lockstep_find(0, "options");
    lockstep_configure();
    lockstep_make_lanes(lanes);
    for (uint32_t lane = 0; lane < lanes; lane++) {
        lockstep.headers[lane].stream = lane;
        environment_reset(lockstep_lane(lane), lockstep.headers + lane);
    }
}

// Chunks of 64 steps per lane, as the judge plays them.
enum { LOCKSTEP_BARE_STEPS = 64 };

LOCKSTEP_COLD int lockstep_bare(int argc, char **argv) {
    uint64_t wanted = lockstep_parse_count(argv[2], "the number of steps", 1ull << 48), played = 0;
    uint32_t lanes = argc > 3 ? (uint32_t)lockstep_parse_count(argv[3], "the number of lanes", LOCKSTEP_LANES_MAX) : 1024;
    lockstep_prepare_bare(lanes, argc > 4 ? argv[4] : "{}");
    size_t width = (size_t)lockstep.setup.agents * lockstep.setup.width, count = LOCKSTEP_BARE_STEPS * width;
    uint32_t *tokens = lockstep_resize(NULL, count * 4);
    uint64_t generator = 1;
    double start = lockstep_cpu_seconds();
    while (played < wanted) {
        for (uint32_t lane = 0; lane < lanes && played < wanted; lane++) {
            uint32_t steps = wanted - played < LOCKSTEP_BARE_STEPS ? (uint32_t)(wanted - played) : LOCKSTEP_BARE_STEPS;
            for (size_t i = 0; i < count; i++) {
                generator = generator * 6364136223846793005ull + 1442695040888963407ull;
                // The top bit would mean an odd action, and in continuous mode any bits at all.
                tokens[i] = (uint32_t)(generator >> 33);
                if (lockstep.setup.continuous) {
                    float action = (float)(int32_t)(tokens[i] - (1u << 30)) * 0x1p-30f;
                    uint32_t bits;
                    memcpy(&bits, &action, 4);
                    tokens[i] = bits << 1 | bits >> 31;
                }
            }
            lockstep_play_bare(lockstep.headers + lane, lockstep_lane(lane), (const uint8_t *)tokens, steps);
            played += steps;
        }
    }
    printf("{\"steps\":%llu,\"cpu_seconds\":%.6f}\n", (unsigned long long)played, lockstep_cpu_seconds() - start);
    free(tokens);
    return 0;
}

LOCKSTEP_COLD int lockstep_bare_tokens(int argc, char **argv) {
    uint32_t lanes = (uint32_t)lockstep_parse_count(argv[3], "the number of lanes", LOCKSTEP_LANES_MAX);
    uint64_t steps = lockstep_parse_count(argv[4], "the number of steps per lane", UINT32_MAX);
    lockstep_prepare_bare(lanes, argc > 5 ? argv[5] : "{}");
    size_t lane_bytes = (size_t)steps * lockstep.setup.agents * lockstep.setup.width * 4;
    FILE *file = fopen(argv[2], "rb");
    if (!file) lockstep_fail("bad_request", "%s can't be opened", argv[2]);
    // Each frame of lanes x steps tokens is played in turn, so that a file of many frames is the same run as the judge's.
    uint64_t played = 0;
    double seconds = 0;
    uint8_t *tokens = lockstep_resize(NULL, lane_bytes * lanes);
    while (fread(tokens, 1, lane_bytes * lanes, file) == lane_bytes * lanes) {
        double start = lockstep_cpu_seconds();
        for (uint32_t lane = 0; lane < lanes; lane++)
            lockstep_play_bare(lockstep.headers + lane, lockstep_lane(lane), tokens + lane * lane_bytes, (uint32_t)steps);
        seconds += lockstep_cpu_seconds() - start;
        played += lanes * steps;
    }
    fclose(file);
    free(tokens);
    if (!played) lockstep_fail("bad_request", "%s holds fewer than %u x %llu tokens", argv[2], lanes, (unsigned long long)steps);
    printf("{\"steps\":%llu,\"cpu_seconds\":%.6f}\n", (unsigned long long)played, seconds);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 1) return lockstep_main();
    if (argc >= 3 && argc <= 5 && !strcmp(argv[1], "--bare")) return lockstep_bare(argc, argv);
    if (argc >= 5 && argc <= 6 && !strcmp(argv[1], "--bare-tokens")) return lockstep_bare_tokens(argc, argv);
    fprintf(stderr, "usage: %s                                            serves lockstep/1 on descriptors 3 and 4\n"
                    "       %s --bare STEPS [LANES [OPTIONS]]             plays and prints its CPU time\n"
                    "       %s --bare-tokens FILE LANES STEPS [OPTIONS]   the same with the tokens of a file\n",
            argv[0], argv[0], argv[0]);
    return 2;
}

#endif
