//! The tools that the script of a GPU bundle is made of, so that it needs a shell and nothing else.
//!
//! `told` runs another tool in a process of its own and says as one line of JSON what came of it, whatever that was: a
//! kernel that hangs or takes the driver down costs one row. `report` makes one file of these lines, and a table.

use crate::tools::NO_DEVICE;
use lockstep_core::ToolAnswer;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// What the file of a run says that it is.
const FORMAT: &str = "lockstep/gpu/1";

/// How long one tool may take, in seconds; 900 if this is not set.
const SECONDS: &str = "LOCKSTEP_TOOL_SECONDS";

/// Of what a tool prints, and of what it says is wrong, this much is kept.
const PRINTED_BYTES_MAX: u64 = 1 << 20;
const ERROR_CHARS_MAX: usize = 4000;

/// The machine, as far as it says something of speed: `machine`.
pub(crate) fn machine(_: &[String]) -> ToolAnswer {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (processors, memory, system) = (read("/proc/cpuinfo"), read("/proc/meminfo"), read("/etc/os-release"));
    let after = |text: &str, key: &str, between: &str| -> Option<String> {
        let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(rest.split_once(between)?.1.trim().trim_matches('"').to_owned())
    };
    let kilobytes = after(&memory, "MemTotal", ":").and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let asked = [
        "name",
        "driver_version",
        "clocks.max.sm",
        "clocks.max.mem",
        "power.limit",
        "memory.total",
        "ecc.mode.current",
    ];
    let smi = Command::new("nvidia-smi").arg(format!("--query-gpu={}", asked.join(","))).arg("--format=csv").output();
    let smi = match smi {
        Ok(output) if output.status.success() => json!({"table": text_of(&output.stdout)}),
        Ok(output) => json!({"error": format!("{}{}", text_of(&output.stdout), text_of(&output.stderr))}),
        Err(error) => json!({"error": format!("nvidia-smi can't be started: {error}")}),
    };
    let machine = json!({
        "processor": after(&processors, "model name", ":").unwrap_or_else(|| std::env::consts::ARCH.into()),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "memory_bytes": kilobytes.map(|kilobytes| kilobytes << 10),
        "system": after(&system, "PRETTY_NAME", "=").unwrap_or_else(|| std::env::consts::OS.into()),
        "unix_seconds": now.as_secs(),
        "nvidia_smi": smi,
    });
    Ok(format!("{machine}\n"))
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(ERROR_CHARS_MAX).collect::<String>().trim().to_owned()
}

/// Runs this program with other arguments and prints, as one line of JSON, the labels and what came of it:
/// `told LABELS ARGUMENT …`. The label `image` with the value `cubin` has machine code beside this program tried.
pub(crate) fn told(arguments: &[String]) -> ToolAnswer {
    let [labels, rest @ ..] = arguments else { return Err((2, "told takes labels and arguments".into())) };
    let mut row: Value =
        serde_json::from_str(labels).map_err(|error| (2, format!("the labels are not JSON: {error}")))?;
    if !row.is_object() {
        return Err((2, "the labels are no JSON object".into()));
    }
    let program = std::env::current_exe().map_err(|error| (2, format!("this program can't be found: {error}")))?;
    let mut command = Command::new(&program);
    command.args(rest).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove(crate::IMAGES);
    if row["image"] == "cubin" {
        command.env(crate::IMAGES, program.with_file_name(""));
    }
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(900);
    let clock = Instant::now();
    let ended = run(command, Duration::from_secs(seconds)).map_err(|why| (2, why))?;
    row["seconds"] = json!(clock.elapsed().as_secs_f64());
    row["code"] = json!(ended.code);
    let printed = serde_json::from_str::<Value>(ended.printed.lines().last().unwrap_or_default());
    match (ended.code, printed) {
        (Some(0), Ok(result)) => row["result"] = result,
        (Some(0), Err(error)) => row["error"] = json!(format!("it printed no JSON: {error}")),
        _ => {
            let said = if ended.hung { format!("it did not end within {seconds} s") } else { ended.said };
            row["error"] = json!(said.trim().strip_prefix("error: ").unwrap_or(said.trim()));
        }
    }
    Ok(format!("{row}\n"))
}

