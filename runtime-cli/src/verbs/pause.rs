//! `pause` and `resume`.

use runtime_core::Result;

use crate::args::{Arity, FlagsEnd};
use crate::command::{Call, Command, Failure};

/// `pause`.
pub const PAUSE: Command = Command {
    name: "pause",
    about: "freeze all processes of a container",
    usage: "<container-id>",
    details: "",
    flags: &[],
    arity: Arity::Exactly(1),
    flags_end: FlagsEnd::Never,
    failure: Failure::Plain,
    launches: false,
    run: |call: &Call| -> Result<u8> { call.container()?.pause().map(|()| 0) },
};

/// `resume`.
pub const RESUME: Command = Command {
    name: "resume",
    about: "let the processes of a paused container go on",
    run: |call: &Call| -> Result<u8> { call.container()?.resume().map(|()| 0) },
    ..PAUSE
};
