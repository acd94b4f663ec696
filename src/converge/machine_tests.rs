//! The loop's decisions, from events alone.

use super::*;
use crate::ledger::{FORMAT, Killed, Spent, hash};
use crate::plan::Module;
use lockstep_harness::tiers::Counts;
use std::cell::RefCell;

/// A run of which only the events matter.
struct Play {
    machine: Machine,
    blobs: RefCell<BTreeMap<String, String>>,
    entries: Vec<Entry>,
}

impl Play {
    fn new(backends: &[&str]) -> Self {
        let started = Started {
            format: FORMAT.into(),
            run: "r".into(),
            environment: "e".into(),
            workflow: "translate".into(),
            backends: backends.iter().map(|name| (*name).to_owned()).collect(),
            reference: ["e".into(), "1".into(), "c".into()],
            agent: "mailbox".into(),
            model: "m".into(),
            prompts: String::new(),
            manifest: String::new(),
            lockstep: String::new(),
            machine: String::new(),
            seed: 1,
            budget: Budget { usd: 10.0, tokens: 1_000_000, rounds: 40, minutes: 60.0, attempts: 5, patience: 4 },
            price: None,
            sandbox: String::new(),
            recording: None,
            begins_with: None,
            optimize: 0,
            held_out: false,
        };
        let mut play = Play { machine: Machine::new(started.clone()), blobs: RefCell::default(), entries: Vec::new() };
        play.on(Event::Started(Box::new(started)));
        play
    }

    fn keep(&self, text: &str) -> String {
        let name = hash(text.as_bytes());
        self.blobs.borrow_mut().insert(name.clone(), text.to_owned());
        name
    }

    fn blob(&self) -> impl Fn(&str) -> Result<String, LedgerError> + '_ {
        |name| Ok(self.blobs.borrow()[name].clone())
    }

    fn on(&mut self, event: Event) {
        let blobs = self.blobs.borrow().clone();
        self.machine.on(&event, &|name: &str| Ok(blobs[name].clone())).unwrap();
        let number = self.entries.len() as u64;
        self.entries.push(Entry { number, at: String::new(), before: String::new(), event });
    }

    fn answer(&mut self, usd: f64) {
        let round = self.machine.rounds + 1;
        let answer = self.keep(&format!("answer {round}"));
        let spent = Spent { input_tokens: 10, output_tokens: 5, usd, ..Spent::default() };
        self.on(Event::Answered { round, answer, model: "m".into(), truncated: false, spent });
    }

    fn plan(&mut self, modules: &[(&str, &str, &str)]) {
        assert_eq!(self.machine.next(), Do::AskPlan);
        self.answer(0.1);
        assert!(matches!(self.machine.next(), Do::ReadPlan(_)));
        let modules = modules.iter().map(|(name, backend, file)| Module {
            name: (*name).into(),
            backend: (*backend).into(),
            files: vec![(*file).into()],
            depends_on: Vec::new(),
            exports: Vec::new(),
            interface: String::new(),
            vectors: Vec::new(),
        });
        let plan = Plan { modules: modules.collect() };
        self.on(Event::Planned { plan });
    }

    /// An answer that writes these files.
    fn write(&mut self, files: &[(&str, &str)]) {
        self.answer(0.1);
        assert!(matches!(self.machine.next(), Do::Edit(_)));
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        for (path, text) in &self.machine.files {
            all.insert(path.clone(), self.keep(text));
        }
        for (path, text) in files {
            all.insert((*path).into(), self.keep(text));
        }
        let changed = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        self.on(Event::Edited { round: self.machine.rounds, changed, problems: Vec::new(), files: all });
    }

    fn built(&mut self, ok: bool) {
        let output = (!ok).then(|| self.keep("error[E0308]"));
        let backend = self.machine.backend();
        self.on(Event::Built { what: "runner".into(), backend, ok, output, seconds: 1.0 });
    }

    fn judged(&mut self, rows: u32, kinds: &[&str]) {
        self.judged_by("rollout", rows, kinds);
    }

    fn judged_by(&mut self, tier: &str, rows: u32, kinds: &[&str]) {
        assert!(matches!(self.machine.next(), Do::Judge { .. } | Do::Probe(_)), "{:?}", self.machine.next());
        let found = kinds.iter().map(|kind| Killed {
            kind: (*kind).into(),
            tier: tier.into(),
            configuration: "default".into(),
            steps: 3,
            reference_steps: 9,
        });
        let event = Event::Judged {
            scope: self.machine.scope_name(),
            backend: self.machine.backend(),
            tiers: Vec::new(),
            agrees: kinds.is_empty(),
            rows,
            found: found.collect(),
            packs: None,
            table: self.keep("table"),
            counts: Counts::default(),
            seconds: 1.0,
        };
        self.on(event);
    }

    fn sealed(&mut self, kinds: &[&str]) {
        let Do::Seal(backend) = self.machine.next() else { panic!("{:?}", self.machine.next()) };
        let text = || "x".to_owned();
        self.on(Event::Sealed { backend, candidate: text(), salt: text(), seed: text() });
        self.built(true);
        assert!(matches!(self.machine.next(), Do::Judge { sealed: true, .. }));
        self.judged(6, kinds);
    }

    fn certified(&mut self) {
        let Do::Certify(backend) = self.machine.next() else { panic!("{:?}", self.machine.next()) };
        let certificate = self.keep("{}");
        self.on(Event::Certified { backend, certificate });
    }
}

