//! seccomp(2), to learn what the kernel offers. Filters are loaded by init.

use nix::errno::Errno;

const SET_MODE_FILTER: u32 = 1;

/// Whether the kernel knows `flags`. Nothing is loaded: the flags are checked before the program, which is
/// nowhere.
pub(crate) fn knows(flags: u32) -> bool {
    let program: *const libc::sock_fprog = std::ptr::null();
    // SAFETY: the kernel reads the program, if it gets there at all, as a copy from user space, and answers
    // EFAULT for a null pointer; no memory of this process is touched.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, program) };
    result == -1 && Errno::last() == Errno::EFAULT
}
