//! Kills a runtime at every system call of one of its verbs, and looks what `delete --force` leaves; or, with
//! `--record`, lists what its children call before they execute something.
//!
//! Everything happens in a pid and a mount namespace of this program's own: what it starts dies with it, what is
//! left over is all there is to see, and no other process can be hit. The result goes to standard output as JSON.

mod options;
mod record;
mod sweeper;
mod sys;
mod trace;
mod traces;

use std::process::{Command, ExitCode};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use options::Options;

fn main() -> ExitCode {
    let outcome = Options::parse(std::env::args().skip(1)).and_then(|options| {
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| format!("prctl: {errno}"))?;
        if options.inside {
            inside(&options)
        } else {
            outside()
        }
    });
    outcome.unwrap_or_else(|message| {
        eprintln!("sweep: {message}");
        ExitCode::from(2)
    })
}

/// Starts itself again as the first process of new namespaces.
fn outside() -> Result<ExitCode, String> {
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)
        .map_err(|errno| format!("unshare: {errno}"))?;
    let program = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let status = Command::new(program)
        .arg("--inside")
        .args(std::env::args_os().skip(1))
        .status()
        .map_err(|error| format!("start inside: {error}"))?;
    Ok(ExitCode::from(status.code().map_or(2, |code| code as u8)))
}

fn inside(options: &Options) -> Result<ExitCode, String> {
    if std::process::id() != 1 {
        return Err("--inside is for the program itself".to_string());
    }
    private_mounts(options)?;
    let report = if options.record {
        sweeper::record(options)?
    } else {
        sweeper::sweep(options)?
    };
    println!("{report}");
    Ok(ExitCode::SUCCESS)
}

/// Nothing that is mounted from here on can be seen outside, and /proc shows this pid namespace only.
fn private_mounts(options: &Options) -> Result<(), String> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|errno| format!("make the mounts private: {errno}"))?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none)
        .map_err(|errno| format!("mount /proc: {errno}"))?;
    // Empty, so that every temporary file shows; not where what we work with lies below.
    for dir in ["/run", "/dev/shm"] {
        if !options.paths().iter().any(|path| path.starts_with(dir)) {
            mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), none)
                .map_err(|errno| format!("mount {dir}: {errno}"))?;
        }
    }
    Ok(())
}
