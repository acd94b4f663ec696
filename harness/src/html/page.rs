//! The page itself: the block on top, then one section for each frame, of which one is shown.

use super::escape::{escape, escape_short};
use super::film::{Film, Frame};
use super::picture::Picture;
use super::table::{Reading, Table};
use crate::compare::Tolerances;
use crate::divergence::Divergence;
use crate::manifest::{Configuration, Manifest};
use crate::report::thousands;
use crate::side::Source;
use crate::trace::Trace;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::fmt::Write as _;

/// A page is smaller than this.
pub const BYTES_MAX: usize = 2_000_000;
/// What its frames may take of that.
const FRAME_BYTES_MAX: usize = 1_600_000;
/// What one long text (a block with a whole trace in it, an error, a note) may take.
const TEXT_CHARS_MAX: usize = 10_000;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// All that a page shows.
pub struct Page<'a> {
    /// The environment.
    pub manifest: &'a Manifest,
    /// The configuration.
    pub configuration: &'a Configuration,
    /// Who is right, and who is judged.
    pub sides: [&'a str; 2],
    /// Where other numbers may stand.
    pub tolerances: &'a Tolerances,
    /// What was played.
    pub trace: &'a Trace,
    /// What came of it.
    pub film: &'a Film,
    /// What the terminal says.
    pub block: &'a str,
    /// The difference, if there is one.
    pub divergence: Option<&'a Divergence>,
}

/// One frame as HTML.
struct Rendered {
    html: String,
    name: String,
    differs: bool,
}

