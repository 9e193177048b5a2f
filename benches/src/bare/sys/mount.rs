//! Mounts, by descriptor.

use core::ffi::CStr;

use super::{Fd, Result, at, call, pointer};

/// A detached copy of the mount at `path` below `directory`; an empty path means the directory itself.
pub fn clone_tree(directory: Fd, path: &CStr, recursive: bool) -> Result<Fd> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32;
    if recursive {
        flags |= libc::AT_RECURSIVE as u32;
    }
    // SAFETY: the path is NUL-terminated and only read.
    unsafe {
        call(
            libc::SYS_open_tree,
            [at(directory), pointer(path), flags as usize, 0, 0, 0],
        )
    }
    .map(|fd| fd as Fd)
}

/// Adds attributes to a mount.
pub fn set_attributes(mount: Fd, attributes: u64) -> Result<()> {
    let change = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let arguments = [
        at(mount),
        pointer(c""),
        libc::AT_EMPTY_PATH as usize,
        &change as *const libc::mount_attr as usize,
        size_of::<libc::mount_attr>(),
        0,
    ];
    // SAFETY: the structure is only read.
    unsafe { call(libc::SYS_mount_setattr, arguments) }.map(drop)
}

/// A new file system, detached. An option without a value is a flag.
pub fn new(kind: &CStr, options: &[(&CStr, Option<&CStr>)], attributes: u64) -> Result<Fd> {
    let flags = libc::FSOPEN_CLOEXEC as usize;
    // SAFETY: the name is NUL-terminated and only read.
    let context = unsafe { call(libc::SYS_fsopen, [pointer(kind), flags, 0, 0, 0, 0]) }?;
    for (key, value) in options {
        let (command, value) = match value {
            Some(value) => (libc::FSCONFIG_SET_STRING, pointer(value)),
            None => (libc::FSCONFIG_SET_FLAG, 0),
        };
        // SAFETY: both strings are NUL-terminated and only read.
        unsafe {
            call(
                libc::SYS_fsconfig,
                [context, command as usize, pointer(key), value, 0, 0],
            )
        }?;
    }
    let create = libc::FSCONFIG_CMD_CREATE as usize;
    // SAFETY: takes numbers only.
    unsafe { call(libc::SYS_fsconfig, [context, create, 0, 0, 0, 0]) }?;
    let arguments = [
        context,
        libc::FSMOUNT_CLOEXEC as usize,
        attributes as usize,
        0,
        0,
        0,
    ];
    // SAFETY: takes numbers only.
    let mount = unsafe { call(libc::SYS_fsmount, arguments) }?;
    super::close(context as Fd);
    Ok(mount as Fd)
}

/// Puts a detached mount at `path` below `directory`; an empty path means the directory (or file) itself.
pub fn attach(mount: Fd, directory: Fd, path: &CStr) -> Result<()> {
    let mut flags = libc::MOVE_MOUNT_F_EMPTY_PATH;
    if path.is_empty() {
        flags |= libc::MOVE_MOUNT_T_EMPTY_PATH;
    }
    let arguments = [
        at(mount),
        pointer(c""),
        at(directory),
        pointer(path),
        flags as usize,
        0,
    ];
    // SAFETY: the paths are NUL-terminated and only read.
    unsafe { call(libc::SYS_move_mount, arguments) }.map(drop)
}

/// The working directory's mount becomes the root, and the old root is let go.
pub fn pivot_to_cwd() -> Result<()> {
    // SAFETY: the paths are NUL-terminated and only read.
    unsafe { call(libc::SYS_pivot_root, [pointer(c"."), pointer(c"."), 0, 0, 0, 0]) }?;
    // SAFETY: as above. The old root now lies over the new one, and so is what the path means.
    unsafe {
        call(
            libc::SYS_umount2,
            [pointer(c"."), libc::MNT_DETACH as usize, 0, 0, 0, 0],
        )
    }?;
    super::chdir(c"/")
}
