// Lets a C++ compiler build an environment's CUDA source for the CPU: a launch is a loop over lanes.
//
// It stands before lockstep.cuh. A violated LS_HOLDS does not touch memory; the launch goes on and its message is what
// the launcher returns, for Rust to panic with.
#pragma once

#include <stdio.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "fast-math gives other bits than the reference"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0
#error "f32 is not computed in f32 here, which gives other bits than the reference"
#endif

#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __popc(word) __builtin_popcount(word)
#define __ffs(word) __builtin_ffs(word)

// There is one thread at a time, so these would silently do something else than on a GPU.
#define __syncthreads() static_assert(false, "lanes do not wait for each other")

struct LsDim {
    unsigned x, y, z;
};

static thread_local LsDim threadIdx, blockIdx;
static const LsDim blockDim = {32, 1, 1};

static thread_local const char* ls_fault_text;
static thread_local char ls_fault_message[256];

static inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, 4);
    return bits;
}

static inline double __longlong_as_double(long long bits) {
    double value;
    memcpy(&value, &bits, 8);
    return value;
}

static inline long long __double_as_longlong(double value) {
    long long bits;
    memcpy(&bits, &value, 8);
    return bits;
}

static __attribute__((cold, noinline)) bool ls_fault(const char* text) {
    if (!ls_fault_text) ls_fault_text = text;
    return false;
}

#define LS_HOLDS(condition, text) (__builtin_expect(!!(condition), 1) || ls_fault(text))

// A lane's state and regions stand together: one CPU thread plays one lane for many steps.
#define LS_STATE_AT(word, words, lane, lane_count) ((void)(lane_count), (u64)(lane) * (words) + (word))
#define LS_REGION_AT(word, words, lane) ((u64)(lane) * (words) + (word))
#define LS_ALIGNED(at) false

/// Calls `kernel` for each lane; the first fault, or null.
template <class Kernel>
static inline const char* ls_launch(unsigned lane_count, Kernel kernel) {
    ls_fault_text = nullptr;
    for (unsigned lane = 0; lane < lane_count; lane++) {
        blockIdx.x = lane / blockDim.x;
        threadIdx.x = lane % blockDim.x;
        kernel();
        if (__builtin_expect(ls_fault_text != nullptr, 0)) {
            snprintf(ls_fault_message, sizeof ls_fault_message, "%s (lane %u of %u)", ls_fault_text, lane, lane_count);
            return ls_fault_message;
        }
    }
    return nullptr;
}

// `LS_HOST_TABLE(env, Rules)` exports `env_cuda_host`, the table that harness/core/src/host.rs reads. Bump the version
// with it.
#define LS_TABLE_VERSION 3

#define LS_HOST_TABLE(env, Rules)                                                                                     \
    static const char* host_reset(u32 count, const LsLanes* lanes, const LsRecords* records, const void* world,       \
                                  const LsShape* shape, const u8* which, u32 named) {                                 \
        const Rules::World* typed = (const Rules::World*)world;                                                       \
        return ls_launch(count, [&] { env##_reset(count, *lanes, *records, typed, shape, which, named); });           \
    }                                                                                                                 \
    static const char* host_step_many(u32 count, const LsLanes* lanes, const LsRecords* records, const void* world,   \
                                      const LsShape* shape, const LsSteps* steps) {                                   \
        const Rules::World* typed = (const Rules::World*)world;                                                       \
        return ls_launch(count, [&] { env##_step_many(count, *lanes, *records, typed, shape, *steps); });             \
    }                                                                                                                 \
    static const char* host_step(u32 count, const LsLanes* lanes, u32* heads, const void* world,                      \
                                 const LsShape* shape, const u32* tokens) {                                           \
        const Rules::World* typed = (const Rules::World*)world;                                                       \
        return ls_launch(count, [&] { env##_step(count, *lanes, heads, typed, shape, tokens); });                     \
    }                                                                                                                 \
    static const char* host_rollout(u32 count, const LsRollout* rollout, const LsLanes* lanes, const void* world,     \
                                    const LsShape* shape) {                                                           \
        const Rules::World* typed = (const Rules::World*)world;                                                       \
        return ls_launch(count, [&] { env##_rollout(count, *rollout, *lanes, typed, shape); });                       \
    }                                                                                                                 \
    static const char* host_observe(u32 count, u8* observations, const LsLanes* lanes, const void* world,             \
                                    const LsShape* shape) {                                                           \
        const Rules::World* typed = (const Rules::World*)world;                                                       \
        return ls_launch(count, [&] { env##_observe(count, observations, *lanes, typed, shape); });                   \
    }                                                                                                                 \
    static const char* host_legal(u32 count, const LsLanes* lanes, const void* world, const LsShape* shape) {         \
        const Rules::World* typed = (const Rules::World*)world;                                                       \
        return ls_launch(count, [&] { env##_legal(count, *lanes, typed, shape); });                                   \
    }                                                                                                                 \
    static const char* host_inject(u32 count, u32* refused, const LsLanes* lanes, const LsRecords* records,           \
                                   const void* world, const LsShape* shape, const u8* canonical) {                    \
        const Rules::World* typed = (const Rules::World*)world;                                                       \
        return ls_launch(count, [&] { env##_inject(count, refused, *lanes, *records, typed, shape, canonical); });    \
    }                                                                                                                 \
    static void host_limits(u32 grain_count, u32* draws_max, u32* rows_max, const void* world) {                      \
        env##_limits(grain_count, draws_max, rows_max, (const Rules::World*)world);                                   \
    }                                                                                                                 \
    static const LsTable table = {LS_TABLE_VERSION, sizeof(LsTable), env##_layout, host_limits,  host_reset, host_step_many,\
                                  host_step,        host_rollout,    host_observe, host_legal,   host_inject};        \
    extern "C" const LsTable* env##_cuda_host(void) {                                                                 \
        return &table;                                                                                                \
    }

struct LsShape;
struct LsLanes;
struct LsRecords;
struct LsSteps;
struct LsRollout;

/// What Rust calls; launchers return null or the first fault.
struct LsTable {
    unsigned version;
    unsigned size;
    void (*layout)(unsigned capacity, unsigned* words);
    void (*limits)(unsigned grain_count, unsigned* draws_max, unsigned* rows_max, const void* world);
    const char* (*reset)(unsigned count, const LsLanes*, const LsRecords*, const void* world, const LsShape*,
                         const unsigned char* which, unsigned named);
    const char* (*step_many)(unsigned count, const LsLanes*, const LsRecords*, const void* world, const LsShape*,
                             const LsSteps*);
    const char* (*step)(unsigned count, const LsLanes*, unsigned* heads, const void* world, const LsShape*,
                        const unsigned* tokens);
    const char* (*rollout)(unsigned count, const LsRollout*, const LsLanes*, const void* world, const LsShape*);
    const char* (*observe)(unsigned count, unsigned char* observations, const LsLanes*, const void* world,
                           const LsShape*);
    const char* (*legal)(unsigned count, const LsLanes*, const void* world, const LsShape*);
    const char* (*inject)(unsigned count, unsigned* refused, const LsLanes*, const LsRecords*, const void* world,
                          const LsShape*, const unsigned char* canonical);
};
