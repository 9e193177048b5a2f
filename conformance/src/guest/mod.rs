//! A guest with nothing but cgroups of version 2, whatever the host has: the same suite runs in it.
//!
//! The guest is this program as /init of an initramfs, a kernel of Debian's, and QEMU; rows come back as JSON, a
//! line each, through a serial port.

mod cpio;
pub mod init;
mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::prepare::{self, Programs};
use crate::harness::report::{Row, Status};
use crate::options::Options;
use cpio::Archive;

/// Names of the guest's rows start with this.
pub const PREFIX: &str = "guest:";
/// How much longer things take without help of the processor.
const EMULATION: u32 = 10;
/// After this the guest is switched off.
const LIMIT: Duration = Duration::from_secs(900);

/// Boots the guest, runs the suite in it and hands each of its rows to `record` as it comes in.
///
/// A guest that cannot be had is a skip, loudly; one that does not come to an end is a failure.
pub fn run(options: &Options, programs: &Programs, mut record: impl FnMut(Row)) {
    let begin = Instant::now();
    let boot = |status| Row {
        name: format!("{PREFIX}boot"),
        status,
        seconds: begin.elapsed().as_secs_f64(),
        log: String::new(),
    };
    let dir = std::env::temp_dir().join(format!("conformance-guest-{}", std::process::id()));
    let kernel = match prepare::cache("guest").and_then(|cache| machine::find(&cache, options.install)) {
        Ok(kernel) => kernel,
        Err(why) => {
            eprintln!("!!! no guest, so nothing is tested with cgroups of version 2 alone: {why}");
            return record(boot(Status::Skipped(why)));
        }
    };
    let outcome = fs::create_dir(&dir)
        .map_err(|error| format!("{}: {error}", dir.display()))
        .and_then(|()| initramfs(options, programs))
        .and_then(|image| machine::boot(&kernel, &image, &dir))
        .and_then(|machine| follow(machine, &mut record));
    match outcome {
        Ok(()) => record(boot(Status::Passed(None))),
        Err(why) => record(boot(Status::Failed(why))),
    }
    let _ = fs::remove_dir_all(&dir);
}

/// Hands on the rows until the guest says that there are no more.
fn follow(mut machine: machine::Machine, record: &mut impl FnMut(Row)) -> Result<(), String> {
    let begin = Instant::now();
    let mut done = 0;
    loop {
        let ended = machine
            .child
            .try_wait()
            .map_err(|error| format!("qemu: {error}"))?;
        let text = fs::read(&machine.results).map_err(|error| format!("results: {error}"))?;
        let complete = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        for line in String::from_utf8_lossy(&text[done.min(complete)..complete]).lines() {
            let value: Value =
                serde_json::from_str(line).map_err(|error| format!("row {line:?}: {error}"))?;
            if value["end"] == true {
                return Ok(());
            }
            let mut row = Row::from_json(&value).ok_or_else(|| format!("not a row: {line:?}"))?;
            row.name = format!("{PREFIX}{}", row.name);
            record(row);
        }
        done = complete;
        let console = || {
            fs::read(&machine.console)
                .map(|bytes| tail(&bytes))
                .unwrap_or_default()
        };
        if ended.is_some() {
            return Err(format!(
                "the guest ended before the suite in it; its console: {}",
                console()
            ));
        }
        if begin.elapsed() > LIMIT {
            return Err(format!(
                "the guest was not done after {LIMIT:?}; its console: {}",
                console()
            ));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn tail(console: &[u8]) -> String {
    let text = String::from_utf8_lossy(console);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn initramfs(options: &Options, programs: &Programs) -> Result<Vec<u8>, String> {
    let mut archive = Archive::default();
    for dir in [
        "bin", "dev", "etc", "mnt", "opt", "proc", "root", "run", "sys", "tmp", "usr", "var", "var/tmp",
    ] {
        archive.directory(dir);
    }
    for (name, target) in [
        ("sbin", "bin"),
        ("usr/bin", "../bin"),
        ("usr/sbin", "../bin"),
        ("init", "bin/conformance"),
    ] {
        archive.link(name, target);
    }
    // The kernel gives its first process this as the standard streams.
    archive.device("dev/console", 5, 1);
    archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n");
    archive.file("etc/group", 0o644, b"root:x:0:\n");
    let own = std::env::current_exe().map_err(|error| format!("own executable: {error}"))?;
    let (sweep, embed) = (own.with_file_name("sweep"), own.with_file_name("embed"));
    let name = programs
        .runtime
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let programs_in_bin: [(&str, &Path); 6] = [
        ("conformance", &own),
        ("sweep", &sweep),
        ("embed", &embed),
        ("probe", &programs.probe),
        ("busybox", &programs.busybox),
        (&name, &programs.runtime),
    ];
    for (name, path) in programs_in_bin {
        archive.copy(&format!("bin/{name}"), path)?;
    }
    let applets = Command::new(&programs.busybox).arg("--list").output();
    let applets = applets.map_err(|error| format!("busybox: {error}"))?;
    for applet in String::from_utf8_lossy(&applets.stdout)
        .lines()
        .filter(|applet| *applet != "busybox")
    {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    add_libraries(&mut archive, &programs.runtime)?;
    archive.file(
        init::ARGUMENTS.trim_start_matches('/'),
        0o644,
        arguments(options, &name).join("\n").as_bytes(),
    );
    Ok(archive.finish())
}

fn arguments(options: &Options, runtime: &str) -> Vec<String> {
    let stretch = if machine::accelerated() { 2 } else { EMULATION };
    let mut arguments: Vec<String> = [
        "--no-build",
        "--no-unit",
        "--no-install",
        "--in-guest",
        "--jobs",
        "2",
    ]
    .map(String::from)
    .to_vec();
    arguments.extend([
        "--stretch".into(),
        stretch.to_string(),
        "--runtime".into(),
        format!("/bin/{runtime}"),
    ]);
    for filter in &options.filters {
        let inside = filter.strip_prefix(PREFIX).unwrap_or(filter);
        arguments.extend(["--filter".into(), inside.to_string()]);
    }
    arguments
}

/// The libraries of a runtime that is linked dynamically, as Debian's runc and crun are.
fn add_libraries(archive: &mut Archive, program: &Path) -> Result<(), String> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .map_err(|error| format!("ldd: {error}"))?;
    let mut made = Vec::new();
    for word in String::from_utf8_lossy(&output.stdout).split_whitespace() {
        if !word.starts_with('/') {
            continue;
        }
        let path = PathBuf::from(word);
        let parents: Vec<&Path> = path.ancestors().skip(1).collect();
        for parent in parents.iter().rev().filter(|parent| parent.parent().is_some()) {
            if !made.contains(&parent.to_path_buf()) {
                archive.directory(parent.to_string_lossy().trim_start_matches('/'));
                made.push(parent.to_path_buf());
            }
        }
        archive.copy(word.trim_start_matches('/'), &path)?;
    }
    Ok(())
}
