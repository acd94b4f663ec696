//! Small kernels against what the page of the instruction set says, and what a kernel must not do.

use lockstep_ptx::{Checks, Grid, Memory, launch, lint, lower, parse};

fn kernel(registers: &str, body: &str) -> String {
    format!(
        ".version 9.0\n.target sm_75\n.address_size 64\n.visible .entry k(.param .u64 k_param_0, .param .u64 k_param_1)\n{{\n\
         .reg .pred %p<9>;\n.reg .b16 %rs<9>;\n.reg .b32 %r<20>;\n.reg .f32 %f<9>;\n.reg .b64 %rd<20>;\n.reg .f64 %fd<9>;\n{registers}\n\
         ld.param.u64 %rd1, [k_param_0];\nld.param.u64 %rd2, [k_param_1];\nmov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %ntid.x;\n\
         mov.u32 %r3, %tid.x;\nmad.lo.s32 %r4, %r1, %r2, %r3;\nmul.wide.u32 %rd3, %r4, 4;\nadd.s64 %rd4, %rd1, %rd3;\n\
         add.s64 %rd5, %rd2, %rd3;\n{body}\nret;\n}}\n"
    )
}

struct Run {
    memory: Memory,
    out: u64,
    program: lockstep_ptx::Program,
    parameters: Vec<u8>,
}

impl Run {
    fn new(text: &str, input: &[u32], out_words: usize) -> Self {
        let module = parse(text).unwrap_or_else(|error| panic!("{error}"));
        let program = lower(&module).unwrap_or_else(|error| panic!("{error}"));
        let mut memory = Memory::new(&program);
        let out = memory.allocate("out", 4 * out_words);
        let given = memory.allocate("in", 4 * input.len());
        let bytes: Vec<u8> = input.iter().flat_map(|word| word.to_le_bytes()).collect();
        memory.write(given, &bytes).unwrap_or_else(|fault| panic!("{fault}"));
        let parameters = [out.to_le_bytes(), given.to_le_bytes()].concat();
        Run { memory, out, program, parameters }
    }

    fn fault(&mut self, grid: Grid) -> String {
        let result = launch(&self.program, &mut self.memory, "k", grid, &self.parameters);
        result.expect_err("the kernel does what it must not do").to_string()
    }

    fn words(&mut self, grid: Grid, count: usize) -> Vec<u32> {
        if let Err(fault) = launch(&self.program, &mut self.memory, "k", grid, &self.parameters) {
            panic!("{fault}");
        }
        let mut bytes = vec![0; 4 * count];
        self.memory.read(self.out, &mut bytes).unwrap_or_else(|fault| panic!("{fault}"));
        bytes.chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().expect("four"))).collect()
    }
}

/// One block of 32 threads, each with its word of `input` in `%r5`; what they leave in `%r6`.
fn each(body: &str, input: [u32; 32]) -> Vec<u32> {
    let text = kernel("", &format!("ld.global.u32 %r5, [%rd5];\n{body}\nst.global.u32 [%rd4], %r6;"));
    Run::new(&text, &input, 32).words(Grid { blocks: 1, threads: 32 }, 32)
}

fn odd_words() -> [u32; 32] {
    let odd = [0, 1, 2, 31, 32, 33, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, u32::MAX, u32::MAX - 1, 0x1234_5678];
    std::array::from_fn(|i| odd.get(i).copied().unwrap_or((i as u32).wrapping_mul(0x9E37_79B9)))
}

fn odd_floats() -> [u32; 32] {
    let odd = [0.0, -0.0, 1.0, -1.5, 2.5, 0.5, 1e-40, -1e-45, 3.4e38, -3.4e38, f32::INFINITY, 4.0e9, -4.0e9, 0.1];
    std::array::from_fn(|i| odd.get(i).copied().unwrap_or(i as f32 * 0.37 - 5.1).to_bits())
}

/// What an instruction makes of a value.
type Expected<T> = fn(T) -> u32;

