//! System calls, each with the name under which its failure is reported.

use core::ffi::{CStr, c_char};
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

pub(crate) const RESOLVE_IN_ROOT: u64 = libc::RESOLVE_IN_ROOT;
pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = libc::RESOLVE_NO_MAGICLINKS;
pub(crate) const RESOLVE_NO_SYMLINKS: u64 = libc::RESOLVE_NO_SYMLINKS;
pub(crate) const RESOLVE_BENEATH: u64 = libc::RESOLVE_BENEATH;
pub(crate) const RESOLVE_NO_XDEV: u64 = libc::RESOLVE_NO_XDEV;

const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
const OPEN_TREE_CLONE: u32 = 1;
const OPEN_TREE_CLOEXEC: u32 = libc::O_CLOEXEC as u32;
const AT_RECURSIVE: u32 = 0x8000;
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;

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

/// Receives one message and the descriptors that come with it; 0 when the other end is closed.
pub(crate) fn receive_fds(socket: i32, into: &mut [c_int]) -> Result<usize, Fail> {
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
        return Ok(0);
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(Fail::new(Call::Recv, libc::EMFILE));
    }
    // SAFETY: the kernel has filled the message in.
    let header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    // SAFETY: not null, it points to the first header in the buffer, which is aligned for one.
    let rights = !header.is_null()
        && unsafe { ((*header).cmsg_level, (*header).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) };
    if !rights {
        return Err(Fail::new(Call::Recv, libc::EPROTO));
    }
    // SAFETY: as above; the length counts the header.
    let count = unsafe { ((*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize) / size_of::<c_int>() };
    if count == 0 || count > into.len() {
        return Err(Fail::new(Call::Recv, libc::EPROTO));
    }
    // SAFETY: the data are that many descriptors, and lie within the buffer.
    let data = unsafe { core::slice::from_raw_parts(libc::CMSG_DATA(header).cast::<c_int>(), count) };
    into[..count].copy_from_slice(data);
    Ok(count)
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

/// A detached copy of the mount of `path` below `dir`; an empty path means what `dir` itself refers to.
pub fn open_tree(dir: i32, path: &CStr, recursive: bool) -> Result<i32, Fail> {
    let empty = if path.is_empty() {
        libc::AT_EMPTY_PATH as u32
    } else {
        0
    };
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | empty | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path ends with NUL.
    unsafe { syscall!(OpenTree, libc::SYS_open_tree, dir, path.as_ptr(), flags) }.map(|fd| fd as i32)
}

/// Attaches the mount `from` on the file or directory `to`.
pub fn move_mount(from: i32, to: i32) -> Result<(), Fail> {
    move_mount_to(from, to, c"", MOVE_MOUNT_T_EMPTY_PATH)
}

/// Attaches the mount `from` on `name` in the directory `dir`; a symbolic link there is not followed.
pub(crate) fn move_mount_at(from: i32, dir: i32, name: &CStr) -> Result<(), Fail> {
    move_mount_to(from, dir, name, 0)
}

fn move_mount_to(from: i32, to: i32, path: &CStr, flags: u32) -> Result<(), Fail> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | flags;
    // SAFETY: both paths end with NUL.
    unsafe {
        syscall!(
            MoveMount,
            libc::SYS_move_mount,
            from,
            c"".as_ptr(),
            to,
            path.as_ptr(),
            flags
        )
    }
    .map(drop)
}

/// Changes attributes of the mount `fd`.
pub fn mount_setattr(fd: i32, attributes: &crate::Attributes) -> Result<(), Fail> {
    // SAFETY: all zeroes is a valid mount_attr.
    let mut change: libc::mount_attr = unsafe { zeroed() };
    change.attr_set = attributes.set;
    change.attr_clr = attributes.clear;
    change.propagation = attributes.propagation;
    let flags = libc::AT_EMPTY_PATH as u32 | if attributes.recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is empty and the structure has the size that is passed.
    unsafe {
        syscall!(
            MountSetattr,
            libc::SYS_mount_setattr,
            fd,
            c"".as_ptr(),
            flags,
            &change as *const _,
            size_of::<libc::mount_attr>()
        )
    }
    .map(drop)
}

