//! Processes, namespaces, privileges.

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicU32, Ordering};

use super::{Errno, Fd, Result, at, call, pointer};

/// `clone3` alone: the new process's signal handlers are reset (ignored signals stay ignored).
pub const CLEAR_SIGHAND: u64 = 1 << 32;
/// `clone3` alone: the new process starts in a given cgroup.
const INTO_CGROUP: u64 = 1 << 33;

/// The two sides of a clone.
pub enum Side {
    /// In the new process.
    Child,
    /// In the old one, with the new one's number and descriptor.
    Parent(i32, Fd),
}

/// `clone3` of a process that shares no memory; `cgroup` is the v2 group that it starts in.
pub fn clone(flags: u64, cgroup: Option<Fd>) -> Result<Side> {
    let mut pidfd: Fd = -1;
    // SAFETY: all zero bits are a valid value of the structure.
    let mut request: libc::clone_args = unsafe { core::mem::zeroed() };
    request.flags = flags | libc::CLONE_PIDFD as u64;
    request.pidfd = &mut pidfd as *mut Fd as u64;
    request.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        request.flags |= INTO_CGROUP;
        request.cgroup = cgroup as u64;
    }
    let arguments = [
        &mut request as *mut libc::clone_args as usize,
        size_of::<libc::clone_args>(),
        0,
        0,
        0,
        0,
    ];
    // SAFETY: without CLONE_VM the child runs on a copy of this stack; the kernel writes the pidfd only.
    match unsafe { call(libc::SYS_clone3, arguments) }? {
        0 => Ok(Side::Child),
        // SAFETY: the kernel has written the number through the pointer that it was given.
        pid => Ok(Side::Parent(pid as i32, unsafe {
            (&raw const pidfd).read_volatile()
        })),
    }
}

