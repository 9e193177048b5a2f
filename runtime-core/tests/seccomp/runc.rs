//! What runc makes of a profile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use runtime_core::seccomp::Instruction;
use runtime_core::spec::Seccomp;
use serde_json::{Value, json};

use crate::sys;

/// Whether there is a runc to compare with.
pub fn is_installed() -> bool {
    Command::new("runc")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The filter that runc loads for a profile.
pub fn filter(name: &str, profile: &Seccomp) -> Vec<Instruction> {
    let container = Container::create(name, profile);
    sys::filter(container.pid()).expect("read the filter")
}

/// A container that was made and not started. Dropping it removes all that it left.
struct Container {
    id: String,
    dir: PathBuf,
}

impl Container {
    fn create(name: &str, profile: &Seccomp) -> Container {
        let id = format!("seccomp-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(&id);
        let container = Container { id, dir };
        let program = container.dir.join("bundle/rootfs/program");
        fs::create_dir_all(container.dir.join("bundle/rootfs/proc")).expect("make the bundle");
        // It is looked for, but never started.
        fs::write(&program, "").expect("write the program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it executable");
        let config = config(&container.id, profile).to_string();
        fs::write(container.dir.join("bundle/config.json"), config).expect("write config.json");
        let bundle = container.dir.join("bundle");
        let output = container.runc(&["create", "--bundle", &bundle.to_string_lossy(), &container.id]);
        assert!(output.status.success(), "runc create: {}", container.log());
        container
    }

    fn pid(&self) -> i32 {
        let output = self.runc(&["state", &self.id]);
        let state: Value = serde_json::from_slice(&output.stdout).expect("the state of the container");
        state["pid"].as_i64().expect("a pid") as i32
    }

    /// The container keeps its standard streams, so what goes wrong is read from the log.
    fn runc(&self, arguments: &[&str]) -> Output {
        let (root, log) = (self.dir.join("state"), self.log_path());
        let stdout = if arguments[0] == "state" {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut command = Command::new("runc");
        command
            .arg("--root")
            .arg(root)
            .arg("--log")
            .arg(log)
            .args(arguments);
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null());
        command.output().expect("start runc")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        Path::join(&self.dir, "log")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.runc(&["delete", "--force", &self.id]);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn config(id: &str, profile: &Seccomp) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": { "user": { "uid": 0, "gid": 0 }, "args": ["/program"], "cwd": "/" },
        "root": { "path": "rootfs", "readonly": true },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": {
            "cgroupsPath": format!("/{id}"),
            "namespaces": [{ "type": "pid" }, { "type": "mount" }],
            "seccomp": profile
        }
    })
}
