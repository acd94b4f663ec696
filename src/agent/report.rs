//! What agent CLIs print: plain text, or a report in JSON that has the answer and its cost in it.
//!
//! Three shapes are known: `claude -p --output-format json` (or `stream-json`), `codex exec --json`, and
//! `gemini --output-format json`. All other output is the answer itself.

use super::Usage;
use serde_json::Value;

/// A report, read.
#[derive(Debug, Default, PartialEq)]
pub struct Report {
    /// The answer.
    pub text: String,
    /// The model, if it says which.
    pub model: Option<String>,
    /// What it took, if it says so.
    pub usage: Option<Usage>,
    /// What went wrong, if it says that something did.
    pub error: Option<String>,
    /// Whether the answer was cut off.
    pub truncated: bool,
}

/// Reads what a command printed.
pub fn read(output: &str) -> Report {
    let values = values(output);
    claude(&values)
        .or_else(|| codex(&values))
        .or_else(|| gemini(&values))
        .unwrap_or_else(|| Report { text: output.to_owned(), ..Report::default() })
}

/// The output as JSON: one value, the items of one list, or one value in each line; none if it is none of these.
fn values(output: &str) -> Vec<Value> {
    match serde_json::from_str(output) {
        Ok(Value::Array(items)) => items,
        Ok(value) => vec![value],
        Err(_) => {
            let lines = output.lines().filter(|line| !line.trim().is_empty());
            lines.map(serde_json::from_str).collect::<Result<_, _>>().unwrap_or_default()
        }
    }
}

fn claude(values: &[Value]) -> Option<Report> {
    let result = values.iter().rev().find(|value| value["type"] == "result")?;
    let usage = &result["usage"];
    let part = |name: &str| usage[name].as_u64();
    let cost_usd = result["total_cost_usd"].as_f64().filter(|usd| usd.is_finite() && *usd >= 0.0);
    let (cached, written) =
        (part("cache_read_input_tokens").unwrap_or(0), part("cache_creation_input_tokens").unwrap_or(0));
    let counted = part("input_tokens").zip(part("output_tokens"));
    let usage = (counted.is_some() || cost_usd.is_some()).then(|| {
        let (input, output) = counted.unwrap_or_default();
        Usage {
            input_tokens: input.saturating_add(cached).saturating_add(written),
            cached_tokens: cached,
            written_tokens: written,
            output_tokens: output,
            measured: counted.is_some(),
            cost_usd,
        }
    });
    let text = result["result"].as_str().unwrap_or_default();
    let failed = result["is_error"].as_bool().unwrap_or(false) || result["result"].as_str().is_none();
    let error = failed.then(|| {
        let kind = result["subtype"].as_str().unwrap_or("error");
        if text.is_empty() { kind.to_owned() } else { format!("{kind}: {text}") }
    });
    // The model that wrote most of it; small models of its own do chores.
    let models = result["modelUsage"].as_object();
    let most = models.and_then(|models| models.iter().max_by_key(|(_, usage)| usage["outputTokens"].as_u64()));
    let truncated = result["stop_reason"] == "max_tokens";
    Some(Report { text: text.to_owned(), model: most.map(|(name, _)| name.clone()), usage, error, truncated })
}

fn codex(values: &[Value]) -> Option<Report> {
    let ends = |value: &&Value| matches!(value["type"].as_str(), Some("turn.completed" | "turn.failed"));
    values.iter().find(ends)?;
    let messages = values.iter().map(|value| &value["item"]).filter(|item| item["type"] == "agent_message");
    let text = messages.filter_map(|item| item["text"].as_str()).next_back().unwrap_or_default().to_owned();
    let mut usage = Usage { measured: true, ..Usage::default() };
    let mut counted = false;
    for turn in values.iter().filter(|value| value["type"] == "turn.completed").map(|value| &value["usage"]) {
        let part = |name: &str| turn[name].as_u64().unwrap_or(0);
        counted |= turn["input_tokens"].is_u64() && turn["output_tokens"].is_u64();
        usage.input_tokens = usage.input_tokens.saturating_add(part("input_tokens"));
        usage.cached_tokens = usage.cached_tokens.saturating_add(part("cached_input_tokens"));
        usage.output_tokens = usage.output_tokens.saturating_add(part("output_tokens"));
    }
    let failed = values.iter().find(|value| value["type"] == "turn.failed");
    let error = failed.map(|value| value["error"]["message"].as_str().unwrap_or("its turn failed").to_owned());
    Some(Report { text, usage: counted.then_some(usage), error, ..Report::default() })
}

