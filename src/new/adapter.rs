//! The reference's side of a new environment: `adapter.py` in plain lines that can be changed, and `reference.toml`.

use super::proposal::{Proposal, Request, Source};
use super::{quoted, relative};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The text of `reference/adapter.py`.
pub(super) fn adapter_py(folder: &Path, request: &Request, proposal: &Proposal) -> String {
    let body = body(proposal);
    let helpers = ["digits", "flat", "made", "padded", "rows", "singles"];
    let used: Vec<&str> = helpers.into_iter().filter(|name| body.contains(&format!("{name}("))).collect();
    let own = match &request.source {
        Source::From(_) => {
            let way = python_way(&relative(&folder.join("reference"), &proposal.path));
            format!("sys.path.insert(0, os.path.join(HERE, {way}))\n")
        }
        Source::Gymnasium(_) => String::new(),
    };
    let here = if own.is_empty() { "" } else { "HERE = os.path.dirname(os.path.abspath(__file__))\n" };
    let numpy = if body.contains("numpy.") { "import numpy  # noqa: E402\n" } else { "" };
    format!(
        "\"\"\"Makes {class} speak Lockstep. Written by `lockstep new`; change what it got wrong.\n\n\
         `canonical` reads every field of env.toml from the environment, `look` the numbers of an observation. The base class is\n\
         lockstep_sdk/gym.py; it also takes over Python's and numpy's generators, so it is imported before the environment.\n\
         \"\"\"\n\nimport os\nimport sys\n\n{here}sys.path.insert(0, os.environ[\"LOCKSTEP_SDK\"])\n{own}\n\
         import lockstep_sdk  # noqa: E402\nfrom lockstep_sdk.gym import {imports}  # noqa: E402\n{numpy}\n\n{body}\n\n\
         if __name__ == \"__main__\":\n    lockstep_sdk.main({class}Lane)\n",
        class = proposal.class,
        imports = ["GymLane"].into_iter().chain(used).collect::<Vec<_>>().join(", "),
    )
}

