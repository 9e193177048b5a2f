//! The emulated machine: a kernel of Debian's, unpacked and cached, and QEMU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::host::which;

/// Without modules there is no disk and no network: all comes in the initramfs, results leave by a serial port.
const KERNEL: &str = "linux-image-cloud-amd64";

/// The files of one run.
#[derive(Debug)]
pub struct Machine {
    /// QEMU.
    pub child: Child,
    /// Everything that the guest wrote to its second serial port.
    pub results: PathBuf,
    /// The kernel's console.
    pub console: PathBuf,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It has ended already, unless the time was up.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the processor can run the guest itself.
pub fn accelerated() -> bool {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let able = flags
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm");
    able && fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok()
}

/// Starts the machine; `dir` takes its files.
pub fn boot(kernel: &Path, initramfs: &[u8], dir: &Path) -> Result<Machine, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    let (console, results, initrd) = (dir.join("console"), dir.join("results"), dir.join("initramfs"));
    fs::write(&initrd, initramfs).map_err(failed)?;
    fs::write(&results, "").map_err(failed)?;
    let accelerator = if accelerated() { "kvm" } else { "tcg,thread=multi" };
    let mut command = Command::new("qemu-system-x86_64");
    command.args([
        "-M",
        "pc",
        "-accel",
        accelerator,
        "-cpu",
        "max",
        "-smp",
        "2",
        "-m",
        "1536",
    ]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    for file in [&console, &results] {
        command.arg("-serial").arg(format!("file:{}", file.display()));
    }
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(&initrd);
    command.args([
        "-append",
        "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check rdinit=/init",
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let child = command
        .spawn()
        .map_err(|error| format!("qemu-system-x86_64: {error}"))?;
    Ok(Machine {
        child,
        results,
        console,
    })
}

/// QEMU and the kernel; `cache` keeps the latter. What is missing is installed when `install` says so.
pub fn find(cache: &Path, install: bool) -> Result<PathBuf, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("the guest is made for x86_64 only".to_string());
    }
    if which("qemu-system-x86_64").is_none() {
        if !install {
            return Err("no qemu-system-x86_64, and nothing may be installed".to_string());
        }
        let args = ["install", "-y", "--no-install-recommends", "qemu-system-x86"];
        if !(apt(&args).is_ok() || (apt(&["update"]).is_ok() && apt(&args).is_ok())) {
            return Err("qemu-system-x86 cannot be installed".to_string());
        }
    }
    let kernel = cache.join("vmlinuz");
    if !kernel.is_file() {
        fetch_kernel(cache, &kernel).map_err(|error| format!("{KERNEL}: {error}"))?;
    }
    Ok(kernel)
}

fn apt(args: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("apt-get {}: {status}", args.join(" "))),
        Err(error) => Err(format!("apt-get: {error}")),
    }
}

/// The package is only unpacked: the host gets no kernel.
fn fetch_kernel(cache: &Path, kernel: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", cache.display());
    let parts = cache.join("parts");
    let _ = fs::remove_dir_all(&parts);
    fs::create_dir_all(&parts).map_err(failed)?;
    let mut package = current_package();
    if package.is_none() {
        apt(&["update"])?;
        package = current_package();
    }
    let package = package.ok_or("apt knows no such package")?;
    let download = || {
        let mut command = Command::new("apt-get");
        // Root downloads into a directory that apt's own user may not enter.
        command
            .args(["-o", "APT::Sandbox::User=root", "download", &package])
            .current_dir(&parts);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !download() {
        // The list may name a version that the archive has replaced.
        apt(&["update"])?;
        if !download() {
            return Err(format!("cannot download {package}"));
        }
    }
    let deb = files(&parts)
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "deb"));
    let deb = deb.ok_or("nothing was downloaded")?;
    let unpacked = Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&parts).status();
    if !unpacked.is_ok_and(|status| status.success()) {
        return Err(format!("cannot unpack {}", deb.display()));
    }
    let image = files(&parts.join("boot")).into_iter().find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
    });
    // Last, so that an incomplete run leaves nothing that looks complete.
    fs::rename(image.ok_or("the package has no kernel")?, kernel).map_err(failed)?;
    fs::remove_dir_all(&parts).map_err(failed)
}

/// The package that the metapackage stands for today.
fn current_package() -> Option<String> {
    let output = Command::new("apt-cache")
        .args(["depends", KERNEL])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace();
    words
        .filter(|word| word.starts_with("linux-image-") && *word != KERNEL)
        .map(String::from)
        .next()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}
