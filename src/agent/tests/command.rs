//! Commands: a real shell, as an agent that does well and badly.

use super::{Heard, request};
use crate::agent::command::Command;
use crate::agent::{Agent, AgentError, Answer};
use lockstep_harness::watch::{Silent, Stop};
use std::path::Path;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);

fn shell(script: &str, limit: Duration) -> Command {
    let line = shlex::try_join(["sh", "-c", script]).expect("it can be quoted");
    Command::new(&line, String::new(), 1000, limit).expect("it is a command line")
}

fn ask(script: &str) -> Result<Answer, AgentError> {
    shell(script, LONG).ask(&request(1), &mut Silent, &Stop::default())
}

/// Waits for a file that a command writes.
fn wait_for(path: &Path) -> String {
    let until = Instant::now() + LONG;
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => assert!(Instant::now() < until, "{} does not come", path.display()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_running(pid: &str) -> bool {
    // A zombie has ended; it only waits for its parent to look.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

#[test]
fn a_command_gets_the_prompt_on_stdin_and_as_a_file_in_an_empty_folder() {
    let answer = ask("cat; echo ---; cat prompt.md; echo ---; ls -A; pwd").expect("it answers");
    let whole = "You translate.\n\nTranslate this.\n";
    let (rest, folder) = answer.text.trim_end().rsplit_once('\n').expect("it prints its folder");
    assert_eq!(rest, format!("{whole}---\n{whole}---\nprompt.md"));
    assert!(!Path::new(folder).exists(), "{folder} is still there");
    assert_eq!(answer.model, "unnamed model of sh");
    assert!(!answer.usage.measured && answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0);
}

#[test]
fn a_command_line_has_the_prompts_file_where_it_asks_for_it() {
    let mut command = Command::new("cat {prompt_file}", "m".into(), 1000, LONG).expect("it is a command line");
    let answer = command.ask(&request(1), &mut Silent, &Stop::default()).expect("it answers");
    assert_eq!((answer.text.as_str(), answer.model.as_str()), ("You translate.\n\nTranslate this.\n", "m"));
}

#[test]
fn a_command_is_not_told_where_this_tool_runs() {
    let answer = ask("env; echo end").expect("it answers");
    assert!(std::env::var("CARGO_MANIFEST_DIR").is_ok(), "cargo sets it for tests");
    assert!(!answer.text.contains("CARGO_MANIFEST_DIR") && !answer.text.contains("OLDPWD="), "{}", answer.text);
}

#[test]
fn a_command_with_a_report_has_its_cost() {
    let answer =
        ask(r#"echo '{"type":"result","subtype":"success","is_error":false,"result":"hello","total_cost_usd":0.25,
        "usage":{"input_tokens":3,"output_tokens":4},"modelUsage":{"m-1":{"outputTokens":4}}}'"#)
        .expect("it answers");
    assert_eq!((answer.text.as_str(), answer.model.as_str()), ("hello", "m-1"));
    assert!(answer.usage.measured);
    assert_eq!((answer.usage.input_tokens, answer.usage.cost_usd), (3, Some(0.25)));
}

#[test]
fn a_report_of_an_error_is_an_error_that_keeps_its_cost() {
    let error = ask(r#"echo '{"type":"result","subtype":"error_max_turns","is_error":true,"total_cost_usd":0.5}'"#)
        .expect_err("it failed");
    assert!(error.to_string().contains("reports an error: error_max_turns"), "{error}");
    assert_eq!(error.spent().and_then(|spent| spent.cost_usd), Some(0.5));
}

#[test]
fn a_command_that_fails_says_how() {
    let error = ask("echo partial; echo 'no credit' >&2; exit 3").expect_err("it failed");
    assert!(error.to_string().contains("ended with exit status 3: no credit"), "{error}");
    let error = ask("kill -KILL $$").expect_err("it failed");
    assert!(error.to_string().contains("was killed"), "{error}");
    let error = ask("true").expect_err("it said nothing");
    assert!(error.to_string().contains("printed no answer: it said nothing"), "{error}");
    let error = ask("printf '\\377'").expect_err("it is no text");
    assert!(matches!(error, AgentError::Malformed { .. }), "{error}");
    let error = Command::new("no-such-program-anywhere", String::new(), 1, LONG)
        .expect("it is a command line")
        .ask(&request(1), &mut Silent, &Stop::default())
        .expect_err("there is none");
    assert!(error.to_string().contains("can't be started"), "{error}");
    for line in ["", "  ", "a 'b"] {
        assert!(matches!(Command::new(line, String::new(), 1, LONG), Err(AgentError::Options(_))), "{line:?}");
    }
}

/// Whether a process that was killed is gone soon: on a busy machine it takes a moment.
fn ends(pid: &str) -> bool {
    let until = Instant::now() + Duration::from_secs(5);
    while is_running(pid) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    !is_running(pid)
}

#[test]
fn a_command_that_is_too_slow_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    // The child ignores the polite signal.
    let script = format!("sh -c 'trap \"\" TERM; echo $$ > {}; while :; do sleep 0.1; done' & wait", file.display());
    let begun = Instant::now();
    let error = shell(&script, Duration::from_millis(500))
        .ask(&request(1), &mut Silent, &Stop::default())
        .expect_err("it is too slow");
    assert!(error.to_string().contains("did not end within 0 s"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(ends(&wait_for(&file)), "its child runs on");
}

#[test]
fn ctrl_c_ends_a_command_with_all_that_it_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let script = format!("sleep 100 & echo $! > {}; wait", file.display());
    let stop = Stop::default();
    let asking = std::thread::spawn({
        let stop = stop.clone();
        move || shell(&script, LONG).ask(&request(1), &mut Silent, &stop)
    });
    let pid = wait_for(&file);
    assert!(is_running(&pid));
    stop.ask();
    let error = asking.join().expect("no panic").expect_err("it was stopped");
    assert!(matches!(error, AgentError::Stopped { .. }), "{error}");
    assert!(ends(&pid), "its child runs on");
}

#[test]
fn a_child_that_outlives_its_command_holds_nothing_up() {
    let begun = Instant::now();
    let answer = ask("sleep 100 & echo answer").expect("it answers");
    assert_eq!(answer.text, "answer\n");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_command_that_prints_without_end_is_ended() {
    let mut command = shell("yes", LONG).with_bytes(100_000);
    let mut heard = Heard::default();
    let error = command.ask(&request(1), &mut heard, &Stop::default()).expect_err("it is too much");
    assert!(matches!(error, AgentError::TooLarge { limit: 100_000, .. }), "{error}");
    assert_eq!((heard.begun.len(), heard.ended), (1, 1));
}
