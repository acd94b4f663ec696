// What every environment's rules.cuh is built on: words, packed bytes, draws, regions, masks, and where results go.
//
// It follows harness/core/src/{bytes,draws,rules,shape}.rs. The same text is compiled for a GPU and, behind
// host_shim.h, for the CPU, and both must give the bits that Rust gives. So: no libm, no fused multiply-add, no
// float atomics, no header of the host; signed numbers wrap through `ls_add`, the smaller of two is `a < b ? a : b`.
#pragma once

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef short i16;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;
typedef long long i64;
typedef float f32;
typedef double f64;

#define LS_FN __device__ __forceinline__

// What must hold before memory is touched. The host build looks and tells; a GPU build relies on the interpreter of
// its PTX having looked.
#ifndef LS_HOLDS
#define LS_HOLDS(condition, text) (true)
#endif

// Whether a packed word stands where a device can touch it in one go. Rules that pack nothing but whole words (canonical
// fields, observations and rows are multiples of 4 bytes) define LS_PACKS_WORDS and save the question; where that is
// not so, the interpreter of the PTX stops at the first word out of place. The host build leaves it to its compiler,
// which joins the bytes anyway.
#ifndef LS_ALIGNED
#ifdef LS_PACKS_WORDS
#define LS_ALIGNED(at) true
#else
#define LS_ALIGNED(at) (((u64)(at) & 3) == 0)
#endif
#endif

// Where word `word` of lane `lane`'s state stands: word-major, so that 32 lanes read 32 neighbours. The host build
// keeps a lane together instead.
#ifndef LS_STATE_AT
#define LS_STATE_AT(word, words, lane, lane_count) ((u64)(word) * (lane_count) + (lane))
#endif

// Where word `word` of lane `lane`'s regions stands: interleaved by warp.
#ifndef LS_REGION_AT
#define LS_REGION_AT(word, words, lane) (((u64)((lane) / 32) * (words) + (word)) * 32 + (lane) % 32)
#endif

const u32 LS_GRAIN_NONE = 0xFFFFFFFFu;
const u32 LS_SITE_UNNAMED = 0xFFFFFFFFu;
const u32 LS_REGIONS_MAX = 8;
const u32 LS_GRAINS_MAX = 16;

// --- shape.rs

const u32 LS_DISCRETE = 0;
const u32 LS_CONTINUOUS = 1;

/// The sizes of one configuration, filled by Rust.
struct LsShape {
    u32 agents;
    u32 width;
    u32 action;              // LS_DISCRETE or LS_CONTINUOUS
    u32 count;               // ordinary actions
    u32 extra;               // odd values behind them
    u32 mask_words;          // 0 without a mask
    u32 canonical_bytes;     // without regions
    u32 canonical_regions;   // each is 8 bytes of digest in a record
    u32 observation_bytes;
    u32 episode_steps_max;   // 0 for none
    u32 resets;              // 1: the driver resets after an episode; 0: the rules did
    u32 region_words;        // of all regions of a lane
    u32 region_first[LS_REGIONS_MAX];   // the first word of each region
    u32 region_bytes[LS_REGIONS_MAX];
    u32 row_bytes[LS_GRAINS_MAX];
};

// --- bytes.rs

/// Writes packed little-endian values, and nothing past its end.
struct LsWriter {
    u8* at;
    u8* end;

    LS_FN bool room(u32 size) { return LS_HOLDS((u64)(end - at) >= size, "a writer went past its end"); }

    LS_FN void put_u8(u8 value) {
        if (!room(1)) return;
        at[0] = value;
        at += 1;
    }

    LS_FN void put_u16(u16 value) {
        if (!room(2)) return;
        for (u32 i = 0; i < 2; i++) at[i] = (u8)(value >> 8 * i);
        at += 2;
    }

    LS_FN void put_u32(u32 value) {
        if (!room(4)) return;
        if (LS_ALIGNED(at)) {
            memcpy(__builtin_assume_aligned(at, 4), &value, 4);
        } else {
            at[0] = (u8)value;
            at[1] = (u8)(value >> 8);
            at[2] = (u8)(value >> 16);
            at[3] = (u8)(value >> 24);
        }
        at += 4;
    }

