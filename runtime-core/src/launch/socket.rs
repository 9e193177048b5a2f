//! The wire between runtime and init: one byte a point each way, what is made beside init, and the console at the last
//! point.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, send, sendmsg,
    socketpair,
};
use runtime_init::{Point, sys};

use crate::error::{At, Result};

/// Parent's end and child's end. Message boundaries are kept, and the end of one is seen by the other.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .at("make socket pair")
}

/// The next point, with the console's master if that came along. `None`: the child's end is closed.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    limit: Duration,
) -> Result<Option<(Point, Option<OwnedFd>)>, Errno> {
    wait_readable(socket, limit)?;
    let mut byte = [0u8];
    let mut vector = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let message = loop {
        match recvmsg::<()>(
            socket.as_raw_fd(),
            &mut vector,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        ) {
            Err(Errno::EINTR) => {}
            // Closed before it took what was sent to it.
            Err(Errno::ECONNRESET) => return Ok(None),
            result => break result?,
        }
    };
    let mut received = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            for fd in fds {
                received = Some(crate::sys::fd::owned(fd));
            }
        }
    }
    if message.bytes == 0 {
        return Ok(None);
    }
    let point = [Point::Mapped, Point::Mounted, Point::Ready]
        .into_iter()
        .find(|&point| point as u8 == byte[0]);
    point.map(|point| Some((point, received))).ok_or(Errno::EPROTO)
}

fn wait_readable(socket: BorrowedFd<'_>, limit: Duration) -> Result<(), Errno> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(socket, PollFlags::POLLIN)], timeout) {
            Ok(0) if left.is_zero() => return Err(Errno::ETIMEDOUT),
            Ok(0) | Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

/// Tells the child to go on.
pub(super) fn answer(socket: BorrowedFd<'_>, point: Point) -> Result<(), Errno> {
    send(socket.as_raw_fd(), &[point as u8], MsgFlags::MSG_NOSIGNAL).map(drop)
}

/// Sends descriptors, in as many messages as they take, and at least one: init waits for it.
pub(super) fn supply(socket: BorrowedFd<'_>, fds: &[OwnedFd]) -> Result<(), Errno> {
    let numbers: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let send = |rights: &[ControlMessage<'_>]| {
        let byte = [IoSlice::new(&[0])];
        sendmsg::<()>(socket.as_raw_fd(), &byte, rights, MsgFlags::MSG_NOSIGNAL, None).map(drop)
    };
    if numbers.is_empty() {
        return send(&[]);
    }
    let mut messages = numbers.chunks(sys::MAX_FDS);
    messages.try_for_each(|numbers| send(&[ControlMessage::ScmRights(numbers)]))
}
