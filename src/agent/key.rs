//! A key of an endpoint: from the environment, into one header, and nowhere else.

use super::AgentError;
use reqwest::header::HeaderValue;
use std::fmt;

/// A key; it prints as nothing.
pub struct Key(String);

impl Key {
    /// The value of a variable.
    ///
    /// # Errors
    /// If there is none, or it can't be one; the text never has the value.
    pub fn read(
        agent: &'static str,
        variable: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, AgentError> {
        let value = environment(variable).unwrap_or_default();
        let value = value.trim();
        if value.is_empty() {
            return Err(AgentError::NoKey { agent, variable: variable.to_owned() });
        }
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AgentError::Options(format!(
                "the value of {variable} has spaces or characters that no key has; copy the key again"
            )));
        }
        Ok(Key(value.to_owned()))
    }

    /// The header's value: the key behind `prefix`, marked so that the HTTP library does not print it either.
    pub fn header(&self, prefix: &str) -> HeaderValue {
        let mut value = HeaderValue::from_str(&format!("{prefix}{}", self.0)).expect("a key is visible ASCII");
        value.set_sensitive(true);
        value
    }

    /// A text from outside without the key, should somebody have sent it back.
    pub fn removed_from(&self, text: &str) -> String {
        text.replace(&self.0, "(the key)")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(hidden)")
    }
}
