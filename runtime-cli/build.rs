//! Finds the commit that is built, for `oci-rt --version`, and names the entry point to the linker.

use std::fs;
use std::path::Path;

fn main() {
    println!(
        "cargo::rustc-env=OCI_RT_COMMIT={}",
        commit().unwrap_or_else(|| "unknown".to_owned())
    );
    println!("cargo::rustc-check-cfg=cfg(entry)");
    let (profile, target) = (std::env::var("PROFILE"), std::env::var("CARGO_CFG_TARGET_ARCH"));
    // Unoptimised code calls functions of the C library where the entry point cannot have them.
    if profile.as_deref() == Ok("release") && matches!(target.as_deref(), Ok("x86_64" | "aarch64")) {
        println!("cargo::rustc-cfg=entry");
        println!("cargo::rustc-link-arg-bin=oci-rt=-Wl,--entry=oci_rt_entry");
        let script = std::env::current_dir()
            .expect("build scripts run in the package")
            .join("no-unwind.ld");
        println!(
            "cargo::rustc-link-arg-bin=oci-rt=-Wl,-z,noseparate-code,--no-eh-frame-hdr,-T,{}",
            script.display()
        );
        println!("cargo::rerun-if-changed=no-unwind.ld");
    }
}

/// What HEAD stands for, read from the repository's files: git itself may not be installed.
fn commit() -> Option<String> {
    let git = Path::new("../.git");
    let head = read(&git.join("HEAD"))?;
    let Some(branch) = head.strip_prefix("ref: ") else {
        return Some(head);
    };
    if let Some(commit) = read(&git.join(branch)) {
        return Some(commit);
    }
    let packed = read(&git.join("packed-refs"))?;
    let ending = format!(" {branch}");
    packed
        .lines()
        .find_map(|line| line.strip_suffix(&ending))
        .map(str::to_owned)
}

fn read(path: &Path) -> Option<String> {
    let content = fs::read_to_string(path).ok()?;
    println!("cargo::rerun-if-changed={}", path.display());
    Some(content.trim().to_owned())
}
