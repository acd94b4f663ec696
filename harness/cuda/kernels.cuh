// One lane's verbs over any rules, and the kernels that are made of them: one thread, one lane.
//
// It follows harness/core/src/{token,lane}.rs. A kernel takes the batch size first and outputs before inputs. Records
// are written in the form of docs/protocol.md; the digests in them are left 0 and filled in by who launched the kernel.
// What a policy reads (observations, rewards, masks) is row-major, [lane][agent]; state and regions are laid out by
// LS_STATE_AT and LS_REGION_AT.
#pragma once

// --- token.rs

LS_FN u32 ls_nth_legal(const u32* mask, u32 words, u32 token) {
    u32 legal = 0;
    for (u32 i = 0; i < words; i++) legal += (u32)__popc(mask[i]);
    if (legal == 0) return 0;
    u32 left = token % legal;
    for (u32 i = 0; i < words; i++) {
        u32 word = mask[i];
        u32 ones = (u32)__popc(word);
        if (left < ones) {
            for (u32 j = 0; j < left; j++) word &= word - 1;
            return i * 32 + (u32)__ffs((i32)word) - 1;
        }
        left -= ones;
    }
    return 0;
}

/// The action of one token.
LS_FN u32 ls_decode(const LsShape& shape, const u32* mask, u32 token) {
    if (shape.action == LS_CONTINUOUS) return token >> 1 | token << 31;
    if (shape.extra > 0 && token >> 31 == 1) return shape.count + (token & 0x7FFFFFFFu) % shape.extra;
    if (shape.mask_words > 0) return ls_nth_legal(mask, shape.mask_words, token);
    return token % shape.count;
}

/// One action per agent and width; those of waiting agents are 0.
LS_FN void ls_decode_step(const LsShape& shape, u32 deciders, const u32* masks, const u32* tokens, u32* actions) {
    for (u32 agent = 0; agent < shape.agents; agent++) {
        for (u32 i = agent * shape.width; i < (agent + 1) * shape.width; i++) {
            bool decides = (deciders >> agent & 1) == 1;
            actions[i] = decides ? ls_decode(shape, masks + agent * shape.mask_words, tokens[i]) : 0;
        }
    }
}

// --- device/rollout.rs

/// The tokens that a rollout plays: numbered words of a lane's own sequence, four of which are made at once.
struct LsTokens {
    u64 seed;
    u64 stream;
    u32 next;        // the number of the next word
    u32 block;       // the four that `four` holds, if `any`
    u32 any;
    LsFour four;

    LS_FN u32 word() {
        u32 wanted = next >> 2;
        if (!any || block != wanted) {
            LsFour key = {{(u32)seed, (u32)(seed >> 32), (u32)stream, (u32)(stream >> 32)}};
            LsFour counter = {{wanted, 0, 0, 0}};
            four = ls_threefry(key, counter);
            block = wanted;
            any = 1;
        }
        u32 place = next & 3;
        next += 1;
        // No index that is known only at run time: the four words stay in registers.
        u32 low = place & 1 ? four.x[1] : four.x[0];
        u32 high = place & 1 ? four.x[3] : four.x[2];
        return place & 2 ? high : low;
    }

    /// An ordinary action; a continuous one lies between -1 and 1.
    LS_FN u32 token(const LsShape& shape) {
        u32 drawn = word();
        if (shape.action != LS_CONTINUOUS) return drawn >> 1;
        f32 value = (f32)(i32)(drawn >> 8) * 0.00000011920928955078125f - 1.0f;
        u32 bits = __float_as_uint(value);
        return bits << 1 | bits >> 31;
    }
};

/// Chains a word to a digest. For each word it maps digests one to one, so two chains that differ once stay different
/// while the words after it are equal.
LS_FN u64 ls_chain(u64 digest, u32 word) {
    digest = (digest ^ word) * 0x9E3779B97F4A7C15ull;
    return digest ^ digest >> 29;
}

