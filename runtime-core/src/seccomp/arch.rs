//! The ABIs through which system calls reach a kernel.

use super::table::Column;

/// One ABI.
#[derive(Debug, Clone, Copy)]
pub(super) struct Abi {
    /// Its name in profiles.
    pub name: &'static str,
    /// Its numbers.
    pub column: Column,
    /// What the kernel reports in `seccomp_data.arch`; x32 shares it with x86-64.
    pub audit: u32,
    /// What the kernel adds to the numbers of the table.
    pub base: u32,
    /// Arguments have 64 bits.
    pub wide: bool,
    /// Sockets and System V IPC are also, or only, reached through `socketcall` and `ipc`.
    pub multiplexed: bool,
}

impl Abi {
    /// Whether this is x86-64, whose architecture x32 shares.
    pub(super) fn is_x86_64(&self) -> bool {
        self.column == Column::X86_64
    }

    /// Whether this is s390x.
    pub(super) fn is_s390(&self) -> bool {
        self.column == Column::S390x
    }
}

/// What one kind of machine can run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host {
    /// The ABIs, the native one first, those that share an architecture side by side.
    pub archs: &'static [Abi],
    /// Byte order, which decides where the words of an argument lie.
    pub big_endian: bool,
}

/// Set in the numbers of x32.
pub(super) const X32_BIT: u32 = 0x4000_0000;

const LITTLE_ENDIAN: u32 = 0x4000_0000;
const BITS_64: u32 = 0x8000_0000;

const X86_64: Abi = Abi {
    name: "SCMP_ARCH_X86_64",
    column: Column::X86_64,
    audit: 62 | BITS_64 | LITTLE_ENDIAN,
    base: 0,
    wide: true,
    multiplexed: false,
};
const X32: Abi = Abi {
    name: "SCMP_ARCH_X32",
    column: Column::X32,
    base: X32_BIT,
    wide: false,
    ..X86_64
};
const X86: Abi = Abi {
    name: "SCMP_ARCH_X86",
    column: Column::X86,
    audit: 3 | LITTLE_ENDIAN,
    base: 0,
    wide: false,
    multiplexed: true,
};
const AARCH64: Abi = Abi {
    name: "SCMP_ARCH_AARCH64",
    column: Column::Aarch64,
    audit: 183 | BITS_64 | LITTLE_ENDIAN,
    ..X86_64
};
const ARM: Abi = Abi {
    name: "SCMP_ARCH_ARM",
    column: Column::Arm,
    audit: 40 | LITTLE_ENDIAN,
    wide: false,
    ..X86_64
};
const RISCV64: Abi = Abi {
    name: "SCMP_ARCH_RISCV64",
    column: Column::Riscv64,
    audit: 243 | BITS_64 | LITTLE_ENDIAN,
    ..X86_64
};
const LOONGARCH64: Abi = Abi {
    name: "SCMP_ARCH_LOONGARCH64",
    column: Column::Loongarch64,
    audit: 258 | BITS_64 | LITTLE_ENDIAN,
    ..X86_64
};
const S390X: Abi = Abi {
    name: "SCMP_ARCH_S390X",
    column: Column::S390x,
    audit: 22 | BITS_64,
    multiplexed: true,
    ..X86_64
};
const PPC64LE: Abi = Abi {
    name: "SCMP_ARCH_PPC64LE",
    column: Column::Ppc64,
    audit: 21 | BITS_64 | LITTLE_ENDIAN,
    multiplexed: true,
    ..X86_64
};
const PPC64: Abi = Abi {
    name: "SCMP_ARCH_PPC64",
    audit: 21 | BITS_64,
    ..PPC64LE
};

/// Every kind of machine that is known, and whether this program was built for it. The tests compile for all.
pub(super) const HOSTS: [(bool, Host); 9] = [
    (
        cfg!(target_arch = "x86_64"),
        Host {
            archs: &[X86_64, X32, X86],
            big_endian: false,
        },
    ),
    (
        cfg!(target_arch = "x86"),
        Host {
            archs: &[X86],
            big_endian: false,
        },
    ),
    (
        cfg!(target_arch = "aarch64"),
        Host {
            archs: &[AARCH64, ARM],
            big_endian: false,
        },
    ),
    (
        cfg!(target_arch = "arm"),
        Host {
            archs: &[ARM],
            big_endian: false,
        },
    ),
    (
        cfg!(target_arch = "riscv64"),
        Host {
            archs: &[RISCV64],
            big_endian: false,
        },
    ),
    (
        cfg!(target_arch = "loongarch64"),
        Host {
            archs: &[LOONGARCH64],
            big_endian: false,
        },
    ),
    (
        cfg!(target_arch = "s390x"),
        Host {
            archs: &[S390X],
            big_endian: true,
        },
    ),
    (
        cfg!(all(target_arch = "powerpc64", target_endian = "little")),
        Host {
            archs: &[PPC64LE],
            big_endian: false,
        },
    ),
    (
        cfg!(all(target_arch = "powerpc64", target_endian = "big")),
        Host {
            archs: &[PPC64],
            big_endian: true,
        },
    ),
];

impl Host {
    /// The machine that this program was built for; without ABIs when it is not known.
    pub(super) const NATIVE: Host = native();

    /// Offset of one word of an argument in `struct seccomp_data`.
    pub(super) fn argument(&self, index: u32, high: bool) -> u32 {
        ARGUMENTS + 8 * index + if high == self.big_endian { 0 } else { 4 }
    }
}

/// Offset of the number in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
/// Offset of the architecture.
pub(super) const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const fn native() -> Host {
    let mut at = 0;
    while at < HOSTS.len() {
        if HOSTS[at].0 {
            return HOSTS[at].1;
        }
        at += 1;
    }
    Host {
        archs: &[],
        big_endian: cfg!(target_endian = "big"),
    }
}

/// The names of ABIs that profiles may contain, those of other machines included.
pub(super) const KNOWN: [&str; 23] = [
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];
