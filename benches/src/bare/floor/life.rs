//! `create`, `start` and `delete`, with a directory between them.

use core::ffi::CStr;

use super::{Outcome, Request, Step, groups, run};
use crate::sys::{self, Errno, process};
use crate::text::{Text, number};

fn file(state: &CStr, name: &[u8]) -> Text {
    Text::of(&[state.to_bytes(), b"/", name])
}

/// Brings the container up to its gate.
pub(super) fn create(state: &CStr, request: &Request) -> Outcome<i32> {
    sys::mkdir(libc::AT_FDCWD, state, 0o700).step("state directory")?;
    let fifo = file(state, b"start");
    sys::mknod(libc::AT_FDCWD, fifo.as_c(), libc::S_IFIFO | 0o600, 0).step("fifo")?;
    // For reading and writing: neither side has to be there first.
    let gate = sys::open(libc::AT_FDCWD, fifo.as_c(), libc::O_RDWR).step("fifo")?;
    let ready = sys::eventfd().step("eventfd")?;
    let started = run::start(request, Some((ready, gate)));
    let (pid, pidfd) = match started {
        Ok(pair) => pair,
        Err(failure) => {
            groups::remove(request.id, request.hierarchies)?;
            return Err(failure);
        }
    };
    let mut text = Text::default();
    text.push_number(pid as u64);
    let flags = libc::O_WRONLY | libc::O_CREAT;
    let pid_file = sys::open(libc::AT_FDCWD, file(state, b"pid").as_c(), flags).step("pid file")?;
    sys::write(pid_file, text.as_bytes()).step("pid file")?;
    if sys::first_readable([ready, pidfd]).step("poll")? == 1 {
        groups::remove(request.id, request.hierarchies)?;
        return Err(Errno(libc::ECHILD)).step("the child, which ended early");
    }
    Ok(0)
}

/// Opens the gate.
pub(super) fn start(state: &CStr) -> Outcome<i32> {
    let flags = libc::O_WRONLY | libc::O_NONBLOCK;
    let gate = sys::open(libc::AT_FDCWD, file(state, b"start").as_c(), flags).step("fifo")?;
    sys::write(gate, b"1").step("fifo")?;
    Ok(0)
}

/// Kills what is left and removes everything.
pub(super) fn delete(state: &CStr, id: &CStr, hierarchies: &CStr) -> Outcome<i32> {
    let pid_file = file(state, b"pid");
    let fd = sys::open(libc::AT_FDCWD, pid_file.as_c(), libc::O_RDONLY).step("pid file")?;
    let mut text = [0; 16];
    let length = sys::read(fd, &mut text).step("pid file")?;
    if let Ok(pidfd) = process::pidfd_open(number(&text[..length]) as i32) {
        process::kill(pidfd).step("kill")?;
        sys::first_readable([pidfd, pidfd]).step("poll")?;
    }
    groups::remove(id, hierarchies)?;
    sys::unlink(pid_file.as_c()).step("pid file")?;
    sys::unlink(file(state, b"start").as_c()).step("fifo")?;
    sys::rmdir(state).step("state directory")?;
    Ok(0)
}
