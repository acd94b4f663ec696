//! The messages API of Anthropic: <https://platform.claude.com/docs/en/api/messages-streaming>.
//!
//! The system part is marked for the provider's cache, since all questions of a run share it.

use super::Request;
use super::http::{Dialect, End, Fault, Partial};
use super::key::Key;
use super::stream::Event;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

/// Where it is, unless somebody says otherwise.
pub const BASE_URL: &str = "https://api.anthropic.com";

/// How Anthropic is asked.
pub struct Anthropic;

impl Dialect for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn path(&self) -> &'static str {
        "/v1/messages"
    }

    fn headers(&self, key: Option<&Key>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        if let Some(key) = key {
            headers.insert("x-api-key", key.header(""));
        }
        headers
    }

    fn body(&self, model: &str, request: &Request) -> Value {
        let mut body = json!({
            "model": model,
            "max_tokens": request.output_tokens_max,
            "stream": true,
            "messages": [{"role": "user", "content": request.prompt}],
        });
        if !request.system.trim().is_empty() {
            let cached = json!({"type": "ephemeral"});
            body["system"] = json!([{"type": "text", "text": request.system, "cache_control": cached}]);
        }
        body
    }

    fn event(&self, event: &Event, partial: &mut Partial) -> Result<(), Fault> {
        let data: Value = serde_json::from_str(&event.data)
            .map_err(|error| Fault::Malformed(format!("an event of its stream is no JSON: {error}")))?;
        match data["type"].as_str().unwrap_or_default() {
            "message_start" => {
                partial.begun = true;
                partial.model = data["message"]["model"].as_str().map(str::to_owned);
                take_usage(&data["message"]["usage"], partial);
                // The count in this event is where it begins, not where it ends.
                partial.output = None;
            }
            "content_block_delta" => {
                partial.begun = true;
                let delta = &data["delta"];
                if let Some(text) = delta["text"].as_str() {
                    partial.text.push_str(text);
                }
                partial.thought_bytes += delta["thinking"].as_str().map_or(0, str::len);
            }
            "message_delta" => {
                if let Some(reason) = data["delta"]["stop_reason"].as_str() {
                    partial.end = Some(end(reason));
                }
                take_usage(&data["usage"], partial);
            }
            "message_stop" => partial.over = true,
            "error" => return Err(error(&data)),
            // `ping`, the ends of blocks, and what is added later.
            _ => {}
        }
        Ok(())
    }

    fn whole(&self, reply: &Value, partial: &mut Partial) -> Result<(), Fault> {
        if reply["type"] == "error" {
            return Err(error(reply));
        }
        let Some(blocks) = reply["content"].as_array() else {
            return Err(Fault::Malformed("its answer has no `content`".into()));
        };
        partial.text = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        partial.model = reply["model"].as_str().map(str::to_owned);
        partial.end = reply["stop_reason"].as_str().map(end);
        take_usage(&reply["usage"], partial);
        Ok(())
    }
}

/// Later counts replace earlier ones; input is given without its cached parts.
fn take_usage(usage: &Value, partial: &mut Partial) {
    if let Some(plain) = usage["input_tokens"].as_u64() {
        let cached = usage["cache_read_input_tokens"].as_u64().unwrap_or(0);
        let written = usage["cache_creation_input_tokens"].as_u64().unwrap_or(0);
        partial.input = Some((plain.saturating_add(cached).saturating_add(written), cached, written));
    }
    if let Some(output) = usage["output_tokens"].as_u64() {
        partial.output = Some(output);
    }
}

fn end(reason: &str) -> End {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => End::Truncated,
        "refusal" => End::Declined("its stop reason is `refusal`".into()),
        _ => End::Complete,
    }
}

fn error(data: &Value) -> Fault {
    let message = data["error"]["message"].as_str().unwrap_or("it gave no reason");
    let status = match data["error"]["type"].as_str().unwrap_or_default() {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "overloaded_error" => 529,
        _ => 500,
    };
    Fault::Said(status, message.to_owned())
}
