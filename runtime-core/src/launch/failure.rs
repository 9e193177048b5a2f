//! What a step's failure means: the labels live here, with the parent.

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use runtime_init::{Call, Page};

use crate::error::{Code, Error};
use crate::plan::{Action, Plan};
use crate::prepare::Prepared;

pub(super) fn step_name(plan: &Plan, prepared: &Prepared<'_>, page: &Page) -> String {
    match prepared
        .origin(page.step())
        .and_then(|action| plan.actions.get(action))
    {
        Some(action) => {
            let (step, operand) = action.label();
            format!("{step} {operand}").trim_end().to_owned()
        }
        None => "start init".to_owned(),
    }
}

/// Why the child ended before it was ready.
pub(super) fn explain(
    plan: &Plan,
    prepared: &Prepared<'_>,
    page: &Page,
    status: Option<WaitStatus>,
) -> Error {
    let action = prepared
        .origin(page.step())
        .and_then(|action| plan.actions.get(action));
    match (page.failure(), action) {
        (Some((call, errno)), Some(action)) => of_action(action, call, errno, page.detail()),
        _ => died(step_name(plan, prepared, page), status),
    }
}

fn died(step: String, status: Option<WaitStatus>) -> Error {
    let error = Error::new(Code::InitDied, step);
    match status {
        Some(WaitStatus::Signaled(_, Signal::SIGKILL, _)) => error
            .reason("the container's init was killed")
            .hint("by the kernel when the cgroup's memory limit is too small for it, or by somebody"),
        Some(WaitStatus::Signaled(_, signal, _)) => {
            error.reason(format!("the container's init died of {signal}"))
        }
        _ => error.reason("the container's init ended without a reason"),
    }
}

fn of_action(action: &Action, call: Call, errno: i32, detail: i32) -> Error {
    let (step, operand) = action.label();
    match action {
        Action::Find { program, .. } => return executable(program, errno),
        Action::Exec { args, .. } => return executable(args.first().map_or("", String::as_str), errno),
        _ => {}
    }
    let error = Error::sys(step, errno).call(call.name());
    let error = if operand.is_empty() {
        error
    } else {
        error.operand(operand)
    };
    match action {
        Action::Root { .. } | Action::AttachRoot { .. } | Action::Pivot => error.with_code(Code::Rootfs),
        Action::JoinCgroup => error.with_code(Code::Cgroup),
        Action::Mount(mount) => {
            let error = match (errno, mount.flags.plain_directory) {
                (libc::ELOOP, true) => {
                    error.hint("the image has a symbolic link there; a directory is needed")
                }
                (libc::ENOTDIR, true) => {
                    error.hint("the image has something else there; a directory is needed")
                }
                (libc::EPERM, _) if call == Call::MoveMount && !mount.flags.inside_proc => {
                    error.hint("nothing may be mounted inside of a procfs")
                }
                (libc::EBUSY, _) if call == Call::MoveMount => {
                    error.hint("the destination is the root itself")
                }
                _ => error,
            };
            match (&mount.source, call) {
                (crate::plan::Source::Fs { parameters, .. }, Call::Fsconfig) => {
                    let option = parameters.get(detail as usize).cloned().unwrap_or_default();
                    error.hint(format!("option {option:?}"))
                }
                _ => error,
            }
        }
        Action::Cwd { .. } if call == Call::Getcwd => error.hint("it leads out of the container"),
        Action::Capabilities(_) | Action::BoundingSet { .. } if errno == libc::EPERM => {
            error.hint("the configuration asks for capabilities that the runtime does not have itself")
        }
        Action::PlaceConsole { .. } | Action::Console { .. } if errno == libc::ENOENT => {
            error.hint("a terminal needs a devpts mount on /dev/pts")
        }
        _ => error,
    }
}

/// The words that callers know: they tell exit codes by them.
fn executable(program: &str, errno: i32) -> Error {
    let error = Error::new(Code::Executable, "exec:").operand(program);
    match errno {
        libc::ENOENT if !program.contains('/') => error.reason("executable file not found in $PATH"),
        libc::ENOENT => error.reason(format!("stat {program}: no such file or directory")),
        errno => error.errno(errno),
    }
}

/// Why init failed after it was committed, from the page that it left behind. Its steps are no longer known.
pub(crate) fn after_commit(page: &Page, program: &str) -> Option<Error> {
    let (call, errno) = page.failure()?;
    Some(match call {
        Call::Execve => executable(program, errno),
        call => Error::sys("start container", errno).call(call.name()),
    })
}
