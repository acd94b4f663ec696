//! Environments of one's own, in folders outside the clone: what `lockstep new` writes `check` takes, and whatever is
//! wrong with a class is told by name, with the line of the user's own file.

use crate::common::{Lockstep, Run, command, python, written};
use std::path::Path;

/// A game of 30 lines that never heard of Lockstep, with most things that a state can be made of.
const HUNT: &str = r#"import random


class Ghost:
    def __init__(self, x):
        self.x = x


class Pack:
    def __init__(self, kind):
        self.kind, self.prey = kind, [0]


class Hunt:
    n_actions = 3

    def __init__(self, size=5):
        self.size = size

    def reset(self, seed=None):
        self.x, self.tick, self.phase = 0, 0, "calm"
        self.coins = {random.randrange(1, self.size) for _ in range(3)}
        self.ghosts = [Ghost(random.randrange(self.size)), Ghost(self.size - 1)]
        self.trail, self.packs = [], []
        return self.look()

    def look(self):
        return [self.x / self.size, len(self.coins)] + [ghost.x for ghost in self.ghosts]

    def step(self, action):
        self.x = min(max(self.x + (0, 1, -1)[action], 0), self.size - 1)
        self.trail = (self.trail + [self.x])[-random.randint(1, 4) :]
        reward = 1.0 if self.x in self.coins else 0.0
        self.coins.discard(self.x)
        for ghost in self.ghosts:
            ghost.x = (ghost.x + random.choice((-1, 0, 1))) % self.size
        if len(self.packs) < 3:
            self.packs.append(Pack(random.choice(("wolves", "bears"))))
        elif self.tick % 9 == 0:
            self.packs.pop(0)
        for pack in self.packs:
            pack.prey = (pack.prey + [self.x])[-2 - len(pack.prey) % 3 :]
        self.tick += 1
        if self.tick > 6:
            self.phase = "hunt"
        return self.look(), reward, not self.coins or (self.phase == "hunt" and any(g.x == self.x for g in self.ghosts)), self.tick >= 40, {}
"#;

/// `lockstep` in a folder that has nothing to do with the clone.
fn outside(folder: &Path, arguments: &[&str]) -> Lockstep {
    command(arguments).within(folder).env("LOCKSTEP_PYTHON", python())
}

/// `lockstep new` on a class of this source.
fn taken(source: &str, class: &str, more: &[&str]) -> (tempfile::TempDir, Run) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    written(folder.path(), "game.py", source);
    let entry = format!("game.py:{class}");
    let arguments = [&["new", "--from", &entry, "--seconds", "0.5"], more].concat();
    let run = outside(folder.path(), &arguments).run();
    (folder, run)
}

/// A class whose `step` is this.
fn class_with(step: &str) -> String {
    format!(
        "class Game:\n    n_actions = 2\n\n    def reset(self):\n        self.tick = 0\n        return [0]\n\n    def step(self, action):\n        self.tick += 1\n{step}\n"
    )
}

#[test]
fn new_takes_a_class_as_it_is_and_check_accepts_what_it_writes() {
    let (folder, run) = taken(HUNT, "Hunt", &["my_hunt"]);
    run.ends(0)
        .says("state      x i32, tick i32, phase u8, coins i32[8], coins_count u32, ghosts_x i32[2], trail i32[8], trail_count u32, packs_kind u8[8], packs_prey i32[8][8], packs_prey_count u32[8], packs_count u32, capacity u32")
        .says("bound      packs_prey has room for 8; more ends the episode and is counted in `capacity`")
        .says("bound      trail has room for 8; more ends the episode and is counted in `capacity`")
        .says("constant   size")
        .says("random.randrange, choice, shuffle or sample: served")
        .says("lockstep check my_hunt");
    for file in ["env.toml", "README.md", ".lockstepignore", "traces/README.md", "reference/reference.toml"] {
        assert!(folder.path().join("my_hunt").join(file).is_file(), "{file} is missing");
    }
    let adapter = std::fs::read_to_string(folder.path().join("my_hunt/reference/adapter.py")).expect("it was written");
    assert!(
        adapter.contains("    #   randrange: below(n)") && adapter.contains("    #   shuffle: for i from n - 1"),
        "{adapter}"
    );
    outside(folder.path(), &["check", "my_hunt"]).run().ends(0).says("the adapter of my_hunt keeps its promises");
}

