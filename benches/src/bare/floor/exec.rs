//! `exec`: another process in a running container.

use core::ffi::CStr;

use super::{Outcome, Step, child, groups};
use crate::sys::process::{self, Side};
use crate::sys::{self, Fd};
use crate::text::Text;

/// Starts the program beside process `pid`, in the groups called `id`, and waits for its end.
pub(super) fn exec(pid: i32, id: &CStr, hierarchies: &CStr, program: &[&CStr]) -> Outcome<i32> {
    let container = process::pidfd_open(pid).step("pidfd_open")?;
    let (v2, v1) = groups::split(hierarchies);
    let alone = v1.clone().next().is_none();
    let group = v2.map(|mount| open_group(mount, id)).transpose()?;
    let mut tasks: [Fd; groups::MAX] = [-1; groups::MAX];
    let mut count = 0;
    for (slot, mount) in tasks.iter_mut().zip(v1) {
        *slot = groups::join_file(mount, id)?;
        count += 1;
    }
    // A pid namespace takes in children only, so this process goes first.
    process::setns(container, libc::CLONE_NEWPID).step("pid namespace")?;
    match process::clone(process::CLEAR_SIGHAND, group).step("clone3")? {
        Side::Child => {
            let failure = enter(container, alone, &tasks[..count], program);
            if let Err(failure) = &failure {
                super::complain(failure);
            }
            sys::exit(125)
        }
        Side::Parent(_, pidfd) => process::wait(pidfd).step("waiting"),
    }
}

fn open_group(mount: &[u8], id: &CStr) -> Outcome<Fd> {
    let path = Text::of(&[mount, b"/", id.to_bytes()]);
    sys::open(libc::AT_FDCWD, path.as_c(), libc::O_RDONLY | libc::O_DIRECTORY).step("open of the v2 group")
}

fn enter(container: Fd, alone: bool, tasks: &[Fd], program: &[&CStr]) -> Outcome<()> {
    process::die_with_parent().step("parent-death signal")?;
    let mut namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if alone {
        namespaces |= libc::CLONE_NEWCGROUP;
    }
    process::setns(container, namespaces).step("namespaces")?;
    sys::close_from_on_exec(3).step("close_range")?;
    child::join(tasks.iter().copied())?;
    child::enter(program, None)
}
