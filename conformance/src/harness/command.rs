//! Commands with a deadline whose output goes to files, so that containers that inherit it keep nobody waiting.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

use super::pace::stretch;
use super::{Outcome, Stop};
use crate::sys;

static SERIAL: AtomicUsize = AtomicUsize::new(0);

/// A command under construction.
pub struct Cmd {
    command: Command,
    shown: String,
    dir: PathBuf,
    stdin: Option<Vec<u8>>,
    fds: Vec<(OwnedFd, RawFd)>,
    stdio_given: bool,
    deadline: Duration,
    quiet: bool,
}

impl Cmd {
    /// Runs `program`; its output is kept in `dir`.
    pub fn new(program: impl AsRef<OsStr>, dir: &Path) -> Cmd {
        let mut command = Command::new(program.as_ref());
        // The suite's own environment is none of the runtime's business.
        command
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("LISTEN_FDS");
        Cmd {
            shown: program_name(program.as_ref()),
            command,
            dir: dir.to_path_buf(),
            stdin: None,
            fds: Vec::new(),
            stdio_given: false,
            deadline: Duration::from_secs(30),
            quiet: false,
        }
    }
    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Cmd {
        self.shown.push(' ');
        self.shown.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }
    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Cmd {
        for arg in args {
            self = self.arg(arg);
        }
        self
    }
    /// Sets a variable of the command's environment.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Cmd {
        self.command.env(key, value);
        self
    }
    /// Starts the command in this directory.
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Cmd {
        self.command.current_dir(dir);
        self
    }
    /// Starts the command as another user, without supplementary groups.
    pub fn user(mut self, uid: u32, gid: u32) -> Cmd {
        use std::os::unix::process::CommandExt;
        self.command.uid(uid).gid(gid);
        self
    }
    /// Feeds this to the command's standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Cmd {
        self.stdin = Some(bytes.into());
        self
    }
    /// Gives the command a descriptor at this number.
    pub fn fd(mut self, fd: OwnedFd, number: RawFd) -> Cmd {
        self.fds.push((fd, number));
        self
    }
    /// Gives the command these three standard streams; [`Output`] then holds nothing.
    pub fn stdio(mut self, stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd) -> Cmd {
        self.command.stdin(stdin).stdout(stdout).stderr(stderr);
        self.stdio_given = true;
        self
    }
    /// The command's standard input is its controlling terminal, see [`Cmd::stdio`].
    pub fn own_terminal(mut self) -> Cmd {
        sys::own_terminal(&mut self.command);
        self
    }
    /// The command starts with these signals ignored and blocked.
    pub fn signals(mut self, ignored: &[i32], blocked: &[i32]) -> Cmd {
        sys::disturb_signals(&mut self.command, ignored.to_vec(), blocked.to_vec());
        self
    }
    /// The command runs as root without this capability.
    pub fn without_capability(mut self, number: u32) -> Cmd {
        sys::without_capability(&mut self.command, number);
        self
    }
    /// The command finds these system calls missing from the kernel.
    pub fn without_syscalls(mut self, numbers: &[i64]) -> Cmd {
        sys::without_syscalls(&mut self.command, numbers);
        self
    }
    /// Another deadline than 30 seconds.
    pub fn deadline(mut self, deadline: Duration) -> Cmd {
        self.deadline = deadline;
        self
    }
    /// Keeps the command out of the test's log.
    pub fn quiet(mut self) -> Cmd {
        self.quiet = true;
        self
    }

    /// Starts the command and returns at once.
    pub fn spawn(mut self) -> Outcome<Spawned> {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let out = self.dir.join(format!("cmd{serial}.out"));
        let err = self.dir.join(format!("cmd{serial}.err"));
        if !self.stdio_given {
            match &self.stdin {
                Some(bytes) => {
                    let path = self.dir.join(format!("cmd{serial}.in"));
                    File::create(&path)?.write_all(bytes)?;
                    self.command.stdin(File::open(&path)?);
                }
                None => {
                    self.command.stdin(Stdio::null());
                }
            }
            self.command
                .stdout(File::create(&out)?)
                .stderr(File::create(&err)?);
        }
        if !self.fds.is_empty() {
            sys::pass_fds(&mut self.command, std::mem::take(&mut self.fds));
        }
        let child = self
            .command
            .spawn()
            .map_err(|e| Stop::Failed(format!("{}: {e}", self.shown)))?;
        if let Ok(mut started) = STARTED.lock() {
            started.push(child.id());
        }
        Ok(Spawned {
            child,
            shown: self.shown,
            out,
            err,
            deadline: self.deadline,
            quiet: self.quiet,
        })
    }

    /// Runs the command to its end.
    pub fn output(self) -> Outcome<Output> {
        self.spawn()?.wait()
    }

    /// Runs the command to its end, which must be this exit code.
    pub fn exits(self, code: i32) -> Outcome<Output> {
        self.output()?.exits(code)
    }

    /// Runs the command to its end, which must be exit code 0.
    pub fn ok(self) -> Outcome<Output> {
        self.output()?.ok()
    }
}