fn body(proposal: &Proposal) -> String {
    let class = &proposal.class;
    let version = if proposal.version.is_empty() { "1" } else { &proposal.version };
    let mut text = format!(
        "class {class}Lane(GymLane):\n    name, version = {}, {}\n",
        quoted(&format!("{}.{class}", proposal.module)),
        quoted(version)
    );
    text += &chance(proposal);
    if !proposal.surviving.is_empty() {
        let _ = write!(
            text,
            "    # Otherwise after a reset than in a new environment: {}. So each episode gets a new one.\n    fresh = True\n",
            proposal.surviving.join(", ")
        );
    }
    if !proposal.words.is_empty() {
        text.push_str("    # Texts of the state, as numbers from 0. One that is missing ends in an error that names it.\n    words = {\n");
        for (field, words) in &proposal.words {
            let shown: Vec<String> =
                words.iter().map(|word| word.as_deref().map_or("None".to_owned(), quoted)).collect();
            let _ = writeln!(text, "        {}: [{}],", quoted(field), shown.join(", "));
        }
        text.push_str("    }\n");
    }
    let limited = proposal.canonical.iter().filter_map(|field| Some((&field.name, field.limits.as_ref()?)));
    let limits: Vec<String> =
        limited.map(|(name, [low, high])| format!("        {}: ({low}, {high}),\n", quoted(name))).collect();
    // Without a `put` they wait for one that is written by hand.
    if !limits.is_empty() {
        let _ = write!(
            text,
            "    # What was seen, with room: states that the property tier puts together beyond these are refused.\n    limits = {{\n{}    }}\n",
            limits.concat()
        );
    }
    text.push_str("\n    def make(self, options):\n");
    if let Some(version) = proposal.version.strip_prefix("gymnasium ") {
        let _ = writeln!(
            text,
            "        import gymnasium\n\n        if gymnasium.__version__ != {version:?}:\n            raise RuntimeError(f\"reference.toml pins gymnasium {version}, here is {{gymnasium.__version__}}\")"
        );
    }
    for line in proposal.make.iter().filter(|line| proposal.version.is_empty() || line.starts_with("return")) {
        let _ = writeln!(text, "{}", if line.is_empty() { String::new() } else { format!("        {line}") });
    }
    if proposal.act != "actions[0]" {
        let _ = write!(text, "\n    def act(self, actions):\n        return {}\n", proposal.act);
    }
    if proposal.action.mask {
        text.push_str(
            "\n    def legal(self, agent):\n        return tuple(bool(one) for one in self.env.action_masks())\n",
        );
    }
    let reads: Vec<&str> = proposal.observation.iter().map(|field| field.read.as_str()).collect();
    text.push_str("\n    def look(self, observation):\n");
    if reads.len() == 1 {
        let _ = writeln!(text, "        return flat({})", reads[0]);
    } else {
        text.push_str("        return flat(\n");
        for (field, read) in proposal.observation.iter().zip(&reads) {
            let _ = writeln!(text, "            {read},  # {}", field.name);
        }
        text.push_str("        )\n");
    }
    text.push_str("\n    def canonical(self):\n        env = self.env\n        return {\n");
    for field in &proposal.canonical {
        let _ = writeln!(text, "            {}: {},", quoted(&field.name), field.read);
    }
    text.push_str("        }\n");
    if !proposal.sizes.is_empty() {
        text.push_str(
            "\n    def sizes(self):\n        # A list that outgrows its bound ends the episode and is counted in `capacity`.\n        env = self.env\n        return (\n",
        );
        for (name, size, bound) in &proposal.sizes {
            let _ = writeln!(text, "            ({}, {size}, {bound}),", quoted(name));
        }
        text.push_str("        )\n");
    }
    match &proposal.put {
        Some(lines) => {
            text.push_str("\n    def put(self, fields):\n        env = self.env\n");
            for line in lines {
                let _ = writeln!(text, "        {line}");
            }
        }
        None => {
            let _ = write!(
                text,
                "\n    # No `put(self, fields)`, which sets the attributes of self.env from the fields: {}.\n    # Without it there are no property and interaction tiers; write it if you can.\n",
                proposal.no_put
            );
        }
    }
    text
}

/// What each kind of method draws, as lockstep_sdk/chance.py has it: names, and the draws.
const DRAWS: [(&[&str], &str); 7] = [
    (
        &["random", "random_sample", "rand"],
        "below(2^27) = a, then below(2^26) = b; the number is (a * 2^26 + b) / 2^53",
    ),
    (
        &["uniform"],
        "below(2^27) = a, then below(2^26) = b; u = (a * 2^26 + b) / 2^53, the number is low + (high - low) * u; for an array as often as it has numbers",
    ),
    (&["integers", "randint", "randrange"], "below(n), n numbers from the lowest on"),
    (
        &["choice"],
        "below(n) without p; with p as random(), the first place whose running sum of p (divided by the last sum) is above it; without replacement as sample",
    ),
    (&["shuffle", "permutation"], "for i from n - 1 down to 1: j = below(i + 1), swap items i and j"),
    (&["sample"], "for i from 0: j = below(n - i), swap items i and i + j; the first k items"),
    (&["getrandbits", "bytes"], "words, the lowest first; what is left of the bits is below(2^rest)"),
];

