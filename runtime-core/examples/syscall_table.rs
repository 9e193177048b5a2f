//! Writes `src/seccomp/syscalls.txt` from kernel headers.
//!
//! ```sh
//! # Debian's linux-libc-dev (from 6.12 on) holds the headers of all architectures.
//! cargo run -p runtime-core --example syscall_table -- /usr/lib/linux/uapi
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write;
use std::path::Path;

/// Column and the headers below the directory that define its numbers, in the order of the table's columns.
const SOURCES: [(&str, &[&str]); 9] = [
    ("x86", &["x86/asm/unistd_32.h"]),
    ("x86_64", &["x86/asm/unistd_64.h"]),
    ("x32", &["x86/asm/unistd_x32.h"]),
    // The second has the calls private to ARM.
    ("arm", &["arm/asm/unistd-eabi.h", "arm/asm/unistd.h"]),
    ("aarch64", &["arm64/asm/unistd_64.h"]),
    ("riscv64", &["riscv/asm/unistd_64.h"]),
    ("loongarch64", &["loongarch/asm/unistd_64.h"]),
    ("s390x", &["s390/asm/unistd_64.h"]),
    ("ppc64", &["powerpc/asm/unistd_64.h"]),
];
const ARM_PRIVATE: u32 = 0x000f_0000;

fn main() -> Result<(), Box<dyn Error>> {
    let uapi = std::env::args()
        .nth(1)
        .ok_or("usage: syscall_table DIRECTORY-OF-KERNEL-HEADERS")?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/seccomp/syscalls.txt");
    // Calls that newer headers dropped stay: profiles still name them, for older kernels.
    let mut columns = read_table(&std::fs::read_to_string(&path).unwrap_or_default());
    for ((column, headers), numbers) in SOURCES.iter().zip(&mut columns) {
        for header in *headers {
            let path = Path::new(&uapi).join(header);
            let text =
                std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            numbers.extend(text.lines().filter_map(definition));
        }
        assert!(numbers.len() > 300, "{column} has only {} calls", numbers.len());
    }
    Ok(std::fs::write(path, render(&columns)?)?)
}

fn read_table(text: &str) -> [BTreeMap<String, u32>; SOURCES.len()] {
    let mut columns = std::array::from_fn(|_| BTreeMap::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split(' ');
        let name = fields.next().unwrap_or_default();
        for (column, field) in columns.iter_mut().zip(fields) {
            if let Ok(number) = field.parse() {
                column.insert(name.to_owned(), number);
            }
        }
    }
    columns
}

/// Name and number of a line like `#define __NR_read (__X32_SYSCALL_BIT + 0)`.
fn definition(line: &str) -> Option<(String, u32)> {
    let (name, value) = line.strip_prefix("#define ")?.split_once(char::is_whitespace)?;
    let (name, base) = match name.strip_prefix("__NR_") {
        Some(name) => (name, 0),
        None => (name.strip_prefix("__ARM_NR_")?, ARM_PRIVATE),
    };
    // `__NR_SYSCALL_BASE` and its like are no calls.
    if name.contains(char::is_uppercase) {
        return None;
    }
    let value = value.trim().trim_end_matches(')').trim_start_matches('(');
    let number = value.rsplit('+').next()?.trim().parse::<u32>().ok()?;
    Some((name.to_owned(), base + number))
}

fn render(columns: &[BTreeMap<String, u32>]) -> Result<String, std::fmt::Error> {
    let names: BTreeSet<&String> = columns.iter().flat_map(BTreeMap::keys).collect();
    let mut text = String::from(
        "# System calls and their numbers, without the offsets of their ABIs (x32: 0x40000000).\n\
         # Written by examples/syscall_table.rs from kernel headers.\n# name",
    );
    for (column, _) in SOURCES {
        write!(text, " {column}")?;
    }
    for name in names {
        write!(text, "\n{name}")?;
        for numbers in columns {
            match numbers.get(name) {
                Some(number) => write!(text, " {number}")?,
                None => text.push_str(" -"),
            }
        }
    }
    text.push('\n');
    Ok(text)
}
