//! Speeds as ratios: every contender and the reference in turn, several times, on one core, in one run.
//!
//! The reference is timed bare, at its best legal build. A ratio is that of medians; the spread is from the slowest to the
//! fastest run of either. Absolute numbers of a CPU are kept in the file for whoever checks, and never headlined.

use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// One thing that is timed.
#[derive(Debug, Clone)]
pub struct Contender {
    /// Its name in the table.
    pub name: String,
    /// How it is started; `{steps}` is replaced by the steps of all lanes together, `{lane_steps}` by those of one lane.
    pub argv: Vec<String>,
    /// Variables on top of ours.
    pub variables: Vec<(String, String)>,
    /// Lanes.
    pub lanes: usize,
    /// Whether ratios may be taken against it: a legal build of the reference.
    pub anchor: bool,
}

/// What a contender did.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Lanes.
    pub lanes: usize,
    /// How observations are laid out.
    pub layout: String,
    /// The instruction set.
    pub instructions: String,
    /// What a step reads.
    pub reads: String,
    /// What a step writes.
    pub writes: String,
    /// CPU nanoseconds a step in each run, sorted.
    pub nanoseconds: Vec<f64>,
    /// Whether it is a legal build of the reference.
    pub anchor: bool,
    /// The anchor's median over its own; absent for rows that failed.
    pub ratio: Option<f64>,
    /// The ratio of its slowest run to the anchor's fastest, and of its fastest to the anchor's slowest.
    pub ratio_spread: Option<[f64; 2]>,
    /// Why it could not be timed.
    pub failure: Option<String>,
}

impl Row {
    fn median(&self) -> Option<f64> {
        self.nanoseconds.get(self.nanoseconds.len() / 2).copied()
    }
}

/// CPU time that one measurement should take.
const RUN_SECONDS: f64 = 0.4;

/// Times all contenders in turn, `runs` times; `told` hears of each measurement.
pub fn run(contenders: &[Contender], runs: usize, mut told: impl FnMut(&str)) -> Vec<Row> {
    let mut rows: Vec<Row> = contenders.iter().map(empty_row).collect();
    let mut sizes = Vec::new();
    for (contender, row) in contenders.iter().zip(&mut rows) {
        told(&contender.name);
        // A first, short run tells how many steps fill a measurement; it is the warm-up and is not counted.
        let few = (contender.lanes as u64 * 64).max(20_000);
        match measure(contender, few, row) {
            Ok(nanoseconds) => sizes.push((RUN_SECONDS * 1e9 / nanoseconds) as u64),
            Err(why) => {
                row.failure = Some(why);
                sizes.push(0);
            }
        }
    }
    for _ in 0..runs {
        for ((contender, row), size) in contenders.iter().zip(&mut rows).zip(&sizes) {
            if row.failure.is_some() {
                continue;
            }
            told(&contender.name);
            match measure(contender, (*size).max(contender.lanes as u64), row) {
                Ok(nanoseconds) => row.nanoseconds.push(nanoseconds),
                Err(why) => row.failure = Some(why),
            }
        }
    }
    for row in &mut rows {
        row.nanoseconds.sort_by(f64::total_cmp);
    }
    compare(&mut rows);
    rows
}

fn empty_row(contender: &Contender) -> Row {
    Row {
        name: contender.name.clone(),
        lanes: contender.lanes,
        layout: String::new(),
        instructions: String::new(),
        reads: String::new(),
        writes: String::new(),
        nanoseconds: Vec::new(),
        anchor: contender.anchor,
        ratio: None,
        ratio_spread: None,
        failure: None,
    }
}

/// Ratios against the fastest legal build of the reference.
fn compare(rows: &mut [Row]) {
    let anchors = rows.iter().filter(|row| row.anchor && row.failure.is_none() && !row.nanoseconds.is_empty());
    let best =
        anchors.min_by(|a, b| a.median().unwrap_or(f64::MAX).total_cmp(&b.median().unwrap_or(f64::MAX))).cloned();
    let Some(best) = best else { return };
    let (fastest, slowest) = (best.nanoseconds[0], best.nanoseconds[best.nanoseconds.len() - 1]);
    let middle = best.median().unwrap_or(f64::NAN);
    for row in rows.iter_mut().filter(|row| !row.nanoseconds.is_empty()) {
        row.ratio = row.median().map(|median| middle / median);
        row.ratio_spread = Some([fastest / row.nanoseconds[row.nanoseconds.len() - 1], slowest / row.nanoseconds[0]]);
    }
}

