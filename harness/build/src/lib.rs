//! The few lines that an environment's build.rs calls. Without feature `cuda-host` they do nothing, so that an
//! environment builds where there is no C++ compiler.

/// Compiles `cuda/rules.cuh` for the CPU: `environment` is the name of its kernels, `rules` that of its struct.
///
/// The compiler is the one that `CXX` names. What it makes exports `<environment>_cuda_host`, the table that
/// `lockstep_core::host` reads.
#[cfg(feature = "cuda-host")]
pub fn cuda_host(environment: &str, rules: &str) {
    use std::path::{Path, PathBuf};

    let variable = |name: &str| PathBuf::from(std::env::var_os(name).expect("cargo sets it for build scripts"));
    let prelude = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cuda");
    let source = variable("CARGO_MANIFEST_DIR").join("cuda");
    let unit = variable("OUT_DIR").join(format!("{environment}_cuda_host.cpp"));
    let text = format!("#include \"host_shim.h\"\n#include \"rules.cuh\"\n\nLS_HOST_TABLE({environment}, {rules})\n");
    std::fs::write(&unit, text).expect("OUT_DIR can be written");
    for folder in [&prelude, &source] {
        println!("cargo:rerun-if-changed={}", folder.display());
    }
    // No contraction of a * b + c and no reordering, or the bits are not those of Rust and of a GPU.
    cc::Build::new()
        .cpp(true)
        .cpp_link_stdlib(None)
        .std("c++17")
        .opt_level(3)
        .flags(["-ffp-contract=off", "-fno-fast-math", "-fno-strict-aliasing", "-fno-exceptions", "-fno-rtti"])
        .include(&prelude)
        .include(&source)
        .file(&unit)
        .compile(&format!("{environment}_cuda_host"));
}

/// Does nothing: the feature `cuda-host` is off.
#[cfg(not(feature = "cuda-host"))]
pub fn cuda_host(_environment: &str, _rules: &str) {
    println!("cargo:rerun-if-changed=build.rs");
}
