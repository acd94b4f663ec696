//! Filled prompts of the environments of the tree, and what must hold of every prompt.

use super::*;
use crate::plan::Module;
use std::path::PathBuf;

/// Everything that a context borrows.
struct Stand {
    manifest: Manifest,
    reference: Reference,
    prepared: tempfile::TempDir,
    plan: Plan,
    files: Files,
}

const HEADER: &str =
    "#include <math.h>\n\ntypedef struct Pong Pong;\n\nvoid c_step(Pong* env) {\n    env->tick += 1;\n}\n";

impl Stand {
    fn of(name: &str) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let folder = root.join("references").join(name);
        let prepared = tempfile::tempdir().expect("a folder");
        // The real header is fetched by the reference; which text it is does not matter here.
        std::fs::write(prepared.path().join("pong.h"), HEADER).expect("it can be written");
        let mut manifest = Manifest::read(&root.join("envs").join(name)).expect("valid");
        for (backend, files) in [
            ("rust", &["src/world.rs", "src/state.rs", "src/rules.rs"][..]),
            ("cuda-host", &["cuda/rules.cuh", "src/cuda.rs"][..]),
        ] {
            let table = manifest.file.backends.get_mut(backend).expect("it is there");
            table.editable = files.iter().map(|file| (*file).to_owned()).collect();
        }
        let module = |backend: &str| {
            let files = manifest.file.backends[backend].editable.clone();
            Module {
                name: backend.replace('-', "_"),
                backend: backend.to_owned(),
                exports: files.iter().flat_map(|file| crate::plan::required_exports(&manifest, file)).collect(),
                files,
                depends_on: if backend == "rust" { vec![] } else { vec!["rust".into()] },
                interface: "pub struct World; pub struct State: one word for each field".into(),
                vectors: ["build", "contract", "property", "interaction"].map(str::to_owned).to_vec(),
            }
        };
        let plan = Plan { modules: vec![module("rust"), module("cuda-host")] };
        let plan = plan.check(&manifest, &["rust".into(), "cuda-host".into()]).expect("it can be followed");
        let reference = Reference::read(&folder, &root.join("references/sdk")).expect("valid");
        Stand { manifest, reference, prepared, plan, files: Files::new() }
    }

    fn context(&self) -> Context<'_> {
        Context {
            manifest: &self.manifest,
            reference: &self.reference,
            prepared: self.prepared.path(),
            plan: Some(&self.plan),
            files: &self.files,
            budget_tokens: 100_000,
            executed: None,
        }
    }

    fn written(mut self) -> Self {
        for path in ["src/world.rs", "src/state.rs", "src/rules.rs"] {
            self.files.insert(path.into(), format!("// {path} as a model wrote it\n"));
        }
        self
    }
}

fn backends() -> Vec<String> {
    vec!["rust".into(), "cuda-host".into()]
}

/// What is kept of a request, which is what a snapshot may hold: no source of a reference; lines and hashes redacted.
fn redacted(prompt: &Prompt) -> String {
    let request = prompt.stored.split_once(DIVIDER).expect("it is divided").1;
    let line = |line: &str| match line.split_once(", lines ") {
        Some((file, rest)) if rest.contains("sha256") => format!("{file}, lines [lines], sha256 [hash])\n"),
        _ => format!("{line}\n"),
    };
    request.lines().map(line).collect()
}

#[test]
fn the_first_prompts_of_counter_and_pong_are_these() {
    for name in ["counter", "pong"] {
        let stand = Stand::of(name);
        let plan = plan_prompt(&stand.context(), &backends()).expect("it is filled");
        insta::assert_snapshot!(format!("{name}_plan"), redacted(&plan));
        let write = write_prompt(&stand.context(), &stand.plan.modules[0]).expect("it is filled");
        insta::assert_snapshot!(format!("{name}_translate"), redacted(&write));
    }
}

#[test]
fn a_prompt_for_cuda_shows_the_rust_files_and_the_cuda_interface() {
    let stand = Stand::of("counter").written();
    let prompt = write_prompt(&stand.context(), &stand.plan.modules[1]).expect("it is filled");
    for text in ["LS_KERNELS(counter, Counter)", "fn device_world(world: &Self::World)", "ls_below", "struct Lantern {"]
    {
        assert!(prompt.system.contains(text), "{text}");
    }
    assert!(prompt.text.contains("// src/rules.rs as a model wrote it"));
    insta::assert_snapshot!("counter_translate_cuda", redacted(&prompt));
}

