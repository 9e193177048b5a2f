//! Names and numbers of system calls.
//!
//! `syscalls.txt` is the source, one line a name, one column an ABI. It is read by the compiler, not at run
//! time: the binary holds the names end to end, a hash index over them, and the numbers as `u16`, about 20 KB
//! in all. The example `syscall_table` writes the file anew from kernel headers.

const SOURCE: &[u8] = include_bytes!("syscalls.txt");

/// ABIs that have a column.
pub(super) const COLUMNS: usize = 9;

/// Column names, in the order of [`Column`].
#[cfg(test)]
pub(super) const COLUMN_NAMES: [&str; COLUMNS] = [
    "x86",
    "x86_64",
    "x32",
    "arm",
    "aarch64",
    "riscv64",
    "loongarch64",
    "s390x",
    "ppc64",
];

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    X86,
    X86_64,
    X32,
    Arm,
    Aarch64,
    Riscv64,
    Loongarch64,
    S390x,
    Ppc64,
}

/// Index of a name in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row(u16);

/// Names in the table.
pub(super) const ROWS: usize = count_rows();
const NAME_BYTES: usize = count_name_bytes();
/// Slots of the hash index; twice the names, so that a look-up rarely compares more than one.
const SLOTS: usize = (2 * ROWS).next_power_of_two();
const ABSENT: u16 = u16::MAX;
/// Numbers from here on stand for ARM's private calls, which begin at `ARM_PRIVATE`.
const ARM_PRIVATE_MARK: u16 = 0xf000;
const ARM_PRIVATE: u32 = 0x000f_0000;

static NAMES: [u8; NAME_BYTES] = PARSED.names;
static ENDS: [u16; ROWS] = PARSED.ends;
static NUMBERS: [[u16; COLUMNS]; ROWS] = PARSED.numbers;
static INDEX: [u16; SLOTS] = index();