#[test]
fn whole_numbers_are_computed_as_the_page_of_the_instruction_set_says() {
    let input = odd_words();
    let cases: [(&str, Expected<u32>); 19] = [
        ("add.s32 %r6, %r5, -7;", |x| x.wrapping_sub(7)),
        ("mul.lo.s32 %r6, %r5, %r5;", |x| x.wrapping_mul(x)),
        ("mul.hi.u32 %r6, %r5, 19;", |x| ((u64::from(x) * 19) >> 32) as u32),
        ("mul.hi.s32 %r6, %r5, 19;", |x| ((i64::from(x as i32) * 19) >> 32) as u32),
        ("shl.b32 %r6, 3, %r5;", |x| if x < 32 { 3 << x } else { 0 }),
        ("shr.u32 %r6, %r5, 5;", |x| x >> 5),
        ("shr.s32 %r6, %r5, 40;", |x| ((x as i32) >> 31) as u32),
        ("div.s32 %r6, %r5, -3;", |x| ((x as i32) / -3) as u32),
        ("rem.u32 %r6, %r5, 10;", |x| x % 10),
        ("min.s32 %r6, %r5, 5;", |x| (x as i32).min(5) as u32),
        ("popc.b32 %r6, %r5;", u32::count_ones),
        ("clz.b32 %r6, %r5;", u32::leading_zeros),
        ("brev.b32 %r6, %r5;", u32::reverse_bits),
        ("bfind.u32 %r6, %r5;", |x| if x == 0 { u32::MAX } else { 31 - x.leading_zeros() }),
        ("shf.l.wrap.b32 %r6, %r5, %r5, 7;", |x| x.rotate_left(7)),
        ("prmt.b32 %r6, %r5, 0, 291;", u32::swap_bytes),
        ("bfe.s32 %r6, %r5, 4, 8;", |x| ((x as i32) << 20 >> 24) as u32),
        ("lop3.b32 %r6, %r5, 255, 61680, 150;", |x| x ^ 255 ^ 61680),
        ("cvt.u16.u32 %rs1, %r5;\nadd.s16 %rs2, %rs1, -1;\ncvt.s32.s16 %r6, %rs2;", |x| {
            (x as i16).wrapping_sub(1) as i32 as u32
        }),
    ];
    for (body, expected) in cases {
        let observed = each(body, input);
        let expected: Vec<u32> = input.iter().map(|x| expected(*x)).collect();
        assert_eq!(observed, expected, "{body}");
    }
}

#[test]
fn floats_are_rounded_once_and_conversions_saturate() {
    let input = odd_floats();
    let single = f32::from_bits;
    let cases: [(&str, Expected<f32>); 13] = [
        ("add.rn.f32 %f2, %f1, 0f3DCCCCCD;\nmov.b32 %r6, %f2;", |x| (x + 0.1).to_bits()),
        ("mul.rn.f32 %f2, %f1, %f1;\nmov.b32 %r6, %f2;", |x| (x * x).to_bits()),
        ("div.rn.f32 %f2, 0f3F800000, %f1;\nmov.b32 %r6, %f2;", |x| (1.0 / x).to_bits()),
        ("fma.rn.f32 %f2, %f1, %f1, 0fBF800000;\nmov.b32 %r6, %f2;", |x| x.mul_add(x, -1.0).to_bits()),
        ("abs.f32 %f2, %f1;\nsqrt.rn.f32 %f3, %f2;\nmov.b32 %r6, %f3;", |x| x.abs().sqrt().to_bits()),
        ("min.f32 %f2, %f1, 0f80000000;\nmov.b32 %r6, %f2;", |x| if x < 0.0 { x.to_bits() } else { 1 << 31 }),
        ("cvt.rzi.s32.f32 %r6, %f1;", |x| x as i32 as u32),
        ("cvt.rni.s32.f32 %r6, %f1;", |x| x.round_ties_even() as i32 as u32),
        ("cvt.rzi.u32.f32 %r6, %f1;", |x| x as u32),
        (
            "cvt.f64.f32 %fd1, %f1;\nadd.rn.f64 %fd2, %fd1, 0d3FB999999999999A;\ncvt.rn.f32.f64 %f2, %fd2;\nmov.b32 %r6, %f2;",
            |x| ((f64::from(x) + 0.1) as f32).to_bits(),
        ),
        ("setp.lt.f32 %p1, %f1, 0f3F800000;\nselp.b32 %r6, 7, 9, %p1;", |x| if x < 1.0 { 7 } else { 9 }),
        ("setp.gtu.f32 %p1, %f1, 0f7FC00000;\nselp.b32 %r6, 7, 9, %p1;", |_| 7),
        ("sub.rn.f32 %f2, 0f7F800000, %f1;\nmov.b32 %r6, %f2;", |x| {
            let value = f32::INFINITY - x;
            if value.is_nan() { 0x7FFF_FFFF } else { value.to_bits() }
        }),
    ];
    for (body, expected) in cases {
        let observed = each(&format!("mov.b32 %f1, %r5;\n{body}"), input);
        for (i, (observed, bits)) in observed.iter().zip(input).enumerate() {
            assert_eq!(*observed, expected(single(bits)), "{body} of {} in lane {i}", single(bits));
        }
    }
}

