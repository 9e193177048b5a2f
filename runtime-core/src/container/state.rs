//! What is remembered of a container between two calls: `state.json`.
//!
//! Its status is not in it. That is derived from what is, each time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::dir::{STATE, StateDir};
use super::identity::ProcessIdentity;
use super::{State, Status};
use crate::bundle::MAX_CONFIG;
use crate::error::{Code, Error, Result};

/// Raised when files of the new shape would be misread by older programs.
pub(crate) const FORMAT: u32 = 1;

/// Annotations come out of a configuration; what else there is needs far less than the rest.
const LIMIT: usize = MAX_CONFIG + (1 << 20);

/// The content of `state.json`. Names are runc's where it has the same thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// [`FORMAT`].
    #[serde(default)]
    pub format: u32,
    /// The container.
    pub id: String,
    /// Its process, as the pid namespace of who made it sees it.
    pub init_process_pid: i32,
    /// The same, safe against pids that are used again.
    pub init_process: ProcessIdentity,
    /// When it was made, RFC 3339 in UTC.
    #[serde(default)]
    pub created: String,
    /// Version of the runtime-spec that the configuration follows.
    #[serde(default)]
    pub oci_version: String,
    /// Absolute path of the bundle.
    #[serde(default)]
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    #[serde(default)]
    pub rootfs: PathBuf,
    /// Annotations of the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The user who made it.
    #[serde(default)]
    pub owner_uid: u32,
    /// The line of the `cgroup` file.
    #[serde(default)]
    pub cgroup: String,
    /// Whether the container has a pid namespace of its own, so that its processes end with init.
    #[serde(default)]
    pub own_pid_namespace: bool,
    /// Whether there are hooks for later than the creation, so that the configuration has to be read again.
    #[serde(default = "yes")]
    pub later_hooks: bool,
    /// What is executed, for the words of an error.
    #[serde(default)]
    pub program: String,
}

fn yes() -> bool {
    true
}

impl Saved {
    /// Reads what is known of the container of `dir`.
    ///
    /// One that is being made has no such file yet: the error's errno is ENOENT then.
    pub(crate) fn load(dir: &StateDir) -> Result<Saved> {
        let hint = "`delete --force` removes what is left of the container";
        let refuse = |reason: String| {
            Error::new(Code::State, "read")
                .operand(dir.path().join(STATE))
                .reason(reason)
                .hint(hint)
        };
        let bytes = dir.read(STATE, LIMIT).map_err(|error| error.hint(hint))?;
        if bytes.is_empty() {
            return Err(refuse("the file is empty".to_owned()));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| refuse(error.to_string()))?;
        if let Ok(Header { format }) = serde_json::from_str(text)
            && format > FORMAT
        {
            return Err(refuse(format!(
                "has format {format} of a newer program, {FORMAT} is known here"
            )));
        }
        let saved: Saved = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if saved.id != dir.id() {
            return Err(refuse(format!("belongs to the container {:?}", saved.id)));
        }
        if saved.init_process_pid <= 0 || saved.init_process_pid != saved.init_process.pid() {
            return Err(refuse(format!(
                "{} cannot be the process",
                saved.init_process_pid
            )));
        }
        Ok(saved)
    }

    /// Writes what is left to be published for the container to be known. Needs the lock.
    pub(crate) fn stage(&self, dir: &StateDir) -> Result<()> {
        let json = serde_json::to_vec(self).map_err(|error| {
            Error::new(Code::State, "write state")
                .operand(&self.id)
                .reason(error.to_string())
        })?;
        dir.stage(STATE, &json, 0o600)
    }

    /// What `state` reports.
    pub(crate) fn report(self, status: Status) -> State {
        State {
            oci_version: self.oci_version,
            id: self.id,
            pid: if status == Status::Stopped {
                0
            } else {
                self.init_process_pid
            },
            status,
            bundle: self.bundle,
            rootfs: self.rootfs,
            created: self.created,
            annotations: self.annotations,
            owner: user_name(self.owner_uid),
        }
    }
}

/// Read first: the rest of a newer file may have another shape.
#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    format: u32,
}

/// The current time as RFC 3339 in UTC, with nanoseconds.
pub(crate) fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    timestamp(since.as_secs(), since.subsec_nanos())
}

fn timestamp(seconds: u64, nanoseconds: u32) -> String {
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
}

/// Year, month and day of the day `days` after 1 January 1970.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from 1 March of a year that 400 divides, leap days come last in every span that has one.
    let days = days + 719_468;
    let (era, days) = (days / 146_097, days % 146_097);
    let century = (days / 36_524).min(3);
    let days = days - century * 36_524;
    let (leap_cycle, days) = (days / 1461, days % 1461);
    let year_in_cycle = (days / 365).min(3);
    let days = days - year_in_cycle * 365;
    // Five months from March on have 153 days, again and again.
    let month = (5 * days + 2) / 153;
    let day = days - (153 * month + 2) / 5 + 1;
    let year = era * 400 + century * 100 + leap_cycle * 4 + year_in_cycle;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

/// The name of a user, or the number of one without a name. A static program has only the file to look into.
fn user_name(uid: u32) -> String {
    let users = std::fs::read("/etc/passwd").unwrap_or_default();
    name_in(&users, uid).unwrap_or_else(|| uid.to_string())
}

fn name_in(passwd: &[u8], uid: u32) -> Option<String> {
    passwd.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = std::str::from_utf8(line).ok()?.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests;
