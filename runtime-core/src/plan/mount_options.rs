//! Mount options: the words of mount(8) and what they mean to the kernel.

use libc::{MS_PRIVATE, MS_SHARED, MS_SLAVE, MS_UNBINDABLE};
use runtime_init::Attributes;

use crate::error::{Code, Error, Result};

pub(crate) const RDONLY: u64 = 0x1;
pub(crate) const NOSUID: u64 = 0x2;
pub(crate) const NODEV: u64 = 0x4;
pub(crate) const NOEXEC: u64 = 0x8;
const ATIME: u64 = 0x70;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

/// What one option does.
enum Effect {
    /// Says nothing.
    Nothing,
    Bind,
    Rbind,
    /// Sets and clears attributes of the mount.
    Attr(u64, u64),
    /// The same of the mounts below as well.
    RecursiveAttr(u64, u64),
    Propagation(u64, bool),
    /// A flag of the superblock, under the name that fsconfig(2) has for it.
    Super(&'static str),
    Idmap,
    CopyUp,
}

/// Every option that is more than data for the file system. `features` lists these names.
pub(crate) const NAMES: &[&str] = &[
    "acl",
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noacl",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

fn effect(option: &str) -> Option<Effect> {
    use Effect::*;
    let effect = match option {
        "" | "defaults" | "remount" | "async" | "loud" | "silent" | "acl" | "noacl" | "iversion"
        | "noiversion" | "nolazytime" | "nomand" | "mand" => Nothing,
        "bind" => Bind,
        "rbind" => Rbind,
        "sync" => Super("sync"),
        "dirsync" => Super("dirsync"),
        "lazytime" => Super("lazytime"),
        "private" => Propagation(MS_PRIVATE, false),
        "rprivate" => Propagation(MS_PRIVATE, true),
        "shared" => Propagation(MS_SHARED, false),
        "rshared" => Propagation(MS_SHARED, true),
        "slave" => Propagation(MS_SLAVE, false),
        "rslave" => Propagation(MS_SLAVE, true),
        "unbindable" => Propagation(MS_UNBINDABLE, false),
        "runbindable" => Propagation(MS_UNBINDABLE, true),
        "idmap" | "ridmap" => Idmap,
        "tmpcopyup" => CopyUp,
        _ => {
            if let Some((set, clear)) = attribute(option) {
                Attr(set, clear)
            } else if let Some((set, clear)) = option.strip_prefix('r').and_then(attribute) {
                RecursiveAttr(set, clear)
            } else {
                return None;
            }
        }
    };
    Some(effect)
}

/// Attributes to set and to clear. Access time modes exclude each other, so all of them are cleared first.
fn attribute(option: &str) -> Option<(u64, u64)> {
    Some(match option {
        "ro" => (RDONLY, 0),
        "rw" => (0, RDONLY),
        "nosuid" => (NOSUID, 0),
        "suid" => (0, NOSUID),
        "nodev" => (NODEV, 0),
        "dev" => (0, NODEV),
        "noexec" => (NOEXEC, 0),
        "exec" => (0, NOEXEC),
        "noatime" => (NOATIME, ATIME),
        "strictatime" => (STRICTATIME, ATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => (0, ATIME),
        "nodiratime" => (NODIRATIME, 0),
        "diratime" => (0, NODIRATIME),
        "nosymfollow" => (NOSYMFOLLOW, 0),
        "symfollow" => (0, NOSYMFOLLOW),
        _ => return None,
    })
}

/// The options of one mount, sorted by what they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MountOptions {
    /// `Some(recursive)` when the mount is a bind mount.
    pub(crate) bind: Option<bool>,
    pub(crate) top: Attributes,
    pub(crate) recursive: Attributes,
    /// `MS_*`, and whether for the mounts below as well.
    pub(crate) propagation: Vec<(u64, bool)>,
    /// Parameters of the file system.
    pub(crate) parameters: Vec<String>,
    /// A tmpfs starts with a copy of what it covers.
    pub(crate) copy_up: bool,
}

impl MountOptions {
    /// Sorts `options`; `place` names the mount in errors.
    pub(crate) fn parse(options: &[String], place: &str) -> Result<MountOptions> {
        let mut sorted = MountOptions::default();
        sorted.recursive.recursive = true;
        let refuse = |reason: &str, option: &str| {
            Err(Error::new(Code::Unsupported, "plan mount")
                .operand(place)
                .reason(format!("option {option:?} {reason}")))
        };
        for option in options {
            match effect(option) {
                Some(Effect::Nothing) => {}
                Some(Effect::Bind) => sorted.bind = Some(sorted.bind.unwrap_or(false)),
                Some(Effect::Rbind) => sorted.bind = Some(true),
                Some(Effect::Attr(set, clear)) => change(&mut sorted.top, set, clear),
                Some(Effect::RecursiveAttr(set, clear)) => change(&mut sorted.recursive, set, clear),
                Some(Effect::Propagation(kind, recursive)) => sorted.propagation.push((kind, recursive)),
                Some(Effect::Super(name)) => sorted.parameters.push(name.to_owned()),
                Some(Effect::Idmap) => return refuse("is not supported yet: idmapped mounts", option),
                Some(Effect::CopyUp) => sorted.copy_up = true,
                None if option.contains('\0') => return refuse("contains a NUL", option),
                None => sorted.parameters.push(option.clone()),
            }
        }
        Ok(sorted)
    }
}

/// A later option wins over an earlier one.
fn change(attributes: &mut Attributes, set: u64, clear: u64) {
    attributes.set = attributes.set & !clear | set;
    attributes.clear = attributes.clear & !set | clear;
    if attributes.clear & ATIME != 0 || set & ATIME != 0 {
        // The kernel takes a new access time mode only together with the whole mask.
        attributes.clear |= ATIME;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> MountOptions {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        MountOptions::parse(&options, "/x").expect("valid options")
    }

    #[test]
    fn every_listed_name_is_known() {
        for name in NAMES {
            assert!(effect(name).is_some(), "{name}");
        }
    }

    #[test]
    fn later_options_win() {
        assert_eq!(
            parse(&["ro", "rw"]).top,
            Attributes {
                clear: RDONLY,
                ..Attributes::default()
            }
        );
        assert_eq!(parse(&["suid", "nosuid"]).top.set, NOSUID);
    }

    #[test]
    fn access_time_modes_replace_each_other() {
        let top = parse(&["noatime", "strictatime"]).top;
        assert_eq!((top.set, top.clear), (STRICTATIME, ATIME));
    }

    #[test]
    fn recursive_attributes_are_apart() {
        let options = parse(&["rro", "nosuid"]);
        assert_eq!((options.top.set, options.recursive.set), (NOSUID, RDONLY));
        assert!(options.recursive.recursive);
    }

    #[test]
    fn the_rest_is_for_the_file_system() {
        assert_eq!(
            parse(&["size=64k", "mode=755", "sync"]).parameters,
            ["size=64k", "mode=755", "sync"]
        );
    }
}
