//! What PTX must not hold if it is to give the bits that Rust and the host give.

use crate::parse::{Kind, Module};
use serde::Serialize;

/// One instruction that may give other bits on a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kernel or function.
    pub kernel: String,
    /// The line of the PTX, counted from 1.
    pub line: u32,
    /// The line of the source, where the PTX tells: `file:line`.
    pub source: Option<String>,
    /// The instruction.
    pub instruction: String,
    /// What is wrong with it and what to write instead.
    pub why: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let source = self.source.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
        write!(f, "{}, line {} of the PTX{source}: `{}`: {}", self.kernel, self.line, self.instruction, self.why)
    }
}

/// Looks at every instruction.
pub fn lint(module: &Module) -> Vec<Finding> {
    let mut findings = Vec::new();
    for function in &module.functions {
        for statement in &function.body {
            let Kind::Instruction(instruction) = &statement.kind else { continue };
            let Some(why) = wrong(&instruction.parts()) else { continue };
            findings.push(Finding {
                kernel: function.name.clone(),
                line: statement.line,
                source: statement.source.map(|place| module.place(place)),
                instruction: instruction.to_string(),
                why: why.to_owned(),
            });
        }
    }
    findings
}

impl Module {
    /// `file:line` of a `.loc`.
    pub(crate) fn place(&self, (file, line): (u32, u32)) -> String {
        let name = self.files.get(&file).map_or("source", |name| name.rsplit('/').next().unwrap_or(name));
        format!("{name}:{line}")
    }
}

fn wrong(parts: &[&str]) -> Option<&'static str> {
    let has = |part: &str| parts.contains(&part);
    let float = has("f32") || has("f64") || has("f16") || has("bf16") || has("f16x2");
    match parts[0] {
        "sin" | "cos" | "ex2" | "lg2" | "tanh" => {
            Some("it is approximate, so its bits differ between GPUs; use the polynomials of lockstep.cuh")
        }
        "fma" | "mad" if float => {
            Some("it is fused, so a * b is not rounded; compile with --fmad=false and write no fused multiply-add")
        }
        "atom" | "red" if float => Some(
            "the order of float atomics is not fixed, and with it the sum; add in a fixed order or in whole numbers",
        ),
        _ if has("approx") || has("full") => {
            Some("it is approximate; compile with --prec-div=true --prec-sqrt=true and without fast-math")
        }
        _ if has("ftz") => Some("it flushes small numbers to zero, which the host does not; compile with --ftz=false"),
        "add" | "sub" | "mul" if float && !has("rn") => {
            Some("without .rn it may be contracted with its neighbour; compile with --fmad=false")
        }
        "wmma" | "mma" | "wgmma" if float => Some("sums of matrix units have no fixed order"),
        "tex" | "tld4" | "surf" => Some("texture units round as they like"),
        _ => None,
    }
}
