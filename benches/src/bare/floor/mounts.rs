//! The mounts of `runc spec`.

use core::ffi::CStr;

use super::{Outcome, Step, groups};
use crate::sys::mount::{attach, clone_tree, new, set_attributes};
use crate::sys::{self, Errno, Fd};
use crate::text::Text;

const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;

const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"null", 1, 3),
    (c"zero", 1, 5),
    (c"full", 1, 7),
    (c"random", 1, 8),
    (c"urandom", 1, 9),
    (c"tty", 5, 0),
];

const LINKS: [(&CStr, &CStr); 5] = [
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"ptmx", c"pts/ptmx"),
];

const MASKED: [&CStr; 9] = [
    c"acpi",
    c"asound",
    c"kcore",
    c"keys",
    c"latency_stats",
    c"timer_list",
    c"timer_stats",
    c"sched_debug",
    c"scsi",
];

const GUARDED: [&CStr; 5] = [c"bus", c"fs", c"irq", c"sys", c"sysrq-trigger"];

/// The root file system, detached and read-only.
pub(super) fn root(rootfs: &CStr) -> Outcome<Fd> {
    let tree = clone_tree(libc::AT_FDCWD, rootfs, true).step("clone of the root file system")?;
    set_attributes(tree, READ_ONLY).step("read-only root")?;
    Ok(tree)
}

/// /dev with everything in it except mqueue, which belongs to the new ipc namespace.
pub(super) fn dev() -> Outcome<Fd> {
    let options = [(c"mode", Some(c"755")), (c"size", Some(c"65536k"))];
    let dev = new(c"tmpfs", &options, NOSUID | libc::MOUNT_ATTR_STRICTATIME).step("tmpfs for /dev")?;
    for (name, major, minor) in DEVICES {
        sys::mknod(dev, name, libc::S_IFCHR | 0o666, major << 8 | minor).step("device node")?;
    }
    for (name, target) in LINKS {
        sys::symlink(target, dev, name).step("link in /dev")?;
    }
    for name in [c"pts", c"shm", c"mqueue"] {
        sys::mkdir(dev, name, 0o755).step("directory in /dev")?;
    }
    let options = [
        (c"newinstance", None),
        (c"ptmxmode", Some(c"0666")),
        (c"mode", Some(c"0620")),
        (c"gid", Some(c"5")),
    ];
    let pts = new(c"devpts", &options, NOSUID | NOEXEC).step("devpts")?;
    attach(pts, dev, c"pts").step("/dev/pts")?;
    let options = [
        (c"source", Some(c"shm")),
        (c"mode", Some(c"1777")),
        (c"size", Some(c"65536k")),
    ];
    let shm = new(c"tmpfs", &options, NOSUID | NOEXEC | NODEV).step("tmpfs for /dev/shm")?;
    attach(shm, dev, c"shm").step("/dev/shm")?;
    Ok(dev)
}

/// The empty directory that hides others.
pub(super) fn blank() -> Outcome<Fd> {
    let options = [(c"nr_blocks", Some(c"1")), (c"nr_inodes", Some(c"1"))];
    new(c"tmpfs", &options, READ_ONLY).step("tmpfs for masks")
}

/// v1 without a cgroup namespace: a tmpfs that holds the container's own group of every hierarchy.
pub(super) fn cgroups_v1<'a>(id: &CStr, v1: impl Iterator<Item = &'a [u8]>) -> Outcome<Fd> {
    let tree =
        new(c"tmpfs", &[(c"mode", Some(c"755"))], NOSUID | NOEXEC | NODEV).step("tmpfs for cgroups")?;
    for mount in v1 {
        let name = Text::of(&[groups::name(mount)]);
        sys::mkdir(tree, name.as_c(), 0o755).step("directory for a hierarchy")?;
        let group = Text::of(&[mount, b"/", id.to_bytes()]);
        let bind = clone_tree(libc::AT_FDCWD, group.as_c(), false).step("clone of a group")?;
        set_attributes(bind, NOSUID | NOEXEC | NODEV | READ_ONLY).step("read-only group")?;
        attach(bind, tree, name.as_c()).step("bind of a group")?;
        sys::close(bind);
    }
    Ok(tree)
}

/// v2: the file system as the new cgroup namespace shows it.
pub(super) fn cgroups_v2(sysfs: Fd) -> Outcome<()> {
    let tree = new(c"cgroup2", &[], NOSUID | NOEXEC | NODEV | READ_ONLY).step("cgroup2")?;
    attach(tree, sysfs, c"fs/cgroup").step("/sys/fs/cgroup")
}

/// Mounts whose content depends on the new namespaces.
pub(super) struct Kernel {
    pub(super) proc: Fd,
    pub(super) sysfs: Fd,
    pub(super) mqueue: Fd,
}

/// proc and sysfs in their places, and mqueue for /dev.
pub(super) fn kernel(root: Fd) -> Outcome<Kernel> {
    let proc = new(c"proc", &[], 0).step("proc")?;
    attach(proc, root, c"proc").step("/proc")?;
    let sysfs = new(c"sysfs", &[], NOSUID | NOEXEC | NODEV | READ_ONLY).step("sysfs")?;
    attach(sysfs, root, c"sys").step("/sys")?;
    let mqueue = new(c"mqueue", &[], NOSUID | NOEXEC | NODEV).step("mqueue")?;
    Ok(Kernel { proc, sysfs, mqueue })
}

/// The read-only paths.
pub(super) fn guard(proc: Fd) -> Outcome<()> {
    for path in GUARDED {
        let tree = match clone_tree(proc, path, false) {
            Err(Errno(libc::ENOENT)) => continue,
            other => other.step("clone of a read-only path")?,
        };
        set_attributes(tree, READ_ONLY).step("attributes of a read-only path")?;
        attach(tree, proc, path).step("read-only path")?;
        sys::close(tree);
    }
    Ok(())
}

/// The masked paths. The blank itself goes to the last place: to close a mount that was never attached takes the
/// lock of all namespaces and an RCU period.
pub(super) fn mask(kernel: &Kernel, dev: Fd, blank: Fd) -> Outcome<()> {
    for path in MASKED {
        let place = match sys::open(kernel.proc, path, libc::O_PATH | libc::O_NOFOLLOW) {
            Err(Errno(libc::ENOENT)) => continue,
            other => other.step("masked path")?,
        };
        let cover = if sys::is_directory(place).step("masked path")? {
            clone_tree(blank, c"", false)
        } else {
            clone_tree(dev, c"null", false)
        }
        .step("mask")?;
        attach(cover, place, c"").step("mask")?;
        sys::close(cover);
        sys::close(place);
    }
    attach(blank, kernel.sysfs, c"firmware").step("/sys/firmware")
}