    LS_FN void put_u64(u64 value) {
        put_u32((u32)value);
        put_u32((u32)(value >> 32));
    }

    LS_FN void put_i8(i8 value) { put_u8((u8)value); }
    LS_FN void put_i16(i16 value) { put_u16((u16)value); }
    LS_FN void put_i32(i32 value) { put_u32((u32)value); }
    LS_FN void put_i64(i64 value) { put_u64((u64)value); }
    LS_FN void put_f32(f32 value) { put_u32(__float_as_uint(value)); }
    LS_FN void put_f64(f64 value) { put_u64((u64)__double_as_longlong(value)); }

    LS_FN void put(const void* bytes, u32 size) {
        if (!room(size)) return;
        memcpy(at, bytes, size);
        at += size;
    }
};

/// Reads packed little-endian values; past its end it gives 0.
struct LsReader {
    const u8* at;
    const u8* end;

    LS_FN u8 byte() {
        if (!LS_HOLDS(at < end, "a reader went past its end")) return 0;
        return *at++;
    }

    LS_FN u32 get_u32() {
        if (LS_ALIGNED(at) && (u64)(end - at) >= 4) {
            u32 whole;
            memcpy(&whole, __builtin_assume_aligned(at, 4), 4);
            at += 4;
            return whole;
        }
        u32 value = byte();
        value |= (u32)byte() << 8;
        value |= (u32)byte() << 16;
        return value | (u32)byte() << 24;
    }

    LS_FN u64 get_u64() {
        u64 low = get_u32();
        return low | (u64)get_u32() << 32;
    }

    LS_FN u8 get_u8() { return byte(); }
    LS_FN i8 get_i8() { return (i8)byte(); }
    LS_FN u16 get_u16() {
        u16 low = byte();
        return (u16)(low | (u16)byte() << 8);
    }
    LS_FN i16 get_i16() { return (i16)get_u16(); }
    LS_FN i32 get_i32() { return (i32)get_u32(); }
    LS_FN i64 get_i64() { return (i64)get_u64(); }
    LS_FN f32 get_f32() { return __uint_as_float(get_u32()); }
    LS_FN f64 get_f64() { return __longlong_as_double((i64)get_u64()); }
};

// --- numbers

/// `wrapping_add` of signed words, which C++ leaves undefined.
LS_FN i32 ls_add(i32 a, i32 b) {
    return (i32)((u32)a + (u32)b);
}

/// The value without its sign bit.
LS_FN f32 ls_abs(f32 value) {
    return __uint_as_float(__float_as_uint(value) & 0x7FFFFFFFu);
}

// --- draws.rs

LS_FN u32 ls_rotate_left(u32 word, u32 count) {
    return word << count | word >> (32 - count);
}

struct LsFour {
    u32 x[4];
};

LS_FN void ls_two_rounds(LsFour& f, u32 a, u32 b, u32 c, u32 d) {
    f.x[0] += f.x[1];
    f.x[1] = ls_rotate_left(f.x[1], a) ^ f.x[0];
    f.x[2] += f.x[3];
    f.x[3] = ls_rotate_left(f.x[3], b) ^ f.x[2];
    f.x[0] += f.x[3];
    f.x[3] = ls_rotate_left(f.x[3], c) ^ f.x[0];
    f.x[2] += f.x[1];
    f.x[1] = ls_rotate_left(f.x[1], d) ^ f.x[2];
}

LS_FN void ls_inject_keys(LsFour& f, const u32* keys, u32 injection) {
    for (u32 i = 0; i < 4; i++) f.x[i] += keys[(injection + i) % 5];
    f.x[3] += injection;
}