fn two_backends() -> Play {
    let mut play = Play::new(&["rust", "cuda-host"]);
    play.plan(&[
        ("world", "rust", "src/world.rs"),
        ("rules", "rust", "src/rules.rs"),
        ("cuda", "cuda-host", "cuda/rules.cuh"),
    ]);
    play
}

#[test]
fn a_run_without_a_mistake_goes_from_plan_to_certificates() {
    let mut play = two_backends();
    assert_eq!(play.machine.next(), Do::AskWrite(0));
    play.write(&[("src/world.rs", "1")]);
    assert_eq!(play.machine.next(), Do::Check("rust".into()), "a module that is not the last has no runner");
    play.built(true);
    assert_eq!(play.machine.next(), Do::AskWrite(1));
    play.write(&[("src/rules.rs", "1")]);
    assert_eq!(play.machine.next(), Do::Build("rust".into()));
    play.built(true);
    assert!(
        matches!(play.machine.next(), Do::Judge { tiers, sealed: false, .. } if tiers.contains(&"contract") && !tiers.contains(&"rollout"))
    );
    play.judged(4, &[]);
    assert_eq!(play.machine.scope_name(), "whole rust");
    play.built(true);
    assert!(matches!(play.machine.next(), Do::Judge { tiers, .. } if tiers.is_empty()));
    play.judged(6, &[]);
    assert_eq!(play.machine.next(), Do::AskWrite(2));
    play.write(&[("cuda/rules.cuh", "1")]);
    play.built(true);
    play.judged(4, &[]);
    play.built(true);
    play.judged(6, &[]);
    play.sealed(&[]);
    play.certified();
    play.sealed(&[]);
    play.certified();
    assert_eq!(play.machine.next(), Do::Finish);
    play.on(Event::Finished);
    assert_eq!(play.machine.next(), Do::Nothing);
}

#[test]
fn a_module_before_the_last_is_judged_by_its_own_functions_where_the_plan_names_them() {
    let mut play = two_backends();
    play.machine.plan.as_mut().unwrap().modules[0].vectors = vec!["build".into(), "probe:gravity".into()];
    play.write(&[("src/world.rs", "wrong")]);
    assert_eq!(play.machine.next(), Do::BuildProbes(0));
    play.built(true);
    assert_eq!(play.machine.next(), Do::Probe(0));
    play.judged(0, &["the function gravity"]);
    assert_eq!((play.machine.next(), play.machine.asked_about()), (Do::AskRepair, "world".into()));
    play.write(&[("src/world.rs", "right")]);
    play.built(true);
    play.judged(1, &[]);
    assert_eq!(play.machine.next(), Do::AskWrite(1), "only then the next module is asked for");
}

fn rust_only() -> Play {
    let mut play = Play::new(&["rust"]);
    play.plan(&[("rules", "rust", "src/rules.rs")]);
    play.write(&[("src/rules.rs", "first")]);
    play.built(true);
    play
}

#[test]
fn an_answer_that_makes_it_worse_is_taken_back() {
    let mut play = rust_only();
    play.judged(5, &["reward"]);
    assert_eq!(play.machine.next(), Do::AskRepair);
    play.write(&[("src/rules.rs", "worse")]);
    play.built(true);
    play.judged(2, &["canonical"]);
    assert_eq!(play.machine.next(), Do::GoBack(2));
    play.on(Event::WentBack { to_round: 2 });
    assert_eq!(play.machine.files["src/rules.rs"], "first");
    assert_eq!(play.machine.next(), Do::AskRepair);
    assert_eq!(play.machine.tried.len(), 2, "the model is told what was tried");
}

#[test]
fn three_answers_that_do_not_build_end_at_the_best_files() {
    let mut play = rust_only();
    play.judged(5, &["reward"]);
    for _ in 0..3 {
        assert_eq!(play.machine.next(), Do::AskRepair);
        play.write(&[("src/rules.rs", "broken")]);
        play.built(false);
    }
    assert_eq!(play.machine.next(), Do::GoBack(2));
}