LS_FN u64 ls_chain_bytes(u64 digest, const u8* bytes, u32 size) {
    LsReader reader = {bytes, bytes + size};
    u32 at = 0;
    for (; at + 4 <= size; at += 4) digest = ls_chain(digest, reader.get_u32());
    for (; at < size; at++) digest = ls_chain(digest, reader.get_u8());
    return digest;
}

// --- lane.rs

const u32 LS_HEAD_STEP = 0;
const u32 LS_HEAD_RESET = 1;
const u32 LS_HEAD_INJECT = 2;
const u32 LS_TERMINATED = 1 << 8;
const u32 LS_TRUNCATED = 1 << 9;

/// The arrays over lanes.
struct LsLanes {
    LsHeader* headers;
    u32* states;
    u32* regions;
    u8* observations;
    void* rewards;       // of the rules' type
    u32* masks;
    const LsList* lists;
    u32 first;           // the lane of a launch's first thread
    u32 stride;          // all lanes of these arrays
};

/// Where records go: a stretch of bytes for each lane, of which `used` are taken.
struct LsRecords {
    u8* bytes;           // null: nobody reads records
    u32* used;
    u8* rows;            // rows of the grain that is asked for, in the order of the records
    u32* rows_used;
    u32* ended;          // episodes ended, counted up
    u32 stride;
    u32 rows_stride;
};

/// The tokens of a launch and what is asked for.
struct LsSteps {
    const u32* tokens;   // of the first step of the first lane
    u32 tokens_stride;   // from lane to lane
    u32 step_count;
    u32 grain;
    u32 resets;          // 1: a lane whose episode ended is reset here, where the shape says that it is to be reset
    u32 named;
};

/// A rollout that samples its own actions and leaves no records.
struct LsRollout {
    u64* digests;        // of all that each lane has said, chained; null: nobody compares
    u32* played;         // steps of each lane so far, counted up: they number its tokens
    u32* ended;          // episodes ended, counted up
    u32* heads;          // of each lane's last step
    u64 seed;            // of the tokens
    u32 step_count;
    u32 unused;
};

/// One lane while a kernel works on it: header and state in registers, the rest in place.
template <class Rules>
struct LsLane {
    typename Rules::State state;
    LsHeader header;
    LsRegions regions;
    LsList list;
    u8* observations;
    typename Rules::Reward* rewards;
    u32* masks;
};

template <class Rules>
LS_FN LsLane<Rules> ls_load(const LsLanes& lanes, const LsShape& shape, u32 lane) {
    LsLane<Rules> self;
    const u32 words = sizeof(typename Rules::State) / 4;
    u32 state[words];
    for (u32 i = 0; i < words; i++) state[i] = lanes.states[LS_STATE_AT(i, words, lane, lanes.stride)];
    memcpy(&self.state, state, sizeof state);
    self.header = lanes.headers[lane];
    self.regions.words = lanes.regions;
    self.regions.shape = &shape;
    self.regions.lane = lane;
    self.list = lanes.lists[lane];
    self.observations = lanes.observations + (u64)lane * shape.agents * shape.observation_bytes;
    self.rewards = (typename Rules::Reward*)lanes.rewards + (u64)lane * shape.agents;
    self.masks = lanes.masks + (u64)lane * shape.agents * shape.mask_words;
    return self;
}

template <class Rules>
LS_FN void ls_store(const LsLane<Rules>& self, const LsLanes& lanes, u32 lane) {
    const u32 words = sizeof(typename Rules::State) / 4;
    u32 state[words];
    memcpy(state, &self.state, sizeof state);
    for (u32 i = 0; i < words; i++) lanes.states[LS_STATE_AT(i, words, lane, lanes.stride)] = state[i];
    lanes.headers[lane] = self.header;
}

template <class Rules>
LS_FN LsOut<typename Rules::Reward> ls_out(LsLane<Rules>& self, const LsShape& shape, u32 grain, LsWriter* rows) {
    LsOut<typename Rules::Reward> out = {&shape, self.observations, self.rewards, grain, rows, 0};
    return out;
}

