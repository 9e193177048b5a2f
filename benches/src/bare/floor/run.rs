//! `run`: start, wait, remove.

use core::sync::atomic::Ordering;

use super::child::{Child, Wire};
use super::{Outcome, Request, Step, groups, mounts};
use crate::sys::process::{self, Side};
use crate::sys::{self, Fd};

/// Starts the container, waits for its end and removes its groups.
pub(super) fn run(request: &Request) -> Outcome<i32> {
    let started = start(request, None);
    let code = started.and_then(|(_, pidfd)| process::wait(pidfd).step("waiting"));
    groups::remove(request.id, request.hierarchies).and(code)
}

/// Brings the process up to the program, or to the gate; gives its number and a descriptor of it.
pub(super) fn start(request: &Request, gate: Option<(Fd, Fd)>) -> Outcome<(i32, Fd)> {
    let (v2, mut v1) = groups::split(request.hierarchies);
    let alone = v1.clone().next().is_none();
    sys::clear_umask();
    // SAFETY: atomics, for which zero is valid and a change by the other side expected.
    let wire: &'static Wire = unsafe { process::shared() }.step("shared memory")?;
    let group = v2
        .map(|mount| groups::make_v2(mount, request.id, request.memory, alone))
        .transpose()?;
    let root = mounts::root(request.rootfs)?;
    // As early as possible: the child makes its namespaces while this process makes all the rest.
    let flags = (libc::CLONE_NEWPID | libc::CLONE_FILES) as u64 | process::CLEAR_SIGHAND;
    match process::clone(flags, group).step("clone3")? {
        Side::Child => {
            let failure = Child {
                request,
                wire,
                root,
                gate,
            }
            .run();
            if let Err(failure) = &failure {
                super::complain(failure);
            }
            sys::exit(125)
        }
        Side::Parent(pid, pidfd) => {
            let provided = provide(request, wire, &mut v1);
            if provided.is_err() {
                // The child still waits for what will not come.
                let _ = process::kill(pidfd);
                let _ = process::wait(pidfd);
            }
            provided.map(|()| (pid, pidfd))
        }
    }
}

fn provide<'a>(
    request: &Request,
    wire: &Wire,
    v1: &mut (impl Iterator<Item = &'a [u8]> + Clone),
) -> Outcome<()> {
    let mounts = v1.clone();
    for (index, mount) in v1.take(groups::MAX).enumerate() {
        wire.joins[index].store(
            groups::make_v1(mount, request.id, request.memory)?,
            Ordering::Relaxed,
        );
        wire.hierarchies.store(index as u32 + 1, Ordering::Relaxed);
    }
    wire.dev.store(mounts::dev()?, Ordering::Relaxed);
    wire.blank.store(mounts::blank()?, Ordering::Relaxed);
    if mounts.clone().next().is_some() {
        wire.cgroups
            .store(mounts::cgroups_v1(request.id, mounts)?, Ordering::Relaxed);
    }
    process::post(&wire.complete);
    Ok(())
}
