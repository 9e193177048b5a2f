//! Making a process that runs a program of steps, and what can be done to it from outside.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
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
    pub(crate) inherited: Inherited,
}

/// Makes a copy of this thread in new namespaces and, if asked, a v2 cgroup, which runs `program`.
///
/// All signals are blocked around the clone: a handler of the caller's must not run in the child.
pub(crate) fn clone_init(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    births: Option<&Births<'_>>,
    program: &Program<'_>,
    page: &SharedPage,
    socket: i32,
) -> Result<Cloned, CloneError> {
    const CLONE_PIDFD: u64 = 0x1000;
    const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    // What handles a signal does so no more in the child. What ignores one goes on there until the child ends that.
    let inherited = Inherited::read();
    let program = &Program {
        ignored: inherited.ignored,
        ..*program
    };
    let mut pidfd = -1i32;
    // SAFETY: all zeroes is a valid clone_args.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    let into = if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    args.flags = flags | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | into;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = cgroup.map_or(0, |cgroup| cgroup.as_raw_fd() as u64);
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))
        .map_err(CloneError::Clone)?;
    let entered = births.map_or(Ok(()), |births| join_pid_namespace(births.there));
    let cloned = entered.map_err(CloneError::Join).and_then(|()| {
        // SAFETY: without CLONE_VM the child has its own copy of everything, and a stack of zero means this one.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
        if pid == 0 {
            // SAFETY: this is the fresh child, with one thread, and the parent made the program for it.
            unsafe { runtime_init::run(program, page.0, socket) }
        }
        Errno::result(pid).map_err(CloneError::Clone)
    });
    let left = match (entered, births) {
        (Ok(()), Some(births)) => join_pid_namespace(births.here.as_fd()),
        _ => Ok(()),
    };
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None).map_err(CloneError::Clone)?;
    let cloned = Cloned {
        pid: cloned? as i32,
        pidfd: owned(pidfd),
        inherited,
    };
    if let Err(errno) = left {
        let _ = super::pidfd::send_signal(cloned.pidfd.as_fd(), libc::SIGKILL);
        let _ = waitid(Id::PIDFd(cloned.pidfd.as_fd()), WaitPidFlag::WEXITED);
        return Err(CloneError::Join(errno));
    }
    Ok(cloned)
}

/// What stood in the way of a new process.
pub(crate) enum CloneError {
    /// Going to the pid namespace to have it in, or coming back.
    Join(Errno),
    Clone(Errno),
}

/// What children take over from this process, and where it must not be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// The signals that may be ignored, a bit each from 1 on.
    ignored: u64,
    /// The permissions that new files may not get.
    pub(crate) umask: u32,
}

impl Inherited {
    /// Everything, as other threads could change it at any time.
    const UNKNOWN: Inherited = Inherited {
        ignored: u64::MAX,
        umask: 0o777,
    };

    #[inline(never)]
    fn read() -> Inherited {
        let mut status = [0u8; 4096];
        let read = File::open("/proc/self/status").and_then(|mut file| file.read(&mut status));
        let status = str::from_utf8(&status[..read.unwrap_or(0)]).unwrap_or("");
        Inherited::parse(status).unwrap_or(Inherited::UNKNOWN)
    }

    /// From /proc/<pid>/status. `None`: it is not certain.
    fn parse(status: &str) -> Option<Inherited> {
        let field = |name: &str| {
            let mut lines = status.lines().map_while(|line| line.split_once(':'));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
        };
        if field("Threads")? != "1" {
            return None;
        }
        Some(Inherited {
            ignored: u64::from_str_radix(field("SigIgn")?, 16).ok()?,
            umask: u32::from_str_radix(field("Umask")?, 8).ok()?,
        })
    }
}

/// A pid namespace to have a child in, and the way back from there.
pub(crate) struct Births<'a> {
    there: BorrowedFd<'a>,
    here: OwnedFd,
}

impl<'a> Births<'a> {
    /// `None`: this thread could not come back, as from the namespace of a container that a user namespace's root has
    /// in a pid namespace of somebody else.
    pub(crate) fn new(there: BorrowedFd<'a>) -> Option<Births<'a>> {
        let here = OwnedFd::from(File::open("/proc/thread-self/ns/pid_for_children").ok()?);
        join_pid_namespace(here.as_fd()).ok()?;
        Some(Births { there, here })
    }
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

#[cfg(test)]
mod tests {
    use super::Inherited;

    fn status(threads: u32, ignored: &str) -> String {
        format!("Name:\tx\nUmask:\t0027\nThreads:\t{threads}\nSigQ:\t0/1\nSigIgn:\t{ignored}\n")
    }

    #[test]
    fn what_a_single_thread_has_is_certain() {
        let (ignored, umask) = (1 << 63 | 0x1001, 0o027);
        let inherited = Inherited::parse(&status(1, "8000000000001001"));
        assert_eq!(inherited, Some(Inherited { ignored, umask }));
        assert_eq!(Inherited::parse(&status(2, "0000000000001000")), None);
        assert_eq!(Inherited::parse(&status(1, "")), None);
        assert_eq!(Inherited::parse(""), None);
    }
}
