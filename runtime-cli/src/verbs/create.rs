//! `create`: makes a container whose process waits to be started.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use runtime_core::{Bundle, CreateOptions, Result, Running, Runtime};

use crate::args::{Arity, Flag, FlagsEnd, Matches};
use crate::command::{Call, Command, Failure, invalid};
use crate::console_socket::Receiver;
use crate::globals::absolute;
use crate::{descriptors, pid_file};

/// Flags that `run` has, too.
pub const BUNDLE: Flag = Flag::text(
    "bundle",
    "directory with config.json (default: the current directory)",
)
.short("b");
/// See [`BUNDLE`].
pub const CONSOLE_SOCKET: Flag = Flag::text(
    "console-socket",
    "socket that gets the master of the process's terminal",
);
/// See [`BUNDLE`].
pub const PIDFD_SOCKET: Flag = Flag::text("pidfd-socket", "socket that gets a pidfd of the process");
/// See [`BUNDLE`].
pub const PID_FILE: Flag = Flag::text("pid-file", "file that the process id is written to");
/// See [`BUNDLE`].
pub const NO_PIVOT: Flag = Flag::switch(
    "no-pivot",
    "change the root without pivot_root(2), for a host whose own root is the initial ram disk",
);
/// See [`BUNDLE`].
pub const NO_NEW_KEYRING: Flag = Flag::switch(
    "no-new-keyring",
    "leave the process in the caller's session keyring",
);
/// See [`BUNDLE`].
pub const PRESERVE_FDS: Flag = Flag::number(
    "preserve-fds",
    "pass this many open descriptors on, besides 0, 1, 2 and $LISTEN_FDS",
);

/// The command.
pub const COMMAND: Command = Command {
    name: "create",
    about: "create a container",
    usage: "<container-id>",
    details: "Makes the container that the bundle's config.json describes, under an id that no other container\n\
              has. Its process waits until it is started by the command start.",
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
    ],
    arity: Arity::Exactly(1),
    flags_end: FlagsEnd::Never,
    failure: Failure::Named,
    launches: true,
    run,
};

fn run(call: &Call) -> Result<u8> {
    let bundle = call.matches.path("bundle").unwrap_or_else(|| PathBuf::from("."));
    Creation::new(call, call.id()?, &bundle, true)?.create()?;
    Ok(0)
}

/// Everything that is to be known and connected before a container is made.
pub struct Creation {
    /// State root.
    pub runtime: Runtime,
    /// Id of the container.
    pub id: String,
    bundle: Bundle,
    options: CreateOptions,
    reports: Reports,
}

impl Creation {
    /// Reads the flags and the bundle; `detached` when nobody waits for the process here.
    pub fn new(call: &Call, id: String, bundle: &Path, detached: bool) -> Result<Creation> {
        let matches = call.matches;
        let passed = descriptors::for_container(matches)?;
        let mut bundle = Bundle::load(bundle)?;
        if !passed.env.is_empty()
            && let Some(process) = &bundle.spec().process
        {
            let mut process = process.clone();
            process.env.extend(passed.env);
            let spec = runtime_core::spec::Spec {
                process: Some(process),
                ..bundle.spec().clone()
            };
            bundle = Bundle::new(bundle.dir(), spec)?;
        }
        let terminal = bundle
            .spec()
            .process
            .as_ref()
            .is_some_and(|process| process.terminal);
        let options = CreateOptions {
            preserve_fds: passed.count,
            no_pivot: matches.switch("no-pivot"),
            no_new_keyring: matches.switch("no-new-keyring"),
            ..CreateOptions::default()
        };
        let reports = Reports::new(matches, terminal, detached, "standard")?;
        call.globals.protect_root()?;
        Ok(Creation {
            runtime: call.globals.runtime()?,
            id,
            bundle,
            options,
            reports,
        })
    }

    /// Makes the container, reports it and starts it; `connect` gets the master of its terminal when that stays here.
    pub fn run(self, connect: impl FnOnce(OwnedFd) -> Result<()>) -> Result<Running> {
        let reports = self.reports;
        self.runtime
            .run(&self.id, &self.bundle, self.options, |pid, pidfd, console| {
                reports.send(pid, pidfd, console)?.map_or(Ok(()), connect)
            })
    }

    /// Makes the container and reports it. A container that cannot be reported is removed again.
    fn create(self) -> Result<()> {
        let mut created = self.runtime.create(&self.id, &self.bundle, self.options)?;
        let console = created.take_console();
        match self.reports.send(created.pid(), created.pidfd(), console) {
            Ok(_) => Ok(()),
            Err(error) => Err(removed(&self.runtime, &self.id, error)),
        }
    }
}

/// Removes a container that `error` made useless, and says so if something is left.
pub fn removed(runtime: &Runtime, id: &str, error: runtime_core::Error) -> runtime_core::Error {
    match runtime.remove(id) {
        Ok(()) => error,
        Err(left) => error.hint(format!("the container cannot be removed either: {left}")),
    }
}

/// What callers want to know of a new process: they name files and sockets for it.
pub struct Reports {
    pid_file: Option<PathBuf>,
    console: Option<Receiver>,
    pidfd: Option<Receiver>,
    /// What the message with the pidfd says.
    kind: &'static str,
}

impl Reports {
    /// Connects to the sockets, before there is a process that would have to go again.
    pub fn new(matches: &Matches, terminal: bool, detached: bool, kind: &'static str) -> Result<Reports> {
        let console = matches.path("console-socket");
        if detached && terminal && console.is_none() {
            return Err(invalid(
                "cannot allocate tty if oci-rt will detach without setting console socket",
            ));
        }
        if console.is_some() && !(detached && terminal) {
            return Err(invalid(
                "cannot use console socket if oci-rt will not detach or allocate tty",
            ));
        }
        let connect = |path: Option<PathBuf>| path.map(|path| Receiver::connect(&path)).transpose();
        Ok(Reports {
            pid_file: matches.path("pid-file").map(|path| absolute(&path)).transpose()?,
            console: connect(console)?,
            pidfd: connect(matches.path("pidfd-socket"))?,
            kind,
        })
    }

    /// Sends what is wanted; gives the console back when it is not to be sent away.
    pub fn send(
        &self,
        pid: i32,
        pidfd: std::os::fd::BorrowedFd<'_>,
        console: Option<OwnedFd>,
    ) -> Result<Option<OwnedFd>> {
        let kept = match (&self.console, console) {
            (Some(receiver), Some(console)) => {
                receiver.send(console.as_fd(), "/dev/ptmx")?;
                None
            }
            (_, console) => console,
        };
        if let Some(receiver) = &self.pidfd {
            receiver.send(pidfd, self.kind)?;
        }
        if let Some(path) = &self.pid_file {
            pid_file::write(path, pid)?;
        }
        Ok(kept)
    }
}
