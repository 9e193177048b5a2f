//! The process itself: its namespaces, identity, privileges and signals, and the exec.

use core::ffi::{CStr, c_char};
use core::mem::{size_of, zeroed};

use libc::c_int;

use super::{Call, Fail, check, close, errno, ioctl};

/// Joins namespaces, see setns(2).
pub fn setns(fd: i32, flags: i32) -> Result<(), Fail> {
    // SAFETY: plain numbers.
    unsafe { syscall!(Setns, libc::SYS_setns, fd, flags) }.map(drop)
}

pub(crate) fn unshare(flags: i32) -> Result<(), Fail> {
    // SAFETY: plain number; the process has one thread.
    unsafe { syscall!(Unshare, libc::SYS_unshare, flags) }.map(drop)
}

pub(crate) fn prctl(option: c_int, a: u64, b: u64, c: u64) -> Result<(), Fail> {
    // SAFETY: only options that take numbers are used here.
    unsafe { syscall!(Prctl, libc::SYS_prctl, option, a, b, c, 0u64) }.map(drop)
}

pub(crate) fn setsid() -> Result<(), Fail> {
    // SAFETY: no arguments.
    unsafe { syscall!(Setsid, libc::SYS_setsid) }.map(drop)
}

pub(crate) fn join_session_keyring(name: &CStr) -> Result<(), Fail> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: the name ends with NUL.
    unsafe {
        syscall!(
            Keyctl,
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            name.as_ptr()
        )
    }
    .map(drop)
}

pub(crate) fn sethostname(name: &CStr) -> Result<(), Fail> {
    // SAFETY: the buffer is readable for the length passed.
    unsafe {
        syscall!(
            Sethostname,
            libc::SYS_sethostname,
            name.as_ptr(),
            name.count_bytes()
        )
    }
    .map(drop)
}

pub(crate) fn setdomainname(name: &CStr) -> Result<(), Fail> {
    // SAFETY: the buffer is readable for the length passed.
    unsafe {
        syscall!(
            Setdomainname,
            libc::SYS_setdomainname,
            name.as_ptr(),
            name.count_bytes()
        )
    }
    .map(drop)
}

pub(crate) fn setgroups(groups: &[u32]) -> Result<(), Fail> {
    // SAFETY: the array has the length passed.
    unsafe { syscall!(Setgroups, libc::SYS_setgroups, groups.len(), groups.as_ptr()) }.map(drop)
}

pub(crate) fn setresuid(uid: u32) -> Result<(), Fail> {
    // SAFETY: plain numbers.
    unsafe { syscall!(Setresuid, libc::SYS_setresuid, uid, uid, uid) }.map(drop)
}

pub(crate) fn setresgid(gid: u32) -> Result<(), Fail> {
    // SAFETY: plain numbers.
    unsafe { syscall!(Setresgid, libc::SYS_setresgid, gid, gid, gid) }.map(drop)
}

pub(crate) fn capset(permitted: u64, effective: u64, inheritable: u64) -> Result<(), Fail> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;
    let header = Header {
        version: LINUX_CAPABILITY_VERSION_3,
        pid: 0,
    };
    let half = |shift: u32| Data {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 takes a header and two data elements.
    unsafe { syscall!(Capset, libc::SYS_capset, &header as *const _, data.as_ptr()) }.map(drop)
}

/// Sets a limit of this process.
pub(crate) fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Fail> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    let none = core::ptr::null::<libc::rlimit64>();
    // SAFETY: the structure lives until the call returns, and the old limit is not asked for.
    unsafe { syscall!(Prlimit, libc::SYS_prlimit64, 0, resource, &raw const limit, none) }.map(drop)
}

/// Brings the interface `lo` up. Any socket will do for that, also where there is no IPv4.
pub(crate) fn loopback_up() -> Result<(), Fail> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: plain numbers.
    let socket = unsafe { syscall!(Socket, libc::SYS_socket, libc::AF_UNIX, kind, 0) }? as i32;
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { zeroed() };
    request.ifr_name[0] = b'l' as c_char;
    request.ifr_name[1] = b'o' as c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_LOOPBACK | libc::IFF_RUNNING) as _;
    // SAFETY: the request takes a pointer to an ifreq.
    let result = unsafe { ioctl(socket, libc::SIOCSIFFLAGS, &raw const request as usize) };
    close(socket);
    result.map(drop)
}

