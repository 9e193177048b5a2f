//! `spec`: writes a config.json to begin with.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use nix::unistd::{getegid, geteuid};
use runtime_core::{Error, Result};

use crate::args::{Arity, Flag, FlagsEnd};
use crate::cli::SPEC_VERSION;
use crate::command::{Call, Command, Failure, invalid};

/// What runc writes, with the words in capitals to be replaced.
const ROOT: &str = include_str!("spec/root.json.in");
/// The same without what only root can have.
const ROOTLESS: &str = include_str!("spec/rootless.json.in");

/// The command.
pub const COMMAND: Command = Command {
    name: "spec",
    about: "write a config.json to begin with",
    usage: "",
    details: "The configuration runs sh in the directory rootfs, which has to be filled.",
    flags: &[
        Flag::text("bundle", "directory to write to (default: the current directory)").short("b"),
        Flag::switch("rootless", "for running without root's privileges"),
    ],
    arity: Arity::Exactly(0),
    flags_end: FlagsEnd::Never,
    failure: Failure::Plain,
    launches: false,
    run,
};

fn run(call: &Call) -> Result<u8> {
    let path = call
        .matches
        .path("bundle")
        .unwrap_or_default()
        .join("config.json");
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let text = example(call.matches.switch("rootless"), unified);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.raw_os_error() {
        Some(libc::EEXIST) => invalid(format!("File {} exists. Remove it first", path.display())),
        errno => Error::sys("write", errno.unwrap_or(libc::EIO)).operand(&path),
    })?;
    Ok(0)
}

/// As runc has it: a cgroup namespace on version 2, the host's on version 1.
fn example(rootless: bool, unified: bool) -> String {
    let namespace = if unified {
        ",\n\t\t\t{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}"
    } else {
        ""
    };
    if rootless { ROOTLESS } else { ROOT }
        .replace("VERSION", SPEC_VERSION)
        .replace("CGROUP", namespace)
        .replace("UID", &geteuid().to_string())
        .replace("GID", &getegid().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_core::Bundle;
    use runtime_core::spec::{NamespaceType, Spec};

    fn read(rootless: bool, unified: bool) -> Spec {
        let spec: Spec = serde_json::from_str(&example(rootless, unified)).unwrap();
        Bundle::new("/", spec.clone()).unwrap();
        spec
    }

    fn kinds(spec: &Spec) -> Vec<NamespaceType> {
        spec.linux
            .namespaces
            .iter()
            .map(|namespace| namespace.kind)
            .collect()
    }

    #[test]
    fn what_tools_edit_is_there() {
        let spec = read(false, false);
        assert_eq!(spec.oci_version, "1.3.0");
        let process = spec.process.as_ref().unwrap();
        assert_eq!(process.args, ["sh"]);
        assert!(process.terminal && spec.root.as_ref().unwrap().readonly);
        assert_eq!(spec.mounts.len(), 7);
        use NamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
        assert_eq!(kinds(&spec), [Pid, Network, Ipc, Uts, Mount]);
        assert_eq!(kinds(&read(false, true)), [Pid, Network, Ipc, Uts, Mount, Cgroup]);
    }

    #[test]
    fn rootless_needs_nothing_of_root() {
        let spec = read(true, false);
        use NamespaceType::{Ipc, Mount, Pid, User, Uts};
        assert_eq!(kinds(&spec), [Pid, Ipc, Uts, Mount, User]);
        assert_eq!(spec.linux.resources, None);
        assert_eq!(spec.linux.uid_mappings[0].host_id, geteuid().as_raw());
        assert_eq!(spec.linux.gid_mappings[0].host_id, getegid().as_raw());
        assert!(
            !spec
                .mounts
                .iter()
                .any(|mount| mount.options.contains(&"gid=5".to_owned()))
        );
    }

    #[test]
    fn every_placeholder_is_replaced() {
        for (rootless, unified) in [(false, false), (false, true), (true, false), (true, true)] {
            let text = example(rootless, unified);
            for word in ["VERSION", "CGROUP", "UID", "GID"] {
                assert!(!text.contains(word), "{word}");
            }
        }
    }
}
