//! Who a process is beyond its pid, which may be somebody else's tomorrow.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{At, Code, Error, Result};
use crate::sys::handle::{FileHandle, MAX_HANDLE, handle_of, open_handle};
use crate::sys::{kernel_file, pidfd};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A process as it can be saved: found again later it is that very process, or nothing.
///
/// From Linux 6.14 on a pidfd has a file handle, which names one process for as long as the host is up. Before,
/// the pid together with the time of the start says the same. Both only count within one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    pid: i32,
    boot: String,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write",
        deserialize_with = "read"
    )]
    handle: Option<FileHandle>,
    /// Ticks between the boot and the start, where there is no handle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<u64>,
}

impl ProcessIdentity {
    /// The process `pid`, which `pidfd` refers to.
    pub(crate) fn of(pid: i32, pidfd: BorrowedFd<'_>) -> Result<ProcessIdentity> {
        // A host may hand out handles and yet refuse to open them (a seccomp filter around us, for instance).
        let handle = handle_of(pidfd)
            .ok()
            .filter(|handle| open_handle(pidfd, handle).is_ok());
        let start = match handle {
            Some(_) => None,
            None => Some(start_time(pid)?.ok_or_else(|| {
                Error::new(Code::InitDied, "read start time")
                    .operand(format!("/proc/{pid}/stat"))
                    .errno(libc::ESRCH)
            })?),
        };
        Ok(ProcessIdentity {
            pid,
            boot: boot_id()?.to_owned(),
            handle,
            start,
        })
    }

    /// The pid that it had, as the pid namespace of who saved it saw it.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// A pidfd of the process while it lives; `None` when it has ended, reaped or not, or the host was rebooted.
    pub(crate) fn open(&self) -> Result<Option<OwnedFd>> {
        if self.boot != boot_id()? {
            return Ok(None);
        }
        let pidfd = match (&self.handle, self.start) {
            (Some(handle), _) => reopen(handle)?,
            (None, Some(start)) => find(self.pid, start)?,
            (None, None) => {
                return Err(Error::new(Code::State, "find process")
                    .operand(self.pid.to_string())
                    .reason("saved without a handle and without a start time"));
            }
        };
        Ok(match pidfd {
            Some(pidfd) if !has_ended(pidfd.as_fd())? => Some(pidfd),
            _ => None,
        })
    }
}

/// Whether the process of `pidfd` has ended; a zombie has.
pub(crate) fn has_ended(pidfd: BorrowedFd<'_>) -> Result<bool> {
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    loop {
        match poll(&mut fds, PollTimeout::ZERO) {
            Err(Errno::EINTR) => {}
            ready => return ready.map(|ready| ready > 0).at("poll pidfd"),
        }
    }
}

fn reopen(handle: &FileHandle) -> Result<Option<OwnedFd>> {
    // Any pidfd leads the kernel to the one file system of pidfds.
    let anchor = pidfd::open(std::process::id() as i32).at("open own pidfd")?;
    match open_handle(anchor.as_fd(), handle) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(Errno::ESTALE | Errno::ESRCH) => Ok(None),
        Err(errno) => Err(Error::sys("open process by its handle", errno as i32)),
    }
}

fn find(pid: i32, start: u64) -> Result<Option<OwnedFd>> {
    let process = match pidfd::open(pid) {
        Ok(process) => process,
        Err(Errno::ESRCH) => return Ok(None),
        Err(errno) => return Err(Error::sys("open process", errno as i32).operand(pid.to_string())),
    };
    // Read after the descriptor was opened: the process that we look for is older than it, so if it has the pid
    // now, it had it then.
    Ok((start_time(pid)? == Some(start)).then_some(process))
}

/// Field 22 of `/proc/<pid>/stat`; `None` when there is no such process.
fn start_time(pid: i32) -> Result<Option<u64>> {
    let path = format!("/proc/{pid}/stat");
    match std::fs::read(&path) {
        Ok(line) => match parse_start(&line) {
            Some(start) => Ok(Some(start)),
            None => Err(Error::new(Code::System, "read start time")
                .operand(path)
                .reason("unexpected format")),
        },
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(error) => Err(error).at_path("read start time", path),
    }
}

fn parse_start(line: &[u8]) -> Option<u64> {
    // The second field is the program's name in parentheses, which may itself hold blanks and parentheses.
    let name_end = line.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&line[name_end + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn boot_id() -> Result<&'static str> {
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id);
    }
    let id = kernel_file::text(Path::new(BOOT_ID)).at_path("read boot id", BOOT_ID)?;
    Ok(ID.get_or_init(|| id.trim_end().to_owned()))
}

/// `kind:bytes`, the bytes in hexadecimal.
fn write<S: Serializer>(handle: &Option<FileHandle>, to: S) -> Result<S::Ok, S::Error> {
    use std::fmt::Write;
    let Some(handle) = handle else {
        return to.serialize_none();
    };
    let mut text = format!("{}:", handle.kind);
    for byte in &handle.bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    to.serialize_str(&text)
}

fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<FileHandle>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    parse_handle(&text)
        .map(Some)
        .ok_or_else(|| de::Error::custom("not a file handle"))
}

fn parse_handle(text: &str) -> Option<FileHandle> {
    let (kind, hex) = text.split_once(':')?;
    if hex.len() % 2 != 0 || hex.len() > 2 * MAX_HANDLE || !hex.bytes().all(|digit| digit.is_ascii_hexdigit())
    {
        return None;
    }
    let bytes = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok());
    Some(FileHandle {
        kind: kind.parse().ok()?,
        bytes: bytes.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests;
