//! Terminals, from the side of whoever owns the master.

use std::fs::File;
use std::io::{IoSliceMut, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};

use super::{Outcome, Stop};
use crate::sys;

/// A socket as `--console-socket` wants it.
pub struct ConsoleSocket {
    listener: UnixListener,
    /// Where it is.
    pub path: PathBuf,
}

impl ConsoleSocket {
    /// Listens in a directory.
    pub fn new(dir: &Path) -> Outcome<ConsoleSocket> {
        let path = dir.join("console.sock");
        Ok(ConsoleSocket {
            listener: UnixListener::bind(&path)?,
            path,
        })
    }

    /// Waits for the master of the console, and for what comes with it: its name.
    pub fn receive(&self) -> Outcome<(Terminal, String)> {
        ready(
            &self.listener,
            Duration::from_secs(10),
            "nobody connects to the console socket",
        )?;
        let (stream, _) = self.listener.accept()?;
        let mut name = [0u8; 4096];
        let mut parts = [IoSliceMut::new(&mut name)];
        let mut space = nix::cmsg_space!([i32; 4]);
        ready(
            &stream,
            Duration::from_secs(10),
            "nothing comes through the console socket",
        )?;
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        let length = message.bytes;
        let mut fds = Vec::new();
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = part {
                fds.extend(received);
            }
        }
        if fds.len() != 1 {
            return Err(Stop::Failed(format!(
                "{} descriptors came through the console socket",
                fds.len()
            )));
        }
        let master = sys::own_fd(fds[0]);
        Ok((
            Terminal::of(master),
            String::from_utf8_lossy(&name[..length]).into_owned(),
        ))
    }
}

fn ready(fd: &impl AsFd, limit: Duration, complaint: &str) -> Outcome {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(super::pace::stretch(limit)).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, timeout)? {
        0 => Err(Stop::Failed(complaint.to_string())),
        _ => Ok(()),
    }
}

/// The master of a terminal.
pub struct Terminal {
    master: File,
    seen: String,
}

impl Terminal {
    /// Takes over a master.
    pub fn of(master: OwnedFd) -> Terminal {
        Terminal {
            master: File::from(master),
            seen: String::new(),
        }
    }

    /// A new terminal, and the other end of it.
    pub fn open(rows: u16, columns: u16) -> Outcome<(Terminal, OwnedFd)> {
        let size = libc::winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = sys::open_terminal(&size)?;
        Ok((Terminal::of(pair.0), pair.1))
    }

    /// Types text.
    pub fn type_in(&mut self, text: &str) -> Outcome {
        self.master.write_all(text.as_bytes())?;
        Ok(())
    }

    /// Changes the size.
    pub fn resize(&self, rows: u16, columns: u16) -> Outcome {
        let size = libc::winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        sys::resize(&self.master, &size)?;
        Ok(())
    }

    /// The modes of the terminal.
    pub fn modes(&self) -> Outcome<Termios> {
        Ok(tcgetattr(&self.master)?)
    }

    /// Sets the modes.
    pub fn set_modes(&self, modes: &Termios) -> Outcome {
        tcsetattr(&self.master, SetArg::TCSANOW, modes)?;
        Ok(())
    }

    /// Reads until the text was seen, and returns all that was read so far.
    pub fn expect(&mut self, text: &str) -> Outcome<String> {
        while !self.seen.contains(text) {
            if !self.read_some(&format!("{text:?} does not appear"))? {
                return Err(Stop::Failed(format!(
                    "closed before {text:?} appeared; seen: {:?}",
                    self.seen
                )));
            }
        }
        Ok(self.seen.clone())
    }

    /// Reads until nobody has the other end open any more, and returns all that was read.
    pub fn read_to_end(&mut self) -> Outcome<String> {
        while self.read_some("the other end stays open")? {}
        Ok(self.seen.clone())
    }

    /// Waits for output; false when there will be none.
    fn read_some(&mut self, complaint: &str) -> Outcome<bool> {
        ready(
            &self.master,
            Duration::from_secs(10),
            &format!("{complaint}; seen: {:?}", self.seen),
        )?;
        let mut buffer = [0u8; 4096];
        match self.master.read(&mut buffer) {
            Ok(0) => Ok(false),
            // EIO: the last one closed the other end.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(false),
            Ok(count) => {
                self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }
}
