//! Runs the tests, each in a process of its own, which adopts what its containers leave and sees its own mounts.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::bundle::make_template;
use super::host::Host;
use super::leftovers::{Leftovers, kill_below, reap, remove_cgroups};
use super::pace;
use super::prepare::{self, Programs};
use super::report::{Report, Row, Status};
use super::{Ctx, Stop, Test};
use crate::guest;
use crate::options::{Guest, Options};
use crate::subjects;

fn selected(options: &Options) -> Vec<&'static Test> {
    subjects::all()
        .filter(|test| options.selects(test.name) && !(options.in_guest && test.host_only))
        .collect()
}

/// Prints the names of the tests.
pub fn list(options: &Options) {
    if options.unit {
        for package in prepare::UNIT
            .iter()
            .filter(|package| options.selects(&format!("unit/{package}")))
        {
            println!("unit/{package}");
        }
    }
    for test in selected(options) {
        let mut line = test.name.to_string();
        if test.serial {
            line.push_str(" (alone)");
        }
        for (peer, why) in test.peers {
            line.push_str(&format!(" [{peer}: {why}]"));
        }
        println!("{line}");
    }
}

/// Runs everything that the options select; true when nothing failed.
pub fn run_suite(options: &Options) -> Result<bool, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("the suite must run as root: it makes containers with every kind of namespace".into());
    }
    if options.install {
        prepare::install_packages();
    }
    let programs = prepare::programs(options)?;
    let runtime = runtime_name(&programs.runtime);
    let sink = match &options.rows {
        None => None,
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            Some(file.map_err(|e| format!("{}: {e}", path.display()))?)
        }
    };
    let report = Mutex::new(Report {
        rows: Vec::new(),
        sink,
    });
    if options.guest != Guest::Alone {
        on_this_host(options, &programs, &report)?;
    }
    if options.wants_guest() {
        guest::run(options, &programs, |row| record(&report, row));
    }
    let report = report.into_inner().map_err(|_| "a worker thread panicked")?;
    print!("{}", report.summary(&runtime));
    if let Some(path) = &options.junit {
        report
            .write_junit(path, &runtime)
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(report.good())
}

fn on_this_host(options: &Options, programs: &Programs, report: &Mutex<Report>) -> Result<(), String> {
    if options.unit && options.build {
        for package in prepare::UNIT
            .iter()
            .filter(|package| options.selects(&format!("unit/{package}")))
        {
            record(report, prepare::unit_tests(package));
        }
    }
    let suite = Suite::prepare(options, programs)?;
    println!("testing {}", programs.runtime.display());
    let (serial, parallel): (Vec<_>, Vec<_>) = selected(options)
        .into_iter()
        .enumerate()
        .partition(|(_, test)| test.serial);
    suite.run_all(parallel, options.jobs, report);
    suite.run_all(serial, 1, report);
    record(report, suite.finish());
    Ok(())
}

fn record(report: &Mutex<Report>, row: Row) {
    if let Ok(mut report) = report.lock()
        && let Err(error) = report.add(row)
    {
        eprintln!("conformance: --rows: {error}");
    }
}

