//! What is measured. Each measure lets the contenders take turns and gives one or more figures.

mod life;
mod limit;
mod run;
mod weight;

use std::cell::Cell;
use std::path::PathBuf;

use crate::bundle::Bundle;
use crate::contender::Contender;
use crate::host::Host;
use crate::options::Options;
use crate::report::{Figures, Row};
use crate::rounds::Track;

/// What the measures work with.
pub struct Bench {
    /// The machine.
    pub host: Host,
    /// Those compared.
    pub contenders: Vec<Contender>,
    /// A bundle whose program ends at once.
    pub quick: Bundle,
    /// A bundle whose program waits for a signal.
    pub waiting: Bundle,
    /// Where more bundles can be written.
    pub directory: PathBuf,
    /// The program inside the containers.
    pub program: PathBuf,
    /// The helper that starts a command from a tiny process.
    pub weigh: PathBuf,
    /// All containers' names start so.
    pub prefix: String,
    /// Number of the next container.
    pub next: Cell<u32>,
}

impl Bench {
    /// A name that no container had before.
    pub fn id(&self) -> String {
        let number = self.next.get();
        self.next.set(number + 1);
        format!("{}{number}", self.prefix)
    }
}

/// A measure: its name, what it is, and how to take it.
pub struct Measure {
    /// For `--only`.
    pub name: &'static str,
    /// For `--list`.
    pub about: &'static str,
    /// Takes it.
    pub take: fn(&Bench, &Options) -> Vec<Figures>,
}

/// All measures, in the order of the report.
pub const ALL: &[Measure] = &[
    Measure {
        name: "run",
        about: "`run` of a static true, one after another",
        take: run::tight,
    },
    Measure {
        name: "run-pause",
        about: "the same with 250 ms of rest before each",
        take: run::paused,
    },
    Measure {
        name: "life",
        about: "create + start + delete",
        take: life::tight,
    },
    Measure {
        name: "life-pause",
        about: "the same with 250 ms of rest before each",
        take: life::paused,
    },
    Measure {
        name: "exec",
        about: "exec of a static true in a running container",
        take: life::exec_tight,
    },
    Measure {
        name: "exec-pause",
        about: "the same with 250 ms of rest before each",
        take: life::exec_paused,
    },
    Measure {
        name: "state",
        about: "state of a running container",
        take: life::state,
    },
    Measure {
        name: "hundred",
        about: "100 starts one after another",
        take: run::hundred,
    },
    Measure {
        name: "parallel",
        about: "16 starts at once",
        take: run::parallel,
    },
    Measure {
        name: "usage",
        about: "peak resident set and processor time of a run",
        take: weight::usage,
    },
    Measure {
        name: "calls",
        about: "system calls of a run and of an exec",
        take: weight::calls,
    },
    Measure {
        name: "disk",
        about: "size of the program and of the libraries it loads",
        take: weight::disk,
    },
    Measure {
        name: "memory",
        about: "the smallest memory limit under which a run succeeds",
        take: limit::memory,
    },
];

/// One figure out of the tracks of a measure that delivers several.
fn figures<const SERIES: usize>(
    name: &'static str,
    title: &str,
    unit: &'static str,
    contenders: &[Contender],
    tracks: &[Track<SERIES>],
    series: usize,
) -> Figures {
    let rows = contenders
        .iter()
        .zip(tracks)
        .map(|(contender, track)| Row {
            contender: contender.name.clone(),
            samples: track
                .samples
                .iter()
                .map(|sample| sample.map(|values| values[series]))
                .collect(),
            note: track.failure.clone(),
        })
        .collect();
    Figures {
        name,
        title: title.into(),
        unit,
        rows,
    }
}

/// In the table's unit.
fn milliseconds(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
