//! Environments in C, in PufferLib's manner: the compiler's debugging information says what the struct holds, an adapter
//! that only looks is played through the protocol, and the adapter that stays is written from what was seen.

mod adapter;
mod layout;
mod play;

use super::proposal::{Action, Field, Proposal, Request, Source};
use super::{adapter::pin, manifest, relative};
use crate::exit::{Exit, Failure};
use layout::{Layout, LayoutError, Leaf, Scalar};
use lockstep_harness::reference::{PrepareError, Tools};
use lockstep_harness::watch::Watch;
use play::Seen;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Numbers that an observation has room for while it is found out how many there are.
const OBSERVATIONS_MAX: usize = 1 << 14;
/// Sizes of one field in a manifest.
const SIZES_MAX: usize = 4;
/// What the environment and Lockstep exchange.
const EXCHANGED: [&str; 5] = ["observations", "actions", "rewards", "terminals", "truncations"];

/// An environment in C, as its adapter has to know it.
#[derive(Debug, Clone)]
pub struct Own {
    name: String,
    class: String,
    file: PathBuf,
    spelled: String,
    init: Option<String>,
    reset: String,
    step: String,
    observation: (String, Scalar),
    observations: usize,
    action: String,
    actions: u32,
    reward: (String, &'static str),
    terminal: String,
    truncation: Option<String>,
    pointers: Vec<String>,
    options: Vec<(String, Scalar, String)>,
    resets_itself: bool,
    used: BTreeMap<String, u64>,
    fields: Vec<Taken>,
}

/// A number of the struct that became a field.
#[derive(Debug, Clone)]
struct Taken {
    name: String,
    leaf: Leaf,
    limits: Option<(String, String)>,
}

impl Own {
    /// The text of `reference/adapter.c` for an environment's folder.
    pub fn adapter_c(&self, folder: &Path) -> String {
        adapter::text(self, &self.fields, &relative(&folder.join("reference"), &self.file).display().to_string(), false)
    }

    /// The text of `reference/reference.toml`.
    pub fn reference_toml(&self, folder: &Path, proposal: &Proposal) -> String {
        let here = folder.join("reference");
        let files = proposal.files.iter().map(|file| relative(&here, file).display().to_string());
        let readable: Vec<String> = files.chain(["adapter.c".to_owned()]).collect();
        adapter::reference_toml(self, &pin(&proposal.files), &proposal.about, &readable, false)
    }
}

/// The file and the struct, where the environment is one in C.
pub fn entry(request: &Request) -> Option<(PathBuf, &str)> {
    let Source::From(entry) = &request.source else { return None };
    let (file, class) = entry.rsplit_once(':')?;
    let path = request.folder.join(file);
    let extension = Path::new(file).extension()?;
    (extension == "c" || extension == "h").then_some((path, class))
}

fn unavailable(message: String) -> Failure {
    Failure { exit: Exit::ReferenceUnavailable, message }
}

/// Has the environment compiled, played and looked at.
///
/// # Errors
/// If it can't be taken: what is wrong, where, and what to do.
pub fn propose(
    request: &Request,
    tools: &Tools,
    sdk: &Path,
    name: &str,
    watch: &mut dyn Watch,
) -> Result<Proposal, Failure> {
    let (file, class) = entry(request).expect("it was just looked at");
    let file = file.canonicalize().map_err(|_| {
        unavailable(format!(
            "there is no file {}\n(hint: name the file that holds the struct, such as my_env.c:MyEnv)",
            file.display()
        ))
    })?;
    let compiler = tools.cc.as_ref().map(|tool| tool.path.as_path()).ok_or_else(|| {
        Failure::from(PrepareError::NoTool { reference: name.to_owned(), tool: "a C compiler".into() })
    })?;
    let folder = tempfile::tempdir().map_err(|error| Failure::usage(format!("a temporary folder: {error}")))?;
    let layout = look(compiler, folder.path(), &file, class)?;
    let mut own = own(request, name, class, &file, &layout)?;
    let every: Vec<Taken> = taken(&layout);
    let mut proposal = proposal_of(&own, &every);
    proposal.files = vec![file.clone()];

    watch.begin(&format!("playing it for some {} s", request.seconds), 0);
    let place = folder.path().join("look");
    written(&place, name, request, &proposal, &own, &every, true)?;
    let seen = play::look(&place, sdk, tools, request, &every, watch);
    watch.end();
    let seen = seen?;
    settle(&mut own, &every, &seen, &layout)?;

    let mut proposal = proposal_of(&own, &own.fields);
    proposal.files = files(compiler, &file);
    proposal.path = file.parent().unwrap_or(Path::new("/")).to_owned();
    proposal.module = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    proposal.constants = constants(&every, &own.fields);
    proposal.steps = seen.steps;
    proposal.episodes = seen.episodes;
    proposal.longest = seen.longest;
    let place = folder.path().join("last");
    written(&place, name, request, &proposal, &own, &own.fields, false)?;
    proposal.speed = play::speed(&place, sdk, tools, request, watch)?;
    proposal.c = Some(own);
    Ok(proposal)
}

/// Compiles the environment and reads what its struct looks like.
fn look(compiler: &Path, folder: &Path, file: &Path, class: &str) -> Result<Layout, Failure> {
    let source = folder.join("layout.c");
    let library = folder.join("layout.so");
    let text = format!("#define main own_main\n#include {}\n", super::quoted(&file.display().to_string()));
    std::fs::write(&source, text).map_err(|error| Failure::usage(format!("{}: {error}", source.display())))?;
    let compile = |kept: &[&str]| -> Result<Output, Failure> {
        Command::new(compiler)
            .args(["-g", "-O0", "-fPIC", "-shared", "-w"])
            .args(kept)
            .arg("-o")
            .args([&library, &source])
            .output()
            .map_err(|error| unavailable(format!("{} could not be started: {error}", compiler.display())))
    };
    // gcc leaves out what nobody calls unless it is told not to; clang does not know the word.
    let mut output = compile(&["-fkeep-static-functions", "-fkeep-inline-functions"])?;
    if !output.status.success() {
        output = compile(&[])?;
    }
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let shown: String = text.lines().take(12).map(|line| format!("\n  {line}")).collect();
        return Err(unavailable(format!(
            "{} does not compile{shown}\n(hint: it has to compile by `cc -c` alone; mend it, then type the same again)",
            file.display()
        )));
    }
    layout::read(&library, class).map_err(|error| {
        let hint = match &error {
            LayoutError::Missing { known, .. } if !known.is_empty() => format!("there is {}", known.join(", ")),
            LayoutError::Missing { .. } => {
                "an environment is a struct that is reset and stepped by functions like c_reset(MyEnv *env)".into()
            }
            LayoutError::Unreadable(_) => "this needs gcc or clang on Linux".into(),
        };
        unavailable(format!("{}: {error}\n(hint: {hint})", file.display()))
    })
}