/// Derives deciders and masks from the state.
template <class Rules>
LS_FN void ls_refresh(LsLane<Rules>& self, const typename Rules::World& world, const LsShape& shape) {
    self.header.deciders = Rules::deciders(world, self.state);
    if (shape.mask_words == 0) return;
    for (u32 agent = 0; agent < shape.agents; agent++) {
        LsMask mask = {self.masks + agent * shape.mask_words};
        for (u32 i = 0; i < shape.mask_words; i++) mask.words[i] = 0;
        if ((self.header.deciders >> agent & 1) == 1) Rules::legal(world, self.state, self.regions, agent, mask);
    }
}

template <class Rules>
LS_FN void ls_no_rewards(LsLane<Rules>& self, const LsShape& shape) {
    for (u32 agent = 0; agent < shape.agents; agent++) self.rewards[agent] = 0;
}

/// Starts the episode that the header names; returns the number of draws.
template <class Rules>
LS_FN u32 ls_reset_logged(LsLane<Rules>& self, const typename Rules::World& world, const LsShape& shape, u32 named,
                          LsWriter* log) {
    ls_no_rewards<Rules>(self, shape);
    LsStart start = {self.header.seed, self.header.stream, self.header.episode};
    LsDraws draws = {&self.header, self.list, log, named, 0};
    LsOut<typename Rules::Reward> out = ls_out<Rules>(self, shape, LS_GRAIN_NONE, nullptr);
    Rules::reset(world, self.state, self.regions, start, draws, out);
    ls_refresh<Rules>(self, world, shape);
    return draws.count;
}

/// Plays the tokens of one step.
template <class Rules>
LS_FN LsOutcome ls_step_logged(LsLane<Rules>& self, const typename Rules::World& world, const LsShape& shape,
                               const u32* tokens, LsDraws& draws, LsOut<typename Rules::Reward>& out) {
    u32 actions[Rules::AGENTS * Rules::WIDTH];
    ls_decode_step(shape, self.header.deciders, self.masks, tokens, actions);
    ls_no_rewards<Rules>(self, shape);
    LsOutcome outcome = Rules::step(world, self.state, self.regions, actions, draws, out);
    self.header.elapsed += 1;
    if (shape.episode_steps_max > 0 && self.header.elapsed >= shape.episode_steps_max) outcome.truncated = true;
    if (outcome.terminated || outcome.truncated) {
        self.header.episode += 1;
        self.header.elapsed = 0;
        self.header.draw_index = 0;
    }
    ls_refresh<Rules>(self, world, shape);
    return outcome;
}

LS_FN u32 ls_flags(LsOutcome outcome) {
    return (outcome.terminated ? LS_TERMINATED : 0) | (outcome.truncated ? LS_TRUNCATED : 0);
}

/// Leaves room for head and draw count.
LS_FN LsWriter ls_begin(LsWriter& writer) {
    LsWriter head = {writer.at, writer.at + 8};
    writer.put_u64(0);
    return head;
}

template <class Rules>
LS_FN void ls_finish_record(const LsLane<Rules>& self, const typename Rules::World& world, const LsShape& shape,
                            LsWriter& writer, LsWriter head, u32 kind, u32 draw_count) {
    head.put_u32(kind | self.header.deciders << 16);
    head.put_u32(draw_count);
    if (!writer.room(shape.canonical_bytes)) return;
    LsWriter canonical = {writer.at, writer.at + shape.canonical_bytes};
    Rules::canonical(world, self.state, canonical);
    if (!LS_HOLDS(canonical.at == canonical.end, "canonical wrote less than canonical_bytes")) return;
    writer.at = canonical.end;
    for (u32 i = 0; i < shape.canonical_regions; i++) writer.put_u64(0);
    writer.put(self.masks, 4 * shape.agents * shape.mask_words);
    writer.put(self.observations, shape.agents * shape.observation_bytes);
    writer.put(self.rewards, shape.agents * (u32)sizeof(typename Rules::Reward));
}

