//! Environments in TypeScript or JavaScript: translated with the SDK's compiler, played by `propose.mjs`, and an adapter in
//! plain lines over `own.mjs`.

use super::proposal::{Proposal, Request, Source, answer_of};
use super::{adapter::pin, quoted, relative};
use crate::exit::{Exit, Failure};
use lockstep_harness::reference::{Reference, Tools, cache_folder, prepare};
use lockstep_harness::watch::Watch;
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The file and the class, where the environment is one for Node.
pub fn entry(request: &Request) -> Option<(PathBuf, &str)> {
    let Source::From(entry) = &request.source else { return None };
    let (file, class) = entry.rsplit_once(':')?;
    let path = request.folder.join(file);
    let extension = Path::new(file).extension()?;
    (extension == "ts" || extension == "js").then_some((path, class))
}

/// Has the environment translated, played and looked at.
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
    let unavailable = |message: String| Failure { exit: Exit::ReferenceUnavailable, message };
    let file = file.canonicalize().map_err(|_| {
        unavailable(format!(
            "there is no file {}\n(hint: name the file that holds the class, such as my_env.ts:MyEnv)",
            file.display()
        ))
    })?;
    let failed = |error: std::io::Error| Failure::usage(format!("{}: {error}", cache_folder().display()));
    let folder = tempfile::tempdir().map_err(failed)?;
    let steps: String = steps(&file.display().to_string(), &root(&file).display().to_string());
    let text = format!(
        "format = \"lockstep/reference/1\"\nname = {}\nversion = \"1\"\nlicence = \"not stated\"\nmodel_may_read = [{}]\n\n\
         [adapters.node]\ndefault = true\nneeds = [\"node\", \"npm\"]\nholds_paths = true\nargv = [\"node\"]\nprepare = [\n{steps}]\n",
        quoted(name),
        quoted(&file.display().to_string()),
    );
    std::fs::write(folder.path().join("reference.toml"), text).map_err(failed)?;
    let reference = Reference::read(folder.path(), sdk)?;
    let prepared = prepare(&reference, None, tools, watch)?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let compiled = prepared.folder.join("own").join(format!("{stem}.js"));
    let answer = folder.path().join("answer.json");
    let body = json!({
        "compiled": compiled, "name": class, "options": request.options, "actions": request.actions,
        "seconds": request.seconds, "answer": answer,
    });
    watch.begin(&format!("playing it with Node for some {} s", request.seconds), 0);
    let ended = played(&sdk.join("node/lockstep-sdk/propose.mjs"), &body.to_string(), request, folder.path());
    watch.end();
    ended?;
    let text = std::fs::read_to_string(&answer).unwrap_or_default();
    let mut proposal = answer_of(&text)?.ok_or_else(|| {
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(12).collect();
        let shown: String = last.iter().rev().map(|line| format!("\n  {line}")).collect();
        unavailable(format!(
            "the environment ended Node; its last lines{shown}\n(hint: mend it, then type the same again)"
        ))
    })?;
    proposal.module = stem;
    proposal.files = files(&file, &prepared.folder.join("own"));
    proposal.path = root(&file);
    proposal.about = format!("the class {class} of {}", file.file_name().unwrap_or_default().to_string_lossy());
    Ok(proposal)
}