#[test]
fn the_system_part_is_the_same_in_every_round_of_a_backend() {
    let stand = Stand::of("counter").written();
    let context = stand.context();
    let write = write_prompt(&context, &stand.plan.modules[0]).expect("it is filled");
    let trouble = Trouble::Build("error: no".into());
    let repair = repair_prompt(&context, Some(&stand.plan.modules[0]), "rust", &trouble, &[]).expect("it is filled");
    let optimize = optimize_prompt(&context, "rust", "1 M steps/s", &[]).expect("it is filled");
    assert_eq!(write.system, repair.system);
    assert_eq!(write.system, optimize.system);
}

#[test]
fn a_repair_shows_the_trouble_what_was_tried_and_the_files() {
    let stand = Stand::of("counter").written();
    let packs = (0..5).map(|i| Pack::plain(format!("state field_{i}"), format!("text of pack {i}"))).collect();
    let trouble = Trouble::Diverged { packs, table: "the table".into() };
    let tried = [Tried { round: 2, what: "src/rules.rs +3 -1".into(), result: "still state value".into() }];
    let prompt = repair_prompt(&stand.context(), None, "rust", &trouble, &tried).expect("it is filled");
    insta::assert_snapshot!("counter_repair", redacted(&prompt));
    assert!(prompt.text.contains("text of pack 2") && !prompt.text.contains("text of pack 3"));
    for trouble in [Trouble::Edits(vec!["nearest lines".into()]), Trouble::Build("error[E0308]: x".into())] {
        let prompt =
            repair_prompt(&stand.context(), Some(&stand.plan.modules[0]), "rust", &trouble, &[]).expect("it is filled");
        assert!(prompt.text.contains("nearest lines") || prompt.text.contains("error[E0308]: x"));
        assert!(prompt.text.contains("// src/state.rs as a model wrote it"));
    }
    let plan = repair_prompt(&stand.context(), None, "rust, cuda-host", &Trouble::Plan("a cycle".into()), &[])
        .expect("it is filled");
    assert!(plan.text.contains("a cycle") && plan.text.contains("plan.json"));
}

#[test]
fn quirks_and_what_is_tested_stay_hidden_and_stored_prompts_hold_no_source() {
    for name in ["counter", "pong"] {
        let stand = Stand::of(name).written();
        let mut prompts = vec![plan_prompt(&stand.context(), &backends()).expect("it is filled")];
        for module in &stand.plan.modules {
            prompts.push(write_prompt(&stand.context(), module).expect("it is filled"));
        }
        for prompt in prompts {
            for quirk in &stand.manifest.file.quirk {
                assert!(!prompt.text.contains(&quirk.name), "{}", quirk.name);
            }
            assert!(!prompt.text.contains("rollout_steps") && !prompt.text.contains("[[bucket]]"));
            let source = sources(&stand.reference, stand.prepared.path()).expect("it can be read");
            for file in source {
                let line = file.text.lines().max_by_key(|line| line.len()).expect("it has lines");
                assert!(prompt.text.contains(line), "{} is sent", file.name);
                assert!(!prompt.stored.contains(line), "{} is not kept", file.name);
                assert!(prompt.stored.contains(&format!("({}, lines 1-", file.name)));
            }
        }
    }
}

#[test]
fn the_rust_and_cuda_of_the_tree_stand_in_no_prompt() {
    for name in ["counter", "pong"] {
        let stand = Stand::of(name);
        let prompt = write_prompt(&stand.context(), &stand.plan.modules[1]).expect("it is filled");
        let all = prompt.system + &prompt.text;
        for file in ["src/rules.rs", "src/world.rs", "src/state.rs", "cuda/rules.cuh", "src/cuda.rs"] {
            let text = std::fs::read_to_string(stand.manifest.folder.join(file)).expect("it is there");
            let own = text.lines().filter(|line| line.trim_start().starts_with("//") && line.len() > 30);
            for line in own.filter(|line| !line.contains("SAFETY")) {
                assert!(!all.contains(line), "{file}: {line}");
            }
        }
    }
}

#[test]
fn a_budget_that_is_too_small_is_told_with_both_numbers() {
    let stand = Stand::of("counter");
    let context = Context { budget_tokens: 1_000, ..stand.context() };
    let error = write_prompt(&context, &stand.plan.modules[0]).expect_err("it does not fit").to_string();
    assert!(error.contains("1000 are allowed") && error.contains("raise the budget"), "{error}");
}