template <class Rules>
LS_FN void ls_record_reset(LsLane<Rules>& self, const typename Rules::World& world, const LsShape& shape, u32 named,
                           LsWriter& writer) {
    LsWriter head = ls_begin(writer);
    u32 count = ls_reset_logged<Rules>(self, world, shape, named, &writer);
    ls_finish_record<Rules>(self, world, shape, writer, head, LS_HEAD_RESET, count);
}

template <class Rules>
LS_FN LsOutcome ls_record_step(LsLane<Rules>& self, const typename Rules::World& world, const LsShape& shape,
                               const LsSteps& steps, const u32* tokens, LsWriter* rows, LsWriter& writer) {
    LsWriter head = ls_begin(writer);
    LsDraws draws = {&self.header, self.list, &writer, steps.named, 0};
    LsOut<typename Rules::Reward> out = ls_out<Rules>(self, shape, steps.grain, rows);
    LsOutcome outcome = ls_step_logged<Rules>(self, world, shape, tokens, draws, out);
    if (steps.grain != LS_GRAIN_NONE) {
        writer.put_u32(out.row_count);
        writer.put_u64(0);
    }
    ls_finish_record<Rules>(self, world, shape, writer, head, LS_HEAD_STEP | ls_flags(outcome), draws.count);
    return outcome;
}

// --- kernels

LS_FN u32 ls_thread() {
    return blockIdx.x * blockDim.x + threadIdx.x;
}

LS_FN LsWriter ls_record_writer(const LsRecords& records, u32 thread) {
    u8* base = records.bytes + (u64)thread * records.stride;
    LsWriter writer = {base + records.used[thread], base + records.stride};
    return writer;
}

LS_FN void ls_keep(const LsRecords& records, u32 thread, const LsWriter& writer) {
    records.used[thread] = (u32)(writer.at - (records.bytes + (u64)thread * records.stride));
}

/// Resets the lanes whose byte in `which` is not 0 (all if it is null).
template <class Rules>
LS_FN void ls_kernel_reset(u32 lane_count, const LsLanes& lanes, const LsRecords& records,
                           const typename Rules::World& world, const LsShape& shape, const u8* which, u32 named) {
    u32 thread = ls_thread();
    if (thread >= lane_count || (which && which[thread] == 0)) return;
    LsLane<Rules> self = ls_load<Rules>(lanes, shape, lanes.first + thread);
    if (records.bytes) {
        LsWriter writer = ls_record_writer(records, thread);
        ls_record_reset<Rules>(self, world, shape, named, writer);
        ls_keep(records, thread, writer);
    } else {
        ls_reset_logged<Rules>(self, world, shape, named, nullptr);
    }
    ls_store<Rules>(self, lanes, lanes.first + thread);
}

/// Plays `step_count` steps of each lane and writes their records.
template <class Rules>
LS_FN void ls_kernel_step_many(u32 lane_count, const LsLanes& lanes, const LsRecords& records,
                               const typename Rules::World& world, const LsShape& shape, const LsSteps& steps) {
    u32 thread = ls_thread();
    if (thread >= lane_count) return;
    LsLane<Rules> self = ls_load<Rules>(lanes, shape, lanes.first + thread);
    LsWriter writer = ls_record_writer(records, thread);
    LsWriter rows = {nullptr, nullptr};
    u8* rows_base = records.rows + (u64)thread * records.rows_stride;
    if (steps.grain != LS_GRAIN_NONE) {
        rows.at = rows_base + records.rows_used[thread];
        rows.end = rows_base + records.rows_stride;
    }
    u32 width = shape.agents * shape.width;
    const u32* tokens = steps.tokens + (u64)thread * steps.tokens_stride;
    u32 ended = 0;
    for (u32 i = 0; i < steps.step_count; i++) {
        LsOutcome outcome = ls_record_step<Rules>(self, world, shape, steps, tokens + i * width, &rows, writer);
        if (outcome.terminated || outcome.truncated) {
            ended += 1;
            if (shape.resets && steps.resets) ls_record_reset<Rules>(self, world, shape, steps.named, writer);
        }
    }
    ls_keep(records, thread, writer);
    records.ended[thread] += ended;
    if (steps.grain != LS_GRAIN_NONE) records.rows_used[thread] = (u32)(rows.at - rows_base);
    ls_store<Rules>(self, lanes, lanes.first + thread);
}