/// New namespaces for this process.
pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: takes a number only.
    unsafe { call(libc::SYS_unshare, [flags as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// Joins namespaces of the process that `pidfd` stands for.
pub fn setns(pidfd: Fd, flags: i32) -> Result<()> {
    // SAFETY: takes numbers only.
    unsafe { call(libc::SYS_setns, [at(pidfd), flags as usize, 0, 0, 0, 0]) }.map(drop)
}

/// A descriptor of the process.
pub fn pidfd_open(pid: i32) -> Result<Fd> {
    // SAFETY: takes numbers only.
    unsafe { call(libc::SYS_pidfd_open, [pid as usize, 0, 0, 0, 0, 0]) }.map(|fd| fd as Fd)
}

/// Sends SIGKILL.
pub fn kill(pidfd: Fd) -> Result<()> {
    // SAFETY: takes numbers only; no signal information is given.
    unsafe {
        call(
            libc::SYS_pidfd_send_signal,
            [at(pidfd), libc::SIGKILL as usize, 0, 0, 0, 0],
        )
    }
    .map(drop)
}

/// Waits for the child and gives its exit code, or 128 and the signal.
pub fn wait(pidfd: Fd) -> Result<i32> {
    // SAFETY: all zero bits are a valid value of the structure.
    let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
    let place = &mut info as *mut libc::siginfo_t as usize;
    let arguments = [
        libc::P_PIDFD as usize,
        at(pidfd),
        place,
        libc::WEXITED as usize,
        0,
        0,
    ];
    // SAFETY: the kernel fills exactly this structure.
    unsafe { call(libc::SYS_waitid, arguments) }?;
    // SAFETY: waitid has filled the part of the union that belongs to SIGCHLD.
    let status = unsafe { info.si_status() };
    Ok(if info.si_code == libc::CLD_EXITED {
        status
    } else {
        128 + status
    })
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// The exit code, or 128 and the signal.
    pub code: i32,
    /// The largest resident set, in KiB.
    pub peak_kib: u64,
    /// Time in user mode, in µs.
    pub user_us: u64,
    /// Time in the kernel, in µs.
    pub system_us: u64,
}

/// Waits for the child `pid` and tells what it has used, its own children included.
pub fn wait_with_usage(pid: i32) -> Result<Usage> {
    let mut status = 0i32;
    // SAFETY: all zero bits are a valid value of the structure.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    let arguments = [
        at(pid),
        &mut status as *mut i32 as usize,
        0,
        &mut usage as *mut libc::rusage as usize,
        0,
        0,
    ];
    // SAFETY: the kernel fills exactly the two places.
    unsafe { call(libc::SYS_wait4, arguments) }?;
    let signal = status & 0x7f;
    let microseconds = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    Ok(Usage {
        code: if signal == 0 {
            (status >> 8) & 0xff
        } else {
            128 + signal
        },
        peak_kib: usage.ru_maxrss as u64,
        user_us: microseconds(usage.ru_utime),
        system_us: microseconds(usage.ru_stime),
    })
}

/// Becomes the program `path`.
pub fn execute(path: &CStr, arguments: &[&CStr], environment: &[&CStr]) -> Errno {
    const MAX: usize = 40;
    let mut lists = [[core::ptr::null::<c_char>(); MAX]; 2];
    for (list, strings) in lists.iter_mut().zip([arguments, environment]) {
        for (slot, string) in list.iter_mut().take(MAX - 1).zip(strings) {
            *slot = string.as_ptr();
        }
    }
    let [argv, envp] = lists.each_ref().map(|list| list.as_ptr() as usize);
    // SAFETY: both lists end with a null pointer and hold NUL-terminated strings.
    match unsafe { call(libc::SYS_execve, [pointer(path), argv, envp, 0, 0, 0]) } {
        Err(errno) => errno,
        Ok(_) => Errno(0),
    }
}

/// The name of the host in this namespace.
pub fn set_hostname(name: &CStr) -> Result<()> {
    // SAFETY: the length is that of the string.
    unsafe {
        call(
            libc::SYS_sethostname,
            [pointer(name), name.to_bytes().len(), 0, 0, 0, 0],
        )
    }
    .map(drop)
}

/// Sets both values of a resource limit.
pub fn set_limit(resource: u32, value: u64) -> Result<()> {
    let limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    let arguments = [
        0,
        resource as usize,
        &limit as *const libc::rlimit as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the structure is only read; the old value is not asked for.
    unsafe { call(libc::SYS_prlimit64, arguments) }.map(drop)
}

fn prctl(option: i32, argument: usize) -> Result<()> {
    // SAFETY: only options that take numbers are used.
    unsafe { call(libc::SYS_prctl, [option as usize, argument, 0, 0, 0, 0]) }.map(drop)
}

/// Dies with its parent.
pub fn die_with_parent() -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as usize)
}

/// No privileges are gained by `execve` any more.
pub fn forbid_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Keeps only the capabilities of `mask`: in the bounding, permitted, effective, inheritable and ambient sets.
pub fn keep_capabilities(mask: u64, last: u32) -> Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    for capability in (0..=last).filter(|capability| mask & (1 << capability) == 0) {
        prctl(libc::PR_CAPBSET_DROP, capability as usize)?;
    }
    let header = [VERSION_3, 0];
    let (low, high) = (mask as u32, (mask >> 32) as u32);
    let sets = [low, low, low, high, high, high];
    let arguments = [header.as_ptr() as usize, sets.as_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: the version announces two structures of three words each, which is what stands there.
    unsafe { call(libc::SYS_capset, arguments) }?;
    for capability in (0..=last).filter(|capability| mask & (1 << capability) != 0) {
        let raise = [
            libc::PR_CAP_AMBIENT as usize,
            libc::PR_CAP_AMBIENT_RAISE as usize,
            capability as usize,
            0,
            0,
            0,
        ];
        // SAFETY: takes numbers only.
        unsafe { call(libc::SYS_prctl, raise) }?;
    }
    Ok(())
}

/// Memory of its own kind, shared with all processes that are cloned from now on. Zeroed, never freed.
///
/// # Safety
/// All zero bits must be a valid `T`, and `T` must bear being changed by another process (atomics do).
pub unsafe fn shared<T: Sync>() -> Result<&'static T> {
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_SHARED | libc::MAP_ANONYMOUS) as usize;
    // SAFETY: a new mapping at a place of the kernel's choice.
    let place = unsafe { call(libc::SYS_mmap, [0, size_of::<T>(), protection, flags, at(-1), 0]) }?;
    // SAFETY: page-aligned, large enough, zeroed; the caller vouches for the type.
    Ok(unsafe { &*(place as *const T) })
}

/// Sets the word and wakes whoever waits for it.
pub fn post(word: &AtomicU32) {
    word.store(1, Ordering::Release);
    let place = word as *const AtomicU32 as usize;
    // SAFETY: the word outlives the call. Failing to wake cannot happen to a mapped word.
    let _ = unsafe { call(libc::SYS_futex, [place, libc::FUTEX_WAKE as usize, 1, 0, 0, 0]) };
}

/// Waits until the word is set.
pub fn await_word(word: &AtomicU32) {
    let place = word as *const AtomicU32 as usize;
    while word.load(Ordering::Acquire) == 0 {
        // SAFETY: the word outlives the call; the kernel compares and sleeps. All errors mean: look again.
        let _ = unsafe { call(libc::SYS_futex, [place, libc::FUTEX_WAIT as usize, 0, 0, 0, 0]) };
    }
}