struct Ended {
    /// `None` if a signal ended it.
    code: Option<i32>,
    hung: bool,
    printed: String,
    said: String,
}

/// Runs a command to its end, or to its deadline.
fn run(mut command: Command, limit: Duration) -> Result<Ended, String> {
    let began = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("this program can't be started again: {error}"))?;
    let listen = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.by_ref().take(PRINTED_BYTES_MAX).read_to_end(&mut bytes);
                let _ = std::io::copy(&mut pipe, &mut std::io::sink());
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let printed = listen(child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
    let said = listen(child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
    let mut hung = false;
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if began.elapsed() > limit && !hung => {
                hung = true;
                child.kill().map_err(|error| error.to_string())?;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let said = said.join().unwrap_or_default().chars().take(ERROR_CHARS_MAX).collect();
    Ok(Ended { code: status.code(), hung, printed: printed.join().unwrap_or_default(), said })
}

/// Makes one file of a bundle's manifest and the lines of `told`, prints a table, and ends as the script does:
/// `report MANIFEST ROWS RESULTS`.
pub(crate) fn report(arguments: &[String]) -> ToolAnswer {
    let [manifest, rows, results] = arguments else { return Err((2, "report takes three files".into())) };
    let read =
        |path: &String| std::fs::read_to_string(path).map_err(|error| (2, format!("{path} can't be read: {error}")));
    let bundle: Value = serde_json::from_str(&read(manifest)?).map_err(|error| (2, format!("{manifest}: {error}")))?;
    let text = read(rows)?;
    let mut told = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let row: Value = serde_json::from_str(line).map_err(|error| (2, format!("{rows}, line {}: {error}", i + 1)))?;
        told.push(row);
    }
    let lines: Vec<String> = told.iter().map(Value::to_string).collect();
    let whole = format!("{{\"format\":\"{FORMAT}\",\n\"bundle\":{bundle},\n\"rows\":[\n{}\n]}}\n", lines.join(",\n"));
    std::fs::write(results, whole).map_err(|error| (2, format!("{results} can't be written: {error}")))?;
    print!("{}", table(&told));
    match verdict(&told) {
        Ok(words) => Ok(format!("{words}; all of it is in {results}\n")),
        Err((code, words)) => Err((code, format!("{words}; all of it is in {results}"))),
    }
}

/// How a run ended: its exit code, unless everything that was meant for a GPU ran there and agrees.
fn verdict(rows: &[Value]) -> Result<&'static str, (u8, &'static str)> {
    if rows.iter().any(|row| row["result"]["agrees"] == false) {
        return Err((1, "bits differ"));
    }
    let ended = |row: &Value| row["code"].as_i64().unwrap_or(-1);
    if rows
        .iter()
        .any(|row| ![0, i64::from(NO_DEVICE)].contains(&ended(row)) || row["code"] == 0 && row["result"].is_null())
    {
        return Err((1, "a tool failed"));
    }
    if rows.iter().any(|row| ended(row) == i64::from(NO_DEVICE)) {
        return Err((NO_DEVICE, "there is no GPU that could be used, so rows of cuda were skipped"));
    }
    if rows.iter().any(|row| row["what"] == "time" && row["backend"] == "cuda") {
        Ok("every bit agrees")
    } else {
        Err((1, "no kernel was timed on a GPU"))
    }
}

