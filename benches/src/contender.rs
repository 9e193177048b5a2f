//! Who is compared: runtimes with the command line of runc, and `floor`.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bundle::{Bundle, PROGRAM};

/// What kind of command line it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// That of runc.
    Runtime,
    /// That of `floor`.
    Bare,
}

/// One of those compared.
pub struct Contender {
    /// In the table.
    pub name: String,
    /// How it is called.
    pub kind: Kind,
    /// The program.
    pub path: PathBuf,
    root: PathBuf,
    hierarchies: String,
    errors: File,
}

impl Contender {
    /// A contender with a state root of its own below `state`.
    pub fn new(name: &str, kind: Kind, path: &Path, state: &Path, hierarchies: &str) -> Result<Self, String> {
        let fail = |error: std::io::Error| format!("{name}: {error}");
        let path = fs::canonicalize(path).map_err(|error| format!("{name}: {}: {error}", path.display()))?;
        let root = state.join(name);
        fs::create_dir_all(&root).map_err(fail)?;
        let errors = File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(state.join(format!("{name}.err")))
            .map_err(fail)?;
        Ok(Self {
            name: name.into(),
            kind,
            path,
            root,
            hierarchies: hierarchies.into(),
            errors,
        })
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.path);
        if self.kind == Kind::Runtime {
            command.arg("--root").arg(&self.root);
        }
        command.arg(verb).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(
            self.errors
                .try_clone()
                .map_or_else(|_| Stdio::null(), Stdio::from),
        );
        command
    }

    fn state_of(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// Where the pid of a created container is found.
    pub fn pid_file(&self, id: &str) -> PathBuf {
        match self.kind {
            Kind::Runtime => self.root.join(format!("{id}.pid")),
            Kind::Bare => self.state_of(id).join("pid"),
        }
    }

    /// A whole life in the foreground. `memory` is the limit that the bundle's config has.
    pub fn run(&self, bundle: &Bundle, id: &str) -> Command {
        let mut command = self.command("run");
        match self.kind {
            Kind::Runtime => command.arg("--bundle").arg(&bundle.path).arg(id),
            Kind::Bare => self.floor_arguments(&mut command, bundle, id),
        };
        command
    }

    /// Everything up to the start.
    pub fn create(&self, bundle: &Bundle, id: &str) -> Command {
        let mut command = self.command("create");
        match self.kind {
            Kind::Runtime => command
                .arg("--bundle")
                .arg(&bundle.path)
                .arg("--pid-file")
                .arg(self.pid_file(id))
                .arg(id),
            Kind::Bare => {
                command.arg(self.state_of(id));
                self.floor_arguments(&mut command, bundle, id)
            }
        };
        command
    }

    fn floor_arguments<'c>(&self, command: &'c mut Command, bundle: &Bundle, id: &str) -> &'c mut Command {
        command
            .arg(bundle.rootfs())
            .arg(id)
            .arg(bundle.memory.unwrap_or(0).to_string())
            .arg(&self.hierarchies)
            .arg(PROGRAM)
            .args(&bundle.arguments)
    }

    /// Lets a created container run.
    pub fn start(&self, id: &str) -> Command {
        let mut command = self.command("start");
        match self.kind {
            Kind::Runtime => command.arg(id),
            Kind::Bare => command.arg(self.state_of(id)),
        };
        command
    }

    /// Removes a container, dead or alive.
    pub fn delete(&self, id: &str) -> Command {
        let mut command = self.command("delete");
        match self.kind {
            Kind::Runtime => command.arg("--force").arg(id),
            Kind::Bare => command.arg(self.state_of(id)).arg(id).arg(&self.hierarchies),
        };
        command
    }

    /// One more process in the running container whose first process is `pid`.
    pub fn exec(&self, id: &str, pid: i32) -> Command {
        let mut command = self.command("exec");
        match self.kind {
            Kind::Runtime => command.arg(id),
            Kind::Bare => command.arg(pid.to_string()).arg(id).arg(&self.hierarchies),
        };
        command.arg(PROGRAM);
        command
    }

    /// The state of a container; `floor` has no such thing.
    pub fn state(&self, id: &str) -> Option<Command> {
        (self.kind == Kind::Runtime).then(|| {
            let mut command = self.command("state");
            command.arg(id);
            command
        })
    }

    /// The last line that it wrote to stderr.
    pub fn last_words(&self) -> String {
        let mut text = String::new();
        let read = self.errors.try_clone().and_then(|mut file| {
            file.rewind()?;
            file.read_to_string(&mut text)
        });
        match (read, text.lines().rev().find(|line| !line.trim().is_empty())) {
            (Ok(_), Some(line)) => line.trim().to_owned(),
            _ => "no message".to_owned(),
        }
    }

    /// Runs the command to its end and says how long that took.
    pub fn time(&self, command: &mut Command) -> Result<Duration, String> {
        let before = Instant::now();
        let mut child = self.spawn(command)?;
        let status = child.wait().map_err(|error| format!("wait: {error}"))?;
        let taken = before.elapsed();
        if status.success() {
            Ok(taken)
        } else {
            Err(format!("{status}: {}", self.last_words()))
        }
    }

    /// Runs the command to its end and gives its exit code.
    pub fn exit_code(&self, command: &mut Command) -> Result<i32, String> {
        let status = self
            .spawn(command)?
            .wait()
            .map_err(|error| format!("wait: {error}"))?;
        status
            .code()
            .ok_or_else(|| format!("{status}: {}", self.last_words()))
    }

    /// Starts the command.
    pub fn spawn(&self, command: &mut Command) -> Result<Child, String> {
        command
            .spawn()
            .map_err(|error| format!("{}: {error}", self.path.display()))
    }
}
