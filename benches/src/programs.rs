//! Where the programs are: built now, beside this one, by the cargo that runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory with the freshly built programs.
pub fn build() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    let directory = own.parent().ok_or("this program lies nowhere")?.to_owned();
    let Some(cargo) = std::env::var_os("CARGO") else {
        return Ok(directory);
    };
    let mut command = Command::new(cargo);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command.args([
        "build",
        "--quiet",
        "--package",
        "benches",
        "--package",
        "runtime-cli",
        "--bins",
    ]);
    if directory.ends_with("release") {
        command.arg("--release");
    } else {
        eprintln!("warning: this is not the release profile; the figures say little");
    }
    let status = command.status().map_err(|error| format!("cargo: {error}"))?;
    if status.success() {
        Ok(directory)
    } else {
        Err(format!("cargo build: {status}"))
    }
}

/// The first program of that name in PATH or where system programs lie.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| Path::is_file(candidate))
}
