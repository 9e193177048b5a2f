//! The only door to `unsafe` of the harness.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on Ctrl-C and SIGTERM are noted, so that everything can be cleaned up.
pub fn catch_interrupts() -> io::Result<()> {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler stores to an atomic and does nothing else.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// Whether Ctrl-C or SIGTERM came.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Gives the command `fd` as its descriptor 3.
pub fn pass_as_third(command: &mut Command, fd: OwnedFd) {
    let hook = move || {
        // SAFETY: dup2 on a descriptor that the closure owns; no memory is involved. The copy survives exec.
        if unsafe { libc::dup2(fd.as_raw_fd(), 3) } < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    // SAFETY: the hook makes one system call that is safe between fork and exec.
    unsafe { command.pre_exec(hook) };
}

/// The command stops at its exec, for its parent to trace.
pub fn trace_from_exec(command: &mut Command) {
    let hook = || nix::sys::ptrace::traceme().map_err(io::Error::from);
    // SAFETY: the hook makes one system call that is safe between fork and exec.
    unsafe { command.pre_exec(hook) };
}

/// Orphans of the runtimes become children of this process, as they do under containerd's shim.
pub fn adopt_orphans() -> io::Result<()> {
    // SAFETY: takes numbers only.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
