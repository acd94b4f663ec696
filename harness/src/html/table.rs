//! The table of one frame: each value of both sides, in the order in which they are judged.

use super::escape::escape_short;
use super::film::Frame;
use crate::compare::{Tolerances, compare, draw_text};
use crate::manifest::{Action, Configuration, Field, Value};
use crate::record::Record;
use lockstep_core::{ActionKind, decode};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Rows of one section that are shown; of more, those that differ come first.
const ROWS_MAX: usize = 120;
/// What the table of one frame may take; rows beyond it are counted.
const TABLE_BYTES_MAX: usize = 600_000;

/// One value of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    label: String,
    /// Its name in the reference.
    hint: String,
    text: String,
}

/// Values that are judged together.
#[derive(Debug, Clone)]
struct Section {
    title: String,
    cells: Vec<Cell>,
}

/// A frame as rows of HTML.
#[derive(Debug, Clone)]
pub struct Table {
    /// The rows, in `<tbody>`s.
    pub html: String,
    /// Values that differ and may not.
    pub differing: usize,
}

/// What is needed to read records.
pub struct Reading<'a> {
    /// Names.
    pub configuration: &'a Configuration,
    /// Where other numbers may stand.
    pub tolerances: &'a Tolerances,
}

impl Reading<'_> {
    /// The table of a frame; `before` is the frame before it, `tokens` those of the step.
    pub fn table(&self, frame: &Frame, before: Option<&Frame>, tokens: &[u32]) -> Table {
        let sides = [
            self.sections(frame.expected.as_ref(), before.and_then(|frame| frame.expected.as_ref()), tokens),
            self.sections(frame.observed.as_ref(), before.and_then(|frame| frame.observed.as_ref()), tokens),
        ];
        let earlier = self.sections(before.and_then(|frame| frame.expected.as_ref()), None, &[]);
        let judged: Option<BTreeSet<String>> = match (&frame.expected, &frame.observed) {
            (Some(expected), Some(observed)) if !self.tolerances.is_exact() => {
                let difference = compare(self.configuration, &mut self.tolerances.clone(), expected, observed);
                let fields = difference.map(|difference| difference.fields).unwrap_or_default();
                Some(fields.into_iter().map(|field| field.label).collect())
            }
            _ => None,
        };
        let mut table = Table { html: String::new(), differing: 0 };
        let [theirs, ours] = sides;
        for index in 0..theirs.len().max(ours.len()) {
            let (theirs, ours) = (theirs.get(index), ours.get(index));
            table.section(theirs, ours, earlier.get(index), judged.as_ref());
        }
        table
    }

    /// Always the same sections in the same order, so that those of two sides and of two frames match by their place.
    fn sections(&self, record: Option<&Record>, before: Option<&Record>, tokens: &[u32]) -> Vec<Section> {
        let Some(record) = record else { return Vec::new() };
        let configuration = self.configuration;
        let view = record.view(configuration);
        let cell = |label: &str, text: String| Cell { label: label.to_owned(), hint: String::new(), text };
        let of = |agent: usize| if configuration.agents > 1 { format!(" of agent {agent}") } else { String::new() };
        let draws = record.draws.iter().enumerate();
        let mut sections = vec![
            Section { title: "action".into(), cells: self.actions(record, before, tokens) },
            Section {
                title: "draws".into(),
                cells: draws
                    .map(|(index, draw)| cell(&format!("draw {}", index + 1), draw_text(configuration, draw)))
                    .collect(),
            },
            Section { title: "state".into(), cells: named(&configuration.canonical, view.canonical_values(), "") },
            Section { title: "who decides".into(), cells: vec![cell("deciders", agents(record.deciders))] },
        ];
        let mask_bytes = 4 * configuration.mask_words();
        if let (Action::Discrete { names, .. }, true) = (&configuration.action, mask_bytes > 0) {
            let masks = record.masks.chunks_exact(mask_bytes).enumerate();
            let cells = masks.map(|(agent, mask)| cell(&format!("legal{}", of(agent)), legal(names, mask))).collect();
            sections.push(Section { title: "legal actions".into(), cells });
        }
        for agent in 0..configuration.agents {
            let cells = named(&configuration.observation, view.observation_values(agent), &of(agent));
            sections.push(Section { title: format!("observation{}", of(agent)), cells });
        }
        let rewards = (0..configuration.agents)
            .map(|agent| cell(&format!("reward{}", of(agent)), view.reward(agent).to_string()))
            .collect();
        sections.push(Section { title: "reward".into(), cells: rewards });
        let ending = [("terminated", record.terminated), ("truncated", record.truncated)];
        let cells = ending.into_iter().map(|(name, value)| cell(name, value.to_string())).collect();
        sections.push(Section { title: "end of the episode".into(), cells });
        sections
    }

    /// What the tokens meant to this side.
    fn actions(&self, record: &Record, before: Option<&Record>, tokens: &[u32]) -> Vec<Cell> {
        if record.kind != lockstep_core::HEAD_STEP {
            return Vec::new();
        }
        let configuration = self.configuration;
        let words = configuration.mask_words();
        let mut cells = Vec::new();
        for (index, token) in tokens.iter().enumerate() {
            let (agent, place) = (index / configuration.width, index % configuration.width);
            let mut label = "action".to_owned();
            if configuration.width > 1 {
                let _ = write!(label, "[{place}]");
            }
            if configuration.agents > 1 {
                let _ = write!(label, " of agent {agent}");
            }
            let text = match before {
                None => format!("token {token}"),
                Some(before) if before.deciders >> agent & 1 == 0 => "waits for the others".to_owned(),
                Some(before) => {
                    let mask = before.masks.chunks_exact(4).skip(agent * words).take(words);
                    let mask: Vec<u32> =
                        mask.map(|word| u32::from_le_bytes(word.try_into().expect("four bytes"))).collect();
                    format!("{} (token {token})", action_text(&configuration.action, &mask, *token))
                }
            };
            cells.push(Cell { label, hint: String::new(), text });
        }
        cells
    }
}

