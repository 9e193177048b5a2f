//! The flags before the command's name, and the defaults that depend on who calls.

use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use runtime_core::{CgroupDriver, Code, Error, Result, Runtime};

use crate::args::{Flag, Matches};
use crate::log::Format;

/// The flags.
pub const FLAGS: &[Flag] = &[
    Flag::switch("debug", "write debug records to the log"),
    Flag::text(
        "log",
        "file that records are appended to (default: standard error)",
    ),
    Flag::text(
        "log-format",
        "format of the records: text or json (default: text)",
    ),
    Flag::text(
        "root",
        "directory of the containers' state, best on a tmpfs (default: /run/oci-rt, or $XDG_RUNTIME_DIR/oci-rt)",
    ),
    Flag::switch(
        "systemd-cgroup",
        "let systemd make the cgroups; cgroupsPath is then slice:prefix:name",
    ),
    Flag::text(
        "rootless",
        "tolerate missing cgroup permissions: true, false or auto (default: auto)",
    ),
    Flag::switch("version", "print the version").short("v"),
];

/// What the flags say.
#[derive(Debug, Clone)]
pub struct Globals {
    /// Directory of the containers' state, absolute.
    root: PathBuf,
    /// Whether that is a directory of the user's, which others may clean up.
    own: bool,
    driver: CgroupDriver,
    /// File that records are appended to.
    pub log: Option<PathBuf>,
    /// Format of the records.
    pub format: Format,
    /// Whether debug records are written.
    pub debug: bool,
}

impl Globals {
    /// Reads the flags.
    pub fn new(matches: &Matches) -> Result<Globals> {
        let format = match matches.string("log-format").as_deref() {
            None | Some("text") => Format::Text,
            Some("json") => Format::Json,
            Some(other) => {
                return Err(Error::new(
                    Code::InvalidConfig,
                    format!("invalid log-format: {other}"),
                ));
            }
        };
        if let Some(rootless) = matches.string("rootless")
            && !["auto", "true", "false", "1", "0", "t", "f"]
                .contains(&rootless.to_ascii_lowercase().as_str())
        {
            return Err(Error::new(
                Code::InvalidConfig,
                format!("invalid rootless: {rootless}"),
            ));
        }
        let driver = if matches.switch("systemd-cgroup") {
            CgroupDriver::Systemd
        } else {
            CgroupDriver::Cgroupfs
        };
        let (root, own) = match matches.path("root") {
            Some(root) => (absolute(&root)?, false),
            None => default_root(),
        };
        Ok(Globals {
            root,
            own,
            driver,
            log: matches.path("log"),
            format,
            debug: matches.switch("debug"),
        })
    }

    /// The state root.
    pub fn runtime(&self) -> Result<Runtime> {
        Ok(Runtime::new(&self.root)?.with_cgroup_driver(self.driver))
    }

    /// Makes the state root safe from those who clean up the user's directory: the sticky bit tells them to keep
    /// off. To be called before a container is made.
    pub fn protect_root(&self) -> Result<()> {
        if !self.own {
            return Ok(());
        }
        let made = match DirBuilder::new().mode(0o700).create(&self.root) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        made.and_then(|()| fs::set_permissions(&self.root, Permissions::from_mode(0o1700)))
            .map_err(|error| {
                Error::sys("make state root", error.raw_os_error().unwrap_or(libc::EIO)).operand(&self.root)
            })
    }
}

/// A path as seen from the root directory.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
        Error::sys("find working directory", errno).operand(path)
    })
}

fn default_root() -> (PathBuf, bool) {
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    match own {
        Some(dir) if uses_own_directory() => (PathBuf::from(dir).join("oci-rt"), true),
        _ => (PathBuf::from("/run/oci-rt"), false),
    }
}

/// Whether state belongs into the user's directory: always without root's id; with it only in a user namespace
/// that another user made, which keeps the variables of that user.
fn uses_own_directory() -> bool {
    geteuid().as_raw() != 0
        || (in_user_namespace() && std::env::var_os("USER").is_none_or(|user| user != "root"))
}

fn in_user_namespace() -> bool {
    std::fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| !map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{FlagsEnd, parse};

    fn globals(line: &[&str]) -> Result<Globals> {
        Globals::new(
            &parse(
                FLAGS,
                FlagsEnd::FirstArgument,
                line.iter().map(|word| (*word).into()),
            )
            .unwrap(),
        )
    }

    #[test]
    fn the_last_of_repeated_flags_wins() {
        let globals = globals(&[
            "--root=/a",
            "--systemd-cgroup",
            "-root",
            "/b",
            "--systemd-cgroup",
            "--log-format=json",
        ]);
        let globals = globals.unwrap();
        assert_eq!(globals.root, Path::new("/b"));
        assert_eq!(globals.driver, CgroupDriver::Systemd);
        assert_eq!(globals.format, Format::Json);
    }

    #[test]
    fn a_relative_root_is_made_absolute() {
        let root = globals(&["--root", "state"]).unwrap().root;
        assert_eq!(root, std::env::current_dir().unwrap().join("state"));
    }

    #[test]
    fn unknown_formats_are_refused() {
        assert_eq!(
            globals(&["--log-format", "xml"]).unwrap_err().to_string(),
            "invalid log-format: xml"
        );
        assert!(globals(&["--rootless", "maybe"]).is_err());
        for value in ["true", "false", "auto"] {
            assert!(globals(&["--rootless", value]).is_ok());
        }
    }
}