#[test]
fn lanes_that_part_in_a_loop_come_together_again() {
    // Collatz: every lane goes round as often as it needs.
    let text = kernel(
        "",
        "add.s32 %r5, %r4, 1;\nmov.u32 %r6, 0;\n$L1:\nsetp.eq.s32 %p1, %r5, 1;\n@%p1 bra $L4;\nand.b32 %r7, %r5, 1;\n\
         setp.eq.b32 %p2, %r7, 1;\n@%p2 bra $L2;\nshr.u32 %r5, %r5, 1;\nbra.uni $L3;\n$L2:\nmad.lo.s32 %r5, %r5, 3, 1;\n\
         $L3:\nadd.s32 %r6, %r6, 1;\nbra.uni $L1;\n$L4:\nst.global.u32 [%rd4], %r6;",
    );
    let observed = Run::new(&text, &[0], 256).words(Grid { blocks: 2, threads: 128 }, 256);
    let steps = |mut x: u64| {
        let mut count = 0;
        while x != 1 {
            x = if x % 2 == 1 { 3 * x + 1 } else { x / 2 };
            count += 1;
        }
        count
    };
    let expected: Vec<u32> = (1..=256).map(steps).collect();
    assert_eq!(observed, expected);
}

#[test]
fn local_memory_calls_and_vectors_work() {
    let text = kernel(
        ".local .align 16 .b8 depot[32];\n.reg .b64 %SPL;",
        "mov.u64 %SPL, depot;\nadd.s32 %r5, %r4, 1;\nst.local.v2.u32 [%SPL+8], {%r4, %r5};\nld.local.u64 %rd6, [%SPL+8];\n\
         shr.u64 %rd7, %rd6, 32;\ncvt.u32.u64 %r6, %rd7;\n{\n.reg .b32 temp_param_reg;\n.param .b32 param0;\n\
         st.param.b32 [param0+0], %r6;\n.param .b32 retval0;\ncall.uni (retval0), twice, (param0);\n\
         ld.param.b32 %r7, [retval0+0];\n}\nst.global.u32 [%rd4], %r7;",
    );
    let function = ".func (.param .b32 func_retval0) twice(.param .b32 twice_param_0)\n{\n.reg .b32 %r<4>;\n\
                    ld.param.u32 %r1, [twice_param_0];\nadd.s32 %r2, %r1, %r1;\nst.param.b32 [func_retval0+0], %r2;\nret;\n}\n";
    let text = text.replacen(".visible", &format!("{function}.visible"), 1);
    let observed = Run::new(&text, &[0], 32).words(Grid { blocks: 1, threads: 32 }, 32);
    assert_eq!(observed, (0..32).map(|lane| 2 * (lane + 1)).collect::<Vec<u32>>());
}

#[test]
fn warps_of_a_block_meet_at_a_barrier_and_share_memory() {
    // Each thread leaves its number; after the barrier it reads that of the thread opposite, in another warp.
    let text = kernel(
        ".shared .align 4 .b8 tile[256];",
        "mov.u64 %rd6, tile;\nmul.wide.u32 %rd7, %r3, 4;\nadd.s64 %rd8, %rd6, %rd7;\nst.shared.u32 [%rd8], %r3;\n\
         bar.sync 0;\nsub.s32 %r5, 63, %r3;\nmul.wide.u32 %rd9, %r5, 4;\nadd.s64 %rd10, %rd6, %rd9;\n\
         ld.shared.u32 %r6, [%rd10];\nst.global.u32 [%rd4], %r6;",
    );
    let observed = Run::new(&text, &[0], 64).words(Grid { blocks: 1, threads: 64 }, 64);
    assert_eq!(observed, (0..64).rev().collect::<Vec<u32>>());
}

