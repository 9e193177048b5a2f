//! Bundles: a root file system of busybox and the payload, and a config that tests edit as JSON.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Outcome, Stop};

/// Programs of busybox that every root file system has.
const APPLETS: &[&str] = &[
    "sh", "ash", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dirname", "echo", "env", "expr",
    "false", "grep", "head", "hostname", "id", "kill", "ln", "ls", "mkdir", "mkfifo", "mknod", "mount", "mv",
    "nc", "nproc", "printf", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq", "sleep", "sort", "stat",
    "stty", "sync", "tail", "tee", "test", "top", "touch", "tr", "true", "tty", "umount", "uname", "wc",
    "which", "whoami", "yes",
];

/// Directories of the root file system besides `/bin`.
const DIRS: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/user", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n";
const GROUP: &str = "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n";

/// Makes what all root file systems link to.
pub fn make_template(template: &Path, busybox: &Path, probe: &Path) -> Result<(), String> {
    let at = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    fs::create_dir_all(template).map_err(|e| at(template, e))?;
    for (name, source) in [("busybox", busybox), ("probe", probe)] {
        let dest = template.join(name);
        fs::copy(source, &dest).map_err(|e| at(source, e))?;
        fs::set_permissions(&dest, fs::Permissions::from_mode(0o755)).map_err(|e| at(&dest, e))?;
    }
    Ok(())
}

/// Makes a root file system; the two big files are hard links.
pub fn make_rootfs(template: &Path, rootfs: &Path) -> Outcome {
    let bin = rootfs.join("bin");
    fs::create_dir_all(&bin)?;
    for (dir, mode) in DIRS {
        let path = rootfs.join(dir);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
    }
    chown(rootfs.join("home/user"), Some(1000), Some(1000))?;
    fs::hard_link(template.join("busybox"), bin.join("busybox"))?;
    fs::hard_link(template.join("probe"), bin.join("probe"))?;
    for applet in APPLETS {
        symlink("busybox", bin.join(applet))?;
    }
    fs::write(rootfs.join("etc/passwd"), PASSWD)?;
    fs::write(rootfs.join("etc/group"), GROUP)?;
    Ok(())
}

/// A bundle of a test.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The bundle's directory.
    pub dir: PathBuf,
    /// What [`Bundle::write`] writes.
    pub config: Value,
}

