//! What a model is asked: templates from `prompts/`, filled with what it needs to know and nothing that it must find out.
//!
//! A prompt has a system part, which is the same for all requests about one backend so that it can be cached, and the
//! request itself. Both must fit into the budget of tokens; when they don't, reference source that was not executed is
//! left out first.

mod compiler;
mod interface;
mod manifest;
mod packs;
mod set;
mod source;
mod template;
#[cfg(test)]
mod tests;

pub use manifest::stripped_manifest;
pub use packs::{Pack, packs};
pub use set::prompt_set_hash;
pub use source::{Executed, SourceFile, executed, sources};

use crate::edit::Files;
use crate::plan::{Module, Plan, rules_type};
use crate::workshop::{told_of_cuda, told_of_rust};
use lockstep_harness::manifest::Manifest;
use lockstep_harness::reference::Reference;
use std::path::Path;
use template::{Text, Values, fill, part};

/// The line between a template's system part and its request.
const DIVIDER: &str = "<!-- the request -->\n";
/// Packs of one prompt at most.
pub const PACKS_MAX: usize = 3;
/// Tokens of one pack at most.
const PACK_TOKENS_MAX: u64 = 2_500;
/// Tokens of a compiler's output at most.
const BUILD_TOKENS_MAX: u64 = 4_000;
/// Rounds that a prompt tells of at most, the last ones.
const TRIED_MAX: usize = 8;

/// A request as it is sent, and as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The system part.
    pub system: String,
    /// The request.
    pub text: String,
    /// Both, with each piece of reference source as (file, lines, hash).
    pub stored: String,
    /// Tokens of what is sent, estimated and rather too many.
    pub tokens: u64,
}

/// What requests are made from.
pub struct Context<'a> {
    /// The manifest; its folder has `env.toml`.
    pub manifest: &'a Manifest,
    /// The reference.
    pub reference: &'a Reference,
    /// What `{prepared}` is.
    pub prepared: &'a Path,
    /// The plan, once there is one.
    pub plan: Option<&'a Plan>,
    /// The files that the loop may edit, as they stand.
    pub files: &'a Files,
    /// Tokens of a prompt at most.
    pub budget_tokens: u64,
    /// Lines of the reference that ran, where it can tell.
    pub executed: Option<&'a Executed>,
}

/// What is to be repaired.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// The plan can't be followed.
    Plan(String),
    /// Edits that were not applied.
    Edits(Vec<String>),
    /// What the compiler said.
    Build(String),
    /// The backend differs.
    Diverged {
        /// Its divergences, shrunk.
        packs: Vec<Pack>,
        /// What the tiers did.
        table: String,
    },
}

/// A round that is over.
#[derive(Debug, Clone)]
pub struct Tried {
    /// The round.
    pub round: u32,
    /// Which files it changed, by how many lines.
    pub what: String,
    /// What came of it.
    pub result: String,
}

/// Why there is no prompt.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// A hole without a value: our own bug.
    #[error("the hole {{{{{hole}}}}} of prompts/{template}.md has no value; prompts/README.md says what there is")]
    Unfilled {
        /// The template.
        template: String,
        /// The hole.
        hole: String,
    },
    /// A value that no hole takes: our own bug.
    #[error("prompts/{template}.md has no hole {{{{{hole}}}}}, which there is a value for; add it or drop the value")]
    UnknownHole {
        /// The template.
        template: String,
        /// The hole.
        hole: String,
    },
    /// An item of the interface is not where the prompts look for it: our own bug.
    #[error("{file} has no item `{item}`, which prompts show; mend the list in src/prompt/interface.rs")]
    Interface {
        /// The file.
        file: String,
        /// The item.
        item: String,
    },
    /// The manifest can't be shown.
    #[error("the manifest can't be shown to a model: {0}\n(hint: lockstep check says what is wrong with it)")]
    Manifest(String),
    /// A file that the model may read can't be read.
    #[error(
        "{path}, which reference.toml lists in model_may_read, can't be read: {reason}\n(hint: correct the path, or prepare the reference again)"
    )]
    Source {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A file that the model may read must not leave this machine.
    #[error(transparent)]
    Withheld(#[from] crate::outgoing::Withheld),
    /// There is neither source nor specification.
    #[error(
        "a model may read nothing of the reference {0}\n(hint: list files in model_may_read, or write a spec.md beside its reference.toml)"
    )]
    NothingToRead(String),
    /// There is no such backend, or it has no files for the loop.
    #[error(
        "the backend {0} has no files that the loop may write\n(hint: list them as `loop` in its row of the manifest)"
    )]
    NoFiles(String),
    /// It does not fit.
    #[error(
        "the prompt has {tokens} tokens, and {budget} are allowed\n(hint: raise the budget, or split the module in the plan; the reference's source alone has {source_tokens})"
    )]
    TooLong {
        /// What it has at least.
        tokens: u64,
        /// What it may have.
        budget: u64,
        /// How much of it is the reference.
        source_tokens: u64,
    },
}