/// Plays it in a process of its own.
fn played(script: &Path, body: &str, request: &Request, folder: &Path) -> Result<(), Failure> {
    let unstarted = |error: std::io::Error| Failure {
        exit: Exit::ReferenceUnavailable,
        message: format!("node could not be started: {error}\n(hint: install Node 18 or newer)"),
    };
    let asked = folder.join("request.json");
    std::fs::write(&asked, body).map_err(unstarted)?;
    let log = std::fs::File::create(folder.join("log")).map_err(unstarted)?;
    let mut child = Command::new("node")
        .args(["--enable-source-maps", "--stack-size=900"])
        .arg(script)
        .current_dir(&request.folder)
        .stdin(Stdio::from(std::fs::File::open(&asked).map_err(unstarted)?))
        .stdout(log.try_clone().map_err(unstarted)?)
        .stderr(log)
        .spawn()
        .map_err(unstarted)?;
    let until = Instant::now() + Duration::from_secs_f64(request.deadline);
    while child.try_wait().map_err(unstarted)?.is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Failure {
                exit: Exit::ReferenceUnavailable,
                message: format!(
                    "the environment did not end within {} s\n(hint: give it longer with --deadline SECONDS, or mend what hangs)",
                    request.deadline
                ),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The folder below which the environment's files are.
fn root(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("/")).to_owned()
}

/// What prepares it: the SDK and the compiler are copied, and the environment is translated for Node, without its types
/// being checked.
fn steps(file: &str, root: &str) -> String {
    let compiler = [
        "node",
        "{prepared}/node_modules/typescript/bin/tsc",
        "--noCheck",
        "--allowJs",
        "--module",
        "commonjs",
        "--target",
        "es2022",
        "--esModuleInterop",
        "--sourceMap",
        "--sourceRoot",
        root,
        "--rootDir",
        root,
        "--outDir",
        "{prepared}/own",
        file,
    ];
    let rows: [(&str, Vec<&str>); 6] = [
        ("making folders", vec!["mkdir", "-p", "{prepared}/sdk", "{prepared}/own"]),
        ("copying the SDK for Node", vec!["cp", "-R", "{sdk}/node/lockstep-sdk/.", "{prepared}/sdk"]),
        ("copying the compiler's lock file", vec!["cp", "-R", "{sdk}/node/typescript/.", "{prepared}"]),
        ("installing the TypeScript compiler", vec!["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]),
        ("translating it", compiler.to_vec()),
        (
            "saying how its modules are found",
            vec!["cp", "{sdk}/node/typescript/commonjs.json", "{prepared}/own/package.json"],
        ),
    ];
    let mut text = String::new();
    for (say, argv) in rows {
        let argv: Vec<String> = argv.into_iter().map(quoted).collect();
        let _ = writeln!(text, "    {{ say = {}, argv = [{}] }},", quoted(say), argv.join(", "));
    }
    text
}

/// The environment's file, and those that were translated with it.
fn files(entry: &Path, own: &Path) -> Vec<PathBuf> {
    let mut files = vec![entry.to_owned()];
    let mut folders = vec![own.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "js") {
                let below = path.strip_prefix(own).unwrap_or(&path);
                let sources = ["ts", "js"].map(|extension| root(entry).join(below).with_extension(extension));
                files.extend(sources.into_iter().find(|source| source.is_file()).filter(|source| source != entry));
            }
        }
    }
    files[1..].sort();
    files
}

/// The text of `reference/adapter.mjs`.
pub(super) fn adapter_mjs(proposal: &Proposal) -> String {
    let class = &proposal.class;
    let mut body = String::new();
    let _ = writeln!(body, "    static name = {};", quoted(&format!("{}.{class}", proposal.module)));
    if !proposal.words.is_empty() {
        body += "    // Texts of the state, as numbers from 0. One that is missing ends in an error that names it.\n    static words = {\n";
        for (field, words) in &proposal.words {
            let words: Vec<String> = words.iter().map(|word| json!(word).to_string()).collect();
            let _ = writeln!(body, "        {field}: [{}],", words.join(", "));
        }
        body += "    };\n";
    }
    let mut limited =
        proposal.canonical.iter().filter_map(|field| Some((&field.name, field.limits.as_ref()?))).peekable();
    // Without a `put` they wait for one that is written by hand.
    if limited.peek().is_some() {
        body += "    // What was seen, with room: states that the property tier puts together beyond these are refused.\n    static limits = {\n";
        for (name, [low, high]) in limited {
            let _ = writeln!(body, "        {name}: [{low}, {high}],");
        }
        body += "    };\n";
    }
    let _ = write!(body, "\n    make(options) {{\n        return new own.{class}(options);\n    }}\n");
    let reads: Vec<&str> = proposal.observation.iter().map(|field| field.read.as_str()).collect();
    let _ = write!(body, "\n    look(observation) {{\n        return flat({});\n    }}\n", reads.join(", "));
    body += "\n    canonical() {\n        const { env } = this;\n        return {\n";
    for field in &proposal.canonical {
        let _ = writeln!(body, "            {}: {},", field.name, field.read);
    }
    body += "        };\n    }\n";
    if !proposal.sizes.is_empty() {
        body += "\n    sizes() {\n        // A list that outgrows its bound ends the episode and is counted in `capacity`.\n        const { env } = this;\n        return [\n";
        for (name, size, bound) in &proposal.sizes {
            let _ = writeln!(body, "            [{}, {size}, {bound}],", quoted(name));
        }
        body += "        ];\n    }\n";
    }
    match &proposal.put {
        Some(lines) => {
            body += "\n    put(fields) {\n        const { env } = this;\n";
            for line in lines {
                let _ = writeln!(body, "        {line}");
            }
            body += "    }\n\n    inject(start, fields, observations) {\n        this.takeOver(start, fields, observations);\n    }\n";
        }
        None => {
            let _ = write!(
                body,
                "\n    // No `put(fields)` and `inject`, which set the properties of this.env from the fields: {}.\n    // Without them there are no property and interaction tiers; write them if you can.\n",
                proposal.no_put
            );
        }
    }
    let used = ["padded", "rows", "whole"].into_iter().filter(|name| body.contains(&format!("{name}(")));
    let imports: Vec<&str> = ["OwnLane", "flat"].into_iter().chain(used).collect();
    format!(
        "/**\n * Makes {class} speak Lockstep. Written by `lockstep new`; change what it got wrong.\n *\n \
         * `canonical` reads every field of env.toml from the environment, `look` the numbers of an observation. The base class is\n \
         * own.mjs of the SDK for Node; reference.toml says how the environment is translated.\n *\n \
         * Math.random() draws below(2^27) = a, then below(2^26) = b, at no site of the manifest; it is (a * 2^26 + b) / 2^53.\n */\n\n\
         import {{ {} }} from \"./sdk/own.mjs\";\nimport {{ main }} from \"./sdk/index.mjs\";\nimport own from \"./own/{}.js\";\n\n\
         class {class}Lane extends OwnLane {{\n{body}}}\n\nmain({class}Lane, import.meta.url);\n",
        imports.join(", "),
        proposal.module
    )
}

/// The text of `reference/reference.toml`.
pub(super) fn reference_toml(name: &str, folder: &Path, proposal: &Proposal) -> String {
    let here = folder.join("reference");
    let mut readable: Vec<String> =
        proposal.files.iter().map(|file| relative(&here, file).display().to_string()).collect();
    readable.push("adapter.mjs".into());
    let readable: Vec<String> = readable.iter().map(|file| quoted(file)).collect();
    let from_here = |path: &Path| format!("{{here}}/{}", relative(&here, path).display());
    let mut prepare = steps(&from_here(&proposal.files[0]), &from_here(&proposal.path));
    prepare +=
        "    { say = \"copying the adapter\", argv = [\"cp\", \"{here}/adapter.mjs\", \"{prepared}/adapter.mjs\"] },\n";
    format!(
        "format = \"lockstep/reference/1\"\nname = {}\nversion = {}\nabout = {}\nlicence = {}\n\
         # What `lockstep converge` may send to a model, in this order. .lockstepignore beside env.toml has the last word.\n\
         model_may_read = [{}]\n\n\
         [adapters.node]\ndefault = true\nneeds = [\"node\", \"npm\"]\nholds_paths = true\nargv = [\"node\", \"--enable-source-maps\", \"{{prepared}}/adapter.mjs\"]\nprepare = [\n{prepare}]\n",
        quoted(name),
        quoted(&pin(&proposal.files)),
        quoted(&proposal.about),
        quoted(&proposal.licence),
        readable.join(", ")
    )
}
