//! The adapter of an environment in C, in plain lines that can be changed, and its `reference.toml`.

use super::layout::Leaf;
use super::{Own, Taken, snake};
use crate::new::quoted;
use std::fmt::Write as _;

/// What the adapter that only looks writes after the state: name, and how many.
pub(super) const WATCHED: [(&str, usize); 4] =
    [("own_extent", 1), ("own_resets", 1), ("own_pointers", 1), ("own_asked", GENERATORS.len())];

/// The C library's generators, in the order of `own.h`.
pub(super) const GENERATORS: [&str; 4] = ["rand", "random", "lrand48", "drand48"];

/// The text of `adapter.c`. With `watch` it is the one that is played to look at the environment: it writes every number of
/// the struct, each as it was before the first reset, and [`WATCHED`], one observation, and takes over no state.
pub(super) fn text(own: &Own, fields: &[Taken], include: &str, watch: bool) -> String {
    let head = if watch { String::new() } else { head(own) };
    let spelled = &own.spelled;
    let shown = if watch { 1 } else { own.observations };
    let mut text = format!(
        "{head}#include \"lockstep.h\"\n\n#include \"own.h\"                         // rand() and its like ask Lockstep: see there\n\n\
         #define main own_main\n#include {}\n#undef main\n\n\
         // How many numbers an observation has: what the environment wrote.\nenum {{ OWN_OBSERVATIONS = {} }};\n\n\
         struct lane {{\n    {spelled} env;\n    {} observations[OWN_OBSERVATIONS];\n    {} actions[1];\n    {} rewards[1];\n    {} terminals[1];\n",
        quoted(include),
        own.observations,
        own.observation.0,
        own.action,
        own.reward.0,
        own.terminal,
    );
    if let Some(truncation) = &own.truncation {
        let _ = writeln!(text, "    {truncation} truncations[1];");
    }
    if watch {
        text += "    uint32_t extent, resets, pointers;\n";
    }
    let _ = write!(
        text,
        "}};\n\n// A game as it is before its first reset.\nstatic {spelled} own_template;\n\nstatic const struct lockstep_field own_fields[] = {{\n"
    );
    for field in fields {
        let _ = writeln!(
            text,
            "    {{{}, {}, {}}},",
            quoted(&field.name),
            quoted(field.leaf.scalar.dtype),
            shape(&field.leaf)
        );
    }
    if watch {
        for (place, field) in fields.iter().enumerate() {
            let leaf = &field.leaf;
            let _ = writeln!(text, "    {{\"own_before_{place}\", {}, {}}},", quoted(leaf.scalar.dtype), shape(leaf));
        }
        for (name, count) in WATCHED {
            let _ = writeln!(text, "    {{\"{name}\", \"u32\", {{{}}}}},", if count == 1 { 0 } else { count });
        }
    }
    let _ = write!(
        text,
        "}};\nstatic const struct lockstep_field own_view[] = {{{{\"view\", {}, {{{}}}}}}};\n\n",
        quoted(own.observation.1.dtype),
        if watch { "1".to_owned() } else { "OWN_OBSERVATIONS".to_owned() }
    );
    text += &watch_functions(own, watch);
    text += &configure(own);
    text += &play(own, watch);
    text += &writing(own, fields, shown, watch);
    text += &taking(own, fields, watch);
    text
}

fn head(own: &Own) -> String {
    let mut text = format!(
        "// Makes {} speak Lockstep. Written by `lockstep new`; change what it got wrong.\n//\n\
         // `own_fields` lists the fields of env.toml; environment_canonical writes them and environment_inject takes them back, in\n\
         // that order. reference.toml says how this file is compiled.\n",
        own.class
    );
    let asked: Vec<&str> = GENERATORS.into_iter().filter(|name| own.used.contains_key(&format!("{name}()"))).collect();
    if !asked.is_empty() {
        text += "//\n// What its generators draw, none of it at a site of the manifest:\n";
        for name in asked {
            let draws = match name {
                "drand48" => "below(2^24) = a, then below(2^24) = b; the number is (a * 2^24 + b) / 2^48",
                _ => "below(2^31), which is the number",
            };
            let _ = writeln!(text, "//     {name}(): {draws}");
        }
    }
    text
}

