//! The prompts as they are compiled in, and the one hash over all of them.

use sha2::{Digest as _, Sha256};

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        /// Every file of `prompts/` that is a template, by its path without the ending.
        pub(super) const TEMPLATES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../prompts/", $name, ".md")))),*];
    };
}

templates!(
    "create",
    "optimize",
    "parts/answer",
    "parts/contract",
    "parts/cuda",
    "parts/cuda_files",
    "parts/example",
    "parts/example_cuda",
    "parts/files",
    "parts/module_probes",
    "parts/numbers",
    "parts/packs",
    "parts/plan_module",
    "parts/plan_probes",
    "parts/reference",
    "parts/rust",
    "parts/system",
    "parts/tried",
    "parts/trouble_build",
    "parts/trouble_diverged",
    "parts/trouble_edits",
    "parts/trouble_plan",
    "plan",
    "repair",
    "translate",
);

/// The worked example: a reference, its manifest, and the whole answer.
pub(super) const EXAMPLE: &[(&str, &str)] = &[
    ("lantern.h", include_str!("../../prompts/parts/example/lantern.h")),
    ("env.toml", include_str!("../../prompts/parts/example/env.toml")),
    ("src/world.rs", include_str!("../../prompts/parts/example/src/world.rs")),
    ("src/state.rs", include_str!("../../prompts/parts/example/src/state.rs")),
    ("src/rules.rs", include_str!("../../prompts/parts/example/src/rules.rs")),
    ("cuda/rules.cuh", include_str!("../../prompts/parts/example/cuda/rules.cuh")),
    ("src/cuda.rs", include_str!("../../prompts/parts/example/src/cuda.rs")),
];

/// The template of that name.
pub(super) fn template(name: &str) -> Option<&'static str> {
    TEMPLATES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A file of the example.
pub(super) fn example(name: &str) -> &'static str {
    EXAMPLE.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| *text)
}

/// The hash of the prompt set: over all templates and the example, as compiled in.
pub fn prompt_set_hash() -> String {
    let mut state = Sha256::new();
    for (name, text) in TEMPLATES.iter().chain(EXAMPLE) {
        for part in [name, text] {
            state.update((part.len() as u64).to_le_bytes());
            state.update(part.as_bytes());
        }
    }
    super::hex(&state.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_file_in_the_prompts_folder_is_compiled_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts");
        let listed = |folder: &Path, end: &str| {
            let entries = std::fs::read_dir(folder).expect("it is there").flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.filter(|name| name.ends_with(end)).collect::<Vec<_>>()
        };
        for (folder, prefix) in [(root.clone(), ""), (root.join("parts"), "parts/")] {
            for name in listed(&folder, ".md").iter().filter(|name| *name != "README.md") {
                let name = format!("{prefix}{}", name.trim_end_matches(".md"));
                assert!(template(&name).is_some(), "{name} is no template");
            }
        }
        for (folder, prefix) in [("", ""), ("/src", "src/"), ("/cuda", "cuda/")] {
            for name in
                listed(&root.join(format!("parts/example{folder}")), "").iter().filter(|name| name.contains('.'))
            {
                assert!(!example(&format!("{prefix}{name}")).is_empty(), "{name} is not in the example");
            }
        }
    }

    #[test]
    fn the_prompts_name_no_environment_of_the_tree() {
        let envs = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("envs")).expect("it is there");
        for name in envs.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()) {
            for (file, text) in TEMPLATES.iter().chain(EXAMPLE) {
                let named =
                    text.to_lowercase().split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name);
                assert!(!named || name == "counter" && text.contains("counter generator"), "{file} names {name}");
            }
        }
    }

    #[test]
    fn the_hash_of_the_prompt_set_is_one_of_64_digits() {
        assert_eq!(prompt_set_hash().len(), 64);
        assert_eq!(prompt_set_hash(), prompt_set_hash());
    }
}
