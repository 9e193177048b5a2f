//! The only door to `unsafe` of the suite: what must happen between fork and exec of a command.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Gives the command `fds` at the numbers that stand beside them.
///
/// The descriptors must stay open until the command was spawned, so the closure owns them.
pub fn pass_fds(command: &mut Command, fds: Vec<(OwnedFd, RawFd)>) {
    let hook = move || {
        // First out of the way of every target number, then into place: sources and targets may overlap.
        let mut moved = [(-1, -1); 32];
        for (slot, (fd, target)) in moved.iter_mut().zip(&fds) {
            // SAFETY: fcntl on a descriptor that the closure owns; no memory is involved.
            let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 200) };
            if copy < 0 {
                return Err(std::io::Error::last_os_error());
            }
            *slot = (copy, *target);
        }
        for (copy, target) in moved.iter().take(fds.len()) {
            // SAFETY: dup2 on descriptor numbers; no memory is involved.
            if unsafe { libc::dup2(*copy, *target) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the hook only makes system calls that are safe between fork and exec; it does not allocate.
    unsafe { command.pre_exec(hook) };
}

/// Ignores and blocks the given signals in the command, so that a test sees what is passed on.
pub fn disturb_signals(command: &mut Command, ignored: Vec<i32>, blocked: Vec<i32>) {
    let hook = move || {
        for signal in &ignored {
            // SAFETY: SIG_IGN is a valid disposition and involves no handler code.
            unsafe { libc::signal(*signal, libc::SIG_IGN) };
        }
        // SAFETY: an all-zero sigset_t is valid storage, which sigemptyset initialises.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live local.
        unsafe { libc::sigemptyset(&mut set) };
        for signal in &blocked {
            // SAFETY: the pointer is to a live, initialised local.
            unsafe { libc::sigaddset(&mut set, *signal) };
        }
        // SAFETY: the set is initialised, and the old one is not asked for.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()) };
        Ok(())
    };
    // SAFETY: the hook only makes system calls that are safe between fork and exec; it does not allocate.
    unsafe { command.pre_exec(hook) };
}

/// Makes the command the leader of a new session whose controlling terminal is its standard input.
pub fn own_terminal(command: &mut Command) {
    let hook = || {
        // SAFETY: setsid takes no arguments.
        if unsafe { libc::setsid() } < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: TIOCSCTTY takes an integer argument.
        if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(())
    };
    // SAFETY: the hook only makes system calls that are safe between fork and exec; it does not allocate.
    unsafe { command.pre_exec(hook) };
}

/// Takes system calls away from the command: they fail with ENOSYS, as on a kernel that does not have them.
pub fn without_syscalls(command: &mut Command, numbers: &[i64]) {
    // BPF: load the number; one comparison a number jumps to the refusal at the end.
    let statement = |code: u32, jt: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf: 0,
        k,
    };
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (index, number) in numbers.iter().enumerate() {
        let to_refusal = (numbers.len() - index) as u8;
        program.push(statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            to_refusal,
            *number as u32,
        ));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW));
    program.push(statement(
        libc::BPF_RET | libc::BPF_K,
        0,
        libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
    ));
    let hook = move || {
        let filter = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_ptr().cast_mut(),
        };
        // SAFETY: the filter points to instructions that the closure owns; the kernel copies and does not change them.
        let refused = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) };
        if refused != 0 {
            Err(std::io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    // SAFETY: the hook only makes system calls that are safe between fork and exec; it does not allocate.
    unsafe { command.pre_exec(hook) };
}

/// Takes a capability out of the command's bounding set.
pub fn without_capability(command: &mut Command, number: u32) {
    let hook = move || {
        // SAFETY: the option takes a number.
        match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the hook only makes a system call that is safe between fork and exec; it does not allocate.
    unsafe { command.pre_exec(hook) };
}

/// Takes over a descriptor that the kernel has just given.
pub fn own_fd(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller got the number from the kernel as a new descriptor, which nobody else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Opens a new terminal: master and slave.
pub fn open_terminal(size: &libc::winsize) -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: the pointers are to live locals; no name and no modes are asked for.
    let failed = unsafe {
        libc::openpty(
            &mut master,
            &mut slave,
            std::ptr::null_mut(),
            std::ptr::null(),
            size,
        )
    };
    if failed != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let pair = (own_fd(master), own_fd(slave));
    for fd in [&pair.0, &pair.1] {
        // SAFETY: fcntl on an owned descriptor; no memory is involved.
        if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(pair)
}

/// Sets the size of a terminal.
pub fn resize(terminal: &impl AsRawFd, size: &libc::winsize) -> std::io::Result<()> {
    // SAFETY: TIOCSWINSZ reads the structure that the pointer is to.
    match unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, size) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