#[test]
fn what_never_ran_is_left_out_first_when_the_source_does_not_fit() {
    let mut stand = Stand::of("pong");
    let unused = format!("void drawing(Pong* env) {{\n{}}}\n", "    paint(env, 1.0);\n".repeat(400));
    std::fs::write(stand.prepared.path().join("pong.h"), format!("{HEADER}\n{unused}")).expect("it can be written");
    stand.reference.file.model_may_read.truncate(1);
    let full = write_prompt(&stand.context(), &stand.plan.modules[0]).expect("it fits");
    let executed = Executed { lines: [("pong.h".to_owned(), [6].into())].into() };
    for executed in [None, Some(&executed)] {
        let context = Context { budget_tokens: full.tokens - 500, executed, ..stand.context() };
        let sliced = write_prompt(&context, &stand.plan.modules[0]).expect("it fits");
        assert!(
            sliced.text.contains("env->tick += 1;") && sliced.text.contains("… lines 9-410 left out …"),
            "{}",
            sliced.text
        );
        assert!(!sliced.text.contains("paint(env"));
    }
}

#[test]
fn where_nothing_may_be_read_the_specification_is_sent() {
    let mut stand = Stand::of("counter");
    let folder = tempfile::tempdir().expect("a folder");
    stand.reference.folder = folder.path().to_owned();
    stand.reference.file.model_may_read.clear();
    let error = write_prompt(&stand.context(), &stand.plan.modules[0]).expect_err("there is nothing").to_string();
    assert!(error.contains("spec.md"), "{error}");
    std::fs::write(folder.path().join("spec.md"), "Each turn the value grows by one.\n").expect("it can be written");
    stand.manifest.file.workflow = "create".into();
    let prompt = write_prompt(&stand.context(), &stand.plan.modules[0]).expect("it is filled");
    assert!(
        prompt.text.contains("Each turn the value grows by one.") && prompt.text.contains("from the specification")
    );
}

/// Writes the filled prompts to a folder, to be read by a person: LOCKSTEP_PROMPTS names it.
#[test]
#[ignore = "writes files for people to read: LOCKSTEP_PROMPTS=folder"]
fn filled_prompts_are_written_for_people() {
    let Some(folder) = std::env::var_os("LOCKSTEP_PROMPTS").map(PathBuf::from) else { return };
    for name in ["counter", "pong"] {
        let mut stand = Stand::of(name);
        if let Some(prepared) = std::env::var_os("LOCKSTEP_PREPARED").filter(|_| name == "pong") {
            std::fs::copy(PathBuf::from(prepared).join("pong.h"), stand.prepared.path().join("pong.h"))
                .expect("it is there");
        }
        for path in ["src/world.rs", "src/state.rs", "src/rules.rs"] {
            let text = std::fs::read_to_string(stand.manifest.folder.join(path)).expect("it is there");
            stand.files.insert(path.into(), text);
        }
        let empty = Files::new();
        let first = Context { files: &empty, ..stand.context() };
        let trouble = Trouble::Build("error: no".into());
        for (role, prompt) in [
            ("plan", plan_prompt(&first, &backends())),
            ("translate", write_prompt(&first, &stand.plan.modules[0])),
            ("translate_cuda", write_prompt(&stand.context(), &stand.plan.modules[1])),
            ("repair", repair_prompt(&stand.context(), None, "rust", &trouble, &[])),
        ] {
            let prompt = prompt.expect("it is filled");
            println!(
                "{name} {role}: {} tokens at most, {} + {} bytes",
                prompt.tokens,
                prompt.system.len(),
                prompt.text.len()
            );
            std::fs::write(
                folder.join(format!("{name}_{role}.md")),
                format!("{}\n\n=====\n\n{}", prompt.system, prompt.text),
            )
            .expect("it can be written");
        }
    }
}