impl Page<'_> {
    /// The page as HTML.
    pub fn to_html(&self) -> String {
        let target = self.target();
        let (first, frames) = self.frames(target);
        let (headline, rest) = self.block.split_once('\n').unwrap_or((self.block, ""));
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'sha256-{}'; \
             style-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
             <title>{} · {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
            base64(&Sha256::digest(SCRIPT)),
            base64(&Sha256::digest(STYLE)),
            escape_short(headline),
            escape_short(&self.manifest.file.name)
        );
        let verdict = if self.divergence.is_some() { "diverged" } else { "agreed" };
        let _ = write!(
            html,
            "<header>\n<section class=\"block {verdict}\" aria-label=\"result\">\n<h1>{}</h1>\n<pre tabindex=\"0\">{}</pre>\n\
             </section>\n",
            escape_short(headline),
            escape(&cut(rest.trim_end()))
        );
        self.facts(&mut html);
        html.push_str("</header>\n<main>\n");
        if frames.is_empty() {
            html.push_str("<p>No step could be played again, so there is nothing to show.</p>\n");
        } else {
            self.bar(&mut html, &frames, target - first);
            self.left_out(&mut html, first, frames.len());
            for frame in &frames {
                html.push_str(&frame.html);
            }
        }
        let _ = write!(html, "</main>\n{HELP}<script>{SCRIPT}</script>\n</body>\n</html>\n");
        html
    }

    /// The frame that the page opens with: the divergence, else the first difference, else the last frame.
    fn target(&self) -> usize {
        let frames = &self.film.frames;
        let named = self.divergence.and_then(|divergence| {
            frames.iter().position(|frame| frame.step == divergence.step && frame.reset == divergence.after_reset)
        });
        let differs = |frame: &Frame| frame.failure.is_some() || self.differing(frame) > 0;
        named.or_else(|| frames.iter().position(differs)).unwrap_or(frames.len().saturating_sub(1))
    }

    fn differing(&self, frame: &Frame) -> usize {
        self.reading().table(frame, None, &[]).differing
    }

    fn reading(&self) -> Reading<'_> {
        Reading { configuration: self.configuration, tolerances: self.tolerances }
    }

    /// As many frames around the target as fit, and the number of the first.
    fn frames(&self, target: usize) -> (usize, VecDeque<Rendered>) {
        let count = self.film.frames.len();
        let picture = self.manifest.file.picture.as_ref().and_then(Picture::of);
        let mut rendered = VecDeque::new();
        let (mut first, mut next, mut bytes) = (target, target, 0);
        while first > 0 || next < count {
            if next < count {
                let frame = self.frame(next, target, picture.as_ref());
                bytes += frame.html.len();
                if bytes > FRAME_BYTES_MAX && !rendered.is_empty() {
                    break;
                }
                rendered.push_back(frame);
                next += 1;
            }
            if first > 0 {
                let frame = self.frame(first - 1, target, picture.as_ref());
                bytes += frame.html.len();
                if bytes > FRAME_BYTES_MAX {
                    break;
                }
                rendered.push_front(frame);
                first -= 1;
            }
        }
        (first, rendered)
    }

    fn frame(&self, index: usize, target: usize, picture: Option<&Picture>) -> Rendered {
        let frame = &self.film.frames[index];
        let before = index.checked_sub(1).map(|index| &self.film.frames[index]);
        let per_step = self.trace.tokens_per_step;
        let tokens = match frame.step {
            Some(step) if !frame.reset => &self.trace.tokens[step * per_step..(step + 1) * per_step],
            _ => &[],
        };
        let table = self.reading().table(frame, before, tokens);
        let name = self.name(frame);
        let state = summary(frame, &table, self.sides);
        let differs = table.differing > 0 || frame.failure.is_some();
        let hidden = if index == target { "" } else { " hidden" };
        let mut html = format!(
            "<section class=\"frame\" data-name=\"{name}\" data-state=\"{state}\"{}{hidden}>\n\
             <h2>{name} <span class=\"{}\">{state}</span></h2>\n",
            if index == target { " data-target" } else { "" },
            if differs { "differs" } else { "same" },
            name = escape_short(&name),
            state = escape_short(&state),
        );
        if let Some(failure) = &frame.failure {
            let _ = writeln!(html, "<pre class=\"failure\" tabindex=\"0\">{}</pre>", escape(&cut(failure)));
        }
        html.push_str("<div class=\"sides\">\n");
        if let Some(picture) = picture {
            self.pictures(&mut html, frame, picture);
        }
        let _ = write!(
            html,
            "<table>\n<caption class=\"spoken\">{}, value by value</caption>\n\
             <thead><tr><th scope=\"col\">value</th><th scope=\"col\">{}</th><th scope=\"col\">{}</th></tr></thead>\n\
             {}</table>\n</div>\n</section>\n",
            escape_short(&name),
            escape_short(self.sides[0]),
            escape_short(self.sides[1]),
            table.html
        );
        Rendered { html, name, differs }
    }

    fn pictures(&self, html: &mut String, frame: &Frame, picture: &Picture) {
        let draw = |record: &Option<_>| record.as_ref().map(|record| picture.draw(self.configuration, record));
        let (expected, observed) = (draw(&frame.expected), draw(&frame.observed));
        html.push_str("<div class=\"pictures\">\n");
        for (side, drawing, other) in [(self.sides[0], &expected, None), (self.sides[1], &observed, expected.as_ref())]
        {
            let _ = write!(html, "<figure><figcaption>{}</figcaption>", escape_short(side));
            match drawing {
                Some(drawing) => {
                    html.push_str(&drawing.to_svg(other, &format!("the state of {side}, drawn")));
                    for reason in drawing.missing.iter().take(3) {
                        let _ = write!(html, "<p class=\"note\">not drawn: {}</p>", escape_short(reason));
                    }
                }
                None => html.push_str("<p class=\"note\">there is no answer to draw</p>"),
            }
            html.push_str("</figure>\n");
        }
        html.push_str("</div>\n");
    }

    fn name(&self, frame: &Frame) -> String {
        let of = thousands(self.trace.steps() as u64);
        match frame.step {
            None if self.trace.state.is_some() => "start, an injected state".to_owned(),
            None => "start".to_owned(),
            Some(step) => {
                let reset = if frame.reset { "reset after " } else { "" };
                format!("{reset}step {} of {of}", thousands(step as u64 + 1))
            }
        }
    }

    fn facts(&self, html: &mut String) {
        let trace = self.trace;
        let about = self.manifest.file.configurations.get(&trace.configuration).and_then(|it| it.about.clone());
        let draws = match &trace.draws {
            Source::Seeded => format!("seeded, {}", self.configuration.level.name()),
            Source::Listed(values) => format!("{} listed, {}", values.len(), self.configuration.level.name()),
        };
        let note = &trace.note;
        let facts = [
            ("environment", self.manifest.file.title.clone()),
            ("configuration", about.map_or(trace.configuration.clone(), |it| format!("{}: {it}", trace.configuration))),
            ("seed", format!("{:#x} stream {:#x} episode {}", trace.seed, trace.stream, trace.episode)),
            ("draws", draws),
            ("kept for", if note.kind.is_empty() { String::new() } else { format!("a difference in {}", note.kind) }),
            ("found by", note.tier.clone()),
            ("cause", note.cause.clone()),
            ("flaky", if note.flaky { "it did not repeat three times out of three".into() } else { String::new() }),
        ];
        html.push_str("<dl>\n");
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = writeln!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&cut(value)));
        }
        html.push_str("</dl>\n");
    }

    fn bar(&self, html: &mut String, frames: &VecDeque<Rendered>, target: usize) {
        let (last, shown) = (frames.len() - 1, &frames[target]);
        let jump = if shown.differs { "divergence" } else { "last step" };
        let _ = write!(
            html,
            "<nav aria-label=\"steps\" hidden>\n<div class=\"track\">\n\
             <input type=\"range\" id=\"scrubber\" min=\"0\" max=\"{last}\" value=\"{target}\" step=\"1\" \
             aria-label=\"step\" aria-valuetext=\"{name}\">\n{}</div>\n<div class=\"buttons\">\n\
             <button type=\"button\" data-go=\"first\" title=\"first (Home)\" aria-label=\"first\">|‹</button>\n\
             <button type=\"button\" data-go=\"back\" title=\"one back (←)\" aria-label=\"one back\">‹</button>\n\
             <output id=\"where\" for=\"scrubber\" aria-live=\"polite\">{name}</output>\n\
             <button type=\"button\" data-go=\"on\" title=\"one on (→)\" aria-label=\"one on\">›</button>\n\
             <button type=\"button\" data-go=\"last\" title=\"last (End)\" aria-label=\"last\">›|</button>\n\
             <button type=\"button\" data-go=\"target\" title=\"to the {jump} (d)\">{jump}</button>\n\
             <button type=\"button\" id=\"ask\" title=\"help (?)\" aria-label=\"help\" aria-haspopup=\"dialog\">?</button>\n\
             </div>\n</nav>\n",
            strip(frames),
            name = escape_short(&shown.name),
        );
    }

    fn left_out(&self, html: &mut String, first: usize, shown: usize) {
        let kept = self.film.frames.iter().filter(|frame| !frame.reset && frame.step.is_some()).count();
        let failed = self.film.frames.iter().any(|frame| frame.failure.is_some());
        let whole = first == 0 && shown == self.film.frames.len() && (failed || kept == self.trace.steps());
        if !whole {
            let steps = thousands(self.trace.steps() as u64);
            let _ = writeln!(
                html,
                "<p class=\"note\">The trace has {steps} steps. The page holds those around the one that it opens with.</p>"
            );
        }
    }
}

