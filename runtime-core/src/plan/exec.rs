//! The plan of a process that joins a running container.

use std::path::Path;

use super::container::Options;
use super::process::{Launch, is_labelled, process_actions};
use super::{Action, Plan, clone_flag};
use crate::error::Result;
use crate::spec::{NamespaceType, Process, Spec};

/// The plan for running `process` in the container that `spec` made of the root file system `rootfs`.
pub(crate) fn plan_exec(
    id: &str,
    spec: &Spec,
    process: &Process,
    program: Option<&str>,
    rootfs: &Path,
    options: Options,
) -> Result<Plan> {
    let kinds = spec.linux.namespaces.iter().map(|namespace| namespace.kind);
    let mut flags = 0;
    for kind in kinds {
        // The launching thread is in the pid namespace already, and a time namespace comes with the exec.
        if kind != NamespaceType::Pid {
            flags |= clone_flag(kind);
        }
    }
    let mut actions = vec![Action::CloseFds { last: false }, Action::Undumpable];
    if flags != 0 {
        actions.push(Action::JoinContainer { flags });
    }
    if flags & libc::CLONE_NEWUSER != 0 {
        actions.push(Action::BecomeRoot);
    }
    actions.push(Action::NewSession);
    if !options.no_new_keyring {
        actions.push(Action::Keyring {
            name: format!("_ses.{id}"),
        });
    }
    if spec
        .linux
        .namespaces
        .iter()
        .all(|namespace| namespace.kind != NamespaceType::Mount)
    {
        actions.push(Action::Root {
            path: rootfs.to_owned(),
        });
        actions.push(Action::Chroot);
    } else {
        actions.push(Action::Root { path: "/".into() });
    }
    if is_labelled(process) {
        actions.push(Action::ProcFs);
    }
    if process.terminal {
        let (width, height) = process
            .console_size
            .as_ref()
            .map_or((0, 0), |size| (size.width, size.height));
        actions.push(Action::Console {
            width,
            height,
            uid: process.user.uid,
        });
    }
    // Late, because everything allocated from then on is charged to the container, and because its files are opened
    // meanwhile; on version 2 it was at birth.
    actions.push(Action::JoinCgroup);
    let launch = Launch {
        seccomp: spec.linux.seccomp.as_ref(),
        new_container: false,
        gate: false,
        program,
        personality: spec.linux.personality.as_ref(),
    };
    process_actions(&mut actions, process, launch)?;
    Ok(Plan {
        actions,
        rlimits: process.rlimits.clone(),
        oom_score_adj: process.oom_score_adj,
        preserve_fds: options.preserve_fds,
        extra_fds: options.extra_fds,
        ..Plan::default()
    })
}
