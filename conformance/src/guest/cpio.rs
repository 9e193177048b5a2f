//! An initramfs: a cpio archive in the "newc" format that the kernel unpacks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const DEVICE: u32 = 0o020_000;
const SYMLINK: u32 = 0o120_000;

/// The archive under construction; every name is relative to the root.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    serial: u32,
}

impl Archive {
    /// Adds a directory; its parent must be there.
    pub fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY | 0o755, (0, 0), &[]);
    }
    /// Adds a file with this content.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, FILE | mode, (0, 0), content);
    }
    /// Adds a copy of a file of the host.
    pub fn copy(&mut self, name: &str, source: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", source.display());
        let mode = fs::metadata(source).map_err(failed)?.permissions().mode() & 0o777;
        self.file(name, mode, &fs::read(source).map_err(failed)?);
        Ok(())
    }
    /// Adds a symbolic link.
    pub fn link(&mut self, name: &str, target: &str) {
        self.entry(name, SYMLINK | 0o777, (0, 0), target.as_bytes());
    }
    /// Adds a character device.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, DEVICE | 0o600, (major, minor), &[]);
    }
    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.serial += 1;
        let size = content.len() as u32;
        // inode, mode, uid, gid, links, mtime, size, own device (two), device (two), name's size, checksum
        let fields = [
            self.serial,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            name.len() as u32 + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_end_with_a_trailer() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.file("bin/x", 0o755, b"abc");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches("070701").count(), 3);
        assert!(text.contains("000081ed") && text.contains("bin/x\0") && text.contains("TRAILER!!!\0"));
    }
}