/// The sizes of a field as `lockstep_field` has them.
fn shape(leaf: &Leaf) -> String {
    let sizes: Vec<String> = leaf.sizes.iter().map(u64::to_string).collect();
    format!("{{{}}}", if sizes.is_empty() { "0".to_owned() } else { sizes.join(", ") })
}

/// What the adapter that only looks sees beside the numbers.
fn watch_functions(own: &Own, watch: bool) -> String {
    if !watch {
        return String::new();
    }
    let mut text = format!(
        "static bool own_stepping;\n\n\
         __attribute__((no_instrument_function)) void __cyg_profile_func_enter(void *function, void *caller);\n\
         __attribute__((no_instrument_function)) void __cyg_profile_func_exit(void *function, void *caller);\n\
         void __cyg_profile_func_enter(void *function, void *caller) {{\n    (void)caller;\n    \
         if (own_stepping && function == (void *){}) own_resets++;\n}}\n\
         void __cyg_profile_func_exit(void *function, void *caller) {{ (void)function, (void)caller; }}\n\n\
         static void own_look(struct lane *lane, const struct lockstep_header *header) {{\n    \
         // The buffer is large, and what an episode writes at all it mostly writes at once.\n    \
         if (header->elapsed < 64 || header->elapsed % 64 == 0) {{\n        \
         uint32_t extent = own_extent(lane->observations, sizeof lane->observations, sizeof *lane->observations);\n        \
         if (extent > lane->extent) lane->extent = extent;\n    }}\n    lane->resets = own_resets;\n",
        own.reset
    );
    for (place, pointer) in own.pointers.iter().enumerate().take(32) {
        let _ = writeln!(text, "    if (lane->env.{pointer}) lane->pointers |= 1u << {place};");
    }
    text + "}\n\n"
}

fn configure(own: &Own) -> String {
    let mut text = "static void environment_configure(struct lockstep_setup *setup) {\n".to_owned();
    for (name, leaf, value) in &own.options {
        let call = match (leaf.boolean, leaf.dtype) {
            (true, _) => format!("lockstep_option_bool({}, {value})", quoted(name)),
            (_, "f32") => format!("lockstep_option_f32({}, {value})", quoted(name)),
            (_, "f64") => format!("own_option_f64({}, {value})", quoted(name)),
            (_, dtype) => {
                let (least, most) = range(dtype);
                format!("lockstep_option_integer({}, {value}, {least}, {most})", quoted(name))
            }
        };
        let _ = writeln!(text, "    own_template.{name} = {call};");
    }
    if let Some(init) = &own.init {
        let _ = writeln!(text, "    {init}(&own_template);");
    }
    let _ = write!(
        text,
        "\n    setup->environment = {};\n    setup->name = {};\n    setup->version = \"1\";\n    setup->lane_bytes = sizeof(struct lane);\n    setup->action_count = {};\n    setup->resets_itself = {};\n    \
         setup->canonical = own_fields;\n    setup->canonical_count = sizeof own_fields / sizeof *own_fields;\n    \
         setup->observation = own_view;\n    setup->observation_count = 1;\n    setup->reward = {};\n}}\n\n",
        quoted(&own.name),
        quoted(&own.class),
        own.actions,
        own.resets_itself,
        quoted(own.reward.1),
    );
    text
}

/// The range of a whole type that is written into a JSON number without loss.
fn range(dtype: &str) -> (&'static str, &'static str) {
    match dtype {
        "u8" => ("0", "UINT8_MAX"),
        "i8" => ("INT8_MIN", "INT8_MAX"),
        "u16" => ("0", "UINT16_MAX"),
        "i16" => ("INT16_MIN", "INT16_MAX"),
        "u32" => ("0", "UINT32_MAX"),
        "i32" => ("INT32_MIN", "INT32_MAX"),
        "u64" => ("0", "1LL << 53"),
        _ => ("-(1LL << 53)", "1LL << 53"),
    }
}

