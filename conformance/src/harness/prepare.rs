//! What must be there before the first test: programs built by cargo, Debian packages, the unit tests' results.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::host::which;
use super::report::{Row, Status};
use super::{Outcome, Stop};
use crate::options::Options;

/// Debian packages that tests use, each with a program that it brings.
const PACKAGES: &[(&str, &str)] = &[
    ("busybox-static", "busybox"),
    ("runc", "runc"),
    ("crun", "crun"),
    ("containerd", "containerd"),
    ("iproute2", "ip"),
    // The runtimes' own `ps` runs it.
    ("procps", "ps"),
    ("util-linux", "nsenter"),
];

/// The programs of this suite and of the runtime.
#[derive(Debug)]
pub struct Programs {
    /// The runtime under test.
    pub runtime: PathBuf,
    /// The payload.
    pub probe: PathBuf,
    /// Debian's static busybox.
    pub busybox: PathBuf,
}

/// The directory of this workspace.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Directory that this executable is in, and so everything else that cargo builds.
fn target_dir() -> Result<PathBuf, String> {
    let exe = std::env::current_exe().map_err(|e| format!("own executable: {e}"))?;
    exe.parent()
        .map(Path::to_path_buf)
        .ok_or_else(|| "own executable has no directory".into())
}

/// A directory for what is expensive to get again; cargo's clean removes it.
pub fn cache(name: &str) -> Result<PathBuf, String> {
    let dir = target_dir()?.join("cache").join(name);
    std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(dir)
}

/// A program of this suite, which cargo put beside this one.
pub fn beside(name: &str) -> Outcome<PathBuf> {
    let program = target_dir().map_err(Stop::Failed)?.join(name);
    match program.is_file() {
        true => Ok(program),
        false => Err(Stop::Failed(format!("no program {}", program.display()))),
    }
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.current_dir(workspace());
    command
}

fn release() -> Result<bool, String> {
    Ok(target_dir()?.ends_with("release"))
}

/// Installs the packages that are missing, if that is possible; says loudly if it is not.
pub fn install_packages() {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, program)| which(program).is_none())
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return;
    }
    let list = missing.join(" ");
    if !nix::unistd::geteuid().is_root() || which("apt-get").is_none() {
        eprintln!("!!! missing Debian packages: {list} (not root, or no apt-get: not installed)");
        return;
    }
    eprintln!("installing Debian packages: {list}");
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.args(args).status().is_ok_and(|status| status.success())
    };
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(&missing);
    // Fresh images have no lists, so the first failure may only mean that.
    let installed = apt(&install) || (apt(&["update"]) && apt(&install));
    if !installed {
        eprintln!("!!! could not install {list}: the tests that need them will say so");
    }
}

/// Builds what is to be built and finds everything.
pub fn programs(options: &Options) -> Result<Programs, String> {
    let target = target_dir()?;
    if options.build {
        build(&["-p", "conformance", "--bins"])?;
        if options.runtime.is_none() {
            build(&["-p", "runtime-cli"])?;
        }
    }
    let runtime = match &options.runtime {
        Some(path) if path.components().count() == 1 && !path.exists() => {
            which(&path.to_string_lossy()).ok_or_else(|| format!("no program {}", path.display()))?
        }
        Some(path) => path.clone(),
        None => target.join("oci-rt"),
    };
    let runtime = std::path::absolute(&runtime).map_err(|e| format!("{}: {e}", runtime.display()))?;
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists());
    let busybox = busybox.ok_or("no /bin/busybox: install busybox-static")?;
    let programs = Programs {
        runtime,
        probe: target.join("probe"),
        busybox,
    };
    for path in [&programs.runtime, &programs.probe] {
        if !path.is_file() {
            return Err(format!("no program {}", path.display()));
        }
    }
    Ok(programs)
}

fn build(args: &[&str]) -> Result<(), String> {
    let mut command = cargo();
    command.arg("build").args(args);
    if release()? {
        command.arg("--release");
    }
    let status = command.status().map_err(|e| format!("cargo: {e}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("cargo build {} failed", args.join(" "))),
    }
}

/// The packages whose unit tests are rows of the suite.
pub const UNIT: &[&str] = &[
    "runtime-core",
    "runtime-init",
    "runtime-cli",
    "conformance",
    "benches",
];

/// Runs the unit tests of a package.
pub fn unit_tests(package: &str) -> Row {
    let begin = Instant::now();
    let mut command = cargo();
    command
        .args(["test", "-p", package, "--no-fail-fast"])
        .stdin(Stdio::null());
    // Without optimisation: faster to build, with the checks of overflows, and a panic has its backtrace.
    let (status, log) = match command.output() {
        Err(error) => (Status::Failed(format!("cargo: {error}")), String::new()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            let count: u32 = text
                .lines()
                .filter_map(|line| {
                    line.strip_prefix("test result: ")?
                        .split(' ')
                        .nth(1)?
                        .parse::<u32>()
                        .ok()
                })
                .sum();
            match output.status.success() {
                true => (Status::Passed(Some(format!("{count} tests"))), String::new()),
                false => (Status::Failed("cargo test failed".into()), text),
            }
        }
    };
    Row {
        name: format!("unit/{package}"),
        status,
        seconds: begin.elapsed().as_secs_f64(),
        log,
    }
}
