//! The container's control group in every hierarchy.

use core::ffi::CStr;

use super::{Outcome, Step, devices};
use crate::sys::{self, Fd};
use crate::text::Text;

/// More hierarchies than any kernel has.
pub(super) const MAX: usize = 24;

/// Splits the list into the mount point of v2, if there is one, and those of v1.
pub(super) fn split(hierarchies: &CStr) -> (Option<&[u8]>, impl DoubleEndedIterator<Item = &[u8]> + Clone) {
    let bytes = hierarchies.to_bytes();
    let end = bytes.iter().position(|&byte| byte == b',').unwrap_or(bytes.len());
    let v1 = bytes[end..]
        .split(|&byte| byte == b',')
        .filter(|mount| !mount.is_empty());
    (Some(&bytes[..end]).filter(|mount| !mount.is_empty()), v1)
}

/// The last component: the name of the hierarchy.
pub(super) fn name(mount: &[u8]) -> &[u8] {
    mount.rsplit(|&byte| byte == b'/').next().unwrap_or(mount)
}

fn set(directory: &[u8], file: &[u8], value: &[u8]) -> sys::Result<()> {
    let fd = sys::open(
        libc::AT_FDCWD,
        Text::of(&[directory, file]).as_c(),
        libc::O_WRONLY,
    )?;
    let result = sys::write(fd, value);
    sys::close(fd);
    result
}

/// Makes the v2 group. It must be there before the clone, since the child starts inside it: the other way in, a
/// write to `cgroup.procs`, makes the kernel wait for an RCU period whenever the machine was idle.
pub(super) fn make_v2(mount: &[u8], id: &CStr, memory: u64, alone: bool) -> Outcome<Fd> {
    let directory = Text::of(&[mount, b"/", id.to_bytes()]);
    sys::mkdir(libc::AT_FDCWD, directory.as_c(), 0o755).step("mkdir of the v2 group")?;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    let fd = sys::open(libc::AT_FDCWD, directory.as_c(), flags).step("open of the v2 group")?;
    if alone {
        if memory > 0 {
            let mut value = Text::default();
            value.push_number(memory);
            set(directory.as_bytes(), b"/memory.max", value.as_bytes()).step("memory.max")?;
        }
        devices::attach(fd).step("device program")?;
    }
    Ok(fd)
}

/// Makes one v1 group with its limits, and opens the file through which a thread joins it.
pub(super) fn make_v1(mount: &[u8], id: &CStr, memory: u64) -> Outcome<Fd> {
    let directory = Text::of(&[mount, b"/", id.to_bytes()]);
    sys::mkdir(libc::AT_FDCWD, directory.as_c(), 0o755).step("mkdir of a v1 group")?;
    match name(mount) {
        b"cpuset" => copy_cpuset(mount, directory.as_bytes()).step("cpuset")?,
        b"devices" => devices::write_rules(directory.as_bytes()).step("device rules")?,
        b"memory" if memory > 0 => {
            let mut value = Text::default();
            value.push_number(memory);
            set(directory.as_bytes(), b"/memory.limit_in_bytes", value.as_bytes()).step("memory limit")?;
        }
        _ => {}
    }
    join_file(mount, id)
}

/// Opens the file through which a single thread joins the v1 group: `tasks`, which takes no lock over the whole
/// thread group.
pub(super) fn join_file(mount: &[u8], id: &CStr) -> Outcome<Fd> {
    let path = Text::of(&[mount, b"/", id.to_bytes(), b"/tasks"]);
    sys::open(libc::AT_FDCWD, path.as_c(), libc::O_WRONLY).step("open of tasks")
}

/// A v1 cpuset is empty at first, and nobody can join it then.
fn copy_cpuset(parent: &[u8], directory: &[u8]) -> sys::Result<()> {
    for file in [&b"/cpuset.cpus"[..], b"/cpuset.mems"] {
        let mut value = [0; 256];
        let fd = sys::open(libc::AT_FDCWD, Text::of(&[parent, file]).as_c(), libc::O_RDONLY)?;
        let length = sys::read(fd, &mut value);
        sys::close(fd);
        set(directory, file, &value[..length?])?;
    }
    Ok(())
}

/// Removes the group everywhere.
pub(super) fn remove(id: &CStr, hierarchies: &CStr) -> Outcome<()> {
    let (v2, v1) = split(hierarchies);
    for mount in v1.chain(v2) {
        match sys::rmdir(Text::of(&[mount, b"/", id.to_bytes()]).as_c()) {
            Err(sys::Errno(libc::ENOENT)) | Ok(()) => {}
            Err(errno) => return Err(errno).step("rmdir of a group"),
        }
    }
    Ok(())
}
