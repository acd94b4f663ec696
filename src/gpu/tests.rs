//! Results that nobody measured, as good and as bad ones; and the script.

use super::benchmark::{Refusal, benchmark, slug};
use super::results::{Results, parse};
use super::{Bundle, Packed};
use serde_json::{Value, json};

const GOOD: &str = include_str!("../../tests/fixtures/gpu_results.json");

/// The good results with a change.
fn changed(change: impl FnOnce(&mut Value)) -> Result<Results, String> {
    let mut value: Value = serde_json::from_str(GOOD).expect("the fixture is JSON");
    change(&mut value);
    parse(&value.to_string())
}

fn refused(change: impl FnOnce(&mut Value)) -> Refusal {
    let results = changed(change).expect("its form is right");
    benchmark(&results, "counter", "2026-11-01").expect_err("it is no benchmark")
}

/// The rows by what they are, in the fixture.
const GPU: usize = 1;
const WORK: usize = 2;
const COMPARE: usize = 5;
const FRAMES: usize = 4;
const TIME: usize = 6;

#[test]
fn speeds_of_a_benchmark_are_worked_out_from_its_times() {
    let results = parse(GOOD).expect("it is good");
    let benchmark = benchmark(&results, "counter", "2026-11-01").expect("it is a benchmark");
    let filed = serde_json::to_value(&benchmark).expect("it is plain data");
    let row = &filed["rows"][0];
    assert_eq!(row["steps_per_second"], 400_000.0);
    assert_eq!(row["spread"], json!([200_000.0, 800_000.0]));
    assert_eq!(row["steps_per_second_wall"], 200_000.0);
    assert_eq!((&filed["steps_compared"], &filed["traces_compared"]), (&json!(10_000_000), &json!(1)));
    assert_eq!((&filed["gpu"]["name"], &filed["commit"]), (&json!("Imaginary GPU 1"), &json!("0123456789")));
}

#[test]
fn what_is_no_run_is_refused_with_its_place() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 18] = [
        (|all| all["format"] = json!("lockstep/gpu/2"), "the format \"lockstep/gpu/2\", this lockstep reads"),
        (|all| all["bundle"]["format"] = json!("x"), "a bundle of the format \"x\""),
        (|all| all["extra"] = json!(1), "unknown field `extra`"),
        (|all| all["rows"][COMPARE]["result"]["extra"] = json!(1), "unknown field `extra`"),
        (|all| all["rows"] = json!([]), "does not say on which machine"),
        (
            |all| all["rows"][COMPARE]["environment"] = json!("../../etc"),
            "\"../../etc\", which its bundle does not hold",
        ),
        (|all| all["rows"][COMPARE]["configuration"] = json!("../x"), "names the configuration \"../x\""),
        (|all| all["rows"][COMPARE]["backend"] = json!("/bin/sh"), "names the backend \"/bin/sh\""),
        (|all| all["rows"][COMPARE]["backend"] = json!("ptx"), "of another backend than it says"),
        (|all| all["rows"][COMPARE]["what"] = json!("dance"), "a kind that is not known: \"dance\""),
        (|all| all["rows"][TIME]["result"]["rows"][0]["steps_per_second"] = json!(1e300), "nobody measured"),
        (|all| all["rows"][TIME]["result"]["rows"][0]["steps_per_second"] = json!(-5), "nobody measured"),
        (|all| all["rows"][TIME]["result"]["rows"][0]["device_seconds"][1] = json!(0.0), "took no time"),
        (|all| all["rows"][TIME]["result"]["rows"][0]["device_seconds"] = json!([0.25]), "five are the least"),
        (|all| all["rows"][GPU]["result"]["name"] = json!("x".repeat(9000)), "more than 8192 characters"),
        (|all| all["rows"][GPU]["result"]["name"] = json!("\u{1b}[31mred"), "not printable"),
        (|all| all["rows"][GPU]["result"]["copy_bytes_per_second"] = json!(0), "copies and issues nothing"),
        (
            |all| {
                let packed = all["bundle"]["environments"]["counter"].take();
                all["bundle"]["environments"] = json!({"../counter": packed});
            },
            "names the environment \"../counter\"",
        ),
    ];
    for (change, expected) in cases {
        let why = changed(change).expect_err(expected);
        assert!(why.contains(expected), "{why:?} does not say {expected:?}");
    }
    for (text, expected) in [("", "is not JSON"), ("{\"format\":NaN}", "is not JSON"), ("[1e999]", "is not JSON")] {
        let why = parse(text).expect_err(expected);
        assert!(why.contains(expected), "{why:?}");
    }
    let deep = "[".repeat(100_000);
    assert!(parse(&deep).is_err_and(|why| why.contains("is not JSON")));
}

