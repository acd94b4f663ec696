//! What a compiled kernel needs of a GPU: registers, spills, stack, shared memory; against the manifest's ceilings.

use crate::manifest::Manifest;
use serde::Serialize;

/// One kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KernelRow {
    /// Its name without the environment's: `step`.
    pub kernel: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of a thread's stack.
    pub stack_bytes: u32,
    /// Bytes of registers that are stored because there are not enough.
    pub spill_store_bytes: u32,
    /// Bytes of registers that are loaded again.
    pub spill_load_bytes: u32,
    /// Bytes of shared memory of a block.
    pub shared_bytes: u32,
    /// Barriers.
    pub barriers: u32,
}

/// Reads what `ptxas -v` says.
pub fn rows(environment: &str, log: &str) -> Vec<KernelRow> {
    let mut rows: Vec<KernelRow> = Vec::new();
    let before = |line: &str, unit: &str| -> Option<u32> {
        let head = &line[..line.find(unit)?];
        head.rsplit(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty())?.parse().ok()
    };
    for line in log.lines() {
        if let Some(rest) = line.split("entry function '").nth(1) {
            let name = rest.split('\'').next().unwrap_or_default();
            let kernel = name.strip_prefix(&format!("{environment}_")).unwrap_or(name).to_owned();
            rows.push(KernelRow { kernel, ..KernelRow::default() });
        }
        let Some(row) = rows.last_mut() else { continue };
        row.stack_bytes = before(line, " bytes stack frame").unwrap_or(row.stack_bytes);
        row.spill_store_bytes = before(line, " bytes spill stores").unwrap_or(row.spill_store_bytes);
        row.spill_load_bytes = before(line, " bytes spill loads").unwrap_or(row.spill_load_bytes);
        if line.contains("Used ") {
            row.registers = before(line, " registers").unwrap_or_default();
            row.barriers = before(line, " barriers").unwrap_or_default();
            row.shared_bytes = before(line, " bytes smem").unwrap_or_default();
            row.stack_bytes = row.stack_bytes.max(before(line, " bytes cumulative stack").unwrap_or_default());
        }
    }
    rows.sort_by(|a, b| a.kernel.cmp(&b.kernel));
    rows
}

/// What is above the manifest's ceilings, in words.
pub fn above(manifest: &Manifest, rows: &[KernelRow]) -> Vec<String> {
    let mut findings = Vec::new();
    for (kernel, ceiling) in &manifest.file.ceiling {
        let Some(row) = rows.iter().find(|row| row.kernel == *kernel) else {
            findings.push(format!("there is no kernel {kernel:?}, for which env.toml has a ceiling"));
            continue;
        };
        for (what, is, most) in [
            ("registers", row.registers, ceiling.registers),
            ("bytes of stack", row.stack_bytes, ceiling.stack_bytes),
            ("bytes of spills", row.spill_store_bytes + row.spill_load_bytes, ceiling.spill_bytes),
            ("bytes of shared memory", row.shared_bytes, ceiling.shared_bytes),
        ] {
            if let Some(most) = most.filter(|most| is > *most) {
                findings.push(format!("{kernel} has {is} {what}, its ceiling in env.toml is {most}"));
            }
        }
    }
    findings
}

/// The rows as text.
pub fn table(rows: &[KernelRow]) -> String {
    let mut text = format!(
        "{:<12} {:>9} {:>6} {:>12} {:>11} {:>7}\n",
        "kernel", "registers", "stack", "spill stores", "spill loads", "shared"
    );
    for row in rows {
        text += &format!(
            "{:<12} {:>9} {:>6} {:>12} {:>11} {:>7}\n",
            row.kernel, row.registers, row.stack_bytes, row.spill_store_bytes, row.spill_load_bytes, row.shared_bytes
        );
    }
    text
}
