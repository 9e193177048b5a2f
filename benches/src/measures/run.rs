//! `run`: a whole life in the foreground.

use std::time::Instant;

use super::{Bench, figures, milliseconds};
use crate::contender::Contender;
use crate::options::Options;
use crate::report::Figures;
use crate::rounds::{Schedule, alternate};

fn once(bench: &Bench, contender: &Contender) -> Result<f64, String> {
    contender
        .time(&mut contender.run(&bench.quick, &bench.id()))
        .map(milliseconds)
}

fn take(bench: &Bench, schedule: Schedule, name: &'static str, title: &str) -> Vec<Figures> {
    let tracks = alternate(&bench.contenders, schedule, |contender| {
        once(bench, contender).map(|time| [time])
    });
    vec![figures(name, title, "ms", &bench.contenders, &tracks, 0)]
}

/// One right after the other.
pub fn tight(bench: &Bench, options: &Options) -> Vec<Figures> {
    take(
        bench,
        Schedule::tight(options.rounds(60)),
        "run",
        "run of a static true, tight loop",
    )
}

/// With a rest before each.
pub fn paused(bench: &Bench, options: &Options) -> Vec<Figures> {
    take(
        bench,
        Schedule::paused(options.rounds(20)),
        "run-pause",
        "run of a static true, 250 ms apart",
    )
}

/// A hundred in a row by the same contender.
pub fn hundred(bench: &Bench, options: &Options) -> Vec<Figures> {
    let tracks = alternate(
        &bench.contenders,
        Schedule::tight(options.rounds(3)),
        |contender| {
            let before = Instant::now();
            for _ in 0..100 {
                once(bench, contender)?;
            }
            Ok([milliseconds(before.elapsed())])
        },
    );
    vec![figures(
        "hundred",
        "100 runs one after another, together",
        "ms",
        &bench.contenders,
        &tracks,
        0,
    )]
}

/// Sixteen at once.
pub fn parallel(bench: &Bench, options: &Options) -> Vec<Figures> {
    let tracks = alternate(
        &bench.contenders,
        Schedule::tight(options.rounds(10)),
        |contender| {
            let before = Instant::now();
            let started: Vec<_> = (0..16)
                .map(|_| contender.spawn(&mut contender.run(&bench.quick, &bench.id())))
                .collect();
            let mut outcome = Ok(());
            for child in started {
                let status = child.and_then(|mut child| child.wait().map_err(|error| error.to_string()));
                match status {
                    Ok(status) if status.success() => {}
                    Ok(status) => outcome = Err(format!("{status}: {}", contender.last_words())),
                    Err(error) => outcome = Err(error),
                }
            }
            outcome.map(|()| [milliseconds(before.elapsed())])
        },
    );
    vec![figures(
        "parallel",
        "16 runs at once, until the last has ended",
        "ms",
        &bench.contenders,
        &tracks,
        0,
    )]
}