/// Threefry-4x32 with 20 rounds.
LS_FN LsFour ls_threefry(LsFour key, LsFour counter) {
    u32 keys[5] = {key.x[0], key.x[1], key.x[2], key.x[3], 0x1BD11BDAu ^ key.x[0] ^ key.x[1] ^ key.x[2] ^ key.x[3]};
    LsFour f = counter;
    for (u32 i = 0; i < 4; i++) f.x[i] += keys[i];
    for (u32 injection = 1; injection <= 5; injection++) {
        if (injection % 2 == 1) {
            ls_two_rounds(f, 10, 26, 11, 21);
            ls_two_rounds(f, 13, 27, 23, 5);
        } else {
            ls_two_rounds(f, 6, 20, 17, 11);
            ls_two_rounds(f, 25, 10, 18, 20);
        }
        ls_inject_keys(f, keys, injection);
    }
    return f;
}

/// Draw number `index` of an episode, as a whole word.
LS_FN u32 ls_draw_word(u64 seed, u64 stream, u32 episode, u32 index) {
    LsFour key = {{(u32)seed, (u32)(seed >> 32), (u32)stream, (u32)(stream >> 32)}};
    LsFour counter = {{index >> 2, episode, 0, 0}};
    return ls_threefry(key, counter).x[index & 3];
}

/// Maps a whole word to a number below `bound`.
LS_FN u32 ls_scale(u32 word, u32 bound) {
    return (u32)((u64)word * bound >> 32);
}

/// What a lane's results follow, beside its state and its tokens.
struct LsHeader {
    u64 seed;
    u64 stream;
    u64 list_place;   // the next value of the list
    u32 episode;
    u32 elapsed;
    u32 draw_index;
    u32 deciders;     // who decides next, one bit each; derived from the state
    u32 listed;       // 1: draws come from the list; 0: from the generator
    u32 unused;
};

/// A lane's list of draws.
struct LsList {
    const u32* values;
    u64 count;
};

/// Where the rules' random numbers come from, and the log of them, which can be absent.
struct LsDraws {
    LsHeader* header;
    LsList list;
    LsWriter* log;   // null: nobody reads it
    u32 named;       // 0: sites are logged as unnamed
    u32 count;       // draws logged
};

LS_FN void ls_push(LsDraws& draws, u32 site, u64 bound, u64 value) {
    if (draws.log) {
        draws.log->put_u32(draws.named ? site : LS_SITE_UNNAMED);
        draws.log->put_u64(bound);
        draws.log->put_u64(value);
    }
    draws.count += 1;
}

LS_FN u32 ls_next(LsDraws& draws) {
    LsHeader& header = *draws.header;
    if (header.listed) {
        u32 value = header.list_place < draws.list.count ? draws.list.values[header.list_place] : 0;
        header.list_place += 1;
        return value;
    }
    header.draw_index += 1;
    return ls_draw_word(header.seed, header.stream, header.episode, header.draw_index - 1);
}

/// A number below `bound`, uniform; `bound` is at least 1.
LS_FN u32 ls_below(LsDraws& draws, u32 bound, u32 site) {
    u32 listed = draws.header->listed;
    u32 word = ls_next(draws);
    u32 value = listed ? word % bound : ls_scale(word, bound);
    ls_push(draws, site, bound, value);
    return value;
}

/// A whole random word.
LS_FN u32 ls_word(LsDraws& draws, u32 site) {
    u32 word = ls_next(draws);
    ls_push(draws, site, (u64)1 << 32, word);
    return word;
}

/// Notes a draw that the rules made by themselves, from a ported generator whose state is part of the lane.
LS_FN void ls_note(LsDraws& draws, u64 bound, u64 value, u32 site) {
    ls_push(draws, site, bound, value);
}

// --- rules.rs

/// Where an episode begins.
struct LsStart {
    u64 seed;
    u64 stream;
    u32 episode;
};

/// How a step ended.
struct LsOutcome {
    bool terminated;
    bool truncated;
};

/// The legal actions of one agent, one bit each.
struct LsMask {
    u32* words;
};

LS_FN void ls_allow(LsMask& mask, u32 action) {
    mask.words[action / 32] |= 1u << action % 32;
}

/// Memory of a lane that is too large for its state.
struct LsRegions {
    u32* words;   // of all lanes
    const LsShape* shape;
    u32 lane;
};