#[test]
fn check_tells_where_chance_comes_from_and_what_must_not_be_sent() {
    let (folder, run) = taken(HUNT, "Hunt", &["hunt"]);
    // What stands beside the class and is not the user's is never sent.
    run.ends(0).says("readable   game.py; converge may send these");
    let key = format!("{}_{}", "ghp", "a1B2".repeat(9));
    let more = format!("\nimport os\nimport time\n\nSTARTED = time.time()\nSALT = os.urandom(4)\nTOKEN = '{key}'\n");
    written(folder.path(), "game.py", &format!("{HUNT}{more}"));
    let run = outside(folder.path(), &["check", "hunt"]).run().ends(0);
    let at =
        |text: &str| format!("{HUNT}{more}").lines().position(|line| line.contains(text)).expect("it is there") + 1;
    let run = run
        .says("random numbers that Lockstep takes over:")
        .says(&format!("game.py:{}  random.randint", at("random.randint")))
        .says(&format!("game.py:{}  os.urandom", at("os.urandom")))
        .says(&format!("game.py:{}  time.time", at("time.time()")))
        .says(&format!("game.py:{} holds what looks like a token of GitHub", at("TOKEN")))
        .says("the source is another one than reference.toml pins")
        .says("minutes per tier, the reference alone: contract")
        .says("a snapshot");
    assert!(!run.stdout.contains(&key), "the key itself is shown");
    written(&folder.path().join("hunt"), ".lockstepignore", "game.*\n");
    let run = outside(folder.path(), &["check", "hunt", "--json"]).run().ends(0);
    let found: serde_json::Value = serde_json::from_str(&run.stdout).expect("it is JSON");
    assert!(
        found["reading"]["withheld"][0].as_str().is_some_and(|why| why.contains("with the pattern \"game.*\"")),
        "{found}"
    );
}

#[test]
fn new_says_what_it_found_as_json_and_never_writes_over_a_folder() {
    let (folder, run) = taken(HUNT, "Hunt", &["--json", "--options", "{\"size\": 9}"]);
    let run = run.ends(0);
    let found: serde_json::Value = serde_json::from_str(&run.stdout).expect("it is JSON");
    assert_eq!(found["environment"], "game");
    assert_eq!(found["draws"], "served");
    assert_eq!(found["inject"], true);
    let manifest = std::fs::read_to_string(folder.path().join("game/env.toml")).expect("it is there");
    assert!(manifest.contains("options = { \"size\" = 9 }"), "{manifest}");
    outside(folder.path(), &["new", "--from", "game.py:Hunt"]).run().ends(2).says("is there already").says("(hint:");
}

#[test]
fn a_class_that_draws_by_logarithms_is_recorded_and_says_why() {
    let source =
        class_with("        self.wind = random.gauss(0, 1)\n        return [self.wind], 0.0, self.tick > 5, False, {}");
    let (folder, run) = taken(&format!("import random\n\n\n{source}"), "Game", &[]);
    run.ends(0)
        .says("random.gauss: recorded")
        .says("random.gauss is not handled")
        // It is set in `step` alone, so it is not there after the first reset and left over after the next.
        .says("survives   wind")
        .says("wind f64, wind_given u8");
    outside(folder.path(), &["check", "game"]).run().ends(0).says("draws are recorded");
    outside(folder.path(), &["new", "other", "--from", "game.py:Game", "--draws", "served", "--seconds", "0.5"])
        .run()
        .ends(3)
        .says("random.gauss is not handled")
        .says("game.py:13")
        .says("leave --draws out");
}

#[test]
fn what_can_t_be_found_or_imported_is_told_with_what_there_is() {
    taken(HUNT, "Hunter", &[]).1.ends(3).says("has no Hunter").says("(hint: it has the classes Ghost, Pack, Hunt)");
    taken("import no_such_thing\n", "Game", &[])
        .1
        .ends(3)
        .says("No module named 'no_such_thing'")
        .says("game.py:1  import no_such_thing")
        .says("--python");
    taken("class Game\n    pass\n", "Game", &[]).1.ends(3).says("SyntaxError").says("game.py:1  class Game");
    let folder = tempfile::tempdir().expect("a folder can be made");
    outside(folder.path(), &["new", "--from", "none.py:Game"]).run().ends(3).says("there is no file none.py");
    outside(folder.path(), &["new", "--from", "none"]).run().ends(3).says("does not name a class");
    outside(folder.path(), &["new", "My-Env", "--from", "a.py:B"]).run().ends(2).says("no name for an environment");
    outside(folder.path(), &["new"]).run().ends(2).says("--from");
    outside(folder.path(), &["new", "--from", "a.py:B", "--python", "/no/python"])
        .run()
        .ends(3)
        .says("/no/python is no Python that runs");
    outside(folder.path(), &["new", "--from", "a.py:B", "--options", "[1]"]).run().ends(2).says("no object");
}