/// What the keys do.
const HELP: &str = "<dialog id=\"help\" aria-labelledby=\"help-title\">\n<h2 id=\"help-title\">Keys</h2>\n<dl>\n\
<div><dt><kbd>←</kbd> <kbd>→</kbd></dt><dd>one step back, one step on</dd></div>\n\
<div><dt><kbd>Home</kbd> <kbd>End</kbd></dt><dd>the first step, the last step</dd></div>\n\
<div><dt><kbd>d</kbd></dt><dd>the divergence</dd></div>\n\
<div><dt><kbd>?</kbd></dt><dd>this help; <kbd>Esc</kbd> closes it</dd></div>\n</dl>\n<h2>Reading</h2>\n<dl>\n\
<div><dt><b class=\"mark\">≠</b></dt><dd>the two sides differ</dd></div>\n\
<div><dt><b class=\"mark\">≈</b></dt><dd>they differ within the tolerance of the manifest</dd></div>\n\
<div><dt class=\"still\">grey</dt><dd>the value is that of the step before</dd></div>\n\
<div><dt class=\"dashed\">dashed</dt><dd>where the other side has what differs in a picture</dd></div>\n</dl>\n\
<form method=\"dialog\"><button>Close</button></form>\n</dialog>\n";

fn summary(frame: &Frame, table: &Table, sides: [&str; 2]) -> String {
    match (&frame.failure, &frame.expected, &frame.observed, table.differing) {
        (Some(_), Some(_), _, _) => format!("{} failed", sides[1]),
        (Some(_), None, _, _) => "a side failed".into(),
        (None, Some(_), None, _) => format!("{} has no such record", sides[1]),
        (None, None, _, _) => format!("{} has no such record", sides[0]),
        (None, Some(_), Some(_), 0) => "both sides agree".into(),
        (None, Some(_), Some(_), 1) => "1 value differs".into(),
        (None, Some(_), Some(_), count) => format!("{} values differ", thousands(count as u64)),
    }
}

/// All frames on one line: which agree, and which differ.
fn strip(frames: &VecDeque<Rendered>) -> String {
    let count = frames.len();
    let mut svg = format!(
        "<svg class=\"strip\" viewBox=\"0 0 {count} 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"track\" width=\"{count}\" height=\"1\"/>"
    );
    let mut index = 0;
    while index < count {
        let run = frames.iter().skip(index).take_while(|frame| frame.differs).count();
        if run > 0 {
            let _ = write!(svg, "<rect class=\"bad\" x=\"{index}\" width=\"{run}\" height=\"1\"/>");
        }
        index += run.max(1);
    }
    svg + "</svg>\n"
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}\n… {} bytes are not shown", &text[..end], text.len() - end),
        None => text.to_owned(),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, place| word << 8 | u32::from(chunk.get(place).copied().unwrap_or(0)));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }
}
