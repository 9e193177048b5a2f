//! The first process of the guest: makes a system around the suite, runs it, and switches the machine off.

use std::convert::Infallible;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{chdir, chroot};

/// The file of the initramfs with the suite's arguments, one a line.
pub const ARGUMENTS: &str = "/arguments";
/// The program's name when it is to be the guest's first process.
pub const NAME: &str = "/init";
/// The port that the results go to.
const PORT: &str = "/dev/ttyS1";

/// Never comes back: either the machine is switched off, or the kernel panics and QEMU ends.
pub fn main() -> Result<Infallible, String> {
    // The kernel's root file system cannot be the old root of pivot_root(2), so all moves to another one.
    if Path::new("/moved").exists() {
        let outcome = serve();
        if let Err(message) = &outcome {
            eprintln!("guest: {message}");
        }
        nix::unistd::sync();
        reboot(RebootMode::RB_POWER_OFF).map_err(|errno| format!("power off: {errno}"))
    } else {
        move_root()
    }
}

fn move_root() -> Result<Infallible, String> {
    let failed = |error: std::io::Error| format!("move the root: {error}");
    let refused = |errno: nix::Error| format!("move the root: {errno}");
    let none = None::<&str>;
    mount(
        Some("tmpfs"),
        "/root",
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755,size=80%"),
    )
    .map_err(refused)?;
    for entry in fs::read_dir("/").map_err(failed)?.flatten() {
        let name = entry.file_name();
        if name != "root" {
            copy(&entry.path(), &Path::new("/root").join(name)).map_err(failed)?;
        }
    }
    fs::create_dir("/root/root").map_err(failed)?;
    fs::write("/root/moved", "").map_err(failed)?;
    chdir("/root").map_err(refused)?;
    mount(Some("."), "/", none, MsFlags::MS_MOVE, none).map_err(refused)?;
    chroot(".").map_err(refused)?;
    chdir("/").map_err(refused)?;
    Err(failed(Command::new(NAME).exec()))
}

/// Copies a tree and removes what was copied: the memory is needed.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let kind = fs::symlink_metadata(from)?;
    if kind.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)?.flatten() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        fs::set_permissions(to, kind.permissions())
    } else if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)
    } else if kind.is_file() {
        fs::copy(from, to)?;
        fs::remove_file(from)
    } else {
        Ok(())
    }
}

fn serve() -> Result<(), String> {
    mount_all()?;
    let failed = |error: std::io::Error| format!("run the suite: {error}");
    let arguments = fs::read_to_string(ARGUMENTS).map_err(failed)?;
    let port = File::options()
        .read(true)
        .write(true)
        .open(PORT)
        .map_err(failed)?;
    let mut settings = tcgetattr(port.as_fd()).map_err(|errno| format!("{PORT}: {errno}"))?;
    cfmakeraw(&mut settings);
    tcsetattr(port.as_fd(), SetArg::TCSANOW, &settings).map_err(|errno| format!("{PORT}: {errno}"))?;
    let mut command = Command::new("/bin/conformance");
    command
        .args(arguments.lines())
        .args(["--rows", PORT])
        .stdin(Stdio::null());
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root");
    command.status().map_err(failed)?;
    // Whoever reads the rows must know that there will be no more.
    fs::write(PORT, "{\"end\": true}\n").map_err(failed)?;
    tcdrain(&port)
}

fn tcdrain(port: &File) -> Result<(), String> {
    nix::sys::termios::tcdrain(port.as_fd()).map_err(|errno| format!("{PORT}: {errno}"))
}

/// What an ordinary host has: the file systems of the kernel, and cgroups of version 2 alone.
fn mount_all() -> Result<(), String> {
    let mounts = [
        ("/proc", "proc", ""),
        ("/sys", "sysfs", ""),
        ("/dev", "devtmpfs", "mode=755"),
        ("/dev/pts", "devpts", "gid=5,mode=620,ptmxmode=666"),
        ("/dev/shm", "tmpfs", "mode=1777"),
        ("/dev/mqueue", "mqueue", ""),
        ("/run", "tmpfs", "mode=755"),
        ("/sys/fs/cgroup", "cgroup2", "nsdelegate,memory_recursiveprot"),
    ];
    for (at, kind, options) in mounts {
        fs::create_dir_all(at).map_err(|error| format!("{at}: {error}"))?;
        mount(Some(kind), at, Some(kind), MsFlags::empty(), Some(options))
            .map_err(|errno| format!("mount {at}: {errno}"))?;
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        let link = Path::new("/dev").join(name);
        symlink(format!("/proc/self/fd{target}"), link).map_err(|error| format!("/dev/{name}: {error}"))?;
    }
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777))
        .map_err(|error| format!("/tmp: {error}"))?;
    nix::unistd::sethostname("guest").map_err(|errno| format!("hostname: {errno}"))?;
    let loopback = Command::new("/bin/busybox")
        .args(["ip", "link", "set", "lo", "up"])
        .status();
    loopback.map(drop).map_err(|error| format!("busybox: {error}"))
}