#[test]
fn a_class_that_is_no_environment_is_refused_by_what_it_lacks() {
    taken("class Game:\n    pass\n", "Game", &[]).1.ends(3).says("Game has no `reset`");
    let spaceless = class_with("        return [0], 0.0, False, False, {}").replace("    n_actions = 2\n", "");
    taken(&spaceless, "Game", &[]).1.ends(3).says("no action_space").says("--actions N");
    taken(&spaceless, "Game", &["--actions", "2"]).1.ends(0);
    let odd = class_with("        return [0], 0.0, False, False, {}")
        .replace("    n_actions = 2\n", "    class Text:\n        pass\n\n    action_space = Text()\n");
    taken(&odd, "Game", &[]).1.ends(3).says("the action space").says("is not handled");
    taken("class Game:\n    def __init__(self, size):\n        pass\n", "Game", &[])
        .1
        .ends(3)
        .says("Game(size) can't be made")
        .says("--options");
    let blind = class_with("        return 'a text' if self.tick % 2 else [0], 0.0, False, False, {}");
    taken(&blind, "Game", &[]).1.ends(3).says("the observation can't be compared");
    let stateless = "class Game:\n    n_actions = 2\n\n    def reset(self):\n        return [0]\n\n    def step(self, action):\n        return [0], 0.0, True\n";
    taken(stateless, "Game", &[]).1.ends(3).says("no attribute of Game changed");
}

#[test]
fn an_environment_that_fails_is_shown_with_its_own_file_and_line() {
    taken(&class_with("        return [1 / (5 - self.tick)], 0.0, False, False, {}"), "Game", &[])
        .1
        .ends(3)
        .says("ZeroDivisionError")
        .says("game.py:10  return [1 / (5 - self.tick)]");
    taken(&class_with("        return 0"), "Game", &[]).1.ends(3).says("step() gave int").says("game.py:8");
    taken(&class_with("        raise SystemExit(3)"), "Game", &[]).1.ends(3).says("SystemExit").says("game.py:10");
    taken(&class_with("        while True:\n            pass"), "Game", &["--deadline", "2"])
        .1
        .ends(3)
        .says("did not end within 2 s")
        .says("game.py\", line 1")
        .says("--deadline");
    taken(&class_with("        import os; os._exit(9)"), "Game", &[]).1.ends(3).says("ended the interpreter");
}

#[test]
fn a_failure_in_check_shows_the_line_of_the_environment_and_not_that_of_the_sdk() {
    let (folder, run) = taken(HUNT, "Hunt", &["hunt"]);
    run.ends(0);
    let broken = HUNT.replace("self.tick += 1\n", "self.tick += [][self.tick - 30]\n");
    assert_ne!(broken, HUNT);
    written(folder.path(), "game.py", &broken);
    let run = outside(folder.path(), &["check", "hunt"]).run().ends(3).says("IndexError");
    let at = broken.lines().position(|line| line.contains("[][")).expect("it is there") + 1;
    run.says(&format!("game.py:{at}  self.tick += [][self.tick - 30]"));
}

/// A game in TypeScript with syntax that has to be translated: a property made by the constructor, a type, an enum.
const TIDE: &str = r#"import { Boat } from "./boat";

export enum Phase { Ebb, Flood }
export interface Look { level: number; boats: number[] }

export class Tide {
    readonly nActions = 3;
    level = 0;
    tick = 0;
    phase: Phase = Phase.Ebb;
    boats: Boat[] = [];
    wake: number[] = [];

    constructor(private options: { high?: number } = {}) {}

    reset(): Look {
        this.level = this.tick = 0;
        this.phase = Phase.Ebb;
        this.boats = [new Boat(Math.random()), new Boat(Math.random())];
        this.wake = [];
        return this.look();
    }

    look(): Look {
        return { level: this.level / (this.options.high ?? 9), boats: this.boats.map((boat) => boat.x) };
    }

