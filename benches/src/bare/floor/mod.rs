//! The system calls that any runtime must make for the config of `runc spec`, each in the fastest way known.
//!
//! ```text
//! floor run ROOTFS ID MEMORY HIERARCHIES PROGRAM [ARG...]
//! floor create STATE ROOTFS ID MEMORY HIERARCHIES PROGRAM [ARG...]
//! floor start STATE
//! floor delete STATE ID HIERARCHIES
//! floor exec PID ID HIERARCHIES PROGRAM [ARG...]
//! ```
//! HIERARCHIES are mount points separated by commas: first that of cgroup v2 (empty where there is none), then
//! those of v1. MEMORY is a limit in bytes, 0 for none.

mod child;
mod devices;
mod exec;
mod groups;
mod life;
mod mounts;
mod run;

use core::ffi::CStr;

use crate::sys::start::Args;
use crate::sys::{Errno, Result};
use crate::text::{Text, number};

/// Which step failed, and why.
pub(crate) struct Failure {
    step: &'static str,
    errno: Errno,
}

/// Names the step that a system call belongs to.
pub(crate) trait Step<T> {
    fn step(self, step: &'static str) -> core::result::Result<T, Failure>;
}

impl<T> Step<T> for Result<T> {
    fn step(self, step: &'static str) -> core::result::Result<T, Failure> {
        self.map_err(|errno| Failure { step, errno })
    }
}

/// The outcome of a part of the program.
pub(crate) type Outcome<T> = core::result::Result<T, Failure>;

/// What the command line asks for.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) rootfs: &'a CStr,
    pub(crate) id: &'a CStr,
    pub(crate) memory: u64,
    pub(crate) hierarchies: &'a CStr,
    pub(crate) program: &'a [&'a CStr],
}

/// Does what the arguments say and gives the exit code.
pub fn main(args: &Args) -> i32 {
    match dispatch(args.as_slice()) {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure);
            1
        }
    }
}

fn dispatch(args: &[&CStr]) -> Outcome<i32> {
    let verb = args.get(1).map_or(&b""[..], |verb| verb.to_bytes());
    match (verb, args.get(2..).unwrap_or_default()) {
        (b"run", [rootfs, id, memory, hierarchies, program @ ..]) if !program.is_empty() => {
            run::run(&Request {
                rootfs,
                id,
                memory: number(memory.to_bytes()),
                hierarchies,
                program,
            })
        }
        (b"create", [state, rootfs, id, memory, hierarchies, program @ ..]) if !program.is_empty() => {
            let memory = number(memory.to_bytes());
            life::create(
                state,
                &Request {
                    rootfs,
                    id,
                    memory,
                    hierarchies,
                    program,
                },
            )
        }
        (b"start", [state]) => life::start(state),
        (b"delete", [state, id, hierarchies]) => life::delete(state, id, hierarchies),
        (b"exec", [pid, id, hierarchies, program @ ..]) if !program.is_empty() => {
            exec::exec(number(pid.to_bytes()) as i32, id, hierarchies, program)
        }
        _ => Err(Failure {
            step: "arguments: see the top of floor/mod.rs",
            errno: Errno(libc::EINVAL),
        }),
    }
}

fn complain(failure: &Failure) {
    let mut line = Text::of(&[b"floor: ", failure.step.as_bytes(), b": errno "]);
    line.push_number(failure.errno.0 as u64);
    line.push(b"\n");
    // The exit code says it as well.
    let _ = crate::sys::write(2, line.as_bytes());
}
