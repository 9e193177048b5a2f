//! Threads that do what a busy program does: allocate, log, start children of its own.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::facts;

/// Threads of each kind.
const COUNT: usize = 3;

/// What goes on beside the containers.
pub struct Noise {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// What went wrong.
    pub problems: Arc<Mutex<BTreeSet<String>>>,
}

impl Noise {
    /// Starts it.
    pub fn begin() -> Noise {
        let mut noise = Noise {
            stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
            problems: Arc::default(),
        };
        for _ in 0..COUNT {
            noise.spawn(allocate);
            noise.spawn(log);
        }
        noise.spawn(children);
        let before = facts::of_process();
        noise.spawn(move |problems| watch(&before, problems));
        noise
    }

    fn spawn(&mut self, mut work: impl FnMut(&Mutex<BTreeSet<String>>) + Send + 'static) {
        let (stop, problems) = (Arc::clone(&self.stop), Arc::clone(&self.problems));
        self.threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                work(&problems);
            }
        }));
    }

    /// Ends it.
    pub fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            if thread.join().is_err() {
                report(&self.problems, "a thread of the noise panicked".to_string());
            }
        }
        self.problems
            .lock()
            .map(|problems| problems.iter().cloned().collect())
            .unwrap_or_default()
    }
}

fn report(problems: &Mutex<BTreeSet<String>>, problem: String) {
    if let Ok(mut problems) = problems.lock() {
        problems.insert(problem);
    }
}

fn pause() {
    // The containers need some of the processor, too.
    std::thread::sleep(std::time::Duration::from_micros(300));
}

fn allocate(_: &Mutex<BTreeSet<String>>) {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for size in (1..400).map(|n| n * 97 % 20_000) {
        held.push(vec![1; size]);
        if size % 3 == 0 {
            held.swap_remove(size % held.len());
        }
    }
    pause();
}

fn log(_: &Mutex<BTreeSet<String>>) {
    for n in 0..200 {
        tracing::info!(n, "noise {}", "x".repeat(n));
    }
    pause();
}

/// Whoever takes these away makes the wait fail.
fn children(problems: &Mutex<BTreeSet<String>>) {
    let child = Command::new("/bin/sh")
        .args(["-c", "exit 42"])
        .stdin(Stdio::null())
        .status();
    match child {
        Ok(status) if status.code() == Some(42) => {}
        other => report(
            problems,
            format!("a child of the program's own ended with {other:?}"),
        ),
    }
    std::thread::sleep(std::time::Duration::from_millis(5));
}

fn watch(before: &facts::Facts, problems: &Mutex<BTreeSet<String>>) {
    for difference in facts::differences(before, &facts::of_process()) {
        report(problems, format!("for a moment, {difference}"));
    }
    std::thread::sleep(std::time::Duration::from_millis(1));
}

/// Writes every event to a file under a lock, as loggers do.
pub struct Log {
    file: Mutex<File>,
    spans: AtomicU64,
    events: Arc<AtomicU64>,
}

impl Log {
    /// Logs to `file`, counts in `events`.
    pub fn new(file: File, events: Arc<AtomicU64>) -> Log {
        Log {
            file: Mutex::new(file),
            spans: AtomicU64::new(1),
            events,
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed))
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        self.events.fetch_add(1, Ordering::Relaxed);
        let mut line = Line(event.metadata().target().to_string());
        event.record(&mut line);
        line.0.push('\n');
        if let Ok(mut file) = self.file.lock() {
            let _ = file.write_all(line.0.as_bytes());
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