#[test]
fn atomics_of_all_threads_add_up() {
    let text = kernel(
        "",
        "atom.global.add.u32 %r5, [%rd2], 3;\nshfl.sync.idx.b32 %r6|%p1, %r4, 0, 31, -1;\nst.global.u32 [%rd4], %r6;",
    );
    let mut run = Run::new(&text, &[5], 128);
    let observed = run.words(Grid { blocks: 1, threads: 128 }, 128);
    assert_eq!(observed[127], 96, "lane 0 of the last warp");
    let mut word = [0; 4];
    run.memory.read(u64::from_le_bytes(run.parameters[8..].try_into().expect("8")), &mut word).expect("is there");
    assert_eq!(u32::from_le_bytes(word), 5 + 3 * 128);
}

#[test]
fn an_access_past_a_buffer_names_block_thread_and_line() {
    let text = kernel("", "st.global.u32 [%rd4], %r4;");
    let fault = Run::new(&text, &[0], 100).fault(Grid { blocks: 4, threads: 32 });
    assert!(fault.contains("block 3, thread 4, line"), "{fault}");
    assert!(fault.contains("it writes 4 bytes at 400 of out, which has 400"), "{fault}");
}

#[test]
fn a_misaligned_access_and_one_through_null_are_faults() {
    let text = kernel("", "st.global.u32 [%rd4+2], %r4;");
    let fault = Run::new(&text, &[0], 64).fault(Grid { blocks: 1, threads: 1 });
    assert!(fault.contains("no multiple of 4"), "{fault}");
    let text = kernel("", "mov.u64 %rd6, 0;\nld.global.u32 %r5, [%rd6+8];\nst.global.u32 [%rd4], %r5;");
    let fault = Run::new(&text, &[0], 64).fault(Grid { blocks: 1, threads: 1 });
    assert!(fault.contains("close to null"), "{fault}");
}

#[test]
fn what_nobody_wrote_is_a_fault_where_it_is_seen() {
    let uses = [
        ("add.s32 %r6, %r9, 1;\nst.global.u32 [%rd4], %r6;", "a value that was never set"),
        ("setp.eq.s32 %p1, %r9, 0;\n@%p1 bra $L1;\nst.global.u32 [%rd4], %r4;\n$L1:", "depends on a value"),
        ("cvt.u64.u32 %rd6, %r9;\nadd.s64 %rd7, %rd4, %rd6;\nst.global.u32 [%rd7], %r4;", "its address comes from"),
        ("ld.global.u32 %r6, [%rd4];\nst.global.u32 [%rd4], %r6;", "which nobody has written"),
    ];
    for (body, expected) in uses {
        let fault = Run::new(&kernel("", body), &[0], 64).fault(Grid { blocks: 1, threads: 32 });
        assert!(fault.contains(expected), "{body}: {fault}");
    }
    // A word that a kernel left out is a fault when the host reads it.
    let text = kernel("", "setp.eq.s32 %p1, %r4, 7;\n@%p1 bra $L1;\nst.global.u32 [%rd4], %r4;\n$L1:");
    let mut run = Run::new(&text, &[0], 32);
    launch(&run.program, &mut run.memory, "k", Grid { blocks: 1, threads: 32 }, &run.parameters).expect("runs");
    let fault = run.memory.read(run.out, &mut [0; 128]).expect_err("a word is missing").to_string();
    assert!(fault.contains("byte 28 of out was never written"), "{fault}");
}