/// Plays one step of each lane without a record, as training does: `heads` gets the flags and who decides next. A
/// lane whose episode ended is reset at once.
template <class Rules>
LS_FN void ls_kernel_step(u32 lane_count, const LsLanes& lanes, u32* heads, const typename Rules::World& world,
                          const LsShape& shape, const u32* tokens) {
    u32 thread = ls_thread();
    if (thread >= lane_count) return;
    LsLane<Rules> self = ls_load<Rules>(lanes, shape, lanes.first + thread);
    LsDraws draws = {&self.header, self.list, nullptr, 0, 0};
    LsOut<typename Rules::Reward> out = ls_out<Rules>(self, shape, LS_GRAIN_NONE, nullptr);
    const u32* mine = tokens + (u64)thread * shape.agents * shape.width;
    LsOutcome outcome = ls_step_logged<Rules>(self, world, shape, mine, draws, out);
    if (shape.resets && (outcome.terminated || outcome.truncated)) {
        typename Rules::Reward rewards[Rules::AGENTS] = {};
        for (u32 agent = 0; agent < shape.agents; agent++) rewards[agent] = self.rewards[agent];
        ls_reset_logged<Rules>(self, world, shape, 0, nullptr);
        for (u32 agent = 0; agent < shape.agents; agent++) self.rewards[agent] = rewards[agent];
    }
    heads[thread] = ls_flags(outcome) | self.header.deciders << 16;
    ls_store<Rules>(self, lanes, lanes.first + thread);
}

/// Everything that a lane says after a step, chained to its digest.
template <class Rules>
LS_FN u64 ls_digest_step(const LsLane<Rules>& self, const LsShape& shape, u32 head, u64 digest) {
    digest = ls_chain(digest, head);
    const u32 words = sizeof(typename Rules::State) / 4;
    u32 state[words];
    memcpy(state, &self.state, sizeof state);
    for (u32 i = 0; i < words; i++) digest = ls_chain(digest, state[i]);
    for (u32 agent = 0; agent < shape.agents; agent++) {
        typename Rules::Reward reward = self.rewards[agent];
        u32 parts[sizeof(typename Rules::Reward) / 4];
        memcpy(parts, &reward, sizeof parts);
        for (u32 i = 0; i < sizeof parts / 4; i++) digest = ls_chain(digest, parts[i]);
    }
    for (u32 i = 0; i < shape.agents * shape.mask_words; i++) digest = ls_chain(digest, self.masks[i]);
    if (!self.observations) return digest;
    return ls_chain_bytes(digest, self.observations, shape.agents * shape.observation_bytes);
}

