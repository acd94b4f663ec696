//! The report's plots, as SVG that takes its colours from the page.

use super::history::History;
use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 12.0;

/// A plot over rounds: its axes, and where a value stands.
struct Plot {
    svg: String,
    first: u32,
    last: u32,
    most: f64,
}

impl Plot {
    fn new(label: &str, [first, last]: [u32; 2], most: f64, unit: &dyn Fn(f64) -> String) -> Self {
        let mut plot = Plot { svg: String::new(), first, last, most: if most > 0.0 { most } else { 1.0 } };
        let _ = write!(
            plot.svg,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\"><title>{label}</title>"
        );
        for share in [0.0, 0.5, 1.0] {
            let (value, y) = (plot.most * share, plot.y(plot.most * share));
            let _ = write!(
                plot.svg,
                "<path class=\"axis\" d=\"M{LEFT} {y:.1}H{WIDTH}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                unit(value)
            );
        }
        let every = ((last - first) / 20 + 1).max(1);
        for round in (first..=last).filter(|round| (round - first) % every == 0) {
            let _ = write!(
                plot.svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{round}</text>",
                plot.x(round),
                HEIGHT - 8.0
            );
        }
        plot
    }

    fn slot(&self) -> f64 {
        (WIDTH - LEFT) / f64::from(self.last - self.first + 1)
    }

    fn x(&self, round: u32) -> f64 {
        LEFT + self.slot() * (f64::from(round.saturating_sub(self.first)) + 0.5)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value / self.most).min(1.0)
    }

    fn bar(&mut self, round: u32, value: f64, class: &str, says: &str) {
        let (width, y) = ((0.6 * self.slot()).min(48.0), self.y(value));
        let _ = write!(
            self.svg,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\"><title>{says}</title></rect>",
            self.x(round) - width / 2.0,
            (self.y(0.0) - y).max(1.0)
        );
    }

    fn line(&mut self, points: &[(u32, f64)]) {
        let path: Vec<String> =
            points.iter().map(|(round, value)| format!("{:.1} {:.1}", self.x(*round), self.y(*value))).collect();
        let _ = write!(self.svg, "<path class=\"line\" d=\"M{}\"/>", path.join("L"));
    }

    fn end(self) -> String {
        self.svg + "</svg>\n"
    }
}

/// Divergences that are open after each round.
pub fn divergences(history: &History) -> String {
    let rounds = rounds(history);
    let open = |round: u32| {
        let at =
            |one: &&super::history::Divergence| one.found <= round && one.killed.is_none_or(|killed| killed > round);
        history.divergences.iter().filter(at).count()
    };
    let most = (rounds[0]..=rounds[1]).map(open).max().unwrap_or(0);
    let mut plot = Plot::new("kinds of divergences that are open after each round", rounds, most as f64, &|value| {
        if value.fract() == 0.0 { format!("{value:.0}") } else { String::new() }
    });
    for round in rounds[0]..=rounds[1] {
        let count = open(round);
        plot.bar(round, count as f64, "bar", &format!("{count} open after round {round}"));
    }
    plot.end()
}

/// Dollars, added up.
pub fn cost(history: &History) -> String {
    let mut sum = 0.0;
    let points: Vec<(u32, f64)> = history
        .rounds
        .iter()
        .map(|round| {
            sum += round.usd;
            (round.number, sum)
        })
        .collect();
    let mut plot = Plot::new("dollars up to each round", rounds(history), sum, &|value| format!("${value:.2}"));
    for (round, value) in &points {
        plot.bar(*round, *value, "bar", &format!("${value:.3} up to round {round}"));
    }
    plot.line(&points);
    plot.end()
}

/// How fast each version is, the first one of its backend being 1.
pub fn speed(history: &History) -> String {
    let mut svg = String::new();
    let mut backends: Vec<&str> = history.timed.iter().map(|timed| timed.backend.as_str()).collect();
    backends.dedup();
    for backend in backends {
        let mut best = 1.0;
        let mut bars = Vec::new();
        for timed in history.timed.iter().filter(|timed| timed.backend == backend) {
            let ratio = timed.beside_fastest.map_or(1.0, |speed| speed.ratio);
            bars.push((timed.round, best * ratio, timed.kept));
            if timed.kept {
                best *= ratio;
            }
        }
        let ends = [bars[0].0, bars[bars.len() - 1].0];
        let most = bars.iter().map(|bar| bar.1).fold(1.0, f64::max);
        let label =
            format!("speed of {} over rounds, times its first version", lockstep_harness::html::escape(backend));
        let mut plot = Plot::new(&label, ends, most, &|value| format!("{value:.2}x"));
        for (round, value, kept) in bars {
            let (class, word) = if kept { ("kept", "kept") } else { ("dropped", "dropped") };
            plot.bar(round, value, class, &format!("round {round}: {value:.2}x, {word}"));
        }
        svg += &plot.end();
    }
    svg
}

fn rounds(history: &History) -> [u32; 2] {
    let last = history.rounds.last().map_or(1, |round| round.number);
    [history.rounds.first().map_or(1, |round| round.number.min(last)), last]
}
