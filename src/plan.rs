//! `plan.json`: how a model cuts its work into modules, and what must hold of it before any module is written.
//!
//! The plan is the model's, so nothing in it is believed: every file that the loop may edit belongs to exactly one
//! module, modules come after what they depend on, and the last module of a backend is judged as a whole.

use lockstep_harness::manifest::Manifest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Modules of a plan at most.
const MODULES_MAX: usize = 64;
/// Bytes of an interface at most: it stands in the prompt of every later module.
const INTERFACE_BYTES_MAX: usize = 16 * 1024;
/// What judges the last module of a backend.
const WHOLE: [&str; 3] = ["contract", "property", "interaction"];

/// The modules in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Each one after those that it depends on.
    pub modules: Vec<Module>,
}

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Its name, of a-z, 0-9 and _.
    pub name: String,
    /// The backend that it is part of.
    pub backend: String,
    /// The files that it is written in, as paths in the environment's folder.
    pub files: Vec<String>,
    /// Names of earlier modules.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// The public items that others use.
    pub exports: Vec<String>,
    /// What its exports look like and promise, in Rust or CUDA signatures with a sentence each.
    pub interface: String,
    /// What judges it: `build`, `contract`, `property`, `interaction`, `probe:NAME`.
    pub vectors: Vec<String>,
}

impl Module {
    /// The pure functions whose vectors judge it.
    pub fn probes(&self) -> Vec<&str> {
        self.vectors.iter().filter_map(|vector| vector.strip_prefix("probe:")).collect()
    }
}

/// Why a plan can't be used; the text goes back to the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is no JSON object in the answer.
    #[error("the answer has no plan: answer with one JSON object {{\"modules\": […]}} in a ```json block")]
    Missing,
    /// The JSON does not say what a plan says.
    #[error("plan.json is not valid: {0}; answer with the whole plan again")]
    Invalid(String),
    /// The plan contradicts itself or the manifest.
    #[error("plan.json can't be followed: {}; answer with the whole plan again", .0.join("; "))]
    Wrong(Vec<String>),
}

impl Plan {
    /// Reads the plan in a model's answer: a fenced block, a `<file path="plan.json">`, or the first object in the text.
    ///
    /// # Errors
    /// If there is none, or it is not a plan; the error says what to change.
    pub fn read(answer: &str) -> Result<Plan, PlanError> {
        let mut first_error = None;
        for at in answer.match_indices('{').map(|(at, _)| at).take(256) {
            let mut objects = serde_json::Deserializer::from_str(&answer[at..]).into_iter::<serde_json::Value>();
            match objects.next() {
                Some(Ok(value)) if value.get("modules").is_some() => {
                    return serde_json::from_value(value).map_err(|error| PlanError::Invalid(error.to_string()));
                }
                Some(Err(error)) if first_error.is_none() && answer[at..].contains("\"modules\"") => {
                    first_error = Some(error.to_string());
                }
                _ => {}
            }
        }
        Err(first_error.map_or(PlanError::Missing, PlanError::Invalid))
    }

