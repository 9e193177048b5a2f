//! oci-rt: an OCI container runtime with the command line of runc, on top of the library `runtime-core`.
#![cfg_attr(not(test), no_main)]

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

/// The C library's `main`. Without the one of the standard library nothing is set up that a program of one thread
/// which lives for a millisecond has no use for: a stack guard, an alternate signal stack, an ignored SIGPIPE.
// SAFETY: no other symbol of this program or of the libraries has this name.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main(_count: std::ffi::c_int, _arguments: *const *const std::ffi::c_char) -> std::ffi::c_int {
    cli::run(std::env::args_os().collect()).into()
}

/// The test harness has a `main` of its own; to it this one is only what uses the rest.
#[cfg(test)]
fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os().collect()).into()
}
