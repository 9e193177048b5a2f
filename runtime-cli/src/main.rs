//! oci-rt: an OCI container runtime with the command line of runc, on top of the library `runtime-core`.

mod args;
mod cli;
mod command;
mod console_socket;
mod descriptors;
mod foreground;
mod globals;
mod guard;
mod input;
mod log;
mod output;
mod pid_file;
mod signals;
mod sys;
mod terminal;
mod units;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cli::run(std::env::args_os().collect()))
}
