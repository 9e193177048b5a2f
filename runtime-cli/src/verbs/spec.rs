//! `spec`: writes a config.json to begin with.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid};
use runtime_core::spec::{
    Capabilities, DeviceRule, IdMapping, Linux, Mount, Namespace, NamespaceType, Process, Resources, Rlimit,
    Root, Spec,
};
use runtime_core::{Error, Result};
use serde_json::ser::PrettyFormatter;

use crate::args::{Arity, Flag, FlagsEnd};
use crate::cli::SPEC_VERSION;
use crate::command::{Call, Command, Failure, invalid};
use crate::output;

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
    let own_cgroups = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let mut spec = example(own_cgroups);
    if call.matches.switch("rootless") {
        make_rootless(&mut spec);
    }
    let text = output::text(&spec, PrettyFormatter::with_indent(b"\t"))?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.trim_end().as_bytes()));
    written.map_err(|error| match error.raw_os_error() {
        Some(libc::EEXIST) => invalid(format!("File {} exists. Remove it first", path.display())),
        errno => Error::sys("write", errno.unwrap_or(libc::EIO)).operand(&path),
    })?;
    Ok(0)
}

fn strings(words: &str) -> Vec<String> {
    words.split_ascii_whitespace().map(str::to_owned).collect()
}

fn paths(words: &str) -> Vec<PathBuf> {
    words.split_ascii_whitespace().map(PathBuf::from).collect()
}

fn example(cgroup_namespace: bool) -> Spec {
    Spec {
        oci_version: SPEC_VERSION.to_owned(),
        process: Some(process()),
        root: Some(Root {
            path: "rootfs".into(),
            readonly: true,
        }),
        hostname: Some("runc".to_owned()),
        mounts: mounts(),
        linux: linux(cgroup_namespace),
        ..Spec::default()
    }
}

fn process() -> Process {
    let capabilities = strings("CAP_AUDIT_WRITE CAP_KILL CAP_NET_BIND_SERVICE");
    Process {
        terminal: true,
        args: strings("sh"),
        env: strings("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=xterm"),
        cwd: "/".into(),
        capabilities: Some(Capabilities {
            bounding: capabilities.clone(),
            effective: capabilities.clone(),
            permitted: capabilities.clone(),
            ambient: capabilities,
            ..Capabilities::default()
        }),
        rlimits: vec![Rlimit {
            kind: "RLIMIT_NOFILE".to_owned(),
            hard: 1024,
            soft: 1024,
        }],
        no_new_privileges: true,
        ..Process::default()
    }
}

fn mount(destination: &str, kind: &str, source: &str, options: &str) -> Mount {
    Mount {
        destination: destination.into(),
        kind: Some(kind.to_owned()),
        source: Some(source.into()),
        options: strings(options),
        ..Mount::default()
    }
}

fn mounts() -> Vec<Mount> {
    vec![
        mount("/proc", "proc", "proc", ""),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            "nosuid strictatime mode=755 size=65536k",
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5",
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            "nosuid noexec nodev mode=1777 size=65536k",
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"),
        mount("/sys", "sysfs", "sysfs", "nosuid noexec nodev ro"),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            "nosuid noexec nodev relatime ro",
        ),
    ]
}

fn linux(cgroup_namespace: bool) -> Linux {
    let mut kinds = vec![
        NamespaceType::Pid,
        NamespaceType::Network,
        NamespaceType::Ipc,
        NamespaceType::Uts,
        NamespaceType::Mount,
    ];
    if cgroup_namespace {
        kinds.push(NamespaceType::Cgroup);
    }
    let deny_all = DeviceRule {
        access: Some("rwm".to_owned()),
        ..DeviceRule::default()
    };
    Linux {
        resources: Some(Resources {
            devices: vec![deny_all],
            ..Resources::default()
        }),
        namespaces: kinds
            .into_iter()
            .map(|kind| Namespace { kind, path: None })
            .collect(),
        masked_paths: paths(
            "/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list \
             /proc/timer_stats /proc/sched_debug /sys/firmware /proc/scsi",
        ),
        readonly_paths: paths("/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger"),
        ..Linux::default()
    }
}

/// Takes out what only root can have, and maps root of the container to the caller.
fn make_rootless(spec: &mut Spec) {
    let linux = &mut spec.linux;
    linux.resources = None;
    linux
        .namespaces
        .retain(|namespace| namespace.kind != NamespaceType::Network);
    linux.namespaces.push(Namespace {
        kind: NamespaceType::User,
        path: None,
    });
    linux.uid_mappings = vec![IdMapping {
        container_id: 0,
        host_id: geteuid().as_raw(),
        size: 1,
    }];
    linux.gid_mappings = vec![IdMapping {
        container_id: 0,
        host_id: getegid().as_raw(),
        size: 1,
    }];
    for mount in &mut spec.mounts {
        mount
            .options
            .retain(|option| !option.starts_with("gid=") && !option.starts_with("uid="));
        // A new sysfs needs a new network namespace; the host's can be had without.
        if mount.destination == Path::new("/sys") {
            mount.kind = Some("none".to_owned());
            mount.source = Some("/sys".into());
            mount.options = strings("rbind nosuid noexec nodev ro");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(spec: &Spec) -> serde_json::Value {
        serde_json::to_value(spec).unwrap()
    }

    #[test]
    fn what_tools_edit_is_there() {
        let spec = json(&example(false));
        assert_eq!(spec["process"]["args"], serde_json::json!(["sh"]));
        assert_eq!(spec["process"]["terminal"], true);
        assert_eq!(spec["process"]["user"], serde_json::json!({"uid": 0, "gid": 0}));
        assert_eq!(
            spec["root"],
            serde_json::json!({"path": "rootfs", "readonly": true})
        );
        assert_eq!(spec["mounts"].as_array().unwrap().len(), 7);
        assert_eq!(spec["linux"]["namespaces"].as_array().unwrap().len(), 5);
        assert_eq!(
            json(&example(true))["linux"]["namespaces"][5],
            serde_json::json!({"type": "cgroup"})
        );
    }

    #[test]
    fn rootless_needs_nothing_of_root() {
        let mut spec = example(false);
        make_rootless(&mut spec);
        let spec = json(&spec);
        assert!(spec["linux"].get("resources").is_none());
        let kinds: Vec<&str> = spec["linux"]["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|namespace| namespace["type"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["pid", "ipc", "uts", "mount", "user"]);
        assert_eq!(spec["linux"]["uidMappings"][0]["hostID"], geteuid().as_raw());
        assert!(!spec.to_string().contains("gid=5"));
        assert_eq!(spec["mounts"][5]["type"], "none");
    }
}
