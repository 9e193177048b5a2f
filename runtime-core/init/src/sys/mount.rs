//! Mounts.

use core::ffi::{CStr, c_char};
use core::mem::{size_of, zeroed};

use super::{Call, Fail, check};

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

/// A detached copy of the mount of `path` below `dir`; an empty path means what `dir` itself refers to.
pub fn open_tree(dir: i32, path: &CStr, recursive: bool) -> Result<i32, Fail> {
    let flags = open_tree_flags(path, recursive);
    // SAFETY: the path ends with NUL.
    unsafe { syscall!(OpenTree, libc::SYS_open_tree, dir, path.as_ptr(), flags) }.map(|fd| fd as i32)
}

fn open_tree_flags(path: &CStr, recursive: bool) -> u32 {
    let empty = if path.is_empty() {
        libc::AT_EMPTY_PATH as u32
    } else {
        0
    };
    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | empty | if recursive { AT_RECURSIVE } else { 0 }
}

/// The same with other attributes, by one call where the kernel has it. `None`: it does not, or something is wrong that
/// doing one after the other will tell.
pub fn open_tree_attr(dir: i32, path: &CStr, recursive: bool, attributes: &crate::Attributes) -> Option<i32> {
    /// The libc crate lacks it. On all architectures it has this distance from an older one, as all new calls have.
    const SYS_OPEN_TREE_ATTR: libc::c_long = libc::SYS_mount_setattr + 25;
    // One flag says of both whether the mounts below are meant.
    if recursive && !attributes.recursive {
        return None;
    }
    let change = mount_attr(attributes);
    let flags = open_tree_flags(path, recursive);
    // SAFETY: the path ends with NUL and the structure has the size that is passed.
    unsafe {
        syscall!(
            OpenTree,
            SYS_OPEN_TREE_ATTR,
            dir,
            path.as_ptr(),
            flags,
            &change as *const _,
            size_of::<libc::mount_attr>()
        )
    }
    .ok()
    .map(|fd| fd as i32)
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

fn mount_attr(attributes: &crate::Attributes) -> libc::mount_attr {
    // SAFETY: all zeroes is a valid mount_attr.
    let mut change: libc::mount_attr = unsafe { zeroed() };
    change.attr_set = attributes.set;
    change.attr_clr = attributes.clear;
    change.propagation = attributes.propagation;
    change
}

/// Changes attributes of the mount `fd`.
pub fn mount_setattr(fd: i32, attributes: &crate::Attributes) -> Result<(), Fail> {
    let change = mount_attr(attributes);
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
