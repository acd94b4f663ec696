//! The loop from outside: the real command, the real workshop and reference, and a mailbox in which this test is the
//! model. What it answers is the environment's own source, whole or broken in ways that models break things.

use crate::common::{Run, Running, clone, command};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest that one answer may be waited for.
const PATIENCE: Duration = Duration::from_secs(180);

/// `counter` in a folder of its own, without source, tests, traces, certificates or recordings.
struct Empty {
    folder: PathBuf,
    /// Outside the clone, so that a request names no path of the clone on its own account.
    mailbox: tempfile::TempDir,
}

impl Empty {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).join("counter");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the target folder can be written");
        // One configuration and few steps, so that the tests are short: what differs between configurations is not theirs.
        let text = std::fs::read_to_string(clone().join("envs/counter/env.toml")).expect("counter has a manifest");
        let text = text.replace("500_000", "20_000").replace("200_000", "10_000").replace("100_000", "5_000");
        let mut manifest: toml::Table = text.parse().expect("counter's manifest is TOML");
        let alone = |table: &mut toml::Value| table.as_table_mut().unwrap().retain(|name, _| name == "default");
        alone(&mut manifest["configurations"]);
        alone(&mut manifest["tiers"]["rollout_steps"]);
        for (_, backend) in manifest["backends"].as_table_mut().expect("counter has backends") {
            backend.as_table_mut().expect("a backend is a table").remove("configurations");
        }
        std::fs::write(folder.join("env.toml"), manifest.to_string()).expect("the folder can be written");
        Empty { folder, mailbox: tempfile::tempdir().expect("a folder can be made") }
    }

    fn mailbox(&self) -> PathBuf {
        self.mailbox.path().to_owned()
    }

    fn converge(&self, more: &[&str]) -> Running {
        let (folder, mailbox) = (self.folder.display().to_string(), self.mailbox().display().to_string());
        let mut words = vec!["converge", &folder, "--agent", "mailbox", "--mailbox", &mailbox, "--model", "a test"];
        words.extend(["--backend", "rust", "--price-in", "1", "--price-out", "5"]);
        words.extend(more);
        command(&words).spawn()
    }

    fn resume(&self, run: &str) -> Running {
        let (folder, mailbox) = (self.folder.display().to_string(), self.mailbox().display().to_string());
        let words = ["resume", &folder, run, "--agent", "mailbox", "--mailbox", &mailbox, "--model", "a test"];
        command(&[&words[..], &["--price-in", "1", "--price-out", "5"]].concat()).spawn()
    }

    /// The name of the only run.
    fn run(&self) -> String {
        let runs = std::fs::read_dir(self.folder.join("recordings")).expect("a run began");
        let names: Vec<String> = runs.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        assert_eq!(names.len(), 1, "{names:?}");
        names[0].clone()
    }

    /// Waits for a request and returns it.
    fn request(&self, round: u32) -> String {
        let began = Instant::now();
        loop {
            let found = std::fs::read_dir(self.mailbox()).into_iter().flatten().flatten();
            for inbox in found {
                if let Ok(text) = std::fs::read_to_string(inbox.path().join(format!("request-{round:04}.md"))) {
                    return text;
                }
            }
            assert!(began.elapsed() < PATIENCE, "there is no request {round}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn answer(&self, round: u32, text: &str) {
        self.request(round);
        let inbox = std::fs::read_dir(self.mailbox()).unwrap().flatten().next().unwrap().path();
        std::fs::write(inbox.join(format!("answer-{round:04}.md")), format!("{text}\nEND OF ANSWER\n")).unwrap();
    }
}

fn source(path: &str) -> String {
    std::fs::read_to_string(clone().join("envs/counter").join(path)).expect("counter has its source")
}

fn whole(files: &[(&str, String)]) -> String {
    files.iter().map(|(path, text)| format!("<file path=\"{path}\">\n{text}</file>\n")).collect()
}

fn plan() -> String {
    let files = ["src/world.rs", "src/state.rs", "src/rules.rs"];
    let plan = serde_json::json!({"modules": [{
        "name": "game", "backend": "rust", "files": files, "depends_on": [],
        "exports": ["World", "State", "Counter"], "interface": "the whole game",
        "vectors": ["build", "contract", "property", "interaction"],
    }]});
    format!("```json\n{plan}\n```")
}

fn events(folder: &Path, run: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("recordings").join(run).join("ledger.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["entry"]["event"].clone())
        .collect()
}

fn kinds(events: &[serde_json::Value]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for event in events {
        *kinds.entry(event["kind"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    kinds
}

fn all_files() -> Vec<(&'static str, String)> {
    ["src/world.rs", "src/state.rs", "src/rules.rs"].map(|path| (path, source(path))).to_vec()
}

#[test]
fn converge_goes_from_nothing_to_a_certificate_past_edits_that_fail_in_every_way() {
    let empty = Empty::new("converge-all");
    let running = empty.converge(&["--seed", "7"]);
    empty.answer(1, "I would rather not write JSON.");
    let again = empty.request(2);
    assert!(again.contains("modules"), "the model is told what a plan is: {again}");
    empty.answer(2, &plan());
    // A file that is not its own: nothing of it is applied.
    empty.answer(3, &whole(&[("../../src/main.rs", "fn main() {}\n".into())]));
    assert!(empty.request(4).contains("src/main.rs"), "the model is told which file was refused");
    // A build error.
    let mut files = all_files();
    files[2].1 = files[2].1.replacen("fn deciders", "fn decides", 1);
    empty.answer(4, &whole(&files));
    let request = empty.request(5);
    assert!(request.contains("error[E"), "the compiler's words are in the request");
    assert!(!request.contains(env!("CARGO_MANIFEST_DIR")), "no path of this machine is in the request");
    // It builds, and one rule is wrong: the tenth of a point is a double's.
    empty.answer(5, "<edit path=\"src/rules.rs\">\n<<<<<<< SEARCH\n    fn decides\n=======\n    fn deciders\n>>>>>>> REPLACE\n</edit>\n");
    let request = empty.request(6);
    assert!(
        request.contains("search") || request.contains("SEARCH"),
        "the search text was not a whole line: {request}"
    );
    let wrong = source("src/rules.rs").replace("state.tick.wrapping_add(1)", "state.tick.wrapping_add(2)");
    assert_ne!(wrong, source("src/rules.rs"), "the planted line is there");
    empty.answer(6, &whole(&[("src/rules.rs", wrong)]));
    let request = empty.request(7);
    assert!(request.contains("tick") && request.contains("expected"), "the divergence is in the request: {request}");
    empty.answer(7, &whole(&[("src/rules.rs", source("src/rules.rs"))]));
    running.wait().ends(0).says("converged in 7 rounds");

    let run = empty.run();
    let folder = empty.folder.join("recordings").join(&run);
    let events = events(&empty.folder, &run);
    let kinds = kinds(&events);
    assert_eq!((kinds["answered"], kinds["plan_refused"], kinds["certified"], kinds["finished"]), (7, 1, 1, 1));
    let found: Vec<&serde_json::Value> =
        events.iter().filter(|event| event["kind"] == "judged" && event["agrees"] == false).collect();
    assert_eq!(found.len(), 1);
    assert!(found[0]["found"][0]["steps"].as_u64().unwrap() <= 2, "it was shrunk: {}", found[0]);
    let certificate = std::fs::read_to_string(folder.join("final/certificate.json")).unwrap();
    assert!(certificate.contains(&format!("\"src/rules.rs\": \"loop {run}\"")), "{certificate}");
    assert_eq!(std::fs::read_to_string(folder.join("final/src/rules.rs")).unwrap(), source("src/rules.rs"));

    let environment = empty.folder.display().to_string();
    command(&["runs", &environment]).run().ends(0).says("1 of 1 runs converged");
    command(&["runs", &environment, &run]).run().ends(0).says("plan      refused");
    command(&["cost", &environment]).run().ends(0).says("1 of 1");
    // The recording is the default now: no agent, no key, the same answers judged again.
    let replay = command(&["converge", &environment, "--backend", "rust"]).run().ends(0);
    let _: Run = replay.says("recorded: run").says("$0 now").says("converged in 7 rounds");
}

#[test]
fn a_module_is_held_against_the_reference_by_its_functions_before_the_next_one_is_asked_for() {
    let empty = Empty::new("converge-probes");
    let manifest = empty.folder.join("env.toml");
    let mut text = std::fs::read_to_string(&manifest).unwrap();
    text.push_str("\n[[probe]]\nfunction = \"tenths\"\ninput = { coins = [-1000, 1000] }\n");
    std::fs::write(&manifest, text).unwrap();
    // The real reference, which can be asked for one function more.
    let folder = tempfile::tempdir().unwrap();
    let reference = folder.path();
    let counter = clone().join("references/counter");
    std::fs::copy(counter.join("counter.py"), reference.join("counter.py")).unwrap();
    let adapter = std::fs::read_to_string(counter.join("adapter.py")).unwrap().replace(
        "if __name__",
        "CounterLane.probes = {\"tenths\": lambda input: {\"value\": single(input[\"coins\"] * 0.1)}}\n\n\nif __name__",
    );
    std::fs::write(reference.join("adapter.py"), format!("from counter import single\n{adapter}")).unwrap();
    let toml = "format = \"lockstep/reference/1\"\nname = \"counter\"\nversion = \"1\"\nlicence = \"MIT OR Apache-2.0\"\nmodel_may_read = [\"counter.py\"]\n\
                [adapters.python]\ndefault = true\nargv = [\"{python}\", \"{here}/adapter.py\"]\n";
    std::fs::write(reference.join("reference.toml"), toml).unwrap();

    let running = empty.converge(&["--reference", &reference.display().to_string(), "--budget-rounds", "3"]);
    let module = |name: &str, files: &[&str], exports: &[&str], vectors: &[&str]| {
        serde_json::json!({
            "name": name, "backend": "rust", "files": files, "depends_on": [], "exports": exports,
            "interface": "as the reference", "vectors": vectors,
        })
    };
    let modules = [
        module("board", &["src/world.rs"], &["World"], &["build", "probe:tenths"]),
        module(
            "game",
            &["src/state.rs", "src/rules.rs"],
            &["State", "Counter"],
            &["contract", "property", "interaction"],
        ),
    ];
    assert!(empty.request(1).contains("probe:tenths"), "the model is told which functions judge modules");
    empty.answer(1, &format!("```json\n{}\n```", serde_json::json!({"modules": modules})));
    assert!(empty.request(2).contains("pub fn probe("), "the model is told what is called");
    let probe = |number: &str| {
        let probe = format!(
            "pub fn probe(_: &Options, _: &str, input: &serde_json::Value) -> Result<serde_json::Value, lockstep_core::Refusal> {{\n    \
             let coins = input[\"coins\"].as_i64().unwrap_or(0);\n    Ok(serde_json::json!({{\"value\": {number}}}))\n}}\n"
        );
        whole(&[("src/world.rs", source("src/world.rs") + &probe)])
    };
    // A product of two singles is not the product of two doubles, rounded.
    empty.answer(2, &probe("f64::from(coins as f32 * 0.1f32)"));
    let request = empty.request(3);
    assert!(request.contains("the function tenths") && request.contains("expected"), "{request}");
    empty.answer(3, &probe("f64::from((coins as f64 * 0.1) as f32)"));
    running.wait().ends(5).says("module board, probe: agrees");
    let kinds = kinds(&events(&empty.folder, &empty.run()));
    assert_eq!((kinds["answered"], kinds["built"], kinds["judged"]), (3, 2, 2), "{kinds:?}");
}

#[test]
fn an_environment_outside_the_clone_goes_from_nothing_to_a_certificate_that_holds() {
    let away = tempfile::tempdir().unwrap();
    let folder = away.path().join("counter");
    std::fs::create_dir(&folder).unwrap();
    // Manifest and reference in one folder, as `lockstep new` leaves them; the SDK and lockstep-core come with the program.
    let manifest = std::fs::read_to_string(Empty::new("converge-away").folder.join("env.toml")).unwrap();
    std::fs::write(folder.join("env.toml"), manifest.replace("reference = \"counter\"", "reference = \"reference\""))
        .unwrap();
    std::fs::create_dir(folder.join("reference")).unwrap();
    for file in ["counter.py", "adapter.py", "reference.toml"] {
        std::fs::copy(clone().join("references/counter").join(file), folder.join("reference").join(file)).unwrap();
    }
    let empty = Empty { folder, mailbox: tempfile::tempdir().unwrap() };
    let running = empty.converge(&["--seed", "7"]);
    empty.answer(1, &plan());
    empty.answer(2, &whole(&all_files()));
    running.wait().ends(0).says("converged in 2 rounds").says("adopted");
    let environment = empty.folder.display().to_string();
    command(&["certify", &environment, "--check"]).run().ends(0).says("holds");
    command(&["verify", &environment, "--steps", "2000"]).run().ends(0).says("rust");
    std::fs::write(
        empty.folder.join("src/rules.rs"),
        source("src/rules.rs").replace("wrapping_add(1)", "wrapping_add(2)"),
    )
    .unwrap();
    command(&["certify", &environment, "--check"]).run().ends(1).says("stale");
    command(&["verify", &environment, "--steps", "2000"]).run().ends(1).says("tick");
}

#[test]
fn a_run_that_was_killed_or_interrupted_goes_on_and_pays_for_nothing_twice() {
    let empty = Empty::new("converge-killed");
    let mut running = empty.converge(&["--seed", "7"]);
    empty.request(1);
    let run = empty.run();
    // While it waits, nobody else writes this environment or goes on with this run.
    empty.converge(&["--seed", "8"]).wait().ends(2).says("another run has a model write counter right now");
    empty.resume(&run).wait().ends(2).says("another run has a model write counter right now");
    running.kill();
    running.wait();
    // One that was killed before its first line never began.
    let never = empty.folder.join("recordings/2026-01-01-1");
    std::fs::create_dir(&never).unwrap();
    std::fs::write(never.join("ledger.jsonl"), "{\"hash\":\"").unwrap();
    command(&["runs", &empty.folder.display().to_string()]).run().ends(0).says("0 of 1 runs converged");
    std::fs::remove_dir_all(never).unwrap();
    // The request stands; it is answered while nobody waits.
    empty.answer(1, &plan());
    let running = empty.resume(&run);
    let request = empty.request(2);
    assert!(request.contains("src/rules.rs"));
    let mut running = running;
    running.interrupt();
    running.wait().ends(130);
    empty.answer(2, &whole(&all_files()));
    // Killed while it builds or judges; wherever that is, it goes on from there.
    for milliseconds in [1500, 4000, 9000] {
        let mut running = empty.resume(&run);
        std::thread::sleep(Duration::from_millis(milliseconds));
        running.kill();
        running.wait();
    }
    let path = empty.folder.join("recordings").join(&run).join("ledger.jsonl");
    if !std::fs::read_to_string(&path).unwrap().contains("\"kind\":\"finished\"") {
        empty.resume(&run).wait().ends(0).says("converged in 2 rounds");
    }
    let kinds = kinds(&events(&empty.folder, &run));
    assert_eq!((kinds["answered"], kinds["certified"], kinds["finished"]), (2, 1, 1), "{kinds:?}");
    let again = empty.resume(&run);
    again.wait().ends(2).says("has converged");
}

/// Copies a folder of files and folders.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place)
        } else {
            std::fs::copy(entry.path(), place).map(drop).unwrap()
        }
    }
}

#[test]
#[ignore = "goes on from each of some 20 entries, each time to the certificate: minutes"]
fn a_run_goes_on_from_every_entry_of_its_ledger_to_the_same_end() {
    let mut empty = Empty::new("converge-every");
    let wrong = source("src/rules.rs").replace("state.tick.wrapping_add(1)", "state.tick.wrapping_add(2)");
    let mut files = all_files();
    files[2].1 = wrong;
    let answers = [plan(), whole(&files), whole(&[("src/rules.rs", source("src/rules.rs"))])];
    let running = empty.converge(&["--seed", "7"]);
    for (round, answer) in (1..).zip(&answers) {
        empty.answer(round, answer);
    }
    running.wait().ends(0).says("converged in 3 rounds").says("adopted");
    let run = empty.run();
    let kept = tempfile::tempdir().unwrap();
    let folder = empty.folder.join("recordings").join(&run);
    copy(&folder, kept.path());
    let text = std::fs::read_to_string(folder.join("ledger.jsonl")).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let hash = |folder: &Path| {
        let text = std::fs::read_to_string(folder.join("final/certificate.json")).unwrap();
        let certificate: serde_json::Value = serde_json::from_str(&text).unwrap();
        (certificate["candidate"].clone(), certificate["provenance"].clone(), certificate["backend"].clone())
    };
    let expected = hash(&folder);
    for kept_lines in 1..lines.len() {
        // Killed while it wrote the next line; what it did before it would have written it is done.
        std::fs::remove_dir_all(&folder).unwrap();
        copy(kept.path(), &folder);
        let next = lines[kept_lines];
        std::fs::write(folder.join("ledger.jsonl"), lines[..kept_lines].concat() + &next[..next.len() / 2]).unwrap();
        if kept_lines % 2 == 1 {
            // In the midst of taking the files over.
            std::fs::remove_file(empty.folder.join("src/state.rs")).unwrap();
        }
        empty.mailbox = tempfile::tempdir().unwrap();
        let answered = lines[..kept_lines].iter().filter(|line| line.contains("\"kind\":\"answered\"")).count();
        let running = empty.resume(&run);
        for (round, answer) in (1..).zip(&answers).skip(answered) {
            empty.answer(round, answer);
        }
        running.wait().ends(0).says("converged in 3 rounds");
        let asked = std::fs::read_dir(empty.mailbox())
            .unwrap()
            .flatten()
            .flat_map(|inbox| std::fs::read_dir(inbox.path()).unwrap());
        let asked = asked.flatten().filter(|file| file.file_name().to_string_lossy().ends_with(".md"));
        let asked = asked.filter(|file| file.file_name().to_string_lossy().starts_with("request-")).count();
        assert_eq!(asked, answers.len() - answered, "after {kept_lines} lines: {next}");
        let kinds = kinds(&events(&empty.folder, &run));
        assert_eq!(
            (kinds["answered"], kinds["certified"], kinds["finished"]),
            (3, 1, 1),
            "after {kept_lines}: {kinds:?}"
        );
        assert_eq!(hash(&folder), expected, "after {kept_lines} lines: {next}");
        for path in ["src/world.rs", "src/state.rs", "src/rules.rs"] {
            let places = [empty.folder.join(path), folder.join("final").join(path)];
            assert!(places.iter().all(|place| std::fs::read_to_string(place).unwrap() == source(path)), "{path}");
        }
    }
}

#[test]
fn a_budget_that_is_too_small_stops_the_run_before_anything_is_asked() {
    let empty = Empty::new("converge-budget");
    empty
        .converge(&["--budget-usd", "0.001"])
        .wait()
        .ends(5)
        .says("too little for another answer")
        .says("lockstep resume");
    let kinds = kinds(&events(&empty.folder, &empty.run()));
    assert!(!kinds.contains_key("asked"), "{kinds:?}");
}

#[test]
fn a_missing_key_is_found_before_a_run_begins() {
    let empty = Empty::new("converge-key");
    let environment = empty.folder.display().to_string();
    let words =
        ["converge", &environment, "--agent", "anthropic", "--model", "m", "--price-in", "1", "--price-out", "1"];
    command(&words).env("ANTHROPIC_API_KEY", "").run().ends(2).says("ANTHROPIC_API_KEY");
    assert!(!empty.folder.join("recordings").join("ledger.jsonl").exists());
    let left = std::fs::read_dir(empty.folder.join("recordings")).map(|entries| entries.count()).unwrap_or_default();
    assert_eq!(left, 0, "no folder of a run that never began is left");
}

#[test]
fn an_endpoint_behind_a_proxy_is_reached_through_it_and_a_key_stays_at_home_where_none_is_needed() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut size) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                size = value.trim().parse().unwrap();
            }
            head += &line;
        }
        reader.read_exact(&mut vec![0; size]).unwrap();
        let event = |data: serde_json::Value| format!("data: {data}\n\n");
        let answer = event(
            serde_json::json!({"model": "far", "choices": [{"index": 0, "delta": {"content": "no plan"}, "finish_reason": "stop"}]}),
        ) + &event(
            serde_json::json!({"model": "far", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}),
        ) + "data: [DONE]\n\n";
        let head_of_answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        stream.write_all((head_of_answer.to_owned() + &answer).as_bytes()).unwrap();
        head
    });
    let empty = Empty::new("converge-proxy");
    let folder = empty.folder.display().to_string();
    let words = ["converge", &folder, "--agent", "openai", "--model", "far", "--base-url", "http://model.example/v1"];
    let more = ["--backend", "rust", "--price-in", "1", "--price-out", "5", "--budget-rounds", "1", "--no-key"];
    command(&[&words[..], &more].concat())
        .env("http_proxy", &proxy)
        .env("HTTP_PROXY", &proxy)
        .env("OPENAI_API_KEY", "sk-very-secret")
        .run()
        .ends(5)
        .says("answer    5 tokens from far")
        .says("plan      refused");
    let head = asked.join().unwrap();
    assert!(head.starts_with("POST http://model.example/v1/chat/completions"), "{head}");
    assert!(!head.contains("sk-very-secret"), "{head}");
}

#[test]
fn without_a_recording_and_an_agent_the_ways_to_name_one_are_listed() {
    let empty = Empty::new("converge-none");
    command(&["converge", &empty.folder.display().to_string()]).run().ends(2).says("--agent anthropic").says("mailbox");
}

#[test]
fn a_ledger_that_somebody_changed_is_refused_with_its_line() {
    let empty = Empty::new("converge-changed");
    empty.converge(&["--budget-usd", "0.001"]).wait().ends(5);
    let run = empty.run();
    let path = empty.folder.join("recordings").join(&run).join("ledger.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("a test", "a best", 1)).unwrap();
    let environment = empty.folder.display().to_string();
    command(&["runs", &environment]).run().ends(2).says("was changed at line 1");
}
