//! ptrace(2), as far as filters need it.

use std::io::{Error, Result};
use std::ptr::null_mut;

use runtime_core::seccomp::Instruction;

const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;

/// The filter that a process loaded last.
pub fn filter(pid: i32) -> Result<Vec<Instruction>> {
    // SAFETY: neither request reads or writes memory of this process.
    check(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) })?;
    // SAFETY: as above.
    check(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0) })?;
    // SAFETY: the status is of no interest, and null says so.
    check(unsafe { libc::waitpid(pid, null_mut(), libc::__WALL) }.into())?;
    let filter = read(pid);
    // SAFETY: as the first.
    check(unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0) })?;
    filter
}

fn read(pid: i32) -> Result<Vec<Instruction>> {
    let none: *mut Instruction = null_mut();
    // SAFETY: without a buffer the kernel only counts.
    let count = check(unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0usize, none) })?;
    let mut filter = vec![
        Instruction {
            code: 0,
            jt: 0,
            jf: 0,
            k: 0
        };
        count as usize
    ];
    // SAFETY: the kernel writes as many instructions as it counted, of a filter that never changes; the vector
    // holds them, and any bytes make an `Instruction`.
    check(unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0usize, filter.as_mut_ptr()) })?;
    Ok(filter)
}

fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(result)
    }
}
