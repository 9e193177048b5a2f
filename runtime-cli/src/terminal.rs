//! Between the terminal that we were called from and the console of a process in a container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, read, tcgetpgrp, write};
use runtime_core::{Error, Result};

use crate::sys;

/// End of input, as it is typed: what a canonical terminal takes for the end of a file.
const END_OF_INPUT: u8 = 4;

/// The terminal on one of our standard streams.
fn own_terminal() -> Option<OwnedFd> {
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let streams = [input.as_fd(), output.as_fd(), errors.as_fd()];
    streams
        .into_iter()
        .find(|stream| tcgetattr(stream).is_ok())?
        .try_clone_to_owned()
        .ok()
}

/// Size of our terminal, if we have one that knows its own.
pub fn size() -> Option<libc::winsize> {
    let size = sys::window_size(own_terminal()?.as_fd()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some(size)
}

/// Our terminal, passing every key on instead of acting on it, until this is dropped.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Nothing when there is no terminal, or when it is another job's at the moment.
    pub fn enter() -> Result<Option<RawMode>> {
        let Some(terminal) = own_terminal() else {
            return Ok(None);
        };
        if tcgetpgrp(&terminal) != Ok(getpgrp()) {
            return Ok(None);
        }
        let enter = || {
            let before = tcgetattr(&terminal)?;
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            // Consoles send bare line feeds; the carriage return is added here.
            raw.output_flags |= OutputFlags::OPOST;
            tcsetattr(&terminal, SetArg::TCSANOW, &raw)?;
            Ok(before)
        };
        match enter() {
            Ok(before) => Ok(Some(RawMode { terminal, before })),
            Err(errno @ Errno::EIO) => Err(failed("terminal is gone", errno)),
            Err(errno) => Err(failed("set terminal to raw mode", errno)),
        }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Fails when the terminal was hung up; nothing is left to restore then.
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

/// Bytes on their way from one descriptor to another.
#[derive(Debug)]
struct Flow {
    buffer: Box<[u8; 4096]>,
    /// What of the buffer is still to be written.
    pending: std::ops::Range<usize>,
    /// Nothing more comes in.
    ended: bool,
    /// Nobody takes it any more.
    refused: bool,
}

impl Flow {
    fn new() -> Flow {
        Flow {
            buffer: Box::new([0; 4096]),
            pending: 0..0,
            ended: false,
            refused: false,
        }
    }

    /// Reads more; `false` when that was the end.
    fn fill(&mut self, from: BorrowedFd<'_>) -> bool {
        match read(from, self.buffer.as_mut_slice()) {
            Ok(0) => self.ended = true,
            Ok(count) => self.pending = 0..count,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // A console without processes, a terminal that is another job's or gone.
            Err(_) => self.ended = true,
        }
        !self.ended
    }

    fn drain(&mut self, to: BorrowedFd<'_>) {
        match write(to, &self.buffer[self.pending.clone()]) {
            Ok(count) => self.pending.start += count,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => {
                self.refused = true;
                self.pending = 0..0;
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.buffer[..bytes.len()].copy_from_slice(bytes);
        self.pending = 0..bytes.len();
    }
}

/// Carries input to a console and its output back.
#[derive(Debug)]
pub struct Relay {
    source: OwnedFd,
    sink: OwnedFd,
    console: OwnedFd,
    /// The console's other end. Held open, since reading a console that no process has open fails, and those
    /// that have may close it now and open it again later.
    peer: Option<OwnedFd>,
    input: Flow,
    output: Flow,
    /// The last byte of the input, which decides how its end is passed on.
    last_input: u8,
}

impl Relay {
    /// A relay between our standard streams and the console with this master.
    pub fn new(console: OwnedFd) -> Result<Relay> {
        let own = || {
            let source = std::io::stdin().as_fd().try_clone_to_owned()?;
            Ok((source, std::io::stdout().as_fd().try_clone_to_owned()?))
        };
        let (source, sink) = own().map_err(|error: std::io::Error| {
            Error::sys(
                "keep standard streams",
                error.raw_os_error().unwrap_or(libc::EBADF),
            )
        })?;
        Relay::between(source, sink, console).map_err(|errno| failed("prepare console", errno))
    }

    fn between(source: OwnedFd, sink: OwnedFd, console: OwnedFd) -> nix::Result<Relay> {
        let flags = OFlag::from_bits_truncate(fcntl(&console, FcntlArg::F_GETFL)?);
        fcntl(&console, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        // Line feeds stay what they are, for an output that is no terminal; ours adds the carriage returns.
        let mut settings = tcgetattr(&console)?;
        settings.output_flags.remove(OutputFlags::ONLCR);
        tcsetattr(&console, SetArg::TCSANOW, &settings)?;
        let peer = sys::console_peer(console.as_fd()).ok();
        let (input, output) = (Flow::new(), Flow::new());
        Ok(Relay {
            source,
            sink,
            console,
            peer,
            input,
            output,
            last_input: b'\n',
        })
    }

    /// Gives the console the size of our terminal, if we have one.
    pub fn resize(&self) {
        if let Some(size) = size() {
            // A console without a size is a small flaw, and nothing that the user could do about.
            let _ = sys::set_window_size(self.console.as_fd(), &size);
        }
    }

    /// Waits until something can be carried or one of `others` is readable, and carries it.
    /// Says which of `others` is.
    pub fn step<const N: usize>(&mut self, others: [BorrowedFd<'_>; N]) -> Result<[bool; N]> {
        let idle = PollFlags::empty();
        let when = |wanted: bool, events| if wanted { events } else { idle };
        let reading = when(
            !self.input.ended && self.input.pending.is_empty(),
            PollFlags::POLLIN,
        );
        let writing = when(!self.output.pending.is_empty(), PollFlags::POLLOUT);
        let console = when(
            !self.output.ended && self.output.pending.is_empty(),
            PollFlags::POLLIN,
        ) | when(
            !self.output.ended && !self.input.pending.is_empty(),
            PollFlags::POLLOUT,
        );
        let mut fds: Vec<PollFd> = others
            .into_iter()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        // A descriptor of which nothing is wanted would still tell that it was hung up, over and over.
        let own = [
            (&self.source, reading),
            (&self.sink, writing),
            (&self.console, console),
        ];
        let places = own.map(|(fd, events)| {
            (events != idle).then(|| {
                fds.push(PollFd::new(fd.as_fd(), events));
                fds.len() - 1
            })
        });
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed("wait for the process", errno)),
        }
        let events = |at: usize| fds[at].revents().unwrap_or(idle);
        let ready = std::array::from_fn(|at| events(at) != idle);
        let [source, sink, console] = places.map(|at| at.map_or(idle, events));
        drop(fds);
        self.carry(source != idle, sink != idle, console);
        Ok(ready)
    }

    fn carry(&mut self, source: bool, sink: bool, console: PollFlags) {
        if source {
            self.read_source();
        }
        if sink {
            self.output.drain(self.sink.as_fd());
        }
        if console.contains(PollFlags::POLLOUT) {
            self.input.drain(self.console.as_fd());
        }
        if console.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            self.read_console();
        }
    }

    fn read_console(&mut self) {
        self.output.fill(self.console.as_fd());
        if self.output.refused {
            // Read on nevertheless: the process is not to wait for a reader that went away.
            self.output.pending = 0..0;
        }
    }

    fn read_source(&mut self) {
        if self.input.fill(self.source.as_fd()) {
            if let Some(last) = self.input.buffer[self.input.pending.clone()].last() {
                self.last_input = *last;
            }
        } else if tcgetattr(&self.source).is_err() {
            // In the middle of a line the first one only ends that.
            let count = if self.last_input == b'\n' { 1 } else { 2 };
            self.input.put(&[END_OF_INPUT; 2][..count]);
        }
    }

    /// Carries what is left of the output once the process is gone. Processes that it left behind may hold the
    /// console open, so silence counts as the end.
    pub fn finish(mut self) {
        const SILENCE_MILLISECONDS: u8 = 100;
        const ROUNDS: u32 = 256;
        drop(self.peer.take());
        for _ in 0..ROUNDS {
            while !self.output.pending.is_empty() {
                let mut sink = [PollFd::new(self.sink.as_fd(), PollFlags::POLLOUT)];
                // An error shows at the write, and ends it.
                let _ = poll(&mut sink, PollTimeout::NONE);
                self.output.drain(self.sink.as_fd());
            }
            let mut console = [PollFd::new(self.console.as_fd(), PollFlags::POLLIN)];
            let waiting = poll(&mut console, SILENCE_MILLISECONDS);
            if self.output.ended || self.output.refused || !matches!(waiting, Ok(1..)) {
                return;
            }
            self.output.fill(self.console.as_fd());
        }
    }
}

fn failed(step: &str, errno: Errno) -> Error {
    Error::sys(step, errno as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::openpty;
    use nix::sys::termios::LocalFlags;
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::thread::JoinHandle;

    /// Runs `script` on a console, with `input` before it and its output behind it.
    fn relayed(script: &str, input: &[u8]) -> String {
        let console = openpty(None, None).unwrap();
        let mut settings = tcgetattr(&console.master).unwrap();
        settings.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&console.master, SetArg::TCSANOW, &settings).unwrap();
        let ((source, mut typist), (reader, sink)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let mut relay = Relay::between(source.into(), sink.into(), console.master).unwrap();
        let stream = || Stdio::from(console.slave.try_clone().unwrap());
        let mut process = Command::new("sh")
            .args(["-c", script])
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        drop(console.slave);
        let input = input.to_vec();
        std::thread::spawn(move || typist.write_all(&input));
        let output: JoinHandle<String> = std::thread::spawn(|| std::io::read_to_string(reader).unwrap());
        let ended = {
            let (ended, running) = std::io::pipe().unwrap();
            std::thread::spawn(move || {
                process.wait().unwrap();
                drop(running);
            });
            ended
        };
        while !relay.step([ended.as_fd()]).unwrap()[0] {}
        relay.finish();
        output.join().unwrap()
    }

    #[test]
    fn output_arrives_whole_and_with_bare_line_feeds() {
        let output = relayed("seq 20000", b"");
        assert!(output.starts_with("1\n2\n"), "{:?}", &output[..20]);
        assert_eq!(output.lines().count(), 20_000);
        assert!(output.ends_with("\n20000\n"));
    }

    #[test]
    fn the_end_of_the_input_is_passed_on() {
        assert_eq!(relayed("cat; echo end", b"a line\n"), "a line\nend\n");
        assert_eq!(relayed("cat; echo end", b"half a line"), "half a lineend\n");
        assert_eq!(relayed("cat; echo end", b""), "end\n");
    }

    #[test]
    fn a_console_that_is_closed_and_opened_again() {
        let script = "exec 3>&1; t=$(tty); exec 0</dev/null 1>&0 2>&0 3>&0; sleep 0.3; echo again > $t";
        assert_eq!(relayed(script, b""), "again\n");
    }
}
