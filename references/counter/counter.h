// The rules of counter in C: count up to a limit, alone or in a duel; counter.py is the same in Python.
//
// A lane is `struct lane`, of which `memory` is only as long as the configuration says. Arithmetic on `value` and
// `purse` wraps, because an injected state may hold any number.
#ifndef COUNTER_H
#define COUNTER_H

#include "lockstep.h"

enum { WAIT, UP, DOWN, LEAP };
enum { GUST, LEAP_SITE };
enum { PULSE };
enum counter_draws { SERVED, EXACT, RECORDED };

static struct {
    uint32_t agents;
    int32_t limit;
    uint32_t memory_bytes;
    enum counter_draws draws;
} counter;

struct lane {
    int32_t value;
    uint32_t deciders;                     // a bit set
    int32_t purse[2];
    uint32_t tick;
    uint32_t generator;                    // draws = "exact": part of the state, so that a backend can port it
    float reward[2];
    float view[2][3];
    uint8_t memory[];
};

static inline int32_t counter_plus(int32_t number, int32_t more) { return (int32_t)((uint32_t)number + (uint32_t)more); }

// The generator behind draws = "recorded". It hashes the place of the draw and keeps nothing, so that an injected
// lane goes on as if it had been played.
static uint32_t counter_own_word(const struct lockstep_header *header) {
    uint64_t z = header->seed + header->stream * 0x9E3779B97F4A7C15u + ((uint64_t)header->episode << 32 | header->draw_index);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

static uint32_t counter_below(struct lane *lane, struct lockstep_header *header, uint32_t bound, uint32_t site) {
    if (counter.draws == SERVED) return lockstep_below(header, bound, site);
    uint32_t word;
    if (counter.draws == EXACT) word = lane->generator = lane->generator * 1664525u + 1013904223u;
    else word = counter_own_word(header);
    uint32_t value = (uint32_t)((uint64_t)word * bound >> 32);
    lockstep_noted(header, site, bound, value);
    return value;
}

static inline bool counter_legal(const struct lane *lane, uint32_t agent, uint32_t action) {
    switch (action) {
    case DOWN: return lane->value > 0;
    case LEAP: return lane->purse[agent] > 0;
    default: return true;
    }
}

static void counter_look(struct lane *lane) {
    for (uint32_t agent = 0; agent < counter.agents; agent++) {
        lane->view[agent][0] = (float)lane->value / (float)counter.limit;
        lane->view[agent][1] = (float)lane->purse[agent];
        lane->view[agent][2] = lane->deciders >> agent & 1 ? 1.0f : 0.0f;
    }
}

static void counter_reset(struct lane *lane, const struct lockstep_header *header) {
    memset(lane, 0, sizeof *lane + counter.memory_bytes);
    lane->deciders = (1u << counter.agents) - 1;
    if (counter.draws == EXACT)
        lane->generator = (uint32_t)header->seed ^ (uint32_t)header->stream * 0x9E3779B9u ^ header->episode * 0x85EBCA6Bu;
    counter_look(lane);
}

static void counter_pulse(struct lane *lane, uint32_t agent) {
    if (lockstep_wants(PULSE)) {
        struct { uint32_t agent; int32_t value; } row = {agent, lane->value};
        lockstep_row(&row, sizeof row);
    }
    if (counter.memory_bytes) lane->memory[((uint32_t)lane->value * 257u + lane->tick) % counter.memory_bytes]++;
}

static void counter_act(struct lane *lane, struct lockstep_header *header, uint32_t agent, uint32_t action) {
    switch (action) {
    case WAIT:
        lane->purse[agent] = counter_plus(lane->purse[agent], 1);
        break;
    case UP:
        for (uint32_t n = 1 + counter_below(lane, header, 3, GUST); n; n--) {
            lane->value = counter_plus(lane->value, 1);
            counter_pulse(lane, agent);
        }
        // QUIRK(Counter.step, tenth_of_a_point_is_a_single): 0.1 rounded to f32, not the double.
        lane->reward[agent] += 0.1f;
        break;
    case DOWN:
        lane->value = counter_plus(lane->value, -1);
        counter_pulse(lane, agent);
        break;
    case LEAP:
        lane->purse[agent] = counter_plus(lane->purse[agent], -1);
        lane->value = counter_plus(lane->value, (int32_t)counter_below(lane, header, 6, LEAP_SITE));
        break;
    }
}

// Gives whether the limit was reached.
static bool counter_step(struct lane *lane, struct lockstep_header *header, const union lockstep_action *actions) {
    uint32_t leapt = 0, all = (1u << counter.agents) - 1;
    bool terminated = false;
    lane->tick++;
    lane->reward[0] = lane->reward[1] = 0;
    for (uint32_t agent = 0; agent < counter.agents && !terminated; agent++) {
        if (!(lane->deciders >> agent & 1)) continue;
        counter_act(lane, header, agent, actions[agent].index);
        if (actions[agent].index == LEAP) leapt |= 1u << agent;
        if (lane->value >= counter.limit) {
            for (uint32_t other = 0; other < counter.agents; other++) lane->reward[other] += other == agent ? 1.0f : -1.0f;
            terminated = true;
        }
    }
    bool one_leapt = counter.agents == 2 && lane->deciders == all && (leapt == 1 || leapt == 2);
    lane->deciders = one_leapt ? all & ~leapt : all;
    // QUIRK(Counter.step, leap_leaves_the_observation_stale): nobody's observation is rewritten, unless the episode ends.
    if (!leapt || terminated) counter_look(lane);
    return terminated;
}

#endif