impl Table {
    fn section(
        &mut self,
        theirs: Option<&Section>,
        ours: Option<&Section>,
        earlier: Option<&Section>,
        judged: Option<&BTreeSet<String>>,
    ) {
        let title = theirs.or(ours).map_or("", |section| section.title.as_str());
        let at =
            |section: Option<&Section>, index: usize| section.and_then(|section| section.cells.get(index)).cloned();
        let count = [theirs, ours].into_iter().flatten().map(|section| section.cells.len()).max().unwrap_or(0);
        if count == 0 {
            return;
        }
        let both = theirs.is_some() && ours.is_some();
        let mut rows = String::new();
        let (mut shown_count, mut hidden) = (0, 0);
        for index in 0..count {
            let (expected, observed) = (at(theirs, index), at(ours, index));
            let Some(shown) = expected.as_ref().or(observed.as_ref()) else { continue };
            let same = expected.as_ref().map(|cell| &cell.text) == observed.as_ref().map(|cell| &cell.text);
            let tolerated = !same && judged.is_some_and(|labels| is_tolerated(title, &shown.label, labels));
            let differs = both && !same && !tolerated;
            self.differing += usize::from(differs);
            let still = title != "action"
                && title != "draws"
                && at(earlier, index).is_some_and(|cell| Some(&cell) == expected.as_ref());
            let full = index >= ROWS_MAX && (!differs || shown_count >= 2 * ROWS_MAX);
            if full || self.html.len() + rows.len() > TABLE_BYTES_MAX {
                hidden += 1;
                continue;
            }
            shown_count += 1;
            rows += &row(shown, expected.as_ref(), observed.as_ref(), differs, tolerated, still);
        }
        let _ = write!(
            self.html,
            "<tbody><tr><th class=\"section\" colspan=\"3\" scope=\"rowgroup\">{}</th></tr>",
            escape_short(title)
        );
        self.html.push_str(&rows);
        if hidden > 0 {
            let _ = write!(self.html, "<tr><td class=\"more\" colspan=\"3\">{hidden} more are not shown</td></tr>");
        }
        self.html.push_str("</tbody>\n");
    }
}

/// A row that the judge does not name although its texts differ, in a part where tolerances can stand.
fn is_tolerated(title: &str, label: &str, judged: &BTreeSet<String>) -> bool {
    let tolerant = title == "state" || title == "reward" || title.starts_with("observation");
    tolerant && !judged.contains(label)
}

fn row(
    shown: &Cell,
    expected: Option<&Cell>,
    observed: Option<&Cell>,
    differs: bool,
    tolerated: bool,
    still: bool,
) -> String {
    let class = match (differs, tolerated, still) {
        (true, _, _) => " class=\"differs\"",
        (_, true, _) => " class=\"tolerated\"",
        (_, _, true) => " class=\"still\"",
        _ => "",
    };
    let mark = match (differs, tolerated) {
        (true, _) => "<b class=\"mark\" title=\"differs\">≠<span class=\"spoken\"> differs</span></b>",
        (_, true) => "<b class=\"mark\" title=\"within its tolerance\">≈<span class=\"spoken\"> tolerated</span></b>",
        _ => "",
    };
    let hint =
        if shown.hint.is_empty() { String::new() } else { format!(" <small>{}</small>", escape_short(&shown.hint)) };
    let value =
        |cell: Option<&Cell>| cell.map_or("<span class=\"none\">none</span>".into(), |cell| escape_short(&cell.text));
    format!(
        "<tr{class}><th scope=\"row\">{}{hint}</th><td>{}</td><td>{}{mark}</td></tr>",
        escape_short(&shown.label),
        value(expected),
        value(observed)
    )
}

fn named(fields: &[Field], values: impl Iterator<Item = (String, Value)>, of: &str) -> Vec<Cell> {
    let hints = fields.iter().flat_map(|field| {
        let hint = field.reference.clone().unwrap_or_default();
        // The name over there stands at the first value of a field, once.
        std::iter::once(hint).chain(std::iter::repeat_n(String::new(), field.count().saturating_sub(1)))
    });
    values.zip(hints).map(|((label, value), hint)| Cell { label: label + of, hint, text: value.to_string() }).collect()
}

fn action_text(action: &Action, mask: &[u32], token: u32) -> String {
    match action {
        Action::Continuous { .. } => format!("{:?}", f32::from_bits(decode(ActionKind::Continuous, &[], token))),
        Action::Discrete { names, extra, mask: masked } => {
            let (count, extras) = (names.len() as u32, extra.len() as u32);
            let kind = ActionKind::Discrete { count, extra: extras, mask: *masked };
            let action = decode(kind, mask, token) as usize;
            let name = names.iter().chain(extra).nth(action);
            name.map_or_else(|| action.to_string(), Clone::clone)
        }
    }
}

fn agents(deciders: u32) -> String {
    let agents: Vec<String> =
        (0..16).filter(|agent| deciders >> agent & 1 == 1).map(|agent| format!("agent {agent}")).collect();
    if agents.is_empty() { "nobody".into() } else { agents.join(", ") }
}

fn legal(names: &[String], mask: &[u8]) -> String {
    let legal = names.iter().enumerate().filter(|(action, _)| mask[action / 8] >> (action % 8) & 1 == 1);
    let legal: Vec<&str> = legal.map(|(_, name)| name.as_str()).collect();
    if legal.is_empty() { "none".into() } else { legal.join(", ") }
}
