//! The endpoints against a real server on this machine, which behaves well and badly.

use super::{Heard, request};
use crate::agent::anthropic::Anthropic;
use crate::agent::http::{Dialect, Endpoint, Limits, Target};
use crate::agent::key::Key;
use crate::agent::openai::OpenAi;
use crate::agent::options::open_in;
use crate::agent::{Agent, AgentError, AgentKind, AgentOptions, Answer};
use lockstep_harness::watch::Stop;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const SECRET: &str = "sk-very-secret";

/// A server that gives each connection the next of these answers, byte by byte as they stand, and tells what it was
/// asked.
fn server(answers: Vec<Vec<Piece>>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (told, asked) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = told.send(read_request(&mut stream).unwrap_or_default());
            for piece in answer {
                match piece {
                    Piece::Text(text) => {
                        if stream.write_all(text.as_bytes()).is_err() {
                            break;
                        }
                    }
                    Piece::Wait(time) => std::thread::sleep(time),
                }
            }
        }
    });
    (address, asked)
}

enum Piece {
    Text(String),
    Wait(Duration),
}

fn text(text: impl Into<String>) -> Piece {
    Piece::Text(text.into())
}

/// A whole request; `None` if the client hangs up before that.
pub(super) fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut size) = (String::new(), 0);
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) if line == "\r\n" => break,
            Ok(_) => {}
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            size = value.trim().parse().expect("a length is a number");
        }
        head += &line;
    }
    let mut body = vec![0; size];
    reader.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8_lossy(&body))
}

fn head(status: &str, more: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: text/event-stream\r\nconnection: close\r\n{more}\r\n")
}

fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

