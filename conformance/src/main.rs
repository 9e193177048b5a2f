//! Proves a container runtime from outside: what the runtime-spec says, what callers of runc rely on.
//!
//! `cargo run --release -p conformance` does everything; see the README beside this crate.

mod guest;
mod harness;
mod options;
mod subjects;
mod sys;

use std::process::ExitCode;

use harness::runner;
use options::{Mode, Options};

fn main() -> ExitCode {
    // Only the guest's kernel starts the first process of all by this name.
    if std::process::id() == 1 && std::env::args().next().as_deref() == Some(guest::init::NAME) {
        let Err(message) = guest::init::main();
        eprintln!("conformance: {message}");
        return ExitCode::FAILURE;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("conformance: {message}");
            return ExitCode::from(2);
        }
    };
    harness::pace::set(options.stretch);
    let outcome = match &options.mode {
        Mode::Help => {
            print!("{}", options::USAGE);
            Ok(true)
        }
        Mode::List => {
            runner::list(&options);
            Ok(true)
        }
        Mode::One { name, dir } => runner::run_one(&options, name, dir),
        Mode::Suite => runner::run_suite(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("conformance: {message}");
            ExitCode::from(2)
        }
    }
}
