//! System calls, each with the name under which its failure is reported.

use core::ffi::CStr;
use core::mem::{size_of, zeroed};

use libc::{c_int, c_long};

/// A system call that failed.
#[derive(Debug, Clone, Copy)]
pub struct Fail {
    /// Which call.
    pub call: Call,
    /// Why.
    pub errno: i32,
}

impl Fail {
    pub(crate) fn new(call: Call, errno: i32) -> Fail {
        Fail { call, errno }
    }

    /// Whether the call failed with `errno`.
    pub fn is(&self, errno: i32) -> bool {
        self.errno == errno
    }
}

macro_rules! calls {
    ($($name:ident $text:literal),* $(,)?) => {
        /// System calls whose failure a step can report.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        #[allow(missing_docs)]
        pub enum Call { $($name),* }

        impl Call {
            const ALL: &'static [Call] = &[$(Call::$name),*];

            /// Name as in section 2 of the manual.
            pub fn name(self) -> &'static str {
                match self { $(Call::$name => $text),* }
            }
        }
    };
}

calls! {
    Unknown "unknown call", Openat2 "openat2", Open "open", Read "read", Write "write", Send "sendmsg", Recv "recv",
    MoveMount "move_mount", OpenTree "open_tree", MountSetattr "mount_setattr", Mount "mount", Umount "umount2",
    Fsopen "fsopen", Fsconfig "fsconfig", FsconfigCreate "fsconfig create", Fsmount "fsmount",
    PivotRoot "pivot_root", Chroot "chroot", Fchdir "fchdir", Getcwd "getcwd", Mkdirat "mkdirat",
    Mknodat "mknodat", Symlinkat "symlinkat", Unlinkat "unlinkat", Readlinkat "readlinkat", Fchmodat "fchmodat",
    Fchownat "fchownat", Statx "statx", Fstatfs "fstatfs", Setns "setns", Unshare "unshare", Prctl "prctl",
    Setsid "setsid", Keyctl "keyctl", Sethostname "sethostname", Setdomainname "setdomainname",
    Setgroups "setgroups", Setresuid "setresuid", Setresgid "setresgid", Capset "capset", Dup3 "dup3",
    Fcntl "fcntl", Ioctl "ioctl", Fchown "fchown", CloseRange "close_range", Faccessat2 "faccessat2",
    Sigaction "rt_sigaction", Sigprocmask "rt_sigprocmask", Seccomp "seccomp", Execve "execve",
    Personality "personality", Clone "clone3", Socket "socket", Prlimit "prlimit64", IoprioSet "ioprio_set", SchedSetattr "sched_setattr",
}

impl Call {
    /// The call of a number that came from the page, which is not trusted.
    pub(crate) fn from_number(number: u32) -> Call {
        Call::ALL.get(number as usize).copied().unwrap_or(Call::Unknown)
    }
}

pub(crate) fn errno() -> i32 {
    // SAFETY: the location of this thread's errno is always valid.
    unsafe { *libc::__errno_location() }
}

fn check(call: Call, result: c_long) -> Result<usize, Fail> {
    if result < 0 {
        Err(Fail::new(call, errno()))
    } else {
        Ok(result as usize)
    }
}

/// One raw system call. The arguments must be valid for it; each caller in this file says why they are.
macro_rules! syscall {
    ($call:ident, $number:expr $(, $argument:expr)* $(,)?) => {
        check(Call::$call, libc::syscall($number $(, $argument)*))
    };
}

mod mount;
mod process;

pub use mount::*;
pub use process::*;

pub(crate) const RESOLVE_IN_ROOT: u64 = libc::RESOLVE_IN_ROOT;
pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = libc::RESOLVE_NO_MAGICLINKS;
pub(crate) const RESOLVE_NO_SYMLINKS: u64 = libc::RESOLVE_NO_SYMLINKS;
pub(crate) const RESOLVE_BENEATH: u64 = libc::RESOLVE_BENEATH;
pub(crate) const RESOLVE_NO_XDEV: u64 = libc::RESOLVE_NO_XDEV;