/// Plays `step_count` steps of each lane with actions sampled here; a lane whose episode ended is reset at once.
/// Observations are not written where `lanes` has no place for them.
template <class Rules>
LS_FN void ls_kernel_rollout(u32 lane_count, const LsRollout& rollout, const LsLanes& lanes,
                             const typename Rules::World& world, const LsShape& shape) {
    u32 thread = ls_thread();
    if (thread >= lane_count) return;
    LsLane<Rules> self = ls_load<Rules>(lanes, shape, lanes.first + thread);
    if (!lanes.observations) self.observations = nullptr;
    u32 width = shape.agents * shape.width;
    u32 played = rollout.played[thread];
    LsTokens words = {rollout.seed, self.header.stream, played * width, 0, 0, {{0, 0, 0, 0}}};
    u64 digest = rollout.digests ? rollout.digests[thread] : 0;
    u32 ended = 0;
    u32 head = 0;
    for (u32 i = 0; i < rollout.step_count; i++) {
        u32 tokens[Rules::AGENTS * Rules::WIDTH];
        for (u32 j = 0; j < Rules::AGENTS * Rules::WIDTH; j++) tokens[j] = j < width ? words.token(shape) : 0;
        LsDraws draws = {&self.header, self.list, nullptr, 0, 0};
        LsOut<typename Rules::Reward> out = ls_out<Rules>(self, shape, LS_GRAIN_NONE, nullptr);
        LsOutcome outcome = ls_step_logged<Rules>(self, world, shape, tokens, draws, out);
        head = ls_flags(outcome) | self.header.deciders << 16;
        if (rollout.digests) digest = ls_digest_step<Rules>(self, shape, head, digest);
        if (outcome.terminated || outcome.truncated) {
            ended += 1;
            if (shape.resets) ls_reset_logged<Rules>(self, world, shape, 0, nullptr);
        }
    }
    rollout.played[thread] = played + rollout.step_count;
    rollout.ended[thread] += ended;
    rollout.heads[thread] = head;
    if (rollout.digests) rollout.digests[thread] = digest;
    ls_store<Rules>(self, lanes, lanes.first + thread);
}

/// Writes what each agent would observe in the lane's state, wherever the last observation was made.
template <class Rules>
LS_FN void ls_kernel_observe(u32 lane_count, u8* observations, const LsLanes& lanes,
                             const typename Rules::World& world, const LsShape& shape) {
    u32 thread = ls_thread();
    if (thread >= lane_count) return;
    LsLane<Rules> self = ls_load<Rules>(lanes, shape, lanes.first + thread);
    for (u32 agent = 0; agent < shape.agents; agent++) {
        u8* at = observations + ((u64)thread * shape.agents + agent) * shape.observation_bytes;
        LsWriter writer = {at, at + shape.observation_bytes};
        Rules::observe(world, self.state, self.regions, agent, writer);
    }
}

/// Derives deciders and masks from states that were set from outside.
template <class Rules>
LS_FN void ls_kernel_legal(u32 lane_count, const LsLanes& lanes, const typename Rules::World& world,
                           const LsShape& shape) {
    u32 thread = ls_thread();
    if (thread >= lane_count) return;
    LsLane<Rules> self = ls_load<Rules>(lanes, shape, lanes.first + thread);
    ls_refresh<Rules>(self, world, shape);
    ls_store<Rules>(self, lanes, lanes.first + thread);
}

/// Rebuilds states from canonical fields; `refused` gets 1 where the rules can't. Regions, observations and header
/// are set by who launched the kernel.
template <class Rules>
LS_FN void ls_kernel_inject(u32 lane_count, u32* refused, const LsLanes& lanes, const LsRecords& records,
                            const typename Rules::World& world, const LsShape& shape, const u8* canonical) {
    u32 thread = ls_thread();
    if (thread >= lane_count) return;
    LsLane<Rules> self = ls_load<Rules>(lanes, shape, lanes.first + thread);
    const u8* at = canonical + (u64)thread * shape.canonical_bytes;
    LsReader reader = {at, at + shape.canonical_bytes};
    bool accepted = Rules::inject(world, self.state, reader);
    refused[thread] = accepted && LS_HOLDS(reader.at == reader.end, "inject left bytes unread") ? 0 : 1;
    if (refused[thread]) return;
    ls_no_rewards<Rules>(self, shape);
    ls_refresh<Rules>(self, world, shape);
    LsWriter writer = ls_record_writer(records, thread);
    LsWriter head = ls_begin(writer);
    ls_finish_record<Rules>(self, world, shape, writer, head, LS_HEAD_INJECT, 0);
    ls_keep(records, thread, writer);
    ls_store<Rules>(self, lanes, lanes.first + thread);
}