    step(action: number): [Look, number, boolean, boolean] {
        this.tick += 1;
        this.level = Math.max(0, this.level + (action - 1) + (this.phase === Phase.Flood ? 1 : 0));
        if (action === 0) this.wake = [...this.wake, this.tick].slice(-1 - Math.floor(Math.random() * 5));
        for (const boat of this.boats) boat.drift(Math.random() - 0.5);
        if (this.tick % 7 === 0) this.phase = this.phase === Phase.Ebb ? Phase.Flood : Phase.Ebb;
        return [this.look(), this.boats[0]!.x, this.level >= (this.options.high ?? 9), this.tick >= 50];
    }
}
"#;

const BOAT: &str = "export class Boat {\n    constructor(public x: number) {}\n    drift(by: number): void {\n        this.x += by;\n    }\n}\n";

/// A game in C, in PufferLib's manner: what `new` has to find is a struct within an array, an enum, a bool, a double, an
/// array of two dimensions, a constant, a pointer that stays NULL, and two generators.
const KITE: &str = r#"#include <stdbool.h>
#include <stdlib.h>
#include "wind.h"

enum sky { CLEAR, STORM };
typedef struct { int x, y; } Spot;
typedef struct {
    float *observations;
    int *actions;
    double *rewards;
    unsigned char *terminals;
    Spot kites[3];
    enum sky sky;
    bool torn;
    double lift;
    unsigned char seen[2][4];
    unsigned tick;
    int tickMax;
    void *client;
} Kite;

static void look(Kite *env) {
    for (int i = 0; i < 3; i++) env->observations[i] = (float)env->kites[i].x;
    env->observations[3] = (float)env->lift;
}

void c_reset(Kite *env) {
    for (int i = 0; i < 3; i++) env->kites[i] = (Spot){rand() % 4, 1};
    for (int i = 0; i < 8; i++) env->seen[i / 4][i % 4] = 0;
    env->sky = CLEAR, env->torn = false, env->lift = 0, env->tick = 0;
    look(env);
}

void c_step(Kite *env) {
    env->tick++;
    env->lift = env->lift * 0.9 + drand48();
    env->kites[env->actions[0]].x = (env->kites[env->actions[0]].x + wind()) % 4;
    env->seen[env->torn][env->kites[0].x]++;
    env->sky = env->lift > 4 ? STORM : CLEAR;
    env->torn = env->torn || env->sky == STORM;
    env->rewards[0] = env->lift;
    env->terminals[0] = env->tick >= 20 || (env->tickMax && env->tick >= (unsigned)env->tickMax);
    RESETS
    look(env);
}

int main(void) { return 0; }
"#;

const WIND: &str = "static int wind(void) { return rand() % 3; }\n";

#[test]
fn new_takes_a_struct_in_c_and_check_accepts_what_it_writes() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    written(folder.path(), "wind.h", WIND);
    written(folder.path(), "kite.c", &KITE.replace("RESETS", "if (env->terminals[0]) c_reset(env);"));
    let arguments =
        ["new", "--seconds", "0.5", "--from", "kite.c:Kite", "--actions", "3", "--options", "{\"tickMax\": 12}"];
    outside(folder.path(), &arguments)
        .run()
        .ends(0)
        .says("state      kites_x i32[3], kites_y i32[3], sky u32, torn u8, lift f64, seen u8[2][4], tick u32")
        .says("constant   tickMax")
        .says("draws      drand48(), rand(): served")
        .says("readable   kite.c, wind.h");
    let manifest = std::fs::read_to_string(folder.path().join("kite/env.toml")).expect("it was written");
    for line in ["resets = \"reference\"", "dtype = \"f64\"", "shape = [4]", "options = { \"tickMax\" = 12 }"] {
        assert!(manifest.contains(line), "{line} in\n{manifest}");
    }
    outside(folder.path(), &["check", "kite"])
        .run()
        .ends(0)
        .says("the adapter of kite keeps its promises")
        .says("wind.h:1  rand");
    // Compiled anew, because a file that it includes is another one; and one that an assertion ends is shown with its line.
    written(
        folder.path(),
        "wind.h",
        "#include <assert.h>\nstatic int wind(void) { int w = rand() % 3; assert(w != 1); return w; }\n",
    );
    outside(folder.path(), &["check", "kite"]).run().ends(3).says("wind.h:2").says("w != 1");
}

