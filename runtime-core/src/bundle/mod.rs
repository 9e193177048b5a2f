//! The bundle: a directory with a `config.json`, and the root file system that it names.

mod load;
pub(crate) mod names;
#[cfg(feature = "oci-spec")]
mod oci;
pub mod spec;
mod validate;

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use crate::error::{At, Code, Error, Result};
pub use load::parse;
pub(crate) use load::{MAX_CONFIG, read_config};
use spec::{Process, Spec};
pub(crate) use validate::sysctl_path;
use validate::{validate, validate_process};

/// A valid configuration and the directory that its relative paths start from.
///
/// ```
/// use runtime_core::{Bundle, Code, spec};
/// let process = spec::Process { args: vec!["/bin/true".into()], cwd: "/".into(), ..Default::default() };
/// let root = spec::Root { path: "rootfs".into(), ..Default::default() };
/// let mut spec = spec::Spec { process: Some(process), root: Some(root), ..Default::default() };
/// assert!(Bundle::new("/tmp", spec.clone()).is_ok());
///
/// spec.process.as_mut().unwrap().cwd = "tmp".into();
/// let error = Bundle::new("/tmp", spec).unwrap_err();
/// assert_eq!(error.code(), Code::InvalidConfig);
/// assert_eq!(error.operand_str(), Some("process.cwd"));
/// ```
#[derive(Debug, Clone)]
pub struct Bundle {
    dir: PathBuf,
    spec: Spec,
    json: Option<Vec<u8>>,
}

impl Bundle {
    /// Reads `dir/config.json`.
    pub fn load(dir: impl AsRef<Path>) -> Result<Bundle> {
        let dir = absolute(dir.as_ref())?;
        let path = dir.join("config.json");
        let json = read_config(&path)?;
        let spec = parse(&path, &json)?;
        Ok(Bundle {
            json: Some(json),
            ..Bundle::checked(dir, spec)?
        })
    }

    /// A configuration in memory; `dir` is the directory of its relative paths.
    pub fn new(dir: impl Into<PathBuf>, spec: Spec) -> Result<Bundle> {
        Bundle::checked(absolute(&dir.into())?, spec)
    }

    fn checked(dir: PathBuf, mut spec: Spec) -> Result<Bundle> {
        blank_is_absent(&mut spec);
        validate(&spec)?;
        Ok(Bundle {
            dir,
            spec,
            json: None,
        })
    }

    /// The directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The configuration.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The root file system, absolute.
    pub fn rootfs(&self) -> PathBuf {
        let root = self
            .spec
            .root
            .as_ref()
            .map(|root| root.path.as_path())
            .unwrap_or(Path::new(""));
        // Through the components, which leaves out every `.`.
        self.dir.join(root).components().collect()
    }

    /// The configuration as JSON: as it was read, with whatever we did not understand.
    pub(crate) fn json(&self) -> Result<Cow<'_, [u8]>> {
        match &self.json {
            Some(json) => Ok(Cow::Borrowed(json)),
            None => serde_json::to_vec(&self.spec).map(Cow::Owned).map_err(|error| {
                Error::new(Code::InvalidConfig, "write configuration").reason(error.to_string())
            }),
        }
    }
}

/// `dir` from the root on, without `.` and `..`.
fn absolute(dir: &Path) -> Result<PathBuf> {
    let refuse = |error: Error| match error.code() {
        Code::System => error.with_code(Code::NoConfig),
        _ => error,
    };
    let absolute = std::path::absolute(dir)
        .at_path("find bundle", dir)
        .map_err(refuse)?;
    // Through the components, which leaves out a slash at the end.
    let absolute: PathBuf = absolute.components().collect();
    if !absolute
        .components()
        .any(|component| component == Component::ParentDir)
    {
        return Ok(absolute);
    }
    // What is above a symbolic link only the kernel knows.
    std::fs::canonicalize(&absolute)
        .at_path("find bundle", dir)
        .map_err(refuse)
}

/// The content of `path`, a configuration that was valid when a container was made of it.
pub(crate) fn stored_spec(path: &Path, json: &[u8]) -> Result<Spec> {
    let mut spec = parse(path, json)?;
    blank_is_absent(&mut spec);
    Ok(spec)
}

/// A process that can be executed in a container.
pub(crate) fn valid_process(process: &Process) -> Result<Process> {
    validate_process(process)?;
    let mut process = process.clone();
    blank_process(&mut process);
    Ok(process)
}

/// Programs in Go write an absent string as an empty one.
fn blank_is_absent(spec: &mut Spec) {
    let linux = &mut spec.linux;
    let strings = [
        &mut spec.hostname,
        &mut spec.domainname,
        &mut linux.cgroups_path,
        &mut linux.rootfs_propagation,
        &mut linux.mount_label,
    ];
    for string in strings {
        string.take_if(|string| string.is_empty());
    }
    for namespace in &mut linux.namespaces {
        namespace.path.take_if(|path| path.as_os_str().is_empty());
    }
    for mount in &mut spec.mounts {
        mount.kind.take_if(|kind| kind.is_empty());
        mount.source.take_if(|source| source.as_os_str().is_empty());
    }
    if let Some(process) = &mut spec.process {
        blank_process(process);
    }
}

fn blank_process(process: &mut Process) {
    process.apparmor_profile.take_if(|profile| profile.is_empty());
    process.selinux_label.take_if(|label| label.is_empty());
}