fn play(own: &Own, watch: bool) -> String {
    let more = if own.truncation.is_some() { "    lane->env.truncations = lane->truncations;\n" } else { "" };
    let gone = if own.truncation.is_some() { "    lane->env.truncations = NULL;\n" } else { "" };
    let filled = if watch { "    memset(lane->observations, OWN_UNTOUCHED, sizeof lane->observations);\n" } else { "" };
    let (before, after, seen) = if watch {
        ("    own_stepping = true;\n", "    own_stepping = false;\n", "    own_look(lane, header);\n")
    } else {
        ("", "", "")
    };
    let truncated = match (&own.truncation, own.resets_itself) {
        (Some(_), true) => "    outcome->truncated = lane->truncations[0] != 0;\n",
        (Some(_), false) => "    outcome->truncated = lane->truncations[0] != 0 || lockstep_reached_the_end(header);\n",
        (None, true) => "",
        (None, false) => "    outcome->truncated = lockstep_reached_the_end(header);\n",
    };
    format!(
        "static void environment_unpack(struct lane *lane) {{\n    lane->env.observations = lane->observations;\n    \
         lane->env.actions = lane->actions;\n    lane->env.rewards = lane->rewards;\n    lane->env.terminals = lane->terminals;\n{more}}}\n\n\
         static void environment_pack(struct lane *lane) {{\n    lane->env.observations = NULL;\n    lane->env.actions = NULL;\n    \
         lane->env.rewards = NULL;\n    lane->env.terminals = NULL;\n{gone}}}\n\n\
         // Each episode begins with memory that is all zero, and the template.\n\
         static void own_fresh(struct lane *lane) {{\n    memset(lane, 0, sizeof *lane);\n    lane->env = own_template;\n    environment_unpack(lane);\n}}\n\n\
         static void environment_reset(struct lane *lane, struct lockstep_header *header) {{\n    own_fresh(lane);\n{filled}    \
         own_header = header;\n    {reset}(&lane->env);\n{seen}}}\n\n\
         static void environment_step(struct lane *lane, struct lockstep_header *header, const union lockstep_action *actions,\n                             \
         struct lockstep_outcome *outcome) {{\n    lane->actions[0] = ({action})actions->index;\n    own_header = header;\n{before}    {step}(&lane->env);\n{after}{seen}    \
         outcome->terminated = lane->terminals[0] != 0;\n{truncated}}}\n\n\
         static uint32_t environment_deciders(const struct lane *lane) {{\n    (void)lane;\n    return 1;\n}}\n\n\
         static void environment_legal(const struct lane *lane, uint32_t agent, uint32_t *mask) {{ (void)lane, (void)agent, (void)mask; }}\n\n",
        reset = own.reset,
        step = own.step,
        action = own.action,
    )
}

const INDICES: [&str; 4] = ["a", "b", "c", "d"];

/// The place of a field within the loops over its indices.
fn indexed(leaf: &Leaf) -> String {
    let mut path = leaf.path.clone();
    for index in INDICES.iter().take(leaf.sizes.len()) {
        path = path.replacen("{}", index, 1);
    }
    path
}

/// `line` within the loops over a field's indices.
fn looped(leaf: &Leaf, line: &str) -> String {
    let mut text = "    ".to_owned();
    for (index, size) in INDICES.iter().zip(&leaf.sizes) {
        let _ = write!(text, "for (int {index} = 0; {index} < {size}; {index}++) ");
    }
    text + line + "\n"
}

/// The line that writes a field; an array whose items lie side by side is written in one piece.
fn written(leaf: &Leaf) -> String {
    let whole = leaf.path.trim_end_matches("[{}]");
    if whole.contains("{}") {
        let place = indexed(leaf);
        return looped(leaf, &format!("lockstep_write(writer, &env->{place}, sizeof env->{place});"));
    }
    format!("    lockstep_write(writer, &env->{whole}, sizeof env->{whole});\n")
}

