// For an environment of one's own in PufferLib's manner: a struct that points to its observations, actions, rewards and
// terminals, one function that resets it and one that steps it. An adapter includes lockstep.h, then this, then the
// environment's own file. `lockstep new --from FILE.c:STRUCT` writes such an adapter.
//
// While a lane is played the C library's generators ask Lockstep, so that a game does not depend on the other games of the
// process:
//     rand(), random(), lrand48()     one draw below 2^31, which is the number
//     drand48()                       below(2^24) = a, then below(2^24) = b; the number is (a * 2^24 + b) / 2^48
//     srand(), srandom(), srand48()   do nothing
// A generator of the environment's own, rand_r() included, is state like any other: keep its number in the struct.
#ifndef LOCKSTEP_OWN_H
#define LOCKSTEP_OWN_H

#include <limits.h>

#include "lockstep.h"

// The lane that is being played.
static struct lockstep_header *own_header;

enum { OWN_RAND, OWN_RANDOM, OWN_LRAND48, OWN_DRAND48, OWN_GENERATORS };

#ifdef OWN_WATCH
// `lockstep new` looks at what the environment does: how often it asked, and whether its step resets it.
static uint32_t own_asked[OWN_GENERATORS];
static uint32_t own_resets;
#endif

LOCKSTEP_COLD uint32_t own_below(uint32_t bound, int generator) {
    static const char *const names[OWN_GENERATORS] = {"rand()", "random()", "lrand48()", "drand48()"};
    if (!own_header)
        lockstep_fail("exception", "%s is asked before the first reset: a lane has no draws there; move it to the reset",
                      names[generator]);
#ifdef OWN_WATCH
    own_asked[generator]++;
#endif
    return lockstep_below(own_header, bound, LOCKSTEP_NONE);
}

LOCKSTEP_COLD int own_rand(void) { return (int)own_below(1u << 31, OWN_RAND); }
LOCKSTEP_COLD long own_random(void) { return (long)own_below(1u << 31, OWN_RANDOM); }
LOCKSTEP_COLD long own_lrand48(void) { return (long)own_below(1u << 31, OWN_LRAND48); }

LOCKSTEP_COLD double own_drand48(void) {
    double high = own_below(1u << 24, OWN_DRAND48);
    return (high * 16777216.0 + own_below(1u << 24, OWN_DRAND48)) / 281474976710656.0;
}

LOCKSTEP_COLD void own_seed(long seed) { (void)seed; }

#define rand own_rand
#define random own_random
#define lrand48 own_lrand48
#define drand48 own_drand48
#define srand own_seed
#define srandom own_seed
#define srand48 own_seed
#undef RAND_MAX
#define RAND_MAX 2147483647

// An option that is a double.
LOCKSTEP_COLD double own_option_f64(const char *name, double otherwise) {
    struct lockstep_value *value = lockstep_option(name, LOCKSTEP_NUMBER, "a number");
    return value ? value->number : otherwise;
}

// For `environment_inject`: the next value of the state goes to `place`, if it lies within the limits. NaN does not.
#define OWN_TAKE(state, place, low, high)                                                                               \
    do {                                                                                                                \
        __typeof__(place) own_value;                                                                                    \
        lockstep_read((state), &own_value, sizeof own_value);                                                           \
        if (!(own_value >= (low) && own_value <= (high)))                                                               \
            lockstep_fail("refused", "`%s` is beyond %s to %s, see environment_inject in the adapter", #place, #low, #high); \
        (place) = own_value;                                                                                            \
    } while (0)

// The same for a bool, of which any byte but 0 and 1 would be undefined.
#define OWN_TAKE_BOOL(state, place)                                                                                     \
    do {                                                                                                                \
        uint8_t own_value;                                                                                              \
        lockstep_read((state), &own_value, 1);                                                                          \
        if (own_value > 1) lockstep_fail("refused", "`%s` is neither 0 nor 1", #place);                                 \
        (place) = own_value;                                                                                            \
    } while (0)

#ifdef OWN_WATCH
// What a buffer of observations holds before the environment writes to it.
#define OWN_UNTOUCHED 0x5A

// How many entries were written: those up to the last one that is not as it was.
LOCKSTEP_COLD uint32_t own_extent(const void *buffer, size_t size, size_t entry) {
    const uint8_t *bytes = buffer;
    while (size && bytes[size - 1] == OWN_UNTOUCHED) size--;
    return (uint32_t)((size + entry - 1) / entry);
}
#endif

#endif