    /// Holds the plan against the manifest. `backends` are those that are to be written, in order.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn check(self, manifest: &Manifest, backends: &[String]) -> Result<Plan, PlanError> {
        let mut wrong = Vec::new();
        if self.modules.is_empty() || self.modules.len() > MODULES_MAX {
            wrong.push(format!("it has {} modules, and 1 to {MODULES_MAX} are allowed", self.modules.len()));
        }
        self.check_names(backends, &mut wrong);
        self.check_order(backends, &mut wrong);
        self.check_files(manifest, backends, &mut wrong);
        self.check_vectors(manifest, backends, &mut wrong);
        if wrong.is_empty() { Ok(self) } else { Err(PlanError::Wrong(wrong)) }
    }

    /// The module of that name.
    pub fn module(&self, name: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.name == name)
    }

    fn check_names(&self, backends: &[String], wrong: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        for module in &self.modules {
            let name = &module.name;
            let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if name.is_empty() || name.len() > 40 || !name.bytes().all(legal) {
                wrong.push(format!("the module name {name:?} is not made of a-z, 0-9 and _"));
            }
            if !seen.insert(name) {
                wrong.push(format!("two modules are called {name}"));
            }
            if !backends.contains(&module.backend) {
                let known = backends.join(", ");
                wrong.push(format!(
                    "module {name} is for the backend {:?}, and only {known} is asked for",
                    module.backend
                ));
            }
            if module.interface.trim().is_empty() {
                wrong.push(format!("module {name} has no interface"));
            }
            if module.interface.len() > INTERFACE_BYTES_MAX {
                wrong.push(format!("the interface of module {name} is longer than {INTERFACE_BYTES_MAX} bytes"));
            }
        }
    }

    /// Backends in the order asked for, without mixing, and each module after what it needs: so there is no cycle.
    fn check_order(&self, backends: &[String], wrong: &mut Vec<String>) {
        let place = |backend: &str| backends.iter().position(|asked| asked == backend);
        for pair in self.modules.windows(2) {
            if place(&pair[0].backend) > place(&pair[1].backend) {
                let order = backends.join(", then ");
                wrong.push(format!("module {} comes after {}: write {order}", pair[1].name, pair[0].name));
            }
        }
        for (at, module) in self.modules.iter().enumerate() {
            for needed in &module.depends_on {
                match self.modules.iter().position(|other| other.name == *needed) {
                    None => wrong.push(format!("module {} depends on {needed}, which is not in the plan", module.name)),
                    Some(other) if other == at => wrong.push(format!("module {} depends on itself", module.name)),
                    Some(other) if other > at => {
                        let cycle = if self.reaches(needed, &module.name) { " (a cycle)" } else { "" };
                        wrong.push(format!("module {} depends on {needed}, which comes later{cycle}", module.name));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// Whether `from` depends on `to`, directly or through others.
    fn reaches(&self, from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut left = vec![from];
        while let Some(name) = left.pop() {
            if name == to {
                return true;
            }
            if seen.insert(name) {
                left.extend(self.module(name).iter().flat_map(|module| module.depends_on.iter().map(String::as_str)));
            }
        }
        false
    }

    fn check_files(&self, manifest: &Manifest, backends: &[String], wrong: &mut Vec<String>) {
        for backend in backends {
            let Some(table) = manifest.file.backends.get(backend) else {
                wrong.push(format!("the manifest has no backend {backend}"));
                continue;
            };
            let modules: Vec<&Module> = self.modules.iter().filter(|module| module.backend == *backend).collect();
            let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for module in &modules {
                if module.files.is_empty() {
                    wrong.push(format!("module {} has no file", module.name));
                }
                for file in &module.files {
                    owners.entry(file).or_default().push(&module.name);
                    if !table.editable.contains(file) {
                        let allowed = table.editable.join(", ");
                        wrong.push(format!(
                            "module {} has the file {file:?}; those of {backend} are {allowed}",
                            module.name
                        ));
                    }
                }
            }
            for file in &table.editable {
                match owners.get(file.as_str()).map(Vec::as_slice) {
                    None => wrong.push(format!("no module of {backend} has the file {file}")),
                    Some([_]) => {}
                    Some(several) => {
                        wrong.push(format!("the file {file} is in several modules: {}", several.join(", ")))
                    }
                }
                for export in required_exports(manifest, file) {
                    let exported = modules.iter().any(|module| {
                        module.files.contains(file) && module.exports.iter().any(|text| has_word(text, &export))
                    });
                    if !exported && owners.contains_key(file.as_str()) {
                        wrong.push(format!("the module with {file} does not list {export} among its exports"));
                    }
                }
            }
        }
    }

    fn check_vectors(&self, manifest: &Manifest, backends: &[String], wrong: &mut Vec<String>) {
        for module in &self.modules {
            if module.vectors.is_empty() {
                wrong.push(format!("module {} has no vectors: name at least build", module.name));
            }
            for vector in &module.vectors {
                let known = match vector.strip_prefix("probe:") {
                    Some(function) => manifest.file.probe.iter().any(|probe| probe.function == function),
                    None => vector == "build" || WHOLE.contains(&vector.as_str()),
                };
                if !known {
                    let probes = manifest.file.probe.iter().map(|probe| format!(", probe:{}", probe.function));
                    let names: String = probes.collect();
                    let name = &module.name;
                    wrong.push(format!(
                        "module {name} has the vector {vector:?}, none of build, {}{names}",
                        WHOLE.join(", ")
                    ));
                }
            }
        }
        for backend in backends {
            let Some(last) = self.modules.iter().rfind(|module| module.backend == *backend) else { continue };
            let missing: Vec<&str> =
                WHOLE.into_iter().filter(|tier| !last.vectors.iter().any(|vector| vector == tier)).collect();
            if !missing.is_empty() {
                let name = &last.name;
                wrong.push(format!("{name}, the last module of {backend}, is not judged by {}", missing.join(" and ")));
            }
            for module in self.modules.iter().filter(|module| module.backend == *backend && module.name != last.name) {
                if let Some(vector) = module.vectors.iter().find(|vector| WHOLE.contains(&vector.as_str())) {
                    let (name, last) = (&module.name, &last.name);
                    wrong.push(format!(
                        "module {name} can't be judged by {vector}: nothing runs before {last} is there"
                    ));
                }
                let probed = module.probes().first().copied();
                let rust = |file: &String| file.starts_with("src/") && file.ends_with(".rs");
                if let Some(function) = probed.filter(|_| backend != "rust" || !module.files.first().is_some_and(rust))
                {
                    let name = &module.name;
                    wrong.push(format!(
                        "module {name} can't be judged by probe:{function}: that takes a module of rust whose first file is src/….rs"
                    ));
                }
            }
        }
    }
}

/// The type that implements `Rules`: the environment's name in PascalCase.
pub fn rules_type(environment: &str) -> String {
    environment
        .split('_')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or(String::new(), |first| first.to_ascii_uppercase().to_string() + letters.as_str())
        })
        .collect()
}

/// What the scaffold takes from a file.
pub fn required_exports(manifest: &Manifest, file: &str) -> Vec<String> {
    let name = &manifest.file.name;
    match file {
        "src/world.rs" => vec!["World".into()],
        "src/state.rs" => vec!["State".into()],
        "src/rules.rs" => vec![rules_type(name)],
        "src/cuda.rs" => vec!["DeviceWorld".into()],
        "cuda/rules.cuh" => vec![rules_type(name), "LS_KERNELS".into()],
        _ => vec![],
    }
}

/// Whether `text` has `word` with no letter, digit or _ beside it.
fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        format = "lockstep/manifest/1"
        name = "two_doors"
        title = "t"
        reference = "two_doors"
        action = { kind = "discrete", names = ["left", "right"] }
        reward = { dtype = "f32" }
        canonical = [{ name = "x", dtype = "u32" }]
        observation = [{ name = "x", dtype = "u32" }]
        [configurations.default]
        [backends.rust]
        files = ["src/world.rs", "src/state.rs", "src/rules.rs"]
        loop = ["src/world.rs", "src/state.rs", "src/rules.rs"]
        [backends.cuda-host]
        files = ["cuda/rules.cuh", "src/cuda.rs"]
        loop = ["cuda/rules.cuh", "src/cuda.rs"]
        [[probe]]
        function = "open"
        input = { door = [0, 1] }
    "#;

    fn manifest() -> Manifest {
        Manifest::parse(MANIFEST).expect("it is valid")
    }

    fn backends() -> Vec<String> {
        vec!["rust".into(), "cuda-host".into()]
    }

    fn module(
        name: &str,
        backend: &str,
        files: &[&str],
        depends_on: &[&str],
        exports: &[&str],
        vectors: &[&str],
    ) -> Module {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Module {
            name: name.into(),
            backend: backend.into(),
            files: owned(files),
            depends_on: owned(depends_on),
            exports: owned(exports),
            interface: "pub struct World".into(),
            vectors: owned(vectors),
        }
    }

    fn good() -> Plan {
        Plan {
            modules: vec![
                module(
                    "data",
                    "rust",
                    &["src/world.rs", "src/state.rs"],
                    &[],
                    &["World", "pub struct State"],
                    &["build"],
                ),
                module(
                    "rules",
                    "rust",
                    &["src/rules.rs"],
                    &["data"],
                    &["TwoDoors"],
                    &["build", "contract", "property", "interaction", "probe:open"],
                ),
                module(
                    "device",
                    "cuda-host",
                    &["cuda/rules.cuh", "src/cuda.rs"],
                    &["rules"],
                    &["TwoDoors", "LS_KERNELS(two_doors, TwoDoors)", "DeviceWorld"],
                    &["contract", "property", "interaction"],
                ),
            ],
        }
    }

    fn complaints(change: impl FnOnce(&mut Plan)) -> String {
        let mut plan = good();
        change(&mut plan);
        plan.check(&manifest(), &backends()).expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_plan_is_read_from_a_fence_from_a_file_tag_and_from_bare_text() {
        let json = serde_json::to_string_pretty(&good()).expect("it is JSON");
        for answer in [
            format!("Here {{it}} is:\n```json\n{json}\n```\nDone."),
            format!("<file path=\"plan.json\">\n{json}\n</file>"),
            json.clone(),
        ] {
            assert_eq!(Plan::read(&answer), Ok(good()));
        }
    }

    #[test]
    fn an_answer_without_a_plan_and_one_that_is_cut_are_told_apart() {
        assert_eq!(Plan::read("I would rather not. {}"), Err(PlanError::Missing));
        let cut = Plan::read("{\"modules\": [{\"name\": \"a\"").expect_err("it is cut").to_string();
        assert!(cut.contains("EOF") && cut.ends_with("answer with the whole plan again"), "{cut}");
        let unknown = Plan::read("{\"modules\": [], \"notes\": 1}").expect_err("an unknown key").to_string();
        assert!(unknown.contains("unknown field `notes`"), "{unknown}");
    }

    #[test]
    fn a_plan_that_assigns_everything_in_order_is_accepted() {
        assert_eq!(good().check(&manifest(), &backends()), Ok(good()));
    }

    #[test]
    fn every_file_belongs_to_exactly_one_module() {
        assert!(
            complaints(|plan| {
                plan.modules[0].files.pop();
            })
            .contains("no module of rust has the file src/state.rs")
        );
        assert!(
            complaints(|plan| plan.modules[1].files.push("src/world.rs".into()))
                .contains("several modules: data, rules")
        );
        let foreign = complaints(|plan| plan.modules[1].files.push("Cargo.toml".into()));
        assert!(foreign.contains("\"Cargo.toml\"; those of rust are src/world.rs"), "{foreign}");
    }

    #[test]
    fn a_module_comes_after_what_it_depends_on() {
        let late = complaints(|plan| plan.modules[0].depends_on.push("rules".into()));
        assert!(late.contains("data depends on rules, which comes later (a cycle)"), "{late}");
        assert!(complaints(|plan| plan.modules[0].depends_on.push("data".into())).contains("depends on itself"));
        assert!(complaints(|plan| plan.modules[0].depends_on.push("x".into())).contains("not in the plan"));
    }

    #[test]
    fn backends_do_not_mix_and_come_in_the_order_asked_for() {
        assert!(complaints(|plan| plan.modules.swap(1, 2)).contains("write rust, then cuda-host"));
        assert!(
            complaints(|plan| plan.modules[2].backend = "ptx".into()).contains("only rust, cuda-host is asked for")
        );
    }

    #[test]
    fn the_last_module_of_a_backend_is_judged_as_a_whole_and_no_other() {
        let weak = complaints(|plan| plan.modules[2].vectors = vec!["build".into()]);
        assert!(weak.contains("not judged by contract and property and interaction"), "{weak}");
        assert!(
            complaints(|plan| plan.modules[0].vectors.push("contract".into())).contains("nothing runs before rules")
        );
        assert!(complaints(|plan| plan.modules[1].vectors.push("probe:shut".into())).contains("probe:open"));
        // What has no function of its own in Rust can't be asked for it.
        let probed = |file: &'static str| {
            complaints(move |plan| {
                plan.modules[0].vectors.push("probe:open".into());
                plan.modules[0].files.insert(0, file.into());
            })
        };
        assert!(probed("cuda/rules.cuh").contains("can't be judged by probe:open"));
        assert!(!probed("src/world.rs").contains("can't be judged by probe:open"));
    }

    #[test]
    fn what_the_scaffold_takes_must_be_exported() {
        let missing = complaints(|plan| plan.modules[1].exports = vec!["TwoDoorsRules".into()]);
        assert!(missing.contains("src/rules.rs does not list TwoDoors among its exports"), "{missing}");
    }

    #[test]
    fn all_complaints_come_at_once() {
        let all = complaints(|plan| {
            plan.modules[0].files.clear();
            plan.modules[1].name = "Rules!".into();
        });
        assert!(all.contains("data has no file") && all.contains("\"Rules!\""), "{all}");
    }
}
