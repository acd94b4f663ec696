//! The HTML report, in a real browser where one is installed: its keys work, it throws nothing, and it loads nothing.

use libtest_mimic::{Arguments, Failed, Trial};
use lockstep_harness::compare::Tolerances;
use lockstep_harness::html::{BYTES_MAX, Film, Frame, Page};
use lockstep_harness::manifest::Manifest;
use lockstep_harness::record::Record;
use lockstep_harness::trace::Trace;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const BROWSER_FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--dump-dom",
];
/// Markup, a request and a script, in whatever a page shows.
const HOSTILE: &str =
    "</script></pre><script>document.title='evil'</script><img src=\"http://ADDRESS/x\" onerror=a()>'&\u{1b}\u{202e}";

type Test = fn(&Path) -> Result<(), Failed>;

fn main() -> ExitCode {
    let browser = find_browser();
    let in_browser: [(&str, Test); 5] = [
        ("html_of_a_run_of_converge_is_one_page_that_fits_its_window", of_a_run_is_one_page_that_fits_its_window),
        ("html_shows_a_real_divergence_and_obeys_the_keyboard", shows_a_real_divergence_and_obeys_the_keyboard),
        ("html_fits_a_narrow_and_a_wide_window", fits_a_narrow_and_a_wide_window),
        ("html_of_a_hostile_environment_runs_and_loads_nothing", of_a_hostile_environment_runs_and_loads_nothing),
        ("html_of_a_trace_that_agrees_opens_with_its_end", of_a_trace_that_agrees_opens_with_its_end),
    ];
    let mut trials: Vec<Trial> = in_browser
        .into_iter()
        .map(|(name, test)| match browser.clone() {
            Some(browser) => Trial::test(name, move || test(&browser)),
            None => {
                let reason = format!("none of {} on the path", BROWSERS.join(", "));
                Trial::test(format!("{name} ({reason})"), || Ok(())).with_ignored_flag(true)
            }
        })
        .collect();
    trials.push(Trial::test("html_of_a_long_trace_stays_below_its_limit", of_a_long_trace_stays_below_its_limit));
    trials.push(Trial::test("html_is_written_for_each_finding_of_verify", is_written_for_each_finding_of_verify));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn shows_a_real_divergence_and_obeys_the_keyboard(browser: &Path) -> Result<(), Failed> {
    let real = real_divergence();
    let page = real.folder.path().join("page.html");
    let output = real.replay(&page);
    let result = open(browser, &page, "#selftest", 1200);
    check_quiet(&result);
    assert_eq!(result["unnamed"], 0, "every control has a name");
    assert_eq!((&result["opened"], &result["closed"]), (&json!(true), &json!(true)), "? opens and closes the help");
    let (target, last) =
        (result["target"].as_u64().expect("a number"), result["frames"].as_u64().expect("a number") - 1);
    let [back, on] = [target.saturating_sub(1), (target + 1).min(last)];
    let after_left = if target == 0 { on } else { target };
    let expected = [
        ("load", target),
        ("ArrowLeft", back),
        ("ArrowRight", after_left),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("End", last),
        ("ArrowRight", last),
        ("d", target),
        // The same with the focus on the scrubber, which has keys of its own.
        ("Home", 0),
        ("ArrowRight", 1),
        ("d", target),
        ("scrub", 0),
        ("first", 0),
        ("back", 0),
        ("on", 1),
        ("last", last),
        ("target", target),
        ("?", target),
        // Under the open help the steps stay.
        ("Home", target),
        ("?", target),
    ];
    let seen: Vec<(&str, u64)> =
        rows(&result).map(|row| (row[0].as_str().unwrap(), row[4].as_u64().unwrap())).collect();
    assert_eq!(seen, expected);
    assert!(rows(&result).all(|row| row[1] == 1 && row[2] == row[3]), "one step is shown, and named: {result}");
    let headline = output.lines().next().expect("a block");
    let step = headline.split(" at ").nth(1).expect("the block names the step");
    assert_eq!(rows(&result).next().expect("it loads")[2], step, "it opens with the step of {headline:?}");
    Ok(())
}

/// The run's page may run no script, so a page around it looks at it.
fn of_a_run_is_one_page_that_fits_its_window(browser: &Path) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (page, around) = (folder.path().join("run.html"), folder.path().join("around.html"));
    lockstep(&["runs", "pong", "2026-11-24-1", "--html", &page.display().to_string()], 0);
    let source = std::fs::read_to_string(&page)?.replace('&', "&amp;").replace('"', "&quot;");
    let script = "const inside = document.querySelector('iframe').contentDocument; const all = inside.documentElement; \
                  const heads = [...inside.querySelectorAll('h2')].map(it => it.textContent).join('/'); \
                  const bars = [...inside.querySelectorAll('svg rect')].every(it => it.getBoundingClientRect().height >= 1); \
                  document.title = `${all.scrollWidth <= all.clientWidth} ${bars} ${heads}`;";
    for width in [360, 1400] {
        std::fs::write(
            &around,
            format!(
                "<!doctype html><title>-</title><iframe style=\"width:{width}px;height:900px\" srcdoc=\"{source}\"></iframe>\
                 <script>addEventListener('load', () => {{ {script} }})</script>"
            ),
        )?;
        let document = dump(browser, &around, "", 1600);
        let title = document.split("<title>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default();
        assert_eq!(title, "true true Tiers over rounds/Divergences/Cost/Speed/Rounds", "{width} pixels wide");
    }
    Ok(())
}

fn fits_a_narrow_and_a_wide_window(browser: &Path) -> Result<(), Failed> {
    let real = real_divergence();
    let page = real.folder.path().join("page.html");
    real.replay(&page);
    for width in [500, 1600] {
        let result = open(browser, &page, "#selftest", width);
        assert_eq!(result["width"], width);
        assert_eq!(result["wide"], false, "the page is wider than {width} pixels");
    }
    // No window is narrower than 500 pixels, but a frame is. What is inside reports by its title, which is not hidden.
    let inside = std::fs::read_to_string(&page)?;
    let narrow = real.folder.path().join("narrow.html");
    let source = inside.replace('&', "&amp;").replace('"', "&quot;");
    let script = "const inside = document.querySelector('iframe').contentDocument; const all = inside.documentElement; \
                  const shown = [...inside.querySelectorAll('nav, .frame')].filter(it => !it.hidden).length; \
                  document.title = `${all.clientWidth} ${all.scrollWidth} ${shown}`;";
    std::fs::write(
        &narrow,
        format!(
            "<!DOCTYPE html><body><iframe width=\"375\" height=\"900\" style=\"border:0\" srcdoc=\"{source}\"></iframe>\
             <script>addEventListener('load', () => {{ {script} }});</script>"
        ),
    )?;
    let document = dump(browser, &narrow, "", 800);
    assert!(document.contains("<title>375 375 2</title>"), "{}", document.chars().take(300).collect::<String>());
    Ok(())
}

fn of_a_hostile_environment_runs_and_loads_nothing(browser: &Path) -> Result<(), Failed> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    server.set_nonblocking(true)?;
    let hostile = HOSTILE.replace("ADDRESS", &server.local_addr()?.to_string());
    let html = hostile_page(&hostile, 3);
    let folder = tempfile::tempdir()?;
    let page = folder.path().join("page.html");
    std::fs::write(&page, &html)?;
    assert!(!html.contains("<img") && html.matches("<script").count() == 1, "markup of the environment got through");
    let document = dump(browser, &page, "#selftest", 1200);
    let result = selftest_of(&document);
    check_quiet(&result);
    assert!(!document.contains("<title>evil"), "a script of the environment ran");
    assert!(document.contains("document.title='evil'"), "what is hostile is still shown, as text");
    assert!(server.accept().is_err(), "a request left the page");
    Ok(())
}

