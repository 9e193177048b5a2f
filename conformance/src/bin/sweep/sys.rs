//! The only door to `unsafe` of the sweep: asking to be traced between fork and exec.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes the command a tracee of this process: it stops at its exec.
pub fn trace_me(command: &mut Command) {
    let hook = || nix::sys::ptrace::traceme().map_err(std::io::Error::from);
    // SAFETY: the hook makes one system call and does not allocate, so it is fine between fork and exec.
    unsafe { command.pre_exec(hook) };
}

/// The number of the system call that a stop is the entry of.
pub fn entered(info: &libc::ptrace_syscall_info) -> Option<u64> {
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: `op` says that the kernel filled this member of the union.
    Some(unsafe { info.u.entry.nr })
}
