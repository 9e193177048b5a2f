//! What a runtime weighs: memory, processor time, system calls, bytes.

use std::fs::{self, File};
use std::io::Read;
use std::process::Command;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::life::Running;
use super::{Bench, figures};
use crate::calls;
use crate::contender::Contender;
use crate::options::Options;
use crate::report::Figures;
use crate::rounds::{Schedule, alternate};
use crate::sys;

fn weigh(bench: &Bench, command: &Command) -> Result<[f64; 2], String> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| format!("pipe: {errno}"))?;
    let mut outer = Command::new(&bench.weigh);
    outer.arg(command.get_program()).args(command.get_args());
    outer
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null());
    sys::pass_as_third(&mut outer, writer);
    let status = outer
        .status()
        .map_err(|error| format!("{}: {error}", bench.weigh.display()))?;
    // The command held the last copy of the writing end.
    drop(outer);
    let mut text = String::new();
    File::from(reader)
        .read_to_string(&mut text)
        .map_err(|error| format!("pipe: {error}"))?;
    let values: Vec<f64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    match values[..] {
        [0.0, peak, user, system] => Ok([peak, (user + system) / 1e3]),
        _ => Err(format!("{status}: {text}")),
    }
}

/// Peak resident set and processor time. What the kernel does after the end (tearing down the network namespace,
/// removing groups) is in nobody's account.
pub fn usage(bench: &Bench, options: &Options) -> Vec<Figures> {
    let tracks = alternate(
        &bench.contenders,
        Schedule::tight(options.rounds(20)),
        |contender| weigh(bench, &contender.run(&bench.quick, &bench.id())),
    );
    vec![
        figures(
            "usage",
            "peak resident set of run",
            "KiB",
            &bench.contenders,
            &tracks,
            0,
        ),
        figures(
            "usage",
            "user + system time of run",
            "ms",
            &bench.contenders,
            &tracks,
            1,
        ),
    ]
}

/// System calls of the runtime and of what it starts, up to and including those of the program.
pub fn calls(bench: &Bench, options: &Options) -> Vec<Figures> {
    let schedule = Schedule::tight(options.rounds(2).min(3));
    let runs = alternate(&bench.contenders, schedule, |contender| {
        calls::count(contender, contender.run(&bench.quick, &bench.id())).map(|calls| [calls as f64])
    });
    let running = Running::start(bench);
    let execs = alternate(&bench.contenders, schedule, |contender| {
        let (id, pid) = running.of(contender)?;
        calls::count(contender, contender.exec(id, pid)).map(|calls| [calls as f64])
    });
    vec![
        figures(
            "calls",
            "system calls of run",
            "calls",
            &bench.contenders,
            &runs,
            0,
        ),
        figures(
            "calls",
            "system calls of exec",
            "calls",
            &bench.contenders,
            &execs,
            0,
        ),
    ]
}

/// The program alone, and with the shared libraries that it names.
pub fn disk(bench: &Bench, _: &Options) -> Vec<Figures> {
    let tracks = alternate(&bench.contenders, Schedule::tight(1), |contender| {
        let own = size(&contender.path.display().to_string())?;
        Ok([own, own + libraries(contender)])
    });
    vec![
        figures(
            "disk",
            "size of the program",
            "KiB",
            &bench.contenders,
            &tracks,
            0,
        ),
        figures(
            "disk",
            "size of the program and its shared libraries",
            "KiB",
            &bench.contenders,
            &tracks,
            1,
        ),
    ]
}

fn size(path: &str) -> Result<f64, String> {
    fs::metadata(path)
        .map(|data| data.len() as f64 / 1024.0)
        .map_err(|error| format!("{path}: {error}"))
}

/// What `ldd` lists; nothing for a static program.
fn libraries(contender: &Contender) -> f64 {
    let output = Command::new("ldd").arg(&contender.path).output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    text.split_whitespace()
        .filter(|word| word.starts_with('/'))
        .filter_map(|path| size(path).ok())
        .sum()
}