/// Tells sizes and offsets; one thread.
template <class Rules>
LS_FN void ls_kernel_layout(u32 capacity, u32* words) {
    LsLayout layout = {words, capacity, 0};
    layout.put(sizeof(LsShape));
    layout.put(sizeof(LsHeader));
    layout.put(sizeof(LsList));
    layout.put(sizeof(LsLanes));
    layout.put(sizeof(LsRecords));
    layout.put(sizeof(LsSteps));
    layout.put(sizeof(LsRollout));
    layout.put(sizeof(typename Rules::Reward));
    Rules::layout(layout);
}

/// Tells how many draws and rows one step makes at most, so that room can be left for them; one thread.
template <class Rules>
LS_FN void ls_kernel_limits(u32 grain_count, u32* draws_max, u32* rows_max, const typename Rules::World& world) {
    *draws_max = Rules::DRAWS_MAX;
    for (u32 grain = 0; grain < grain_count; grain++) rows_max[grain] = Rules::rows_max(world, grain);
}

/// The kernels of one environment.
#define LS_KERNELS(env, Rules)                                                                                        \
    extern "C" __global__ void env##_reset(u32 lane_count, LsLanes lanes, LsRecords records,                          \
                                           const Rules::World* world, const LsShape* shape, const u8* which,          \
                                           u32 named) {                                                               \
        ls_kernel_reset<Rules>(lane_count, lanes, records, *world, *shape, which, named);                             \
    }                                                                                                                 \
    extern "C" __global__ void env##_step_many(u32 lane_count, LsLanes lanes, LsRecords records,                      \
                                               const Rules::World* world, const LsShape* shape, LsSteps steps) {      \
        ls_kernel_step_many<Rules>(lane_count, lanes, records, *world, *shape, steps);                                \
    }                                                                                                                 \
    extern "C" __global__ void env##_step(u32 lane_count, LsLanes lanes, u32* heads, const Rules::World* world,       \
                                          const LsShape* shape, const u32* tokens) {                                  \
        ls_kernel_step<Rules>(lane_count, lanes, heads, *world, *shape, tokens);                                      \
    }                                                                                                                 \
    extern "C" __global__ void env##_rollout(u32 lane_count, LsRollout rollout, LsLanes lanes,                        \
                                             const Rules::World* world, const LsShape* shape) {                       \
        ls_kernel_rollout<Rules>(lane_count, rollout, lanes, *world, *shape);                                         \
    }                                                                                                                 \
    extern "C" __global__ void env##_observe(u32 lane_count, u8* observations, LsLanes lanes,                         \
                                             const Rules::World* world, const LsShape* shape) {                       \
        ls_kernel_observe<Rules>(lane_count, observations, lanes, *world, *shape);                                    \
    }                                                                                                                 \
    extern "C" __global__ void env##_legal(u32 lane_count, LsLanes lanes, const Rules::World* world,                  \
                                           const LsShape* shape) {                                                    \
        ls_kernel_legal<Rules>(lane_count, lanes, *world, *shape);                                                    \
    }                                                                                                                 \
    extern "C" __global__ void env##_inject(u32 lane_count, u32* refused, LsLanes lanes, LsRecords records,           \
                                            const Rules::World* world, const LsShape* shape, const u8* canonical) {   \
        ls_kernel_inject<Rules>(lane_count, refused, lanes, records, *world, *shape, canonical);                      \
    }                                                                                                                 \
    extern "C" __global__ void env##_layout(u32 capacity, u32* words) { ls_kernel_layout<Rules>(capacity, words); }   \
    extern "C" __global__ void env##_limits(u32 grain_count, u32* draws_max, u32* rows_max,                           \
                                            const Rules::World* world) {                                              \
        ls_kernel_limits<Rules>(grain_count, draws_max, rows_max, *world);                                            \
    }