#[test]
fn a_difference_is_told_before_anything_else() {
    let differs = |all: &mut Value| {
        all["rows"][COMPARE]["result"] = json!({
            "agrees": false, "backend": "cuda", "device": "Imaginary GPU 1", "lanes": 4096, "steps": 100,
            "divergence": {"lane": 3, "step": 12, "seed": 7},
        });
        // Nor is it hidden by a GPU that went away.
        all["rows"][TIME] = json!({"environment": "counter", "what": "time", "configuration": "default", "backend": "cuda", "seconds": 0, "code": 6, "error": "gone"});
    };
    let Refusal::Differs(why) = refused(differs) else { panic!("it is a difference") };
    assert_eq!(why, "rust and cuda as ptx differ in default, lane 3, step 12, seed 7");
    let Refusal::Differs(why) = refused(|all| {
        let trace = json!({"trace": "0.jsonl", "agrees": false, "difference": "cuda, request 3: byte 9"});
        all["rows"][FRAMES]["result"] = json!({"backend": "cuda", "agrees": false, "traces": [trace]});
    }) else {
        panic!("it is a difference")
    };
    assert!(why.contains("\"0.jsonl\" differs: cuda, request 3: byte 9"), "{why}");
}

#[test]
fn what_was_not_compared_or_can_not_be_is_no_benchmark() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 9] = [
        (|all| all["bundle"]["profile"] = json!("dev"), "the profile \"dev\", which has assertions"),
        (
            |all| all["bundle"]["environments"]["counter"]["configurations"] = json!(["default", "duel"]),
            "in the configuration duel",
        ),
        (|all| all["bundle"]["environments"]["counter"]["traces"] = json!(2), "1 of 2 kept traces"),
        (|all| all["rows"][TIME]["result"]["device"] = json!("Another GPU"), "a row is of \"Another GPU\""),
        (|all| all["rows"][TIME]["result"]["rows"][0]["steps_per_second"] = json!(500_000.0), "its times say 4e5"),
        (|all| all["rows"][TIME]["result"]["rows"] = json!([]), "no kernel was timed"),
        (|all| all["rows"][WORK]["result"]["rows"] = json!([]), "the interpreter's count of a step is missing"),
        (
            |all| all["rows"][GPU]["result"]["thread_instructions_per_second"] = json!(1e6),
            "this GPU can't do more than 1.000e4",
        ),
        (
            |all| {
                all["rows"][TIME]["code"] = json!(101);
                all["rows"][TIME]["result"] = Value::Null;
                all["rows"][TIME]["error"] = json!("it panicked");
            },
            "time cuda: it panicked",
        ),
    ];
    for (change, expected) in cases {
        let Refusal::Unfit(why) = refused(change) else { panic!("it is unfit: {expected}") };
        assert!(why.contains(expected), "{why:?} does not say {expected:?}");
    }
    let refusal = refused(|all| {
        all["rows"][GPU] =
            json!({"environment": "counter", "what": "gpu", "seconds": 0, "code": 6, "error": "no driver\nhint"});
    });
    assert_eq!(refusal, Refusal::NoDevice("gpu: no driver".into()));
    let refusal = refused(|all| {
        all["rows"][GPU] =
            json!({"environment": "counter", "what": "gpu", "seconds": 0, "code": null, "error": "a signal"});
    });
    assert_eq!(refusal, Refusal::Unfit("gpu: a signal".into()));
}

#[test]
fn the_name_of_a_gpu_becomes_part_of_a_file_name() {
    assert_eq!(slug("NVIDIA Imaginary 100 80GB"), "nvidia-imaginary-100-80gb");
    assert_eq!(slug("../../x\u{202e}"), "x");
}

#[test]
fn a_script_has_no_holes_and_quotes_what_options_hold() {
    let bundle: Value = serde_json::from_str::<Value>(GOOD).expect("JSON")["bundle"].clone();
    let bundle: Bundle = serde_json::from_value(bundle).expect("it is a bundle");
    let Packed { traces, .. } = &bundle.environments["counter"];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("envs/counter");
    let manifest = lockstep_harness::manifest::Manifest::read(&folder).expect("it is valid");
    let mut configuration = manifest.configuration("default").expect("it is there").clone();
    configuration.options["evil"] = json!("'; rm -rf /; '{calls}");
    let calls = super::script::Calls::new(&manifest).all(&[&configuration], 1000, *traces, true);
    let script = super::script::script(&bundle, &[calls]);
    // A shell that only prints tells how it reads the words.
    let printing =
        script.replace("\"./$environment/runner\" --tool told", "printf '%s|'").replace("\"./counter/runner\"", ": ");
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::create_dir(folder.path().join("counter")).expect("it can be made");
    std::fs::write(folder.path().join("run.sh"), printing.replace("\"./$environment/runner\" --list", ":"))
        .expect("it can be written");
    let output =
        std::process::Command::new("sh").arg("run.sh").current_dir(folder.path()).output().expect("sh is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let words = std::fs::read_to_string(folder.path().join("rows.jsonl")).expect("it was written");
    let requests: Vec<Value> = words.split('|').filter_map(|word| serde_json::from_str(word).ok()).collect();
    let evil: Vec<&Value> = requests.iter().filter(|request| request["options"].is_object()).collect();
    assert!(
        evil.len() > 5 && evil.iter().all(|request| request["options"]["evil"] == "'; rm -rf /; '{calls}"),
        "{words}"
    );
    let backends = ["ptx", "cuda"].map(|name| requests.iter().any(|request| request["backend"] == name));
    assert_eq!(backends, [true, true], "{words}");
}
