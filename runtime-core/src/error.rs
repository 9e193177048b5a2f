//! The one error type: what failed, at which step, on what, with which errno, and what would help.

use std::fmt;
use std::path::Path;

/// Result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Stable kinds of failures, for programs that decide by them. Names are never changed, only added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// `config.json`, an option or a resource file says something impossible.
    InvalidConfig,
    /// The bundle has no `config.json`.
    NoConfig,
    /// The id is not a name that a container can have.
    InvalidId,
    /// The id is taken.
    Exists,
    /// No container has this id.
    NotFound,
    /// The container is not in a state that allows this.
    WrongState,
    /// The container has no process any more.
    NotRunning,
    /// The root file system is missing or unusable.
    Rootfs,
    /// The program to run was not found or cannot be executed.
    Executable,
    /// A privilege is missing.
    Privilege,
    /// The kernel or the host lacks something.
    Unsupported,
    /// A cgroup operation failed.
    Cgroup,
    /// The container's init died before it was ready, as when it ran out of memory.
    InitDied,
    /// A hook failed.
    Hook,
    /// A deadline passed.
    Timeout,
    /// The saved state is unreadable.
    State,
    /// A system call failed.
    System,
}

impl Code {
    /// The name that log records carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidConfig => "invalid-config",
            Code::NoConfig => "no-config",
            Code::InvalidId => "invalid-id",
            Code::Exists => "exists",
            Code::NotFound => "not-found",
            Code::WrongState => "wrong-state",
            Code::NotRunning => "not-running",
            Code::Rootfs => "rootfs",
            Code::Executable => "executable",
            Code::Privilege => "privilege",
            Code::Unsupported => "unsupported",
            Code::Cgroup => "cgroup",
            Code::InitDied => "init-died",
            Code::Hook => "hook",
            Code::Timeout => "timeout",
            Code::State => "state",
            Code::System => "system",
        }
    }
}

/// A failure: code, step, operand, errno and hint.
///
/// Its display form is one line, `step operand: reason (hint)`.
///
/// ```
/// use runtime_core::{Code, Error};
/// let error = Error::new(Code::Rootfs, "open rootfs").operand("/bundle/rootfs").errno(libc::ENOENT);
/// assert_eq!(error.to_string(), "open rootfs \"/bundle/rootfs\": no such file or directory");
/// assert_eq!(error.code().as_str(), "rootfs");
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error(Box<Parts>);

#[derive(Clone, PartialEq, Eq)]
struct Parts {
    code: Code,
    step: String,
    operand: Option<String>,
    reason: Option<String>,
    call: Option<&'static str>,
    errno: Option<i32>,
    hint: Option<String>,
}

impl Error {
    /// An error of `code` that happened at `step`, a short phrase like `open exec fifo`.
    pub fn new(code: Code, step: impl Into<String>) -> Error {
        Error(Box::new(Parts {
            code,
            step: step.into(),
            operand: None,
            reason: None,
            call: None,
            errno: None,
            hint: None,
        }))
    }

    /// A system call that failed at `step` with `errno`; the code follows from the errno.
    pub fn sys(step: impl Into<String>, errno: i32) -> Error {
        Error::new(Code::System, step).errno(errno)
    }

    /// Names what the step worked on: a path, an id, a key.
    pub fn operand(mut self, operand: impl AsRef<Path>) -> Error {
        self.0.operand = Some(operand.as_ref().to_string_lossy().into_owned());
        self
    }

    /// Says why in words, where there is no errno.
    pub fn reason(mut self, reason: impl Into<String>) -> Error {
        self.0.reason = Some(reason.into());
        self
    }

    /// Names the system call that failed.
    pub(crate) fn call(mut self, call: &'static str) -> Error {
        self.0.call = Some(call);
        self
    }

    /// Says why by an errno.
    pub fn errno(mut self, errno: i32) -> Error {
        self.0.errno = Some(errno);
        if self.0.code == Code::System && matches!(errno, libc::EPERM | libc::EACCES) {
            self.0.code = Code::Privilege;
        }
        if errno == libc::ENOSYS {
            self.0.code = Code::Unsupported;
            self.0.hint = Some(
                "the kernel is too old or a filter hides the call: Linux 5.14 or newer is needed".into(),
            );
        }
        self
    }

    /// Says what would help.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// Replaces the code, where the caller knows better what the failure means.
    pub fn with_code(mut self, code: Code) -> Error {
        self.0.code = code;
        self
    }

    /// What kind of failure this is.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The step that failed.
    pub fn step(&self) -> &str {
        &self.0.step
    }

    /// What the step worked on.
    pub fn operand_str(&self) -> Option<&str> {
        self.0.operand.as_deref()
    }

    /// The errno, where a system call failed.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.errno
    }

    /// What would help, where that is known.
    pub fn hint_str(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.0;
        f.write_str(&parts.step)?;
        if let Some(operand) = &parts.operand {
            write!(f, " {operand:?}")?;
        }
        if let Some(call) = parts.call {
            write!(f, " ({call})")?;
        }
        if let Some(reason) = &parts.reason {
            write!(f, ": {reason}")?;
        }
        if let Some(errno) = parts.errno {
            write!(
                f,
                ": {}",
                in_a_sentence(nix::errno::Errno::from_raw(errno).desc())
            )?;
        }
        if let Some(hint) = &parts.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// Starts a description in lower case, as programs that search error texts expect it (`no such process`).
fn in_a_sentence(description: &str) -> String {
    let mut letters = description.chars();
    match letters.next() {
        Some(first)
            if letters
                .as_str()
                .starts_with(|second: char| !second.is_ascii_uppercase() && second != '/') =>
        {
            format!("{}{}", first.to_ascii_lowercase(), letters.as_str())
        }
        _ => description.to_owned(),
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {self}", self.code().as_str())
    }
}

/// Adds the step and its operand to the errors of system calls, once, where they are known.
pub(crate) trait At<T> {
    /// Turns the error into one that names `step`.
    fn at(self, step: &str) -> Result<T>;
    /// Turns the error into one that names `step` and its `operand`.
    fn at_path(self, step: &str, operand: impl AsRef<Path>) -> Result<T>;
}

impl<T> At<T> for Result<T, nix::errno::Errno> {
    fn at(self, step: &str) -> Result<T> {
        self.map_err(|errno| Error::sys(step, errno as i32))
    }
    fn at_path(self, step: &str, operand: impl AsRef<Path>) -> Result<T> {
        self.map_err(|errno| Error::sys(step, errno as i32).operand(operand))
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, step: &str) -> Result<T> {
        self.map_err(|error| io(step, &error))
    }
    fn at_path(self, step: &str, operand: impl AsRef<Path>) -> Result<T> {
        self.map_err(|error| io(step, &error).operand(operand))
    }
}

fn io(step: &str, error: &std::io::Error) -> Error {
    match error.raw_os_error() {
        Some(errno) => Error::sys(step, errno),
        None => Error::new(Code::System, step).reason(error.to_string()),
    }
}
