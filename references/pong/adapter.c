// Plays PufferLib's pong.h as it is behind the protocol; the one thing that is replaced is rand().
//
// pong.h asks the global rand() for the direction of each serve, so a game would depend on every other game of the
// process. Here each of these calls becomes a draw below 2 of the lane that is being played, at the site "serve".
#include "lockstep.h"

static int serve(void);
#define rand serve
#include "pong.h"
#undef rand

enum { OBSERVATION_COUNT = 8 };
enum { SERVE };
enum { SUBFRAME, EPISODE };

struct lane {
    struct Pong game;
    float observation[OBSERVATION_COUNT];
    float action;
    float reward;
    unsigned char terminal;
};

// A game as it is before its first reset: the options, and what init() makes of them.
static struct Pong template;

static struct lockstep_header *serving;

static int serve(void) { return (int)lockstep_below(serving, 2, SERVE); }

static const char *const sites[] = {"serve"};
static const struct lockstep_field observation[] = {{"view", "f32", {OBSERVATION_COUNT}}};
static const struct lockstep_field subframe_row[] = {
    {.name = "paddle_yl", .dtype = "f32"}, {.name = "paddle_yr", .dtype = "f32"}, {.name = "ball_x", .dtype = "f32"},
    {.name = "ball_y", .dtype = "f32"},    {.name = "ball_vx", .dtype = "f32"},   {.name = "ball_vy", .dtype = "f32"},
};
static const struct lockstep_field episode_row[] = {
    {.name = "perf", .dtype = "f32"},           {.name = "score", .dtype = "f32"}, {.name = "episode_return", .dtype = "f32"},
    {.name = "episode_length", .dtype = "f32"}, {.name = "n", .dtype = "f32"},
};
static const struct lockstep_grain grains[] = {{"subframe", subframe_row, 6}, {"episode", episode_row, 5}};
static const struct lockstep_field canonical[] = {
    {.name = "paddle_yl", .dtype = "f32"}, {.name = "paddle_yr", .dtype = "f32"}, {.name = "ball_x", .dtype = "f32"},
    {.name = "ball_y", .dtype = "f32"},    {.name = "ball_vx", .dtype = "f32"},   {.name = "ball_vy", .dtype = "f32"},
    {.name = "paddle_dir", .dtype = "f32"}, {.name = "score_l", .dtype = "u32"},  {.name = "score_r", .dtype = "u32"},
    {.name = "tick", .dtype = "i32"},      {.name = "n_bounces", .dtype = "i32"}, {.name = "win", .dtype = "i32"},
};

static void environment_configure(struct lockstep_setup *setup) {
    template = (struct Pong){
        .width = lockstep_option_f32("width", 500),
        .height = lockstep_option_f32("height", 640),
        .paddle_width = lockstep_option_f32("paddle_width", 20),
        .paddle_height = lockstep_option_f32("paddle_height", 70),
        .ball_width = lockstep_option_f32("ball_width", 32),
        .ball_height = lockstep_option_f32("ball_height", 32),
        .paddle_speed = lockstep_option_f32("paddle_speed", 8),
        .ball_initial_speed_x = lockstep_option_f32("ball_initial_speed_x", 10),
        .ball_initial_speed_y = lockstep_option_f32("ball_initial_speed_y", 1),
        .ball_max_speed_y = lockstep_option_f32("ball_max_speed_y", 13),
        .ball_speed_y_increment = lockstep_option_f32("ball_speed_y_increment", 3),
        .max_score = (unsigned int)lockstep_option_integer("max_score", 21, 1, UINT32_MAX),
        .frameskip = (int)lockstep_option_integer("frameskip", 1, 1, 1000000),
        .continuous = lockstep_option_bool("continuous", false),
    };
    init(&template);

    setup->environment = "pong";
    setup->name = "pong.h";
    setup->version = "pufferlib 3.0.0";
    setup->lane_bytes = sizeof(struct lane);
    setup->continuous = template.continuous;
    setup->action_count = 3;
    setup->action_extra = 4;
    setup->resets_itself = true;
    setup->canonical = canonical;
    setup->canonical_count = sizeof canonical / sizeof *canonical;
    setup->observation = observation;
    setup->observation_count = 1;
    setup->sites = sites;
    setup->site_count = 1;
    setup->grains = grains;
    setup->grain_count = 2;
}

static void environment_unpack(struct lane *lane) {
    lane->game.observations = lane->observation;
    lane->game.actions = &lane->action;
    lane->game.rewards = &lane->reward;
    lane->game.terminals = &lane->terminal;
}

