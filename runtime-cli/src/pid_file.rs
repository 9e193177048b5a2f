//! The file that tells a caller the process id. Callers watch for it, so it appears whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use runtime_core::{Error, Result};

/// Writes `pid` to `path`, as bare digits.
pub fn write(path: &Path, pid: i32) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::sys("write pid file", error.raw_os_error().unwrap_or(libc::EIO)).operand(path)
    };
    let Some(name) = path.file_name() else {
        return Err(Error::sys("write pid file", libc::EISDIR).operand(path));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(hidden);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| write!(file, "{pid}"))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        // It may not even have been made.
        let _ = fs::remove_file(&temporary);
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_digits_and_nothing_left_behind() {
        let dir = std::env::temp_dir().join(format!("oci-rt-pid-file-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let path = dir.join("pid");
        write(&path, 1).unwrap();
        write(&path, 4711).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"4711");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::create_dir(dir.join("taken")).unwrap();
        assert_eq!(
            write(&dir.join("taken"), 1).unwrap_err().raw_os_error(),
            Some(libc::EISDIR)
        );
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        assert_eq!(
            write(&dir.join("absent/pid"), 1).unwrap_err().raw_os_error(),
            Some(libc::ENOENT)
        );
        fs::remove_dir_all(dir).unwrap();
    }
}