/// A command that runs.
pub struct Spawned {
    child: Child,
    shown: String,
    out: PathBuf,
    err: PathBuf,
    deadline: Duration,
    quiet: bool,
}

impl Spawned {
    /// The process's id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }
    /// Whether it has ended.
    pub fn ended(&mut self) -> Outcome<bool> {
        Ok(self.child.try_wait()?.is_some())
    }
    /// Waits for its end, up to the deadline of the command, after which it is killed and the test fails.
    pub fn wait(mut self) -> Outcome<Output> {
        let begin = Instant::now();
        let mut pause = Duration::from_micros(200);
        let mut reaped = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if begin.elapsed() > stretch(self.deadline) {
                self.child.kill()?;
                self.child.wait()?;
                return Err(Stop::Failed(format!(
                    "`{}` did not end within {:?}; stdout {:?}, stderr {:?}",
                    self.shown,
                    self.deadline,
                    read_lossy(&self.out),
                    read_lossy(&self.err)
                )));
            }
            if reaped.elapsed() > Duration::from_millis(50) {
                reap_adopted();
                reaped = Instant::now();
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        };
        let output = Output {
            command: self.shown.clone(),
            status,
            stdout: read_lossy(&self.out),
            stderr: read_lossy(&self.err),
            out_file: self.out.clone(),
        };
        if !self.quiet {
            output.log();
        }
        Ok(output)
    }
}

/// Children that this process started and will wait for by itself.
static STARTED: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Collects what containers left to this process, as conmon and the shims do: a pid namespace does not end before
/// the last of its processes was collected.
fn reap_adopted() {
    let Ok(started) = STARTED.lock() else { return };
    let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    for pid in children
        .split_whitespace()
        .filter_map(|pid| pid.parse::<u32>().ok())
    {
        if !started.contains(&pid) {
            // It may still run, which is fine.
            let _ = waitpid(Pid::from_raw(pid as i32), Some(WaitPidFlag::WNOHANG));
        }
    }
}

fn read_lossy(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// What a command left.
#[derive(Debug, Clone)]
pub struct Output {
    command: String,
    status: ExitStatus,
    /// Standard output, when the command ended.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    out_file: PathBuf,
}

impl Output {
    /// The exit code; 128 + n after signal n, as a shell says it.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }
    /// The signal that ended the command itself.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
    /// Both streams, as callers that read them together see them.
    pub fn combined(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
    /// What is on the command's standard output by now: a container that inherited it may have added to it.
    pub fn stdout_now(&self) -> String {
        read_lossy(&self.out_file)
    }
    /// Fails the test unless the exit code is 0.
    pub fn ok(self) -> Outcome<Output> {
        self.exits(0)
    }
    /// Fails the test unless the exit code is this one.
    pub fn exits(self, code: i32) -> Outcome<Output> {
        if self.code() != code {
            return Err(Stop::Failed(format!(
                "`{}` ended with {}, want {code}; stdout {:?}, stderr {:?}",
                self.command,
                self.code(),
                self.stdout,
                self.stderr
            )));
        }
        Ok(self)
    }
    /// Fails the test unless the command failed.
    pub fn fails(self) -> Outcome<Output> {
        if self.code() == 0 {
            return Err(Stop::Failed(format!(
                "`{}` succeeded, should fail; stdout {:?}",
                self.command, self.stdout
            )));
        }
        Ok(self)
    }
    /// Fails the test when the command wrote anything to standard error.
    pub fn silent(self) -> Outcome<Output> {
        if !self.stderr.is_empty() {
            return Err(Stop::Failed(format!(
                "`{}` wrote to stderr: {:?}",
                self.command, self.stderr
            )));
        }
        Ok(self)
    }
    /// Standard output as JSON.
    pub fn json(&self) -> Outcome<Value> {
        serde_json::from_str(&self.stdout).map_err(|error| {
            Stop::Failed(format!(
                "`{}`: stdout is not JSON: {error}; stdout {:?}, stderr {:?}",
                self.command, self.stdout, self.stderr
            ))
        })
    }
    fn log(&self) {
        eprintln!("$ {}\n  -> {}", self.command, self.code());
        for (stream, text) in [("out", &self.stdout), ("err", &self.stderr)] {
            for line in text.lines().take(40) {
                eprintln!("  {stream}| {}", shorten(line));
            }
        }
    }
}

fn shorten(line: &str) -> String {
    if line.chars().count() <= 2000 {
        return line.to_string();
    }
    line.chars().take(2000).chain("...".chars()).collect()
}

/// A program as messages show it: where it is can be seen in the first line of the table.
fn program_name(program: &OsStr) -> String {
    let name = Path::new(program).file_name().unwrap_or(program);
    name.to_string_lossy().into_owned()
}
