//! `features`: says as JSON what is understood in a config.json, whatever the host can do.

use runtime_core::{Result, known, seccomp};
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
    actions: Vec<&'static str>,
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
        mount_options: known::mount_options(),
        linux: Linux {
            namespaces: &["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            capabilities: known::capabilities(),
            cgroup: Cgroup {
                v1: true,
                v2: true,
                systemd: false,
                systemd_user: false,
                rdma: true,
            },
            seccomp: Seccomp {
                enabled: true,
                actions: seccomp::known_actions()
                    .iter()
                    .copied()
                    // Understood, and refused.
                    .filter(|action| *action != "SCMP_ACT_NOTIFY")
                    .collect(),
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
                idmap: Enabled {
                    enabled: known::mount_options().contains(&"idmap"),
                },
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

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_core::{Bundle, Code, CreateOptions, Runtime};

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
        assert_eq!(features["linux"]["seccomp"]["enabled"], true);
        assert_eq!(features["linux"]["cgroup"]["v2"], true);
    }

    /// Whether a configuration with this change can be planned.
    fn planned(change: serde_json::Value) -> bool {
        let mut config = serde_json::json!({
            "ociVersion": "1.0.2",
            "root": {"path": "/"},
            "process": {"args": ["true"], "cwd": "/"},
            "linux": {"namespaces": [{"type": "mount"}, {"type": "network"}]},
        });
        for (key, value) in change.as_object().unwrap() {
            let place = if key == "mounts" {
                &mut config
            } else {
                &mut config["linux"]
            };
            place[key] = value.clone();
        }
        let spec = serde_json::from_value(config).unwrap();
        let bundle = Bundle::new("/", spec).unwrap();
        let runtime = Runtime::new("/nonexistent").unwrap();
        match runtime.explain("example", &bundle, &CreateOptions::default()) {
            Ok(_) => true,
            Err(error) if error.code() == Code::Unsupported => false,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_claimed_is_planned_and_nothing_else() {
        use serde_json::json;
        let linux = features().linux;
        assert!(planned(json!({})));
        assert_eq!(
            planned(json!({"intelRdt": {"closID": "x"}})),
            linux.intel_rdt.enabled
        );
        assert_eq!(
            planned(json!({"netDevices": {"eth0": {}}})),
            linux.net_devices.enabled
        );
        let ids = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        let mount = json!({"destination": "/x", "type": "bind", "source": "/", "options": ["bind"],
                           "uidMappings": ids, "gidMappings": ids});
        assert_eq!(
            planned(json!({"mounts": [mount]})),
            linux.mount_extensions.idmap.enabled
        );
        for option in known::mount_options() {
            let mount = match *option {
                "tmpcopyup" => json!({"destination": "/x", "type": "tmpfs", "options": [option]}),
                _ => json!({"destination": "/x", "type": "bind", "source": "/", "options": ["bind", option]}),
            };
            assert!(planned(json!({"mounts": [mount]})), "{option}");
        }
    }
}