/// Asks for `plan.json`.
///
/// # Errors
/// If a template is wrong, the source can't be read, or nothing that fits can be made.
pub fn plan_prompt(context: &Context<'_>, backends: &[String]) -> Result<Prompt, PromptError> {
    plan_again_prompt(context, backends, None)
}

/// Asks for the first writing of a module.
///
/// # Errors
/// As [`plan_prompt`].
pub fn write_prompt(context: &Context<'_>, module: &Module) -> Result<Prompt, PromptError> {
    let role = if context.manifest.file.workflow == "create" { "create" } else { "translate" };
    let mut values = common(context, &module.backend)?;
    let table = backend(context, &module.backend)?;
    let others: Vec<&String> = table.editable.iter().filter(|file| !module.files.contains(file)).collect();
    values.insert("files", files_section(context, &others)?);
    values.insert("module", module.name.as_str().into());
    values.insert("backend", module.backend.as_str().into());
    values.insert("paths", paths(&module.files).into());
    values.insert("interface_wanted", wanted(module).into());
    values.insert("module_probes", probes_section(context, Some(module))?);
    finish(context, role, values)
}

/// Asks for a repair of a module, or of a whole backend. For a plan that can't be followed see [`plan_again_prompt`];
/// `Trouble::Plan` gives the same, with the backends joined by commas in `backend_name`.
///
/// # Errors
/// As [`plan_prompt`].
pub fn repair_prompt(
    context: &Context<'_>,
    module: Option<&Module>,
    backend_name: &str,
    trouble: &Trouble,
    tried: &[Tried],
) -> Result<Prompt, PromptError> {
    if let Trouble::Plan(problem) = trouble {
        let backends: Vec<String> = backend_name.split(',').map(|name| name.trim().to_owned()).collect();
        return plan_again_prompt(context, &backends, Some(problem));
    }
    let mut values = common(context, backend_name)?;
    let table = backend(context, backend_name)?;
    let files = module.map_or(&table.editable, |module| &module.files);
    values.insert("files", files_section(context, &table.editable.iter().collect::<Vec<_>>())?);
    values.insert("tried", tried_section(tried)?);
    values.insert("trouble", trouble_section(trouble)?);
    values.insert("paths", paths(files).into());
    let what = match module {
        Some(module) => format!("the module `{}` of the backend `{backend_name}`", module.name),
        None => format!("the backend `{backend_name}`"),
    };
    values.insert("what", what.into());
    values.insert("module_probes", probes_section(context, module)?);
    finish(context, "repair", values)
}

/// Asks for a faster backend. `timings` is what was measured, in words.
///
/// # Errors
/// As [`plan_prompt`].
pub fn optimize_prompt(
    context: &Context<'_>,
    backend_name: &str,
    timings: &str,
    tried: &[Tried],
) -> Result<Prompt, PromptError> {
    let mut values = common(context, backend_name)?;
    let table = backend(context, backend_name)?;
    values.insert("files", files_section(context, &table.editable.iter().collect::<Vec<_>>())?);
    values.insert("tried", tried_section(tried)?);
    values.insert("timings", timings.into());
    values.insert("backend", backend_name.into());
    values.insert("paths", paths(&table.editable).into());
    finish(context, "optimize", values)
}

/// Asks for the plan once more, after `problem`.
///
/// # Errors
/// As [`plan_prompt`].
pub fn plan_again_prompt(
    context: &Context<'_>,
    backends: &[String],
    problem: Option<&str>,
) -> Result<Prompt, PromptError> {
    let mut files = String::new();
    for name in backends {
        files.push_str(&format!("- `{name}`: {}\n", paths_inline(&backend(context, name)?.editable)));
    }
    let probes = context.manifest.file.probe.iter().map(|probe| format!(", `probe:{}`", probe.function));
    let trouble = match problem {
        None => Text::default(),
        Some(problem) => part("parts/trouble_plan", &Values::from([("problem", problem.into())]))?,
    };
    let values = Values::from([
        ("trouble", trouble),
        ("manifest", manifest_text(context)?.into()),
        ("backends", paths_inline(backends).into()),
        ("files", files.into()),
        ("rules_type", rules_type(&context.manifest.file.name).into()),
        ("probes", probes.collect::<String>().into()),
        (
            "plan_probes",
            if context.manifest.file.probe.is_empty() {
                Text::default()
            } else {
                part("parts/plan_probes", &Values::new())?
            },
        ),
    ]);
    finish(context, "plan", values)
}

