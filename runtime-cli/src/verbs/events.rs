//! `events`: usage figures and out-of-memory events, as lines of JSON.

use std::time::{Duration, Instant};

use runtime_core::cgroup::Stats;
use runtime_core::{Code, Container, Error, Result, Status};
use serde::Serialize;

use crate::args::{Arity, Flag, FlagsEnd};
use crate::command::{Call, Command, Failure, invalid};
use crate::output;

/// The command.
pub const COMMAND: Command = Command {
    name: "events",
    about: "show usage figures and out-of-memory events of a container",
    usage: "<container-id>",
    details: "Writes one JSON object a line, until the container ends.",
    flags: &[
        Flag::span("interval", "time between two sets of figures (default: 5s)"),
        Flag::switch("stats", "write one set of figures and exit"),
    ],
    arity: Arity::Exactly(1),
    flags_end: FlagsEnd::Never,
    failure: Failure::Plain,
    launches: false,
    run,
};

/// How often the kernel is asked for what it does not tell by itself.
const TICK: Duration = Duration::from_millis(250);

#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats>,
}

fn run(call: &Call) -> Result<u8> {
    let interval = call.matches.span("interval").unwrap_or(Duration::from_secs(5));
    if interval.is_zero() {
        return Err(invalid("duration interval must be greater than 0"));
    }
    let container = call.container()?;
    let id = container.id();
    if container.status()? == Status::Stopped {
        return Err(Error::new(
            Code::NotRunning,
            format!("container with id {id} is not running"),
        ));
    }
    let write = |kind, data| output::json(&Event { kind, id, data });
    if call.matches.switch("stats") {
        write("stats", Some(container.stats()?))?;
        return Ok(0);
    }
    follow(&container, interval, write)
}

fn follow(
    container: &Container,
    interval: Duration,
    write: impl Fn(&'static str, Option<Stats>) -> Result<()>,
) -> Result<u8> {
    let mut due = Instant::now() + interval;
    let mut kills = container.oom_kills()?;
    loop {
        std::thread::sleep(TICK.min(due.saturating_duration_since(Instant::now())));
        // The last kill may have ended the container, so it is asked for first. A container that is gone
        // altogether has ended, too.
        if let Ok(now) = container.oom_kills()
            && now > kills
        {
            kills = now;
            write("oom", None)?;
        }
        if !matches!(container.status(), Ok(status) if status != Status::Stopped) {
            return Ok(0);
        }
        if Instant::now() >= due {
            due += interval;
            write("stats", Some(container.stats()?))?;
        }
    }
}
