//! A program with many threads that embeds the library: it creates, executes into and deletes containers from all of
//! them while others allocate and log, and looks whether anything of its own has changed.
//!
//! Arguments: bundle, state root, prefix of the ids, threads, containers in all, log file. Prints JSON.

mod facts;
mod noise;
mod sys;

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use runtime_core::{Bundle, CreateOptions, ExecOptions, Runtime, Stream};
use serde_json::json;

#[global_allocator]
static HEAP: sys::OwnersHeap = sys::OwnersHeap;

/// What one step may take.
const STEP: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("embed: {message}");
            ExitCode::FAILURE
        }
    }
}

struct Work {
    runtime: Runtime,
    bundle: Bundle,
    prefix: String,
    total: usize,
    next: AtomicUsize,
}

fn run() -> Result<serde_json::Value, String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, root, prefix, threads, total, log] = args.as_slice() else {
        return Err("needs: bundle, state root, prefix, threads, containers, log file".to_string());
    };
    let number = |text: &String| {
        text.parse::<usize>()
            .map_err(|_| format!("not a number: {text:?}"))
    };
    let (threads, total) = (number(threads)?, number(total)?);
    let events = Arc::new(AtomicU64::new(0));
    let log = File::create(log).map_err(|error| format!("{log}: {error}"))?;
    tracing::subscriber::set_global_default(noise::Log::new(log, Arc::clone(&events)))
        .map_err(|e| e.to_string())?;
    let mut sleeper = Command::new("/bin/sleep")
        .arg("1000")
        .stdin(Stdio::null())
        .spawn()
        .map_err(|e| format!("sleep: {e}"))?;
    let work = Work {
        runtime: Runtime::new(PathBuf::from(root)).map_err(|error| error.to_string())?,
        bundle: Bundle::load(bundle).map_err(|error| error.to_string())?,
        prefix: prefix.clone(),
        total,
        next: AtomicUsize::new(0),
    };
    // Once before the facts are taken: what the library sets up for good is there after that, and what the C library
    // does at the first thread, which is to handle a signal of its own.
    work.container(&format!("{prefix}-first"))?;
    let thread = std::thread::spawn(|| {});
    thread.join().map_err(|_| "the first thread failed".to_string())?;
    sys::guard_heap();
    if !sys::heap_is_guarded() {
        return Err("a forked process could allocate: the guard does not work".to_string());
    }
    let before = facts::at_rest();
    let noise = noise::Noise::begin();
    let start = Instant::now();
    let mut problems = work.in_threads(threads);
    let seconds = start.elapsed().as_secs_f64();
    problems.extend(noise.end());
    // What is dropped by other threads may be a moment late.
    let mut changed = facts::differences(&before, &facts::at_rest());
    while !changed.is_empty() && start.elapsed().as_secs_f64() < seconds + 2.0 {
        std::thread::sleep(Duration::from_millis(10));
        changed = facts::differences(&before, &facts::at_rest());
    }
    problems.extend(changed);
    if sleeper
        .try_wait()
        .map_err(|error| format!("wait for a child of our own: {error}"))?
        .is_some()
    {
        problems.push("a child of the program's own has ended".to_string());
    }
    sleeper
        .kill()
        .and_then(|()| sleeper.wait())
        .map_err(|error| format!("end a child of our own: {error}"))?;
    let done = work.next.load(Ordering::Relaxed).min(total);
    Ok(json!({
        "containers": done, "threads": threads, "seconds": seconds, "events": events.load(Ordering::Relaxed),
        "problems": problems,
    }))
}

impl Work {
    /// All containers, from so many threads; what went wrong.
    fn in_threads(&self, threads: usize) -> Vec<String> {
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.one_thread())).collect();
            let joined = workers.into_iter().map(|worker| worker.join());
            joined
                .flat_map(|result| result.unwrap_or_else(|_| vec!["a thread panicked".to_string()]))
                .collect()
        })
    }

    fn one_thread(&self) -> Vec<String> {
        let before = facts::of_thread();
        let mut problems = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.total || problems.len() > 2 {
                break;
            }
            let id = format!("{}-{number}", self.prefix);
            if let Err(problem) = self.container(&id) {
                problems.push(format!("{id}: {problem}"));
            }
            problems.extend(facts::differences(&before, &facts::of_thread()));
        }
        problems
    }

    /// The life of one container.
    fn container(&self, id: &str) -> Result<(), String> {
        let failed = |error: runtime_core::Error| error.to_string();
        let mut options = CreateOptions::default();
        (options.stdio.stdin, options.stdio.stdout) = (Stream::Null, Stream::Null);
        let created = self.runtime.create(id, &self.bundle, options).map_err(failed)?;
        let running = created.start().map_err(failed)?;
        let mut process = self
            .bundle
            .spec()
            .process
            .clone()
            .ok_or("the bundle has no process")?;
        process.args = ["sh", "-c", "exit 9"].map(String::from).to_vec();
        let mut options = ExecOptions::default();
        (options.stdio.stdin, options.stdio.stdout) = (Stream::Null, Stream::Null);
        let executed = running.container().exec(&process, options).map_err(failed)?;
        let status = executed
            .wait_timeout(STEP)
            .map_err(failed)?
            .ok_or("exec does not end")?;
        if status.code() != Some(9) {
            return Err(format!("exec ended with {status}"));
        }
        running.container().kill(libc::SIGKILL).map_err(failed)?;
        let status = running
            .wait_timeout(STEP)
            .map_err(failed)?
            .ok_or("the container does not end")?;
        if status.signal() != Some(libc::SIGKILL) {
            return Err(format!("the container ended with {status}"));
        }
        running.container().delete().map_err(failed)
    }
}