/// What all templates but `plan` take.
fn common(context: &Context<'_>, backend_name: &str) -> Result<Values, PromptError> {
    let name = &context.manifest.file.name;
    let table = backend(context, backend_name)?;
    let is_cuda = table.editable.iter().any(|file| file.ends_with(".cuh"));
    let names = |mut values: Values| {
        values.insert("rules_type", rules_type(name).into());
        values.insert("environment", name.as_str().into());
        values
    };
    let rust = part(
        "parts/rust",
        &names(Values::from([("interface", interface::rust()?.into()), ("refused", told_of_rust().into())])),
    )?;
    let (mut cuda, mut rust_files) = (Text::default(), Text::default());
    if is_cuda {
        let values = names(Values::from([
            ("host", interface::host()?.into()),
            ("prelude", interface::cuda()?.into()),
            ("refused", told_of_cuda().into()),
        ]));
        let examples = Values::from([
            ("example_cuda", set::example("cuda/rules.cuh").into()),
            ("example_cuda_rust", set::example("src/cuda.rs").into()),
        ]);
        let example = part("parts/example_cuda", &examples)?;
        cuda = join(part("parts/cuda", &values)?, example);
        let rust_table = backend(context, "rust")?;
        let shown: Vec<&String> = rust_table.editable.iter().filter(|file| context.files.contains_key(*file)).collect();
        if !shown.is_empty() {
            rust_files =
                part("parts/cuda_files", &Values::from([("rust_files", shown_files(context, &shown).into())]))?;
        }
    }
    Ok(names(Values::from([
        ("rust", rust),
        ("cuda", cuda),
        ("rust_files", rust_files),
        ("manifest", manifest_text(context)?.into()),
        ("plan", plan_section(context)?),
        ("example_reference", set::example("lantern.h").into()),
        ("example_manifest", set::example("env.toml").into()),
        ("example_world", set::example("src/world.rs").into()),
        ("example_state", set::example("src/state.rs").into()),
        ("example_rules", set::example("src/rules.rs").into()),
    ])))
}

/// Adds the reference as far as it fits, and divides system and request.
fn finish(context: &Context<'_>, role: &str, mut values: Values) -> Result<Prompt, PromptError> {
    // `parts/rust` and `parts/cuda` are filled already; a template may not need the names again.
    if role != "plan" {
        values.remove("rules_type");
    }
    let files = sources(context.reference, context.prepared)?;
    values.insert("reference", Text::default());
    let without = fill(role, &values)?;
    let budget = context.budget_tokens.saturating_sub(tokens(&without.sent));
    let source = source::section(context, &files, budget)?;
    values.insert("reference", source);
    let filled = fill(role, &values)?;
    let total = tokens(&filled.sent);
    if total > context.budget_tokens {
        let source_tokens = total.saturating_sub(tokens(&without.sent));
        return Err(PromptError::TooLong { tokens: total, budget: context.budget_tokens, source_tokens });
    }
    let (system, text) = filled.sent.split_once(DIVIDER).ok_or_else(|| PromptError::Unfilled {
        template: role.to_owned(),
        hole: "the line between system part and request".into(),
    })?;
    Ok(Prompt { system: tidy(system), text: tidy(text), stored: tidy(&filled.stored), tokens: total })
}

fn backend<'a>(context: &Context<'a>, name: &str) -> Result<&'a lockstep_harness::manifest::BackendTable, PromptError> {
    let table = context.manifest.file.backends.get(name).filter(|table| !table.editable.is_empty());
    table.ok_or_else(|| PromptError::NoFiles(name.to_owned()))
}

fn manifest_text(context: &Context<'_>) -> Result<String, PromptError> {
    let path = context.manifest.folder.join("env.toml");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| PromptError::Manifest(format!("{} can't be read: {error}", path.display())))?;
    stripped_manifest(&text)
}

/// Modules with their interfaces: what a writer has to keep to, and may rely on.
fn plan_section(context: &Context<'_>) -> Result<Text, PromptError> {
    let Some(plan) = context.plan.filter(|plan| !plan.modules.is_empty()) else { return Ok(Text::default()) };
    let modules = plan.modules.iter().map(|module| {
        let after = if module.depends_on.is_empty() {
            String::new()
        } else {
            format!(", after {}", module.depends_on.join(", "))
        };
        format!(
            "- `{}` ({}{after}): {}; exports {}\n\n  {}\n",
            module.name,
            module.backend,
            paths_inline(&module.files),
            module.exports.join(", "),
            module.interface.trim().replace('\n', "\n  ")
        )
    });
    part("parts/plan_module", &Values::from([("modules", modules.collect::<String>().into())]))
}

fn wanted(module: &Module) -> String {
    format!(
        "The plan wants it to export {} and says of it:\n\n{}\n\nThe plan may be wrong; the reference and the manifest are not.",
        module.exports.join(", "),
        module.interface.trim()
    )
}