/// A rename raced with the look-up; the kernel asks to try again, and so do we, but not forever.
const RESOLVE_ATTEMPTS: usize = 128;

pub(crate) fn exit(status: i32) -> ! {
    loop {
        // SAFETY: ends the process.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}

pub(crate) fn close(fd: i32) {
    if fd >= 0 {
        // SAFETY: closing a number has no memory effects; the caller owns it.
        unsafe { libc::syscall(libc::SYS_close, fd) };
    }
}

pub(crate) fn close_range(first: u32, last: u32, flags: u32) -> Result<(), Fail> {
    // SAFETY: as for `close`.
    unsafe { syscall!(CloseRange, libc::SYS_close_range, first, last, flags) }.map(drop)
}

pub(crate) fn read(fd: i32, into: &mut [u8]) -> Result<usize, Fail> {
    loop {
        // SAFETY: the buffer is writable for its length.
        match unsafe { syscall!(Read, libc::SYS_read, fd, into.as_mut_ptr(), into.len()) } {
            Err(fail) if fail.is(libc::EINTR) => {}
            result => return result,
        }
    }
}

pub(crate) fn write_all(fd: i32, bytes: &[u8]) -> Result<(), Fail> {
    // SAFETY: the buffer is readable for its length.
    match unsafe { syscall!(Write, libc::SYS_write, fd, bytes.as_ptr(), bytes.len()) }? {
        n if n == bytes.len() => Ok(()),
        _ => Err(Fail::new(Call::Write, libc::EIO)),
    }
}

/// Descriptors that one message can carry, see unix(7).
pub const MAX_FDS: usize = 253;

/// Receives one message and the descriptors that come with it; `None` when the other end is closed.
pub(crate) fn receive_fds(socket: i32, into: &mut [c_int]) -> Result<Option<usize>, Fail> {
    #[repr(C, align(8))]
    struct Control([u8; size_of::<libc::cmsghdr>() + MAX_FDS * size_of::<c_int>() + 8]);
    let mut control = Control([0; _]);
    let mut byte = [0u8];
    let vector = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &vector as *const _ as *mut _;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    let length = loop {
        // SAFETY: the message and all that it points to live until the call returns, and are writable.
        match unsafe {
            syscall!(
                Recv,
                libc::SYS_recvmsg,
                socket,
                &mut message as *mut _,
                libc::MSG_CMSG_CLOEXEC
            )
        } {
            Err(fail) if fail.is(libc::EINTR) => {}
            result => break result?,
        }
    };
    if length == 0 {
        return Ok(None);
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(Fail::new(Call::Recv, libc::EMFILE));
    }
    // SAFETY: the kernel has filled the message in.
    let header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    if header.is_null() {
        return Ok(Some(0));
    }
    // SAFETY: not null, it points to the first header in the buffer, which is aligned for one.
    let kind = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
    if kind != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
        return Err(Fail::new(Call::Recv, libc::EPROTO));
    }
    // SAFETY: as above; the length counts the header.
    let count = unsafe { ((*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize) / size_of::<c_int>() };
    if count > into.len() {
        return Err(Fail::new(Call::Recv, libc::EPROTO));
    }
    // SAFETY: the data are that many descriptors, and lie within the buffer.
    let data = unsafe { core::slice::from_raw_parts(libc::CMSG_DATA(header).cast::<c_int>(), count) };
    into[..count].copy_from_slice(data);
    Ok(Some(count))
}

/// A copy of `fd` with a number of `base` at least, closed by an exec.
pub(crate) fn dup_above(fd: i32, base: i32) -> Result<i32, Fail> {
    // SAFETY: plain numbers.
    unsafe { syscall!(Fcntl, libc::SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, base) }.map(|fd| fd as i32)
}

/// Sends one byte, with a descriptor if it is one.
pub(crate) fn send(socket: i32, byte: u8, fd: i32) -> Result<(), Fail> {
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let byte = [byte];
    let vector = libc::iovec {
        iov_base: byte.as_ptr() as *mut _,
        iov_len: 1,
    };
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &vector as *const _ as *mut _;
    message.msg_iovlen = 1;
    if fd >= 0 {
        let header = libc::cmsghdr {
            // SAFETY: arithmetic only.
            cmsg_len: unsafe { libc::CMSG_LEN(size_of::<c_int>() as u32) } as _,
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        };
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: arithmetic only.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<c_int>() as u32) } as _;
        // SAFETY: the buffer is aligned for a header and has room for it and one descriptor.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(&message);
            first.write(header);
            libc::CMSG_DATA(first).cast::<c_int>().write_unaligned(fd);
        }
    }
    // SAFETY: the message and all that it points to live until the call returns.
    unsafe {
        syscall!(
            Send,
            libc::SYS_sendmsg,
            socket,
            &message as *const _,
            libc::MSG_NOSIGNAL
        )
    }
    .map(drop)
}