fn of_a_trace_that_agrees_opens_with_its_end(browser: &Path) -> Result<(), Failed> {
    let real = real_divergence();
    let page = real.folder.path().join("page.html");
    let trace = real.trace.display().to_string();
    let said = lockstep(&["replay", &trace, "-e", "counter", "--html", &page.display().to_string()], 0);
    assert!(said.contains("agrees over"), "{said}");
    let result = open(browser, &page, "#selftest", 1200);
    check_quiet(&result);
    assert_eq!(result["target"].as_u64().map(|target| target + 1), result["frames"].as_u64());
    Ok(())
}

fn of_a_long_trace_stays_below_its_limit() -> Result<(), Failed> {
    let long = "<&\"'>".repeat(100_000);
    for (text, frames) in [(HOSTILE, 20_000), (long.as_str(), 3)] {
        let html = hostile_page(text, frames);
        assert!(html.len() < BYTES_MAX, "{} bytes", html.len());
        assert_eq!(html.matches(" data-target").count(), 1, "the divergence is on the page");
    }
    Ok(())
}

fn is_written_for_each_finding_of_verify() -> Result<(), Failed> {
    let real = real_divergence();
    let pages = real.folder.path().join("pages");
    let said = real.verify(&["--html", &pages.display().to_string()]);
    let named = said.lines().filter_map(|line| line.strip_prefix("  page      "));
    let named: Vec<&Path> = named.map(Path::new).collect();
    assert!(!named.is_empty() && named.iter().all(|page| page.is_file()), "{said}");
    assert_eq!(named.len(), std::fs::read_dir(&pages)?.count());
    // Where no page can be written the finding is printed all the same.
    let said = real.verify(&["--html", "/proc/lockstep"]);
    assert!(said.contains("lockstep replay") && said.contains("can't be written"), "{said}");
    Ok(())
}

