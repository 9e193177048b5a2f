//! The only door to `unsafe` of the bare programs: one function a system call.

pub mod mount;
pub mod process;
pub mod start;

use core::arch::asm;
use core::ffi::{CStr, c_long};

/// A number of the process's descriptor table. Whoever has one may close it; all are close-on-exec.
pub type Fd = i32;

/// What the kernel said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// A system call's outcome.
pub type Result<T> = core::result::Result<T, Errno>;

/// A system call.
///
/// # Safety
/// Whatever the call demands of its arguments: pointers must be valid for what the kernel reads and writes.
unsafe fn call(number: c_long, arguments: [usize; 6]) -> Result<usize> {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the register convention of x86_64; the caller vouches for the arguments.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    if result < 0 {
        Err(Errno(-result as i32))
    } else {
        Ok(result as usize)
    }
}

const fn at(fd: Fd) -> usize {
    fd as isize as usize
}

fn pointer(text: &CStr) -> usize {
    text.as_ptr() as usize
}

/// Ends the process.
pub fn exit(code: i32) -> ! {
    loop {
        // SAFETY: takes a number only, and does not return.
        let _ = unsafe { call(libc::SYS_exit_group, [code as usize, 0, 0, 0, 0, 0]) };
    }
}

/// Sleeps until a signal ends the process.
pub fn pause() -> ! {
    loop {
        // SAFETY: takes no arguments.
        let _ = unsafe { call(libc::SYS_pause, [0; 6]) };
    }
}

/// Opens `path` below `directory`, close-on-exec.
pub fn open(directory: Fd, path: &CStr, flags: i32) -> Result<Fd> {
    let flags = (flags | libc::O_CLOEXEC) as usize;
    // SAFETY: the path is NUL-terminated and only read.
    unsafe {
        call(
            libc::SYS_openat,
            [at(directory), pointer(path), flags, 0o600, 0, 0],
        )
    }
    .map(|fd| fd as Fd)
}

/// Gives the number back.
pub fn close(fd: Fd) {
    // SAFETY: takes a number only. An error leaves nothing to do.
    let _ = unsafe { call(libc::SYS_close, [at(fd), 0, 0, 0, 0, 0]) };
}

/// Marks all descriptors from `first` on close-on-exec, in a table of our own.
pub fn close_from_on_exec(first: Fd) -> Result<()> {
    let flags = (libc::CLOSE_RANGE_UNSHARE | libc::CLOSE_RANGE_CLOEXEC) as usize;
    // SAFETY: takes numbers only.
    unsafe {
        call(
            libc::SYS_close_range,
            [at(first), u32::MAX as usize, flags, 0, 0, 0],
        )
    }
    .map(drop)
}

/// Writes all of `bytes` in one call, as the files of control groups want it.
pub fn write(fd: Fd, bytes: &[u8]) -> Result<()> {
    // SAFETY: the bytes are only read.
    unsafe {
        call(
            libc::SYS_write,
            [at(fd), bytes.as_ptr() as usize, bytes.len(), 0, 0, 0],
        )
    }
    .map(drop)
}

/// Reads what one call gives.
pub fn read(fd: Fd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most the buffer's length.
    unsafe {
        call(
            libc::SYS_read,
            [at(fd), buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0],
        )
    }
}

/// Makes a directory.
pub fn mkdir(directory: Fd, path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: the path is NUL-terminated and only read.
    unsafe {
        call(
            libc::SYS_mkdirat,
            [at(directory), pointer(path), mode as usize, 0, 0, 0],
        )
    }
    .map(drop)
}

/// Removes a directory.
pub fn rmdir(path: &CStr) -> Result<()> {
    let flags = libc::AT_REMOVEDIR as usize;
    // SAFETY: the path is NUL-terminated and only read.
    unsafe {
        call(
            libc::SYS_unlinkat,
            [at(libc::AT_FDCWD), pointer(path), flags, 0, 0, 0],
        )
    }
    .map(drop)
}

/// Removes a file.
pub fn unlink(path: &CStr) -> Result<()> {
    // SAFETY: the path is NUL-terminated and only read.
    unsafe {
        call(
            libc::SYS_unlinkat,
            [at(libc::AT_FDCWD), pointer(path), 0, 0, 0, 0],
        )
    }
    .map(drop)
}

/// Makes a device node or a fifo.
pub fn mknod(directory: Fd, path: &CStr, mode: u32, device: u32) -> Result<()> {
    let arguments = [at(directory), pointer(path), mode as usize, device as usize, 0, 0];
    // SAFETY: the path is NUL-terminated and only read.
    unsafe { call(libc::SYS_mknodat, arguments) }.map(drop)
}

/// Makes a symbolic link.
pub fn symlink(target: &CStr, directory: Fd, path: &CStr) -> Result<()> {
    let arguments = [pointer(target), at(directory), pointer(path), 0, 0, 0];
    // SAFETY: both paths are NUL-terminated and only read.
    unsafe { call(libc::SYS_symlinkat, arguments) }.map(drop)
}

/// Whether the descriptor is of a directory.
pub fn is_directory(fd: Fd) -> Result<bool> {
    let mut status = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel fills exactly this structure.
    unsafe {
        call(
            libc::SYS_fstat,
            [at(fd), status.as_mut_ptr() as usize, 0, 0, 0, 0],
        )
    }?;
    // SAFETY: zeroed before, filled now; any bits are valid.
    let mode = unsafe { status.assume_init() }.st_mode;
    Ok(mode & libc::S_IFMT == libc::S_IFDIR)
}

/// The working directory becomes that of the descriptor.
pub fn fchdir(fd: Fd) -> Result<()> {
    // SAFETY: takes a number only.
    unsafe { call(libc::SYS_fchdir, [at(fd), 0, 0, 0, 0, 0]) }.map(drop)
}

/// The working directory becomes `path`.
pub fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: the path is NUL-terminated and only read.
    unsafe { call(libc::SYS_chdir, [pointer(path), 0, 0, 0, 0, 0]) }.map(drop)
}

/// The modes of what is made are as they are asked for.
pub fn clear_umask() {
    // SAFETY: takes a number only, and always succeeds.
    let _ = unsafe { call(libc::SYS_umask, [0; 6]) };
}

/// The `bpf` system call.
pub fn bpf<T>(command: u32, attributes: &T) -> Result<Fd> {
    let arguments = [
        command as usize,
        attributes as *const T as usize,
        size_of::<T>(),
        0,
        0,
        0,
    ];
    // SAFETY: the attributes are only read by the two commands that are used, and what they point to is static.
    unsafe { call(libc::SYS_bpf, arguments) }.map(|fd| fd as Fd)
}

/// Waits until one of the descriptors can be read, and says which.
pub fn first_readable(descriptors: [Fd; 2]) -> Result<usize> {
    let mut polled = descriptors.map(|fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    });
    // SAFETY: the kernel writes within the two entries; no time-out is given.
    unsafe {
        call(
            libc::SYS_poll,
            [polled.as_mut_ptr() as usize, 2, usize::MAX, 0, 0, 0],
        )
    }?;
    Ok(usize::from(polled[0].revents == 0))
}

/// A counter that wakes its reader.
pub fn eventfd() -> Result<Fd> {
    // SAFETY: takes numbers only.
    unsafe { call(libc::SYS_eventfd2, [0, libc::EFD_CLOEXEC as usize, 0, 0, 0, 0]) }.map(|fd| fd as Fd)
}