/// How a module that is not the last is asked for its functions.
fn probes_section(context: &Context<'_>, module: Option<&Module>) -> Result<Text, PromptError> {
    let Some(module) = module.filter(|module| !module.probes().is_empty()) else { return Ok(Text::default()) };
    let last = context.plan.and_then(|plan| plan.modules.iter().rfind(|other| other.backend == module.backend));
    if last.is_none_or(|last| last.name == module.name) {
        return Ok(Text::default());
    }
    let functions: Vec<String> = module.probes().iter().map(|function| format!("`probe:{function}`")).collect();
    part("parts/module_probes", &Values::from([("functions", functions.join(", ").into())]))
}

fn files_section(context: &Context<'_>, paths: &[&String]) -> Result<Text, PromptError> {
    let there: Vec<&String> = paths.iter().copied().filter(|path| context.files.contains_key(*path)).collect();
    if there.is_empty() {
        return Ok(Text::default());
    }
    part("parts/files", &Values::from([("files", shown_files(context, &there).into())]))
}

fn shown_files(context: &Context<'_>, paths: &[&String]) -> String {
    let shown = paths.iter().map(|path| {
        let text = context.files.get(*path).map_or("", String::as_str);
        format!("<file path=\"{path}\">\n{}\n</file>\n", text.trim_end())
    });
    shown.collect()
}

fn tried_section(tried: &[Tried]) -> Result<Text, PromptError> {
    if tried.is_empty() {
        return Ok(Text::default());
    }
    let rounds = tried[tried.len().saturating_sub(TRIED_MAX)..].iter();
    let rounds: String =
        rounds.map(|tried| format!("- round {}: {} → {}\n", tried.round, tried.what, tried.result)).collect();
    part("parts/tried", &Values::from([("rounds", rounds.into())]))
}

fn trouble_section(trouble: &Trouble) -> Result<Text, PromptError> {
    match trouble {
        Trouble::Plan(problem) => part("parts/trouble_plan", &Values::from([("problem", problem.as_str().into())])),
        Trouble::Edits(problems) => {
            let text: String = problems.iter().map(|problem| format!("- {problem}\n")).collect();
            part("parts/trouble_edits", &Values::from([("problems", text.into())]))
        }
        Trouble::Build(output) => {
            let output = compiler::trimmed(output, BUILD_TOKENS_MAX);
            part("parts/trouble_build", &Values::from([("output", output.into())]))
        }
        Trouble::Diverged { packs, table } => {
            let mut all = Text::default();
            for pack in packs.iter().take(PACKS_MAX) {
                let text = Text {
                    sent: shortened(&pack.text, PACK_TOKENS_MAX),
                    stored: shortened(&pack.stored, PACK_TOKENS_MAX),
                };
                all = join(
                    all,
                    part("parts/packs", &Values::from([("kind", pack.kind.as_str().into()), ("text", text)]))?,
                );
            }
            part("parts/trouble_diverged", &Values::from([("packs", all), ("table", table.as_str().into())]))
        }
    }
}

fn join(first: Text, second: Text) -> Text {
    let both = |a: String, b: String| if a.is_empty() { b } else { format!("{}\n\n{b}", a.trim_end()) };
    Text { sent: both(first.sent, second.sent), stored: both(first.stored, second.stored) }
}

fn paths(files: &[String]) -> String {
    files.iter().map(|file| format!("- `{file}`\n")).collect()
}

fn paths_inline(files: &[String]) -> String {
    files.iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(", ")
}

/// Empty sections leave empty lines behind.
fn tidy(text: &str) -> String {
    let mut out = text.trim().to_owned();
    while out.contains("\n\n\n\n") {
        out = out.replace("\n\n\n\n", "\n\n");
    }
    out.push('\n');
    out
}

/// The text, cut in the middle where it has too many tokens.
fn shortened(text: &str, tokens_max: u64) -> String {
    if tokens(text) <= tokens_max {
        return text.to_owned();
    }
    let lines: Vec<&str> = text.lines().collect();
    let (mut head, mut tail, mut left) = (0, lines.len(), tokens_max);
    while head < tail {
        let at = if head <= lines.len() - tail { head } else { tail - 1 };
        let cost = tokens(lines[at]) + 1;
        if cost > left {
            break;
        }
        left -= cost;
        if at == head { head += 1 } else { tail -= 1 }
    }
    let gap = format!("… {} lines left out …", tail - head);
    [&lines[..head], &[gap.as_str()], &lines[tail..]].concat().join("\n")
}

/// Tokens of a text, rather too many: source code has some 3.5 characters to a token.
fn tokens(text: &str) -> u64 {
    (text.len() as u64).div_ceil(3)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