/// The environment as far as its struct tells.
fn own(request: &Request, name: &str, class: &str, file: &Path, layout: &Layout) -> Result<Own, Failure> {
    let cannot = |what: String, hint: &str| unavailable(format!("{class} {what}\n(hint: {hint})"));
    let ending = |word: &str| {
        let mut found: Vec<&String> = layout.functions.iter().filter(|name| name.ends_with(word)).collect();
        // `c_step` is PufferLib's name, and goes before `vec_step`.
        found.sort_by_key(|name| (name.as_str() != format!("c_{word}"), name.len()));
        found.first().map(|name| (*name).clone())
    };
    let manner = "Lockstep plays C in PufferLib's manner: void c_reset(MyEnv *env), void c_step(MyEnv *env), and a struct \
                  with float *observations, int *actions, float *rewards, unsigned char *terminals; for anything else \
                  write the adapter by hand: docs/bring-your-own.md";
    let function = |word: &str| {
        ending(word).ok_or_else(|| {
            cannot(format!("has no function whose name ends in `{word}` and that takes it alone"), manner)
        })
    };
    let pointer = |name: &str| layout.pointers.iter().find(|pointer| pointer.path == name);
    let target = |name: &str| {
        let found = pointer(name).ok_or_else(|| cannot(format!("has no pointer `{name}`"), manner))?;
        found
            .target
            .clone()
            .ok_or_else(|| cannot(format!("does not say what `{name}` points to"), "declare its type: float *, int *"))
    };
    if let Some((place, why)) = layout.strange.first() {
        return Err(cannot(
            format!("holds `{place}`, which can't be compared: {why}"),
            "change it in the struct, or write the adapter by hand: docs/bring-your-own.md",
        ));
    }
    if let Some(leaf) = layout.leaves.iter().find(|leaf| leaf.sizes.len() > SIZES_MAX) {
        return Err(cannot(
            format!("holds `{}`, which has more than {SIZES_MAX} dimensions", leaf.path.replace("[{}]", "[]")),
            "flatten it, or write the adapter by hand: docs/bring-your-own.md",
        ));
    }
    let (reset, step) = (function("reset")?, function("step")?);
    let (observation, action, reward, terminal) =
        (target("observations")?, target("actions")?, target("rewards")?, target("terminals")?);
    if !matches!(reward.1.dtype, "f32" | "f64") {
        return Err(cannot("has rewards that are not float or double".into(), "declare float *rewards"));
    }
    let actions = request.actions.ok_or_else(|| {
        cannot("does not say how many actions it has".into(), "type --actions N; they are numbered from 0")
    })?;
    let truncation = match pointer("truncations") {
        Some(_) => Some(target("truncations")?.0),
        None => None,
    };
    let mut options = Vec::new();
    for (key, value) in &request.options {
        let leaf = layout.leaves.iter().find(|leaf| leaf.path == *key && leaf.sizes.is_empty());
        let Some(leaf) = leaf else {
            let known: Vec<&str> =
                layout.leaves.iter().filter(|leaf| leaf.sizes.is_empty()).map(|leaf| leaf.path.as_str()).collect();
            return Err(cannot(
                format!("has no number `{key}`"),
                &format!("options are numbers of the struct: {}", known.join(", ")),
            ));
        };
        let fits = match (leaf.scalar.boolean, leaf.scalar.dtype) {
            (true, _) => value.is_boolean(),
            (_, "f32" | "f64") => value.is_number(),
            _ => value.is_i64() || value.is_u64(),
        };
        if !fits {
            let wanted =
                if leaf.scalar.boolean { "true or false".to_owned() } else { format!("a {}", leaf.scalar.dtype) };
            return Err(cannot(format!("takes no {value} for `{key}`"), &format!("it is {wanted}")));
        }
        options.push((key.clone(), leaf.scalar, value.to_string()));
    }
    Ok(Own {
        name: name.to_owned(),
        class: class.to_owned(),
        file: file.to_owned(),
        spelled: layout.spelled.clone(),
        init: ["init", "c_init"]
            .into_iter()
            .find(|name| layout.functions.iter().any(|one| one == name))
            .map(str::to_owned),
        reset,
        step,
        observation,
        observations: request.observations.map_or(OBSERVATIONS_MAX, |count| count as usize),
        action: action.0,
        actions,
        reward: (reward.0, reward.1.dtype),
        terminal: terminal.0,
        truncation,
        pointers: layout
            .pointers
            .iter()
            .map(|pointer| pointer.path.clone())
            .filter(|path| !EXCHANGED.contains(&path.as_str()) && !path.contains("{}"))
            .collect(),
        options,
        resets_itself: false,
        used: BTreeMap::new(),
        fields: Vec::new(),
    })
}

