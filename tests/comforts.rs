//! What makes `lockstep` pleasant beside its work: JUnit for CI, defaults in `lockstep.toml`, completions.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Text that breaks XML, a terminal, or a reader that trusts it.
const HOSTILE: &str = "]]></failure><testcase a='\"1\"'>&amp;\u{1b}[2J\u{0}\u{b}\u{fffe}\u{202e}";

#[test]
fn junit_has_a_case_for_each_configuration_tier_and_check() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("deep/junit.xml");
    let configurations = ["-c", "default", "-c", "duel"];
    let arguments = ["verify", "counter", "--steps", "500", "-t", "contract", "-t", "rollout", "--json", "--junit"];
    let run = lockstep(&[&arguments[..], &[&path.display().to_string()], &configurations].concat()).run().ends(0);
    let result: Value = serde_json::from_str(&run.stdout).expect("standard output is JSON");
    let text = std::fs::read_to_string(&path).expect("it was written");
    let document = roxmltree::Document::parse(&text).expect("it is XML");
    let cases: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    let has = |class: &str, name: &str| {
        cases
            .iter()
            .filter(|case| case.attribute("classname") == Some(class) && case.attribute("name") == Some(name))
            .count()
    };
    let mut checks = 0;
    for tier in result["tiers"].as_array().expect("there are tiers") {
        let class = format!("counter::rust::{}", tier["configuration"].as_str().expect("a name"));
        let name = tier["tier"].as_str().expect("a name");
        assert_eq!(has(&class, name), 1, "{class} {name}");
        for check in tier["checks"].as_array().expect("a list") {
            let claim =
                format!("{}: {}", check["side"].as_str().expect("a side"), check["claim"].as_str().expect("a claim"));
            assert_eq!(has(&format!("{class}::{name}"), &claim), 1, "{claim}");
            checks += 1;
        }
    }
    assert!(checks > 20, "the contract tier has checks");
    let skipped = |case: &roxmltree::Node<'_, '_>| {
        let reason = case.children().find(|node| node.has_tag_name("skipped"))?.attribute("message")?;
        (case.attribute("name") == Some("fuzz")).then(|| reason.to_owned())
    };
    assert_eq!(cases.iter().filter_map(skipped).collect::<Vec<_>>(), ["not asked for", "not asked for"]);
    let suite = document.root_element();
    assert_eq!(suite.attribute("tests"), Some(cases.len().to_string().as_str()));
    assert_eq!(suite.attribute("failures"), Some("0"));
}

#[test]
fn junit_of_a_divergence_holds_the_block() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let reference = edited_reference(folder.path(), "rewards[agent] += TENTH", "rewards[agent] += 0.25");
    let [path, traces] = ["junit.xml", "traces"].map(|name| folder.path().join(name).display().to_string());
    let arguments = ["verify", "counter", "-c", "default", "--steps", "2000", "--seed", "7", "-t", "rollout"];
    let more = ["--reference", &reference, "--traces", &traces, "--junit", &path];
    let run = lockstep(&[&arguments[..], &more].concat()).run().ends(1);
    let text = std::fs::read_to_string(&path).expect("it was written");
    let document = roxmltree::Document::parse(&text).expect("it is XML");
    let failure = document.descendants().find(|node| node.has_tag_name("failure")).expect("there is a failure");
    let block = failure.text().expect("the failure has a text");
    assert!(run.stdout.starts_with(block), "the same block as in the terminal:\n{block}\n{}", run.stdout);
    assert_eq!(failure.attribute("message"), block.lines().next());
    assert_eq!(document.root_element().attribute("failures"), Some("1"));
}

#[test]
fn junit_stays_xml_whatever_a_reference_says() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let evil: String = HOSTILE.chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
    let reference = edited_reference(folder.path(), "self.value -= 1", &format!("raise ValueError(\"{evil}\")"));
    let path = folder.path().join("junit.xml").display().to_string();
    let arguments =
        ["verify", "counter", "-c", "default", "--steps", "500", "-t", "rollout", "--reference", &reference];
    lockstep(&[&arguments[..], &["--junit", &path]].concat()).run().ends(3);
    let text = std::fs::read_to_string(&path).expect("it was written");
    let document = roxmltree::Document::parse(&text).expect("it is XML");
    let error = document.descendants().find(|node| node.has_tag_name("error")).expect("there is an error");
    let said = error.text().expect("the error has a text");
    assert!(said.contains("]]></failure><testcase a='\"1\"'>&amp;"), "{said}");
    assert_eq!(document.descendants().filter(|node| node.has_tag_name("testcase")).count(), 1);
}

#[test]
fn junit_that_can_not_be_written_is_no_good_news() {
    let arguments = ["verify", "counter", "-c", "default", "--steps", "500", "-t", "rollout", "--junit"];
    lockstep(&[&arguments[..], &["/proc/lockstep/junit.xml"]].concat())
        .run()
        .ends(2)
        .says("can't be written")
        .says("0 divergences");
}

