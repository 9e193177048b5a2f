//! Signals: their names on the command line, and those that reach a foreground process in our place.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use runtime_core::{Code, Error, Result};

/// The number behind a name such as `KILL`, `SIGKILL`, `9`, `RTMIN+3` or `SIGRTMAX-1`.
pub fn number(name: &str) -> Result<i32> {
    let unknown = || Error::new(Code::InvalidConfig, format!("unknown signal {name:?}"));
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return name
            .parse()
            .ok()
            .filter(|number| *number <= libc::SIGRTMAX())
            .ok_or_else(unknown);
    }
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = real_time(short) {
        return Ok(number);
    }
    match short {
        "CLD" => Ok(libc::SIGCHLD),
        "POLL" => Ok(libc::SIGIO),
        "IOT" => Ok(libc::SIGABRT),
        _ => format!("SIG{short}")
            .parse::<Signal>()
            .map(|signal| signal as i32)
            .map_err(|_| unknown()),
    }
}

fn real_time(name: &str) -> Option<i32> {
    let range = libc::SIGRTMIN()..=libc::SIGRTMAX();
    let offset = |text: &str, sign: char| match text {
        "" => Some(0),
        _ => text.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(above), _) => range.start() + offset(above, '+')?,
        (_, Some(below)) => range.end() - offset(below, '-')?,
        _ => return None,
    };
    range.contains(&number).then_some(number)
}

/// All signals that can be held back, held back and read from a descriptor: none of them ends this program
/// halfway, and each is passed on once.
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalFd,
}

impl Signals {
    /// Starts to hold them back. There is only one thread, whose mask counts.
    pub fn hold() -> Result<Signals> {
        let held = || {
            let all = SigSet::all();
            all.thread_block()?;
            SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        };
        let descriptor = held().map_err(|errno: Errno| Error::sys("hold back signals", errno as i32))?;
        Ok(Signals { descriptor })
    }

    /// The next signal that has arrived.
    pub fn next(&self) -> Option<i32> {
        match self.descriptor.read_signal() {
            Ok(Some(signal)) => Some(signal.ssi_signo as i32),
            // An error leaves the signals to later calls; there is none but a passing lack of memory.
            Ok(None) | Err(_) => None,
        }
    }

    /// Becomes readable when a signal arrives.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (name, expected) in [
            ("9", 9),
            ("0", 0),
            ("64", 64),
            ("KILL", libc::SIGKILL),
            ("SIGKILL", libc::SIGKILL),
            ("sigterm", libc::SIGTERM),
            ("term", libc::SIGTERM),
            ("USR1", libc::SIGUSR1),
            ("CHLD", libc::SIGCHLD),
            ("CLD", libc::SIGCHLD),
            ("IO", libc::SIGIO),
            ("POLL", libc::SIGIO),
            ("PWR", libc::SIGPWR),
            ("SYS", libc::SIGSYS),
            ("STKFLT", libc::SIGSTKFLT),
            ("WINCH", libc::SIGWINCH),
            ("RTMIN", libc::SIGRTMIN()),
            ("SIGRTMIN+3", libc::SIGRTMIN() + 3),
            ("rtmax-1", libc::SIGRTMAX() - 1),
            ("RTMIN+30", libc::SIGRTMAX()),
        ] {
            assert_eq!(number(name).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_signal() {
        for name in [
            "",
            "FOO",
            "SIG",
            "65",
            "99999999999",
            "-9",
            "+9",
            "RTMIN+31",
            "RTMIN-1",
            "RTMIN3",
            "SIGSIGKILL",
        ] {
            let error = number(name).unwrap_err();
            assert_eq!(error.to_string(), format!("unknown signal {name:?}"));
        }
    }

    #[test]
    fn held_back_signals_are_read() {
        // Only this thread holds them back, and only to it are they sent.
        let signals = Signals::hold().unwrap();
        assert_eq!(signals.next(), None);
        nix::sys::signal::raise(Signal::SIGUSR2).unwrap();
        assert_eq!(signals.next(), Some(libc::SIGUSR2));
        assert_eq!(signals.next(), None);
    }
}