fn runtime_name(runtime: &Path) -> String {
    runtime
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The running suite.
struct Suite {
    base: PathBuf,
    runtime: PathBuf,
    host: Host,
    before: Leftovers,
}

impl Suite {
    fn prepare(options: &Options, programs: &Programs) -> Result<Suite, String> {
        // Orphans of tests that had to be killed come to this process instead of the host's init.
        nix::sys::prctl::set_child_subreaper(true).map_err(|e| format!("subreaper: {e}"))?;
        let base = std::env::temp_dir().join(format!("conformance-{}", std::process::id()));
        let failed = |e: std::io::Error| format!("{}: {e}", base.display());
        fs::create_dir(&base).map_err(failed)?;
        fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        make_template(&base.join("template"), &programs.busybox, &programs.probe)?;
        let _ = options;
        Ok(Suite {
            base,
            runtime: programs.runtime.clone(),
            host: Host::probe()?,
            before: Leftovers::begin(),
        })
    }

    fn run_all(&self, tests: Vec<(usize, &'static Test)>, jobs: usize, report: &Mutex<Report>) {
        let queue = Mutex::new(VecDeque::from(tests));
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().ok().and_then(|mut queue| queue.pop_front());
                        let Some((index, test)) = next else { break };
                        record(report, self.run_test(index, test));
                    }
                });
            }
        });
    }

    /// Runs one test in a process of its own.
    fn run_test(&self, index: usize, test: &Test) -> Row {
        let begin = Instant::now();
        let dir = self.base.join(index.to_string());
        let (status, log) = match self.child(&dir, test) {
            Ok(done) => done,
            Err(error) => (Status::Failed(format!("harness: {error}")), String::new()),
        };
        let status = match (status, test.known_failure(&runtime_name(&self.runtime))) {
            (Status::Failed(message), Some(why)) => Status::Expected(message, why.into()),
            (Status::Passed(_), Some(_)) => Status::Passed(Some("(was known to fail)".into())),
            (status, _) => status,
        };
        // What a killed test leaves cannot be removed by itself.
        remove_cgroups(&self.host, &prefix(&dir));
        let _ = fs::remove_dir_all(&dir);
        Row {
            name: test.name.into(),
            status,
            seconds: begin.elapsed().as_secs_f64(),
            log,
        }
    }

    fn child(&self, dir: &Path, test: &Test) -> std::io::Result<(Status, String)> {
        fs::create_dir(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        let log = dir.join("test.log");
        let out = File::create(&log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("--runtime")
            .arg(&self.runtime)
            .arg("--stretch")
            .arg(pace::factor().to_string())
            .arg("--one")
            .arg(test.name)
            .arg(dir);
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .current_dir(dir);
        let mut child = command.spawn()?;
        let mut pause = Duration::from_millis(1);
        let deadline = begin_deadline(test.deadline);
        let late = loop {
            if child.try_wait()?.is_some() {
                break false;
            }
            if Instant::now() > deadline {
                kill_below(child.id() as i32);
                // What is frozen dies only after it was thawed.
                remove_cgroups(&self.host, &prefix(dir));
                kill_below(child.id() as i32);
                child.kill()?;
                child.wait()?;
                break true;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        };
        let text = fs::read_to_string(&log).unwrap_or_default();
        if late {
            return Ok((
                Status::Failed(format!("not done after {} s: killed", test.deadline)),
                text,
            ));
        }
        let result: Value = fs::read(dir.join("result.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_else(|| json!({"status": "failed", "message": "the test's process died"}));
        let message = result["message"].as_str().unwrap_or_default().to_string();
        Ok(match result["status"].as_str() {
            Some("passed") => (Status::Passed(None), text),
            Some("skipped") => (Status::Skipped(message), text),
            _ => (Status::Failed(message), text),
        })
    }

    /// The last row: the host is as it was, over all tests.
    fn finish(&self) -> Row {
        let begin = Instant::now();
        kill_below(std::process::id() as i32);
        reap();
        let own = format!("conformance-{}-", std::process::id());
        let found = self.before.find(&self.host, &own, Path::new("/nonexistent"));
        remove_cgroups(&self.host, &own);
        let _ = fs::remove_dir_all(&self.base);
        let status = match found.is_empty() {
            true => Status::Passed(None),
            false => Status::Failed(format!("left on the host: {}", found.join("; "))),
        };
        let seconds = begin.elapsed().as_secs_f64();
        Row {
            name: "suite/host-is-as-it-was".into(),
            status,
            seconds,
            log: String::new(),
        }
    }
}

fn begin_deadline(seconds: u64) -> Instant {
    Instant::now() + pace::stretch(Duration::from_secs(seconds))
}

/// What the names of a test's containers and cgroups start with.
fn prefix(dir: &Path) -> String {
    let base = dir
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default()
        .to_string_lossy();
    let index = dir.file_name().unwrap_or_default().to_string_lossy();
    // The closing dash keeps the names of test 1 apart from those of test 11.
    format!("{base}-{index}-")
}

/// Runs one test in this process; true when it passed or was skipped.
pub fn run_one(options: &Options, name: &str, dir: &Path) -> Result<bool, String> {
    let test = subjects::all()
        .find(|test| test.name == name)
        .ok_or_else(|| format!("no test {name}"))?;
    isolate().map_err(|e| format!("own mount namespace: {e}"))?;
    let runtime = options.runtime.clone().ok_or("--one needs --runtime")?;
    let ctx = Ctx {
        runtime_name: runtime_name(&runtime),
        runtime,
        dir: dir.to_path_buf(),
        root: dir.join("state"),
        prefix: prefix(dir).trim_end_matches('-').to_string(),
        template: dir.parent().unwrap_or(dir).join("template"),
        host: Host::probe()?,
        ids: RefCell::new(Vec::new()),
        counter: Cell::new(0),
    };
    let before = Leftovers::begin();
    let mut outcome = (test.run)(&ctx);
    let mut problems = ctx.clean_up();
    let found = before.find(&ctx.host, &prefix(dir), &ctx.root);
    if !found.is_empty() {
        problems.push(format!("left on the host: {}", found.join("; ")));
    }
    kill_below(std::process::id() as i32);
    remove_cgroups(&ctx.host, &prefix(dir));
    match &mut outcome {
        Err(Stop::Failed(message)) if !problems.is_empty() => {
            message.push_str(&format!(" [and {}]", problems.join("; ")));
        }
        Ok(()) if !problems.is_empty() => outcome = Err(Stop::Failed(problems.join("; "))),
        _ => {}
    }
    let result = match &outcome {
        Ok(()) => json!({"status": "passed"}),
        Err(Stop::Skipped(why)) => json!({"status": "skipped", "message": why}),
        Err(Stop::Failed(why)) => json!({"status": "failed", "message": why}),
    };
    fs::write(dir.join("result.json"), result.to_string()).map_err(|e| format!("result: {e}"))?;
    Ok(!matches!(outcome, Err(Stop::Failed(_))))
}

/// Gives this process its own mount namespace, shared within itself as on a host with systemd, so that whatever a
/// runtime leaks can be seen, and makes it adopt orphans.
fn isolate() -> nix::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    nix::sys::prctl::set_child_subreaper(true)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none)
}
