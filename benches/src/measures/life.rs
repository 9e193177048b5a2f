//! The life of a container step by step, and what is done with a running one.

use std::collections::HashMap;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::{Bench, figures, milliseconds};
use crate::bundle::Bundle;
use crate::contender::Contender;
use crate::options::Options;
use crate::report::Figures;
use crate::rounds::{Schedule, Track, alternate};

fn read_pid(contender: &Contender, id: &str) -> Result<Pid, String> {
    let file = contender.pid_file(id);
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    text.trim()
        .parse()
        .map(Pid::from_raw)
        .map_err(|_| format!("{}: not a pid: {text}", file.display()))
}

fn whole_life(bench: &Bench, contender: &Contender) -> Result<[f64; 4], String> {
    let id = bench.id();
    let created = contender
        .time(&mut contender.create(&bench.quick, &id))
        .map(milliseconds)?;
    let pid = read_pid(contender, &id)?;
    let started = contender.time(&mut contender.start(&id)).map(milliseconds)?;
    // Its creator has gone, so this process is its parent, as a shim would be. The wait is the program's time.
    waitpid(pid, None).map_err(|errno| format!("waiting for {pid}: {errno}"))?;
    let deleted = contender.time(&mut contender.delete(&id)).map(milliseconds)?;
    // runc and crun leave that to their caller.
    let _ = fs::remove_file(contender.pid_file(&id));
    Ok([created + started + deleted, created, started, deleted])
}

fn take(bench: &Bench, schedule: Schedule, name: &'static str, rhythm: &str) -> Vec<Figures> {
    let tracks = alternate(&bench.contenders, schedule, |contender| {
        whole_life(bench, contender)
    });
    [
        "create + start + delete",
        "  of it create",
        "  of it start",
        "  of it delete",
    ]
    .iter()
    .enumerate()
    .map(|(series, step)| {
        figures(
            name,
            &format!("{step}, {rhythm}"),
            "ms",
            &bench.contenders,
            &tracks,
            series,
        )
    })
    .collect()
}

/// One right after the other.
pub fn tight(bench: &Bench, options: &Options) -> Vec<Figures> {
    take(bench, Schedule::tight(options.rounds(30)), "life", "tight loop")
}

/// With a rest before each.
pub fn paused(bench: &Bench, options: &Options) -> Vec<Figures> {
    take(
        bench,
        Schedule::paused(options.rounds(12)),
        "life-pause",
        "250 ms apart",
    )
}

/// A running container of every contender, for what is done beside it.
pub(super) struct Running<'a> {
    bench: &'a Bench,
    containers: HashMap<String, Result<(String, Pid), String>>,
}

impl<'a> Running<'a> {
    /// Starts them.
    pub(super) fn start(bench: &'a Bench) -> Self {
        let start = |contender: &Contender, bundle: &Bundle| {
            let id = bench.id();
            contender.time(&mut contender.create(bundle, &id))?;
            let pid = read_pid(contender, &id)?;
            contender.time(&mut contender.start(&id))?;
            Ok((id, pid))
        };
        let containers = bench
            .contenders
            .iter()
            .map(|contender| (contender.name.clone(), start(contender, &bench.waiting)))
            .collect();
        Self { bench, containers }
    }

    /// Name and first process of the contender's container.
    pub(super) fn of(&self, contender: &Contender) -> Result<(&str, i32), String> {
        match self.containers.get(&contender.name) {
            Some(Ok((id, pid))) => Ok((id, pid.as_raw())),
            Some(Err(failure)) => Err(failure.clone()),
            None => Err("no container".into()),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        for contender in &self.bench.contenders {
            let Some(Ok((id, pid))) = self.containers.get(&contender.name) else {
                continue;
            };
            // Dead and reaped before its runtime looks for it; what remains is swept up at the end.
            let _ = kill(*pid, Signal::SIGKILL);
            let _ = waitpid(*pid, None);
            let _ = contender.time(&mut contender.delete(id));
            let _ = fs::remove_file(contender.pid_file(id));
        }
    }
}

fn exec(bench: &Bench, schedule: Schedule, name: &'static str, rhythm: &str) -> Vec<Figures> {
    let running = Running::start(bench);
    let tracks = alternate(&bench.contenders, schedule, |contender| {
        let (id, pid) = running.of(contender)?;
        contender
            .time(&mut contender.exec(id, pid))
            .map(|time| [milliseconds(time)])
    });
    vec![figures(
        name,
        &format!("exec of a static true, {rhythm}"),
        "ms",
        &bench.contenders,
        &tracks,
        0,
    )]
}

/// One right after the other.
pub fn exec_tight(bench: &Bench, options: &Options) -> Vec<Figures> {
    exec(bench, Schedule::tight(options.rounds(60)), "exec", "tight loop")
}

/// With a rest before each.
pub fn exec_paused(bench: &Bench, options: &Options) -> Vec<Figures> {
    exec(
        bench,
        Schedule::paused(options.rounds(12)),
        "exec-pause",
        "250 ms apart",
    )
}

/// The `state` of a running container.
pub fn state(bench: &Bench, options: &Options) -> Vec<Figures> {
    let running = Running::start(bench);
    let tracks: Vec<Track<1>> = alternate(
        &bench.contenders,
        Schedule::tight(options.rounds(60)),
        |contender| {
            let (id, _) = running.of(contender)?;
            let mut command = contender.state(id).ok_or("has no state")?;
            contender.time(&mut command).map(|time| [milliseconds(time)])
        },
    );
    vec![figures(
        "state",
        "state of a running container",
        "ms",
        &bench.contenders,
        &tracks,
        0,
    )]
}