/// Opens `path` below `dir`, see openat2(2).
pub fn openat2(dir: i32, path: &CStr, flags: i32, mode: u32, resolve: u64) -> Result<i32, Fail> {
    // SAFETY: all zeroes is a valid open_how.
    let mut how: libc::open_how = unsafe { zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = mode as u64;
    how.resolve = resolve;
    let mut attempt = 0;
    loop {
        // SAFETY: the path ends with NUL and the structure has the size that is passed.
        let result = unsafe {
            syscall!(
                Openat2,
                libc::SYS_openat2,
                dir,
                path.as_ptr(),
                &how as *const _,
                size_of::<libc::open_how>()
            )
        };
        match result {
            Err(fail) if fail.is(libc::EAGAIN) && attempt < RESOLVE_ATTEMPTS => attempt += 1,
            result => return result.map(|fd| fd as i32),
        }
    }
}

/// Opens an absolute path outside the container.
pub fn open(path: &CStr, flags: i32) -> Result<i32, Fail> {
    // SAFETY: the path ends with NUL.
    unsafe {
        syscall!(
            Open,
            libc::SYS_openat,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags | libc::O_CLOEXEC,
            0
        )
    }
    .map(|fd| fd as i32)
}

/// Mode, user, device numbers and identity of what `fd` refers to.
pub fn statx(fd: i32) -> Result<libc::statx, Fail> {
    statx_of(fd, c"")
}

/// The same of a path of this process's own root.
pub(crate) fn statx_at(path: &CStr) -> Result<libc::statx, Fail> {
    statx_of(libc::AT_FDCWD, path)
}

fn statx_of(fd: i32, path: &CStr) -> Result<libc::statx, Fail> {
    const STATX_MNT_ID: u32 = 0x1000;
    // SAFETY: all zeroes is a valid statx.
    let mut stat: libc::statx = unsafe { zeroed() };
    // SAFETY: the path ends with NUL and the buffer has the right type.
    unsafe {
        syscall!(
            Statx,
            libc::SYS_statx,
            fd,
            path.as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_BASIC_STATS | STATX_MNT_ID,
            &mut stat as *mut _
        )
    }?;
    Ok(stat)
}

/// Magic number of the file system that `fd` is on.
pub fn fs_magic(fd: i32) -> Result<i64, Fail> {
    // SAFETY: all zeroes is a valid statfs.
    let mut stat: libc::statfs = unsafe { zeroed() };
    // SAFETY: the buffer has the right type.
    unsafe { syscall!(Fstatfs, libc::SYS_fstatfs, fd, &mut stat as *mut _) }?;
    #[allow(clippy::unnecessary_cast)] // its type differs between architectures
    Ok(stat.f_type as i64)
}

/// Makes a directory, see mkdirat(2).
pub fn mkdirat(dir: i32, name: &CStr, mode: u32) -> Result<(), Fail> {
    // SAFETY: the name ends with NUL.
    unsafe { syscall!(Mkdirat, libc::SYS_mkdirat, dir, name.as_ptr(), mode) }.map(drop)
}

/// Makes a node, see mknodat(2).
pub fn mknodat(dir: i32, name: &CStr, mode: u32, device: u64) -> Result<(), Fail> {
    // SAFETY: the name ends with NUL.
    unsafe { syscall!(Mknodat, libc::SYS_mknodat, dir, name.as_ptr(), mode, device) }.map(drop)
}

/// Makes a symbolic link, see symlinkat(2).
pub fn symlinkat(to: &CStr, dir: i32, name: &CStr) -> Result<(), Fail> {
    // SAFETY: both strings end with NUL.
    unsafe { syscall!(Symlinkat, libc::SYS_symlinkat, to.as_ptr(), dir, name.as_ptr()) }.map(drop)
}

pub(crate) fn unlinkat(dir: i32, name: &CStr) -> Result<(), Fail> {
    // SAFETY: the name ends with NUL.
    unsafe { syscall!(Unlinkat, libc::SYS_unlinkat, dir, name.as_ptr(), 0) }.map(drop)
}

pub(crate) fn readlinkat(dir: i32, name: &CStr, into: &mut [u8]) -> Result<usize, Fail> {
    // SAFETY: the name ends with NUL and the buffer is writable for its length.
    unsafe {
        syscall!(
            Readlinkat,
            libc::SYS_readlinkat,
            dir,
            name.as_ptr(),
            into.as_mut_ptr(),
            into.len()
        )
    }
}

pub(crate) fn fchmodat(dir: i32, name: &CStr, mode: u32) -> Result<(), Fail> {
    // SAFETY: the name ends with NUL.
    unsafe { syscall!(Fchmodat, libc::SYS_fchmodat, dir, name.as_ptr(), mode) }.map(drop)
}

pub(crate) fn fchownat(dir: i32, name: &CStr, uid: u32, gid: u32) -> Result<(), Fail> {
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: the name ends with NUL.
    unsafe { syscall!(Fchownat, libc::SYS_fchownat, dir, name.as_ptr(), uid, gid, flags) }.map(drop)
}

pub(crate) fn fchown(fd: i32, uid: u32, gid: u32) -> Result<(), Fail> {
    // SAFETY: plain numbers.
    unsafe { syscall!(Fchown, libc::SYS_fchown, fd, uid, gid) }.map(drop)
}

pub(crate) fn fchdir(fd: i32) -> Result<(), Fail> {
    // SAFETY: plain number.
    unsafe { syscall!(Fchdir, libc::SYS_fchdir, fd) }.map(drop)
}

pub(crate) fn getcwd(into: &mut [u8]) -> Result<usize, Fail> {
    // SAFETY: the buffer is writable for its length.
    unsafe { syscall!(Getcwd, libc::SYS_getcwd, into.as_mut_ptr(), into.len()) }
}

pub(crate) fn dup2(from: i32, to: i32) -> Result<(), Fail> {
    if from == to {
        return clear_cloexec(to);
    }
    // SAFETY: plain numbers.
    unsafe { syscall!(Dup3, libc::SYS_dup3, from, to, 0) }.map(drop)
}

pub(crate) fn clear_cloexec(fd: i32) -> Result<(), Fail> {
    // SAFETY: plain numbers.
    unsafe { syscall!(Fcntl, libc::SYS_fcntl, fd, libc::F_SETFD, 0) }.map(drop)
}

/// ioctl(2) with a number or a pointer that the caller vouches for; returns the call's result.
///
/// # Safety
/// `argument` must be what `request` takes.
pub(crate) unsafe fn ioctl(fd: i32, request: u64, argument: usize) -> Result<i32, Fail> {
    // SAFETY: the caller's promise.
    unsafe { syscall!(Ioctl, libc::SYS_ioctl, fd, request, argument) }.map(|result| result as i32)
}

/// Whether the process may execute `path`, with its effective ids.
pub(crate) fn executable(path: &CStr) -> Result<(), Fail> {
    let flags = libc::AT_EACCESS;
    // SAFETY: the path ends with NUL.
    unsafe {
        syscall!(
            Faccessat2,
            libc::SYS_faccessat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::X_OK,
            flags
        )
    }
    .map(drop)
}