fn writing(own: &Own, fields: &[Taken], shown: usize, watch: bool) -> String {
    let mut text = format!(
        "static void environment_canonical(const struct lane *lane, struct lockstep_writer *writer) {{\n    const {} *env = &lane->env;\n",
        own.spelled
    );
    let written: String = fields.iter().map(|field| written(&field.leaf)).collect();
    text += &written;
    if watch {
        // What is constant and yet not as it was before the first reset has to be put back with a state.
        text += "    env = &own_template;\n";
        text += &written;
        text += "    uint32_t seen[3] = {lane->extent, lane->resets, lane->pointers};\n    lockstep_write(writer, seen, sizeof seen);\n    lockstep_write(writer, own_asked, sizeof own_asked);\n";
    }
    let observation =
        if shown == own.observations { "sizeof lane->observations" } else { "sizeof *lane->observations" };
    let _ = write!(
        text,
        "}}\n\nstatic void environment_observations(const struct lane *lane, struct lockstep_writer *writer) {{\n    lockstep_write(writer, lane->observations, {observation});\n}}\n\n\
         static void environment_rewards(const struct lane *lane, struct lockstep_writer *writer) {{\n    lockstep_write(writer, lane->rewards, sizeof lane->rewards);\n}}\n\n"
    );
    text
}

fn taking(own: &Own, fields: &[Taken], watch: bool) -> String {
    let head = "static void environment_inject(struct lane *lane, struct lockstep_header *header, struct lockstep_reader *state,\n                               struct lockstep_reader *observations) {\n";
    if watch {
        return format!(
            "{head}    (void)lane, (void)header, (void)state, (void)observations;\n    lockstep_fail(\"refused\", \"only looking\");\n}}\n"
        );
    }
    let mut text = format!(
        "// The limits are what was seen: a state beyond them, which the property tier may put together, is refused. Widen them where\n\
         // the rules allow more.\n{head}    (void)header;\n    own_fresh(lane);\n    {} *env = &lane->env;\n",
        own.spelled
    );
    for field in fields {
        let place = indexed(&field.leaf);
        let line = match (&field.limits, field.leaf.scalar.boolean) {
            (_, true) => format!("OWN_TAKE_BOOL(state, env->{place});"),
            (Some((low, high)), _) => format!("OWN_TAKE(state, env->{place}, {low}, {high});"),
            (None, _) => format!("lockstep_read(state, &env->{place}, sizeof env->{place});"),
        };
        text += &looped(&field.leaf, &line);
    }
    text + "    lockstep_read(observations, lane->observations, sizeof lane->observations);\n}\n"
}

/// The text of `reference.toml`: `version` pins the source, `readable` are the files that a model may read.
pub(super) fn reference_toml(own: &Own, version: &str, about: &str, readable: &[String], watch: bool) -> String {
    let readable: Vec<String> = readable.iter().map(|file| quoted(file)).collect();
    let flags = if watch { "\"-O1\", \"-finstrument-functions\", \"-DOWN_WATCH\"" } else { "\"-g\", \"-O2\"" };
    format!(
        "format = \"lockstep/reference/1\"\nname = {}\nversion = {}\nabout = {}\nlicence = \"not stated\"\n\
         # What `lockstep converge` may send to a model, in this order. .lockstepignore beside env.toml has the last word.\n\
         model_may_read = [{}]\n\n\
         [adapters.c]\ndefault = true\nholds_paths = true\nargv = [\"{{prepared}}/adapter\"]\nprepare = [\n    \
         {{ say = \"compiling adapter.c\", argv = [\"{{cc}}\", {flags}, \"-ffp-contract=off\", \"-fwrapv\", \"-o\", \"{{prepared}}/adapter\", \"-I{{sdk}}/c\", \"{{here}}/adapter.c\", \"-lm\"] }},\n]\n",
        quoted(&own.name),
        quoted(version),
        quoted(about),
        readable.join(", ")
    )
}

/// The name of a field in the manifest: `units[{}].hp` is `units_hp`.
pub(super) fn field_name(path: &str) -> String {
    snake(&path.replace("[{}]", "").replace('.', "_"))
}
