//! Makes any text harmless inside HTML and XML.
//!
//! Names, notes and error texts come from environments that nobody has read yet. Beside the characters of markup,
//! control characters and those that turn the direction of writing are made visible, because they can make a line read
//! as something that it does not say.

use std::fmt::Write as _;

/// Characters of a name or a value that are shown.
const SHORT_CHARS_MAX: usize = 200;

/// The text for element content and for attributes in quotes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if is_hidden(c) => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

/// As [`escape`], of a name or a value: what no one would read to its end is cut.
pub(super) fn escape_short(text: &str) -> String {
    match text.char_indices().nth(SHORT_CHARS_MAX) {
        Some((end, _)) => escape(&format!("{} … ({} bytes)", &text[..end], text.len())),
        None => escape(text),
    }
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_leaves_no_markup_and_no_hidden_character() {
        let escaped = escape("</script><img src=x onerror='a()'>\"&\u{1b}[31m\u{202e}\0\r\n");
        assert_eq!(
            escaped,
            "&lt;/script&gt;&lt;img src=x onerror=&#39;a()&#39;&gt;&quot;&amp;\\u{1b}[31m\\u{202e}\\u{0}\\u{d}\n"
        );
    }
}
