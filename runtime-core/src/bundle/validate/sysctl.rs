//! Kernel parameters: only those that belong to a namespace of the container may be set.

use super::Place;
use super::namespaces::Namespaces;
use crate::bundle::spec::NamespaceType;
use crate::error::Result;

/// Parameters of System V IPC, under `kernel/`.
const IPC: [&str; 11] = [
    "msg_next_id",
    "msgmax",
    "msgmnb",
    "msgmni",
    "sem",
    "sem_next_id",
    "shm_next_id",
    "shm_rmid_forced",
    "shmall",
    "shmmax",
    "shmmni",
];

/// The file of a parameter below `/proc/sys`, or nothing when the name cannot be one.
///
/// As in sysctl(8) the first separator, a dot or a slash, separates; the other one is part of a name, as in
/// `net.ipv4.conf.eth0/1.forwarding` or `net/ipv4/conf/eth0.1/forwarding`.
pub(crate) fn sysctl_path(key: &str) -> Option<String> {
    let first = key.find(['.', '/'])?;
    let path: String = if key[first..].starts_with('.') {
        let swap = |letter| match letter {
            '.' => '/',
            '/' => '.',
            other => other,
        };
        key.chars().map(swap).collect()
    } else {
        key.to_owned()
    };
    let is_name = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    path.split('/').all(is_name).then_some(path)
}

pub(super) fn check(at: &Place<'_>, key: &str, value: &str, namespaces: Namespaces<'_>) -> Result<()> {
    let Some(path) = sysctl_path(key) else {
        return at.refuse("is not the name of a kernel parameter");
    };
    at.check_string(value)?;
    let (group, rest) = path.split_once('/').unwrap_or_default();
    let kind = match (group, rest) {
        ("net", _) => NamespaceType::Network,
        ("fs", rest) if rest.starts_with("mqueue/") => NamespaceType::Ipc,
        ("kernel", "domainname") => NamespaceType::Uts,
        ("kernel", "hostname") => return at.refuse("cannot be set here, use hostname"),
        ("kernel", name) if IPC.contains(&name) => NamespaceType::Ipc,
        _ => return at.refuse("is a parameter of the host, not of a namespace"),
    };
    namespaces.require(kind, at)
}
