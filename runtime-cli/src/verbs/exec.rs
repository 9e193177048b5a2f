//! `exec`: runs another process in a container.

use runtime_core::spec::ConsoleSize;
use runtime_core::{Code, Error, ExecOptions, Result, Running};

use super::create::{CONSOLE_SOCKET, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS, Reports};
use super::process;
use crate::args::{Arity, Flag, FlagsEnd};
use crate::command::{Call, Command, Failure};
use crate::foreground::Foreground;
use crate::{descriptors, terminal};

/// The command.
pub const COMMAND: Command = Command {
    name: "exec",
    about: "run another process in a container",
    usage: "<container-id> <command> [arguments...]  || --process FILE <container-id>",
    details: "What the flags leave open is as for the container's own process. Exits with the code of the\n\
              process, or with 128 + n if signal n ended it; with 255 if there was none.",
    flags: &[
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        Flag::text("cwd", "working directory in the container"),
        Flag::text("env", "set an environment variable, KEY=VALUE; may be repeated").short("e"),
        Flag::switch("tty", "give the process a terminal").short("t"),
        Flag::text("user", "user and group, as UID[:GID]").short("u"),
        Flag::number("additional-gids", "a supplementary group; may be repeated").short("g"),
        Flag::text(
            "process",
            "file with the process as JSON, like process in config.json, or - for stdin",
        )
        .short("p"),
        Flag::switch("detach", "do not wait for the end of the process").short("d"),
        PID_FILE,
        Flag::text("process-label", "SELinux label of the process"),
        Flag::text("apparmor", "AppArmor profile of the process"),
        Flag::switch("no-new-privs", "set no_new_privs for the process"),
        Flag::text("cap", "add a capability; may be repeated").short("c"),
        PRESERVE_FDS,
        Flag::text("cgroup", "a cgroup below the container's, as [CONTROLLERS:]PATH"),
        Flag::switch(
            "ignore-paused",
            "go ahead in a paused container; the process runs when it is resumed",
        ),
    ],
    arity: Arity::AtLeast(1),
    flags_end: FlagsEnd::FirstArgument,
    failure: Failure::Exec,
    launches: true,
    run,
};

fn run(call: &Call) -> Result<u8> {
    let matches = call.matches;
    let executor = call.container()?.executor()?;
    let own = || executor.config().process.clone().unwrap_or_default();
    let mut process = process::described(matches, own)?;
    let detached = matches.switch("detach");
    if process.terminal
        && !detached
        && let Some(size) = terminal::size()
    {
        // The process runs as soon as it is there, and may ask at once.
        process.console_size = Some(ConsoleSize {
            height: size.ws_row,
            width: size.ws_col,
        });
    }
    let reports = Reports::new(matches, process.terminal, detached, "setns")?;
    let options = ExecOptions {
        preserve_fds: descriptors::for_exec(matches)?.count,
        cgroup: cgroup(
            matches
                .texts("cgroup")
                .map(|path| path.to_string_lossy().into_owned()),
        )?,
        ignore_paused: matches.switch("ignore-paused"),
        ..ExecOptions::default()
    };
    let mut foreground = if detached {
        None
    } else {
        Some(Foreground::prepare(true)?)
    };
    let mut running = executor.exec(&process, options)?;
    let console = running.take_console();
    let reported = reports
        .send(running.pid(), running.pidfd(), console)
        .and_then(|console| match (&mut foreground, console) {
            (Some(foreground), Some(console)) => foreground.connect(console),
            _ => Ok(()),
        });
    match (reported, foreground) {
        (Err(error), _) => Err(ended(&running, error)),
        (Ok(()), None) => Ok(0),
        (Ok(()), Some(foreground)) => foreground.wait(&running),
    }
}

/// Ends a process that `error` made useless, and says so if it cannot be ended.
fn ended(running: &Running, error: Error) -> Error {
    match running.signal(libc::SIGKILL).and_then(|()| running.wait()) {
        Ok(_) => error,
        Err(left) => error.hint(format!(
            "process {} cannot be ended either: {left}",
            running.pid()
        )),
    }
}

fn cgroup(mut paths: impl Iterator<Item = String>) -> Result<Option<String>> {
    let first = paths.next();
    match paths.next() {
        None => Ok(first),
        Some(second) => Err(Error::new(Code::Unsupported, "more than one --cgroup").operand(second)),
    }
}