#[test]
fn a_struct_that_does_not_reset_itself_is_reset_by_the_harness() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    written(folder.path(), "wind.h", WIND);
    written(folder.path(), "kite.c", &KITE.replace("RESETS", ""));
    let new = |more: &[&str]| {
        outside(
            folder.path(),
            &[&["new", "--seconds", "0.3", "--from", "kite.c:Kite", "--actions", "3"], more].concat(),
        )
        .run()
    };
    new(&[]).ends(0).says("constant   tickMax");
    let manifest = std::fs::read_to_string(folder.path().join("kite/env.toml")).expect("it was written");
    assert!(!manifest.contains("resets ="), "{manifest}");
    new(&["wider", "--observations", "6"]).ends(0);
    let adapter = std::fs::read_to_string(folder.path().join("wider/reference/adapter.c")).expect("it was written");
    assert!(adapter.contains("OWN_OBSERVATIONS = 6"), "{adapter}");
}

#[test]
fn a_struct_in_c_that_is_no_environment_is_refused_by_what_it_lacks() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    written(folder.path(), "wind.h", WIND);
    let kite = KITE.replace("RESETS", "");
    let tried = |source: &str, more: &[&str]| {
        written(folder.path(), "kite.c", source);
        outside(folder.path(), &[&["new", "--seconds", "0.2", "--from"], more].concat()).run().ends(3)
    };
    let entry = ["kite.c:Kite", "--actions", "3"];
    tried(&kite, &["kite.c:Bird", "--actions", "3"]).says("there is no struct Bird").says("there is Kite");
    tried(&kite, &["bird.c:Kite", "--actions", "3"]).says("there is no file");
    tried(&kite, &["kite.c:Kite"]).says("does not say how many actions").says("--actions N");
    tried(&kite, &[&entry[..], &["--options", "{\"lifted\": 1}"]].concat())
        .says("has no number `lifted`")
        .says("tickMax");
    tried(&kite, &[&entry[..], &["--options", "{\"tick\": 1.5}"]].concat()).says("takes no 1.5 for `tick`").says("u32");
    tried(&kite.replace("void *client", "void *client; union { int a; float b; } either"), &entry)
        .says("holds `either`")
        .says("a union");
    tried(&kite.replace("int tickMax", "int tickMax : 3"), &entry).says("holds `tickMax`").says("a bit field");
    tried(&kite.replace("c_step", "c_go"), &entry).says("no function whose name ends in `step`");
    tried(&kite.replace("unsigned char *terminals;", "").replace("env->terminals[0]", "env->torn"), &entry)
        .says("has no pointer `terminals`");
    tried(&kite.replace("look(env);\n}", "if (!env->client) env->client = malloc(8);\n    look(env);\n}"), &entry)
        .says("keeps state behind the pointer `client`");
    tried(&kite.replace("env->tick++", "env->tick+++"), &entry).says("does not compile").says("kite.c:");
    tried(&kite.replace("env->tick++;", "env->tick++; if (env->tick > 3) abort();"), &entry)
        .says("failed while it was played");
    tried(&kite.replace("    look(env);\n", ""), &entry).says("wrote no observation");
    assert!(!folder.path().join("kite").exists(), "nothing is written where nothing was taken");
}

#[test]
fn new_takes_a_class_in_typescript_and_a_failure_in_check_shows_its_line() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    written(folder.path(), "tide.ts", TIDE);
    written(folder.path(), "boat.ts", BOAT);
    let new = |more: &[&str]| outside(folder.path(), &[&["new", "--seconds", "0.5", "--from"], more].concat()).run();
    new(&["tide.ts:Tides"]).ends(3).says("exports no Tides").says("it exports Tide");
    new(&["tides.ts:Tide"]).ends(3).says("there is no file");
    new(&["tide.ts:Tide", "--options", "{\"high\": 12}"])
        .ends(0)
        .says("state      level i32, tick i32, phase i32, boats_x f64[2], wake i32[16], wake_count u32, capacity u32")
        .says("bound      wake has room for 16; more ends the episode and is counted in `capacity`")
        .says("Math.random: served")
        .says("readable   tide.ts, boat.ts");
    let run = outside(folder.path(), &["check", "tide"]).run().ends(0);
    run.says("the adapter of tide keeps its promises")
        .says("random numbers that Lockstep takes over:")
        .says("tide.ts:19  Math.random");
    // Translated anew, because the source is another one; and in each folder, because the translation knows its source.
    written(
        folder.path(),
        "boat.ts",
        &BOAT.replace("this.x += by;", "if (this.x > 0.9) throw new Error(\"aground\");\n        this.x += by;"),
    );
    outside(folder.path(), &["check", "tide"]).run().ends(3).says("aground").says("boat.ts:4  if (this.x > 0.9) throw");
}
