//! `features`: says as JSON what is understood in a config.json, whatever the host can do.

use runtime_core::{Result, seccomp};
use serde::Serialize;

use crate::args::{Arity, FlagsEnd};
use crate::cli::{COMMIT, SPEC_VERSION};
use crate::command::{Call, Command, Failure};
use crate::output;

/// The command.
pub const COMMAND: Command = Command {
    name: "features",
    about: "show what is supported",
    usage: "",
    details: "Writes JSON, as the runtime-spec defines it. It is the same on every host.",
    flags: &[],
    arity: Arity::Exactly(0),
    flags_end: FlagsEnd::Never,
    failure: Failure::Plain,
    launches: false,
    run,
};

type Names = &'static [&'static str];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: Names,
    mount_options: Names,
    linux: Linux,
    annotations: Annotations,
    potentially_unsafe_config_annotations: Names,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: Names,
    capabilities: Names,
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: Names,
    operators: Names,
    archs: Names,
    known_flags: Names,
    supported_flags: Names,
}

#[derive(Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

#[derive(Serialize)]
struct Annotations {
    #[serde(rename = "org.opencontainers.runc.checkpoint.enabled")]
    checkpoint: &'static str,
    #[serde(rename = "oci-rt.commit")]
    commit: &'static str,
    #[serde(rename = "oci-rt.version")]
    version: &'static str,
}

fn run(_: &Call) -> Result<u8> {
    output::pretty_json(&features(), "    ")?;
    Ok(0)
}

fn features() -> Features {
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: SPEC_VERSION,
        hooks: &[
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        mount_options: MOUNT_OPTIONS,
        linux: Linux {
            namespaces: &["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            capabilities: CAPABILITIES,
            cgroup: Cgroup {
                v1: true,
                v2: true,
                systemd: false,
                systemd_user: false,
                rdma: true,
            },
            seccomp: Seccomp {
                enabled: true,
                actions: seccomp::known_actions(),
                operators: seccomp::known_operators(),
                archs: seccomp::known_archs(),
                known_flags: seccomp::known_flags(),
                supported_flags: seccomp::supported_flags(),
            },
            apparmor: Enabled { enabled: true },
            selinux: Enabled { enabled: true },
            intel_rdt: IntelRdt {
                enabled: false,
                schemata: false,
                monitoring: false,
            },
            mount_extensions: MountExtensions {
                idmap: Enabled { enabled: true },
            },
            net_devices: Enabled { enabled: false },
        },
        annotations: Annotations {
            checkpoint: "false",
            commit: COMMIT,
            version: env!("CARGO_PKG_VERSION"),
        },
        potentially_unsafe_config_annotations: &[],
    }
}

const MOUNT_OPTIONS: Names = &[
    "acl",
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
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
    "ridmap",
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

const CAPABILITIES: Names = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_look_for() {
        let features = serde_json::to_value(features()).unwrap();
        assert_eq!(features["ociVersionMin"], "1.0.0");
        assert!(
            features["mountOptions"]
                .as_array()
                .unwrap()
                .contains(&"rro".into())
        );
        assert!(
            features["linux"]["namespaces"]
                .as_array()
                .unwrap()
                .contains(&"user".into())
        );
        assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        assert_eq!(features["linux"]["seccomp"]["enabled"], true);
        assert_eq!(features["linux"]["cgroup"]["v2"], true);
    }
}