fn gemini(values: &[Value]) -> Option<Report> {
    let [report] = values else { return None };
    let models = report["stats"]["models"].as_object();
    let error = report["error"]["message"].as_str().map(str::to_owned);
    if models.is_none() && error.is_none() || report["response"].as_str().is_none() && error.is_none() {
        return None;
    }
    let mut usage = Usage { measured: true, ..Usage::default() };
    let mut most = (0, None);
    for (name, model) in models.into_iter().flatten() {
        let part = |name: &str| model["tokens"][name].as_u64().unwrap_or(0);
        let output = part("candidates").saturating_add(part("thoughts"));
        usage.input_tokens = usage.input_tokens.saturating_add(part("prompt"));
        usage.cached_tokens = usage.cached_tokens.saturating_add(part("cached"));
        usage.output_tokens = usage.output_tokens.saturating_add(output);
        if output >= most.0 {
            most = (output, Some(name.clone()));
        }
    }
    let text = report["response"].as_str().unwrap_or_default().to_owned();
    let usage = (usage.input_tokens > 0).then_some(usage);
    Some(Report { text, model: most.1, usage, error, truncated: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_claude_has_text_cost_and_tokens() {
        let one = r#"{"type":"result","subtype":"success","is_error":false,"duration_ms":900,"result":"<file>",
            "total_cost_usd":0.0123,"usage":{"input_tokens":4,"cache_creation_input_tokens":100,
            "cache_read_input_tokens":1000,"output_tokens":50},
            "modelUsage":{"claude-haiku-4-5":{"outputTokens":5},"claude-opus-5-5":{"outputTokens":45}}}"#;
        let one = one.replace('\n', " ");
        let expected = Usage {
            input_tokens: 1104,
            cached_tokens: 1000,
            written_tokens: 100,
            output_tokens: 50,
            measured: true,
            cost_usd: Some(0.0123),
        };
        let stream = format!("{{\"type\":\"system\"}}\n\n{one}\n");
        for output in [one.clone(), format!("[{{\"type\":\"system\"}},{one}]"), stream] {
            let report = read(&output);
            assert_eq!(report.text, "<file>");
            assert_eq!(report.model.as_deref(), Some("claude-opus-5-5"));
            assert_eq!(report.usage, Some(expected));
            assert_eq!(report.error, None);
        }
    }

    #[test]
    fn a_report_that_says_error_is_one_and_keeps_its_cost() {
        let report = read(r#"{"type":"result","subtype":"error_max_turns","is_error":true,"total_cost_usd":0.5}"#);
        assert_eq!(report.error.as_deref(), Some("error_max_turns"));
        let usage = report.usage.expect("it has a cost");
        assert_eq!((usage.cost_usd, usage.measured), (Some(0.5), false));
        let report = read("{\"type\":\"turn.failed\",\"error\":{\"message\":\"usage limit\"}}\n");
        assert_eq!(report.error.as_deref(), Some("usage limit"));
    }

    #[test]
    fn the_last_message_of_codex_is_its_answer_and_its_turns_add_up() {
        let output = r#"{"type":"thread.started","thread_id":"1"}
{"type":"item.completed","item":{"type":"agent_message","text":"I will begin."}}
{"type":"turn.completed","usage":{"input_tokens":10,"cached_input_tokens":4,"output_tokens":2}}
{"type":"item.completed","item":{"type":"agent_message","text":"<file>"}}
{"type":"turn.completed","usage":{"input_tokens":20,"cached_input_tokens":8,"output_tokens":3}}
"#;
        let report = read(output);
        assert_eq!(report.text, "<file>");
        let usage = report.usage.expect("it counts");
        assert_eq!((usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.measured), (30, 12, 5, true));
    }

    #[test]
    fn a_report_of_gemini_has_text_and_tokens_of_all_its_models() {
        let report = read(
            r#"{"response":"<file>","stats":{"models":{"gemini-3.1-pro-preview":{"tokens":{"prompt":10,"candidates":7,
            "cached":2,"thoughts":3}},"gemini-3.5-flash":{"tokens":{"prompt":1,"candidates":1}}}}}"#,
        );
        assert_eq!((report.text.as_str(), report.model.as_deref()), ("<file>", Some("gemini-3.1-pro-preview")));
        let usage = report.usage.expect("it counts");
        assert_eq!((usage.input_tokens, usage.cached_tokens, usage.output_tokens), (11, 2, 11));
    }

    #[test]
    fn other_output_is_the_answer_itself() {
        for output in [
            "",
            "plain\ntext",
            "{\"a\": 1}",
            "[1, 2]",
            "{\"type\":\"note\"}\n{\"type\":\"note\"}",
            "{\"response\":\"x\"}",
            "null",
        ] {
            assert_eq!(read(output), Report { text: output.to_owned(), ..Report::default() }, "{output}");
        }
    }
}
