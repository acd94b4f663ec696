//! Server-sent events, as both kinds of endpoint stream their answers.
//!
//! Only what they use of <https://html.spec.whatwg.org/multipage/server-sent-events.html>: events with a name and data;
//! comments and other fields are passed over. Bytes come in pieces that end anywhere, also inside a character.

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its lines of data.
    pub data: String,
}

/// Puts events together.
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    name: String,
    data: Option<String>,
}

impl Events {
    /// Takes the next bytes and gives the events that they complete.
    ///
    /// # Errors
    /// If a line is not UTF-8.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, String> {
        let mut events = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8(line).map_err(|_| "a line of the stream is not UTF-8".to_owned())?;
            events.extend(self.take(line.strip_suffix('\r').unwrap_or(&line)));
        }
        self.line.extend_from_slice(bytes);
        Ok(events)
    }

    fn take(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            return self.data.take().map(|data| Event { name, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field.trim_start_matches('\u{feff}') {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}: hello\r\nevent: message_start\r\ndata: {\"a\":\r\ndata: \"é\"}\r\n\r\n\ndata:x\nid: 7\n\nevent: ping\n\ndata: [DONE]\n\ndata: never ended";

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let event = |name: &str, data: &str| Event { name: name.into(), data: data.into() };
        let expected = vec![event("message_start", "{\"a\":\n\"é\"}"), event("", "x"), event("", "[DONE]")];
        for size in 1..=STREAM.len() {
            let mut events = Events::default();
            let found: Vec<Event> =
                STREAM.as_bytes().chunks(size).flat_map(|piece| events.push(piece).expect("it is UTF-8")).collect();
            assert_eq!(found, expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_line_that_is_not_utf8_is_an_error() {
        assert!(Events::default().push(b"data: \xff\n\n").is_err());
    }
}
