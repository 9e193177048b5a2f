//! The strings, lists and tables of a program, laid out so that nothing has to be allocated later.

use runtime_init::{List, Numbers, Str};

use crate::error::{Code, Error, Result};

/// All of them; entries are only ever added.
#[derive(Debug, Default)]
pub(super) struct Strings {
    pub(super) arena: Vec<u8>,
    pub(super) lists: Vec<Str>,
    pub(super) numbers: Vec<u64>,
    tables: Vec<Option<Str>>,
}

impl Strings {
    pub(super) fn str(&mut self, string: &str) -> Result<Str> {
        self.bytes(string.as_bytes())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<Str> {
        if bytes.contains(&0) {
            let text = String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}");
            return Err(Error::new(Code::InvalidConfig, "read string")
                .operand(text)
                .reason("contains a NUL"));
        }
        let at = Str(self.arena.len() as u32);
        self.arena.extend_from_slice(bytes);
        self.arena.push(0);
        Ok(at)
    }

    pub(super) fn list<S: AsRef<str>>(&mut self, strings: &[S]) -> Result<List> {
        let strings: Vec<Str> = strings
            .iter()
            .map(|string| self.str(string.as_ref()))
            .collect::<Result<_>>()?;
        let start = self.lists.len() as u32;
        self.lists.extend_from_slice(&strings);
        Ok(List {
            start,
            len: strings.len() as u32,
        })
    }

    pub(super) fn numbers(&mut self, numbers: impl Iterator<Item = u64>) -> Numbers {
        let start = self.numbers.len();
        self.numbers.extend(numbers);
        Numbers {
            start: start as u32,
            len: (self.numbers.len() - start) as u32,
        }
    }

    /// A table for execve(2), ended by NULL; with a `slot` its first entry is left for init to fill.
    pub(super) fn table(&mut self, strings: &[String], slot: bool) -> Result<u32> {
        let start = self.tables.len() as u32;
        if slot {
            self.tables.push(Some(Str(0)));
        }
        for string in strings {
            let string = self.str(string)?;
            self.tables.push(Some(string));
        }
        self.tables.push(None);
        Ok(start)
    }

    /// The tables as addresses in the arena, which must not change any more.
    pub(super) fn pointers(&self) -> Vec<usize> {
        let base = self.arena.as_ptr().expose_provenance();
        self.tables
            .iter()
            .map(|entry| entry.map_or(0, |at| base + at.0 as usize))
            .collect()
    }
}