#[test]
fn lockstep_toml_gives_way_to_variables_and_they_to_flags() {
    let folder = project("[reference]\npython = \"tools/no-such-python\"\n");
    let deep = folder.path().join("a/b");
    std::fs::create_dir_all(&deep).expect("the folder can be written");
    let doctor = || lockstep(&["doctor", "--json"]).at(&deep).unset("LOCKSTEP_PYTHON");
    let python = |run: Run| {
        let result: Value = serde_json::from_str(&run.stdout).expect("standard output is JSON");
        let tools = result["tools"].as_array().expect("a list").clone();
        tools.iter().find(|tool| tool["name"] == "python3").expect("it is looked for")["found"].is_string()
    };
    assert!(!python(doctor().run()), "the file is found from below");
    assert!(python(doctor().set("LOCKSTEP_PYTHON", "python3").run()), "a variable wins over the file");
    assert!(!python(doctor().set("LOCKSTEP_PYTHON", "").run()), "an empty variable is none");
    let typed = ["doctor", "--json", "--python", "python3"];
    let typed = lockstep(&typed).at(&deep).set("LOCKSTEP_PYTHON", "/no/such/python");
    assert!(python(typed.run()), "what is typed wins over a variable");
    // The verb's own section and variable come before the shared ones.
    std::fs::write(
        folder.path().join("lockstep.toml"),
        "[reference]\npython = \"/no\"\n[doctor]\npython = \"python3\"\n",
    )
    .expect("the folder can be written");
    assert!(python(doctor().run()));
    assert!(!python(doctor().set("LOCKSTEP_DOCTOR_PYTHON", "/no").set("LOCKSTEP_PYTHON", "python3").run()));
}

#[test]
fn lockstep_toml_sets_what_a_verb_does() {
    let folder =
        project("[verify]\nsteps = 700\nconfiguration = [\"duel\"]\ntier = [\"rollout\"]\njson = true\nseed = 42\n");
    let counter = root().join("envs/counter").display().to_string();
    let verify = |more: &[&str]| lockstep(&[&["verify", &counter], more].concat()).at(folder.path());
    let tiers = |run: Run| {
        let result: Value = serde_json::from_str(&run.stdout).expect("standard output is JSON");
        let tiers = result["tiers"].as_array().expect("a list").clone();
        let name =
            |tier: &Value| format!("{} {}", tier["configuration"].as_str().unwrap(), tier["tier"].as_str().unwrap());
        (result["seed"].clone(), tiers.iter().map(name).collect::<Vec<_>>())
    };
    assert_eq!(tiers(verify(&[]).run().ends(0)), ("0x2a".into(), vec!["duel rollout".into()]));
    let run =
        verify(&["-c", "default"]).set("LOCKSTEP_VERIFY_TIER", "contract, property").set("LOCKSTEP_VERIFY_SEED", "0x7");
    assert_eq!(tiers(run.run().ends(0)), ("0x7".into(), vec!["default contract".into(), "default property".into()]));
    let run = verify(&[]).set("LOCKSTEP_VERIFY_JSON", "false").run().ends(0);
    assert!(run.stdout.starts_with("configuration"), "{}", run.stdout);
}

#[test]
fn lockstep_toml_with_a_mistake_is_refused_by_name() {
    let mistakes: [(&str, &[&str]); 14] = [
        ("[verify]\nstep = 1\n", &["[verify] has no key \"step\"", "steps"]),
        ("[verify]\nminimize-steps = 1\n", &["[verify] has no key \"minimize-steps\"", "minimize_steps"]),
        ("[verfy]\nsteps = 1\n", &["there is no section [verfy]", "verify"]),
        ("[fuzz]\nevil = 1\n", &["[fuzz] has no key \"evil\""]),
        ("steps = 1\n", &["there is no section [steps]"]),
        ("verify = 1\n", &["verify is not a section"]),
        ("[verify]\nenvironment = \"pong\"\n", &["[verify] has no key \"environment\""]),
        ("[doctor]\npython = { a = 1 }\n", &["[doctor] python is of the type table"]),
        ("[doctor]\npython = [[1]]\n", &["[doctor] python is of the type array"]),
        ("[doctor]\npython = [\"a\", \"b\"]\n", &["[doctor] python", "a list, but the option takes one value"]),
        ("[doctor]\njson = \"maybe\"\n", &["[doctor] json", "neither true nor false"]),
        ("[doctor\n", &["is not TOML"]),
        ("[doctor]\npython = 1\npython = 2\n", &["is not TOML", "duplicate key"]),
        ("[\"\\u001b[2J\\u202e</x>\"]\na = 1\n", &["there is no section"]),
    ];
    for (text, words) in mistakes {
        let folder = project(text);
        let run = lockstep(&["doctor"]).at(folder.path()).run().ends(2).says("lockstep.toml");
        for word in words {
            assert!(run.all.contains(word), "{text:?} does not say {word:?}:\n{}", run.all);
        }
        assert!(!run.all.contains('\u{1b}') && !run.all.contains('\u{202e}'), "{:?}", run.all);
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("lockstep.toml"), b"[verify]\nsteps = \"\xff\"\n")
        .expect("the folder can be written");
    lockstep(&["doctor"]).at(folder.path()).run().ends(2).says("lockstep.toml can't be read");
}

