//! `run`: creates a container, starts it, and in the foreground waits for its end and deletes it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

use runtime_core::Result;

use super::create::{
    BUNDLE, CONSOLE_SOCKET, Creation, NO_NEW_KEYRING, NO_PIVOT, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS, removed,
};
use crate::args::{Arity, Flag, FlagsEnd};
use crate::command::{Call, Command, Failure, invalid};
use crate::foreground::Foreground;

/// The command.
pub const COMMAND: Command = Command {
    name: "run",
    about: "create and run a container",
    usage: "<container-id> | <bundle>/",
    details: "Makes the container that the bundle's config.json describes, starts it, waits for its end, deletes\n\
              it, and exits with the code of its process, or with 128 + n if signal n ended that.\n\
              \n\
              An argument with a slash in it, like ./bundle or bundle/, is the bundle itself: it runs under a\n\
              generated id.",
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        Flag::switch("detach", "do not wait for the end of the container").short("d"),
        Flag::switch("keep", "do not delete the container at its end"),
        Flag::switch(
            "no-subreaper",
            "do not reap processes that the container leaves behind",
        ),
        PIDFD_SOCKET,
        PID_FILE,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
    ],
    arity: Arity::Exactly(1),
    flags_end: FlagsEnd::Never,
    failure: Failure::Named,
    launches: true,
    run,
};

fn run(call: &Call) -> Result<u8> {
    let matches = call.matches;
    let (id, bundle) = target(call)?;
    let detached = matches.switch("detach");
    let creation = Creation::new(call, id, &bundle, detached)?;
    if detached {
        // The terminal went to a socket.
        creation.run(|_| Ok(()))?;
        return Ok(0);
    }
    attend(creation, matches.switch("keep"), !matches.switch("no-subreaper"))
}

fn attend(creation: Creation, keep: bool, subreaper: bool) -> Result<u8> {
    let (runtime, id) = (creation.runtime.clone(), creation.id.clone());
    let mut foreground = Foreground::prepare(subreaper)?;
    // On an error the terminal is itself again before that is shown.
    let running = creation.run(|console| foreground.connect(console))?;
    let code = match foreground.wait(&running) {
        Ok(code) => code,
        Err(error) => return Err(removed(&runtime, &id, error)),
    };
    if !keep && let Err(error) = running.delete() {
        // The process's exit code is what was asked for; what is left is told about.
        tracing::error!(id, "cannot delete the container: {error}");
    }
    Ok(code)
}

/// Id and bundle: the argument is one or the other.
fn target(call: &Call) -> Result<(String, PathBuf)> {
    let bundle = call.matches.path("bundle");
    let argument = Path::new(&call.matches.arguments[0]);
    if !argument.as_os_str().as_encoded_bytes().contains(&b'/') {
        return Ok((call.id()?, bundle.unwrap_or_else(|| PathBuf::from("."))));
    }
    if bundle.is_some() {
        return Err(invalid("two bundles are given: as argument and by --bundle")
            .operand(argument)
            .hint("a container id has no slash"));
    }
    Ok((generated_id(argument), argument.to_owned()))
}

/// The bundle's name, as far as an id can have it, and something random.
fn generated_id(bundle: &Path) -> String {
    let name = bundle.file_name().unwrap_or_default().to_string_lossy();
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "_-".contains(*c);
    let mut id: String = name.chars().filter(allowed).take(32).collect();
    if !id.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        id.insert_str(0, "bundle");
    }
    // The standard library's hashers have random keys.
    let random = RandomState::new().build_hasher().finish();
    format!("{id}-{:012x}", random & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_ids() {
        for (bundle, start) in [
            ("runtime-cli/demo", "demo-"),
            ("./a b/", "ab-"),
            ("/", "bundle-"),
            ("x/-f", "bundle-f-"),
        ] {
            let id = generated_id(Path::new(bundle));
            assert!(id.starts_with(start), "{id}");
            assert_eq!(id.len(), start.len() + 12);
        }
        assert_ne!(generated_id(Path::new("x/")), generated_id(Path::new("x/")));
    }
}
