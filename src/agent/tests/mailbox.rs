//! The mailbox: real folders, answered as people and programs do it.

use super::{Heard, request};
use crate::agent::mailbox::END_LINE;
use crate::agent::mailbox::Mailbox;
use crate::agent::{Agent, AgentError, Answer};
use lockstep_harness::watch::{Silent, Stop};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn mailbox(folder: &Path) -> Mailbox {
    Mailbox::new(folder, "pong-1", "m".into(), 1000, Some(Duration::from_secs(20))).expect("the folder can be made")
}

fn ask(folder: &Path) -> Result<Answer, AgentError> {
    mailbox(folder).ask(&request(1), &mut Silent, &Stop::default())
}

/// Leaves the request there, as a run that was stopped does; the folder of the run.
fn asked(folder: &Path) -> PathBuf {
    let stop = Stop::default();
    stop.ask();
    let error = mailbox(folder).ask(&request(1), &mut Silent, &stop).expect_err("it was stopped");
    assert!(matches!(error, AgentError::Stopped { spent: None }), "{error}");
    folder.join("pong-1")
}

fn wait_for(path: &Path) {
    let until = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < until, "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_request_file_says_all_that_its_reader_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = asked(folder.path()).canonicalize().expect("it is there");
    let text = std::fs::read_to_string(inside.join("request-0001.md")).expect("it was written");
    let answer = inside.join("answer-0001.md").display().to_string();
    for part in [
        "role: translate",
        "module: rules",
        "round: 1",
        "You translate.",
        "Translate this.",
        "Read no other file",
        END_LINE,
        &answer,
        &inside.join("answer-0001.done").display().to_string(),
        &inside.join("answer-0001.json").display().to_string(),
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let json = std::fs::read_to_string(inside.join("request-0001.json")).expect("it was written");
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["prompt"], "Translate this.\n");
    assert_eq!(json["answer"], answer.as_str());
    let left: Vec<_> = std::fs::read_dir(&inside).expect("a folder").map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "something half-written is left: {left:?}");
}

#[test]
fn a_person_ends_an_answer_with_its_last_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pong-1/answer-0001.md");
    let person = std::thread::spawn({
        let folder = folder.path().to_owned();
        move || {
            wait_for(&folder.join("pong-1/request-0001.md"));
            // Saved twice on the way; the mark inside a line or further up is none.
            std::fs::write(&path, "one\nEND OF ANSWER\ntwo END OF ANSWER\n").expect("it can be written");
            std::thread::sleep(Duration::from_millis(400));
            std::fs::write(&path, "one\ntwo\n  END OF ANSW").expect("it can be written");
            std::thread::sleep(Duration::from_millis(400));
            std::fs::write(&path, "one\nthree\nEND OF ANSWER\n\n").expect("it can be written");
        }
    });
    let mut heard = Heard::default();
    let answer = mailbox(folder.path()).ask(&request(1), &mut heard, &Stop::default()).expect("it answers");
    person.join().expect("no panic");
    assert_eq!((answer.text.as_str(), answer.model.as_str()), ("one\nthree\n", "m"));
    assert!(!answer.usage.measured);
    assert!(heard.said.iter().any(|line| line.contains("answer-0001.md")), "{:?}", heard.said);
}

#[test]
fn a_program_ends_an_answer_with_a_second_file_and_reports_its_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = asked(folder.path());
    let write = |name: &str, text: &str| std::fs::write(inside.join(name), text).expect("it can be written");
    write(
        "answer-0001.json",
        r#"{"model": "claude-opus-5-5", "input_tokens": 10, "cached_tokens": 4, "output_tokens": 5}"#,
    );
    write("answer-0001.md", "text\n");
    write("answer-0001.done", "");
    let answer = ask(folder.path()).expect("it answers");
    assert_eq!((answer.text.as_str(), answer.model.as_str()), ("text\n", "claude-opus-5-5"));
    let usage = answer.usage;
    assert_eq!((usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.measured), (10, 4, 5, true));
}

#[test]
fn an_answer_without_a_mark_is_not_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = asked(folder.path());
    std::fs::write(inside.join("answer-0001.md"), "half of").expect("it can be written");
    let mut mailbox =
        Mailbox::new(folder.path(), "pong-1", String::new(), 1, Some(Duration::from_millis(2600))).expect("a folder");
    let mut heard = Heard::default();
    let error = mailbox.ask(&request(1), &mut heard, &Stop::default()).expect_err("it is not finished");
    assert!(error.to_string().contains("had no finished answer within 2 s"), "{error}");
    assert!(heard.said.iter().any(|line| line.contains("not finished: end it with")), "{:?}", heard.said);
}

#[test]
fn an_answer_that_is_there_at_resume_is_taken_without_asking_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = asked(folder.path());
    let before = inside.join("request-0001.md").metadata().and_then(|metadata| metadata.modified()).expect("a time");
    std::fs::write(inside.join("answer-0001.md"), "text\nEND OF ANSWER").expect("it can be written");
    let mut heard = Heard::default();
    let answer = mailbox(folder.path()).ask(&request(1), &mut heard, &Stop::default()).expect("it answers");
    assert_eq!(answer.text, "text\n");
    let after = inside.join("request-0001.md").metadata().and_then(|metadata| metadata.modified()).expect("a time");
    assert_eq!(before, after, "it was written again");
    assert_eq!(heard.said, Vec::<String>::new());
}

#[test]
fn an_answer_to_another_question_is_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = asked(folder.path());
    std::fs::write(inside.join("answer-0001.md"), "old\nEND OF ANSWER").expect("it can be written");
    let mut other = request(1);
    other.prompt = "Another question.".into();
    let program = std::thread::spawn({
        let inside = inside.clone();
        move || {
            wait_for(&inside.join("old-1-answer-0001.md"));
            wait_for(&inside.join("request-0001.md"));
            std::fs::write(inside.join("answer-0001.md"), "new\nEND OF ANSWER").expect("it can be written");
        }
    });
    let answer = mailbox(folder.path()).ask(&other, &mut Silent, &Stop::default()).expect("it answers");
    program.join().expect("no panic");
    assert_eq!(answer.text, "new\n");
    let old = std::fs::read_to_string(inside.join("old-1-answer-0001.md")).expect("it is kept");
    assert_eq!(old, "old\nEND OF ANSWER");
    assert!(inside.join("old-1-request-0001.md").exists());
}

#[test]
fn a_bad_answer_names_its_file_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = asked(folder.path());
    std::fs::write(inside.join("answer-0001.md"), "text\nEND OF ANSWER").expect("it can be written");
    for sidecar in ["{", "{\"tokens\": 1}", "{\"cost_usd\": -1}", "{\"input_tokens\": -1}", "[]"] {
        std::fs::write(inside.join("answer-0001.json"), sidecar).expect("it can be written");
        let error = ask(folder.path()).expect_err("it is wrong").to_string();
        assert!(error.contains("answer-0001.json") && error.contains("then resume"), "{error}");
    }
    std::fs::remove_file(inside.join("answer-0001.json")).expect("it is there");
    std::fs::write(inside.join("answer-0001.md"), b"\xff\xfe").expect("it can be written");
    std::fs::write(inside.join("answer-0001.done"), "").expect("it can be written");
    assert!(matches!(ask(folder.path()), Err(AgentError::Malformed { .. })));
    for run in ["", "../x", ".hidden", "a/b"] {
        assert!(matches!(Mailbox::new(folder.path(), run, String::new(), 1, None), Err(AgentError::Options(_))));
    }
}
