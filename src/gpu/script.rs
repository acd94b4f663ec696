//! The script of a bundle: every call that it makes is written out, so that it can be read before it is run.

use super::Bundle;
use lockstep_harness::manifest::{Configuration, Manifest};
use serde_json::{Value, json};

/// What stands around the calls.
const TEMPLATE: &str = include_str!("script.sh");

/// Lanes on which bits are compared.
const COMPARED_LANES: u64 = 4096;
/// Lanes and steps that the interpreter plays: what needs no GPU is only a rehearsal.
const REHEARSED: [u64; 2] = [64, 64];
/// Steps of a launch.
const LAUNCH: u64 = 64;
/// Lanes and steps of what is timed. The configuration `default` is timed with all of them, others with the middle one.
const TIMED_LANES: [u64; 3] = [4096, 65_536, 1_048_576];
const TIMED_STEPS: u64 = 512;
/// Fewer lanes are timed where their regions would fill more than this.
const REGION_BYTES_MAX: u64 = 8 << 30;
const SEED: u64 = 7;

/// Writes the calls for one environment.
pub struct Calls<'a> {
    manifest: &'a Manifest,
    text: String,
}

impl<'a> Calls<'a> {
    /// Nothing yet.
    pub fn new(manifest: &'a Manifest) -> Self {
        Calls { manifest, text: String::new() }
    }

    /// All calls: first what needs no GPU, then bits, then speed.
    pub fn all(mut self, configurations: &[&Configuration], steps: u64, traces: usize, cubin: bool) -> String {
        let name = self.manifest.file.name.clone();
        self.text += &format!("\n# {name}\n");
        let interpreted = self.manifest.file.backends.get("ptx").and_then(|backend| backend.configurations.as_ref());
        for configuration in configurations {
            if interpreted.is_none_or(|names| names.contains(&configuration.name)) {
                let [lanes, steps] = REHEARSED;
                let request = request("ptx", configuration, lanes, steps, 16);
                self.put("compare", Some(configuration), "ptx", None, &["compare", &request]);
            }
        }
        let first = configurations.iter().find(|configuration| configuration.name == "default");
        if let Some(configuration) = first {
            let lanes = REHEARSED[0];
            let request = request("ptx", configuration, lanes, 256, LAUNCH);
            self.put("work", Some(configuration), "ptx", None, &["work", &request]);
        }
        let frames = format!("{name}/frames.jsonl");
        for backend in ["cuda-host", "ptx", "cuda"] {
            if traces > 0 {
                self.put("frames", None, backend, None, &["frames", backend, &frames]);
            }
        }
        for configuration in configurations {
            let request = request("cuda", configuration, COMPARED_LANES, steps.div_ceil(COMPARED_LANES), LAUNCH);
            for image in [Some("ptx"), cubin.then_some("cubin")].into_iter().flatten() {
                self.put("compare", Some(configuration), "cuda", Some(image), &["compare", &request]);
            }
        }
        for configuration in configurations {
            let all = configuration.name == "default";
            let regions: u64 = self
                .manifest
                .file
                .regions
                .iter()
                .filter(|region| region.configurations.as_ref().is_none_or(|names| names.contains(&configuration.name)))
                .map(|region| region.bytes as u64)
                .sum();
            for lanes in TIMED_LANES.into_iter().filter(|lanes| all || *lanes == TIMED_LANES[1]) {
                let lanes = lanes.min(REGION_BYTES_MAX.checked_div(regions).unwrap_or(lanes));
                let request = request("cuda", configuration, lanes, TIMED_STEPS, LAUNCH);
                self.put("time", Some(configuration), "cuda", Some("ptx"), &["time", &request]);
            }
        }
        self.text
    }

    /// One call of a tool.
    fn put(
        &mut self,
        what: &str,
        configuration: Option<&&Configuration>,
        backend: &str,
        image: Option<&str>,
        tool: &[&str],
    ) {
        let mut arguments = vec!["--tool"];
        arguments.extend_from_slice(tool);
        let configuration = configuration.map(|configuration| configuration.name.as_str());
        let name = &self.manifest.file.name;
        self.text += &call(name, what, configuration, Some(backend), image, &arguments);
    }
}

/// One line of the script.
fn call(
    environment: &str,
    what: &str,
    configuration: Option<&str>,
    backend: Option<&str>,
    image: Option<&str>,
    arguments: &[&str],
) -> String {
    let mut labels = json!({"environment": environment, "what": what});
    for (key, value) in [("configuration", configuration), ("backend", backend), ("image", image)] {
        if let Some(value) = value {
            labels[key] = json!(value);
        }
    }
    let told = arguments.last().and_then(|last| serde_json::from_str::<Value>(last).ok());
    let lanes = told.and_then(|told| Some(format!("{} lanes", told.get("lanes")?)));
    let words = [Some(what), configuration, backend, image, lanes.as_deref()];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    let quoted: Vec<String> = arguments.iter().map(|argument| quote(argument)).collect();
    format!("told {environment} {} {} {}\n", quote(&words.join(" ")), quote(&labels.to_string()), quoted.join(" "))
}

/// A word as the shell reads it.
fn quote(word: &str) -> String {
    shlex::try_quote(word).expect("no option has a zero byte").into_owned()
}

fn request(backend: &str, configuration: &Configuration, lanes: u64, steps: u64, launch: u64) -> String {
    let request: Value = json!({
        "backend": backend, "options": configuration.options, "files": {}, "lanes": lanes, "steps": steps,
        "launch": launch, "seed": SEED,
    });
    request.to_string()
}

/// The whole script.
pub fn script(bundle: &Bundle, calls: &[String]) -> String {
    let names: Vec<&str> = bundle.environments.keys().map(String::as_str).collect();
    let first = names.first().copied().unwrap_or_default();
    let mut all = String::from("\n# The machine and its GPU.\n");
    all += &call(first, "machine", None, None, None, &["--tool", "machine"]);
    all += &call(first, "gpu", None, None, None, &["--tool", "gpu"]);
    all += &calls.concat();
    let holes = [
        ("{environments}", names.join(" ")),
        ("{target}", bundle.target.clone()),
        ("{libc}", bundle.libc.clone()),
        ("{first}", first.to_owned()),
        // Last, because what it is filled with is not looked at again.
        ("{calls}", all),
    ];
    holes.iter().fold(TEMPLATE.to_owned(), |text, (hole, value)| text.replace(hole, value))
}
