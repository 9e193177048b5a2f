//! What tests are made of: their table entries, outcomes, and what they work with.

pub mod bundle;
pub mod command;
pub mod console;
pub mod container;
pub mod host;
pub mod leftovers;
pub mod outside;
pub mod pace;
pub mod prepare;
pub mod report;
pub mod runner;
pub mod seen;

use std::fmt;

pub use bundle::Bundle;
pub use command::{Cmd, Output};
pub use container::{Container, Ctx};
pub use prepare::beside;

/// Why a test did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// What was asserted is not so.
    Failed(String),
    /// The test cannot run on this host, and why.
    Skipped(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Failed(message) | Stop::Skipped(message) => f.write_str(message),
        }
    }
}

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Failed(error.to_string())
    }
}

/// What a test, or a part of one, ends with.
pub type Outcome<T = ()> = Result<T, Stop>;

/// One row of the suite.
#[derive(Debug)]
pub struct Test {
    /// `subject/what-is-asserted`
    pub name: &'static str,
    /// The test itself.
    pub run: fn(&Ctx) -> Outcome,
    /// Runs alone, because it needs quiet or touches what is global on the host.
    pub serial: bool,
    /// Peers that fail this row, each with the reason.
    pub peers: &'static [(&'static str, &'static str)],
    /// Has nothing to do with cgroups, or takes too long under emulation: not run in the guest.
    pub host_only: bool,
    /// Seconds after which the test is killed.
    pub deadline: u64,
}

impl Test {
    /// A row that runs beside others and that every runtime passes.
    pub const fn new(name: &'static str, run: fn(&Ctx) -> Outcome) -> Test {
        Test {
            name,
            run,
            serial: false,
            peers: &[],
            host_only: false,
            deadline: 60,
        }
    }
    /// Runs alone.
    pub const fn serial(mut self) -> Test {
        self.serial = true;
        self
    }
    /// Names the peers that fail this row, each with the reason.
    pub const fn peers(mut self, peers: &'static [(&'static str, &'static str)]) -> Test {
        self.peers = peers;
        self
    }
    /// Leaves the row out in the guest: it has nothing to do with cgroups, or takes too long under emulation.
    pub const fn host_only(mut self) -> Test {
        self.host_only = true;
        self
    }
    /// Another deadline than 60 seconds.
    pub const fn deadline(mut self, seconds: u64) -> Test {
        self.deadline = seconds;
        self
    }
    /// Why the runtime of this name is known to fail this row.
    pub fn known_failure(&self, runtime: &str) -> Option<&'static str> {
        self.peers
            .iter()
            .find(|(name, _)| *name == runtime)
            .map(|(_, why)| *why)
    }
}

/// Ends the test as failed.
#[macro_export]
macro_rules! fail {
    ($($arg:tt)*) => { return Err($crate::harness::Stop::Failed(format!($($arg)*))) };
}

/// Ends the test as skipped, with the reason.
#[macro_export]
macro_rules! skip {
    ($($arg:tt)*) => { return Err($crate::harness::Stop::Skipped(format!($($arg)*))) };
}

/// Fails the test unless the condition holds.
#[macro_export]
macro_rules! check {
    ($cond:expr, $($arg:tt)*) => {{
        let holds: bool = $cond;
        if !holds {
            $crate::fail!($($arg)*)
        }
    }};
}

/// Fails the test unless both are equal; the last arguments say what is compared.
#[macro_export]
macro_rules! check_eq {
    ($got:expr, $want:expr, $($arg:tt)*) => {
        // A match keeps temporaries of both sides alive.
        match (&$got, &$want) {
            (got, want) => {
                if got != want {
                    $crate::fail!("{}: got {got:?}, want {want:?}", format!($($arg)*))
                }
            }
        }
    };
}