/// Forks a sibling; true in the new process. Its pid is written to `pid` before it runs.
pub(crate) fn clone_sibling(flags: u64, pid: u64) -> Result<bool, Fail> {
    // SAFETY: all zeroes is a valid clone_args.
    let mut args: libc::clone_args = unsafe { zeroed() };
    args.flags = flags | (libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID) as u64;
    args.parent_tid = pid;
    // SAFETY: without CLONE_VM the new process has a copy of everything, and a stack of zero means this one.
    unsafe {
        syscall!(
            Clone,
            libc::SYS_clone3,
            &raw mut args,
            size_of::<libc::clone_args>()
        )
    }
    .map(|pid| pid == 0)
}

pub(crate) fn umask(mask: u32) -> Result<(), Fail> {
    // SAFETY: plain number; cannot fail.
    unsafe { libc::syscall(libc::SYS_umask, mask) };
    Ok(())
}

/// Ends the output of lines with a newline alone, which is what those who read a container's console expect.
pub(crate) fn clear_onlcr(terminal: i32) -> Result<(), Fail> {
    /// The words of the kernel's `struct termios`, which is not the C library's: the second has the output flags.
    const OUTPUT_FLAGS: usize = 1;
    let mut words = [0u32; 16];
    // SAFETY: the request fills a structure of 36 bytes on most machines and 44 at most.
    unsafe { ioctl(terminal, libc::TCGETS, words.as_mut_ptr() as usize) }?;
    words[OUTPUT_FLAGS] &= !libc::ONLCR;
    // SAFETY: the request reads the same structure.
    unsafe { ioctl(terminal, libc::TCSETS, words.as_ptr() as usize) }.map(drop)
}

/// Sets `signal` to its default action; numbers that cannot be changed are no error.
pub(crate) fn default_action(signal: i32) {
    const SIGNAL_SET: usize = 8;
    // Room for any architecture's `struct sigaction`, whose zeroes mean `SIG_DFL` without flags.
    let action = [0u64; 8];
    // SAFETY: a zeroed structure of sufficient size, and no old one is asked for.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            action.as_ptr(),
            core::ptr::null::<u64>(),
            SIGNAL_SET,
        )
    };
}

pub(crate) fn empty_signal_mask() -> Result<(), Fail> {
    let mask = 0u64;
    let none = core::ptr::null::<u64>();
    let how = libc::SIG_SETMASK;
    // SAFETY: the mask has the size passed, and no old one is asked for.
    unsafe {
        syscall!(
            Sigprocmask,
            libc::SYS_rt_sigprocmask,
            how,
            &mask as *const u64,
            none,
            8usize
        )
    }
    .map(drop)
}

pub(crate) fn personality(domain: u64) -> Result<(), Fail> {
    // SAFETY: plain number.
    unsafe { syscall!(Personality, libc::SYS_personality, domain) }.map(drop)
}

pub(crate) fn ioprio_set(value: i32) -> Result<(), Fail> {
    const IOPRIO_WHO_PROCESS: c_int = 1;
    // SAFETY: plain numbers.
    unsafe { syscall!(IoprioSet, libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) }.map(drop)
}

/// Sets the scheduling policy from the words of a `struct sched_attr`, the first half word being its size.
pub(crate) fn sched_setattr(words: &[u64]) -> Result<(), Fail> {
    // SAFETY: the kernel reads as much as the structure's size field says, which the parent filled in.
    unsafe { syscall!(SchedSetattr, libc::SYS_sched_setattr, 0, words.as_ptr(), 0) }.map(drop)
}

/// Loads a filter; `instructions` are eight bytes each. Returns the listener when the flags ask for one.
pub(crate) fn seccomp(instructions: &[u64], flags: u64) -> Result<i32, Fail> {
    const SECCOMP_SET_MODE_FILTER: c_int = 1;
    let program = libc::sock_fprog {
        len: instructions.len() as u16,
        filter: instructions.as_ptr() as *mut libc::sock_filter,
    };
    // SAFETY: the program points to as many instructions as it says.
    unsafe {
        syscall!(
            Seccomp,
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            flags,
            &program as *const _
        )
    }
    .map(|fd| fd as i32)
}

/// Executes `path`; returns only when that failed.
///
/// # Safety
/// `argv` and `envp` must be NULL-terminated tables of NUL-terminated strings.
pub(crate) unsafe fn execve(
    path: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
) -> Fail {
    // SAFETY: the caller's promise.
    unsafe { libc::syscall(libc::SYS_execve, path, argv, envp) };
    Fail::new(Call::Execve, errno())
}