static void environment_pack(struct lane *lane) {
    lane->game.observations = lane->game.actions = lane->game.rewards = NULL;
    lane->game.terminals = NULL;
    memset(&lane->game.log, 0, sizeof lane->game.log);
}

static void fresh(struct lane *lane) {
    memset(lane, 0, sizeof *lane);
    lane->game = template;
    environment_unpack(lane);
}

static void environment_reset(struct lane *lane, struct lockstep_header *header) {
    serving = header;
    fresh(lane);
    c_reset(&lane->game);
}

// The subframes of this step, from the real code: a copy is played one subframe at a time, before the step itself. Its
// draws are the ones that the step will make, so they are not noted here.
static __attribute__((noinline, cold)) void show_subframes(const struct lane *lane, const struct lockstep_header *header) {
    struct lane copy = *lane;
    struct lockstep_header aside = *header;
    aside.log = NULL;
    aside.log_count = aside.log_capacity = 0;
    environment_unpack(&copy);
    copy.game.frameskip = 1;
    serving = &aside;
    for (int i = 0; i < lane->game.frameskip; i++) {
        c_step(&copy.game);
        const struct Pong *game = &copy.game;
        float row[6] = {game->paddle_yl, game->paddle_yr, game->ball_x, game->ball_y, game->ball_vx, game->ball_vy};
        lockstep_row(row, sizeof row);
        // A score ends the step; a bounce pays 0.1 and doesn't.
        if (copy.reward == 1.0f || copy.reward == -1.0f || copy.terminal) break;
    }
    free(aside.log);
}

static void environment_step(struct lane *lane, struct lockstep_header *header, const union lockstep_action *actions,
                             struct lockstep_outcome *outcome) {
    static const float words[] = {0.0f, 1.0f, 2.0f, 3.0f, -1.0f, 0.5f, 1e30f};
    struct Pong *game = &lane->game;
    if (template.continuous) {
        lane->action = actions->value;
        if (!isfinite(lane->action)) lockstep_fail("bad_request", "an action is NaN or infinite");
    } else {
        lane->action = words[actions->index];
    }
    if (lockstep_wants(SUBFRAME)) show_subframes(lane, header);
    if (lockstep_wants(EPISODE)) memset(&game->log, 0, sizeof game->log);
    serving = header;
    c_step(game);
    if (lockstep_wants(EPISODE) && game->log.n == 1) lockstep_row(&game->log, sizeof game->log);
    outcome->terminated = lane->terminal;
}

static uint32_t environment_deciders(const struct lane *lane) {
    (void)lane;
    return 1;
}

static void environment_legal(const struct lane *lane, uint32_t agent, uint32_t *mask) {
    (void)lane, (void)agent, (void)mask;
}

// In pong.h's struct `paddle_yl` to `ball_vy` and the two scores lie in a row, as they do on the wire.
static void environment_canonical(const struct lane *lane, struct lockstep_writer *writer) {
    const struct Pong *game = &lane->game;
    lockstep_write(writer, &game->paddle_yl, 24);
    lockstep_write_f32(writer, game->paddle_dir);
    lockstep_write(writer, &game->score_l, 8);
    lockstep_write(writer, &game->tick, 12);
}

_Static_assert(offsetof(struct Pong, score_l) - offsetof(struct Pong, paddle_yl) == 24 &&
                   offsetof(struct Pong, score_r) - offsetof(struct Pong, score_l) == 4 &&
                   offsetof(struct Pong, win) - offsetof(struct Pong, tick) == 8,
               "the fields of struct Pong moved: write them one by one");

static void environment_observations(const struct lane *lane, struct lockstep_writer *writer) {
    lockstep_write(writer, lane->observation, sizeof lane->observation);
}

static void environment_rewards(const struct lane *lane, struct lockstep_writer *writer) {
    lockstep_write_f32(writer, lane->reward);
}

static void environment_inject(struct lane *lane, struct lockstep_header *header, struct lockstep_reader *state,
                               struct lockstep_reader *observations) {
    (void)header;
    fresh(lane);
    lockstep_read(state, &lane->game.paddle_yl, 24);
    lockstep_read(state, &lane->game.paddle_dir, 4);
    lockstep_read(state, &lane->game.score_l, 8);
    lockstep_read(state, &lane->game.tick, 12);
    lockstep_read(observations, lane->observation, sizeof lane->observation);
}