/// A divergence of the real counter: its reference has one line changed.
struct Real {
    folder: tempfile::TempDir,
    reference: PathBuf,
    trace: PathBuf,
}

impl Real {
    fn verify(&self, more: &[&str]) -> String {
        let traces = self.folder.path().join("traces").display().to_string();
        let reference = self.reference.display().to_string();
        let usual = ["verify", "counter", "-c", "duel", "-t", "rollout", "--seed", "7", "--steps", "2000"];
        lockstep(&[&usual[..], &["--reference", &reference, "--traces", &traces], more].concat(), 1)
    }

    fn replay(&self, page: &Path) -> String {
        let paths = [&self.trace, &self.reference, page].map(|path| path.display().to_string());
        let [trace, reference, page] = &paths;
        lockstep(&["replay", trace, "-e", "counter", "--reference", reference, "--html", page], 1)
    }
}

fn real_divergence() -> Real {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let reference = folder.path().join("reference");
    std::fs::create_dir(&reference).expect("the folder can be written");
    for entry in std::fs::read_dir(root().join("references/counter")).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if path.is_file() {
            std::fs::copy(&path, reference.join(path.file_name().expect("a file"))).expect("it can be copied");
        }
    }
    let source = reference.join("counter.py");
    let text = std::fs::read_to_string(&source).expect("it is there");
    let edited = text.replace("self.value += self.below(6, \"leap\")", "self.value += 1 + self.below(6, \"leap\")");
    assert_ne!(text, edited, "counter.py has changed");
    std::fs::write(&source, edited).expect("the folder can be written");
    let mut real = Real { folder, reference, trace: PathBuf::new() };
    real.verify(&[]);
    let traces = std::fs::read_dir(real.folder.path().join("traces")).expect("a trace was kept");
    // The one from a reset, not the short one.
    let longest = traces
        .map(|entry| entry.expect("it can be read").path())
        .max_by_key(|path| std::fs::read_to_string(path).map(|text| text.lines().count()).unwrap_or_default());
    real.trace = longest.expect("a trace was kept");
    real
}