#[test]
fn killing_one_divergence_is_progress_even_if_another_shows() {
    let mut play = rust_only();
    play.judged(5, &["a"]);
    for kind in ["b", "c", "d", "e"] {
        assert_eq!(play.machine.next(), Do::AskRepair, "before {kind}");
        play.write(&[("src/rules.rs", kind)]);
        play.built(true);
        play.judged(5, &[kind]);
    }
    assert!(matches!(play.machine.next(), Do::Stop(StopReason::NoProgress, words) if words.contains("attempts")));
}

#[test]
fn answers_without_progress_stop_the_run_and_a_resumed_run_goes_on() {
    let mut play = rust_only();
    for count in 0.. {
        play.judged(5, &["same"]);
        if let Do::Stop(reason, _) = play.machine.next() {
            assert_eq!((reason, count), (StopReason::NoProgress, 3));
            break;
        }
        play.write(&[("src/rules.rs", "again")]);
        play.built(true);
    }
    let budget = play.machine.budget;
    play.on(Event::Resumed { torn_bytes: 0, budget });
    assert_eq!(play.machine.next(), Do::AskRepair);
}

#[test]
fn money_tokens_and_rounds_are_looked_at_before_each_request() {
    let changes: [fn(&mut Budget); 3] =
        [|budget| budget.usd = 0.2, |budget| budget.tokens = 30, |budget| budget.rounds = 2];
    for change in changes {
        let mut play = Play::new(&["rust"]);
        change(&mut play.machine.budget);
        play.plan(&[("rules", "rust", "src/rules.rs")]);
        play.write(&[("src/rules.rs", "first")]);
        play.built(false);
        assert!(matches!(play.machine.next(), Do::Stop(StopReason::Budget, _)), "{:?}", play.machine.next());
    }
}

#[test]
fn a_candidate_that_fails_on_sealed_seeds_passes_everything_again() {
    let mut play = rust_only();
    play.judged(4, &[]);
    play.built(true);
    play.judged(6, &[]);
    play.sealed(&["rare"]);
    assert_eq!(play.machine.next(), Do::AskRepair);
    assert_eq!(play.machine.scope_name(), "whole rust");
    play.write(&[("src/rules.rs", "second")]);
    play.built(true);
    assert!(matches!(play.machine.next(), Do::Judge { sealed: false, .. }));
    play.judged(6, &[]);
    assert!(matches!(play.machine.next(), Do::Seal(_)));
}

#[test]
fn edits_that_do_not_apply_go_back_to_the_model_before_a_build() {
    let mut play = Play::new(&["rust"]);
    play.plan(&[("rules", "rust", "src/rules.rs")]);
    play.answer(0.1);
    let problems = vec!["src/rules.rs: no such lines".to_owned()];
    play.on(Event::Edited { round: 2, changed: Vec::new(), problems, files: BTreeMap::new() });
    assert_eq!(play.machine.next(), Do::AskRepair);
    assert!(matches!(play.machine.trouble, Some(Trouble::Edits(_))));
}

#[test]
fn a_run_is_the_same_from_its_ledger_at_every_event() {
    let mut play = rust_only();
    play.judged(5, &["reward"]);
    play.write(&[("src/rules.rs", "worse")]);
    play.built(true);
    play.judged(2, &["canonical"]);
    play.on(Event::WentBack { to_round: 2 });
    play.write(&[("src/rules.rs", "good")]);
    play.built(true);
    play.judged(4, &[]);
    play.built(true);
    play.judged(6, &[]);
    play.sealed(&[]);
    let mut live = Machine::new(play.machine.started.clone());
    for (at, entry) in play.entries.iter().enumerate() {
        live.on(&entry.event, &play.blob()).unwrap();
        let again = Machine::replayed(&play.entries[..=at], &play.blob()).unwrap().unwrap();
        assert_eq!(again.next(), live.next(), "after event {at}");
        assert_eq!(again.files, live.files);
        assert_eq!(again.totals, live.totals);
    }
}

fn speed(ratio: f64) -> lockstep_harness::race::Speed {
    lockstep_harness::race::Speed { ratio, least: ratio, most: ratio, runs: 5, steps: 1, lanes: 1, nanoseconds: 1.0 }
}

impl Play {
    fn timed(&mut self, beside_fastest: Option<f64>, kept: bool) {
        assert!(matches!(self.machine.next(), Do::Time(_)), "{:?}", self.machine.next());
        let words = self.keep("some speed");
        self.on(Event::Timed {
            backend: "rust".into(),
            beside_fastest: beside_fastest.map(speed),
            beside_reference: None,
            kept,
            words,
        });
    }

    fn faster(&mut self, text: &str) {
        assert_eq!(self.machine.next(), Do::AskFaster);
        self.write(&[("src/rules.rs", text)]);
        assert_eq!(self.machine.next(), Do::Build("rust".into()));
    }

    fn rules(&self) -> &str {
        &self.machine.files["src/rules.rs"]
    }
}