/// Makes every mount a slave of what it is a copy of.
pub(crate) fn make_slave() -> Result<(), Fail> {
    let flags = libc::MS_SLAVE | libc::MS_REC;
    let none = core::ptr::null::<c_char>();
    // SAFETY: the path ends with NUL; the other arguments are not used for this operation.
    unsafe { syscall!(Mount, libc::SYS_mount, none, c"/".as_ptr(), none, flags, none) }.map(drop)
}

pub(crate) fn umount_detached(path: &CStr) -> Result<(), Fail> {
    // SAFETY: the path ends with NUL.
    unsafe { syscall!(Umount, libc::SYS_umount2, path.as_ptr(), libc::MNT_DETACH) }.map(drop)
}

pub(crate) fn move_to_root(path: &CStr) -> Result<(), Fail> {
    let none = core::ptr::null::<c_char>();
    // SAFETY: both paths end with NUL; the other arguments are not used for this operation.
    unsafe {
        syscall!(
            Mount,
            libc::SYS_mount,
            path.as_ptr(),
            c"/".as_ptr(),
            none,
            libc::MS_MOVE,
            none
        )
    }
    .map(drop)
}

/// Opens a context for a new file system of type `fs`, see fsopen(2).
pub fn fsopen(fs: &CStr) -> Result<i32, Fail> {
    // SAFETY: the name ends with NUL.
    unsafe { syscall!(Fsopen, libc::SYS_fsopen, fs.as_ptr(), FSOPEN_CLOEXEC) }.map(|fd| fd as i32)
}

/// Sets one parameter; without a value it is a flag.
pub fn fsconfig(fs: i32, key: &CStr, value: Option<&CStr>) -> Result<(), Fail> {
    let (command, value) = match value {
        None => (FSCONFIG_SET_FLAG, core::ptr::null()),
        Some(value) => (FSCONFIG_SET_STRING, value.as_ptr()),
    };
    // SAFETY: both strings end with NUL; a flag takes a null value.
    unsafe { syscall!(Fsconfig, libc::SYS_fsconfig, fs, command, key.as_ptr(), value, 0) }.map(drop)
}

/// Makes the superblock.
pub fn fscreate(fs: i32) -> Result<(), Fail> {
    let none = core::ptr::null::<c_char>();
    // SAFETY: the command takes neither key nor value.
    unsafe {
        syscall!(
            FsconfigCreate,
            libc::SYS_fsconfig,
            fs,
            FSCONFIG_CMD_CREATE,
            none,
            none,
            0
        )
    }
    .map(drop)
}

/// A detached mount of it, with `MOUNT_ATTR_*`.
pub fn fsmount(fs: i32, attributes: u32) -> Result<i32, Fail> {
    // SAFETY: plain numbers.
    unsafe { syscall!(Fsmount, libc::SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes) }.map(|fd| fd as i32)
}

pub(crate) fn pivot_root(new: &CStr, old: &CStr) -> Result<(), Fail> {
    // SAFETY: both paths end with NUL.
    unsafe { syscall!(PivotRoot, libc::SYS_pivot_root, new.as_ptr(), old.as_ptr()) }.map(drop)
}

pub(crate) fn chroot(path: &CStr) -> Result<(), Fail> {
    // SAFETY: the path ends with NUL.
    unsafe { syscall!(Chroot, libc::SYS_chroot, path.as_ptr()) }.map(drop)
}

pub(crate) fn fchdir(fd: i32) -> Result<(), Fail> {
    // SAFETY: plain number.
    unsafe { syscall!(Fchdir, libc::SYS_fchdir, fd) }.map(drop)
}

pub(crate) fn getcwd(into: &mut [u8]) -> Result<usize, Fail> {
    // SAFETY: the buffer is writable for its length.
    unsafe { syscall!(Getcwd, libc::SYS_getcwd, into.as_mut_ptr(), into.len()) }
}

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
