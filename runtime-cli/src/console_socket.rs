//! Handing a descriptor to whoever listens on a socket: the master of a console, or a process's pidfd.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use runtime_core::{Error, Result};

/// How long the listener may take. One that is stuck must not hold the caller forever.
const PATIENCE_SECONDS: i64 = 10;

/// The connected socket of a listener.
#[derive(Debug)]
pub struct Receiver {
    socket: OwnedFd,
    path: PathBuf,
}

impl Receiver {
    /// Connects to the listener at `path`.
    pub fn connect(path: &Path) -> Result<Receiver> {
        let opened = || -> nix::Result<OwnedFd> {
            let address = UnixAddr::new(path)?;
            let socket = socket(
                AddressFamily::Unix,
                SockType::Stream,
                SockFlag::SOCK_CLOEXEC,
                None,
            )?;
            // Bounds connect as well, which waits while the listener's backlog is full.
            setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(PATIENCE_SECONDS))?;
            connect(socket.as_raw_fd(), &address)?;
            Ok(socket)
        };
        match opened() {
            Ok(socket) => Ok(Receiver {
                socket,
                path: path.to_owned(),
            }),
            Err(errno) => Err(Error::sys("connect to socket", timeout(errno)).operand(path)),
        }
    }

    /// Sends `fd`, with `name` as the message that carries it.
    pub fn send(&self, fd: BorrowedFd<'_>, name: &str) -> Result<()> {
        let fds = [fd.as_raw_fd()];
        let message = [IoSlice::new(name.as_bytes())];
        let rights = [ControlMessage::ScmRights(&fds)];
        let raw = self.socket.as_raw_fd();
        match sendmsg::<()>(raw, &message, &rights, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(_) => Ok(()),
            Err(errno) => Err(Error::sys("send descriptor to socket", timeout(errno)).operand(&self.path)),
        }
    }
}

/// An expired send timeout shows as EAGAIN, which says nothing to a reader.
fn timeout(errno: Errno) -> i32 {
    if errno == Errno::EAGAIN {
        libc::ETIMEDOUT
    } else {
        errno as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::{AsFd, RawFd};
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::{ControlMessageOwned, recvmsg};

    #[test]
    fn a_descriptor_arrives_with_its_name() {
        let path = std::env::temp_dir().join(format!("oci-rt-console-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let file = File::open("/dev/null").unwrap();
        Receiver::connect(&path)
            .unwrap()
            .send(file.as_fd(), "/dev/ptmx")
            .unwrap();
        let (stream, _) = listener.accept().unwrap();
        let mut name = [0; 64];
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let mut buffers = [std::io::IoSliceMut::new(&mut name)];
        let message = recvmsg::<()>(
            stream.as_raw_fd(),
            &mut buffers,
            Some(&mut space),
            MsgFlags::empty(),
        )
        .unwrap();
        let received: Vec<RawFd> = message
            .cmsgs()
            .unwrap()
            .flat_map(|control| match control {
                ControlMessageOwned::ScmRights(fds) => fds,
                other => panic!("{other:?}"),
            })
            .collect();
        let length = message.bytes;
        assert_eq!(received.len(), 1);
        assert_eq!(&name[..length], b"/dev/ptmx");
        let link = std::fs::read_link(format!("/proc/self/fd/{}", received[0])).unwrap();
        assert_eq!(link, Path::new("/dev/null"));
        drop(crate::sys::own(received[0]));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn nobody_listens() {
        let error = Receiver::connect(Path::new("/nonexistent/socket")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "connect to socket \"/nonexistent/socket\": no such file or directory"
        );
    }
}