impl Row {
    /// The row of `name`.
    pub(super) fn of(name: &str) -> Option<Row> {
        let mut slot = hash(name.as_bytes(), 0, name.len()) as usize % SLOTS;
        while INDEX[slot] != ABSENT {
            let row = Row(INDEX[slot]);
            if row.bytes() == name.as_bytes() {
                return Some(row);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }

    /// All rows, in the order of their names.
    pub(super) fn all() -> impl Iterator<Item = Row> {
        (0..ROWS as u16).map(Row)
    }

    /// Position in the table.
    pub(super) fn index(self) -> usize {
        self.0.into()
    }

    /// The name in this row.
    pub(super) fn name(self) -> &'static str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// The number in a column, without the ABI's offset.
    pub(super) fn number(self, column: Column) -> Option<u32> {
        match NUMBERS[self.index()][column as usize] {
            ABSENT => None,
            private if private >= ARM_PRIVATE_MARK => {
                Some(ARM_PRIVATE + u32::from(private - ARM_PRIVATE_MARK))
            }
            number => Some(number.into()),
        }
    }

    fn bytes(self) -> &'static [u8] {
        let start = if self.0 == 0 {
            0
        } else {
            ENDS[self.index() - 1].into()
        };
        &NAMES[start..ENDS[self.index()].into()]
    }
}

/// FNV-1a, for it needs no table and no state.
const fn hash(bytes: &[u8], start: usize, end: usize) -> u32 {
    let mut hash = 0x811c_9dc5u32;
    let mut at = start;
    while at < end {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    // The low bits alone are too regular for names that differ in a digit.
    hash ^ (hash >> 15)
}

struct Parsed {
    names: [u8; NAME_BYTES],
    ends: [u16; ROWS],
    numbers: [[u16; COLUMNS]; ROWS],
}

const PARSED: Parsed = parse();

const fn is_row(line: usize) -> bool {
    line < SOURCE.len() && SOURCE[line] != b'#' && SOURCE[line] != b'\n'
}

const fn next_line(mut at: usize) -> usize {
    while at < SOURCE.len() && SOURCE[at] != b'\n' {
        at += 1;
    }
    at + 1
}

const fn count_rows() -> usize {
    let (mut line, mut rows) = (0, 0);
    while line < SOURCE.len() {
        if is_row(line) {
            rows += 1;
        }
        line = next_line(line);
    }
    rows
}

const fn count_name_bytes() -> usize {
    let (mut line, mut bytes) = (0, 0);
    while line < SOURCE.len() {
        if is_row(line) {
            let mut at = line;
            while SOURCE[at] != b' ' {
                at += 1;
                bytes += 1;
            }
        }
        line = next_line(line);
    }
    bytes
}

const fn parse() -> Parsed {
    let mut parsed = Parsed {
        names: [0; NAME_BYTES],
        ends: [0; ROWS],
        numbers: [[ABSENT; COLUMNS]; ROWS],
    };
    let (mut line, mut row, mut byte) = (0, 0, 0);
    while line < SOURCE.len() {
        if is_row(line) {
            let mut at = line;
            while SOURCE[at] != b' ' {
                parsed.names[byte] = SOURCE[at];
                byte += 1;
                at += 1;
            }
            parsed.ends[row] = byte as u16;
            parsed.numbers[row] = parse_numbers(at);
            row += 1;
        }
        line = next_line(line);
    }
    parsed
}

/// The columns of one line, from the blank after its name on; `-` where the ABI lacks the call.
const fn parse_numbers(mut at: usize) -> [u16; COLUMNS] {
    let mut numbers = [ABSENT; COLUMNS];
    let mut column = 0;
    while column < COLUMNS {
        while SOURCE[at] == b' ' {
            at += 1;
        }
        let mut number = 0u32;
        let mut digits = 0;
        while SOURCE[at] != b' ' && SOURCE[at] != b'\n' {
            if SOURCE[at] != b'-' {
                number = number * 10 + (SOURCE[at] - b'0') as u32;
                digits += 1;
            }
            at += 1;
        }
        if digits > 0 {
            numbers[column] = if number >= ARM_PRIVATE {
                ARM_PRIVATE_MARK + (number - ARM_PRIVATE) as u16
            } else {
                assert!(number < ARM_PRIVATE_MARK as u32);
                number as u16
            };
        }
        column += 1;
    }
    assert!(
        SOURCE[at] == b'\n',
        "a line of syscalls.txt has more columns than the table"
    );
    numbers
}

const fn index() -> [u16; SLOTS] {
    let mut index = [ABSENT; SLOTS];
    let (mut row, mut start) = (0, 0);
    while row < ROWS {
        let end = PARSED.ends[row] as usize;
        let mut slot = hash(&PARSED.names, start, end) as usize % SLOTS;
        while index[slot] != ABSENT {
            slot = (slot + 1) % SLOTS;
        }
        index[slot] = row as u16;
        start = end;
        row += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found() {
        for row in Row::all() {
            assert_eq!(Row::of(row.name()), Some(row), "{}", row.name());
        }
        for name in ["", "rea", "readd", "no_such_call", "Read"] {
            assert_eq!(Row::of(name), None, "{name}");
        }
    }

    #[test]
    fn names_are_sorted_and_numbers_unique() {
        let names: Vec<_> = Row::all().map(Row::name).collect();
        assert!(names.is_sorted() && names.len() > 490);
        for column in columns() {
            let mut numbers: Vec<_> = Row::all().filter_map(|row| row.number(column)).collect();
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), all, "{column:?}");
            assert!(all > 300, "{column:?}");
        }
    }

    #[test]
    fn the_source_names_its_columns() {
        let header = include_str!("syscalls.txt")
            .lines()
            .take_while(|line| line.starts_with('#'))
            .last();
        let columns: Vec<_> = header.unwrap_or_default().split_whitespace().skip(2).collect();
        assert_eq!(columns, COLUMN_NAMES);
    }

    #[test]
    fn numbers_that_everybody_knows() {
        let number = |name, column| Row::of(name).and_then(|row| row.number(column));
        assert_eq!(number("execve", Column::X86), Some(11));
        assert_eq!(number("execve", Column::X86_64), Some(59));
        assert_eq!(number("execve", Column::X32), Some(520));
        assert_eq!(number("execve", Column::Aarch64), Some(221));
        assert_eq!(number("cacheflush", Column::Arm), Some(983_042));
        assert_eq!(number("openat2", Column::Riscv64), Some(437));
        assert_eq!(number("open", Column::Riscv64), None);
        assert_eq!(number("exit", Column::S390x), Some(1));
        assert_eq!(number("socketcall", Column::Ppc64), Some(102));
        assert_eq!(number("mseal", Column::Loongarch64), Some(462));
    }

    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
    fn agrees_with_the_c_library() {
        let native = crate::seccomp::arch::Host::NATIVE.archs[0].column;
        for (name, number) in [
            ("read", libc::SYS_read),
            ("clone3", libc::SYS_clone3),
            ("mount_setattr", libc::SYS_mount_setattr),
            ("pidfd_getfd", libc::SYS_pidfd_getfd),
            ("process_vm_readv", libc::SYS_process_vm_readv),
            ("futex_waitv", libc::SYS_futex_waitv),
            ("keyctl", libc::SYS_keyctl),
            ("bpf", libc::SYS_bpf),
        ] {
            let found = Row::of(name).and_then(|row| row.number(native));
            assert_eq!(found.map(i64::from), Some(number), "{name}");
        }
    }

    fn columns() -> [Column; COLUMNS] {
        use Column::*;
        [X86, X86_64, X32, Arm, Aarch64, Riscv64, Loongarch64, S390x, Ppc64]
    }
}