/// The rows as text.
fn table(rows: &[Value]) -> String {
    let mut text = String::new();
    let skipped = |row: &&Value| row["code"] == i64::from(NO_DEVICE) && row["what"] != "gpu";
    for row in rows.iter().filter(|row| !skipped(row)) {
        let label = |key: &str| row[key].as_str().unwrap_or_default();
        let result = &row["result"];
        let number = |key: &str| result[key].as_f64().unwrap_or_default();
        let failed = row["code"] != 0 || result.is_null();
        let what = match label("what") {
            _ if row["code"] == i64::from(NO_DEVICE) => {
                format!("skipped: {}", label("error").lines().next().unwrap_or_default())
            }
            _ if failed => format!("FAILED: {}", label("error").lines().last().unwrap_or("ended by a signal")),
            "machine" => format!("{}, {} cores", result["processor"].as_str().unwrap_or_default(), number("cores")),
            "gpu" => format!(
                "{}, copies {:.0} GB/s",
                result["name"].as_str().unwrap_or_default(),
                number("copy_bytes_per_second") / 1e9
            ),
            "compare" if result["agrees"] == true => format!("{:.3} M steps agree", number("steps") / 1e6),
            "compare" => {
                format!("DIFFERS in lane {} at step {}", result["divergence"]["lane"], result["divergence"]["step"])
            }
            "frames" => {
                let traces = result["traces"].as_array().map_or(0, Vec::len);
                let agree = result["traces"].as_array().into_iter().flatten().filter(|trace| trace["agrees"] == true);
                format!("{} of {traces} kept traces agree", agree.count())
            }
            "time" => {
                let forms = result["rows"].as_array().into_iter().flatten().map(|form| {
                    let speed = form["steps_per_second"].as_f64().unwrap_or_default() / 1e6;
                    format!("{} {speed:.1} M/s", form["form"].as_str().unwrap_or_default())
                });
                format!("{} lanes: {}", number("lanes"), forms.collect::<Vec<_>>().join(", "))
            }
            "work" => {
                let forms = result["rows"].as_array().into_iter().flatten().map(|form| {
                    let count = form["instructions_per_step"].as_f64().unwrap_or_default();
                    format!("{} {count:.0} instructions a step", form["form"].as_str().unwrap_or_default())
                });
                forms.collect::<Vec<_>>().join(", ")
            }
            _ => String::new(),
        };
        let backend = [label("backend"), label("image")].join(" ");
        let place = [label("environment"), label("configuration"), label("what"), backend.trim()];
        let _ = writeln!(text, "{:<14} {:<12} {:<8} {:<11} {what}", place[0], place[1], place[2], place[3]);
    }
    match rows.iter().filter(skipped).count() {
        0 => text,
        count => text + &format!("{count} rows of the backend cuda were skipped for that reason\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(what: &str, backend: &str, code: i64, result: Value) -> Value {
        json!({"what": what, "backend": backend, "code": code, "result": result})
    }

    #[test]
    fn a_run_ends_well_only_if_a_gpu_was_timed_and_nothing_differs() {
        let agrees = || row("compare", "cuda", 0, json!({"agrees": true}));
        let timed = || row("time", "cuda", 0, json!({"rows": []}));
        assert_eq!(verdict(&[agrees(), timed()]), Ok("every bit agrees"));
        let code = |rows: &[Value]| verdict(rows).expect_err("it does not end well").0;
        assert_eq!(code(&[agrees()]), 1, "nothing was timed");
        assert_eq!(code(&[agrees(), timed(), row("compare", "cuda", 0, json!({"agrees": false}))]), 1);
        assert_eq!(code(&[agrees(), timed(), row("compare", "cuda", 101, Value::Null)]), 1, "a panic");
        assert_eq!(code(&[agrees(), timed(), row("compare", "cuda", 0, Value::Null)]), 1, "no answer");
        assert_eq!(code(&[agrees(), row("time", "cuda", 6, Value::Null)]), NO_DEVICE);
        // A difference counts more than a GPU that is not there.
        assert_eq!(code(&[row("time", "cuda", 6, Value::Null), row("frames", "ptx", 0, json!({"agrees": false}))]), 1);
    }

    #[test]
    fn a_program_that_hangs_is_ended_and_one_that_prints_much_is_not_waited_for() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            run(command, Duration::from_millis(2000)).expect("sh is there")
        };
        let ended = shell("exec sleep 60");
        assert!(ended.hung && ended.code.is_none());
        let ended = shell(
            "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; exit 3",
        );
        assert_eq!((ended.hung, ended.code, ended.printed.len()), (false, Some(3), 3000 * 41));
    }
}
