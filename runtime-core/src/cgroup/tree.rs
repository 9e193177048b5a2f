//! Walking a cgroup and what is below it.
//!
//! A container can divide its cgroup as deeply as it likes, deeper than paths are long and descriptors are many. So
//! the walk holds one descriptor, goes down by name and up by `..`.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::file;
use crate::sys::dirents::{Kind, entries};

/// Removes the directory of an empty cgroup; one that does not exist is fine.
pub(super) fn rmdir(dir: &Path) -> Result<(), Errno> {
    match unlinkat(nix::fcntl::AT_FDCWD, dir, UnlinkatFlags::RemoveDir) {
        // A path that is too long is that of nothing.
        Ok(()) | Err(Errno::ENOENT | Errno::ENAMETOOLONG) => Ok(()),
        // A read-only or forbidden mount refuses before it looks whether there is anything to remove.
        Err(Errno::EROFS | Errno::EACCES | Errno::EPERM) if !dir.exists() => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Removes a cgroup and all below it; one that does not exist is fine.
pub(super) fn remove(dir: &Path) -> Result<(), Errno> {
    let below = walk(
        dir,
        |_| Ok(()),
        |parent, name| match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            done => done,
        },
    );
    // What cannot be removed now keeps the top from being removed, which is the error to report.
    match below {
        Ok(()) | Err(Errno::EBUSY | Errno::ENOTEMPTY) => rmdir(dir),
        Err(errno) => Err(errno),
    }
}

/// The processes of a cgroup and of all below it. A process that the caller's pid namespace does not show is 0.
pub(super) fn processes(dir: &Path) -> Result<Vec<i32>, Errno> {
    let mut found = Vec::new();
    let collect = |dir: BorrowedFd<'_>| {
        let listed = match file::read_at(dir, "cgroup.procs") {
            // A threaded cgroup lists its threads alone.
            Err(Errno::EOPNOTSUPP) => file::read_at(dir, "cgroup.threads"),
            listed => listed,
        };
        match listed {
            Ok(listed) => found.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok())),
            // Removed while we looked.
            Err(Errno::ENODEV | Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    };
    walk(dir, collect, |_, _| Ok(()))?;
    Ok(found)
}

/// Calls `enter` for every directory from the top down, and `leave` with the parent and the name of every directory
/// but the top, from the bottom up.
fn walk(
    top: &Path,
    mut enter: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
    mut leave: impl FnMut(BorrowedFd<'_>, &CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut at = match open(top, flags, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ENAMETOOLONG) => return Ok(()),
        opened => opened?,
    };
    enter(at.as_fd())?;
    // Names of the directories that we are in, each with those of its children that are still to be visited.
    let mut levels: Vec<(CString, Vec<CString>)> = vec![(CString::default(), children(at.as_fd())?)];
    while let Some((_, todo)) = levels.last_mut() {
        if let Some(name) = todo.pop() {
            match openat(
                at.as_fd(),
                name.as_c_str(),
                flags | OFlag::O_NOFOLLOW,
                Mode::empty(),
            ) {
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
                Ok(child) => {
                    enter(child.as_fd())?;
                    let below = children(child.as_fd())?;
                    levels.push((name, below));
                    at = child;
                }
            }
        } else if let Some((name, _)) = levels.pop().filter(|_| !levels.is_empty()) {
            at = openat(at.as_fd(), c"..", flags, Mode::empty())?;
            leave(at.as_fd(), &name)?;
        }
    }
    Ok(())
}

/// Names of the directories in `dir`. A cgroup's link count tells whether there are any.
fn children(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    if fstat(dir)?.st_nlink == 2 {
        return Ok(Vec::new());
    }
    let found = match entries(dir) {
        Err(Errno::ENOENT) => return Ok(Vec::new()),
        found => found?,
    };
    Ok(found
        .into_iter()
        .filter(|(_, kind)| *kind != Kind::Other)
        .map(|(name, _)| name)
        .collect())
}
