//! Descriptors of processes.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// A descriptor of the process `pid`, close-on-exec as all of them.
pub(crate) fn open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = Errno::result(fd)? as i32;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to the process, which no other one can get in its stead.
pub(crate) fn send_signal(process: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: takes integers, and a pointer that may be null.
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, none, 0) };
    Errno::result(done).map(drop)
}

/// Whether the process has ended, waiting for that for `limit` at most (`None`: for as long as it takes). May come
/// back early.
pub(crate) fn ended(process: BorrowedFd<'_>, limit: Option<std::time::Duration>) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let timeout = match limit {
        None => PollTimeout::NONE,
        // Rounded up: a wait of no time at all would spin.
        Some(limit) => PollTimeout::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX),
    };
    matches!(
        poll(&mut [PollFd::new(process, PollFlags::POLLIN)], timeout),
        Ok(1)
    )
}

/// Registers a pidfd with the executor of the moment: it becomes readable once the process has ended.
#[cfg(feature = "tokio")]
pub(crate) fn registered(process: OwnedFd) -> std::io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: the registration owns the descriptor, which stays open and the same for as long.
    unsafe { tokio::io::unix::AsyncFd::register_with_interest(process, tokio::io::Interest::READABLE) }
        .map_err(std::io::Error::from)
}
