//! What the containers are made of: the config of `runc spec` with a program of three kilobytes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The program inside the containers.
pub const PROGRAM: &str = "/bin/true";

/// A bundle on disk.
pub struct Bundle {
    /// Its directory.
    pub path: PathBuf,
    /// What the program gets.
    pub arguments: Vec<String>,
    /// The limit in its config.
    pub memory: Option<u64>,
}

impl Bundle {
    /// Writes a bundle whose program gets `arguments`, under a memory limit if one is given.
    pub fn write(
        path: &Path,
        program: &Path,
        v2: bool,
        arguments: &[&str],
        memory: Option<u64>,
    ) -> Result<Self, String> {
        let rootfs = path.join("rootfs");
        let fail = |what: &Path, error: std::io::Error| format!("{}: {error}", what.display());
        for directory in ["bin", "proc", "dev", "sys"] {
            let directory = rootfs.join(directory);
            fs::create_dir_all(&directory).map_err(|error| fail(&directory, error))?;
        }
        let inside = rootfs.join(PROGRAM.trim_start_matches('/'));
        if !inside.exists() {
            fs::copy(program, &inside).map_err(|error| fail(&inside, error))?;
        }
        let file = path.join("config.json");
        let text = config(v2, arguments, memory).to_string();
        fs::write(&file, text).map_err(|error| fail(&file, error))?;
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Ok(Self {
            path: path.to_owned(),
            arguments,
            memory,
        })
    }

    /// The root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }
}

fn config(v2: bool, arguments: &[&str], memory: Option<u64>) -> Value {
    let mut args = vec![PROGRAM];
    args.extend(arguments);
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut namespaces: Vec<Value> = ["pid", "network", "ipc", "uts", "mount"]
        .iter()
        .map(|kind| json!({ "type": kind }))
        .collect();
    // `runc spec` asks for it where the unified hierarchy is the only one.
    if v2 {
        namespaces.push(json!({ "type": "cgroup" }));
    }
    let mut resources = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    if let Some(limit) = memory {
        resources["memory"] = json!({ "limit": limit });
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "runc",
        "mounts": mounts(),
        "linux": {
            "resources": resources,
            "namespaces": namespaces,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

fn mounts() -> Value {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| {
        let mut mount = json!({ "destination": destination, "type": kind, "source": source });
        if !options.is_empty() {
            mount["options"] = json!(options);
        }
        mount
    };
    json!([
        mount("/proc", "proc", "proc", &[]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"]
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5"
            ]
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"]
        ),
    ])
}