LS_FN bool ls_inside(const LsRegions& regions, u32 region, u32 offset, u32 size) {
    return LS_HOLDS(region < LS_REGIONS_MAX && (u64)offset + size <= regions.shape->region_bytes[region],
                    "an offset lies outside its region") &&
           LS_HOLDS(offset % size == 0, "an offset is not a multiple of its word");
}

LS_FN u32* ls_region_word(const LsRegions& regions, u32 region, u32 offset) {
    u32 word = regions.shape->region_first[region] + offset / 4;
    return regions.words + LS_REGION_AT(word, regions.shape->region_words, regions.lane);
}

LS_FN u8 ls_load8(const LsRegions& regions, u32 region, u32 offset) {
    if (!ls_inside(regions, region, offset, 1)) return 0;
    return (u8)(*ls_region_word(regions, region, offset) >> 8 * (offset % 4));
}

LS_FN void ls_store8(LsRegions& regions, u32 region, u32 offset, u8 value) {
    if (!ls_inside(regions, region, offset, 1)) return;
    u32* word = ls_region_word(regions, region, offset);
    u32 shift = 8 * (offset % 4);
    *word = (*word & ~(0xFFu << shift)) | (u32)value << shift;
}

LS_FN u32 ls_load32(const LsRegions& regions, u32 region, u32 offset) {
    if (!ls_inside(regions, region, offset, 4)) return 0;
    return *ls_region_word(regions, region, offset);
}

LS_FN void ls_store32(LsRegions& regions, u32 region, u32 offset, u32 value) {
    if (!ls_inside(regions, region, offset, 4)) return;
    *ls_region_word(regions, region, offset) = value;
}

/// Sets all bytes of a region to 0.
LS_FN void ls_clear(LsRegions& regions, u32 region) {
    if (!LS_HOLDS(region < LS_REGIONS_MAX, "there is no such region")) return;
    for (u32 offset = 0; offset < regions.shape->region_bytes[region]; offset += 4) {
        *ls_region_word(regions, region, offset) = 0;
    }
}

/// Where a step's results go. What is not rewritten stays as it was.
template <class Reward>
struct LsOut {
    const LsShape* shape;
    u8* observations;   // of all agents of this lane; null: nobody looks at them
    Reward* rewards;
    u32 grain;          // the one whose rows are wanted, or LS_GRAIN_NONE
    LsWriter* rows;
    u32 row_count;

    /// Whether `agent`'s observation is wanted; `writer` is then its place.
    LS_FN bool observation(u32 agent, LsWriter& writer) {
        if (!observations || !LS_HOLDS(agent < shape->agents, "there is no such agent")) return false;
        writer.at = observations + agent * shape->observation_bytes;
        writer.end = writer.at + shape->observation_bytes;
        return true;
    }

    /// Sets the reward of `agent` for this step; it is 0 before.
    LS_FN void reward(u32 agent, Reward value) {
        if (LS_HOLDS(agent < shape->agents, "there is no such agent")) rewards[agent] = value;
    }

    /// Whether rows of this grain are asked for.
    LS_FN bool wants(u32 which) const { return which == grain; }

    /// Whether a row of this grain is asked for; `writer` is then its place.
    LS_FN bool row(u32 which, LsWriter& writer) {
        if (which != grain || !rows->room(shape->row_bytes[which])) return false;
        writer.at = rows->at;
        writer.end = rows->at + shape->row_bytes[which];
        for (u8* byte = writer.at; byte < writer.end; byte++) *byte = 0;
        rows->at = writer.end;
        row_count += 1;
        return true;
    }
};

/// Tells sizes and offsets, which one test compares with those of Rust.
struct LsLayout {
    u32* words;
    u32 capacity;
    u32 count;

    LS_FN void put(u64 value) {
        if (count < capacity) words[count] = (u32)value;
        count += 1;
    }

    LS_FN void field(const void* base, const void* field) { put((u64)((const u8*)field - (const u8*)base)); }
};

#include "kernels.cuh"