impl Bundle {
    /// A bundle with a root file system and [`default_config`].
    pub fn new(dir: PathBuf, template: &Path) -> Outcome<Bundle> {
        fs::create_dir_all(&dir)?;
        make_rootfs(template, &dir.join("rootfs"))?;
        Ok(Bundle {
            dir,
            config: default_config(),
        })
    }
    /// The root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }
    /// The config's file.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join("config.json")
    }
    /// Sets what the container runs.
    pub fn args<S: AsRef<str>>(&mut self, args: &[S]) -> &mut Bundle {
        let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
        self.set("/process/args", json!(args))
    }
    /// Lets the container run a shell script.
    pub fn script(&mut self, script: &str) -> &mut Bundle {
        self.args(&["sh", "-c", script])
    }
    /// Sets the value at a JSON pointer, making the objects on the way; `-` as the last part appends to a list.
    pub fn set(&mut self, pointer: &str, value: Value) -> &mut Bundle {
        let mut here = &mut self.config;
        for part in pointer.split('/').skip(1) {
            let name = part.replace("~1", "/").replace("~0", "~");
            if name == "-" {
                if !here.is_array() {
                    *here = json!([]);
                }
                let Value::Array(list) = here else {
                    unreachable!("made a list just above")
                };
                list.push(Value::Null);
                let last = list.len() - 1;
                here = &mut list[last];
            } else if let Ok(index) = name.parse::<usize>().map_err(|_| ()).and_then(|index| {
                here.as_array()
                    .filter(|list| index < list.len())
                    .map(|_| index)
                    .ok_or(())
            }) {
                here = &mut here[index];
            } else {
                if !here.is_object() {
                    *here = json!({});
                }
                here = &mut here[name.as_str()];
            }
        }
        *here = value;
        self
    }
    /// Appends to the list at a JSON pointer.
    pub fn push(&mut self, pointer: &str, value: Value) -> &mut Bundle {
        self.set(&format!("{pointer}/-"), value)
    }
    /// Removes the member at a JSON pointer.
    pub fn remove(&mut self, pointer: &str) -> &mut Bundle {
        if let Some((parent, name)) = pointer.rsplit_once('/')
            && let Some(Value::Object(map)) = self.config.pointer_mut(parent)
        {
            map.shift_remove(name);
        }
        self
    }
    /// Adds a mount.
    pub fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) -> &mut Bundle {
        self.push(
            "/mounts",
            json!({"destination": destination, "type": kind, "source": source, "options": options}),
        )
    }
    /// Removes the mount at a destination.
    pub fn unmount(&mut self, destination: &str) -> &mut Bundle {
        if let Some(Value::Array(mounts)) = self.config.get_mut("mounts") {
            mounts.retain(|mount| mount["destination"] != destination);
        }
        self
    }
    /// Removes the namespace of this type, so that the container shares the host's.
    pub fn without_namespace(&mut self, kind: &str) -> &mut Bundle {
        if let Some(Value::Array(list)) = self.config.pointer_mut("/linux/namespaces") {
            list.retain(|namespace| namespace["type"] != kind);
        }
        self
    }
    /// Asks for a namespace: a new one, or the one at `path`.
    pub fn namespace(&mut self, kind: &str, path: Option<&str>) -> &mut Bundle {
        self.without_namespace(kind);
        let entry = match path {
            Some(path) => json!({"type": kind, "path": path}),
            None => json!({"type": kind}),
        };
        self.push("/linux/namespaces", entry)
    }
    /// Gives all five sets of capabilities the same content; names without `CAP_`.
    pub fn capabilities(&mut self, names: &[&str]) -> &mut Bundle {
        let names: Vec<String> = names.iter().map(|name| format!("CAP_{name}")).collect();
        for set in ["bounding", "effective", "inheritable", "permitted", "ambient"] {
            self.set(&format!("/process/capabilities/{set}"), json!(names));
        }
        self
    }
    /// Writes config.json.
    pub fn write(&self) -> Outcome {
        fs::write(self.config_path(), serde_json::to_vec_pretty(&self.config)?)?;
        Ok(())
    }
    /// Puts a file into the root file system, replacing what is there.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Outcome {
        let path = self.rootfs().join(path.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // Never through a hard link to the template.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Stop::Failed(format!("{}: {error}", path.display())));
            }
            _ => {}
        }
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(())
    }
    /// Makes a directory in the root file system.
    pub fn dir(&self, path: &str) -> Outcome<PathBuf> {
        let path = self.rootfs().join(path.trim_start_matches('/'));
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

/// The config that bundles start with: what `runc spec` writes, but without a terminal, with a writable root and
/// with a session of more usual capabilities.
pub fn default_config() -> Value {
    let caps = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "conformance",
        "mounts": default_mounts(),
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

fn default_mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]}
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_make_what_is_missing() {
        let mut bundle = Bundle {
            dir: PathBuf::new(),
            config: json!({"a": [1, 2]}),
        };
        bundle
            .set("/b/c", json!(3))
            .push("/a", json!(4))
            .push("/d", json!(5))
            .set("/a/0", json!(9));
        bundle.remove("/b/none").set("/e/x~1y", json!(6));
        assert_eq!(
            bundle.config,
            json!({"a": [9, 2, 4], "b": {"c": 3}, "d": [5], "e": {"x/y": 6}})
        );
        bundle.remove("/b");
        assert!(bundle.config.get("b").is_none());
    }
}