#[test]
fn two_threads_at_one_word_are_a_race_only_without_atomics() {
    let race = Checks { races: true, ..Checks::default() };
    let text = kernel("", "ld.global.u32 %r5, [%rd2];\nadd.s32 %r6, %r5, 1;\nst.global.u32 [%rd2], %r6;");
    let mut run = Run::new(&text, &[0], 64);
    run.memory.check(race);
    let fault = run.fault(Grid { blocks: 1, threads: 32 });
    assert!(fault.contains("a race: it writes 4 bytes at 0 of in, which other threads have read"), "{fault}");
    let text = kernel("", "atom.global.add.u32 %r5, [%rd2], 1;\nst.global.u32 [%rd4], %r5;");
    let mut run = Run::new(&text, &[0], 64);
    run.memory.check(race);
    run.words(Grid { blocks: 2, threads: 32 }, 64);
}

#[test]
fn division_by_zero_and_loops_without_an_end_are_faults() {
    let text = kernel("", "div.u32 %r6, 7, %r4;\nst.global.u32 [%rd4], %r6;");
    let fault = Run::new(&text, &[0], 64).fault(Grid { blocks: 1, threads: 32 });
    assert!(fault.contains("thread 0") && fault.contains("divides by zero"), "{fault}");
}

#[test]
fn the_model_counts_issues_lanes_and_sectors() {
    // Half of the lanes take 4 more instructions; all store a word each, 32 neighbours in 4 sectors.
    let text = kernel(
        "",
        "and.b32 %r5, %r4, 1;\nsetp.eq.s32 %p1, %r5, 0;\n@%p1 bra $L1;\nadd.s32 %r4, %r4, 1;\nadd.s32 %r4, %r4, 1;\n\
         add.s32 %r4, %r4, 1;\nadd.s32 %r4, %r4, 1;\n$L1:\nst.global.u32 [%rd4], %r4;",
    );
    let mut run = Run::new(&text, &[0], 32);
    run.memory.check(Checks { sectors: true, ..Checks::default() });
    let grid = Grid { blocks: 1, threads: 32 };
    let work = launch(&run.program, &mut run.memory, "k", grid, &run.parameters).expect("runs");
    // Nine before the body, three to the branch, four for one half, store and return.
    assert_eq!((work.issues, work.thread_instructions, work.divergences), (18, 14 * 32 + 4 * 16, 1));
    assert_eq!((work.sectors_stored, work.bytes_stored), (4, 128));
}

#[test]
fn lint_names_what_gives_other_bits() {
    let body = "sin.approx.f32 %f1, %f2;\nmul.f32 %f1, %f2, %f2;\nfma.rn.f32 %f1, %f2, %f2, %f2;\n\
                add.rn.ftz.f32 %f1, %f2, %f2;\ndiv.full.f32 %f1, %f2, %f2;\natom.global.add.f32 %f1, [%rd1], %f2;\n\
                add.rn.f32 %f1, %f2, %f2;\natom.global.add.u32 %r1, [%rd1], 1;\nmad.lo.s32 %r1, %r2, %r3, %r4;";
    let findings = lint(&parse(&kernel("", body)).expect("is PTX"));
    let found: Vec<&str> =
        findings.iter().map(|finding| finding.instruction.split(' ').next().expect("a word")).collect();
    assert_eq!(
        found,
        ["sin.approx.f32", "mul.f32", "fma.rn.f32", "add.rn.ftz.f32", "div.full.f32", "atom.global.add.f32"]
    );
    assert!(findings.iter().all(|finding| finding.kernel == "k" && finding.line > 10));
}

#[test]
fn text_that_is_no_ptx_is_an_error_with_its_line() {
    for text in [
        "garbage",
        ".visible .entry k(",
        ".visible .entry k()\n{\n add.s32 %r1 %r2;\n}",
        ".global .b8 x[99999999999999999999];",
        "/* open",
        ".visible .entry k()\n{\n",
        "é",
    ] {
        assert!(parse(text).is_err(), "{text:?}");
    }
    let unknown = ".visible .entry k()\n{\n.reg .b32 %r<3>;\nfrobnicate.b32 %r1, %r2;\nret;\n}";
    let error = lower(&parse(unknown).expect("is PTX")).expect_err("is not known").to_string();
    assert!(error.contains("line 4") && error.contains("frobnicate"), "{error}");
    let nowhere = ".visible .entry k()\n{\nbra $L9;\n}";
    assert!(lower(&parse(nowhere).expect("is PTX")).is_err());
}
