// Puts counter's rules (counter.h) behind the protocol: options, fields, and how a lane is written and taken over.
#include "lockstep.h"

#include "counter.h"

static const char *const sites[] = {"gust", "leap"};
static const struct lockstep_field pulse_row[] = {{.name = "agent", .dtype = "u32"}, {.name = "value", .dtype = "i32"}};
static const struct lockstep_grain grains[] = {{"pulse", pulse_row, 2}};
static const struct lockstep_field observation[] = {{"view", "f32", {3}}};
static const struct lockstep_field canonical[] = {
    {.name = "value", .dtype = "i32"}, {.name = "deciders", .dtype = "u32"},  {"purse", "i32", {2}},
    {.name = "tick", .dtype = "u32"},  {.name = "generator", .dtype = "u32"}, {"memory", "region", {65536}},
};

static void environment_configure(struct lockstep_setup *setup) {
    const char *draws = lockstep_option_string("draws", "served");
    counter.agents = (uint32_t)lockstep_option_integer("agents", 1, 1, 2);
    counter.limit = (int32_t)lockstep_option_integer("limit", 10, 1, 1000);
    counter.memory_bytes = (uint32_t)lockstep_option_integer("memory", 0, 0, 65536);
    if (counter.memory_bytes % 65536) lockstep_fail("bad_request", "option `memory` has to be 0 or 65536");
    if (!strcmp(draws, "served")) counter.draws = SERVED;
    else if (!strcmp(draws, "exact")) counter.draws = EXACT;
    else if (!strcmp(draws, "recorded")) counter.draws = RECORDED;
    else lockstep_fail("bad_request", "option `draws` has to be served, exact or recorded");

    setup->environment = "counter";
    setup->name = "counter.h";
    setup->version = "1";
    setup->lane_bytes = sizeof(struct lane) + counter.memory_bytes;
    setup->agents = counter.agents;
    setup->action_count = 4;
    setup->mask = true;
    setup->canonical = canonical;
    setup->canonical_count = counter.memory_bytes ? 6 : 5;
    setup->observation = observation;
    setup->observation_count = 1;
    setup->sites = sites;
    setup->site_count = 2;
    setup->grains = grains;
    setup->grain_count = 1;
}

static void environment_reset(struct lane *lane, struct lockstep_header *header) { counter_reset(lane, header); }

static void environment_step(struct lane *lane, struct lockstep_header *header, const union lockstep_action *actions,
                             struct lockstep_outcome *outcome) {
    outcome->terminated = counter_step(lane, header, actions);
    outcome->truncated = lockstep_reached_the_end(header);
}

static uint32_t environment_deciders(const struct lane *lane) { return lane->deciders; }

static void environment_legal(const struct lane *lane, uint32_t agent, uint32_t *mask) {
    for (uint32_t action = WAIT; action <= LEAP; action++) *mask |= (uint32_t)counter_legal(lane, agent, action) << action;
}

static void environment_canonical(const struct lane *lane, struct lockstep_writer *writer) {
    // `value` to `generator` lie in the lane as on the wire.
    lockstep_write(writer, lane, offsetof(struct lane, reward));
    if (counter.memory_bytes) lockstep_write_region(writer, lane->memory, counter.memory_bytes);
}

static void environment_observations(const struct lane *lane, struct lockstep_writer *writer) {
    for (uint32_t agent = 0; agent < counter.agents; agent++) lockstep_write(writer, lane->view[agent], sizeof lane->view[agent]);
}

static void environment_rewards(const struct lane *lane, struct lockstep_writer *writer) {
    for (uint32_t agent = 0; agent < counter.agents; agent++) lockstep_write_f32(writer, lane->reward[agent]);
}

static void environment_inject(struct lane *lane, struct lockstep_header *header, struct lockstep_reader *state,
                               struct lockstep_reader *observations) {
    (void)header;
    memset(lane, 0, sizeof *lane);
    lockstep_read(state, lane, offsetof(struct lane, reward));
    if (!lane->deciders || lane->deciders >> counter.agents)
        lockstep_fail("refused", "nobody decides: deciders is 0x%x", lane->deciders);
    lockstep_read(state, lane->memory, counter.memory_bytes);
    lockstep_read(observations, lane->view, counter.agents * sizeof lane->view[0]);
}

static void environment_pack(struct lane *lane) { (void)lane; }
static void environment_unpack(struct lane *lane) { (void)lane; }
