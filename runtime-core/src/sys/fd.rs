//! Descriptors as numbers: taking them over, asking after them.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use nix::errno::Errno;

/// Takes over a descriptor that a system call has just made for this caller.
pub(crate) fn owned(fd: i32) -> OwnedFd {
    // SAFETY: callers pass what a call that makes descriptors returned, once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Closes `fds`, those with numbers in a row by one call.
pub(crate) fn close_all(fds: impl IntoIterator<Item = OwnedFd>) {
    let mut numbers: Vec<i32> = fds.into_iter().map(IntoRawFd::into_raw_fd).collect();
    numbers.sort_unstable();
    for row in numbers.chunk_by(|before, after| before + 1 == *after) {
        let (first, last) = (row[0], row[row.len() - 1]);
        // SAFETY: these were owned, every one of them, and nobody has them any more.
        if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } != 0 {
            row.iter().for_each(|&fd| drop(owned(fd)));
        }
    }
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn exactly_the_given_ones_are_closed() {
        // Numbers far from those that other tests get meanwhile.
        let null = std::fs::File::open("/dev/null").unwrap();
        let dup = |number: i32| {
            let raw = nix::fcntl::fcntl(&null, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(number)).unwrap();
            assert_eq!(raw, number);
            owned(raw)
        };
        let mut fds: Vec<OwnedFd> = (700..706).map(dup).collect();
        let kept = fds.remove(2);
        fds.swap(0, 3);
        close_all(fds);
        let open: Vec<i32> = (700..706).filter(|&fd| is_open(fd).is_ok()).collect();
        assert_eq!(open, [kept.as_raw_fd()]);
        close_all([]);
    }
}
