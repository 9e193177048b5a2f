//! Compares oci-rt with runc, crun and the bare system calls: in one run, alternating, with medians and spread.

mod bundle;
mod calls;
mod contender;
mod host;
mod measures;
mod options;
mod programs;
mod report;
mod rounds;
mod statistics;
mod sys;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bundle::Bundle;
use contender::{Contender, Kind};
use host::Host;
use measures::{ALL, Bench};
use options::{Options, USAGE};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if options.help {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if options.list {
        for measure in ALL {
            println!("{:<12}{}", measure.name, measure.about);
        }
        return ExitCode::SUCCESS;
    }
    match compare(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("benches: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Directories that vanish with this value.
struct Scratch {
    disk: PathBuf,
    memory: PathBuf,
}

impl Scratch {
    fn new(prefix: &str) -> Result<Self, String> {
        let name = format!("oci-rt-{prefix}scratch");
        let scratch = Self {
            disk: std::env::temp_dir().join(&name),
            memory: host::memory_backed().join(&name),
        };
        for path in [&scratch.disk, &scratch.memory] {
            fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for path in [&self.disk, &self.memory] {
            // Without what is still mounted, which is nothing unless a runtime has left it.
            let _ = fs::remove_dir_all(path);
        }
    }
}

fn compare(options: &Options) -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root: it makes control groups and network namespaces".into());
    }
    let programs = programs::build()?;
    let host = Host::probe()?;
    let load = Host::load();
    sys::catch_interrupts().map_err(|error| format!("signals: {error}"))?;
    sys::adopt_orphans().map_err(|error| format!("subreaper: {error}"))?;

    let prefix = format!("bench-{}-", std::process::id());
    let scratch = Scratch::new(&prefix)?;
    let bench = prepare(options, host, &programs, &scratch, prefix)?;
    let subject = bench
        .contenders
        .first()
        .map(|first| first.name.clone())
        .ok_or("nobody can run here")?;
    println!(
        "Linux {}, {} processors, cgroup {}, load {load:.2}",
        bench.host.kernel, bench.host.cpus, bench.host.mode
    );
    if load > 0.5 {
        println!("warning: the machine is busy, the figures will be unsteady");
    }
    for contender in &bench.contenders {
        println!("  {:<14}{}", contender.name, contender.path.display());
    }

    let mut all = Vec::new();
    for measure in ALL.iter().filter(|measure| options.wants(measure.name)) {
        for figures in (measure.take)(&bench, options) {
            print!("{}", figures.table(&subject));
            all.push(figures);
        }
        if sys::interrupted() {
            break;
        }
    }
    let left = bench.host.sweep(&bench.prefix);
    if left > 0 {
        println!("\n{left} control groups were left behind by the contenders, and removed now");
    }
    if let Some(path) = &options.json {
        let value = report::json(&bench.host, load, &bench.contenders, &subject, &all);
        fs::write(path, format!("{value:#}\n")).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if sys::interrupted() {
        Err("interrupted; everything was cleaned up".into())
    } else {
        Ok(())
    }
}

/// What the program ends with when it is tried whether a contender can run it: no failure looks like that.
const PROBE_CODE: i32 = 77;

/// Finds the contenders, and keeps those that can run a container here.
fn prepare(
    options: &Options,
    host: Host,
    programs: &Path,
    scratch: &Scratch,
    prefix: String,
) -> Result<Bench, String> {
    let program = programs.join("true");
    let v2 = host.mode == "v2";
    let bundle = |name: &str, arguments: &[&str]| {
        Bundle::write(&scratch.disk.join(name), &program, v2, arguments, None)
    };
    let mut bench = Bench {
        quick: bundle("quick", &[])?,
        waiting: bundle("waiting", &["wait"])?,
        directory: scratch.disk.clone(),
        weigh: programs.join("weigh"),
        contenders: Vec::new(),
        next: Cell::new(0),
        prefix,
        program: program.clone(),
        host,
    };
    let probe = bundle("probe", &[&PROBE_CODE.to_string()])?;
    for (name, kind, path) in candidates(options, programs) {
        let found = path
            .ok_or_else(|| format!("{name}: not installed"))
            .and_then(|path| Contender::new(&name, kind, &path, &scratch.memory, &bench.host.hierarchies()));
        let contender = match found {
            Ok(contender) => contender,
            Err(failure) => {
                println!("{failure}; left out");
                continue;
            }
        };
        let id = bench.id();
        match contender.exit_code(&mut contender.run(&probe, &id)) {
            Ok(PROBE_CODE) => bench.contenders.push(contender),
            outcome => {
                let failure = outcome.map_or_else(
                    |error| error,
                    |code| {
                        format!(
                            "exit code {code} instead of {PROBE_CODE}: {}",
                            contender.last_words()
                        )
                    },
                );
                println!(
                    "{name}: cannot run here, left out: {failure}{}",
                    hint(&failure, &bench.host)
                );
                let _ = contender.time(&mut contender.delete(&id));
                bench.host.sweep(&id);
            }
        }
    }
    Ok(bench)
}

/// The subject first.
fn candidates(options: &Options, programs: &Path) -> Vec<(String, Kind, Option<PathBuf>)> {
    let runtime = options.runtime.clone().unwrap_or_else(|| programs.join("oci-rt"));
    let mut all = vec![
        ("oci-rt".to_owned(), Kind::Runtime, Some(runtime)),
        ("runc".to_owned(), Kind::Runtime, programs::find("runc")),
        ("crun".to_owned(), Kind::Runtime, programs::find("crun")),
    ];
    for (name, path) in &options.peers {
        all.push((name.clone(), Kind::Runtime, Some(path.clone())));
    }
    all.push(("floor".to_owned(), Kind::Bare, Some(programs.join("floor"))));
    all.push((
        "floor-libc".to_owned(),
        Kind::Bare,
        Some(programs.join("floor-libc")),
    ));
    all.retain(|(name, ..)| !options.without.contains(name));
    all
}

/// What to do about a failure whose cause is known.
fn hint(failure: &str, host: &Host) -> String {
    if !failure.contains("hybrid mode not supported") {
        return String::new();
    }
    let controllers = host
        .unified
        .as_ref()
        .map(|mount| mount.join("cgroup.controllers"));
    let names = controllers
        .and_then(|file| fs::read_to_string(file).ok())
        .unwrap_or_default();
    names
        .split_whitespace()
        .map(|name| {
            let mount = format!("/sys/fs/cgroup/{name}");
            format!("\n  it wants no controller in the v2 hierarchy: mkdir -p {mount} && mount -t cgroup -o {name} cgroup {mount}")
        })
        .collect()
}