/// CPU nanoseconds a step of one process.
fn measure(contender: &Contender, steps: u64, row: &mut Row) -> Result<f64, String> {
    let lane_steps = steps.div_ceil(contender.lanes as u64).max(1);
    let steps = lane_steps * contender.lanes as u64;
    let filled: Vec<String> = contender
        .argv
        .iter()
        .map(|text| text.replace("{steps}", &steps.to_string()).replace("{lane_steps}", &lane_steps.to_string()))
        .collect();
    let output = Command::new(&filled[0])
        .args(&filled[1..])
        .envs(contender.variables.iter().cloned())
        // One core: what a backend does with more is its own row.
        .env("RAYON_NUM_THREADS", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", filled[0]))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(errors.lines().last().unwrap_or("it failed without a word").to_owned());
    }
    let answer: Value = serde_json::from_str(text.lines().last().unwrap_or_default())
        .map_err(|error| format!("it printed no JSON: {error}"))?;
    let word = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    (row.layout, row.instructions) = (word("layout"), word("instructions"));
    (row.reads, row.writes) = (word("reads"), word("writes"));
    match (answer["steps"].as_f64(), answer["cpu_seconds"].as_f64()) {
        (Some(done), Some(seconds)) if done > 0.0 && seconds > 0.0 => Ok(1e9 * seconds / done),
        _ => Err(format!("it told no steps and CPU seconds: {text}")),
    }
}

/// What machine this is: processor and cores.
pub fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {cores} cores", model.unwrap_or(std::env::consts::ARCH).trim())
}

/// The commit of a folder, with `+` if something is not committed.
pub fn commit(folder: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(folder).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(hash) = git(&["rev-parse", "--short=10", "HEAD"]) else { return "no commit".into() };
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if dirty { hash + "+" } else { hash }
}

/// The rows as text.
pub fn table(rows: &[Row]) -> String {
    let mut text =
        format!("{:<28} {:>6} {:>5} {:<12} {:>8} {:>15}\n", "", "lanes", "obs", "instructions", "ratio", "spread");
    for row in rows {
        let (ratio, spread) = match (&row.failure, row.ratio, row.ratio_spread) {
            (Some(why), _, _) => {
                text += &format!("{:<28} {:>6} not timed: {why}\n", row.name, row.lanes);
                continue;
            }
            (None, Some(ratio), Some([low, high])) => (format!("{ratio:.2}x"), format!("{low:.2} to {high:.2}")),
            _ => ("-".into(), "-".into()),
        };
        text += &format!(
            "{:<28} {:>6} {:>5} {:<12} {ratio:>8} {spread:>15}\n",
            row.name, row.lanes, row.layout, row.instructions
        );
    }
    text
}

/// A bar for each ratio with its spread, as SVG.
pub fn plot(title: &str, rows: &[Row]) -> String {
    let shown: Vec<&Row> = rows.iter().filter(|row| row.ratio.is_some()).collect();
    let most = shown.iter().filter_map(|row| row.ratio_spread).map(|spread| spread[1]).fold(1.0, f64::max);
    let (left, width, step) = (300.0, 520.0, 26.0);
    let height = 60.0 + step * shown.len() as f64;
    let x = |ratio: f64| left + width * ratio / most;
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"900\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <text x=\"10\" y=\"22\" font-size=\"15\">{}</text>\n",
        escape(title)
    );
    for (place, row) in shown.iter().enumerate() {
        let (Some(ratio), Some([low, high])) = (row.ratio, row.ratio_spread) else { continue };
        let y = 42.0 + step * place as f64;
        let colour = if row.anchor { "#8a8f98" } else { "#2f6f9f" };
        svg += &format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{left}\" y=\"{y}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>\n\
             <path d=\"M{:.1} {}H{:.1}\" stroke=\"#222\"/>\n<text x=\"{:.1}\" y=\"{}\">{ratio:.1}x</text>\n",
            left - 8.0,
            y + 13.0,
            escape(&format!("{} ({} lanes)", row.name, row.lanes)),
            x(ratio) - left,
            x(low),
            y + 8.0,
            x(high),
            x(high) + 6.0,
            y + 13.0,
        );
    }
    svg + "</svg>\n"
}
