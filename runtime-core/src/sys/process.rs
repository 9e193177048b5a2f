//! Making a process that runs a program of steps, and what can be done to it from outside.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use runtime_init::{Page, Program};

use super::fd::owned;

/// A page that this process and its child see, and that a file can hold.
#[derive(Debug)]
pub(crate) struct SharedPage(*mut Page);

// SAFETY: the page has only atomic fields.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    /// Maps a new page, or the first one of `file`, which must be as long.
    pub(crate) fn map(file: Option<BorrowedFd<'_>>) -> Result<SharedPage, Errno> {
        let (flags, fd) = match file {
            Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
            None => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1),
        };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), Page::SIZE, protection, flags, fd, 0) };
        if page == libc::MAP_FAILED {
            Err(Errno::last())
        } else {
            Ok(SharedPage(page.cast()))
        }
    }

    /// The page.
    pub(crate) fn get(&self) -> &Page {
        // SAFETY: mapped for as long as `self` lives, zeroed or written by the same code, and all atomics.
        unsafe { &*self.0 }
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this size, and borrowed no longer.
        unsafe { libc::munmap(self.0.cast(), Page::SIZE) };
    }
}

/// A process that was just made.
pub(crate) struct Cloned {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

/// Makes a copy of this thread in new namespaces and, if asked, a v2 cgroup, which runs `program`.
///
/// All signals are blocked around the clone: a handler of the caller's must not run in the child.
pub(crate) fn clone_init(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    program: &Program<'_>,
    page: &SharedPage,
    socket: i32,
) -> Result<Cloned, Errno> {
    const CLONE_PIDFD: u64 = 0x1000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd = -1i32;
    // SAFETY: all zeroes is a valid clone_args.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | CLONE_PIDFD | if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = cgroup.map_or(0, |cgroup| cgroup.as_raw_fd() as u64);
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    // SAFETY: without CLONE_VM the child has its own copy of everything, and a stack of zero means this one.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    if pid == 0 {
        // SAFETY: this is the fresh child, with one thread, and the parent made the program for it.
        unsafe { runtime_init::run(program, page.0, socket) }
    }
    let result = Errno::result(pid);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    Ok(Cloned {
        pid: result? as i32,
        pidfd: owned(pidfd),
    })
}

/// Lets children that this thread makes be born in another pid namespace.
pub(crate) fn join_pid_namespace(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes integers, and changes this thread only.
    Errno::result(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWPID) }).map(drop)
}

/// Sets a limit of another process, see prlimit(2).
pub(crate) fn prlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    let none = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: the structure lives until the call returns, and the old limit is not asked for.
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const limit, none) };
    Errno::result(result).map(drop)
}

/// Soft and hard limit of this process.
pub(crate) fn getrlimit(resource: u32) -> Result<(u64, u64), Errno> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let none = std::ptr::null::<libc::rlimit64>();
    // SAFETY: the structure is writable until the call returns, and no new limit is given.
    Errno::result(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, none, &raw mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Lets `command` run in the namespaces `flags` of the process of `pidfd`.
pub(crate) fn in_namespaces(command: &mut Command, pidfd: OwnedFd, flags: i32) {
    let join = move || {
        // SAFETY: takes integers.
        Errno::result(unsafe { libc::setns(pidfd.as_fd().as_raw_fd(), flags) })?;
        Ok(())
    };
    // SAFETY: the closure makes one system call, and neither allocates nor locks.
    unsafe { command.pre_exec(join) };
}