/// Divergences of the counter of the tree from a reference that was changed in one place.
fn real_packs(from: &str, to: &str, backend: &str) -> Vec<Pack> {
    use lockstep_harness::reference::{find_tools, prepare};
    use lockstep_harness::sides::Processes;
    use lockstep_harness::verify::{Plan, verify};
    use lockstep_harness::watch::{Silent, Stop};
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let manifest = Manifest::read(&root.join("envs/counter")).expect("valid");
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["counter.py", "adapter.py", "reference.toml"] {
        let text = std::fs::read_to_string(root.join("references/counter").join(name)).expect("it is there");
        assert!(name != "counter.py" || text.contains(from), "counter.py no longer says {from:?}");
        std::fs::write(folder.path().join(name), text.replace(from, to)).expect("it can be written");
    }
    let reference = Reference::read(folder.path(), &root.join("references/sdk")).expect("valid");
    let prepared = prepare(&reference, None, &find_tools(None), &mut Silent).expect("Python is there");
    let runner = lockstep_harness::runner::build("counter", &manifest.folder, None).expect("it builds");
    let logs = folder.path().join("logs");
    let deadline = std::time::Duration::from_secs(60);
    let runner = lockstep_harness::side::CommandLine::new(vec![runner.display().to_string()]);
    let sides = Processes { reference: prepared.command.clone(), runner, logs, deadline };
    let mut plan = Plan::new(backend, 7);
    plan.configurations = vec!["duel".into()];
    plan.tiers = vec!["rollout".into()];
    plan.rollout_steps = Some(20_000);
    plan.traces = Some(folder.path().join("traces"));
    let verification = verify(&manifest, &plan, &sides, &mut Silent, &Stop::default()).expect("it runs");
    let source = sources(&reference, &prepared.folder).expect("they can be read");
    let ran = executed(&sides, &manifest, &source).expect("the reference explains");
    let lines = &ran.lines["counter.py"];
    assert!(lines.len() > 30 && lines.len() < source[0].text.lines().count(), "{lines:?}");
    packs(&verification, &manifest, &sides, &source)
}

#[test]
fn a_real_divergence_is_told_with_both_sides_and_the_lines_that_ran() {
    let packs = real_packs("self.value -= 1", "self.value -= 2", "rust");
    assert!((1..=PACKS_MAX).contains(&packs.len()), "{packs:#?}");
    let mut kinds: Vec<&str> = packs.iter().map(|pack| pack.kind.as_str()).collect();
    kinds.dedup();
    assert_eq!(kinds.len(), packs.len(), "each kind once");
    let pack = packs.iter().find(|pack| pack.kind == "state value").expect("the value differs");
    for text in ["The action of the step that differs:", "(down)", "| differs |", "self.value -= 2", "Draws expected:"]
    {
        assert!(pack.text.contains(text), "{text} is missing in\n{}", pack.text);
    }
    assert!(!pack.text.contains("lockstep replay") && !pack.text.contains("seed "), "{}", pack.text);
    assert!(!pack.stored.contains("self.value -= 2") && pack.stored.contains("sha256"), "{}", pack.stored);
    assert!(tokens(&pack.text) < PACK_TOKENS_MAX, "{} tokens", tokens(&pack.text));
    println!("{}", pack.text);
}

#[test]
fn broken_claims_are_packs_too_each_kind_once_and_three_at_most() {
    use lockstep_harness::manifest::Configuration;
    use lockstep_harness::side::{Side, SideError, Terms};
    use lockstep_harness::sides::Sides;
    use lockstep_harness::tiers::{Check, CheckOutcome, TierReport};
    use lockstep_harness::verify::Verification;
    use std::sync::Arc;

    /// Nothing has to be played again for a claim.
    struct NoSides;
    impl Sides for NoSides {
        fn reference(&self, _: Arc<Configuration>, _: Terms) -> Result<Side, SideError> {
            panic!("the reference is not asked")
        }
        fn backend(&self, _: &str, _: Arc<Configuration>, _: Terms) -> Result<Side, SideError> {
            panic!("the backend is not asked")
        }
    }

    let stand = Stand::of("counter");
    let configuration = stand.manifest.configuration("default").expect("it is there");
    let report = |tier: &'static str, claims: &[&str]| {
        let mut report = TierReport::new(tier, configuration);
        let outcome = CheckOutcome::Failed("seen otherwise\n  replay    lockstep replay /somewhere/a.jsonl".into());
        report.checks = claims
            .iter()
            .map(|claim| Check { claim: (*claim).to_owned(), side: "rust".into(), outcome: outcome.clone() })
            .collect();
        report
    };
    let verification = Verification {
        environment: "counter".into(),
        backend: "rust".into(),
        seed: 1,
        reports: vec![
            report("traces", &["/somewhere/a.jsonl agrees", "/somewhere/b.jsonl agrees"]),
            report("contract", &["a snapshot holds all of a lane", "lanes do not touch each other", "a fourth"]),
        ],
        configurations: vec![Arc::new(configuration.clone())],
        not_run: Vec::new(),
        stopped: false,
    };
    let packs = packs(&verification, &stand.manifest, &NoSides, &[]);
    let kinds: Vec<&str> = packs.iter().map(|pack| pack.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "the traces tier: a trace kept from an earlier round agrees",
            "the contract tier: a snapshot holds all of a lane",
            "the contract tier: lanes do not touch each other"
        ]
    );
    assert!(packs.iter().all(|pack| pack.text.contains("seen otherwise") && !pack.text.contains("/somewhere")));
}
