//! Hooks that the runtime runs, each with the container's state on its standard input.
//!
//! Input and output are memory files: a hook that never reads, prints without end or leaves a daemon behind with our
//! descriptors blocks nobody.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::container::State;
use crate::error::{At, Code, Error, Result};
use crate::spec::Hook;
use crate::sys::pidfd;
use crate::sys::process::in_namespaces;

/// How much of a failed hook's output goes into the error.
const OUTPUT_LIMIT: u64 = 4096;

/// Where hooks run.
pub(crate) enum Place<'a> {
    /// In the runtime's namespaces.
    Runtime,
    /// In namespaces of the container's process.
    Container {
        pidfd: std::os::fd::BorrowedFd<'a>,
        flags: i32,
    },
}

/// Runs `hooks` in order; the first that fails ends it. `kind` is their name in the configuration.
pub(crate) fn run(kind: &str, hooks: &[Hook], state: &State, place: &Place<'_>) -> Result<()> {
    for (number, hook) in hooks.iter().enumerate() {
        run_one(hook, state, place).map_err(|error| {
            let reason = format!("{} {error}", hook.path.display());
            Error::new(Code::Hook, "run hook")
                .operand(format!("{kind}[{number}]"))
                .reason(reason)
        })?;
    }
    Ok(())
}

/// The state as JSON in a file that can be read from the start.
pub(crate) fn state_file(state: &State) -> Result<File> {
    let step = "write state for hook";
    let json =
        serde_json::to_vec(state).map_err(|error| Error::new(Code::State, step).reason(error.to_string()))?;
    let mut file = memory_file("state")?;
    file.write_all(&json).at(step)?;
    file.rewind().at(step)?;
    Ok(file)
}

fn memory_file(name: &str) -> Result<File> {
    memfd_create(name, MFdFlags::MFD_CLOEXEC)
        .map(File::from)
        .at("make memory file")
}

fn run_one(hook: &Hook, state: &State, place: &Place<'_>) -> Result<()> {
    let output = memory_file("output")?;
    let copy = || output.try_clone().at("duplicate descriptor");
    let mut command = Command::new(&hook.path);
    command
        .env_clear()
        .stdin(Stdio::from(state_file(state)?))
        .stdout(copy()?)
        .stderr(copy()?);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(OsStr::new(name)).args(rest);
    }
    // What is no assignment cannot be passed on.
    command.envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
    // A container may have no namespace of its own.
    if let Place::Container { pidfd, flags } = place
        && *flags != 0
    {
        in_namespaces(
            &mut command,
            pidfd.try_clone_to_owned().at("duplicate pidfd")?,
            *flags,
        );
    }
    let mut child = command.spawn().at("execute")?;
    let limit = hook
        .timeout
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(Duration::from_secs);
    let process = pidfd::open(child.id() as i32).at("open hook process")?;
    if !ends_within(&process, limit) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(Error::new(Code::Hook, "timed out").hint("hooks' timeout is in seconds"));
    }
    let status = child.wait().at("wait")?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(status, output))
    }
}

/// Waits for the end of a process; without a limit for as long as it takes.
fn ends_within(process: &OwnedFd, limit: Option<Duration>) -> bool {
    let end = limit.map(|limit| Instant::now() + limit);
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if pidfd::ended(process.as_fd(), left) {
            return true;
        }
        if left.is_some_and(|left| left.is_zero()) {
            return false;
        }
    }
}

fn failed(status: ExitStatus, mut output: File) -> Error {
    let mut text = Vec::new();
    let length = output.seek(std::io::SeekFrom::End(0)).unwrap_or(0);
    let _ = output.seek(std::io::SeekFrom::Start(length.saturating_sub(OUTPUT_LIMIT)));
    let _ = output.take(OUTPUT_LIMIT).read_to_end(&mut text);
    let error = Error::new(Code::Hook, format!("failed with {status}"));
    match String::from_utf8_lossy(&text).trim() {
        "" => error,
        text => error.reason(format!("output: {}", text.replace('\n', " | "))),
    }
}