/// A whole streamed answer of Anthropic.
fn anthropic() -> Vec<Piece> {
    vec![
        text(head("200 OK", "")),
        text(event(
            r#"{"type":"message_start","message":{"model":"real-name","usage":{"input_tokens":7,"cache_read_input_tokens":100,"output_tokens":1}}}"#,
        )),
        text(event(r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"fn step"}}"#)),
        text(event(r#"{"type":"ping"}"#)),
        text(event(r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"() {}"}}"#)),
        text(event(r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":42}}"#)),
        text(event(r#"{"type":"message_stop"}"#)),
    ]
}

fn openai() -> Vec<Piece> {
    vec![
        text(head("200 OK", "")),
        text(event(r#"{"model":"local","choices":[{"index":0,"delta":{"content":"fn step"}}]}"#)),
        text(event(
            r#"{"model":"local","choices":[{"index":0,"delta":{"content":"() {}"},"finish_reason":"length"}]}"#,
        )),
        text(event(
            r#"{"model":"local","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}}"#,
        )),
        text(event("[DONE]")),
    ]
}

/// [`openai`], all at once.
pub(super) fn openai_text() -> String {
    let pieces = openai().into_iter();
    pieces.map(|piece| if let Piece::Text(text) = piece { text } else { String::new() }).collect()
}

pub(super) fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        silence: Duration::from_millis(400),
        answer: Duration::from_secs(5),
        attempts: 3,
        pause: Duration::from_millis(10),
        bytes: 4096,
    }
}

pub(super) fn ask<D: Dialect>(
    dialect: D,
    base: &str,
    ca_file: Option<&Path>,
    limits: Limits,
) -> Result<Answer, AgentError> {
    let key = Key::read("test", "KEY", &|_| Some(SECRET.to_owned())).expect("it is a key");
    let target = Target { base: base.to_owned(), model: "m".into(), key: Some(key), context_tokens: 1000 };
    let mut endpoint = Endpoint::new(dialect, target, ca_file, limits)?;
    endpoint.ask(&request(1), &mut Heard::default(), &Stop::default())
}

fn failed(answers: Vec<Vec<Piece>>) -> AgentError {
    let (base, _asked) = server(answers);
    let error = ask(Anthropic, &base, None, limits()).expect_err("the server is bad");
    assert!(!error.to_string().contains(SECRET) && !format!("{error:?}").contains(SECRET), "{error:?}");
    error
}

#[test]
fn an_answer_of_anthropic_comes_with_its_name_and_all_its_tokens() {
    let (base, asked) = server(vec![anthropic()]);
    let answer = ask(Anthropic, &base, None, limits()).expect("the server is good");
    assert_eq!((answer.text.as_str(), answer.model.as_str(), answer.truncated), ("fn step() {}", "real-name", false));
    let usage = answer.usage;
    assert_eq!((usage.input_tokens, usage.cached_tokens, usage.output_tokens), (107, 100, 42));
    assert!(usage.measured);
    let asked = asked.recv().expect("it was asked");
    assert!(asked.starts_with("POST /v1/messages "), "{asked}");
    assert!(asked.contains(&format!("x-api-key: {SECRET}")) && asked.contains("Translate this."), "{asked}");
    assert!(asked.contains("ephemeral"), "the system part is marked for the cache: {asked}");
}

#[test]
fn an_answer_that_was_cut_off_by_its_length_says_so() {
    let (base, asked) = server(vec![openai()]);
    let answer = ask(OpenAi::new(&base), &format!("{base}/v1"), None, limits()).expect("the server is good");
    assert_eq!((answer.text.as_str(), answer.truncated), ("fn step() {}", true));
    assert_eq!((answer.usage.input_tokens, answer.usage.cached_tokens, answer.usage.output_tokens), (9, 4, 5));
    let asked = asked.recv().expect("it was asked");
    assert!(asked.starts_with("POST /v1/chat/completions "), "{asked}");
    assert!(asked.to_ascii_lowercase().contains("authorization: bearer"), "{asked}");
}

#[test]
fn a_busy_endpoint_is_asked_again_and_not_sooner_than_it_says() {
    let busy = vec![text(head("429 Too Many Requests", "retry-after: 1\r\ncontent-length: 0\r\n"))];
    let broken = vec![text(head("503 Service Unavailable", "content-length: 0\r\n"))];
    let (base, asked) = server(vec![busy, broken, anthropic()]);
    let began = Instant::now();
    let answer = ask(Anthropic, &base, None, limits()).expect("the third attempt is good");
    assert_eq!(answer.text, "fn step() {}");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(asked.iter().take(3).count(), 3);
}

#[test]
fn an_endpoint_that_stays_broken_is_given_up_with_its_status() {
    let broken = || vec![text(head("500 Internal Server Error", "content-length: 4\r\n")), text("oops")];
    let error = failed(vec![broken(), broken(), broken()]);
    assert!(matches!(error, AgentError::Busy { status: 500, attempts: 3, .. }), "{error:?}");
}

#[test]
fn a_refusal_is_not_repeated() {
    let body = format!(r#"{{"type":"error","error":{{"type":"authentication_error","message":"bad key {SECRET}"}}}}"#);
    let size = format!("content-length: {}\r\n", body.len());
    let error = failed(vec![vec![text(head("401 Unauthorized", &size)), text(body)]]);
    assert!(matches!(error, AgentError::Refused { status: 401, .. }), "{error:?}");
}

#[test]
fn a_silent_endpoint_is_left_after_its_time() {
    let mut pieces = anthropic();
    pieces.truncate(3);
    pieces.push(Piece::Wait(Duration::from_secs(2)));
    let error = failed(vec![pieces]);
    assert!(matches!(error, AgentError::Timeout { .. } | AgentError::Cut { .. }), "{error:?}");
    let spent = error.spent().expect("what was generated is paid for");
    assert_eq!(spent.input_tokens, 107);
}

#[test]
fn a_stream_that_is_cut_counts_what_it_cost_and_is_not_paid_twice() {
    let mut pieces = anthropic();
    pieces.truncate(3);
    let (base, asked) = server(vec![pieces, anthropic()]);
    let error = ask(Anthropic, &base, None, limits()).expect_err("the stream is cut");
    assert!(matches!(error, AgentError::Cut { .. }), "{error:?}");
    assert!(error.spent().is_some_and(|spent| spent.output_tokens > 0 && !spent.measured));
    assert_eq!(asked.try_iter().count(), 1, "from the first token on nothing is sent again");
}

#[test]
fn a_stream_that_is_no_json_a_page_or_too_large_is_told_apart() {
    let garbage = vec![text(head("200 OK", "")), text(event("{\"type\":"))];
    let error = failed(vec![garbage]);
    assert!(matches!(error, AgentError::Malformed { .. }), "{error:?}");
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<html>log in</html>";
    let error = failed(vec![vec![text(page)]]);
    assert!(matches!(error, AgentError::Malformed { .. }), "{error:?}");
    let mut pieces = anthropic();
    pieces.truncate(2);
    let long = format!(r#"{{"type":"content_block_delta","delta":{{"text":"{}"}}}}"#, "x".repeat(8192));
    pieces.push(text(event(&long)));
    let error = failed(vec![pieces]);
    assert!(matches!(error, AgentError::TooLarge { limit: 4096, .. }), "{error:?}");
}

#[test]
fn an_endpoint_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let base = format!("http://{}", listener.local_addr().expect("it is bound"));
    drop(listener);
    let error = ask(Anthropic, &base, None, limits()).expect_err("nobody listens");
    assert!(matches!(error, AgentError::Unreachable { .. }) && error.to_string().contains("127.0.0.1"), "{error}");
}

#[test]
fn without_a_key_nothing_is_sent() {
    let (base, asked) = server(vec![anthropic()]);
    let options = AgentOptions {
        agent: Some(AgentKind::Anthropic),
        model: Some("m".into()),
        base_url: Some(base),
        price_in: Some(1.0),
        price_out: Some(1.0),
        ..AgentOptions::default()
    };
    let error = open_in(&options, "run", &|_| None).err().expect("there is no key");
    assert!(matches!(error, AgentError::NoKey { .. }) && error.to_string().contains("ANTHROPIC_API_KEY"), "{error}");
    assert!(asked.recv_timeout(Duration::from_millis(100)).is_err(), "the server saw a connection");
}

#[test]
fn ctrl_c_ends_the_wait_and_counts_what_was_generated() {
    let mut pieces = anthropic();
    pieces.truncate(3);
    pieces.push(Piece::Wait(Duration::from_secs(5)));
    let (base, _asked) = server(vec![pieces]);
    let key = Key::read("test", "KEY", &|_| Some(SECRET.to_owned())).expect("it is a key");
    let target = Target { base, model: "m".into(), key: Some(key), context_tokens: 1000 };
    let patient = Limits { silence: Duration::from_secs(5), ..limits() };
    let mut endpoint = Endpoint::new(Anthropic, target, None, patient).expect("it is an endpoint");
    let stop = Stop::default();
    let began = Instant::now();
    let stopping = std::thread::spawn({
        let stop = stop.clone();
        move || {
            std::thread::sleep(Duration::from_millis(500));
            stop.ask();
        }
    });
    let error = endpoint.ask(&request(1), &mut Heard::default(), &stop).expect_err("it was stopped");
    stopping.join().expect("no panic");
    assert!(matches!(error, AgentError::Stopped { .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(error.spent().map(|spent| spent.input_tokens), Some(107));
}

#[test]
fn a_refused_name_of_the_limit_is_put_in_the_other_name_once() {
    let refused = || {
        let body =
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}"#;
        let size = format!("content-length: {}\r\n", body.len());
        vec![text(head("400 Bad Request", &size)), text(body)]
    };
    let (base, asked) = server(vec![refused(), openai()]);
    ask(OpenAi::new(&base), &base, None, limits()).expect("the other name is good");
    let asked: Vec<String> = asked.iter().take(2).collect();
    assert!(
        asked[0].contains("\"max_tokens\":1000") && asked[1].contains("\"max_completion_tokens\":1000"),
        "{asked:?}"
    );
    let (base, _asked) = server(vec![refused(), refused()]);
    let error = ask(OpenAi::new(&base), &base, None, limits()).expect_err("both names are refused");
    assert!(matches!(error, AgentError::Refused { status: 400, .. }), "{error:?}");
}

#[test]
fn an_endpoint_that_does_not_stream_is_understood_too() {
    let body = r#"{"model":"local","choices":[{"message":{"content":"fn step() {}"},"finish_reason":"stop"}]}"#;
    let reply =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\nconnection: close\r\n\r\n{body}");
    let (base, _asked) = server(vec![vec![text(reply)]]);
    let answer = ask(OpenAi::new(&base), &base, None, limits()).expect("it is an answer");
    assert_eq!((answer.text.as_str(), answer.model.as_str(), answer.truncated), ("fn step() {}", "local", false));
    assert!(!answer.usage.measured, "it counted nothing");
}

#[test]
fn an_account_without_money_is_not_asked_again() {
    let body = r#"{"error":{"code":"insufficient_quota","message":"You exceeded your current quota"}}"#;
    let size = format!("content-length: {}\r\n", body.len());
    let error = failed(vec![vec![text(head("429 Too Many Requests", &size)), text(body)]]);
    assert!(matches!(error, AgentError::Refused { status: 429, .. }), "{error:?}");
}