/// Every number of the struct as a field.
fn taken(layout: &Layout) -> Vec<Taken> {
    let mut fields: Vec<Taken> = Vec::new();
    for leaf in &layout.leaves {
        let base = adapter::field_name(&leaf.path);
        let mut name = base.clone();
        let mut number = 2;
        while fields.iter().any(|field| field.name == name) {
            name = format!("{base}_{number}");
            number += 1;
        }
        fields.push(Taken { name, leaf: leaf.clone(), limits: None });
    }
    fields
}

/// Completes the environment with what playing it showed.
fn settle(own: &mut Own, every: &[Taken], seen: &Seen, layout: &Layout) -> Result<(), Failure> {
    let class = own.class.clone();
    let cannot = |what: String, hint: &str| unavailable(format!("{class} {what}\n(hint: {hint})"));
    if let Some(pointer) = own.pointers.iter().take(32).enumerate().find(|(place, _)| seen.pointers >> place & 1 == 1) {
        return Err(cannot(
            format!("keeps state behind the pointer `{}`, where nobody knows how much there is", pointer.1),
            "make it an array in the struct, or write the adapter by hand: docs/bring-your-own.md",
        ));
    }
    if let Some(Pair { place, high }) = agents(layout, every, seen).filter(|pair| pair.high > 1) {
        return Err(cannot(
            format!("plays {high} agents (`{place}`)"),
            "one agent is taken; for more write the adapter by hand: docs/bring-your-own.md",
        ));
    }
    if own.observations == OBSERVATIONS_MAX {
        if seen.extent as usize == OBSERVATIONS_MAX {
            return Err(cannot(
                "writes more observations than there is room for".into(),
                "say how many: --observations N",
            ));
        }
        own.observations = seen.extent as usize;
    }
    if own.observations == 0 {
        return Err(cannot("wrote no observation".into(), "say how many numbers it has: --observations N"));
    }
    own.resets_itself = seen.resets > 0;
    own.used = adapter::GENERATORS
        .iter()
        .zip(seen.asked)
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| (format!("{name}()"), if *name == "drand48" { count / 2 } else { count }.into()))
        .collect();
    for (field, stats) in every.iter().zip(&seen.fields) {
        if stats.varies {
            own.fields.push(Taken { limits: stats.limits(field.leaf.scalar), ..field.clone() });
        }
    }
    if own.fields.is_empty() {
        return Err(cannot(
            "did not change while it was played".into(),
            "the state has to be in the struct, not in global variables",
        ));
    }
    Ok(())
}

struct Pair {
    place: String,
    high: i64,
}

