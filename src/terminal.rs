//! What people see while work goes on: bars on a terminal, plain lines elsewhere, all on standard error.

use indicatif::{ProgressBar, ProgressStyle};
use lockstep_harness::watch::Watch;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

const RED: anstyle::Style = anstyle::AnsiColor::Red.on_default().effects(anstyle::Effects::BOLD);
const GREEN: anstyle::Style = anstyle::AnsiColor::Green.on_default();

/// Prints `error: …`.
pub fn error(message: &str) {
    anstream::eprintln!("{RED}error{RED:#}: {}", message.trim_end());
}

/// Prints a divergence block, its first line in red.
pub fn diverged(block: &str) {
    let (first, rest) = block.split_once('\n').unwrap_or((block, ""));
    anstream::println!("{RED}{first}{RED:#}\n{rest}");
}

/// Prints a line of good news.
pub fn agreed(line: &str) {
    anstream::println!("{GREEN}{line}{GREEN:#}");
}

/// Shows progress: a bar on a terminal, else a line now and then.
pub struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    total: u64,
    done: u64,
    told: Instant,
    quiet: bool,
}

/// Off a terminal, progress is told this often.
const TELL_EVERY: Duration = Duration::from_secs(10);

impl Progress {
    /// Nothing is shown when `quiet`.
    pub fn new(quiet: bool) -> Self {
        Progress { bar: None, what: String::new(), total: 0, done: 0, told: Instant::now(), quiet }
    }
}

impl Watch for Progress {
    fn begin(&mut self, what: &str, total: u64) {
        (self.what, self.total, self.done) = (what.to_owned(), total, 0);
        self.told = Instant::now();
        if self.quiet {
            return;
        }
        if !std::io::stderr().is_terminal() {
            if total == 0 {
                anstream::eprintln!("{what}");
            }
            return;
        }
        let bar = if total == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(total) };
        let template = if total == 0 {
            "{spinner} {msg} {elapsed}"
        } else {
            "{msg:28} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}"
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is fixed and valid"));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = Some(bar);
    }

    fn advance(&mut self, count: u64) {
        self.done += count;
        if let Some(bar) = &self.bar {
            bar.inc(count);
        } else if !self.quiet && self.total > 0 && self.told.elapsed() > TELL_EVERY {
            self.told = Instant::now();
            anstream::eprintln!("{}: {} of {}", self.what, self.done, self.total);
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn say(&mut self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| anstream::eprintln!("{line}")),
            None if self.quiet => {}
            None => anstream::eprintln!("{line}"),
        }
    }
}
