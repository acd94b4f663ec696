//! Measures how many instructions a second a GPU's threads issue: a kernel of nothing but independent multiply-adds.
//!
//! The speed of a fused rollout is set beside it. It is generated here because its length is what is measured; each
//! result depends on the one before, by factors that are known only at run time, so no compiler can shorten it.

use lockstep_core::device::Device;
use std::fmt::Write as _;

/// Chains that do not wait for each other.
const CHAINS: usize = 8;
/// Multiply-adds of each chain in one round.
const LENGTH: usize = 64;
/// Rounds of a launch.
const ROUNDS: u32 = 256;
const BLOCK: u32 = 256;
/// Threads: some thousand for each multiprocessor of any GPU.
const THREADS: usize = 1 << 20;

/// The PTX of the kernel `issue(count, out, factor, summand, rounds)`.
pub(crate) fn kernel() -> String {
    let mut text = String::from(
        ".version 9.0\n.target sm_75\n.address_size 64\n\n.visible .entry issue(\n\
         \t.param .u32 issue_param_0,\n\t.param .u64 issue_param_1,\n\t.param .f32 issue_param_2,\n\
         \t.param .f32 issue_param_3,\n\t.param .u32 issue_param_4\n)\n{\n\
         \t.reg .pred %p<3>;\n\t.reg .b32 %r<8>;\n\t.reg .f32 %f<12>;\n\t.reg .b64 %rd<5>;\n\n\
         \tld.param.u32 %r1, [issue_param_0];\n\tld.param.u64 %rd1, [issue_param_1];\n\
         \tld.param.f32 %f1, [issue_param_2];\n\tld.param.f32 %f2, [issue_param_3];\n\
         \tld.param.u32 %r2, [issue_param_4];\n\
         \tmov.u32 %r3, %ctaid.x;\n\tmov.u32 %r4, %ntid.x;\n\tmov.u32 %r5, %tid.x;\n\
         \tmad.lo.s32 %r6, %r3, %r4, %r5;\n\tsetp.ge.u32 %p1, %r6, %r1;\n\t@%p1 bra $done;\n\n",
    );
    for chain in 0..CHAINS {
        let _ = writeln!(text, "\tcvt.rn.f32.u32 %f{}, %r6;", 3 + chain);
    }
    text += "\n$round:\n";
    for _ in 0..LENGTH {
        for chain in 3..3 + CHAINS {
            let _ = writeln!(text, "\tfma.rn.f32 %f{chain}, %f{chain}, %f1, %f2;");
        }
    }
    text += "\tadd.s32 %r2, %r2, -1;\n\tsetp.ne.s32 %p2, %r2, 0;\n\t@%p2 bra $round;\n\n";
    for chain in 4..3 + CHAINS {
        let _ = writeln!(text, "\tadd.rn.f32 %f3, %f3, %f{chain};");
    }
    text + "\tcvta.to.global.u64 %rd2, %rd1;\n\tmul.wide.u32 %rd3, %r6, 4;\n\tadd.s64 %rd4, %rd2, %rd3;\n\
            \tst.global.f32 [%rd4], %f3;\n\n$done:\n\tret;\n}\n"
}

/// Instructions a second of all threads together; the best of five launches.
pub(crate) fn rate(device: &mut impl Device) -> Result<f64, String> {
    let out = device.allocate("what the instructions give", 4 * THREADS, true)?;
    let mut best = f64::INFINITY;
    for _ in 0..6 {
        best = best.min(device.repeat("issue", THREADS, BLOCK, &parameters(THREADS, out, ROUNDS), 1, false)?);
    }
    device.release(out)?;
    Ok((THREADS * CHAINS * LENGTH) as f64 * f64::from(ROUNDS) / best)
}

fn parameters(threads: usize, out: u64, rounds: u32) -> Vec<u8> {
    let mut bytes = (threads as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(&out.to_le_bytes());
    bytes.extend_from_slice(&0.5f32.to_le_bytes());
    bytes.extend_from_slice(&3.0f32.to_le_bytes());
    bytes.extend_from_slice(&rounds.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_ptx::{Checks, Grid, Memory, launch, lower, parse};

    #[test]
    fn the_kernel_that_measures_instructions_executes_as_many_as_it_is_timed_for() {
        let program = lower(&parse(&kernel()).expect("it is PTX")).expect("every instruction is known");
        let mut memory = Memory::new(&program);
        memory.check(Checks { races: true, sectors: false });
        let out = memory.allocate_zeroed("out", 4 * 40);
        let work = launch(&program, &mut memory, "issue", Grid::of(40, 32), &parameters(40, out, 3)).expect("it runs");
        let fused = 40 * 3 * CHAINS as u64 * LENGTH as u64;
        assert!((fused..fused + 40 * 60).contains(&work.thread_instructions), "{}", work.thread_instructions);
        let mut bytes = vec![0; 160];
        memory.read(out, &mut bytes).expect("it was written");
        // x / 2 + 3 comes to rest at 6, for each of the chains.
        let last = f32::from_le_bytes(bytes[156..].try_into().expect("four bytes"));
        assert!((last - 6.0 * CHAINS as f32).abs() < 1e-3, "{last}");
    }
}
