//! The only door to unsafe: system calls that nix does not wrap.

#[cfg(all(entry, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod entry;

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;

/// The descriptor of this number, whether it is open or not: for asking the kernel just that.
pub fn borrow(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the number comes from a range that starts at 3, so it is not -1; system calls on a number that is
    // not open fail with EBADF.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Takes over a descriptor that a message delivered.
#[cfg(test)]
pub fn own(number: RawFd) -> OwnedFd {
    // SAFETY: the caller has just received it and holds no other owner.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// A mount of the file or tree at `path` that nobody else can see, see open_tree(2).
pub fn clone_mount(path: &CStr) -> nix::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: `path` is a string that ends in NUL and outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Makes the mount that `mount` is the root of read-only, see mount_setattr(2).
pub fn make_read_only(mount: &OwnedFd) -> nix::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a static string, and the size given is that of the structure pointed to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    Errno::result(result).map(drop)
}

/// An empty file in memory, closed on exec, see memfd_create(2).
pub fn memory_file(name: &CStr) -> nix::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let create = |flags: libc::c_uint| {
        // SAFETY: `name` is a string that ends in NUL and outlives the call.
        Errno::result(unsafe { libc::memfd_create(name.as_ptr(), flags) })
    };
    // Kernels before 6.3 do not know MFD_EXEC, later ones can be configured to insist on it.
    let fd = match create(flags | libc::MFD_EXEC) {
        Err(Errno::EINVAL) => create(flags),
        other => other,
    }?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Replaces this program by the one that `file` is, with the environment as it is. Returns only to say why not.
pub fn execute(file: &OwnedFd, arguments: &[CString]) -> Errno {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(ptr::null());
    // SAFETY: `pointers` and `environ` are arrays of strings that end in NUL, themselves ended by a null pointer;
    // no other thread is there to change the environment meanwhile.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            pointers.as_ptr(),
            environ,
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::last()
}

/// Size of a terminal.
pub fn window_size(terminal: BorrowedFd<'_>) -> nix::Result<libc::winsize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the request writes one winsize, which `size` is.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    Errno::result(result).map(|_| size)
}

/// Changes the size of a terminal; processes on it get SIGWINCH.
pub fn set_window_size(terminal: BorrowedFd<'_>, size: &libc::winsize) -> nix::Result<()> {
    // SAFETY: the request reads one winsize, which `size` points to.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, ptr::from_ref(size)) };
    Errno::result(result).map(drop)
}

/// The other end of the console that `master` is the master of, as it is: without a path that could be another's.
pub fn console_peer(master: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the request takes open flags as a number and touches no memory.
    let fd = Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
