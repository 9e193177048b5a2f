//! What the new process does until it becomes the program.

use core::ffi::CStr;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use super::{Outcome, Request, Step, groups, mounts};
use crate::sys::mount::{attach, pivot_to_cwd};
use crate::sys::{self, Fd, process};

/// The memory that parent and child share: descriptor numbers that the parent adds after the clone, and whether
/// they are complete. The descriptors themselves are shared already (`CLONE_FILES`).
#[derive(Default)]
pub(super) struct Wire {
    /// Set by the parent when all that follows is valid.
    pub(super) complete: AtomicU32,
    /// /dev, assembled.
    pub(super) dev: AtomicI32,
    /// The cover for masked directories.
    pub(super) blank: AtomicI32,
    /// The tree for /sys/fs/cgroup on v1.
    pub(super) cgroups: AtomicI32,
    /// How many of `joins` are valid.
    pub(super) hierarchies: AtomicU32,
    /// The `tasks` files.
    pub(super) joins: [AtomicI32; groups::MAX],
}

/// What the child has to know from the start.
pub(super) struct Child<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) wire: &'static Wire,
    pub(super) root: Fd,
    /// To wait for before the program starts: what to tell and where to read.
    pub(super) gate: Option<(Fd, Fd)>,
}

/// CAP_AUDIT_WRITE, CAP_KILL and CAP_NET_BIND_SERVICE.
const CAPABILITIES: u64 = 1 << 29 | 1 << 5 | 1 << 10;
const LAST_CAPABILITY: u32 = 40;

impl Child<'_> {
    /// Does not return if all goes well.
    pub(super) fn run(&self) -> Outcome<()> {
        let (v2, v1) = groups::split(self.request.hierarchies);
        let alone = v2.is_some() && v1.clone().next().is_none();
        if self.gate.is_none() {
            process::die_with_parent().step("parent-death signal")?;
        }
        // The network namespace takes longer than all the rest; here the parent's work goes on beside it.
        let mut namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        if alone {
            namespaces |= libc::CLONE_NEWCGROUP;
        }
        process::unshare(namespaces).step("namespaces")?;
        attach(self.root, libc::AT_FDCWD, self.request.rootfs).step("root")?;
        sys::fchdir(self.root).step("root")?;
        pivot_to_cwd().step("pivot_root")?;
        let kernel = mounts::kernel(self.root)?;
        mounts::guard(kernel.proc)?;

        process::await_word(&self.wire.complete);
        let dev = self.wire.dev.load(Ordering::Relaxed);
        attach(dev, self.root, c"dev").step("/dev")?;
        attach(kernel.mqueue, dev, c"mqueue").step("/dev/mqueue")?;
        mounts::mask(&kernel, dev, self.wire.blank.load(Ordering::Relaxed))?;
        if alone {
            mounts::cgroups_v2(kernel.sysfs)?;
        } else {
            let tree = self.wire.cgroups.load(Ordering::Relaxed);
            attach(tree, kernel.sysfs, c"fs/cgroup").step("/sys/fs/cgroup")?;
        }
        process::set_hostname(c"runc").step("hostname")?;
        sys::close_from_on_exec(3).step("close_range")?;
        // As late as possible: what the kernel has allocated until here is not charged to the container.
        let joins = &self.wire.joins[..self.wire.hierarchies.load(Ordering::Relaxed) as usize];
        join(joins.iter().map(|fd| fd.load(Ordering::Relaxed)))?;
        enter(self.request.program, self.gate)
    }
}

/// Joins the groups that `tasks` are of.
pub(super) fn join(tasks: impl Iterator<Item = Fd>) -> Outcome<()> {
    for fd in tasks {
        sys::write(fd, b"0").step("joining a group")?;
    }
    Ok(())
}

/// Gives up privileges, waits at the gate and becomes the program.
pub(super) fn enter(program: &[&CStr], gate: Option<(Fd, Fd)>) -> Outcome<()> {
    process::set_limit(libc::RLIMIT_NOFILE, 1024).step("rlimit")?;
    process::keep_capabilities(CAPABILITIES, LAST_CAPABILITY).step("capabilities")?;
    process::forbid_new_privileges().step("no_new_privs")?;
    if let Some((tell, fifo)) = gate {
        sys::write(tell, &1u64.to_ne_bytes()).step("telling that all is ready")?;
        sys::read(fifo, &mut [0]).step("waiting for start")?;
    }
    let environment = [
        c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        c"TERM=xterm",
    ];
    let Some(path) = program.first() else {
        return Ok(());
    };
    Err(process::execute(path, program, &environment)).step("execve")
}