fn agents(layout: &Layout, every: &[Taken], seen: &Seen) -> Option<Pair> {
    let place = layout.leaves.iter().position(|leaf| leaf.path == "num_agents" && leaf.sizes.is_empty())?;
    Some(Pair { place: every[place].leaf.path.clone(), high: seen.fields[place].high_whole() })
}

/// Top-level parts of the struct that never changed.
fn constants(every: &[Taken], fields: &[Taken]) -> Vec<String> {
    let top = |field: &Taken| field.leaf.path.split(['.', '[']).next().unwrap_or_default().to_owned();
    let varying: Vec<String> = fields.iter().map(top).collect();
    let mut names: Vec<String> = every.iter().map(top).filter(|name| !varying.contains(name)).collect();
    names.dedup();
    names
}

fn proposal_of(own: &Own, fields: &[Taken]) -> Proposal {
    let field = |field: &Taken| Field {
        name: field.name.clone(),
        dtype: field.leaf.scalar.dtype.to_owned(),
        shape: field.leaf.sizes.iter().map(|size| *size as usize).collect(),
        reference: field.leaf.path.replace("[{}]", "[]"),
        read: String::new(),
        limits: None,
    };
    let watched = adapter::WATCHED.iter().map(|(name, count)| Field {
        name: (*name).to_owned(),
        dtype: "u32".into(),
        shape: if *count == 1 { vec![] } else { vec![*count] },
        reference: (*name).to_owned(),
        read: String::new(),
        limits: None,
    });
    let looking = own.fields.is_empty();
    let before =
        fields.iter().enumerate().map(|(place, one)| Field { name: format!("own_before_{place}"), ..field(one) });
    let view = Field {
        name: "view".into(),
        dtype: own.observation.1.dtype.to_owned(),
        shape: vec![if looking { 1 } else { own.observations }],
        reference: "observations".into(),
        read: String::new(),
        limits: None,
    };
    Proposal {
        class: own.class.clone(),
        licence: "not stated".into(),
        about: format!("the struct {} of {}", own.class, own.file.file_name().unwrap_or_default().to_string_lossy()),
        action: Action {
            kind: "discrete".into(),
            names: (0..own.actions).map(|place| format!("action_{place}")).collect(),
            mask: false,
            low: None,
            high: None,
        },
        width: 1,
        canonical: fields
            .iter()
            .map(field)
            .chain(before.chain(watched).take(if looking { usize::MAX } else { 0 }))
            .collect(),
        put: Some(Vec::new()),
        observation: vec![view],
        level: "served".into(),
        used: own.used.clone(),
        reward: own.reward.1.to_owned(),
        resets_itself: own.resets_itself,
        speed: 1_000_000,
        ..Proposal::default()
    }
}

/// Writes what is needed to play the environment.
fn written(
    place: &Path,
    name: &str,
    request: &Request,
    proposal: &Proposal,
    own: &Own,
    fields: &[Taken],
    watch: bool,
) -> Result<(), Failure> {
    let include = own.file.display().to_string();
    let readable = [include.clone(), "adapter.c".to_owned()];
    let files = [
        ("env.toml", manifest::env_toml(name, request, proposal)),
        ("reference/adapter.c", adapter::text(own, fields, &include, watch)),
        ("reference/reference.toml", adapter::reference_toml(own, "1", &proposal.about, &readable, watch)),
    ];
    for (path, text) in files {
        let path = place.join(path);
        let failed = |error: std::io::Error| Failure::usage(format!("{} can't be written: {error}", path.display()));
        std::fs::create_dir_all(path.parent().unwrap_or(place)).map_err(failed)?;
        std::fs::write(&path, text).map_err(failed)?;
    }
    Ok(())
}

/// The environment's file, and those beside or below it that it includes.
fn files(compiler: &Path, file: &Path) -> Vec<PathBuf> {
    let root = file.parent().unwrap_or(Path::new("/"));
    let listed = Command::new(compiler).arg("-MM").arg(file).output().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&listed).replace("\\\n", " ").replace("\\ ", "\u{0}");
    let mut files = vec![file.to_owned()];
    for word in text.split_whitespace().skip(1) {
        let Ok(path) = Path::new(&word.replace('\u{0}', " ")).canonicalize() else { continue };
        if path.starts_with(root) && !files.contains(&path) {
            files.push(path);
        }
    }
    files[1..].sort();
    files
}

/// `MaxSpeed` and `maxSpeed` are `max_speed`.
fn snake(text: &str) -> String {
    let mut made = String::new();
    let mut before = '_';
    for letter in text.chars() {
        if letter.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            made.push('_');
        }
        made.push(if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' });
        before = letter;
    }
    let made = made.trim_matches('_');
    if made.starts_with(|letter: char| letter.is_ascii_digit()) || made.is_empty() {
        format!("field_{made}")
    } else {
        made.to_owned()
    }
}
