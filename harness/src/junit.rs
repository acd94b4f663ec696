//! A verification as JUnit XML, which CI systems read.
//!
//! One test case for each configuration and tier, one for each check of a tier. Whatever a side or a manifest says is
//! escaped, and characters that XML forbids are made visible.

use crate::html::escape;
use crate::tiers::{CheckOutcome, TierReport};
use crate::verify::Verification;
use std::fmt::Write as _;
use std::time::Duration;

/// What came of one test case.
enum Outcome {
    Passed,
    Failed { message: String, text: String },
    Skipped(String),
}

/// The whole verification; `took` is its wall time.
pub fn junit(verification: &Verification, took: Duration) -> String {
    let mut suites = Suites { text: String::new(), tests: 0, failures: 0, skipped: 0 };
    let suite = format!("{}::{}", verification.environment, verification.backend);
    for report in &verification.reports {
        suites.tier(verification, &suite, report);
    }
    for configuration in &verification.configurations {
        let ran = |tier: &str| {
            let mut reports = verification.reports.iter();
            reports.any(|report| report.configuration == configuration.name && report.tier == tier)
        };
        for (tier, missing) in crate::tiers::TIERS {
            if ran(tier) {
                continue;
            }
            let listed = verification.not_run.iter().find(|(name, _)| name == tier).map(|(_, reason)| reason.as_str());
            let because = if verification.stopped { "the run was stopped" } else { "an earlier tier does not agree" };
            let reason = listed.or(missing).unwrap_or(because);
            suites.case(&format!("{suite}::{}", configuration.name), tier, Outcome::Skipped(reason.to_owned()));
        }
    }
    suites.finish(&suite, took)
}

/// A verification that ended before it had a result, such as one whose reference stopped.
pub fn junit_error(environment: &str, backend: &str, message: &str) -> String {
    let suite = escape(&format!("{environment}::{backend}"));
    let (first, message) = (escape(message.lines().next().unwrap_or_default()), escape(message));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\">\n\
         <testsuite name=\"{suite}\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\">\n\
         <testcase classname=\"{suite}\" name=\"verify\"><error message=\"{first}\">{message}</error></testcase>\n\
         </testsuite>\n</testsuites>\n"
    )
}

struct Suites {
    text: String,
    tests: usize,
    failures: usize,
    skipped: usize,
}

impl Suites {
    fn tier(&mut self, verification: &Verification, suite: &str, report: &TierReport) {
        let class = format!("{suite}::{}", report.configuration);
        let name = match report.against {
            "reference" => report.tier.to_owned(),
            judge => format!("{} against {judge}", report.tier),
        };
        let configuration = verification.configurations.iter().find(|other| other.name == report.configuration);
        let mut blocks: Vec<String> =
            report.findings.iter().filter_map(|finding| Some(finding.block(configuration?))).collect();
        let failed = |check: &&crate::tiers::Check| matches!(check.outcome, CheckOutcome::Failed(_));
        blocks.extend(report.checks.iter().filter(failed).map(|check| format!("{}: {}\n", check.side, check.claim)));
        let outcome = match blocks.first() {
            None if report.stopped => Outcome::Skipped("the run was stopped before the end of this tier".into()),
            None => Outcome::Passed,
            Some(first) => {
                let message = first.lines().next().unwrap_or_default().to_owned();
                Outcome::Failed { message, text: blocks.join("\n") }
            }
        };
        self.case(&class, &name, outcome);
        for check in &report.checks {
            let outcome = match &check.outcome {
                CheckOutcome::Passed => Outcome::Passed,
                CheckOutcome::Failed(why) => Outcome::Failed { message: check.claim.clone(), text: why.clone() },
                CheckOutcome::Skipped(reason) => Outcome::Skipped(reason.clone()),
            };
            self.case(&format!("{class}::{name}"), &format!("{}: {}", check.side, check.claim), outcome);
        }
    }

    fn case(&mut self, class: &str, name: &str, outcome: Outcome) {
        self.tests += 1;
        let head = format!("<testcase classname=\"{}\" name=\"{}\"", attribute(class), attribute(name));
        let written = match outcome {
            Outcome::Passed => writeln!(self.text, "{head}/>"),
            Outcome::Failed { message, text } => {
                self.failures += 1;
                let message = attribute(&message);
                writeln!(self.text, "{head}><failure message=\"{message}\">{}</failure></testcase>", escape(&text))
            }
            Outcome::Skipped(reason) => {
                self.skipped += 1;
                writeln!(self.text, "{head}><skipped message=\"{}\"/></testcase>", attribute(&reason))
            }
        };
        written.expect("a string can be written to");
    }

    fn finish(self, suite: &str, took: Duration) -> String {
        let counts = format!(
            "tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{:.3}\"",
            self.tests,
            self.failures,
            self.skipped,
            took.as_secs_f64()
        );
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n<testsuite name=\"{}\" {counts}>\n{}\
             </testsuite>\n</testsuites>\n",
            attribute(suite),
            self.text
        )
    }
}

/// A line break in an attribute would be read back as a space.
fn attribute(text: &str) -> String {
    escape(text).replace('\n', "&#10;").replace('\t', "&#9;")
}