/// What the generators ask for, as far as it was seen: nobody can read that in the environment's own source.
fn chance(proposal: &Proposal) -> String {
    // `Generator.random`, or several that can't be told apart: `random.randrange, choice, shuffle or sample`.
    let used: Vec<&str> = proposal
        .used
        .keys()
        .filter_map(|name| Some(name.split_once('.')?.1))
        .flat_map(|names| names.split([',', ' ']))
        .collect();
    let seen = |names: &[&str]| names.iter().filter(|name| used.contains(name)).copied().collect::<Vec<_>>().join(", ");
    let rows = DRAWS.iter().map(|(names, draws)| (seen(names), draws)).filter(|(names, _)| !names.is_empty());
    let lines: String = rows.map(|(names, draws)| format!("    #   {names}: {draws}\n")).collect();
    if lines.is_empty() {
        return lines;
    }
    format!("    # What its generators draw, in order, none of it at a site of the manifest:\n{lines}")
}

/// The text of `reference/reference.toml`.
pub(super) fn reference_toml(name: &str, folder: &Path, request: &Request, proposal: &Proposal) -> String {
    let mut prepare = vec![
        r#"{ say = "compiling the Python SDK's accelerator", optional = true, argv = ["{python}", "{sdk}/python/accel/build.py", "{cc}", "{prepared}"] }"#
            .to_owned(),
    ];
    let mut readable: Vec<String>;
    let version;
    match &request.source {
        Source::From(_) => {
            let here = folder.join("reference");
            readable = proposal.files.iter().map(|file| relative(&here, file).display().to_string()).collect();
            version = pin(&proposal.files);
        }
        Source::Gymnasium(_) => {
            let names: Vec<String> =
                proposal.files.iter().map(|file| module_of(file)).map(|name| quoted(&name)).collect();
            prepare.push(format!(
                "{{ say = \"copying the source that a model may read\", argv = [\"{{python}}\", \"-c\", {}, \"{{prepared}}/source\", {}] }}",
                quoted(COPY),
                names.join(", ")
            ));
            let file_name = |file: &PathBuf| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            readable = proposal.files.iter().map(|file| format!("{{prepared}}/source/{}", file_name(file))).collect();
            version = proposal.version.clone();
        }
    }
    readable.push("adapter.py".into());
    let readable: Vec<String> = readable.iter().map(|file| quoted(file)).collect();
    let prepare: String = prepare.iter().map(|step| format!("    {step},\n")).collect();
    format!(
        "format = \"lockstep/reference/1\"\nname = {}\nversion = {}\nabout = {}\nlicence = {}\n\
         # What `lockstep converge` may send to a model, in this order. .lockstepignore beside env.toml has the last word.\n\
         model_may_read = [{}]\n\n\
         [adapters.python]\ndefault = true\nargv = [\"{{python}}\", \"{{here}}/adapter.py\"]\n\
         variables = {{ PYTHONPATH = \"{{prepared}}\" }}\nprepare = [\n{prepare}]\n",
        quoted(name),
        quoted(&version),
        quoted(&proposal.about),
        quoted(&proposal.licence),
        readable.join(", ")
    )
}

/// Copies modules into a folder of their own, so that none of them can shadow another by its name.
const COPY: &str = "import importlib.util, os, shutil, sys; os.makedirs(sys.argv[1]); [shutil.copy(importlib.util.find_spec(name).origin, sys.argv[1]) for name in sys.argv[2:]]";

/// The module that a file of an installed package is.
fn module_of(file: &Path) -> String {
    let parts: Vec<String> = file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let after =
        parts.iter().rposition(|part| part == "site-packages" || part == "dist-packages").map_or(0, |at| at + 1);
    parts[after..].join(".")
}

/// The first digits of a hash over the sources: what `version` pins.
pub fn pin(files: &[PathBuf]) -> String {
    let mut state = Sha256::new();
    for file in files {
        state.update(std::fs::read(file).unwrap_or_default());
    }
    let digits: String = state.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("source {digits}")
}

/// A relative path as arguments of `os.path.join`; an absolute one as it is.
fn python_way(path: &Path) -> String {
    let parts: Vec<String> = path.iter().map(|part| quoted(&part.to_string_lossy())).collect();
    if parts.is_empty() { "\".\"".into() } else { parts.join(", ") }
}
