//! The lock of a state directory: whoever changes a container holds it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{fstat, major, minor};

use crate::error::{At, Code, Error, Result};

/// The lock, until it is dropped.
///
/// It is released by name, not only by closing: a process that was cloned meanwhile has the descriptor as well, and
/// would otherwise keep the container locked.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: Flock<OwnedFd>,
}

/// Locks the directory `fd`, waiting for `limit` at most; `path` is its name for the error.
pub(super) fn lock(fd: BorrowedFd<'_>, path: &Path, limit: Duration) -> Result<Lock> {
    let started = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(lock) = try_lock(fd, path)? {
            return Ok(lock);
        }
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            let holder =
                holder(fd).map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            return Err(Error::new(Code::Timeout, "lock container")
                .operand(path)
                .reason(format!(
                    "{holder} has been working on it for {:.1} s",
                    started.elapsed().as_secs_f32()
                )));
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Locks the directory `fd` if nobody has.
pub(super) fn try_lock(fd: BorrowedFd<'_>, path: &Path) -> Result<Option<Lock>> {
    let mut copy = fd.try_clone_to_owned().at_path("lock container", path)?;
    loop {
        match Flock::lock(copy, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(Some(Lock { _held: held })),
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((same, Errno::EINTR)) => copy = same,
            Err((_, errno)) => return Err(Error::sys("lock container", errno as i32).operand(path)),
        }
    }
}

/// Who has the lock, from /proc/locks; only asked for when an error needs it.
fn holder(fd: BorrowedFd<'_>) -> Option<i32> {
    let status = fstat(fd.as_fd()).ok()?;
    let file = format!(
        "{:02x}:{:02x}:{}",
        major(status.st_dev),
        minor(status.st_dev),
        status.st_ino
    );
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let is_flock = fields.next()? == "FLOCK";
        let pid = fields.nth(2)?.parse().ok()?;
        (is_flock && fields.next()? == file && pid > 0).then_some(pid)
    })
}