/// The page of an environment in which every name is `text`, and whose backend answers with NaN.
fn hostile_page(text: &str, frames: usize) -> String {
    let name = toml::Value::from(text).to_string();
    let manifest = Manifest::parse(&format!(
        "format = \"lockstep/manifest/1\"\nname = \"evil\"\ntitle = {name}\nreference = \"evil\"\n\
         [action]\nkind = \"discrete\"\nnames = [{name}, \"b\"]\n[draws]\nsites = [{name}]\n[reward]\ndtype = \"f32\"\n\
         [[canonical]]\nname = {name}\ndtype = \"f32\"\nreference = {name}\n[[canonical]]\nname = \"x\"\ndtype = \"f32\"\n\
         [[observation]]\nname = {name}\ndtype = \"f32\"\n[configurations.default]\nabout = {name}\n\
         [backends.rust]\nfiles = []\n[picture]\nwidth = \"x\"\nheight = \"1 / x\"\n\
         shape = [{{ kind = \"text\", x = 1, y = 1, size = 9, text = {text_name} }}, {{ kind = \"circle\", x = \"x\", y = \"1 / (x - x)\", radius = \"0 - 1\" }}]\n",
        text_name = toml::Value::from(text.replace(['{', '}'], "")),
    ))
    .expect("names may hold anything");
    let configuration = manifest.configuration("default").expect("it is there");
    let record = |value: f32| Record {
        kind: lockstep_core::HEAD_STEP,
        terminated: false,
        truncated: false,
        deciders: 1,
        draws: vec![lockstep_harness::record::Draw { site: 0, bound: 3, value: 1 }],
        rows: None,
        canonical: [value.to_le_bytes(), 2.0f32.to_le_bytes()].concat(),
        masks: vec![],
        observations: value.to_le_bytes().to_vec(),
        rewards: value.to_le_bytes().to_vec(),
        state_form: false,
    };
    let frame = |step: usize| Frame {
        step: Some(step),
        expected: Some(record(step as f32)),
        observed: Some(record(f32::NAN)),
        failure: (step + 1 == frames).then(|| text.to_owned()),
        ..Frame::default()
    };
    let mut trace = Trace::seeded(configuration, 1, 2, vec![0; frames]);
    trace.note.cause = text.to_owned();
    trace.note.kind = text.to_owned();
    let film = Film { frames: (0..frames).map(frame).collect() };
    let page = Page {
        manifest: &manifest,
        configuration,
        sides: [text, text],
        tolerances: &Tolerances::default(),
        trace: &trace,
        film: &film,
        block: &format!("{text}\n  field     {text}\n"),
        divergence: None,
    };
    page.to_html()
}

/// Nothing was thrown, blocked or loaded.
#[track_caller]
fn check_quiet(result: &Value) {
    assert_eq!(result["errors"], json!([]), "the page throws");
    assert_eq!(result["loaded"], json!([]), "the page loads something");
}

fn rows(result: &Value) -> impl Iterator<Item = &Value> {
    result["seen"].as_array().into_iter().flatten()
}

fn open(browser: &Path, page: &Path, hash: &str, width: u32) -> Value {
    selftest_of(&dump(browser, page, hash, width))
}

/// The element that the page's self-test adds.
fn selftest_of(document: &str) -> Value {
    let result = document.split("<pre id=\"selftest\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let result = result.unwrap_or_else(|| panic!("the self-test did not end:\n{document:.2000}"));
    let text = result.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u{a0}").replace("&amp;", "&");
    serde_json::from_str(&text).expect("the self-test writes JSON")
}

/// The document after it was loaded and its script has run.
fn dump(browser: &Path, page: &Path, hash: &str, width: u32) -> String {
    let profile = tempfile::tempdir().expect("a folder can be made");
    let output = profile.path().join("dom");
    let mut child = Command::new(browser)
        .args(BROWSER_FLAGS)
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={width},900"))
        .arg(format!("file://{}{hash}", page.display()))
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&output).expect("the folder can be written"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the browser was found");
    let began = Instant::now();
    while child.try_wait().expect("it is our child").is_none() {
        if began.elapsed() > Duration::from_secs(90) {
            child.kill().expect("it is our child");
            panic!("the browser did not end within 90 s");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::read_to_string(&output).expect("the document is text")
}

fn find_browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    BROWSERS.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

/// Runs `lockstep` in the clone and returns what it said.
#[track_caller]
fn lockstep(arguments: &[&str], code: i32) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(arguments)
        .current_dir(root())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .expect("lockstep was built");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert_eq!(output.status.code(), Some(code), "lockstep {}:\n{said}", arguments.join(" "));
    said
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