#[test]
fn lockstep_toml_and_variables_are_named_when_the_option_refuses_a_value() {
    let counter = root().join("envs/counter").display().to_string();
    for (text, words) in [
        ("[verify]\nsteps = \"many\"\n", ["[verify] steps", "many"]),
        ("[verify]\nsteps = -1\n", ["[verify] steps", "-1"]),
        ("[reference]\ndeadline = 1.5\n", ["[reference] deadline", "1.5"]),
        // A value is never read as another option.
        ("[verify]\nbackend = \"--json\"\n", ["has no backend", "\"--json\""]),
    ] {
        let folder = project(text);
        let run = lockstep(&["verify", &counter]).at(folder.path()).run().ends(2);
        assert!(words.iter().all(|word| run.all.contains(word)), "{text:?}:\n{}", run.all);
    }
    lockstep(&["verify", &counter])
        .set("LOCKSTEP_DEADLINE", "soon")
        .run()
        .ends(2)
        .says("LOCKSTEP_DEADLINE")
        .says("soon");
    lockstep(&["verify", &counter]).set("LOCKSTEP_VERIFY_JSON", "maybe").run().ends(2).says("LOCKSTEP_VERIFY_JSON");
}

#[test]
fn lockstep_help_names_the_file_and_the_variables() {
    let folder = project("[broken\n");
    lockstep(&["--help"]).at(folder.path()).run().ends(0).says("lockstep.toml").says("LOCKSTEP_VERIFY_STEPS");
    lockstep(&["verify", "--help"]).at(folder.path()).run().ends(0).says("--junit").says("--html");
}

#[test]
fn completions_of_each_shell_know_every_verb() {
    let broken = project("[broken\n");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = lockstep(&["completions", shell]).at(broken.path()).run().ends(0);
        for word in ["verify", "replay", "completions", "junit", "lockstep"] {
            assert!(run.stdout.contains(word), "{shell} does not know {word}");
        }
    }
    let script = broken.path().join("script");
    std::fs::write(&script, lockstep(&["completions", "bash"]).run().ends(0).stdout)
        .expect("the folder can be written");
    match Command::new("bash").arg("-n").arg(&script).status() {
        Ok(status) => assert!(status.success(), "bash does not read its completions"),
        Err(_) => eprintln!("bash is not here, so its completions were not read by it"),
    }
    lockstep(&["completions", "tcsh"]).run().ends(2).says("possible values");
    lockstep(&["completions", "--help"]).run().ends(0).says("Example").says("lockstep completions bash");
}

#[test]
fn completions_survive_a_reader_that_stops_reading() {
    let lockstep = env!("CARGO_BIN_EXE_lockstep");
    let script = format!("set -o pipefail 2>/dev/null; '{lockstep}' completions zsh | head -c 10; exit $?");
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh is there");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("lockstep itself failed"));
}

/// A folder with this `lockstep.toml`.
fn project(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("lockstep.toml"), text).expect("the folder can be written");
    folder
}

/// The counter reference with a part of its source changed.
fn edited_reference(folder: &Path, from: &str, to: &str) -> String {
    let reference = folder.join("reference");
    std::fs::create_dir(&reference).expect("the folder can be written");
    for entry in std::fs::read_dir(root().join("references/counter")).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if path.is_file() {
            std::fs::copy(&path, reference.join(path.file_name().expect("a file"))).expect("it can be copied");
        }
    }
    let source = reference.join("counter.py");
    let text = std::fs::read_to_string(&source).expect("it is there");
    assert!(text.contains(from), "counter.py no longer says {from:?}");
    std::fs::write(&source, text.replace(from, to)).expect("the folder can be written");
    reference.display().to_string()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `lockstep` in the clone, before it runs.
fn lockstep(arguments: &[&str]) -> Lockstep {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.args(arguments).current_dir(root()).env("NO_COLOR", "1").stdin(Stdio::null());
    Lockstep { command, shown: arguments.join(" ") }
}

struct Lockstep {
    command: Command,
    shown: String,
}

impl Lockstep {
    fn at(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    fn unset(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    fn run(mut self) -> Run {
        let output = self.command.output().expect("lockstep was built");
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        Run { shown: self.shown, code: output.status.code(), all: format!("{stderr}{stdout}"), stdout }
    }
}

struct Run {
    shown: String,
    code: Option<i32>,
    stdout: String,
    all: String,
}

impl Run {
    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "lockstep {} ended otherwise:\n{}", self.shown, self.all);
        self
    }

    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.all.contains(text), "lockstep {} does not say {text:?}:\n{}", self.shown, self.all);
        self
    }
}