/// A run whose only backend agrees, and is to be made faster.
fn agreeing(optimize: u32) -> Play {
    let mut play = rust_only();
    play.machine.started.optimize = optimize;
    if let Event::Started(started) = &mut play.entries[0].event {
        started.optimize = optimize;
    }
    play.judged(4, &[]);
    play.built(true);
    play.judged(6, &[]);
    play.built(true);
    play.timed(None, true);
    play
}

#[test]
fn faster_is_kept_only_where_every_tier_agrees_and_the_clock_says_so() {
    let mut play = agreeing(5);
    let first = play.rules().to_owned();
    play.faster("wrong");
    play.built(true);
    assert!(matches!(play.machine.next(), Do::Judge { tiers, sealed: false, .. } if tiers.is_empty()));
    play.judged(5, &["reward"]);
    assert!(matches!(play.machine.next(), Do::GoBack(_)));
    play.on(Event::WentBack { to_round: 2 });
    assert_eq!(play.rules(), first);
    play.faster("broken");
    play.built(false);
    play.on(Event::WentBack { to_round: 2 });
    assert_eq!(play.rules(), first);
    play.faster("right and slow");
    play.built(true);
    play.judged(6, &[]);
    play.timed(Some(0.9), false);
    play.on(Event::WentBack { to_round: 2 });
    assert_eq!(play.rules(), first);
    play.faster("right and fast");
    play.built(true);
    play.judged(6, &[]);
    play.timed(Some(1.5), true);
    assert_eq!(play.rules(), "right and fast");
    let told: Vec<&str> =
        play.machine.tried.iter().map(|tried| tried.result.split([',', ':']).next().unwrap()).collect();
    assert_eq!(told, ["dropped", "dropped", "it agrees", "it agrees"]);
    play.faster("wrong again");
    play.built(true);
    play.judged(5, &["reward"]);
    play.on(Event::WentBack { to_round: 6 });
    assert!(matches!(play.machine.next(), Do::Enough(why) if why.contains('5')));
    play.on(Event::FastEnough { backend: "rust".into(), why: String::new() });
    assert_eq!(play.machine.next(), Do::Seal("rust".into()));
    assert_eq!(play.rules(), "right and fast");
}

#[test]
fn what_agrees_is_certified_when_the_budget_ends_while_it_is_made_faster() {
    let mut play = agreeing(5);
    play.machine.budget.rounds = play.machine.rounds;
    assert!(matches!(play.machine.next(), Do::Enough(why) if why.contains("budget")));
    play.on(Event::FastEnough { backend: "rust".into(), why: String::new() });
    assert_eq!(play.machine.next(), Do::Seal("rust".into()));
}

#[test]
fn a_faster_version_that_fails_on_sealed_seeds_is_repaired_and_not_made_faster_again() {
    let mut play = agreeing(1);
    play.faster("fast, and wrong where nobody looked");
    play.built(true);
    play.judged(6, &[]);
    play.timed(Some(2.0), true);
    play.on(Event::FastEnough { backend: "rust".into(), why: String::new() });
    play.sealed(&["rare"]);
    assert_eq!(play.machine.next(), Do::AskRepair);
    play.write(&[("src/rules.rs", "right")]);
    play.built(true);
    play.judged(6, &[]);
    assert_eq!(play.machine.next(), Do::Seal("rust".into()));
}

#[test]
fn a_run_that_begins_with_another_asks_for_no_plan_and_is_judged_as_a_whole() {
    let mut play = Play::new(&["rust"]);
    play.machine.started.begins_with = Some("r0".into());
    assert_eq!(play.machine.next(), Do::Take("r0".into()));
    let text = play.keep("taken");
    let plan = rust_only().machine.plan.unwrap();
    play.on(Event::Taken { run: "r0".into(), plan, files: BTreeMap::from([("src/rules.rs".into(), text)]) });
    assert_eq!(play.machine.next(), Do::Build("rust".into()));
    assert_eq!((play.machine.scope_name().as_str(), play.rules()), ("whole rust", "taken"));
}

#[test]
fn a_trace_of_an_earlier_round_that_still_differs_is_no_reason_to_go_back_and_no_progress() {
    let mut play = rust_only();
    play.judged(3, &["draws"]);
    for (count, text) in ["half a repair", "another", "a third"].into_iter().enumerate() {
        assert_eq!(play.machine.next(), Do::AskRepair);
        play.write(&[("src/rules.rs", text)]);
        play.built(true);
        // It comes first, so no other row was played.
        play.judged_by("traces", 0, &["the traces tier: a trace kept from an earlier round agrees"]);
        assert_eq!(play.rules(), text);
        assert_eq!(play.machine.idle as usize, count + 2);
    }
    assert!(matches!(play.machine.next(), Do::Stop(StopReason::NoProgress, _)));
}
