//! Finds the commit that is built, for `oci-rt --version`.

use std::fs;
use std::path::Path;

fn main() {
    println!(
        "cargo::rustc-env=OCI_RT_COMMIT={}",
        commit().unwrap_or_else(|| "unknown".to_owned())
    );
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
