//! Chat completions, as OpenAI and all that follow it serve them:
//! <https://developers.openai.com/api/reference/resources/chat>.
//!
//! One field has two names: new models of OpenAI take `max_completion_tokens` alone, many other servers `max_tokens`
//! alone. The host says which is tried first, a refusal that names the field is answered with the other.

use super::Request;
use super::http::{Dialect, End, Fault, Partial};
use super::key::Key;
use super::stream::Event;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};

/// Where it is, unless somebody says otherwise.
pub const BASE_URL: &str = "https://api.openai.com/v1";

const LIMIT_NEW: &str = "max_completion_tokens";
const LIMIT_OLD: &str = "max_tokens";

/// How such an endpoint is asked.
pub struct OpenAi {
    limit: &'static str,
    rephrased: bool,
}

impl OpenAi {
    /// For the endpoint with this base URL.
    pub fn new(base: &str) -> Self {
        OpenAi { limit: if base == BASE_URL { LIMIT_NEW } else { LIMIT_OLD }, rephrased: false }
    }
}

impl Dialect for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn path(&self) -> &'static str {
        "/chat/completions"
    }

    fn headers(&self, key: Option<&Key>) -> HeaderMap {
        key.map(|key| (AUTHORIZATION, key.header("Bearer "))).into_iter().collect()
    }

    fn body(&self, model: &str, request: &Request) -> Value {
        let mut messages = Vec::new();
        if !request.system.trim().is_empty() {
            messages.push(json!({"role": "system", "content": request.system}));
        }
        messages.push(json!({"role": "user", "content": request.prompt}));
        let mut body = json!({
            "model": model,
            "stream": true,
            "stream_options": {"include_usage": true},
            "messages": messages,
        });
        body[self.limit] = json!(request.output_tokens_max);
        body
    }

    fn event(&self, event: &Event, partial: &mut Partial) -> Result<(), Fault> {
        if event.data.trim() == "[DONE]" {
            partial.over = true;
            return Ok(());
        }
        let data: Value = serde_json::from_str(&event.data)
            .map_err(|error| Fault::Malformed(format!("an event of its stream is no JSON: {error}")))?;
        take(&data, "delta", partial)
    }

    fn whole(&self, reply: &Value, partial: &mut Partial) -> Result<(), Fault> {
        if reply["choices"][0]["message"].is_null() && reply["error"].is_null() {
            return Err(Fault::Malformed("its answer has no `choices[0].message`".into()));
        }
        take(reply, "message", partial)
    }

    fn rephrase(&mut self, message: &str) -> bool {
        // The longer name has the shorter one in no place, so this asks for exactly the one that was sent.
        if self.rephrased || !message.contains(self.limit) {
            return false;
        }
        self.rephrased = true;
        self.limit = if self.limit == LIMIT_NEW { LIMIT_OLD } else { LIMIT_NEW };
        true
    }
}

fn take(data: &Value, part: &str, partial: &mut Partial) -> Result<(), Fault> {
    if !data["error"].is_null() {
        let error = &data["error"];
        let message = error["message"].as_str().or(error.as_str()).unwrap_or("it gave no reason");
        let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
        return Err(Fault::Said(status, message.to_owned()));
    }
    if let Some(model) = data["model"].as_str().filter(|model| !model.is_empty()) {
        partial.model = Some(model.to_owned());
    }
    let choice = &data["choices"][0];
    if let Some(text) = choice[part]["content"].as_str().filter(|text| !text.is_empty()) {
        partial.begun = true;
        partial.text.push_str(text);
    }
    for name in ["reasoning_content", "reasoning"] {
        let thought = choice[part][name].as_str().map_or(0, str::len);
        partial.begun |= thought > 0;
        partial.thought_bytes += thought;
    }
    match choice["finish_reason"].as_str() {
        Some("length") => partial.end = Some(End::Truncated),
        Some("content_filter") => partial.end = Some(End::Declined("a content filter ended it".into())),
        Some(_) => partial.end = Some(End::Complete),
        None => {}
    }
    let usage = &data["usage"];
    if let Some(input) = usage["prompt_tokens"].as_u64() {
        let details = &usage["prompt_tokens_details"];
        let cached = details["cached_tokens"].as_u64().unwrap_or(0);
        let written = details["cache_write_tokens"].as_u64().unwrap_or(0);
        partial.input = Some((input, cached, written));
    }
    if let Some(output) = usage["completion_tokens"].as_u64() {
        partial.output = Some(output);
    }
    Ok(())
}
