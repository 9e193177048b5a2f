//! The only door to `unsafe` of the payload: system calls that no crate wraps.

use std::mem::MaybeUninit;

use nix::errno::Errno;

/// Any system call with up to six numbers; none of them may be an address.
pub fn syscall(number: i64, args: [i64; 6]) -> Result<i64, Errno> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the tests only pass numbers, with which no call of theirs reads or writes this process's memory.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

/// The description of a key of the kernel's, `type;uid;gid;perm;description`.
pub fn describe_key(key: i64) -> Result<String, Errno> {
    let mut buffer = [0u8; 256];
    // SAFETY: KEYCTL_DESCRIBE (6) writes at most the given length to the buffer.
    let length =
        Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, 6, key, buffer.as_mut_ptr(), buffer.len()) })?;
    let end = (length as usize).saturating_sub(1).min(buffer.len());
    Ok(String::from_utf8_lossy(&buffer[..end]).into_owned())
}

/// Asks prctl(2) for a number.
pub fn prctl(option: i32, argument: u64) -> Result<i32, Errno> {
    // SAFETY: only options that take and return numbers are asked for.
    Errno::result(unsafe { libc::prctl(option, argument, 0, 0, 0) })
}

/// Rows and columns of the terminal behind a descriptor.
pub fn window_size(fd: i32) -> Result<(u16, u16), Errno> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: TIOCGWINSZ fills the structure that the pointer is to.
    Errno::result(unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, size.as_mut_ptr()) })?;
    // SAFETY: all-zero bytes are a valid winsize, and the call filled it.
    let size = unsafe { size.assume_init() };
    Ok((size.ws_row, size.ws_col))
}

/// The flags of output processing of the terminal behind a descriptor.
pub fn output_flags(fd: i32) -> Result<libc::tcflag_t, Errno> {
    let mut modes = MaybeUninit::<libc::termios>::zeroed();
    // SAFETY: tcgetattr fills the structure that the pointer is to.
    Errno::result(unsafe { libc::tcgetattr(fd, modes.as_mut_ptr()) })?;
    // SAFETY: all-zero bytes are a valid termios, and the call filled it.
    Ok(unsafe { modes.assume_init() }.c_oflag)
}

/// Forks; the child sleeps until it is killed.
pub fn fork_sleeper() -> Result<i32, Errno> {
    // SAFETY: the child only calls pause and _exit, which are safe after fork.
    let pid = Errno::result(unsafe { libc::fork() })?;
    if pid == 0 {
        // SAFETY: see above.
        unsafe {
            libc::pause();
            libc::_exit(0);
        }
    }
    Ok(pid)
}

/// Takes and touches this much memory, and says how much it got.
pub fn touch_memory(bytes: usize) -> usize {
    let mut memory: Vec<u8> = Vec::new();
    if memory.try_reserve_exact(bytes).is_err() {
        return 0;
    }
    let mut touched = 0;
    while touched < bytes {
        let step = 4096.min(bytes - touched);
        memory.extend(std::iter::repeat_n(1u8, step));
        touched += step;
    }
    std::hint::black_box(&memory).len()
}
