//! Descriptors as numbers: taking them over, asking after them.

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

/// Takes over a descriptor that a system call has just made for this caller.
pub(crate) fn owned(fd: i32) -> OwnedFd {
    // SAFETY: callers pass what a call that makes descriptors returned, once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Whether `fd` is open.
pub(crate) fn is_open(fd: i32) -> Result<(), Errno> {
    // SAFETY: takes integers and changes nothing.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_GETFD) }).map(drop)
}

/// Borrows a descriptor that its owner keeps open meanwhile.
pub(crate) fn borrowed<'a>(fd: i32) -> std::os::fd::BorrowedFd<'a> {
    // SAFETY: callers hold the owner.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
}
